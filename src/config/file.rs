//! The TOML file as a layer.

use std::{fs, io::ErrorKind, path::Path};

use super::{
    Error,
    setting::{self, Kind},
    values::{Source, Values, text_of},
};

/// Lays every key of the file over the values; a key that no setting has is an error, as it is a misspelling.
pub(super) fn lay_over(values: &mut Values, path: &Path) -> Result<(), Error> {
    let text = fs::read_to_string(path).map_err(|error| Error::FileUnreadable {
        path: path.to_owned(),
        reason: match error.kind() {
            ErrorKind::NotFound => "there is no such file",
            ErrorKind::PermissionDenied => "this user may not read it",
            ErrorKind::IsADirectory => "it is a directory",
            ErrorKind::InvalidData => "it is not UTF-8 text",
            _ => "the system refused",
        },
    })?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let offset = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
        Error::FileMalformed { path: path.to_owned(), line }
    })?;
    for (section, content) in &table {
        let Some(content) = content.as_table() else {
            return Err(unknown(path, section.clone()));
        };
        for (name, value) in content {
            let key = format!("{section}.{name}");
            let Some(setting) = setting::all().find(|setting| setting.key == key) else {
                return Err(unknown(path, key));
            };
            let source = Source::File(path.to_owned());
            let Some(text) = text_of(setting.kind, value) else {
                values.set(setting, String::new(), source);
                return Err(values.invalid(setting.key, expected(setting.kind), value.type_str()));
            };
            values.set(setting, text, source);
        }
    }
    Ok(())
}

const fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Count => "a number without quotes",
        Kind::Switch => "true or false without quotes",
        Kind::Map => "a table of names and strings",
        Kind::Targets => "tables of the form `[cascade.targets.NAME]`",
        _ => "a string in quotes",
    }
}

fn unknown(path: &Path, key: String) -> Error {
    let hint = nearest(&key, setting::all().map(|setting| setting.key))
        .map_or_else(String::new, |known| format!("; `{known}` is the nearest one"));
    Error::UnknownKey { path: path.to_owned(), key, hint }
}

/// The known key that a misspelt one most likely means.
pub(super) fn nearest<'k>(key: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let nearest = known.map(|known| (distance(known, key), known)).min();
    nearest.filter(|(distance, _)| *distance <= 4).map(|(_, known)| known)
}

/// Levenshtein's distance: how many letters to add, drop or change.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (line, a) in left.chars().enumerate() {
        let mut diagonal = line;
        let mut before = line + 1;
        for (column, b) in right.chars().enumerate() {
            let above = row.get(column + 1).copied().unwrap_or(usize::MAX);
            let here = (diagonal + usize::from(a != b)).min(above + 1).min(before + 1);
            if let Some(cell) = row.get_mut(column) {
                *cell = before;
            }
            diagonal = above;
            before = here;
        }
        if let Some(cell) = row.last_mut() {
            *cell = before;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn the_distance_counts_single_letter_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}

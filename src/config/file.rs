//! The TOML file as a layer, and the small files that settings name.

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
        Kind::List => "a list of strings",
        Kind::Targets => "tables of the form `[cascade.targets.NAME]`",
        _ => "a string in quotes",
    }
}

fn unknown(path: &Path, key: String) -> Error {
    let hint = nearest(&key, setting::all().map(|setting| setting.key))
        .map_or_else(String::new, |known| format!("; `{known}` is the nearest one"));
    Error::UnknownKey { path: path.to_owned(), key, hint }
}

/// Largest secret that a file may hold, in bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;
/// Largest PEM file, in bytes: a system's whole bundle has less than half of it.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// Why a file that a setting names is of no use: what it must be, and what it is instead.
pub(super) struct Unusable {
    pub(super) expected: String,
    pub(super) given: String,
}

/// What a file with a secret holds.
pub(super) fn secret(path: &Path) -> Result<String, Unusable> {
    small(path, SECRET_BYTES_MAX)
}

/// Certificates as PEM text.
pub(super) fn certificates(path: &Path) -> Result<String, Unusable> {
    pem(path, "CERTIFICATE")
}

/// PEM text that has a part with this label.
pub(super) fn pem(path: &Path, label: &str) -> Result<String, Unusable> {
    let text = small(path, PEM_BYTES_MAX)?;
    if text.contains("-----BEGIN ") && text.contains(&format!("{label}-----")) {
        return Ok(text);
    }
    let expected = format!("a PEM file with a {}", label.to_lowercase());
    Err(Unusable { expected, given: "something else".to_owned() })
}

fn small(path: &Path, bytes_max: u64) -> Result<String, Unusable> {
    let unusable = |why: &str| Unusable {
        expected: "a readable file".to_owned(),
        given: format!("`{}` ({why})", path.display().to_string().escape_debug()),
    };
    let about = fs::metadata(path).map_err(|_| unusable("it cannot be found"))?;
    if !about.is_file() || about.len() > bytes_max {
        return Err(unusable(&format!("it is no file of up to {} KiB", bytes_max >> 10)));
    }
    fs::read_to_string(path).map_err(|_| unusable("it cannot be read as text"))
}

/// The known key that a misspelt one most likely means.
pub(super) fn nearest<'k>(key: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    crate::domain::nearest::nearest(key, known, 4)
}

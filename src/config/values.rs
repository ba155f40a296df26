//! The layers: which text each setting has, who gave it, and how texts become values.

use std::{
    collections::BTreeMap,
    fmt::Display,
    net::{SocketAddr, ToSocketAddrs as _},
    ops::RangeInclusive,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use super::{
    Error,
    database::Url,
    file::Unusable,
    setting::{self, Kind, Setting},
};

/// Who gave a value; a later variant wins over an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nobody: the built-in default.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// The setting's environment variable.
    Environment,
    /// The setting's flag.
    Flag,
}

/// A setting's text and who gave it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) source: Source,
}

/// The text of every setting that has one, after the layers were laid over each other.
#[derive(Clone)]
pub(super) struct Values(BTreeMap<&'static str, (&'static Setting, Given)>);

impl Values {
    /// Starts with the defaults.
    pub(super) fn defaults() -> Self {
        let given = |text: &str| Given { text: text.to_owned(), source: Source::Default };
        Self(
            setting::all()
                .filter_map(|setting| Some((setting.key, (setting, given(setting.default?)))))
                .collect(),
        )
    }

    /// Lays one text over what is there.
    pub(super) fn set(&mut self, setting: &'static Setting, text: String, source: Source) {
        self.0.insert(setting.key, (setting, Given { text, source }));
    }

    pub(super) fn given(&self, key: &str) -> Option<&Given> {
        self.0.get(key).map(|(_, given)| given)
    }

    /// Who gave the value of a key; `None` while it is unset.
    pub(super) fn source(&self, key: &str) -> Option<&Source> {
        self.given(key).map(|given| &given.source)
    }

    /// The error for a value that the setting does not accept; `given` is shown in quotes.
    pub(super) fn invalid(&self, key: &'static str, expected: impl Into<String>, given: &str) -> Error {
        let place = self.place(key, &format!("`{key}`"));
        Error::Invalid { place, expected: expected.into(), given: format!("`{}`", given.escape_debug()) }
    }

    /// The error for a value that may hold a secret, even where it does not parse.
    pub(super) fn invalid_unseen(&self, key: &'static str, expected: &str) -> Error {
        let place = self.place(key, &format!("`{key}`"));
        Error::Invalid {
            place,
            expected: expected.to_owned(),
            given: "something else (not shown)".to_owned(),
        }
    }

    /// The error for a value that must not be shown, or for a file that it names: what it has to be, and what it is.
    pub(super) fn unusable(&self, key: &'static str, why: Unusable) -> Error {
        let place = self.place(key, &format!("`{key}`"));
        Error::Invalid { place, expected: why.expected, given: why.given }
    }

    /// How to call a value inside a setting, such as `cascade.targets.cache.url`, for people.
    pub(super) fn place_in(&self, key: &'static str, inside: &str) -> String {
        let name = format!("`{key}.{inside}`");
        match self.source(key) {
            Some(Source::Flag | Source::Environment) => {
                let place = self.place(key, &name);
                format!("{name} in {}{}", place[..1].to_lowercase(), &place[1..])
            }
            _ => self.place(key, &name),
        }
    }

    /// How to call a setting for people: by the way in which it was given, `name` where that was the file.
    fn place(&self, key: &str, name: &str) -> String {
        self.0.get(key).map_or_else(
            || name.to_owned(),
            |(setting, given)| match &given.source {
                Source::Flag => format!("The flag `--{}`", setting.flag),
                Source::Environment => format!("The environment variable `{}`", setting.env()),
                Source::File(path) => format!("{name} in the file `{}`", path.display()),
                Source::Default => format!("The default of {name}"),
            },
        )
    }

    pub(super) fn optional_text(&self, key: &'static str) -> Option<String> {
        self.given(key).map(|given| given.text.clone())
    }

    pub(super) fn text(&self, key: &'static str) -> Result<String, Error> {
        self.optional_text(key).ok_or_else(|| {
            let found = setting::all().find(|setting| setting.key == key);
            Error::Missing {
                key,
                flag: found.map_or(key, |setting| setting.flag),
                env: found.map_or_else(String::new, Setting::env),
            }
        })
    }

    /// `host:port`; a host name is looked up once, here, so that a typing error shows at once.
    pub(super) fn address(&self, key: &'static str) -> Result<SocketAddr, Error> {
        let text = self.text(key)?;
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        text.to_socket_addrs()
            .ok()
            .and_then(|mut found| found.next())
            .ok_or_else(|| self.invalid(key, "an address of the form `127.0.0.1:8080`", &text))
    }

    pub(super) fn count<T>(&self, key: &'static str, range: RangeInclusive<T>) -> Result<T, Error>
    where
        T: FromStr + PartialOrd + Display,
    {
        let text = self.text(key)?;
        match text.parse::<T>() {
            Ok(count) if range.contains(&count) => Ok(count),
            _ => {
                let expected = format!("a whole number from {} to {}", range.start(), range.end());
                Err(self.invalid(key, expected, &text))
            }
        }
    }

    pub(super) fn bytes(&self, key: &'static str, range: RangeInclusive<usize>) -> Result<usize, Error> {
        let text = self.text(key)?;
        match parse_bytes(&text) {
            Some(bytes) if range.contains(&bytes) => Ok(bytes),
            _ => {
                let expected = format!(
                    "a number of bytes from {} to {}, such as `1048576` or `1MiB`",
                    range.start(),
                    range.end()
                );
                Err(self.invalid(key, expected, &text))
            }
        }
    }

    pub(super) fn duration(
        &self,
        key: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Result<Duration, Error> {
        let text = self.text(key)?;
        match parse_duration(&text) {
            Some(span) if range.contains(&span) => Ok(span),
            _ => {
                let expected = format!(
                    "a time with its unit from {:?} to {:?}, such as `200ms`, `10s` or `5m`",
                    range.start(),
                    range.end()
                );
                Err(self.invalid(key, expected, &text))
            }
        }
    }

    pub(super) fn switch(&self, key: &'static str) -> Result<bool, Error> {
        self.choice(key, &[("true", true), ("false", false)])
    }

    pub(super) fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Result<T, Error> {
        let text = self.text(key)?;
        choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<String> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
            self.invalid(key, format!("one of {}", names.join(", ")), &text)
        })
    }

    /// The pairs of a map setting; an empty text is an empty map, a name given twice is an error.
    pub(super) fn map(&self, key: &'static str) -> Result<BTreeMap<String, String>, Error> {
        let text = self.text(key)?;
        let mut pairs = BTreeMap::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, value) =
                pair.split_once('=').ok_or_else(|| self.invalid(key, "made of `NAME=VALUE` pairs", pair))?;
            let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
            if pairs.insert(name.clone(), value).is_some() {
                return Err(self.invalid(key, "a list without repeated names", &name));
            }
        }
        Ok(pairs)
    }

    /// The names of a list setting; none where it is not set.
    pub(super) fn list(&self, key: &'static str) -> Vec<String> {
        let text = self.optional_text(key).unwrap_or_default();
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    pub(super) fn database_url(&self, key: &'static str) -> Result<Option<Url>, Error> {
        let Some(given) = self.given(key) else { return Ok(None) };
        let unusable = |given| self.unusable(key, Unusable { expected: Url::FORM.to_owned(), given });
        Url::parse(&given.text).map(Some).map_err(unusable)
    }
}

fn parse_bytes(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = match text.get(digits.len()..)?.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let number: u64 = digits.parse().ok()?;
    match text.get(digits.len()..)?.trim() {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3_600).map(Duration::from_secs),
        "" if number == 0 => Some(Duration::ZERO),
        _ => None,
    }
}

/// How a TOML value is written as a setting's text; `None` for a value of a type that no such setting takes.
pub(super) fn text_of(kind: Kind, value: &toml::Value) -> Option<String> {
    match (kind, value) {
        (Kind::Map, toml::Value::Table(table)) => {
            let mut pairs = Vec::with_capacity(table.len());
            for (name, value) in table {
                pairs.push(format!("{name}={}", value.as_str().filter(|text| !text.contains(','))?));
            }
            Some(pairs.join(","))
        }
        (Kind::Targets, toml::Value::Table(table)) => Some(table.to_string()),
        (Kind::List, toml::Value::Array(list)) => {
            let names = list.iter().map(|name| name.as_str().filter(|name| !name.contains(',')));
            Some(names.collect::<Option<Vec<_>>>()?.join(","))
        }
        (Kind::Count | Kind::Bytes | Kind::Duration, toml::Value::Integer(number)) => {
            Some(number.to_string())
        }
        (Kind::Switch, toml::Value::Boolean(switch)) => Some(switch.to_string()),
        (Kind::Map | Kind::Targets | Kind::Count | Kind::Switch, _) => None,
        (_, toml::Value::String(text)) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_its_unit() {
        assert_eq!(parse_duration("200ms"), Some(Duration::from_millis(200)));
        assert_eq!(parse_duration("5m"), Some(Duration::from_mins(5)));
        assert_eq!(parse_duration("0"), Some(Duration::ZERO));
        for text in
            ["10", "ten s", "", "s", "-1s", "1.5s", "1 day", "99999999999999999999h", "307445734561825861m"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn bytes_may_carry_a_binary_unit() {
        assert_eq!(parse_bytes("1048576"), Some(1 << 20));
        assert_eq!(parse_bytes("64KiB"), Some(1 << 16));
        for text in ["1MB", "", "MiB", "-1", "1.5MiB", "99999999999999999999", "18446744073709551615GiB"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }
}

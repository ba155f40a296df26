//! Reading one target's table: every key once, every complaint one sentence that names the key.

use std::{fmt, ops::RangeInclusive, path::PathBuf, time::Duration};

use crate::config::{
    Error, Secret,
    database::Url,
    file::{self, Unusable, nearest},
    secret,
    values::{Values, parse_duration},
};

/// Keys whose values are never shown, with the keys `…_file` that name a file with the value.
pub(super) const SECRET_KEYS: &[&str] = &["password", "token", "secret_key", "api_key"];

/// A URL that was seen to have a scheme and a host. `Debug` and `Display` mask a password in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Secret<String>);

impl Endpoint {
    pub(super) fn parse(text: &str, schemes: &[&str]) -> Option<Self> {
        let uri: http::Uri = text.parse().ok()?;
        let has_host = uri.host().is_some_and(|host| !host.is_empty());
        let known = uri.scheme_str().is_some_and(|scheme| schemes.contains(&scheme));
        (has_host && known).then(|| Self(Secret::new(text.to_owned())))
    }

    /// The whole URL with its password.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Whether it asks for TLS.
    pub fn is_encrypted(&self) -> bool {
        ["https:", "rediss:"].iter().any(|scheme| self.expose().starts_with(scheme))
    }

    /// Host and port, for messages.
    pub fn authority(&self) -> String {
        let uri = self.expose().parse::<http::Uri>().ok();
        let place = uri.as_ref().and_then(|uri| Some((uri.host()?, uri.port())));
        match place {
            Some((host, Some(port))) => format!("{host}:{port}"),
            Some((host, None)) => host.to_owned(),
            None => self.masked(),
        }
    }

    /// Host and port, the same for all ways to write them; every name of this machine is one.
    pub fn server(&self) -> (String, u16) {
        let uri = self.expose().parse::<http::Uri>().unwrap_or_default();
        let host = uri.host().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        let port = uri.port_u16().unwrap_or(if self.is_encrypted() { 443 } else { 80 });
        (if is_here { "localhost".to_owned() } else { host }, port)
    }

    /// The URL with masks in the places of secrets.
    pub fn masked(&self) -> String {
        secret::masked_url(self.expose())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.masked())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.masked())
    }
}

/// One target's table while it is read.
pub(super) struct Entry<'a> {
    values: &'a Values,
    name: &'a str,
    table: toml::Table,
    /// What was asked for: the keys that this kind of target has.
    known: Vec<String>,
}

impl<'a> Entry<'a> {
    pub(super) fn new(values: &'a Values, name: &'a str, table: toml::Table) -> Result<Self, Error> {
        let entry = Self { values, name, table, known: Vec::new() };
        match entry.table.get("kind") {
            Some(_) => Ok(entry),
            None => Err(entry.wrong("kind", "set", "missing")),
        }
    }

    /// The error for a key's value; `given` is a remark, never a secret.
    pub(super) fn wrong(&self, key: &str, expected: impl Into<String>, given: &str) -> Error {
        Error::Invalid { place: self.place(key), expected: expected.into(), given: given.to_owned() }
    }

    fn place(&self, key: &str) -> String {
        self.values.place_in("cascade.targets", &format!("{}.{key}", self.name))
    }

    fn take(&mut self, key: &str) -> Option<toml::Value> {
        self.known.push(key.to_owned());
        self.table.remove(key)
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, Error> {
        match self.take(key) {
            None => Ok(None),
            Some(toml::Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(value) => Err(self.wrong(key, "a text in quotes", kind_of(&value))),
        }
    }

    /// A list of up to 16 texts; one that is not given is empty.
    pub(super) fn texts(&mut self, key: &str) -> Result<Vec<String>, Error> {
        let list = match self.take(key) {
            None => return Ok(Vec::new()),
            Some(toml::Value::Array(list)) if list.len() <= 16 => list,
            Some(value) => return Err(self.wrong(key, "a list of up to 16 texts", kind_of(&value))),
        };
        let texts =
            list.iter().map(|value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned));
        texts
            .collect::<Option<_>>()
            .ok_or_else(|| self.wrong(key, "a list of texts in quotes", "another list"))
    }

    /// A text that stands for itself in names, such as a prefix: printable ASCII without spaces, up to 100 bytes.
    pub(super) fn word(&mut self, key: &str, default: &str) -> Result<String, Error> {
        match self.text(key)? {
            None => Ok(default.to_owned()),
            Some(word) if word.len() <= 100 && word.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(word),
            Some(word) => Err(self.wrong(key, "up to 100 printable letters without spaces", &quoted(&word))),
        }
    }

    /// One of some words; the default where it is not given.
    pub(super) fn choice<'c>(
        &mut self,
        key: &str,
        choices: &[&'c str],
        default: Option<&'c str>,
    ) -> Result<&'c str, Error> {
        let given = self.text(key)?;
        let chosen = match &given {
            None => default,
            Some(text) => choices.iter().copied().find(|choice| choice == text),
        };
        chosen.ok_or_else(|| {
            let names: Vec<String> = choices.iter().map(|choice| quoted(choice)).collect();
            let given = given.as_deref().map_or_else(|| "missing".to_owned(), quoted);
            self.wrong(key, format!("one of {}", names.join(", ")), &given)
        })
    }

    pub(super) fn switch(&mut self, key: &str, default: bool) -> Result<bool, Error> {
        match self.take(key) {
            None => Ok(default),
            Some(toml::Value::Boolean(switch)) => Ok(switch),
            Some(value) => Err(self.wrong(key, "true or false without quotes", kind_of(&value))),
        }
    }

    pub(super) fn count(
        &mut self,
        key: &str,
        default: u32,
        range: RangeInclusive<u32>,
    ) -> Result<u32, Error> {
        let Some(value) = self.take(key) else { return Ok(default) };
        self.in_range(key, &value, &range)
    }

    /// A count that must be there.
    pub(super) fn required_count(&mut self, key: &str, range: RangeInclusive<u32>) -> Result<u32, Error> {
        let Some(value) = self.take(key) else {
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            return Err(self.wrong(key, expected, "missing"));
        };
        self.in_range(key, &value, &range)
    }

    fn in_range(&self, key: &str, value: &toml::Value, range: &RangeInclusive<u32>) -> Result<u32, Error> {
        let count = value.as_integer().and_then(|number| u32::try_from(number).ok());
        count.filter(|count| range.contains(count)).ok_or_else(|| {
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            self.wrong(key, expected, &format!("`{value}`"))
        })
    }

    /// The longest time for one call, 10 ms to 10 min; not given, the cascade's own setting holds.
    pub(super) fn deadline(&mut self) -> Result<Option<Duration>, Error> {
        self.duration(
            "deadline",
            Duration::from_millis(10)..=Duration::from_mins(10),
            "a time from `10ms` to `10m`",
        )
    }

    /// A time of this range, which `expected` names; `None` where it is not given.
    pub(super) fn duration(
        &mut self,
        key: &str,
        range: RangeInclusive<Duration>,
        expected: &str,
    ) -> Result<Option<Duration>, Error> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        match parse_duration(&text) {
            Some(duration) if range.contains(&duration) => Ok(Some(duration)),
            _ => Err(self.wrong(key, expected, &quoted(&text))),
        }
    }

    /// A URL that must be there.
    pub(super) fn endpoint(&mut self, key: &str, schemes: &[&str]) -> Result<Endpoint, Error> {
        let text = self.text(key)?;
        self.one_endpoint(key, text.as_deref(), schemes)
    }

    /// A URL that may be left out.
    pub(super) fn optional_endpoint(
        &mut self,
        key: &str,
        schemes: &[&str],
    ) -> Result<Option<Endpoint>, Error> {
        let text = self.text(key)?;
        text.map(|text| self.one_endpoint(key, Some(&text), schemes)).transpose()
    }

    /// One URL under `url`, or several under `urls`.
    pub(super) fn endpoints(&mut self, schemes: &[&str]) -> Result<Vec<Endpoint>, Error> {
        let list = match self.take("urls") {
            None => return Ok(vec![self.endpoint("url", schemes)?]),
            Some(_) if self.table.contains_key("url") => {
                return Err(self.wrong("urls", "given alone", "given beside `url`"));
            }
            Some(toml::Value::Array(list)) if (1..=64).contains(&list.len()) => list,
            Some(value) => {
                let found = match &value {
                    toml::Value::Array(list) if list.is_empty() => "an empty list",
                    toml::Value::Array(_) => "a longer one",
                    other => kind_of(other),
                };
                return Err(self.wrong("urls", "a list of 1 to 64 URLs", found));
            }
        };
        list.iter().map(|value| self.one_endpoint("urls", value.as_str(), schemes)).collect()
    }

    fn one_endpoint(&self, key: &str, text: Option<&str>, schemes: &[&str]) -> Result<Endpoint, Error> {
        text.and_then(|text| Endpoint::parse(text, schemes)).ok_or_else(|| {
            let forms: Vec<String> = schemes.iter().map(|scheme| format!("`{scheme}://host:port`")).collect();
            // The text may hold a password, even where it does not parse.
            let given = text.map_or("missing", |_| "something else (not shown)");
            self.wrong(key, format!("a URL of the form {}", forms.join(" or ")), given)
        })
    }

    pub(super) fn database_url(&mut self, key: &str) -> Result<Url, Error> {
        let text = self.text(key)?;
        let url = text.as_deref().map_or_else(|| Err("missing".to_owned()), Url::parse);
        url.map_err(|given| self.wrong(key, Url::FORM, &given))
    }

    /// A secret under its key, or in the file that `…_file` names.
    pub(super) fn secret(&mut self, key: &str) -> Result<Option<Secret<String>>, Error> {
        debug_assert!(SECRET_KEYS.contains(&key), "{key} would be shown");
        let here = self.take(key);
        let file_key = format!("{key}_file");
        let file = self.path(&file_key)?;
        let text = match (here, file) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(self.wrong(key, "given once", &format!("given beside `{file_key}`")));
            }
            (Some(toml::Value::String(text)), None) => text,
            (Some(value), None) => return Err(self.wrong(key, "a text in quotes", kind_of(&value))),
            (None, Some(path)) => {
                let text = file::secret(&path).map_err(|why| self.unusable(&file_key, why))?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
        };
        if text.is_empty() {
            return Err(self.wrong(key, "a text that is not empty", "empty"));
        }
        Ok(Some(Secret::new(text)))
    }

    pub(super) fn path(&mut self, key: &str) -> Result<Option<PathBuf>, Error> {
        Ok(self.text(key)?.map(PathBuf::from))
    }

    /// The error for a file that a key names.
    pub(super) fn unusable(&self, key: &str, why: Unusable) -> Error {
        Error::Invalid { place: self.place(key), expected: why.expected, given: why.given }
    }

    /// Complains of a key that this kind of target does not have; most often a misspelling.
    pub(super) fn finish(&self) -> Result<(), Error> {
        let Some(key) = self.table.keys().next() else { return Ok(()) };
        let hint = nearest(key, self.known.iter().map(String::as_str))
            .map_or_else(String::new, |known| format!("; `{known}` is the nearest one"));
        Err(Error::Conflict(format!("{} is no setting of this kind of target{hint}.", self.place(key))))
    }
}

fn quoted(text: &str) -> String {
    format!("`{}`", text.escape_debug())
}

fn kind_of(value: &toml::Value) -> &'static str {
    match value {
        toml::Value::String(_) => "an empty text",
        toml::Value::Integer(_) | toml::Value::Float(_) => "a number",
        toml::Value::Boolean(_) => "true or false",
        toml::Value::Datetime(_) => "a time",
        toml::Value::Array(_) => "a list",
        toml::Value::Table(_) => "a table",
    }
}

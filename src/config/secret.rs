//! Values that must not reach a log, an error or a screen.

use std::fmt;

/// What is shown in a secret's place.
pub const MASK: &str = "****";

/// A value whose `Debug` and `Display` show only a mask; [`Secret::expose`] is the one way to read it, so that a
/// search for `expose` finds every place where a secret leaves its wrapper.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for the call that needs it and nothing else.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(MASK)
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(MASK)
    }
}

/// A URL with masks in the places of what may be secret: a password, and the values behind a question mark. Any other text
/// stays as it is.
pub fn masked_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(end);
    let authority = authority.rsplit_once('@').map_or_else(
        || authority.to_owned(),
        |(account, host)| format!("{}:{MASK}@{host}", account.split(':').next().unwrap_or_default()),
    );
    let Some(at) = behind.find(['?', '#']) else { return format!("{scheme}://{authority}{behind}") };
    let (path, secret) = behind.split_at(at);
    let (mark, values) = secret.split_at(1);
    let values: Vec<String> = values
        .split('&')
        .map(|pair| {
            pair.split_once('=').map_or_else(|| MASK.to_owned(), |(name, _)| format!("{name}={MASK}"))
        })
        .collect();
    format!("{scheme}://{authority}{path}{mark}{}", values.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_what_may_be_secret() {
        for (text, shown) in [
            ("http://cache:7001/a", "http://cache:7001/a"),
            ("http://ada:s3cr3t@cache:7001/a", "http://ada:****@cache:7001/a"),
            ("http://ada:s3@cr3t@cache:7001/a", "http://ada:****@cache:7001/a"),
            ("http://cache:7001?token=s3cr3t", "http://cache:7001?token=****"),
            ("https://a/b?x=s3cr3t&password=s3cr3t#s3cr3t", "https://a/b?x=****&password=****"),
            ("https://a?s3cr3t", "https://a?****"),
            ("https://a/b#s3cr3t", "https://a/b#****"),
            ("no url", "no url"),
        ] {
            assert_eq!(masked_url(text), shown);
        }
    }

    #[test]
    fn a_secret_shows_only_its_mask_however_it_is_printed() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "**** **** Some(****)");
        assert_eq!(secret.expose(), "hunter2");
    }
}

//! Where a PostgreSQL database is, and how a connection to it is protected.

use std::path::Path;

use tokio_postgres::config::{Host, SslMode as Known};

use super::parameters;
use crate::config::file::{self, Unusable};
use crate::config::secret::MASK;

/// What `sslmode` says of a connection. Who asks for encryption with `require` wants to know whom it talks to: it verifies
/// here, which elsewhere it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// In the clear.
    Disable,
    /// Encrypted where the server can, whoever it is: that keeps out who listens, and nobody who stands in between.
    Prefer,
    /// Encrypted; the server's certificate and its name are verified.
    Require,
    /// Encrypted; the server's certificate is verified, and not the name.
    VerifyCa,
    /// As [`SslMode::Require`].
    VerifyFull,
}

impl SslMode {
    /// Every mode.
    const ALL: [Self; 5] = [Self::Disable, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    /// The word in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    /// Whether the server has to show who it is.
    pub const fn verifies(self) -> bool {
        matches!(self, Self::Require | Self::VerifyCa | Self::VerifyFull)
    }
}

/// A PostgreSQL URL, or the `key=value` form, that has been seen to parse. `Debug` and `Display` leave the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    config: Box<tokio_postgres::Config>,
    mode: SslMode,
}

impl Url {
    /// What a setting that takes one asks for.
    pub(in crate::config) const FORM: &str =
        "a PostgreSQL URL such as `postgres://user:password@host/name?sslmode=verify-full`";

    /// Takes a URL, or says what it is instead. The text never comes back in a message, as it may hold a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        match parameters::fault(text, &SslMode::ALL.map(SslMode::as_str)) {
            Some(fault) => Err(fault),
            None => match Self::read(text) {
                Some(url) if url.names_a_host_with_an_at() => Err(
                    "one with an `@` more than it can have (not shown): in a user or a password, write it as `%40`"
                        .to_owned(),
                ),
                Some(url) => Ok(url),
                None => Err("something else (not shown)".to_owned()),
            },
        }
    }

    /// The client library takes what stands behind the first `@` for the host. No host has one: it is the end of a password,
    /// which must neither be shown nor looked up.
    fn names_a_host_with_an_at(&self) -> bool {
        let with_at = |host: &Host| matches!(host, Host::Tcp(name) if name.contains('@'));
        self.config.get_hosts().iter().any(with_at)
    }

    fn read(text: &str) -> Option<Self> {
        let (config, mode) = match text.parse::<tokio_postgres::Config>() {
            Ok(config) => {
                let mode = match config.get_ssl_mode() {
                    Known::Disable => SslMode::Disable,
                    Known::Prefer => SslMode::Prefer,
                    Known::Require => SslMode::Require,
                    _ => return None,
                };
                (config, mode)
            }
            Err(_) => verifying(text)?,
        };
        (!config.get_hosts().is_empty()).then(|| Self { config: Box::new(config), mode })
    }

    /// All that it says, its password too, as the client library takes it.
    pub const fn config(&self) -> &tokio_postgres::Config {
        &self.config
    }

    /// The same with a password that was kept elsewhere; an error where it has one.
    pub(in crate::config) fn with_password(mut self, password: &str) -> Result<Self, String> {
        if self.config.get_password().is_some() {
            return Err("given beside one in `url`".to_owned());
        }
        self.config.password(password);
        Ok(self)
    }

    /// How a connection is protected.
    pub const fn mode(&self) -> SslMode {
        self.mode
    }

    /// Reads the file with the authorities to trust in place of the system's; they say nothing where nobody is verified.
    pub(in crate::config) fn authorities(&self, path: &Path) -> Result<String, Unusable> {
        if self.mode.verifies() {
            return file::certificates(path);
        }
        Err(Unusable {
            expected:
                "left out, or the URL changed to one with `sslmode=verify-full`, `verify-ca` or `require`"
                    .to_owned(),
            given: format!("given for one with `sslmode={}`, which verifies nobody", self.mode.as_str()),
        })
    }

    /// User, hosts and database from the parsed form, so that no way of writing a password slips through.
    pub fn masked(&self) -> String {
        let config = &self.config;
        let mut text = String::from("postgres://");
        if let Some(user) = config.get_user() {
            text.push_str(user);
            if config.get_password().is_some() {
                text.push(':');
                text.push_str(MASK);
            }
            text.push('@');
        }
        let ports = config.get_ports();
        for (index, host) in config.get_hosts().iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            match host {
                Host::Tcp(name) => text.push_str(name),
                Host::Unix(path) => text.push_str(&path.display().to_string()),
            }
            if let Some(port) = ports.get(index).or_else(|| ports.first()) {
                text.push(':');
                text.push_str(&port.to_string());
            }
        }
        if let Some(name) = config.get_dbname() {
            text.push('/');
            text.push_str(name);
        }
        text.push_str("?sslmode=");
        text.push_str(self.mode.as_str());
        text
    }
}

/// A URL in a mode that the library does not know; to it, it is one that requires encryption.
fn verifying(text: &str) -> Option<(tokio_postgres::Config, SslMode)> {
    [SslMode::VerifyFull, SslMode::VerifyCa].into_iter().find_map(|mode| {
        let word = mode.as_str();
        // A password may hold the word as well. The mode is the one in whose place another makes it a URL.
        text.match_indices(word).find_map(|(at, _)| {
            let known = format!("{}require{}", &text[..at], &text[at + word.len()..]);
            let config = known.parse::<tokio_postgres::Config>().ok()?;
            (config.get_ssl_mode() == Known::Require).then_some((config, mode))
        })
    })
}

impl std::fmt::Debug for Url {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.masked())
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.masked())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_masked_in_every_form_of_url() {
        for text in [
            "postgres://ada:s3cr3t@db.example/registry",
            "postgresql://ada:s3%63r3t@db.example:5432/registry?connect_timeout=5",
            "postgres://ada@db.example/registry?password=s3cr3t",
            "host=db.example user=ada password='s3cr3t' dbname=registry",
            "host=db.example user=ada password='s3 verify-full' dbname=registry sslmode=verify-full",
        ] {
            let url = Url::parse(text).expect(text);
            let shown = format!("{url} {url:?}");
            assert!(!shown.contains("s3"), "{shown}");
            assert!(shown.starts_with("postgres://ada:****@db.example"), "{shown}");
        }
    }

    #[test]
    fn an_at_in_a_password_is_told_without_the_password() {
        for text in
            ["postgres://tn:sec@ret@localhost/r", "postgres://tn:sec@ret@localhost", "host='sec@ret' user=tn"]
        {
            let why = Url::parse(text).unwrap_err();
            assert!(why.contains("%40") && !why.contains("sec") && !why.contains("ret"), "{why}");
        }
        let url = Url::parse("postgres://tn:sec%40ret@localhost/r").unwrap();
        assert_eq!(url.config().get_password(), Some(b"sec@ret".as_slice()));
        assert_eq!(url.masked(), "postgres://tn:****@localhost:5432/r?sslmode=prefer");
    }

    #[test]
    fn a_url_keeps_every_host_when_masked() {
        let url = Url::parse("postgres://ada@a:5432,b:5433/registry").unwrap();
        assert_eq!(url.masked(), "postgres://ada@a:5432,b:5433/registry?sslmode=prefer");
        assert_eq!(Url::parse(&url.masked()), Ok(url));
    }

    #[test]
    fn every_mode_of_libpq_that_means_something_is_taken() {
        for (text, mode, verifies) in [
            ("postgres://db/registry", SslMode::Prefer, false),
            ("postgres://db/registry?sslmode=disable", SslMode::Disable, false),
            ("postgres://db/registry?sslmode=prefer", SslMode::Prefer, false),
            ("postgres://db/registry?sslmode=require", SslMode::Require, true),
            ("host=db sslmode=require", SslMode::Require, true),
            ("postgres://db/registry?sslmode=verify-ca", SslMode::VerifyCa, true),
            ("postgres://db/registry?connect_timeout=5&sslmode=verify-full", SslMode::VerifyFull, true),
            ("host=db sslmode = 'verify-full' dbname=registry", SslMode::VerifyFull, true),
        ] {
            let url = Url::parse(text).expect(text);
            assert_eq!((url.mode(), url.mode().verifies()), (mode, verifies), "{text}");
            assert!(url.masked().ends_with(&format!("?sslmode={}", mode.as_str())), "{url}");
        }
        for text in ["postgres://db/r?sslmode=allow", "postgres://db/r?sslmode=verify", "verify-full"] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_word_for_a_mode_may_be_in_a_password() {
        let url = Url::parse("postgres://ada:verify-full@db/registry?sslmode=verify-full").unwrap();
        assert_eq!(url.config().get_password(), Some(b"verify-full".as_slice()));
        let url = Url::parse("postgres://ada:verify-ca@db/registry").unwrap();
        assert_eq!(
            (url.config().get_password(), url.mode()),
            (Some(b"verify-ca".as_slice()), SslMode::Prefer)
        );
    }

    #[test]
    fn text_that_names_no_host_is_no_url() {
        for text in ["", "mysql://ada@db/registry", "registry", "postgres://"] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }
}

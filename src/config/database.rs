//! The connection to the registry's PostgreSQL database.

use std::time::Duration;

use tokio_postgres::config::{Host, SslMode};

use super::{
    Error,
    secret::{MASK, Secret},
    setting::{Kind, Setting, setting},
    values::Values,
};

/// A PostgreSQL URL, or the `key=value` form, that has been seen to parse. `Debug` and `Display` leave the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(Secret<String>);

impl Url {
    /// Takes a URL; `None` when it is not one. The text never comes back in a message, as it may hold a password.
    pub fn parse(text: &str) -> Option<Self> {
        let config: tokio_postgres::Config = text.parse().ok()?;
        (!config.get_hosts().is_empty()).then(|| Self(Secret::new(text.to_owned())))
    }

    /// The whole URL with its password.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Whether every connection is encrypted: `sslmode=require`. The default, `prefer`, takes what the server offers.
    pub fn requires_tls(&self) -> bool {
        let config = self.expose().parse::<tokio_postgres::Config>();
        config.is_ok_and(|config| config.get_ssl_mode() == SslMode::Require)
    }

    /// User, hosts and database from the parsed form, so that no way of writing a password slips through.
    pub fn masked(&self) -> String {
        let Ok(config) = self.expose().parse::<tokio_postgres::Config>() else {
            return MASK.to_owned();
        };
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
        text
    }
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

/// How to reach PostgreSQL and how long to wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Where the database is; unset under `tenantry dev`, which runs its own. See [`Database::required_url`].
    pub url: Option<Url>,
    /// Connections in the pool, 1 to 1,000. Reads never use them: they serve writes, the follower and the cascade.
    pub pool_size: usize,
    /// Longest time to open a connection, handshake included; 10 ms to 5 min.
    pub connect_timeout: Duration,
    /// Longest time to wait for a free pooled connection; 10 ms to 5 min.
    pub pool_wait_timeout: Duration,
    /// Longest time for one statement, set on the session and enforced by a deadline of our own; 10 ms to 10 min.
    pub statement_timeout: Duration,
    /// Unacknowledged data drops the connection after this time; 1 s to 10 min.
    pub tcp_user_timeout: Duration,
    /// An idle connection is probed after this time; 1 s to 1 h.
    pub keepalive_idle: Duration,
}

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "database.url",
        "database-url",
        None,
        Kind::DatabaseUrl,
        "PostgreSQL database of the registry: postgres://user:password@host/name.",
    ),
    setting(
        "database.pool_size",
        "database-pool-size",
        Some("8"),
        Kind::Count,
        "Connections in the pool of each process.",
    ),
    setting(
        "database.connect_timeout",
        "database-connect-timeout",
        Some("5s"),
        Kind::Duration,
        "Longest time to open a connection.",
    ),
    setting(
        "database.pool_wait_timeout",
        "database-pool-wait-timeout",
        Some("2s"),
        Kind::Duration,
        "Longest time to wait for a free pooled connection.",
    ),
    setting(
        "database.statement_timeout",
        "database-statement-timeout",
        Some("5s"),
        Kind::Duration,
        "Longest time for one statement.",
    ),
    setting(
        "database.tcp_user_timeout",
        "database-tcp-user-timeout",
        Some("10s"),
        Kind::Duration,
        "Unacknowledged data drops a connection after this time.",
    ),
    setting(
        "database.keepalive_idle",
        "database-keepalive-idle",
        Some("30s"),
        Kind::Duration,
        "An idle connection is probed after this time.",
    ),
];

impl Database {
    pub(super) fn read(values: &Values) -> Result<Self, Error> {
        let wait = Duration::from_millis(10)..=Duration::from_mins(5);
        Ok(Self {
            url: values.database_url("database.url")?,
            pool_size: values.count("database.pool_size", 1..=1_000)?,
            connect_timeout: values.duration("database.connect_timeout", wait.clone())?,
            pool_wait_timeout: values.duration("database.pool_wait_timeout", wait)?,
            statement_timeout: values.duration(
                "database.statement_timeout",
                Duration::from_millis(10)..=Duration::from_mins(10),
            )?,
            tcp_user_timeout: values
                .duration("database.tcp_user_timeout", Duration::from_secs(1)..=Duration::from_mins(10))?,
            keepalive_idle: values
                .duration("database.keepalive_idle", Duration::from_secs(1)..=Duration::from_hours(1))?,
        })
    }

    /// The URL, or the error that says how to give one.
    pub fn required_url(&self) -> Result<&Url, Error> {
        self.url.as_ref().ok_or_else(|| Error::Missing {
            key: "database.url",
            flag: "database-url",
            env: "TENANTRY_DATABASE_URL".to_owned(),
        })
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
        ] {
            let url = Url::parse(text).expect(text);
            let shown = format!("{url} {url:?}");
            assert!(!shown.contains("s3"), "{shown}");
            assert!(shown.starts_with("postgres://ada:****@db.example"), "{shown}");
            assert_eq!(url.expose(), text);
        }
    }

    #[test]
    fn a_url_keeps_every_host_when_masked() {
        let url = Url::parse("postgres://ada@a:5432,b:5433/registry").unwrap();
        assert_eq!(url.masked(), "postgres://ada@a:5432,b:5433/registry");
    }

    #[test]
    fn only_a_url_that_says_so_requires_encryption() {
        for (text, is_required) in [
            ("postgres://db/registry?sslmode=require", true),
            ("host=db sslmode=require", true),
            ("postgres://db/registry?sslmode=prefer", false),
            ("postgres://db/registry", false),
        ] {
            assert_eq!(Url::parse(text).unwrap().requires_tls(), is_required, "{text}");
        }
    }

    #[test]
    fn text_that_names_no_host_is_no_url() {
        for text in ["", "mysql://ada@db/registry", "registry", "postgres://"] {
            assert!(Url::parse(text).is_none(), "{text}");
        }
    }
}

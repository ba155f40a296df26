//! The connection to the registry's PostgreSQL database.

mod parameters;
mod url;

use std::path::Path;
use std::time::Duration;

pub use self::url::{SslMode, Url};
use super::{
    Error,
    setting::{Kind, Setting, setting},
    values::Values,
};

/// How to reach PostgreSQL and how long to wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Where the database is; unset under `tenantry dev`, which runs its own. See [`Database::required_url`].
    pub url: Option<Url>,
    /// PEM text of the authorities to trust in place of the system's.
    pub authorities: Option<String>,
    /// Connections in the pool, 1 to 1,000. Reads never use them: they serve the look for repeated requests, leases and
    /// what the view does not hold. The writer and the follower have one more each.
    pub pool_size: usize,
    /// Connections of the target in the registry's own database, 1 to 1,000; and so as many of its attempts at once.
    pub target_pool_size: usize,
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
        "PostgreSQL database of the registry: postgres://user:password@host/name?sslmode=verify-full.",
    ),
    setting(
        "database.ca_file",
        "database-ca-file",
        None,
        Kind::Path,
        "PEM file with the authorities to trust in place of the system's; for sslmode require, verify-ca, verify-full.",
    ),
    setting(
        "database.pool_size",
        "database-pool-size",
        Some("8"),
        Kind::Count,
        "Connections in the pool of each process.",
    ),
    setting(
        "database.target_pool_size",
        "database-target-pool-size",
        Some("8"),
        Kind::Count,
        "Connections of the target `postgres` in the registry's own database, apart from the pool.",
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
        let url = values.database_url("database.url")?;
        let authorities = authorities(values, url.as_ref())?;
        Ok(Self {
            url,
            authorities,
            pool_size: values.count("database.pool_size", 1..=1_000)?,
            target_pool_size: values.count("database.target_pool_size", 1..=1_000)?,
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

/// What is in the file of `database.ca_file`. `dev`, which has a database of its own, has no use for it.
fn authorities(values: &Values, url: Option<&Url>) -> Result<Option<String>, Error> {
    let key = "database.ca_file";
    let (Some(path), Some(url)) = (values.optional_text(key), url) else { return Ok(None) };
    let read = url.authorities(Path::new(&path));
    read.map(Some).map_err(|why| values.unusable(key, why))
}

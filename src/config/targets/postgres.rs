//! Row-level security in an application's database.

use std::time::Duration;

use super::entry::Entry;
use crate::config::{Error, database::Url};

/// How an application's database is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    /// The database, as a user that may write `tenancy.access`, act as the application's role and see every row.
    pub url: Url,
    /// PEM text of the authorities to trust in place of the system's.
    pub authorities: Option<String>,
    /// The role as which applications read and write: verifying means being it for a moment.
    pub role: String,
    /// Whether to make the `tenancy` schema where there is none.
    pub install: bool,
    /// Whether to end transactions of the role that began before a tenant was locked out, whomever they are busy with.
    pub ends_transactions: bool,
    /// How long a look goes by what an earlier one found in order of tables, policies, owners and roles; 0 to 1 min. A change
    /// of a tenant goes by what it finds itself.
    pub rights_age: Duration,
    /// Rows removed in one statement, 1 to 100,000.
    pub batch: u32,
    /// Connections to it, 1 to 100.
    pub pool_size: u32,
    /// Longest time for one call.
    pub deadline: Option<Duration>,
}

impl Postgres {
    pub(super) fn read(entry: &mut Entry<'_>) -> Result<Self, Error> {
        let role = entry.word("role", "tenantry_app")?;
        // PostgreSQL cuts longer names silently.
        if role.len() > 63 {
            return Err(entry.wrong("role", "a role's name of up to 63 letters", "longer"));
        }
        let mut url = entry.database_url("url")?;
        if let Some(password) = entry.secret("password")? {
            url = url
                .with_password(password.expose())
                .map_err(|given| entry.wrong("password", "given once", &given))?;
        }
        let authorities = entry.path("ca_file")?.map(|path| url.authorities(&path)).transpose();
        let authorities = authorities.map_err(|why| entry.unusable("ca_file", why))?;
        Ok(Self {
            url,
            authorities,
            role,
            install: entry.switch("install", false)?,
            ends_transactions: entry.switch("end_transactions", false)?,
            rights_age: entry
                .duration("rights_age", Duration::ZERO..=Duration::from_mins(1), "a time from `0s` to `1m`")?
                .unwrap_or(Duration::from_secs(1)),
            batch: entry.count("batch", 1_000, 1..=100_000)?,
            pool_size: entry.count("pool_size", 4, 1..=100)?,
            deadline: entry.deadline()?,
        })
    }
}

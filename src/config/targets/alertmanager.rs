//! Silences in Alertmanager.

use std::time::Duration;

use super::{Endpoint, Tls, entry::Entry};
use crate::config::{Error, Secret};

/// How we show who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// We do not.
    None,
    /// By basic authentication.
    Basic {
        /// The account.
        username: String,
        /// Its password.
        password: Secret<String>,
    },
    /// By a bearer token.
    Bearer(Secret<String>),
}

/// How Alertmanager is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alertmanager {
    /// `http://host:port`, with a path where it is served below one.
    pub endpoint: Endpoint,
    /// How we show who we are.
    pub login: Login,
    /// Whom we trust and who we are.
    pub tls: Tls,
    /// The label whose value names the tenant.
    pub label: String,
    /// Longest time for one call.
    pub deadline: Option<Duration>,
}

impl Alertmanager {
    pub(super) fn read(entry: &mut Entry<'_>) -> Result<Self, Error> {
        let endpoint = entry.endpoint("url", &["http", "https"])?;
        let (username, password) = (entry.text("username")?, entry.secret("password")?);
        let login = match (username, password, entry.secret("token")?) {
            (None, None, None) => Login::None,
            (None, None, Some(token)) => Login::Bearer(token),
            (Some(username), Some(password), None) => Login::Basic { username, password },
            (_, _, Some(_)) => return Err(entry.wrong("token", "given alone", "given beside a username")),
            (Some(_), None, None) => return Err(entry.wrong("password", "set beside `username`", "missing")),
            (None, Some(_), None) => return Err(entry.wrong("username", "set beside `password`", "missing")),
        };
        let label = entry.word("label", "tenant")?;
        let is_label = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !label.starts_with(|first: char| first.is_ascii_digit());
        if !is_label {
            return Err(entry.wrong("label", "a label's name: letters, digits and `_`", "something else"));
        }
        let tls = Tls::read(entry, std::slice::from_ref(&endpoint))?;
        Ok(Self { endpoint, login, tls, label, deadline: entry.deadline()? })
    }
}

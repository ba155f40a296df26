//! A service that speaks `tenantry.participant.v1`.

use std::time::Duration;

use super::{Endpoint, Tls, entry::Entry};
use crate::config::Error;

/// How a remote participant is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// `http://host:port` or `https://host:port`.
    pub endpoint: Endpoint,
    /// Whom we trust and who we are.
    pub tls: Tls,
    /// The name in the service's certificate where it differs from the URL's host.
    pub server_name: Option<String>,
    /// Longest time for one call.
    pub deadline: Option<Duration>,
}

impl Remote {
    /// One that needs nothing but its place; `None` where that is no `http://` or `https://` URL.
    pub fn at(place: &str) -> Option<Self> {
        Endpoint::parse(place, &["http", "https"]).map(Self::plain)
    }

    /// One that needs nothing but its endpoint.
    const fn plain(endpoint: Endpoint) -> Self {
        Self { endpoint, tls: Tls { authorities: None, identity: None }, server_name: None, deadline: None }
    }

    pub(super) fn read(entry: &mut Entry<'_>) -> Result<Self, Error> {
        let endpoint = entry.endpoint("url", &["http", "https"])?;
        let tls = Tls::read(entry, std::slice::from_ref(&endpoint))?;
        let server_name = entry.text("server_name")?;
        if server_name.is_some() && !endpoint.is_encrypted() {
            return Err(entry.wrong("server_name", "left out", "given for a URL without TLS"));
        }
        Ok(Self { endpoint, tls, server_name, deadline: entry.deadline()? })
    }
}

//! A cache in Redis or Valkey.

use std::time::Duration;

use super::{Endpoint, Tls, entry::Entry};
use crate::config::{Error, Secret};

/// How the cache is reached, and what its tenants have there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// `redis://` or `rediss://`; of a cluster, any nodes that lead to the others.
    pub endpoints: Vec<Endpoint>,
    /// Whether it is a cluster.
    pub is_cluster: bool,
    /// The control plane's account; the URL's, or none, where not given.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret<String>>,
    /// Whom we trust and who we are.
    pub tls: Tls,
    /// What the name of a tenant's own ACL user starts with, the uid follows; `None` where tenants have no users and
    /// applications ask the status key.
    pub user_prefix: Option<String>,
    /// What the status key starts with, the uid follows.
    pub status_prefix: String,
    /// The channel on which invalidations are published.
    pub channel: String,
    /// Keys looked at and removed in one call, 10 to 10,000.
    pub batch: u32,
    /// The former place from which tenants' things were moved, in the words of [`super::Target::place`].
    pub moved_from: Option<String>,
    /// Longest time for one call.
    pub deadline: Option<Duration>,
}

impl Redis {
    pub(super) fn read(entry: &mut Entry<'_>) -> Result<Self, Error> {
        let endpoints = entry.endpoints(&["redis", "rediss"])?;
        let is_cluster = entry.choice("mode", &["single", "cluster"], Some("single"))? == "cluster";
        if !is_cluster && endpoints.len() > 1 {
            return Err(entry.wrong("urls", "one URL, or `mode = \"cluster\"` set", "several"));
        }
        let has_users = entry.choice("users", &["none", "acl"], Some("none"))? == "acl";
        let user_prefix = entry.word("user_prefix", "t-")?;
        Ok(Self {
            tls: Tls::read(entry, &endpoints)?,
            endpoints,
            is_cluster,
            username: entry.text("username")?,
            password: entry.secret("password")?,
            user_prefix: has_users.then_some(user_prefix),
            status_prefix: entry.word("status_prefix", "tenantry:tenant:")?,
            channel: entry.word("channel", "tenantry:invalidate")?,
            batch: entry.count("batch", 500, 10..=10_000)?,
            moved_from: entry.text("moved_from")?,
            deadline: entry.deadline()?,
        })
    }

    /// See [`super::Target::place`].
    pub(super) fn place(&self) -> String {
        let users = self.user_prefix.as_ref();
        let users = users
            .map_or_else(|| "users none".to_owned(), |prefix| format!("users acl, user_prefix {prefix}"));
        format!("status_prefix {}, {users}", self.status_prefix)
    }
}

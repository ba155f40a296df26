//! A vector database: Qdrant 1.16 or later, over gRPC.

use std::time::Duration;

use super::{Endpoint, Tls, entry::Entry};
use crate::config::{Error, Secret};

/// Letters that Qdrant does not take in a collection's name.
const FORBIDDEN: &[char] = &['<', '>', ':', '"', '/', '\\', '|', '?', '*'];

/// How a Qdrant is reached, and what a tenant's collection is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qdrant {
    /// The gRPC addresses of all its nodes, `http://host:port` or `https://host:port`. Snapshots lie on each node by
    /// itself.
    pub endpoints: Vec<Endpoint>,
    /// Whom we trust and who we are.
    pub tls: Tls,
    /// The name in the server's certificate where it differs from the URL's host.
    pub server_name: Option<String>,
    /// The service's own key, by which tenants' tokens are signed too; `None` for a server that asks for none.
    pub api_key: Option<Secret<String>>,
    /// The collection with a point for each tenant, which its tokens are held against.
    pub records: String,
    /// The name of a tenant's collection, with `{uid}` in it.
    pub collection: String,
    /// Dimensions of the vectors of a collection that we make, 1 to 65,536.
    pub vector_size: u32,
    /// How those are compared.
    pub distance: Distance,
    /// On how many nodes a collection that we make is kept, 1 to 64.
    pub replication_factor: u32,
    /// The former place from which tenants' things were moved, in the words of [`super::Target::place`].
    pub moved_from: Option<String>,
    /// Longest time for one call.
    pub deadline: Option<Duration>,
}

/// How vectors are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distance {
    /// By their angle.
    Cosine,
    /// By their product.
    Dot,
    /// By the straight line between them.
    Euclid,
    /// By the sum of their differences.
    Manhattan,
}

impl Qdrant {
    pub(super) fn read(entry: &mut Entry<'_>) -> Result<Self, Error> {
        let endpoints = entry.endpoints(&["http", "https"])?;
        let tls = Tls::read(entry, &endpoints)?;
        let server_name = entry.text("server_name")?;
        if server_name.is_some() && !endpoints.iter().all(Endpoint::is_encrypted) {
            return Err(entry.wrong("server_name", "left out", "given for a URL without TLS"));
        }
        Ok(Self {
            endpoints,
            tls,
            server_name,
            api_key: entry.secret("api_key")?,
            // Names of tenants' aliases have no dot: none can be that of this collection, or of another tenant's.
            records: name(entry, "records", "tenantry.records", &["."])?,
            collection: name(entry, "collection", "t.{uid}", &[".", "{uid}"])?,
            vector_size: entry.required_count("vector_size", 1..=65_536)?,
            distance: distance(entry)?,
            replication_factor: entry.count("replication_factor", 1, 1..=64)?,
            moved_from: entry.text("moved_from")?,
            deadline: entry.deadline()?,
        })
    }

    /// See [`super::Target::place`].
    pub(super) fn place(&self) -> String {
        format!("collection {}, records {}", self.collection, self.records)
    }
}

fn name(entry: &mut Entry<'_>, key: &str, default: &str, parts: &[&str]) -> Result<String, Error> {
    let name = entry.word(key, default)?;
    if name.contains(FORBIDDEN) || !parts.iter().all(|part| name.contains(part)) {
        let parts: Vec<String> = parts.iter().map(|part| format!("`{part}`")).collect();
        let expected = format!("a collection's name with {} in it", parts.join(" and "));
        return Err(entry.wrong(key, expected, &format!("`{name}`")));
    }
    Ok(name)
}

fn distance(entry: &mut Entry<'_>) -> Result<Distance, Error> {
    let names = ["cosine", "dot", "euclid", "manhattan"];
    Ok(match entry.choice("distance", &names, Some("cosine"))? {
        "dot" => Distance::Dot,
        "euclid" => Distance::Euclid,
        "manhattan" => Distance::Manhattan,
        _ => Distance::Cosine,
    })
}

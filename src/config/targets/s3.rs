//! An object store that speaks S3.

use std::path::PathBuf;
use std::time::Duration;

use super::{Endpoint, entry::Entry, tls};
use crate::config::{Error, Secret};
use crate::domain::tenant::BucketNames;

/// What AWS takes, in bytes; others take 4 to 20 KiB.
const POLICY_BYTES_MAX: u32 = 20_480;

/// About as many as a store removes in the time of one attempt.
const PURGE_MAX: u32 = 100_000;

/// How an object store is reached and what is done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    /// `http://host:port` or `https://host:port`; `None` is AWS itself.
    pub endpoint: Option<Endpoint>,
    /// The region that requests are signed for.
    pub region: String,
    /// Whether the bucket stands in the path rather than in the host's name.
    pub path_style: bool,
    /// Our own credential; `None` takes what the surroundings offer, as AWS's tools do.
    pub keys: Option<Keys>,
    /// PEM text of the authorities to trust in place of the system's.
    pub authorities: Option<String>,
    /// Where tenants' data is.
    pub layout: Layout,
    /// How a tenant is denied.
    pub deny: Deny,
    /// Most bytes of a bucket's policy, 1,024 to 1,048,576.
    pub policy_bytes_max: u32,
    /// Most objects, versions and uploads that one attempt removes, 1,000 to 10,000,000.
    pub purge_max: u32,
    /// A file with a credential of each tenant, by which its access is tried; without, only policies are read.
    pub probe_credentials: Option<PathBuf>,
    /// An object that the profile `NEIGHBOUR` of that file may read in every shared bucket, whatever happens to tenants.
    pub neighbour_key: Option<String>,
    /// The former place from which tenants' things were moved, in the words of [`super::Target::place`].
    pub moved_from: Option<String>,
    /// Longest time for one call.
    pub deadline: Option<Duration>,
    /// Buckets of the same store that are other targets' own: no tenant shares one.
    pub taken: Vec<Taken>,
}

/// Buckets that are one target's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Whose.
    pub target: String,
    /// Which.
    pub names: BucketNames,
}

/// A credential of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Its name.
    pub access_key: String,
    /// Its secret.
    pub secret_key: Secret<String>,
}

/// Where tenants' data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// Below the tenant's prefix of the bucket that its resource names say; several tenants share a bucket.
    Prefix,
    /// In a bucket of its own.
    Bucket {
        /// The bucket's name, with `{uid}` in it.
        name: String,
        /// The bucket in which we keep what we know of tenants.
        records: String,
    },
}

impl Layout {
    /// The buckets that it makes, and the one with its records; none where tenants share theirs.
    pub fn own(&self) -> Option<[BucketNames; 2]> {
        match self {
            Self::Prefix => None,
            Self::Bucket { name, records } => Some([name, records].map(|name| BucketNames::of(name))),
        }
    }

    /// See [`super::Target::place`].
    pub(super) fn place(&self) -> String {
        match self {
            Self::Prefix => "layout prefix".to_owned(),
            Self::Bucket { name, records } => {
                format!("layout bucket, bucket {name}, records_bucket {records}")
            }
        }
    }
}

/// How a tenant is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deny {
    /// The bucket's policy denies these principals, each with `{tenant_id}` or `{uid}` in it.
    Principals(Vec<String>),
}

impl S3 {
    pub(super) fn read(entry: &mut Entry<'_>) -> Result<Self, Error> {
        let endpoint = entry.optional_endpoint("url", &["http", "https"])?;
        let authorities = tls::authorities(entry, endpoint.as_ref().is_none_or(Endpoint::is_encrypted))?;
        let settings = Self {
            region: entry.word("region", "us-east-1")?,
            path_style: entry.switch("path_style", endpoint.is_some())?,
            keys: keys(entry)?,
            layout: layout(entry)?,
            deny: deny(entry)?,
            policy_bytes_max: entry.count("policy_bytes_max", POLICY_BYTES_MAX, 1_024..=1 << 20)?,
            purge_max: entry.count("purge_max", PURGE_MAX, 1_000..=10_000_000)?,
            probe_credentials: entry.path("probe_credentials_file")?,
            neighbour_key: entry.text("neighbour_key")?,
            moved_from: entry.text("moved_from")?,
            deadline: entry.deadline()?,
            // Known when all targets are read.
            taken: Vec::new(),
            endpoint,
            authorities,
        };
        if settings.neighbour_key.is_some() && settings.probe_credentials.is_none() {
            return Err(entry.wrong(
                "neighbour_key",
                "left out, or `probe_credentials_file` set beside it",
                "given without a credential to try it with",
            ));
        }
        Ok(settings)
    }
}

fn keys(entry: &mut Entry<'_>) -> Result<Option<Keys>, Error> {
    match (entry.text("access_key")?, entry.secret("secret_key")?) {
        (None, None) => Ok(None),
        (Some(access_key), Some(secret_key)) => Ok(Some(Keys { access_key, secret_key })),
        (Some(_), None) => Err(entry.wrong("secret_key", "set beside `access_key`", "missing")),
        (None, Some(_)) => Err(entry.wrong("access_key", "set beside `secret_key`", "missing")),
    }
}

fn layout(entry: &mut Entry<'_>) -> Result<Layout, Error> {
    if entry.choice("layout", &["prefix", "bucket"], Some("prefix"))? == "prefix" {
        return Ok(Layout::Prefix);
    }
    let name = entry.word("bucket", "t-{uid}")?;
    let records = entry.text("records_bucket")?;
    let records = records.ok_or_else(|| entry.wrong("records_bucket", "a bucket's name", "missing"))?;
    // Two tenants with one bucket would be suspended, and removed, together. 63 letters are a bucket's name at most.
    if !name.contains("{uid}") || name.replace("{uid}", "").len() > 63 - 32 {
        return Err(entry.wrong(
            "bucket",
            "a name of up to 63 letters with `{uid}` (32 letters) in it",
            "another",
        ));
    }
    Ok(Layout::Bucket { name, records })
}

fn deny(entry: &mut Entry<'_>) -> Result<Deny, Error> {
    entry.choice("deny", &["principals"], None)?;
    let principals = entry.texts("principals")?;
    let names_tenant = |principal: &String| principal.contains("{tenant_id}") || principal.contains("{uid}");
    if principals.is_empty() || !principals.iter().all(names_tenant) {
        return Err(entry.wrong(
            "principals",
            "a list of 1 to 16 such as `arn:aws:iam:::user/{tenant_id}`, each with `{tenant_id}` or `{uid}` in it",
            "something else",
        ));
    }
    Ok(Deny::Principals(principals))
}

//! The systems that follow a tenant's state: which there are, of which kind, and how each is reached.
//!
//! A target is a table of the file, `[cascade.targets.NAME]` with a `kind`, or the same as TOML behind `--targets` or in
//! `TENANTRY_TARGETS`. `--participants NAME=PLACE` is the short form for targets that need nothing but a place. Secrets
//! can be left out of both: `password_file = "/run/secrets/cache"` in place of `password`.

pub mod alertmanager;
mod apart;
mod entry;
pub mod postgres;
pub mod qdrant;
pub mod redis;
pub mod remote;
mod render;
pub mod s3;
mod tls;

use std::collections::{BTreeMap, btree_map::Entry as MapEntry};
use std::time::Duration;

use self::entry::Entry;
pub(super) use self::render::render;
pub use self::{
    alertmanager::Alertmanager, entry::Endpoint, postgres::Postgres, qdrant::Qdrant, redis::Redis,
    remote::Remote, s3::S3, tls::Tls,
};
use super::{
    Error,
    secret::masked_url,
    values::{Source, Values},
};

/// A system that follows tenants' states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Row-level security inside the registry's own database.
    Registry,
    /// Row-level security in an application's database.
    Postgres(Postgres),
    /// A cache.
    Redis(Redis),
    /// Silences in monitoring.
    Alertmanager(Alertmanager),
    /// A service that speaks `tenantry.participant.v1`.
    Remote(Remote),
    /// An object store.
    S3(Box<S3>),
    /// A vector database.
    Qdrant(Box<Qdrant>),
}

impl Target {
    /// Longest time for one call; `None` where the cascade's own setting holds.
    pub const fn deadline(&self) -> Option<Duration> {
        match self {
            Self::Registry => None,
            Self::Postgres(settings) => settings.deadline,
            Self::Redis(settings) => settings.deadline,
            Self::Alertmanager(settings) => settings.deadline,
            Self::Remote(settings) => settings.deadline,
            Self::S3(settings) => settings.deadline,
            Self::Qdrant(settings) => settings.deadline,
        }
    }

    /// Where tenants' things are at it, by the settings that decide that and never by its address; `None` for kinds without
    /// such settings. The words are kept in the database: others for the same place would stop servers from starting.
    pub fn place(&self) -> Option<String> {
        match self {
            Self::Redis(settings) => Some(settings.place()),
            Self::S3(settings) => Some(settings.layout.place()),
            Self::Qdrant(settings) => Some(settings.place()),
            Self::Registry | Self::Postgres(_) | Self::Alertmanager(_) | Self::Remote(_) => None,
        }
    }

    /// The former place from which somebody says that tenants' things were moved.
    pub fn moved_from(&self) -> Option<&str> {
        match self {
            Self::Redis(settings) => settings.moved_from.as_deref(),
            Self::S3(settings) => settings.moved_from.as_deref(),
            Self::Qdrant(settings) => settings.moved_from.as_deref(),
            Self::Registry | Self::Postgres(_) | Self::Alertmanager(_) | Self::Remote(_) => None,
        }
    }

    fn read(entry: &mut Entry<'_>) -> Result<Self, Error> {
        let kinds = ["postgres", "redis", "alertmanager", "s3", "qdrant", "remote"];
        let target = match entry.choice("kind", &kinds, None)? {
            "postgres" => Self::Postgres(Postgres::read(entry)?),
            "redis" => Self::Redis(Redis::read(entry)?),
            "alertmanager" => Self::Alertmanager(Alertmanager::read(entry)?),
            "s3" => Self::S3(Box::new(S3::read(entry)?)),
            "qdrant" => Self::Qdrant(Box::new(Qdrant::read(entry)?)),
            _ => Self::Remote(Remote::read(entry)?),
        };
        entry.finish()?;
        Ok(target)
    }
}

const PAIRS: &str = "cascade.participants";
const TABLES: &str = "cascade.targets";

/// Every target by name, from both forms. A default pair yields to a table of the same name; a name that somebody gave
/// twice is an error.
pub(super) fn read(values: &Values) -> Result<BTreeMap<String, Target>, Error> {
    let mut targets = BTreeMap::new();
    for (name, table) in tables(values)? {
        check_name(&name).map_err(|expected| values.invalid(TABLES, expected, &name))?;
        let target = Target::read(&mut Entry::new(values, &name, table)?)?;
        targets.insert(name, target);
    }
    for (name, place) in values.map(PAIRS)? {
        let target = check_name(&name)
            .and_then(|()| pair(&place))
            .map_err(|expected| values.invalid(PAIRS, expected, &format!("{name}={}", masked_url(&place))))?;
        match targets.entry(name) {
            MapEntry::Vacant(free) => drop(free.insert(target)),
            MapEntry::Occupied(_) if values.source(PAIRS) == Some(&Source::Default) => {}
            MapEntry::Occupied(taken) => {
                return Err(values.invalid(
                    PAIRS,
                    "free of names that `cascade.targets` has too",
                    taken.key(),
                ));
            }
        }
    }
    apart::check(&mut targets)?;
    Ok(targets)
}

fn tables(values: &Values) -> Result<Vec<(String, toml::Table)>, Error> {
    let Some(text) = values.optional_text(TABLES) else { return Ok(Vec::new()) };
    // Not shown in the error: it may hold a secret.
    let malformed =
        || values.invalid_unseen(TABLES, "TOML such as `cache = { kind = \"redis\", url = \"…\" }`");
    let document: toml::Table = text.parse().map_err(|_| malformed())?;
    document
        .into_iter()
        .map(|(name, value)| match value {
            toml::Value::Table(table) => Ok((name, table)),
            _ => Err(malformed()),
        })
        .collect()
}

pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !letters || name.len() > 63 || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        return Err("named with 1 to 63 of `a-z`, `0-9` and `-`, a letter first");
    }
    Ok(())
}

fn pair(place: &str) -> Result<Target, &'static str> {
    if place == "postgres" {
        return Ok(Target::Registry);
    }
    if place.contains('@') {
        return Err("an endpoint without credentials in it");
    }
    Remote::at(place).map(Target::Remote).ok_or("`NAME=postgres` or `NAME=http://host:port`")
}

#[cfg(test)]
mod tests;

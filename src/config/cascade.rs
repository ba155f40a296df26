//! The cascade engine: its lease, its patience, and the systems it drives.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Error,
    setting::{Kind, Setting, setting},
    values::Values,
};

/// Where a target system is driven from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Participant {
    /// The PostgreSQL target inside the registry's own database.
    Postgres,
    /// A service that speaks `tenantry.participant.v1`, at this `http://` or `https://` endpoint.
    Remote(String),
}

/// The engine's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cascade {
    /// Time a worker owns a claimed row before another may take it over; 1 s to 10 min.
    pub lease: Duration,
    /// Longest time one call to a participant may take; 10 ms to 10 min.
    pub apply_deadline: Duration,
    /// Attempts per target before an operator is asked, 1 to 1,000.
    pub max_attempts: u32,
    /// Target name to where it is driven from. Names are 1 to 63 of `a-z`, `0-9` and `-`, a letter first.
    pub participants: BTreeMap<String, Participant>,
}

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "cascade.lease",
        "cascade-lease",
        Some("10s"),
        Kind::Duration,
        "Time a worker owns a claimed row before another may take it over.",
    ),
    setting(
        "cascade.apply_deadline",
        "cascade-apply-deadline",
        Some("10s"),
        Kind::Duration,
        "Longest time one call to a participant may take.",
    ),
    setting(
        "cascade.max_attempts",
        "cascade-max-attempts",
        Some("20"),
        Kind::Count,
        "Attempts per target before an operator is asked.",
    ),
    setting(
        "cascade.participants",
        "participants",
        Some("postgres=postgres"),
        Kind::Map,
        "Systems that follow a tenant's state: NAME=postgres or NAME=http://host:port.",
    ),
];

impl Cascade {
    pub(super) fn read(values: &Values) -> Result<Self, Error> {
        let mut participants = BTreeMap::new();
        for (name, place) in values.map("cascade.participants")? {
            let participant = participant(&name, &place).map_err(|expected| {
                values.invalid("cascade.participants", expected, &format!("{name}={place}"))
            })?;
            participants.insert(name, participant);
        }
        Ok(Self {
            lease: values.duration("cascade.lease", Duration::from_secs(1)..=Duration::from_mins(10))?,
            apply_deadline: values
                .duration("cascade.apply_deadline", Duration::from_millis(10)..=Duration::from_mins(10))?,
            max_attempts: values.count("cascade.max_attempts", 1..=1_000)?,
            participants,
        })
    }
}

fn participant(name: &str, place: &str) -> Result<Participant, &'static str> {
    let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !letters || name.len() > 63 || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        return Err("named with 1 to 63 of `a-z`, `0-9` and `-`, a letter first");
    }
    if place == "postgres" {
        return Ok(Participant::Postgres);
    }
    let authority = place.strip_prefix("http://").or_else(|| place.strip_prefix("https://"));
    match authority {
        Some(authority) if authority.contains('@') => Err("an endpoint without credentials in it"),
        Some(authority) if !authority.is_empty() && place.parse::<http::Uri>().is_ok() => {
            Ok(Participant::Remote(place.to_owned()))
        }
        _ => Err("`NAME=postgres` or `NAME=http://host:port`"),
    }
}

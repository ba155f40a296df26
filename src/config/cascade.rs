//! The cascade engine: its lease, its patience, and the systems it drives.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Error,
    setting::{Kind, Setting, setting},
    targets::{self, Target},
    values::Values,
};

/// The engine's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cascade {
    /// Time a worker owns a claimed row before another may take it over; 1 s to 10 min.
    pub lease: Duration,
    /// Longest time one call to a participant may take; 10 ms to 10 min.
    pub apply_deadline: Duration,
    /// Attempts per target before an operator is asked, 1 to 1,000.
    pub max_attempts: u32,
    /// The systems that follow a tenant's state, by name: 1 to 63 of `a-z`, `0-9` and `-`, a letter first.
    pub targets: BTreeMap<String, Target>,
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
    setting(
        "cascade.targets",
        "targets",
        None,
        Kind::Targets,
        "Systems of other kinds, as TOML: NAME={kind=\"redis\", url=\"…\"}; best in the file.",
    ),
];

impl Cascade {
    pub(super) fn read(values: &Values) -> Result<Self, Error> {
        Ok(Self {
            lease: values.duration("cascade.lease", Duration::from_secs(1)..=Duration::from_mins(10))?,
            apply_deadline: values
                .duration("cascade.apply_deadline", Duration::from_millis(10)..=Duration::from_mins(10))?,
            max_attempts: values.count("cascade.max_attempts", 1..=1_000)?,
            targets: targets::read(values)?,
        })
    }
}

//! The cascade engine: its lease, its patience, and the systems it drives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{
    Error,
    setting::{Kind, Setting, setting},
    targets::{self, Target},
    values::Values,
};

/// What becomes of a target that is found in another state than the registry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drift {
    /// It is made true again.
    Repair,
    /// An operator is told.
    Report,
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
    /// Attempts of one target at once, 1 to 10,000.
    pub target_concurrency: usize,
    /// Failures in a row, of several tenants, after which a target is left alone for a while; 1 to 1,000,000.
    pub circuit_failures: u32,
    /// The first while; 10 ms to 10 min.
    pub circuit_cooldown: Duration,
    /// What becomes of a target that is found in another state than the registry says.
    pub drift: Drift,
    /// Tenants that the background verifier looks at in a second, 0 to 10,000; 0 switches it off.
    pub verify_rate: u32,
    /// Time from the begin of one round of the verifier to the next; 1 s to 31 days.
    pub verify_interval: Duration,
    /// The systems that follow a tenant's state, by name: 1 to 63 of `a-z`, `0-9` and `-`, a letter first.
    pub targets: BTreeMap<String, Target>,
    /// Names of targets that were taken away on purpose: operations that reached them do not make them missing.
    pub retired_targets: BTreeSet<String>,
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
        "cascade.target_concurrency",
        "cascade-target-concurrency",
        Some("64"),
        Kind::Count,
        "Attempts of one target at once; retries and bulk operations have half of them.",
    ),
    setting(
        "cascade.circuit_failures",
        "cascade-circuit-failures",
        Some("20"),
        Kind::Count,
        "Failures in a row, of several tenants, after which a target is left alone for a while.",
    ),
    setting(
        "cascade.circuit_cooldown",
        "cascade-circuit-cooldown",
        Some("1s"),
        Kind::Duration,
        "How long a failing target is left alone before it is probed; doubles up to thirtyfold.",
    ),
    setting(
        "cascade.drift",
        "cascade-drift",
        Some("repair"),
        Kind::Text,
        "What becomes of a target that drifted from the registry: repair, or report to an operator.",
    ),
    setting(
        "cascade.verify_rate",
        "cascade-verify-rate",
        Some("20"),
        Kind::Count,
        "Tenants a second whose targets are looked at in the background; 0 switches it off.",
    ),
    setting(
        "cascade.verify_interval",
        "cascade-verify-interval",
        Some("1h"),
        Kind::Duration,
        "Time from the begin of one round over all tenants to the next.",
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
    setting(
        "cascade.retired_targets",
        "retired-targets",
        None,
        Kind::List,
        "Targets that were taken away on purpose, comma-separated: operations leave them out.",
    ),
];

impl Cascade {
    pub(super) fn read(values: &Values) -> Result<Self, Error> {
        let targets = targets::read(values)?;
        let retired_targets = retired(values, &targets)?;
        Ok(Self {
            lease: values.duration("cascade.lease", Duration::from_secs(1)..=Duration::from_mins(10))?,
            apply_deadline: values
                .duration("cascade.apply_deadline", Duration::from_millis(10)..=Duration::from_mins(10))?,
            max_attempts: values.count("cascade.max_attempts", 1..=1_000)?,
            target_concurrency: values.count("cascade.target_concurrency", 1..=10_000)?,
            circuit_failures: values.count("cascade.circuit_failures", 1..=1_000_000)?,
            circuit_cooldown: values
                .duration("cascade.circuit_cooldown", Duration::from_millis(10)..=Duration::from_mins(10))?,
            drift: values.choice("cascade.drift", &[("repair", Drift::Repair), ("report", Drift::Report)])?,
            verify_rate: values.count("cascade.verify_rate", 0..=10_000)?,
            verify_interval: values.duration(
                "cascade.verify_interval",
                Duration::from_secs(1)..=Duration::from_hours(31 * 24),
            )?,
            targets,
            retired_targets,
        })
    }
}

/// The names of `cascade.retired_targets`; none of them is a target.
fn retired(values: &Values, targets: &BTreeMap<String, Target>) -> Result<BTreeSet<String>, Error> {
    let key = "cascade.retired_targets";
    let names: BTreeSet<String> = values.list(key).into_iter().collect();
    for name in &names {
        targets::check_name(name).map_err(|expected| values.invalid(key, expected, name))?;
        if targets.contains_key(name) {
            return Err(values.invalid(key, "free of targets that there are", name));
        }
    }
    Ok(names)
}

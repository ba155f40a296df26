//! Wiring: each target of the configuration as the participant that drives it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::targets::Target;
use crate::config::{self, Cascade};
use crate::domain::ids::TargetName;
use crate::participants::postgres::Postgres;
use crate::participants::remote::Remote;
use crate::participants::{Participant, Unusable};
use crate::store::connect::Database;

/// Why the parts cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// The configuration does not fit together.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// Flags cannot be evaluated as configured.
    #[error("Flags cannot be evaluated so: {0}.")]
    Evaluations(String),
    /// The engine's metrics cannot be made.
    #[error("The cascade engine cannot be set up: {0}.")]
    Metrics(#[from] prometheus::Error),
    /// A target's name or settings are unusable.
    #[error("The target `{name}` cannot be used: {why}.")]
    Target {
        /// Which.
        name: String,
        /// Why.
        why: String,
    },
}

/// The longest that one call of any target may take.
pub fn longest_call(settings: &Cascade) -> Duration {
    let own = settings.targets.values().filter_map(Target::deadline).max();
    own.unwrap_or_default().max(settings.apply_deadline)
}

/// The participant of each target. None of them is reached yet.
pub fn participants(
    settings: &Cascade,
    database: &Database,
) -> Result<BTreeMap<TargetName, Arc<dyn Participant>>, WiringError> {
    let mut participants = BTreeMap::new();
    for (name, target) in &settings.targets {
        let unusable = |why: String| WiringError::Target { name: name.clone(), why };
        let target_name = TargetName::parse(name).map_err(|error| unusable(error.to_string()))?;
        let deadline = target.deadline().unwrap_or(settings.apply_deadline);
        let participant =
            participant(target, deadline, database).map_err(|error| unusable(error.to_string()))?;
        participants.insert(target_name, participant);
    }
    Ok(participants)
}

fn participant(
    target: &Target,
    deadline: Duration,
    database: &Database,
) -> Result<Arc<dyn Participant>, Unusable> {
    Ok(match target {
        Target::Registry => Arc::new(Postgres::new(database.pool())),
        Target::Remote(settings) => Arc::new(Remote::new(settings, deadline)?),
    })
}

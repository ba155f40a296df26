//! Wiring: each target of the configuration as the participant that drives it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;

use crate::config::targets::{self, Target};
use crate::config::{self, Cascade, Config};
use crate::domain::ids::TargetName;
use crate::participants::alertmanager::Alertmanager;
use crate::participants::postgres::Postgres;
use crate::participants::qdrant::Qdrant;
use crate::participants::redis::Redis;
use crate::participants::registry::Registry;
use crate::participants::remote::Remote;
use crate::participants::s3::S3;
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

/// The part of its deadline that a statement in an application's database waits for a lock: the rest is for asking who holds it.
const LOCK_WAIT: f64 = 0.6;

/// The longest that one call of any target may take.
pub fn longest_call(settings: &Cascade) -> Duration {
    let own = settings.targets.values().filter_map(Target::deadline).max();
    own.unwrap_or_default().max(settings.apply_deadline)
}

/// The participant of each target. None of them is reached yet.
pub fn participants(
    config: &Config,
    database: &Database,
) -> Result<BTreeMap<TargetName, Arc<dyn Participant>>, WiringError> {
    // Some clients take the process's own provider of cryptography; whoever was first has chosen the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ground = Ground { config, database };
    let mut participants = BTreeMap::new();
    for (name, target) in &config.cascade.targets {
        let unusable = |why: String| WiringError::Target { name: name.clone(), why };
        let target_name = TargetName::parse(name).map_err(|error| unusable(error.to_string()))?;
        let participant = participant(target, &ground).map_err(|error| unusable(error.to_string()))?;
        participants.insert(target_name, participant);
    }
    Ok(participants)
}

/// What targets stand on.
struct Ground<'a> {
    config: &'a Config,
    database: &'a Database,
}

fn participant(target: &Target, ground: &Ground<'_>) -> Result<Arc<dyn Participant>, Unusable> {
    let deadline = target.deadline().unwrap_or(ground.config.cascade.apply_deadline);
    Ok(match target {
        Target::Registry => {
            let pool = ground.database.separate_pool(ground.config.database.target_pool_size);
            Arc::new(Registry::new(pool.map_err(unusable)?))
        }
        Target::Postgres(settings) => {
            Arc::new(Postgres::new(pool(settings, deadline, ground)?, settings, deadline))
        }
        Target::Alertmanager(settings) => Arc::new(Alertmanager::new(settings, deadline)?),
        Target::Redis(settings) => Arc::new(Redis::new(settings, deadline)?),
        Target::Remote(settings) => Arc::new(Remote::new(settings, deadline)?),
        Target::Qdrant(settings) => Arc::new(Qdrant::new(settings, deadline)?),
        Target::S3(settings) => {
            let pool = ground.database.further_pool(S3::CONNECTIONS_MAX).map_err(unusable)?;
            Arc::new(S3::new((**settings).clone(), deadline, Some(pool)))
        }
    })
}

#[allow(clippy::needless_pass_by_value)] // The shape that map_err wants.
fn unusable(error: crate::config::Error) -> Unusable {
    Unusable(error.to_string())
}

/// Connections to an application's database, with the same patience as to the registry's.
fn pool(settings: &targets::Postgres, deadline: Duration, ground: &Ground<'_>) -> Result<Pool, Unusable> {
    let settings = config::Database {
        url: Some(settings.url.clone()),
        authorities: settings.authorities.clone(),
        pool_size: usize::try_from(settings.pool_size).unwrap_or(usize::MAX),
        statement_timeout: deadline,
        ..ground.config.database.clone()
    };
    Database::of_a_target(&settings, deadline.mul_f64(LOCK_WAIT)).map(Database::into_pool).map_err(unusable)
}

//! The background verifier: looks at every tenant's targets, round after round, at a bounded pace. One replica does it
//! for all, and another goes on where it was.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};

use super::background_command;
use super::verify::{Check, can_drift};
use crate::domain::error::{Error, Reason};
use crate::domain::ids::TenantId;
use crate::services::Registry;
use crate::store::background::{work_claim, work_progress};
use crate::view::Record;

/// The work's name.
const WORK: &str = "verify";
/// The pause where there is nothing to do, or another replica does it.
const PAUSE: Duration = Duration::from_secs(1);
/// Tenants that are looked at at once: a slow target slows the round, not the process.
const CONCURRENT_MAX: usize = 32;
/// How often the round's progress is written down.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// The pause before a drifted target is looked at again: what is only on its way is no drift.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How far a round got.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Round {
    /// When it began.
    began: Timestamp,
    /// The tenant that was looked at last; `None` before the first.
    after: Option<TenantId>,
    /// Whether every tenant was looked at.
    done: bool,
}

/// Verifies until told to stop.
pub(super) async fn run(registry: Registry) {
    if registry.settings.verify_rate == 0 {
        return;
    }
    registry.view.loaded().await;
    loop {
        if let Err(error) = some(&registry).await {
            tracing::warn!(error = %error, "the verifier pauses");
        }
        tokio::time::sleep(PAUSE.min(registry.lease.length / 3)).await;
    }
}

/// Takes the work, if nobody else has it, and looks at tenants until the round is done or the work is lost.
async fn some(registry: &Registry) -> Result<(), Error> {
    let Some(progress) = claim(registry).await? else { return Ok(()) };
    let interval = registry.settings.verify_interval;
    let mut round: Round = serde_json::from_str(&progress).unwrap_or_default();
    let now = Timestamp::now();
    if round.done {
        // A clock that was set back must not stop it for ever.
        let age = now.duration_since(round.began).unsigned_abs();
        if age < interval {
            return Ok(());
        }
        round = Round { began: now, ..Round::default() };
    }
    let places = Arc::new(Semaphore::new(CONCURRENT_MAX));
    let mut pace = tokio::time::interval(Duration::from_secs(1) / registry.settings.verify_rate);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept = Instant::now();
    while let Some(record) = next(registry, round.after.as_ref()) {
        pace.tick().await;
        round.after = Some(record.tenant.tenant_id.clone());
        let Ok(permit) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        let looking = registry.clone();
        tokio::spawn(async move {
            verify(&looking, &record).await;
            drop(permit);
        });
        if kept.elapsed() >= PROGRESS_INTERVAL.min(registry.lease.length / 3) {
            kept = Instant::now();
            if claim(registry).await?.is_none() {
                return Ok(());
            }
            keep(registry, &round).await?;
        }
    }
    round.done = true;
    keep(registry, &round).await
}

async fn claim(registry: &Registry) -> Result<Option<String>, Error> {
    let client = registry.database.pooled().await?;
    Ok(work_claim(&**client, WORK, registry.lease).await?)
}

async fn keep(registry: &Registry, round: &Round) -> Result<(), Error> {
    let client = registry.database.pooled().await?;
    let text = serde_json::to_string(round).map_err(Error::bug)?;
    Ok(work_progress(&**client, WORK, registry.lease, &text).await?)
}

/// The tenant behind another, by id, as of now.
fn next(registry: &Registry, after: Option<&TenantId>) -> Option<Arc<Record>> {
    let snapshot = registry.view.snapshot().ok()?;
    let bound = after.map_or(Bound::Unbounded, Bound::Excluded);
    let behind = (bound, Bound::<&TenantId>::Unbounded);
    snapshot.tenants.range::<_, TenantId>(behind).next().map(|(_, record)| Arc::clone(record))
}

async fn verify(registry: &Registry, record: &Record) {
    if record.tenant.operation_id.is_some() {
        registry.look_beside_operation(record).await;
        return;
    }
    if !can_drift(record.tenant.status) {
        return;
    }
    let Ok(snapshot) = registry.view.snapshot() else { return };
    let mut checks = registry.check(&snapshot, record).await;
    if checks.iter().any(Check::drifted) {
        tokio::time::sleep(LOOK_AGAIN).await;
        checks = registry.check(&snapshot, record).await;
    }
    registry.engine.count_verified();
    let drifted: Vec<&str> =
        checks.iter().filter(|check| check.drifted()).map(|check| check.target.as_str()).collect();
    if drifted.is_empty() {
        return;
    }
    tracing::warn!(tenant_id = %record.tenant.tenant_id, targets = drifted.join(","), "drift was found");
    let policy = registry.settings.drift;
    match registry.open_repair(record, &checks, policy, &background_command()).await {
        Ok(_) => {}
        // Whoever moved it brings every target to its state.
        Err(error) if error.reason == Reason::ConcurrentChange => {}
        Err(error) => tracing::warn!(error = %error, "drift could not be taken up"),
    }
}

//! The background verifier: looks at every tenant's targets, round after round, at a bounded pace. One replica does it
//! for all, and another goes on where it was. Beside that each replica looks again at tenants that it had something asked of that may
//! arrive late.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::background_command;
use super::intervene::{Intervene, Intervention};
use super::settled::Looked;
use super::verify::{Check, can_drift, drifts};
use crate::config::cascade::Drift as Policy;
use crate::domain::error::{Error, Reason};
use crate::domain::ids::TenantId;
use crate::domain::operation::{Drift, Operation};
use crate::domain::tenant::Tenant;
use crate::services::{Registry, now};
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

/// Looks again at tenants whose targets something may reach late, until told to stop: on the replica that knows of it, whoever does the
/// rounds.
pub(super) async fn run_after_stragglers(registry: Registry) {
    if registry.settings.verify_rate == 0 {
        return;
    }
    registry.view.loaded().await;
    let places = Arc::new(Semaphore::new(CONCURRENT_MAX));
    let mut pace = pace(&registry);
    loop {
        let Some(tenant_id) = registry.engine.next_with_stragglers() else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        pace.tick().await;
        let Ok(snapshot) = registry.view.snapshot() else { continue };
        let Some(record) = snapshot.tenant(&tenant_id).map(Arc::clone) else { continue };
        verify_beside(&registry, &places, record).await;
    }
}

/// As many looks a second as are configured.
fn pace(registry: &Registry) -> Interval {
    let mut pace = tokio::time::interval(Duration::from_secs(1) / registry.settings.verify_rate);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

/// Verifies a tenant in a task of its own, once there is a place for it.
async fn verify_beside(registry: &Registry, places: &Arc<Semaphore>, record: Arc<Record>) {
    let Ok(permit) = Arc::clone(places).acquire_owned().await else { return };
    let registry = registry.clone();
    tokio::spawn(async move {
        verify(&registry, &record).await;
        drop(permit);
    });
}

/// Takes the work, if nobody else has it, and looks at tenants until the round is done or the work is lost.
async fn some(registry: &Registry) -> Result<(), Error> {
    let Some(progress) = claim(registry).await? else { return Ok(()) };
    let interval = registry.settings.verify_interval;
    let mut round: Round = serde_json::from_str(&progress).unwrap_or_default();
    let now = now();
    if round.done {
        // A clock that was set back must not stop it for ever.
        let age = now.duration_since(round.began).unsigned_abs();
        if age < interval {
            return Ok(());
        }
        round = Round { began: now, ..Round::default() };
    }
    let places = Arc::new(Semaphore::new(CONCURRENT_MAX));
    let mut pace = pace(registry);
    let mut kept = Instant::now();
    while let Some(record) = next(registry, round.after.as_ref()) {
        pace.tick().await;
        round.after = Some(record.tenant.tenant_id.clone());
        verify_beside(registry, &places, record).await;
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

/// Looks at a tenant, and has what drifted taken up: by the operation that is open, or by a new one.
async fn verify(registry: &Registry, record: &Record) {
    let Ok(snapshot) = registry.view.snapshot() else { return };
    let open = record.tenant.operation_id.map(|id| snapshot.operations.get(&id));
    let wanted = match open {
        Some(Some(open)) => open.left_alone(&registry.targets, now()),
        None if can_drift(record.tenant.status) => registry.targets.to_vec(),
        _ => return,
    };
    if let Some(Some(open)) = open
        && let Err(error) = end_if_mended(registry, record, open).await
    {
        tracing::warn!(error = %error, "a repair could not be ended");
    }
    if wanted.is_empty() {
        return;
    }
    let tenant_id = &record.tenant.tenant_id;
    // One that is gone by now has nothing to verify.
    let Ok(looked) = registry.look_until_settled(tenant_id, |target| wanted.contains(target)).await else {
        return;
    };
    registry.engine.count_verified();
    let moved = |tenant: &Tenant| (tenant.uid, tenant.generation, tenant.operation_id);
    if moved(&looked.record.tenant) != moved(&record.tenant) {
        // Whoever moved it brings every target to its state; if not, the next round finds it.
        return;
    }
    let drifts = drifts(&looked.checks);
    tell(&looked.record, &drifts);
    tell_failed(registry, &looked);
    let taken_up = if drifts.is_empty() {
        registry.note_as_desired(&looked.record, &looked.checks, &background_command()).await
    } else if let Some(open) = looked.snapshot.open_operation(tenant_id) {
        registry.take_up(open, &drifts).await
    } else {
        let (policy, command) = (registry.settings.drift, background_command());
        registry.open_repair(&looked.record, &drifts, policy, &command).await.map(drop)
    };
    match taken_up {
        Ok(()) => {}
        // The same.
        Err(error) if error.reason == Reason::ConcurrentChange => {}
        Err(error) => tracing::warn!(error = %error, "drift could not be taken up"),
    }
}

/// Has a repair that waits for an operator tried again where all that it waits for is as it should be by now: somebody mended what
/// was wrong, and it may be one of many. Not where drift is to be reported: then a person decides.
async fn end_if_mended(registry: &Registry, record: &Record, open: &Operation) -> Result<(), Error> {
    let unrepaired = open.unrepaired();
    if unrepaired.is_empty() || registry.settings.drift == Policy::Report {
        return Ok(());
    }
    let tenant_id = &record.tenant.tenant_id;
    let looked = registry.look_until_settled(tenant_id, |target| unrepaired.contains(target)).await?;
    let is_mended = |check: &Check| check.found.is_ok() && !check.drifted();
    if looked.checks.len() < unrepaired.len() || !looked.checks.iter().all(is_mended) {
        return Ok(());
    }
    for target in unrepaired {
        let what = Intervention::Retry { target, adopt: None };
        let retry = Intervene { operation_id: open.operation_id, what, wait: Duration::ZERO };
        registry.intervene(&retry, &background_command()).await?;
    }
    Ok(())
}

/// Writes what drifted into the log.
fn tell(record: &Record, drifts: &[Drift]) {
    if drifts.is_empty() {
        return;
    }
    let targets: Vec<&str> = drifts.iter().map(|drift| drift.target.as_str()).collect();
    tracing::warn!(
        tenant_id = %record.tenant.tenant_id,
        operation_id = record.tenant.operation_id.map(tracing::field::display),
        targets = targets.join(","),
        "drift was found"
    );
}

/// Tells of targets that did not say what the tenant is in: it may be let in there, and nobody would know. Where many tenants meet it the
/// circuit opens, and they are not asked.
fn tell_failed(registry: &Registry, looked: &Looked) {
    for check in looked.checks.iter().filter(|check| check.failed) {
        registry.engine.count_failed_look(&check.target);
        tracing::warn!(
            tenant_id = %looked.record.tenant.tenant_id,
            target_system = check.target.as_str(),
            why = check.found.as_ref().err(),
            "what the tenant is in at a target cannot be told"
        );
    }
}

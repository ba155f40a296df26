//! The engine that brings every target of an operation to the desired state, and proves it.
//!
//! One task drives an operation, and every attempt of a target is a task under it. What the attempts saw is recorded
//! by pure rules ([`crate::domain::operation`]) and written as one change, conditional on the operation as it was seen
//! and on the lease. A replica that dies leaves its leases to run out; the sweeper of any other takes them over.
//!
//! A target is safe to ask twice: `apply` carries the generation, and older ones are refused. So a lost reply, a crash
//! in the middle and two replicas at once all come to the same: ask again, then read back.

mod attempt;
mod drive;
mod gate;
mod metrics;
mod said;
mod stragglers;
mod sweep;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

pub use self::attempt::Look;
pub(crate) use self::drive::tenant_ref;
use self::gate::Gate;
pub use self::gate::{CircuitState, Class, Limits};
use self::metrics::Counts;
use self::said::Said;
use self::stragglers::Stragglers;
use crate::domain::ids::{OperationId, TargetName, TenantId};
use crate::domain::operation::Patience;
use crate::participants::{Failure, Participant};
use crate::store::clock::now;
use crate::store::connect::Database;
use crate::store::operations::Lease;
use crate::store::writer::Writer;
use crate::view::{Extent, View};

/// The longest pause between two attempts, and what the engine's own jitter adds.
const PAUSE_MAX: SignedDuration = SignedDuration::from_secs(40);

/// How the engine works.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long a replica may be silent before another takes its operations over.
    pub lease: Duration,
    /// How long one attempt of a target may take, applying and reading back together.
    pub attempt_max: Duration,
    /// How often a target is tried before an operator is asked.
    pub patience: Patience,
    /// What each target takes.
    pub limits: Limits,
}

/// One target system.
struct Target {
    participant: Arc<dyn Participant>,
    gate: Gate,
    last_error: Mutex<Option<LastError>>,
    /// What its transport said last, where we have no words for it.
    cause: Said,
}

/// How this replica stands with a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetHealth {
    /// Which target.
    pub target: TargetName,
    /// Whether it is tried.
    pub circuit: CircuitState,
    /// Attempts under way.
    pub in_flight: usize,
    /// What went wrong last; `None` where nothing did since the start.
    pub last_error: Option<LastError>,
}

/// What went wrong, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// For people.
    pub message: String,
    /// When the attempt ended.
    pub time: Timestamp,
}

/// An operation that this replica drives.
struct Driven {
    epoch: i64,
    changed: Arc<Notify>,
}

/// What the engine stands on.
pub struct Ground {
    /// What is read.
    pub view: Arc<View>,
    /// What writes what the targets did.
    pub writer: Writer,
    /// For leases.
    pub database: Database,
}

/// A handle to the engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    view: Arc<View>,
    writer: Writer,
    database: Database,
    targets: BTreeMap<TargetName, Target>,
    settings: Settings,
    lease: Lease,
    /// The operations that this replica drives, with the epoch of each lease.
    driven: Mutex<HashMap<OperationId, Driven>>,
    stragglers: Mutex<Stragglers>,
    /// There is a lease to take.
    sweep_now: Notify,
    counts: Counts,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Where its tasks run: calls arrive on threads that have nothing but calls to serve.
    runtime: Handle,
}

impl Engine {
    /// Starts the engine: its sweeper runs until `stop`.
    ///
    /// # Errors
    ///
    /// Where its metrics cannot be made.
    pub fn start(
        ground: Ground,
        participants: BTreeMap<TargetName, Arc<dyn Participant>>,
        settings: Settings,
        stop: CancellationToken,
    ) -> Result<Self, prometheus::Error> {
        let targets = participants
            .into_iter()
            .map(|(name, participant)| {
                let most = participant.concurrent_max().unwrap_or(usize::MAX);
                let concurrent_max = settings.limits.concurrent_max.min(most);
                let gate = Gate::new(Limits { concurrent_max, ..settings.limits });
                (name, Target { participant, gate, last_error: Mutex::default(), cause: Said::default() })
            })
            .collect();
        let lease = Lease { owner: Uuid::new_v4(), length: settings.lease };
        let Ground { view, writer, database } = ground;
        let inner = Inner {
            view,
            writer,
            database,
            targets,
            settings,
            lease,
            driven: Mutex::default(),
            stragglers: Mutex::default(),
            sweep_now: Notify::new(),
            counts: Counts::new()?,
            stop,
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
        };
        let engine = Self { inner: Arc::new(inner) };
        engine.inner.tasks.spawn(sweep::run(Arc::clone(&engine.inner)));
        engine.inner.tasks.spawn(tell_drivers(Arc::clone(&engine.inner)));
        Ok(engine)
    }

    /// Under which lease this replica opens operations.
    pub fn lease(&self) -> Lease {
        self.inner.lease
    }

    /// The names of the targets, in order.
    pub fn targets(&self) -> Arc<[TargetName]> {
        self.inner.targets.keys().cloned().collect()
    }

    /// Drives an operation that this replica has just opened: its lease is held already.
    pub fn started(&self, operation_id: OperationId, class: Class) {
        drive::spawn(&self.inner, operation_id, 1, class);
    }

    /// Takes note that something may still be on its way to a tenant's targets that is no longer wanted there.
    pub fn expect_stragglers(&self, tenant_id: &TenantId) {
        self.inner.expect_stragglers(tenant_id);
    }

    /// A tenant whose targets are to be looked at by now, since [something](Self::expect_stragglers) may have come late.
    pub fn next_with_stragglers(&self) -> Option<TenantId> {
        self.inner.stragglers().take(Instant::now())
    }

    /// Takes up operations whose lease has run out, now rather than at the next sweep.
    pub fn sweep(&self) {
        self.inner.sweep_now.notify_one();
    }

    /// How this replica stands with every target, in order of their names.
    pub fn health(&self) -> Vec<TargetHealth> {
        let health = |(target, system): (&TargetName, &Target)| TargetHealth {
            target: target.clone(),
            circuit: system.gate.state(),
            in_flight: system.gate.in_flight(),
            last_error: system.last_error().clone(),
        };
        self.inner.targets.iter().map(health).collect()
    }

    /// After how long a silence nothing is being tried in an operation: an attempt and the pause before it are over.
    pub fn silence_max(&self) -> SignedDuration {
        let attempt =
            SignedDuration::try_from(self.inner.settings.attempt_max).unwrap_or(SignedDuration::MAX);
        attempt.saturating_add(PAUSE_MAX)
    }

    /// Counts a tenant that the verifier has looked at.
    pub fn count_verified(&self) {
        self.inner.counts.verified.inc();
    }

    /// Counts targets that were found in another state than the registry says.
    pub fn count_drifts<'a>(&self, drifted: impl Iterator<Item = &'a TargetName>) {
        for target in drifted {
            self.inner.counts.drifts.with_label_values(&[target.as_str()]).inc();
        }
    }

    /// Counts a look of the verifier at a target that did not tell what a tenant is in.
    pub fn count_failed_look(&self, target: &TargetName) {
        self.inner.counts.failed_looks.with_label_values(&[target.as_str()]).inc();
    }

    /// Waits until nothing runs any more, and leaves what was under way to others. Call after `stop`: attempts under way are given
    /// up, and the next owner of the lease goes on where they were.
    pub async fn stopped(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        sweep::hand_over(&self.inner).await;
    }
}

impl Target {
    fn last_error(&self) -> MutexGuard<'_, Option<LastError>> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember_error(&self, name: &TargetName, failure: &Failure) {
        *self.last_error() = Some(LastError { message: failure.message.clone(), time: now() });
        if let Some(cause) = &failure.cause
            && self.cause.is_news(cause)
        {
            tracing::warn!(
                target_system = name.as_str(),
                cause,
                "failed for a reason that only its transport tells"
            );
        }
    }
}

/// Wakes the drivers of operations that changed, and all of them when a target was paused or is used again.
async fn tell_drivers(inner: Arc<Inner>) {
    let mut deltas = inner.view.deltas();
    loop {
        let delta = tokio::select! {
            delta = deltas.recv() => delta,
            () = inner.stop.cancelled() => return,
        };
        let driven = inner.driven();
        match delta {
            Ok(delta) if !delta.targets && delta.extent == Extent::Changes => {
                let mine = delta.operations.iter().filter_map(|id| driven.get(id));
                mine.for_each(|driven| driven.changed.notify_one());
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {
                driven.values().for_each(|driven| driven.changed.notify_one());
            }
            Err(RecvError::Closed) => return,
        }
    }
}

impl Inner {
    fn driven(&self) -> MutexGuard<'_, HashMap<OperationId, Driven>> {
        // A panic while it was held leaves a map that is still a map.
        self.driven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stragglers(&self) -> MutexGuard<'_, Stragglers> {
        self.stragglers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect_stragglers(&self, tenant_id: &TenantId) {
        self.stragglers().expect_of(tenant_id, Instant::now());
    }
}

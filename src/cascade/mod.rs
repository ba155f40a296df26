//! The engine that brings every target of an operation to the desired state, and proves it.
//!
//! One task drives an operation, and every attempt of a target is a task under it. What the attempts saw is recorded
//! by pure rules ([`crate::domain::operation`]) and written as one change, conditional on the operation as it was seen
//! and on the lease. A replica that dies leaves its leases to run out; the sweeper of any other takes them over.
//!
//! A target is safe to ask twice: `apply` carries the generation, and older ones are refused. So a lost reply, a crash
//! in the middle and two replicas at once all come to the same: ask again, then read back.

mod drive;
mod sweep;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::domain::ids::{OperationId, TargetName};
use crate::domain::operation::Patience;
use crate::participants::Participant;
use crate::store::connect::Database;
use crate::store::operations::Lease;
use crate::store::writer::Writer;
use crate::view::View;

/// Attempts of one target that run at once: one slow system must not use up the process.
const PER_TARGET_MAX: usize = 64;

/// How the engine works.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long a replica may be silent before another takes its operations over.
    pub lease: Duration,
    /// How long one attempt of a target may take, applying and reading back together.
    pub attempt_max: Duration,
    /// How often a target is tried before an operator is asked.
    pub patience: Patience,
}

/// One target system.
struct Target {
    participant: Arc<dyn Participant>,
    slots: Semaphore,
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
    /// The operations that this replica drives, and the epoch of each lease.
    driven: Mutex<HashMap<OperationId, i64>>,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Where its tasks run: calls arrive on threads that have nothing but calls to serve.
    runtime: Handle,
}

impl Engine {
    /// Starts the engine: its sweeper runs until `stop`.
    pub fn start(
        ground: Ground,
        participants: BTreeMap<TargetName, Arc<dyn Participant>>,
        settings: Settings,
        stop: CancellationToken,
    ) -> Self {
        let targets = participants
            .into_iter()
            .map(|(name, participant)| (name, Target { participant, slots: Semaphore::new(PER_TARGET_MAX) }))
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
            stop,
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
        };
        let engine = Self { inner: Arc::new(inner) };
        engine.inner.tasks.spawn(sweep::run(Arc::clone(&engine.inner)));
        engine
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
    pub fn started(&self, operation_id: OperationId) {
        drive::spawn(&self.inner, operation_id, 1);
    }

    /// Waits until nothing runs any more. Call after `stop`: attempts under way are given up, and the next owner of
    /// the lease goes on where they were.
    pub async fn stopped(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

impl Inner {
    fn driven(&self) -> std::sync::MutexGuard<'_, HashMap<OperationId, i64>> {
        // A panic while it was held leaves a map that is still a map.
        self.driven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

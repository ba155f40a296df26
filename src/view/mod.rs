//! The in-memory read model: an immutable snapshot, swapped whole, that follows the log.
//!
//! Every read is served from here. A reader sees one revision, never half a change.

pub mod follower;
mod metrics;
pub mod operations;
mod reading;
mod row;
pub mod snapshot;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

pub use self::metrics::register_metrics;
pub use self::row::Row;
pub use self::snapshot::{Record, Snapshot, Statistics};
use crate::domain::error::{Error, Reason};
use crate::domain::ids::{FlagKey, OperationId, Revision, TenantId};
use crate::domain::shared_text::Texts;
use crate::store::committed::Committed;

/// Changes that a watcher may lag behind before it has to look at the whole snapshot again.
const DELTAS_MAX: usize = 1_024;

/// How much of what came into the view is told one by one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// All that changed.
    #[default]
    Changes,
    /// Nothing: everything was read again.
    Everything,
    /// Nothing: it is of another history than what came before, and anything may have changed.
    Replaced,
}

/// What came into the view at once.
#[derive(Debug, Clone, Default)]
pub struct Delta {
    /// The snapshot's revision.
    pub revision: Revision,
    /// Tenants that changed themselves.
    pub tenants: Vec<TenantId>,
    /// Whether a tier changed, and with it what its tenants have from it.
    pub tiers: bool,
    /// Operations that changed.
    pub operations: Vec<OperationId>,
    /// Flags whose answers may have changed, also for what they hang on; empty on the first load.
    pub flags: BTreeSet<FlagKey>,
    /// The tenants whose overrides of a flag were set or cleared, by flag.
    pub overrides: BTreeMap<FlagKey, BTreeSet<TenantId>>,
    /// Whether what changed is known.
    pub extent: Extent,
    /// Whether a target was paused or is used again.
    pub targets: bool,
}

impl Delta {
    /// Takes in what came after it.
    pub fn extend(&mut self, later: &Self) {
        self.revision = later.revision;
        self.tenants.extend(later.tenants.iter().cloned());
        self.tiers |= later.tiers;
        self.operations.extend(&later.operations);
        self.flags.extend(later.flags.iter().cloned());
        for (flag, tenants) in &later.overrides {
            self.overrides.entry(flag.clone()).or_default().extend(tenants.iter().cloned());
        }
        self.extent = self.extent.max(later.extent);
        self.targets |= later.targets;
    }
}

/// The view of this replica.
#[derive(Debug)]
pub struct View {
    current: ArcSwapOption<Snapshot>,
    revision: watch::Sender<Revision>,
    deltas: broadcast::Sender<Arc<Delta>>,
    started: Instant,
    /// Milliseconds from `started` to the last answer of the database.
    contact_ms: AtomicU64,
    /// Whether the database was found to take no writes when it was last asked.
    read_only: AtomicBool,
    stale_after: Duration,
    slow_reader_after: Duration,
    ended_operations: usize,
    /// Held by whoever makes the next snapshot of the newest one.
    publishing: Mutex<()>,
    /// What tenants have in common.
    texts: Mutex<Texts>,
}

impl View {
    /// An empty view: not ready until the follower has loaded it. It calls itself stale when the database has not
    /// answered for `stale_after`, cuts watchers that have taken nothing for `slow_reader_after`, and keeps
    /// `ended_operations` of those that have ended.
    pub fn new(stale_after: Duration, slow_reader_after: Duration, ended_operations: usize) -> Self {
        Self {
            current: ArcSwapOption::empty(),
            revision: watch::Sender::new(Revision::ZERO),
            deltas: broadcast::Sender::new(DELTAS_MAX),
            started: Instant::now(),
            contact_ms: AtomicU64::new(0),
            read_only: AtomicBool::new(false),
            stale_after,
            slow_reader_after,
            ended_operations,
            publishing: Mutex::default(),
            texts: Mutex::default(),
        }
    }

    /// How long a watcher may take nothing before it is cut.
    pub fn slow_reader_after(&self) -> Duration {
        self.slow_reader_after
    }

    /// Why a watcher was cut.
    pub fn slow_reader(&self) -> Error {
        let seconds = self.slow_reader_after.as_secs();
        Error::new(
            Reason::SlowReader,
            format!(
                "the stream was not read for {seconds} seconds; watch again from the last revision received"
            ),
        )
    }

    /// Why a watcher must begin again: what it was told of may never have been.
    pub fn replaced() -> Error {
        Error::new(
            Reason::RevisionCompacted,
            "the registry's database was replaced, or set back to an earlier state: read everything again, then watch \
             from there",
        )
    }

    /// Waits until the view is of another history than that of a snapshot, which is no longer that of the database.
    ///
    /// # Errors
    ///
    /// If it does not get there within `patience`.
    pub async fn replacing(&self, seen: &Snapshot, patience: Duration) -> Result<(), Error> {
        let mut revisions = self.revision.subscribe();
        let is_other = || self.snapshot().is_ok_and(|newest| newest.history != seen.history);
        let arrived = tokio::time::timeout(patience, revisions.wait_for(|_| is_other())).await;
        arrived.map(drop).map_err(|_| {
            Error::new(
                Reason::ViewNotReady,
                "the database was replaced, or set back to an earlier state, and is being read again",
            )
            .retry_after(Duration::from_secs(1))
        })
    }

    /// The newest snapshot.
    ///
    /// # Errors
    ///
    /// Before the first load.
    pub fn snapshot(&self) -> Result<Arc<Snapshot>, Error> {
        self.current.load_full().ok_or_else(|| {
            Error::new(Reason::ViewNotReady, "the server is still loading what it serves")
                .retry_after(Duration::from_secs(1))
        })
    }

    /// A snapshot that has seen `revision`.
    ///
    /// # Errors
    ///
    /// If it does not get there within `patience`.
    pub async fn at_least(&self, revision: Revision, patience: Duration) -> Result<Arc<Snapshot>, Error> {
        let mut revisions = self.revision.subscribe();
        let arrived = tokio::time::timeout(patience, revisions.wait_for(|seen| *seen >= revision)).await;
        match arrived {
            Ok(Ok(_)) => self.snapshot(),
            _ => Err(Error::new(
                Reason::ViewNotReady,
                format!(
                    "this server has not seen revision {revision} yet; it is at {}",
                    *self.revision.borrow()
                ),
            )
            .retry_after(Duration::from_millis(500))),
        }
    }

    /// The revision of the newest snapshot, and a way to wait for the next.
    pub fn revisions(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    /// Whether the newest snapshot has seen `revision`.
    pub fn has(&self, revision: Revision) -> bool {
        *self.revision.borrow() >= revision
    }

    /// What comes in from now on.
    pub fn deltas(&self) -> broadcast::Receiver<Arc<Delta>> {
        self.deltas.subscribe()
    }

    /// Whether there is anything to serve.
    pub fn is_loaded(&self) -> bool {
        self.current.load().is_some()
    }

    /// Waits for the first load, however long it takes.
    pub async fn loaded(&self) {
        let mut revisions = self.revision.subscribe();
        while !self.is_loaded() {
            // The sender lives as long as the view itself.
            let _ = revisions.changed().await;
        }
    }

    /// For how long the database has not answered, once that is longer than the bound.
    pub fn stale_for(&self) -> Option<Duration> {
        let silence = self.silence();
        (silence > self.stale_after).then_some(silence)
    }

    /// For how long the database has not answered.
    pub fn silence(&self) -> Duration {
        let contact = Duration::from_millis(self.contact_ms.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(contact)
    }

    /// Whether the database takes no writes, as far as is known.
    pub fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }

    fn heard(&self) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.contact_ms.store(elapsed, Ordering::Relaxed);
    }

    /// Takes in what this replica has just committed, without reading it back. Answers whether it could: there must be
    /// nothing between the view and the first change, and every change must say what it left.
    ///
    /// The view stays what the tables are at its revision: the log is dense, so whoever has the entry before the first
    /// change has everything before it, and rows say all that a change left. The revision alone does not tell: where
    /// changes were lost, others take their places.
    pub fn take(&self, committed: Committed) -> bool {
        let _publishing = self.publishing();
        let Some(newest) = self.current.load_full() else { return false };
        let Some(log) = committed.log.filter(|log| newest.is_of(log.epoch, log.before)) else { return false };
        if committed.first != newest.revision.next()
            || log.before.is_none() && newest.revision != Revision::ZERO
        {
            return false;
        }
        let base = newest.successor(committed.last(), log.last, log.compacted);
        let Some((next, delta)) = base.with(committed.changes, &mut self.texts()) else { return false };
        self.publish(next, delta);
        self.heard();
        true
    }

    /// Goes on to what the follower has read on `base`, unless the view has come further by itself meanwhile. Answers
    /// whether it has all of it now, by whichever way; else it must be read on what the view is now: that what was read is
    /// of the same history is only known of `base`.
    fn advance(&self, base: &Arc<Snapshot>, snapshot: Snapshot, delta: Delta) -> bool {
        let _publishing = self.publishing();
        if !self.current.load().as_ref().is_some_and(|newest| Arc::ptr_eq(newest, base)) {
            return self.has(snapshot.revision);
        }
        self.publish(snapshot, delta);
        true
    }

    /// Starts over with what the follower has read, wherever the view was.
    fn start_over(&self, snapshot: Snapshot, delta: Delta) {
        let _publishing = self.publishing();
        self.publish(snapshot, delta);
    }

    fn texts(&self) -> MutexGuard<'_, Texts> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publishing(&self) -> MutexGuard<'_, ()> {
        // There is nothing behind it that a panic could leave half done.
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a snapshot the newest. Readers first, then those who wait for it.
    fn publish(&self, snapshot: Snapshot, delta: Delta) {
        let revision = snapshot.revision;
        self.current.store(Some(Arc::new(snapshot)));
        self.revision.send_replace(revision);
        // Nobody watching is no failure.
        let _ = self.deltas.send(Arc::new(delta));
    }
}

#[cfg(test)]
mod take_tests;

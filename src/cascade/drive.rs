//! Driving one operation to its end.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::attempt::{LookFirst, Seen, Task, try_target};
use super::gate::Class;
use super::{Driven, Inner};
use crate::domain::ids::{OperationId, RequestId, TargetName};
use crate::domain::lifecycle::Verb;
use crate::domain::operation::{Attempt, Operation, Outcome, READING_AGE_MAX, State, Step, TargetState};
use crate::participants::TenantRef;
use crate::store::Error;
use crate::store::clock::{new_id, now};
use crate::store::log::{Change, Context, Idempotency, Outcome as Written};
use crate::store::operations::{operation_advance, operation_purge};
use crate::store::writer::Submitted;
use crate::view::{Record, Snapshot};

/// How long a driver waits to see in its view what it was told to drive, or what another wrote.
const SEEN_MAX: Duration = Duration::from_secs(5);
/// The pause after a write that failed.
const WRITE_PAUSE: Duration = Duration::from_millis(200);
/// How often the database may refuse a write that it was sent. It may do so once for a reason that passes.
const REFUSALS_MAX: u32 = 5;
/// Results that arrive this close to each other are written as one change: at least for 1 ms, shorter than any commit, so
/// that it costs less than a second write; and where a write took longer, because many are being written, for as long as
/// that took. What ends the operation is written at once.
const GATHER: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(250);

/// Drives an operation in a task of its own, unless this replica does so already.
pub(super) fn spawn(inner: &Arc<Inner>, operation_id: OperationId, epoch: i64, class: Class) {
    let changed = Arc::new(Notify::new());
    {
        let mut driven = inner.driven();
        if inner.stop.is_cancelled() || driven.get(&operation_id).is_some_and(|mine| mine.epoch == epoch) {
            return;
        }
        driven.insert(operation_id, Driven { epoch, changed: Arc::clone(&changed) });
    }
    let inner = Arc::clone(inner);
    let span =
        tracing::info_span!("operation", operation_id = %operation_id, tenant_id = tracing::field::Empty);
    let task = {
        let inner = Arc::clone(&inner);
        async move {
            let driver = Driver {
                inner: &inner,
                operation_id,
                epoch,
                class,
                changed,
                rounds: AtomicU32::new(0),
                seen: Seen::default(),
            };
            tokio::select! {
                () = driver.run() => {}
                () = inner.stop.cancelled() => {}
            }
            let mut mine = inner.driven();
            if mine.get(&operation_id).is_some_and(|mine| mine.epoch == epoch) {
                mine.remove(&operation_id);
            }
        }
    };
    inner.tasks.spawn_on(task.instrument(span), &inner.runtime);
}

struct Driver<'a> {
    inner: &'a Arc<Inner>,
    operation_id: OperationId,
    epoch: i64,
    /// Of the first attempts; all others are second-class.
    class: Class,
    /// The operation was changed, by this driver or an operator; or a target was paused or is used again.
    changed: Arc<Notify>,
    /// How often targets were looked at again because what was seen of them was old.
    rounds: AtomicU32,
    /// Targets that were looked at before anything was asked of them. Who drives it next looks again: what was seen is written with what came of
    /// it, which may have failed.
    seen: Seen,
}

/// What came of a write.
#[allow(clippy::large_enum_variant)] // There is one at a time.
enum Made {
    /// The operation as it is now.
    Written(Operation),
    /// It is no longer this driver's.
    Lost,
    /// The database takes it from nobody: the operation as it was, and why.
    Refused(Operation, Error),
}

/// The attempts that run.
#[derive(Default)]
struct Running {
    attempts: JoinSet<Attempt>,
    of: Vec<(TargetName, u64, AbortHandle)>,
}

impl Driver<'_> {
    async fn run(&self) {
        let Some(mut operation) = self.first_sight().await else { return };
        tracing::Span::current().record("tenant_id", operation.tenant_id.as_str());
        if self.epoch > 1 {
            // Of what its former driver asked for, something may still be on its way.
            self.inner.expect_stragglers(&operation.tenant_id);
        }
        let mut running = Running::default();
        let mut gather = *GATHER.start();
        while operation.state.is_driven() && self.holds_lease() {
            if operation.steps.iter().all(|step| step.state.is_done()) {
                // An operator had the last target skipped.
                match self.write(operation, &[]).await {
                    Some(next) => operation = next,
                    None => return,
                }
                continue;
            }
            let Ok(snapshot) = self.inner.view.snapshot() else { return };
            let generation = operation.generation;
            for step in running.due(&operation, &snapshot) {
                self.attempt(&mut running, &operation, step, &snapshot);
            }
            let Some(first) = self.next_result(&mut running, &operation, &snapshot).await else {
                if let Some(newer) = self.newer_than(&operation) {
                    operation = newer;
                    self.leave_what_is_past(&operation, generation, &mut running);
                }
                continue;
            };
            let results = running.gather(first, gather).await;
            let began = Instant::now();
            match self.write(operation, &results).await {
                Some(next) => operation = next,
                None => return,
            }
            gather = began.elapsed().clamp(*GATHER.start(), *GATHER.end());
            self.leave_what_is_past(&operation, generation, &mut running);
        }
        tracing::info!(state = operation.state.as_str(), "the operation is no longer driven");
    }

    /// Leaves what was asked for before the operation became as it is; `generation` is what it had then.
    fn leave_what_is_past(&self, operation: &Operation, generation: u64, running: &mut Running) {
        if operation.generation != generation {
            self.inner.expect_stragglers(&operation.tenant_id);
        }
        running.give_up_what_is_past(operation);
    }

    /// The operation as this replica's view has it, once it has it.
    async fn first_sight(&self) -> Option<Operation> {
        let mut revisions = self.inner.view.revisions();
        let seen = async {
            loop {
                revisions.borrow_and_update();
                if let Some(operation) = self.in_view() {
                    return Some(operation);
                }
                revisions.changed().await.ok()?;
            }
        };
        tokio::time::timeout(SEEN_MAX, seen).await.ok().flatten()
    }

    fn in_view(&self) -> Option<Operation> {
        let snapshot = self.inner.view.snapshot().ok()?;
        // A scheduled one that has begun may be here before the view has seen it begin.
        snapshot
            .operations
            .get(&self.operation_id)
            .filter(|operation| operation.state != State::Scheduled)
            .map(|operation| (**operation).clone())
    }

    /// The operation, if somebody else changed it meanwhile.
    fn newer_than(&self, known: &Operation) -> Option<Operation> {
        self.in_view().filter(|seen| seen.revision > known.revision)
    }

    fn holds_lease(&self) -> bool {
        self.inner.driven().get(&self.operation_id).is_some_and(|mine| mine.epoch == self.epoch)
    }

    fn attempt(&self, running: &mut Running, operation: &Operation, step: &Step, snapshot: &Snapshot) {
        let inner = Arc::clone(self.inner);
        let (target, generation) = (step.target.clone(), operation.generation);
        // A probe costs no attempt, but whoever was one has been tried.
        let first = step.state == TargetState::Pending && operation.bulk_id.is_none();
        let record =
            snapshot.tenant(&operation.tenant_id).filter(|record| record.tenant.uid == operation.tenant_uid);
        let task = record.map(|record| Task {
            target: target.clone(),
            tenant: tenant_ref(operation, record, snapshot),
            desired: step.desired,
            generation,
            class: if first { self.class } else { Class::Second },
            only_look: step.was_verified(),
            look_first: self.is_unseen(operation, step).then(|| LookFirst {
                may_hold: operation.may_hold(step),
                may_be_missing: operation.may_be_missing(step),
                seen: Arc::clone(&self.seen),
            }),
            held_back: operation.is_held_back(step),
        });
        let span = tracing::info_span!("attempt", target = %target, generation);
        let of = target.clone();
        let attempt = async move {
            let outcome = match task {
                Some(task) => try_target(&inner, &task).await,
                None => Outcome::Permanent("the tenant is gone from the registry".to_owned()),
            };
            Attempt { target, generation, outcome }
        };
        let handle = running.attempts.spawn(attempt.instrument(span));
        running.of.push((of, generation, handle));
    }

    /// Whether a target is to be looked at before anything is asked of it.
    fn is_unseen(&self, operation: &Operation, step: &Step) -> bool {
        let is_undecided = || operation.waits_behind(&step.target).is_some();
        operation.looks_first(step)
            && !step.was_verified()
            && (!self.was_seen(&step.target) || is_undecided())
    }

    /// What was only looked at may be asked for something much later.
    fn look_again_at_those_held_back(&self, results: &[Attempt]) {
        let held_back = results.iter().filter(|result| matches!(result.outcome, Outcome::LookedAt(_)));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        held_back.for_each(|result| {
            seen.remove(&result.target);
        });
    }

    fn was_seen(&self, target: &TargetName) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).contains(target)
    }

    /// Waits for an attempt to end; `None` when instead a step fell due, or the operation, its lease or a target
    /// changed.
    async fn next_result(
        &self,
        running: &mut Running,
        operation: &Operation,
        snapshot: &Snapshot,
    ) -> Option<Attempt> {
        let held = |step: &Step| snapshot.paused(&step.target).is_some() || running.has(step, operation);
        let due = operation.next_due(held).map_or(Duration::from_secs(1), |time| {
            let pause = Duration::try_from(time.duration_since(now())).unwrap_or_default();
            // Not all of many at the same moment; and look at the lease now and then.
            pause.mul_f64(1.0 + fastrand::f64() * 0.2).clamp(Duration::from_millis(1), Duration::from_secs(1))
        });
        tokio::select! {
            Some(result) = running.attempts.join_next() => result.ok(),
            () = tokio::time::sleep(due) => None,
            () = self.changed.notified() => None,
        }
    }

    /// Writes what was seen; answers the operation as it is now, or `None` when it is no longer this driver's. Where an
    /// operator changed it meanwhile, what was seen is recorded in what that made of it.
    ///
    /// What the database refuses for good stops it, in front of an operator. Where not even that can be written, it is given up:
    /// what operators do to it counts at once, and whoever takes the lease when it has run out begins from there.
    async fn write(&self, operation: Operation, results: &[Attempt]) -> Option<Operation> {
        // Of an operation that others have ended meanwhile, a target may well hold what came after it.
        let is_over = || self.in_view().is_some_and(|newest| !newest.state.is_driven());
        results
            .iter()
            .filter(|result| !(matches!(result.outcome, Outcome::Ahead(..) | Outcome::Missing) && is_over()))
            .for_each(log_result);
        let record = |next: &mut Operation, now| {
            for result in results {
                if self.was_seen(&result.target) && next.generation == result.generation {
                    next.was_looked_at(&result.target);
                }
                next.record(result.clone(), self.inner.settings.patience, now);
            }
            if next.settle_within(now, self.reading_age_max()) {
                self.rounds.fetch_add(1, Ordering::Relaxed);
            }
        };
        let (operation, error) = match self.make(operation, record).await {
            Made::Written(next) => {
                self.look_again_at_those_held_back(results);
                return Some(next);
            }
            Made::Lost => return None,
            Made::Refused(operation, error) => (operation, error),
        };
        tracing::error!(error = %error, "the database refuses what a target did: the operation needs an operator");
        let targets: Vec<TargetName> = results.iter().map(|result| result.target.clone()).collect();
        let stop = |next: &mut Operation, now| {
            next.stop_unwritten(&targets, now);
        };
        match self.make(operation, stop).await {
            Made::Written(next) if !next.state.is_driven() => Some(next),
            Made::Written(_) | Made::Lost => None,
            Made::Refused(_, error) => {
                tracing::error!(error = %error, "nor that: the operation is given up until its lease has run out");
                None
            }
        }
    }

    /// Writes what becomes of the operation, as often as it takes.
    async fn make(&self, mut operation: Operation, what: impl Fn(&mut Operation, Timestamp)) -> Made {
        let mut request_id = RequestId::from_uuid(new_id());
        let mut refusals = 0;
        loop {
            let now = now();
            let mut next = operation.clone();
            what(&mut next, now);
            if next == operation {
                return Made::Written(next);
            }
            let context = Context {
                actor: next.actor.clone(),
                now,
                idempotency: Idempotency { request_id, digest: [0; 32] },
            };
            let Some(change) = self.change(&operation, &next, &context) else { return Made::Lost };
            match self.inner.writer.submit_in_background(change).await {
                Ok(Submitted::Done(Written::Applied(revision))) => {
                    next.revision = revision;
                    return Made::Written(next);
                }
                Ok(Submitted::Repeated(kept)) => {
                    next.revision = kept.revision;
                    return Made::Written(next);
                }
                Ok(Submitted::Done(Written::Conflict)) => {
                    let Some(newer) = self.wait_for_newer(&operation).await else { return Made::Lost };
                    operation = newer;
                    // Nothing was made under the former id.
                    request_id = RequestId::from_uuid(new_id());
                }
                Err(error) => {
                    refusals += u32::from(matches!(error, Error::Refused(_)));
                    if refusals >= REFUSALS_MAX {
                        return Made::Refused(operation, error);
                    }
                    tracing::warn!(error = %error, "what a target did could not be written; trying again");
                    tokio::time::sleep(WRITE_PAUSE).await;
                    if !self.holds_lease() {
                        return Made::Lost;
                    }
                }
            }
        }
    }

    /// Each round allows for twice the age: where looking takes long, or many wait for their turn, the last of the targets
    /// would otherwise always make the first too old, and the operation would never end.
    fn reading_age_max(&self) -> SignedDuration {
        READING_AGE_MAX * (1 << self.rounds.load(Ordering::Relaxed).min(10))
    }

    fn change(&self, before: &Operation, next: &Operation, context: &Context) -> Option<Change> {
        let snapshot = self.inner.view.snapshot().ok()?;
        let record = snapshot.tenant(&next.tenant_id).filter(|record| {
            let moved = next.state != before.state || next.generation != before.generation;
            moved && record.tenant.operation_id == Some(next.operation_id)
        });
        if let Some(record) = record
            && next.verb == Verb::Purge
            && next.state == State::Succeeded
        {
            return Some(operation_purge(next, before.revision, self.epoch, &record.tenant, context));
        }
        let tenant = record.map(|record| {
            let mut tenant = record.tenant.clone();
            tenant.follow(next, context.now);
            tenant
        });
        Some(operation_advance(next, before.revision, self.epoch, tenant.as_ref(), context))
    }

    /// After a conflict: either the lease is another's, or somebody changed the operation and the view will show how.
    async fn wait_for_newer(&self, known: &Operation) -> Option<Operation> {
        let deadline = Instant::now() + SEEN_MAX;
        while self.holds_lease() && Instant::now() < deadline {
            if let Some(newer) = self.newer_than(known) {
                return newer.state.is_driven().then_some(newer);
            }
            // The view says so; a look now and then for the lease.
            let _ = tokio::time::timeout(Duration::from_millis(100), self.changed.notified()).await;
        }
        None
    }
}

impl Running {
    fn has(&self, step: &Step, operation: &Operation) -> bool {
        self.of
            .iter()
            .any(|(target, generation, _)| *target == step.target && *generation == operation.generation)
    }

    /// The steps to try now that are not being tried already. Nothing is tried at a target that is paused.
    fn due<'a>(&self, operation: &'a Operation, snapshot: &Snapshot) -> Vec<&'a Step> {
        operation
            .due(now())
            .filter(|step| !self.has(step, operation) && snapshot.paused(&step.target).is_none())
            .collect()
    }

    /// The result and those that arrive within `time` of it; no longer than until nothing runs.
    async fn gather(&mut self, first: Attempt, time: Duration) -> Vec<Attempt> {
        let mut results = vec![first];
        let until = Instant::now() + time;
        while let Ok(Some(result)) = tokio::time::timeout_at(until, self.attempts.join_next()).await {
            results.extend(result);
        }
        self.of.retain(|(target, generation, _)| {
            !results.iter().any(|result| result.target == *target && result.generation == *generation)
        });
        results
    }

    /// Ends attempts whose result would no longer count: of an older generation, or of a target that is done.
    fn give_up_what_is_past(&mut self, operation: &Operation) {
        self.of.retain(|(target, generation, handle)| {
            let counts = *generation == operation.generation
                && operation.steps.iter().any(|step| step.target == *target && step.state.is_tried());
            if !counts {
                handle.abort();
            }
            counts
        });
    }
}

/// Who is meant. At the end of a migration, that is the tenant as it will be at its new place.
pub(crate) fn tenant_ref(operation: &Operation, record: &Record, snapshot: &Snapshot) -> TenantRef {
    let tier = snapshot.tier_of(record).map(|tier| &**tier);
    let mut tenant = TenantRef::of(&record.tenant, tier);
    if let (Verb::FinishMigration { .. }, Some(change)) = (operation.verb, &operation.details.place) {
        tenant.place = change.to.clone();
    }
    tenant
}

fn log_result(attempt: &Attempt) {
    let target = attempt.target.as_str();
    match &attempt.outcome {
        Outcome::Observed(state, _) => {
            tracing::info!(target_system = target, state = %state, "read back");
        }
        Outcome::Unproven(state, why) => {
            tracing::warn!(target_system = target, state = %state, why, "read back as stored, which proves nothing");
        }
        Outcome::Amiss(state, why) => {
            tracing::warn!(target_system = target, state = %state, why, "read back, and not as it should be");
        }
        Outcome::Ahead(generation, state) => {
            let state = state.map(tracing::field::display);
            tracing::warn!(
                target_system = target,
                generation,
                state,
                "holds a newer generation than the registry"
            );
        }
        Outcome::Missing => {
            tracing::warn!(
                target_system = target,
                "has nothing of the tenant, as after a purge that was forgotten"
            );
        }
        Outcome::LookedAt(_) => {
            tracing::info!(target_system = target, "was looked at, and is asked for nothing yet");
        }
        Outcome::Drifted(..) => {
            tracing::warn!(target_system = target, "is no longer in the state in which it was read back");
        }
        Outcome::Unfinished(progress) => {
            tracing::info!(target_system = target, progress, "has more to do");
        }
        Outcome::Waiting(why) => tracing::info!(target_system = target, why, "waits"),
        Outcome::Retryable(error) => {
            tracing::warn!(target_system = target, error, "failed, will be tried again");
        }
        Outcome::Permanent(error) => tracing::error!(target_system = target, error, "refused for good"),
    }
}

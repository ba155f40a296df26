//! Driving one operation to its end.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Inner;
use crate::domain::ids::{OperationId, RequestId, TargetName};
use crate::domain::lifecycle::Desired;
use crate::domain::operation::{Attempt, ERROR_MAX, Operation, Outcome};
use crate::participants::{FailureKind, TenantRef};
use crate::store::log::{Context, Idempotency, Outcome as Written};
use crate::store::operations::operation_advance;
use crate::store::writer::Submitted;

/// How long a driver waits to see in its view what it was told to drive.
const SEEN_MAX: Duration = Duration::from_secs(5);
/// The pause after a write that found no database.
const WRITE_PAUSE: Duration = Duration::from_millis(200);
/// Results that arrive this close to each other are written as one change. Shorter than any commit, so it costs less
/// than a second write.
const GATHER: Duration = Duration::from_millis(1);

/// Drives an operation in a task of its own, unless this replica does so already.
pub(super) fn spawn(inner: &Arc<Inner>, operation_id: OperationId, epoch: i64) {
    if inner.stop.is_cancelled() || inner.driven().insert(operation_id, epoch) == Some(epoch) {
        return;
    }
    let inner = Arc::clone(inner);
    let span =
        tracing::info_span!("operation", operation_id = %operation_id, tenant_id = tracing::field::Empty);
    let task = {
        let inner = Arc::clone(&inner);
        async move {
            let driver = Driver { inner: &inner, operation_id, epoch };
            tokio::select! {
                () = driver.run() => {}
                () = inner.stop.cancelled() => {}
            }
            let mut mine = inner.driven();
            if mine.get(&operation_id) == Some(&epoch) {
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
}

impl Driver<'_> {
    async fn run(&self) {
        let Some(mut operation) = self.first_sight().await else { return };
        tracing::Span::current().record("tenant_id", operation.tenant_id.as_str());
        let mut attempts = JoinSet::new();
        let mut running: Vec<(TargetName, u64)> = Vec::new();
        while operation.state.is_driven() && self.holds_lease() {
            for (target, desired) in due(&operation, &running) {
                running.push((target.clone(), operation.generation));
                self.attempt(&mut attempts, &operation, target, desired);
            }
            let Some(first) = self.next_result(&mut attempts, &operation).await else { continue };
            let mut results = vec![first];
            self.gather(&mut attempts, &mut results).await;
            running.retain(|(target, generation)| {
                !results.iter().any(|result| result.target == *target && result.generation == *generation)
            });
            match self.write(&operation, &results).await {
                Some(next) => operation = next,
                None => return,
            }
        }
        tracing::info!(state = operation.state.as_str(), "the operation is no longer driven");
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
        snapshot.operations.get(&self.operation_id).map(|operation| (**operation).clone())
    }

    fn holds_lease(&self) -> bool {
        self.inner.driven().get(&self.operation_id) == Some(&self.epoch)
    }

    fn attempt(
        &self,
        attempts: &mut JoinSet<Attempt>,
        operation: &Operation,
        target: TargetName,
        desired: Desired,
    ) {
        let inner = Arc::clone(self.inner);
        let generation = operation.generation;
        let tenant = self.tenant_ref(operation);
        let span = tracing::info_span!("attempt", target = %target, generation);
        let task = async move {
            let outcome = match tenant {
                Some(tenant) => try_target(&inner, &target, &tenant, desired, generation).await,
                None => Outcome::Permanent("the tenant is gone from the registry".to_owned()),
            };
            Attempt { target, generation, outcome }
        };
        attempts.spawn(task.instrument(span));
    }

    fn tenant_ref(&self, operation: &Operation) -> Option<TenantRef> {
        let snapshot = self.inner.view.snapshot().ok()?;
        let record = snapshot.tenant(&operation.tenant_id)?;
        (record.tenant.uid == operation.tenant_uid).then(|| TenantRef::of(&record.tenant))
    }

    /// Waits for an attempt to end; `None` when instead a step fell due, or the operation or its lease changed hands.
    async fn next_result(&self, attempts: &mut JoinSet<Attempt>, operation: &Operation) -> Option<Attempt> {
        let due = operation.next_due().map_or(Duration::from_secs(1), |time| {
            let pause = Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default();
            // Not all of many at the same moment; and look at the lease now and then.
            pause.mul_f64(1.0 + fastrand::f64() * 0.2).clamp(Duration::from_millis(1), Duration::from_secs(1))
        });
        let due = if attempts.is_empty() { due } else { due.max(Duration::from_millis(50)) };
        tokio::select! {
            Some(result) = attempts.join_next() => result.ok(),
            () = tokio::time::sleep(due) => None,
        }
    }

    async fn gather(&self, attempts: &mut JoinSet<Attempt>, results: &mut Vec<Attempt>) {
        let until = Instant::now() + GATHER;
        while let Ok(Some(result)) = tokio::time::timeout_at(until, attempts.join_next()).await {
            results.extend(result);
        }
    }

    /// Writes what was seen; answers the operation as it is now, or `None` when it is no longer this driver's.
    async fn write(&self, operation: &Operation, results: &[Attempt]) -> Option<Operation> {
        let request_id = RequestId::from_uuid(Uuid::now_v7());
        loop {
            let now = now();
            let mut next = operation.clone();
            for result in results {
                log_result(result);
                next.record(result.clone(), self.inner.settings.patience, now);
            }
            next.settle(now);
            if next == *operation {
                return Some(next);
            }
            let snapshot = self.inner.view.snapshot().ok()?;
            let tenant = snapshot.tenant(&next.tenant_id).filter(|record| {
                next.state != operation.state && record.tenant.operation_id == Some(next.operation_id)
            });
            let tenant = tenant.map(|record| {
                let mut tenant = record.tenant.clone();
                tenant.follow(&next, now);
                tenant
            });
            let context = Context {
                actor: next.actor.clone(),
                now,
                idempotency: Idempotency { request_id, digest: [0; 32] },
            };
            let change = operation_advance(&next, operation.revision, self.epoch, tenant.as_ref(), &context);
            match self.inner.writer.submit(change).await {
                Ok(Submitted::Done(Written::Applied(revision))) => {
                    next.revision = revision;
                    return Some(next);
                }
                Ok(Submitted::Repeated(kept)) => {
                    next.revision = kept.revision;
                    return Some(next);
                }
                // Superseded, or taken over: whoever has it now goes on.
                Ok(Submitted::Done(Written::Conflict)) => return None,
                Err(error) => {
                    tracing::warn!(error = %error, "what a target did could not be written; trying again");
                    tokio::time::sleep(WRITE_PAUSE).await;
                    if !self.holds_lease() {
                        return None;
                    }
                }
            }
        }
    }
}

/// The steps to try now that are not being tried already.
fn due(operation: &Operation, running: &[(TargetName, u64)]) -> Vec<(TargetName, Desired)> {
    operation
        .due(Timestamp::now())
        .filter(|step| {
            !running
                .iter()
                .any(|(target, generation)| *target == step.target && *generation == operation.generation)
        })
        .map(|step| (step.target.clone(), step.desired))
        .collect()
}

/// Applies, then reads back: only what was seen counts.
async fn try_target(
    inner: &Inner,
    target: &TargetName,
    tenant: &TenantRef,
    desired: Desired,
    generation: u64,
) -> Outcome {
    let Some(system) = inner.targets.get(target) else {
        return Outcome::Retryable("this target is not in the server's configuration".to_owned());
    };
    let attempt = async {
        let Ok(_slot) = system.slots.acquire().await else {
            return Outcome::Retryable("the server is going down".to_owned());
        };
        if let Err(failure) = system.participant.apply(tenant, desired, generation).await {
            return failed(failure.kind, &failure.message);
        }
        match system.participant.observe(tenant).await {
            Ok(seen) if seen.generation > generation => {
                Outcome::Permanent(format!("has a newer generation ({}) than this one", seen.generation))
            }
            Ok(seen) => match seen.state {
                Some(state) => Outcome::Observed(state),
                // A system that has forgotten the tenant has deleted it.
                None if desired == Desired::Deleted => Outcome::Observed(desired),
                None => Outcome::Retryable("took the change, but does not know the tenant".to_owned()),
            },
            // What cannot be seen may be seen later, whatever the reason.
            Err(failure) => failed(FailureKind::Unknown, &failure.message),
        }
    };
    tokio::time::timeout(inner.settings.attempt_max, attempt)
        .await
        .unwrap_or_else(|_| Outcome::Retryable("did not answer in time".to_owned()))
}

fn failed(kind: FailureKind, message: &str) -> Outcome {
    let message: String = message.chars().take(ERROR_MAX).collect();
    match kind {
        FailureKind::Permanent => Outcome::Permanent(message),
        FailureKind::Retryable | FailureKind::Unknown => Outcome::Retryable(message),
        FailureKind::Unfinished => Outcome::Unfinished(message),
    }
}

fn log_result(attempt: &Attempt) {
    let target = attempt.target.as_str();
    match &attempt.outcome {
        Outcome::Observed(state) => tracing::info!(target_system = target, state = %state, "read back"),
        Outcome::Retryable(error) => {
            tracing::warn!(target_system = target, error, "failed, will be tried again");
        }
        Outcome::Unfinished(progress) => tracing::info!(target_system = target, progress, "more is left"),
        Outcome::Permanent(error) => tracing::error!(target_system = target, error, "refused for good"),
    }
}

fn now() -> Timestamp {
    let microseconds = Timestamp::now().as_microsecond();
    Timestamp::from_microsecond(microseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

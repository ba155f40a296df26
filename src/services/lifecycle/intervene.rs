//! What operators do to operations: `retry_target`, `skip_target`, `abort_operation`.

use std::sync::Arc;
use std::time::Duration;

use super::operations::operation_at_hand;
use super::start::check_tier;
use super::{StartOperation, background_command};
use crate::domain::error::{Error, Reason};
use crate::domain::ids::{OperationId, TargetName};
use crate::domain::lifecycle::{MigrationEnd, Status, Verb};
use crate::domain::operation::{Adoption, Operation, Refusal, State, Wish};
use crate::domain::tenant::Tenant;
use crate::services::change::Decision;
use crate::services::{Command, Registry};
use crate::store::log::{Change, Context};
use crate::store::operations::operation_intervene;
use crate::view::Snapshot;

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Intervention {
    /// Try a target again at once.
    Retry {
        /// Which.
        target: TargetName,
        /// Why it is to count there although the target holds a newer generation; `None` where it is not to.
        adopt: Option<String>,
    },
    /// Go on without a target.
    Skip {
        /// Which.
        target: TargetName,
        /// Why.
        reason: String,
    },
    /// Take all of it back.
    Abort {
        /// Why.
        reason: String,
    },
}

/// An intervention in an operation.
#[derive(Debug, Clone)]
pub struct Intervene {
    /// Which operation.
    pub operation_id: OperationId,
    /// What is to be done.
    pub what: Intervention,
    /// How long to wait for the end.
    pub wait: Duration,
}

impl Registry {
    /// Does it and, if asked to, waits for the operation's end.
    pub async fn intervene(&self, asked: &Intervene, command: &Command) -> Result<Operation, Error> {
        // One that ended long ago is not in the view.
        let known = match self.operation(&*self.view.snapshot()?, asked.operation_id).await {
            Err(error) if error.reason == Reason::OperationNotFound => None,
            known => Some(known?),
        };
        if let Intervention::Abort { reason } = &asked.what
            && let Some(begun) = &known
            && let Some(home) = self.way_home(asked, begun, reason)
        {
            let operation = self.start_operation(&home, command).await?;
            self.take_back_its_end(begun, command).await;
            return Ok(operation);
        }
        let operation = self
            .change(command, |snapshot, context| {
                let operation = match (operation_at_hand(snapshot, asked.operation_id), &known) {
                    (Err(_), Some(old)) => Arc::clone(old),
                    (at_hand, _) => at_hand?,
                };
                let mut next = (*operation).clone();
                let done = match &asked.what {
                    Intervention::Retry { target, adopt } => {
                        let adoption = adopt.as_ref().map(|reason| Adoption {
                            actor: context.actor.clone(),
                            reason: reason.clone(),
                            time: context.now,
                        });
                        next.retry_target(target, adoption, context.now)
                    }
                    Intervention::Skip { target, reason } => {
                        next.skip_target(target, reason.clone(), context.now)
                    }
                    Intervention::Abort { reason } => next.abort(said(reason), context.now),
                };
                done.map_err(|refusal| refused(refusal, &operation, asked, snapshot))?;
                if let Some(tenant) = following(snapshot, &next, context)
                    && matches!(asked.what, Intervention::Abort { .. })
                    && next.verb == Verb::ChangeTier
                {
                    check_tier(snapshot, &tenant)?;
                }
                let change = intervening(snapshot, &operation, &next, context);
                Ok(Decision::Make(Box::new(change), next))
            })
            .await?;
        if command.validate_only {
            return Ok(operation);
        }
        if let Some(begun) = &known {
            match &asked.what {
                // What the target was asked before may still come there.
                Intervention::Skip { .. } => self.engine.expect_stragglers(&begun.tenant_id),
                Intervention::Abort { .. } => {
                    self.engine.expect_stragglers(&begun.tenant_id);
                    self.take_back_its_end(begun, command).await;
                }
                Intervention::Retry { .. } => {}
            }
        }
        // Nobody may hold its lease any more.
        self.engine.sweep();
        Ok(self.wait_for_end(operation, asked.wait).await)
    }

    /// Takes back what is scheduled to end a migration that was taken back: it would fail at its hour, or end another migration, at a
    /// place that nobody meant. Not what may be meant for another one, that is under way or begins before. That the migration was
    /// taken back stands, whatever comes of this.
    async fn take_back_its_end(&self, begun: &Operation, command: &Command) {
        if begun.verb != Verb::StartMigration || command.validate_only {
            return;
        }
        let Ok(snapshot) = self.view.snapshot() else { return };
        let scheduled = snapshot.operations.values().filter(|other| {
            other.state == State::Scheduled
                && other.tenant_uid == begun.tenant_uid
                && other.operation_id != begun.operation_id
        });
        let (starts, others): (Vec<_>, Vec<_>) =
            scheduled.partition(|other| other.verb == Verb::StartMigration);
        let migrates = snapshot.tenant(&begun.tenant_id).is_some_and(|record| {
            [Some(record.tenant.status), record.tenant.pending_status].contains(&Some(Status::Migrating))
        });
        if begun.state == State::Scheduled && migrates {
            return;
        }
        for end in others {
            let of_another = starts.iter().any(|start| start.schedule_time < end.schedule_time);
            if !matches!(end.verb, Verb::FinishMigration { .. }) || of_another {
                continue;
            }
            let why = format!("its migration was taken back (operation {})", begun.operation_id);
            if let Err(error) = self.take_back(end.operation_id, &why, command).await {
                tracing::warn!(error = %error, operation_id = %end.operation_id, "the end of a migration stays scheduled");
            }
        }
    }

    /// Takes a scheduled operation back, where it still is scheduled.
    async fn take_back(&self, operation_id: OperationId, why: &str, command: &Command) -> Result<(), Error> {
        let command = Command { actor: command.actor.clone(), ..background_command() };
        let taken_back = self.change(&command, |snapshot, context| {
            let scheduled = operation_at_hand(snapshot, operation_id)?;
            let mut next = (*scheduled).clone();
            if scheduled.state != State::Scheduled || next.abort(why.to_owned(), context.now).is_err() {
                return Ok(Decision::Nothing(next));
            }
            let change = intervening(snapshot, &scheduled, &next, context);
            Ok(Decision::Make(Box::new(change), next))
        });
        taken_back.await.map(drop)
    }

    /// The way back of a migration that has begun: while the tenant is MIGRATING and the end was not asked for.
    fn way_home(&self, asked: &Intervene, begun: &Operation, reason: &str) -> Option<StartOperation> {
        let snapshot = self.view.snapshot().ok()?;
        let tenant = &snapshot.tenant(&begun.tenant_id)?.tenant;
        // The time of the status tells this migration from an earlier one.
        let under_way = begun.verb == Verb::StartMigration
            && begun.state == State::Succeeded
            && tenant.uid == begun.tenant_uid
            && tenant.status == Status::Migrating
            && Some(tenant.status_time) == begun.finish_time
            && tenant.operation_id.is_none();
        under_way.then(|| StartOperation {
            tenant_id: begun.tenant_id.clone(),
            verb: Verb::FinishMigration { to: MigrationEnd::Active },
            reason: said(reason),
            etag: None,
            wait: asked.wait,
            at: None,
            wish: Wish { to: Some(tenant.place()), ..Wish::default() },
            bulk_id: None,
        })
    }
}

/// The change that makes `next` of an operation, whoever drives it; its tenant follows.
pub(super) fn intervening(
    snapshot: &Snapshot,
    operation: &Operation,
    next: &Operation,
    context: &Context,
) -> Change {
    let tenant = following(snapshot, next, context);
    operation_intervene(next, operation.revision, tenant.as_ref(), context)
}

/// The tenant whose open operation it is, as it will be.
fn following(snapshot: &Snapshot, next: &Operation, context: &Context) -> Option<Tenant> {
    let record = snapshot
        .tenant(&next.tenant_id)
        .filter(|record| record.tenant.operation_id == Some(next.operation_id))?;
    let mut tenant = record.tenant.clone();
    tenant.follow(next, context.now);
    Some(tenant)
}

/// A reason is what tells an operation that was taken back from one that failed, so there always is one.
fn said(reason: &str) -> String {
    if reason.is_empty() { "taken back on request".to_owned() } else { reason.to_owned() }
}

fn refused(refusal: Refusal, operation: &Operation, asked: &Intervene, snapshot: &Snapshot) -> Error {
    let finishing = snapshot.tenant(&operation.tenant_id).is_some_and(|record| {
        operation.verb == Verb::StartMigration
            && record.tenant.status == Status::Migrating
            && record.tenant.operation_id.is_some()
    });
    let reason = match refusal {
        Refusal::NoSuchTarget => {
            return match &asked.what {
                Intervention::Retry { target, .. } | Intervention::Skip { target, .. } => Error::missing(
                    Reason::TargetNotFound,
                    "target in this operation with the name",
                    "target",
                    target,
                ),
                Intervention::Abort { .. } => Error::bug(refusal),
            };
        }
        Refusal::Ended if finishing => Reason::PointOfNoReturn,
        Refusal::Ended => Reason::OperationEnded,
        Refusal::PointOfNoReturn | Refusal::TurnedBack => Reason::PointOfNoReturn,
        Refusal::NotBegun | Refusal::TargetDone | Refusal::NotAhead => Reason::TargetNotWaiting,
    };
    let is_retry = matches!(asked.what, Intervention::Retry { .. });
    let what = match (&refusal, operation.verb) {
        (Refusal::Ended, verb) if is_retry && operation.state == State::Failed => {
            let again = if verb == Verb::Provision {
                "ActivateTenant provisions the tenant anew"
            } else {
                "ask for the same change anew"
            };
            format!("{refusal}: it has failed and every target was brought back; {again}")
        }
        _ => refusal.to_string(),
    };
    Error::new(reason, what)
        .with("operation_id", operation.operation_id)
        .with("state", operation.state.as_str())
}

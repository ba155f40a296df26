//! Asking for a change of a tenant's state: `suspend_tenant`, `activate_tenant`, `start_migration`, `finish_migration`,
//! `archive_tenant`, `delete_tenant`, `undelete_tenant`.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::get_operation;
use crate::domain::error::{Error, Reason};
use crate::domain::ids::{OperationId, TenantId};
use crate::domain::lifecycle::{Toward, Verb, can_undelete, desired, toward};
use crate::domain::operation::{Operation, Request};
use crate::domain::tenant::Tenant;
use crate::services::change::Decision;
use crate::services::tenant_registry::get_tenant;
use crate::services::tiers::check_etag;
use crate::services::{Command, Registry};
use crate::store::log::Context;
use crate::store::operations::{Start, operation_start};
use crate::view::Snapshot;

/// The longest time a verb may wait for the operation's end.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// A verb on a tenant.
#[derive(Debug, Clone)]
pub struct StartOperation {
    /// Which tenant.
    pub tenant_id: TenantId,
    /// What is asked for.
    pub verb: Verb,
    /// Why, in the caller's words.
    pub reason: String,
    /// Refuse if the tenant changed since.
    pub etag: Option<String>,
    /// How long to wait for the end.
    pub wait: Duration,
}

/// What is decided: the tenant and the operation as they will be, and the one that ends for it.
struct Decided {
    tenant: Tenant,
    operation: Operation,
    superseded: Option<Operation>,
}

impl Registry {
    /// Opens the operation and, if asked to, waits for its end. A repeated request is answered with the same operation
    /// as it is now.
    pub async fn start_operation(
        &self,
        start: &StartOperation,
        command: &Command,
    ) -> Result<Operation, Error> {
        let operation_id = OperationId::from_uuid(Uuid::now_v7());
        let operation = self
            .change(command, |snapshot, context| {
                let decided = self.decide(snapshot, start, operation_id, context)?;
                let record = get_tenant(snapshot, &start.tenant_id)?;
                let operation = decided.operation;
                let less = toward(operation.from_status, operation.to_status) == Toward::LessAccess;
                let closes = less && operation.from_status != operation.to_status;
                let change = operation_start(
                    &Start {
                        tenant: &decided.tenant,
                        expected: record.tenant.revision,
                        operation: &operation,
                        superseded: decided.superseded.as_ref(),
                        deny: closes.then(|| desired(operation.to_status)),
                    },
                    self.lease,
                    context,
                );
                Ok(Decision::Make(Box::new(change), operation))
            })
            .await?;
        if command.validate_only {
            return Ok(operation);
        }
        if operation.operation_id == operation_id && operation.state.is_driven() {
            self.engine.started(operation_id);
        }
        Ok(self.wait_for_end(operation, start.wait).await)
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        start: &StartOperation,
        operation_id: OperationId,
        context: &Context,
    ) -> Result<Decided, Error> {
        let record = get_tenant(snapshot, &start.tenant_id)?;
        let mut tenant = record.tenant.clone();
        check_etag(start.etag.as_deref(), tenant.revision)?;
        let request = Request {
            operation_id,
            verb: start.verb,
            reason: start.reason.clone(),
            actor: context.actor.clone(),
        };
        let (mut operation, superseded) = match tenant.operation_id {
            None => {
                check_undelete(&tenant, start.verb, context)?;
                let generation = tenant.generation + 1;
                (Operation::start(&tenant, request, &self.targets, generation, context.now)?, None)
            }
            Some(open_id) => {
                let open = get_operation(snapshot, open_id).map_err(Error::bug)?;
                let mut next = Operation::reversal(&open, request.clone(), context.now)
                    .or_else(|| Operation::again(&open, request, context.now))
                    .ok_or_else(|| in_progress(&open))?;
                // Steps are those of today: a system may have joined since.
                next.aim_at(&self.targets);
                let mut ended = (*open).clone();
                ended.supersede(operation_id, context.now);
                (next, Some(ended))
            }
        };
        operation.settle(context.now);
        tenant.follow(&operation, context.now);
        Ok(Decided { tenant, operation, superseded })
    }

    /// Waits until the engine has nothing more to do for an operation, at most `wait`; answers it as it is then.
    async fn wait_for_end(&self, operation: Operation, wait: Duration) -> Operation {
        let (id, started) = (operation.operation_id, operation.revision);
        let newest = || {
            let snapshot = self.view.snapshot().ok()?;
            let found = snapshot.operations.get(&id)?;
            (found.revision >= started).then(|| Arc::clone(found))
        };
        let ended = async {
            let mut revisions = self.view.revisions();
            loop {
                revisions.borrow_and_update();
                if newest().is_some_and(|operation| !operation.state.is_driven())
                    || revisions.changed().await.is_err()
                {
                    return;
                }
            }
        };
        if !wait.is_zero() {
            // Too slow is no failure: the caller gets the running operation.
            let _ = tokio::time::timeout(wait, ended).await;
        }
        newest().map_or(operation, |operation| (*operation).clone())
    }
}

fn check_undelete(tenant: &Tenant, verb: Verb, context: &Context) -> Result<(), Error> {
    match (verb, tenant.purge_time) {
        (Verb::Undelete, Some(purge_time)) if !can_undelete(context.now, purge_time) => Err(Error::new(
            Reason::PurgeTimePassed,
            format!("the tenant could be undeleted until {purge_time}"),
        )
        .with("purge_time", purge_time)),
        _ => Ok(()),
    }
}

fn in_progress(open: &Operation) -> Error {
    Error::new(
        Reason::OperationInProgress,
        format!(
            "operation {} ({}) of this tenant is {}; only its reversal may take over, or wait for its end",
            open.operation_id,
            open.verb,
            open.state.as_str()
        ),
    )
    .with("operation_id", open.operation_id)
    .with("verb", open.verb)
    .with("state", open.state.as_str())
}

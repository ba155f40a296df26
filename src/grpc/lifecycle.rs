//! The service `Lifecycle`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::Handler;
use super::convert::lifecycle::{self as decode, Asked};
use super::convert::{self, operation, tenant};
use super::metadata::command;
use super::status::status;
use super::watching::Watching;
use crate::domain::error::Error;
use crate::domain::ids::{OperationId, TenantId};
use crate::domain::lifecycle::{Status as TenantStatus, Verb};
use crate::domain::operation::Wish;
use crate::proto::v1::lifecycle_server::Lifecycle;
use crate::proto::v1::list_transitions_response::Transition;
use crate::proto::v1::{self, Operation};
use crate::services::lifecycle::{
    Intervene, SetTarget, StartOperation, get_bulk, list_bulks, list_transitions, status_of,
};
use crate::services::{Command, Registry};
use crate::view::Snapshot;

/// Takes who asks out of a message, and leaves what is asked: every message is a type of its own.
macro_rules! commanded {
    ($request:expr, $method:literal) => {{
        let mut message = $request.get_ref().clone();
        let request_id = std::mem::take(&mut message.request_id);
        let command = command($request.metadata(), $method, &message, &request_id, message.validate_only);
        (message, command)
    }};
}

/// A verb, with what is asked for beside it.
macro_rules! asked {
    ($request:expr, $method:literal, $verb:expr, |$message:ident, $faults:ident| $wish:expr) => {{
        let ($message, command) = commanded!($request, $method);
        command.and_then(|command| {
            let asked = Asked {
                tenant_id: $message.tenant_id.clone(),
                reason: $message.reason.clone(),
                etag: $message.etag.clone(),
                wait: $message.wait,
                at: $message.at,
            };
            Ok((decode::decode_start(&asked, $verb, |$faults| $wish)?, command))
        })
    }};
}

#[tonic::async_trait]
impl Lifecycle for Handler {
    type WatchOperationStream = Watching<Operation>;
    type WatchBulkOperationStream = Watching<v1::BulkOperation>;

    async fn suspend_tenant(
        &self,
        request: Request<v1::SuspendTenantRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.start(asked!(request, "SuspendTenant", Verb::Suspend, |message, faults| {
            decode::decode_children(message.children, faults)
        }))
        .await
    }

    async fn activate_tenant(
        &self,
        request: Request<v1::ActivateTenantRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.start(asked!(request, "ActivateTenant", Verb::Activate, |message, faults| Wish {
            skip: decode::decode_skipped(&message.skip_targets, &message.reason, faults),
            ..decode::decode_children(message.children, faults)
        }))
        .await
    }

    async fn start_migration(
        &self,
        request: Request<v1::StartMigrationRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.start(asked!(request, "StartMigration", Verb::StartMigration, |message, faults| Wish {
            to: decode::decode_place(&message.to_region, &message.to_cell, faults),
            ..decode::decode_children(message.children, faults)
        }))
        .await
    }

    async fn archive_tenant(
        &self,
        request: Request<v1::ArchiveTenantRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.start(asked!(request, "ArchiveTenant", Verb::Archive, |message, faults| Wish {
            retention_seconds: decode::decode_retention(message.retention, message.shorten_retention, faults),
            shortens: message.shorten_retention,
            ..decode::decode_children(message.children, faults)
        }))
        .await
    }

    async fn delete_tenant(
        &self,
        request: Request<v1::DeleteTenantRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.start(asked!(request, "DeleteTenant", Verb::Delete, |message, faults| Wish {
            undelete_seconds: decode::decode_period("undelete_period", message.undelete_period, faults),
            ..decode::decode_children(message.children, faults)
        }))
        .await
    }

    async fn undelete_tenant(
        &self,
        request: Request<v1::UndeleteTenantRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.start(asked!(request, "UndeleteTenant", Verb::Undelete, |message, faults| {
            decode::decode_children(message.children, faults)
        }))
        .await
    }

    async fn finish_migration(
        &self,
        request: Request<v1::FinishMigrationRequest>,
    ) -> Result<Response<Operation>, Status> {
        let to =
            operation::decode_migration_end(request.get_ref().to_status).map_err(|error| status(&error))?;
        let verb = Verb::FinishMigration { to };
        self.start(asked!(request, "FinishMigration", verb, |message, faults| {
            decode::decode_children(message.children, faults)
        }))
        .await
    }

    async fn change_tier(
        &self,
        request: Request<v1::ChangeTierRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.start(asked!(request, "ChangeTier", Verb::ChangeTier, |message, faults| {
            decode::decode_tier(&message.tier, faults)
        }))
        .await
    }

    async fn verify_tenant(
        &self,
        request: Request<v1::VerifyTenantRequest>,
    ) -> Result<Response<v1::VerifyTenantResponse>, Status> {
        let (message, command) = commanded!(request, "VerifyTenant");
        let asked = command.and_then(|command| Ok((decode::decode_verify(&message)?, command)));
        let (asked, command) = asked.map_err(|error| status(&error))?;
        let verified = self.registry.verify_tenant(&asked, &command).await;
        let verified = verified.map_err(|error| status(&error))?;
        Ok(self.respond(v1::VerifyTenantResponse {
            targets: verified.checks.iter().map(operation::encode_check).collect(),
            operation: verified.operation.map(|repair| self.encode(&repair)),
        }))
    }

    async fn retry_target(
        &self,
        request: Request<v1::RetryTargetRequest>,
    ) -> Result<Response<Operation>, Status> {
        let (message, command) = commanded!(request, "RetryTarget");
        let asked = decode::decode_intervene(&message.operation_id, message.wait.as_ref(), |faults| {
            decode::decode_retry(&message, faults)
        });
        self.intervene(asked, command).await
    }

    async fn skip_target(
        &self,
        request: Request<v1::SkipTargetRequest>,
    ) -> Result<Response<Operation>, Status> {
        let (message, command) = commanded!(request, "SkipTarget");
        let asked = decode::decode_intervene(&message.operation_id, message.wait.as_ref(), |faults| {
            decode::decode_skip(&message.target, &message.reason, faults)
        });
        self.intervene(asked, command).await
    }

    async fn abort_operation(
        &self,
        request: Request<v1::AbortOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        let (message, command) = commanded!(request, "AbortOperation");
        let asked = decode::decode_intervene(&message.operation_id, message.wait.as_ref(), |faults| {
            Some(decode::decode_abort(&message.reason, faults))
        });
        self.intervene(asked, command).await
    }

    async fn pause_target(
        &self,
        request: Request<v1::PauseTargetRequest>,
    ) -> Result<Response<v1::Target>, Status> {
        let (message, command) = commanded!(request, "PauseTarget");
        self.set_target(decode::decode_set_target(&message.target, &message.reason, true), command).await
    }

    async fn resume_target(
        &self,
        request: Request<v1::ResumeTargetRequest>,
    ) -> Result<Response<v1::Target>, Status> {
        let (message, command) = commanded!(request, "ResumeTarget");
        self.set_target(decode::decode_set_target(&message.target, &message.reason, false), command).await
    }

    async fn list_targets(
        &self,
        request: Request<v1::ListTargetsRequest>,
    ) -> Result<Response<v1::ListTargetsResponse>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let message = request.into_inner();
        let page = convert::page(message.page_size, message.page_token)
            .and_then(|page| self.registry.list_targets(&snapshot, &page));
        let page = page.map_err(|error| status(&error))?;
        let response = v1::ListTargetsResponse {
            targets: page.items.iter().map(decode::encode_target).collect(),
            next_page_token: page.next_token,
            total_size: convert::count(page.total),
        };
        Ok(self.respond_at(&snapshot, response))
    }

    async fn start_bulk_operation(
        &self,
        request: Request<v1::StartBulkOperationRequest>,
    ) -> Result<Response<v1::BulkOperation>, Status> {
        let (message, command) = commanded!(request, "StartBulkOperation");
        let asked = command.and_then(|command| Ok((decode::decode_bulk(&message)?, command)));
        let (start, command) = asked.map_err(|error| status(&error))?;
        let bulk = self.registry.start_bulk(&start, &command).await.map_err(|error| status(&error))?;
        Ok(self.respond(decode::encode_bulk(&bulk)))
    }

    async fn abort_bulk_operation(
        &self,
        request: Request<v1::AbortBulkOperationRequest>,
    ) -> Result<Response<v1::BulkOperation>, Status> {
        let (message, command) = commanded!(request, "AbortBulkOperation");
        let asked = command.and_then(|command| Ok((bulk_id(&message.bulk_operation_id)?, command)));
        let (id, command) = asked.map_err(|error| status(&error))?;
        let bulk = self.registry.abort_bulk(id, &command).await.map_err(|error| status(&error))?;
        Ok(self.respond(decode::encode_bulk(&bulk)))
    }

    async fn get_bulk_operation(
        &self,
        request: Request<v1::GetBulkOperationRequest>,
    ) -> Result<Response<v1::BulkOperation>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let found = bulk_id(&request.get_ref().bulk_operation_id).and_then(|id| get_bulk(&snapshot, id));
        let found = found.map_err(|error| status(&error))?;
        Ok(self.respond_at(&snapshot, decode::encode_bulk(&found)))
    }

    async fn list_bulk_operations(
        &self,
        request: Request<v1::ListBulkOperationsRequest>,
    ) -> Result<Response<v1::ListBulkOperationsResponse>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let message = request.into_inner();
        let page = convert::page(message.page_size, message.page_token)
            .and_then(|page| list_bulks(&snapshot, &page));
        let page = page.map_err(|error| status(&error))?;
        let response = v1::ListBulkOperationsResponse {
            bulk_operations: page.items.iter().map(|bulk| decode::encode_bulk(bulk)).collect(),
            next_page_token: page.next_token,
            total_size: convert::count(page.total),
        };
        Ok(self.respond_at(&snapshot, response))
    }

    async fn watch_bulk_operation(
        &self,
        request: Request<v1::WatchBulkOperationRequest>,
    ) -> Result<Response<Watching<v1::BulkOperation>>, Status> {
        let begin = async { self.registry.watch_bulk(bulk_id(&request.get_ref().bulk_operation_id)?) };
        self.watch(&request, begin, |newest| decode::encode_bulk(&newest)).await
    }

    async fn list_transitions(
        &self,
        request: Request<v1::ListTransitionsRequest>,
    ) -> Result<Response<v1::ListTransitionsResponse>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let from = decode_from(&snapshot, request.get_ref()).map_err(|error| status(&error))?;
        let transitions = list_transitions(from)
            .into_iter()
            .map(|(to, verb)| Transition {
                to: tenant::encode_status(to).into(),
                method: verb.method().to_owned(),
            })
            .collect();
        let from = tenant::encode_status(from).into();
        Ok(self.respond_at(&snapshot, v1::ListTransitionsResponse { from, transitions }))
    }

    async fn get_operation(
        &self,
        request: Request<v1::GetOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let found = async {
            let id = convert::id("operation_id", OperationId::parse(&request.get_ref().operation_id))?;
            self.registry.operation(&snapshot, id).await
        };
        let found = found.await.map_err(|error| status(&error))?;
        Ok(self.respond_at(&snapshot, encode_at(&self.registry, &snapshot, &found)))
    }

    async fn list_operations(
        &self,
        request: Request<v1::ListOperationsRequest>,
    ) -> Result<Response<v1::ListOperationsResponse>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let page = async {
            let asked = decode::decode_list(request.into_inner())?;
            self.registry.list_operations(&snapshot, &asked).await
        };
        let page = page.await.map_err(|error| status(&error))?;
        let encode = |item: &Arc<_>| encode_at(&self.registry, &snapshot, item);
        let response = v1::ListOperationsResponse {
            operations: page.items.iter().map(encode).collect(),
            next_page_token: page.next_token,
            total_size: convert::count(page.total),
        };
        Ok(self.respond_at(&snapshot, response))
    }

    async fn watch_operation(
        &self,
        request: Request<v1::WatchOperationRequest>,
    ) -> Result<Response<Watching<Operation>>, Status> {
        let begin = async {
            let id = convert::id("operation_id", OperationId::parse(&request.get_ref().operation_id))?;
            self.registry.watch_operation(id).await
        };
        let registry = self.registry.clone();
        self.watch(&request, begin, move |newest| encode_now(&registry, &newest)).await
    }
}

impl Handler {
    /// Runs a verb. One that is only validated is answered with what would change.
    async fn start(
        &self,
        asked: Result<(StartOperation, Command), Error>,
    ) -> Result<Response<Operation>, Status> {
        let (start, command) = asked.map_err(|error| status(&error))?;
        let mut newest =
            self.registry.start_operation(&start, &command).await.map_err(|error| status(&error))?;
        if command.validate_only {
            let unknown = self.registry.preview(&mut newest).await;
            let followers = self.registry.followers(&newest).await.map_err(|error| status(&error))?;
            return Ok(self.respond(operation::encode_plan(&newest, &unknown, &followers)));
        }
        tracing::Span::current().record("operation_id", newest.operation_id.to_string());
        Ok(self.respond(self.encode(&newest)))
    }

    async fn intervene(
        &self,
        asked: Result<Intervene, Error>,
        command: Result<Command, Error>,
    ) -> Result<Response<Operation>, Status> {
        let asked = command.and_then(|command| Ok((asked?, command)));
        let (asked, command) = asked.map_err(|error| status(&error))?;
        let newest = self.registry.intervene(&asked, &command).await.map_err(|error| status(&error))?;
        Ok(self.respond(self.encode(&newest)))
    }

    async fn set_target(
        &self,
        asked: Result<SetTarget, Error>,
        command: Result<Command, Error>,
    ) -> Result<Response<v1::Target>, Status> {
        let asked = command.and_then(|command| Ok((asked?, command)));
        let (asked, command) = asked.map_err(|error| status(&error))?;
        let shown = self.registry.set_target(&asked, &command).await.map_err(|error| status(&error))?;
        Ok(self.respond(decode::encode_target(&shown)))
    }

    fn encode(&self, newest: &crate::domain::operation::Operation) -> Operation {
        encode_now(&self.registry, newest)
    }
}

fn encode_now(registry: &Registry, newest: &crate::domain::operation::Operation) -> Operation {
    match registry.view.snapshot() {
        Ok(snapshot) => encode_at(registry, &snapshot, newest),
        Err(_) => operation::encode(newest, &[]),
    }
}

/// An operation, with what it and its targets wait for.
fn encode_at(
    registry: &Registry,
    snapshot: &Snapshot,
    found: &crate::domain::operation::Operation,
) -> Operation {
    let mut message = operation::encode(found, &registry.holds(snapshot, found));
    if let Some(why) = registry.waits_for(snapshot, found) {
        message.error = why;
    }
    message
}

fn bulk_id(text: &str) -> Result<OperationId, Error> {
    convert::id("bulk_operation_id", OperationId::parse(text))
}

fn decode_from(snapshot: &Snapshot, message: &v1::ListTransitionsRequest) -> Result<TenantStatus, Error> {
    match (message.tenant_id.as_str(), tenant::decode_status("status", message.status)?) {
        ("", Some(status)) => Ok(status),
        ("", None) => Err(Error::field("tenant_id", "must be set, or else status")),
        (_, Some(_)) => Err(Error::field("status", "must not be set together with tenant_id")),
        (text, None) => {
            let tenant_id = convert::id("tenant_id", TenantId::parse(text))?;
            status_of(snapshot, &tenant_id)
        }
    }
}

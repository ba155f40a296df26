//! The service `Lifecycle`.

use std::pin::Pin;
use std::time::Duration;

use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::Handler;
use super::convert::{self, operation, tenant};
use super::metadata::command;
use super::status::status;
use crate::domain::error::Error;
use crate::domain::ids::{OperationId, TenantId};
use crate::domain::lifecycle::{MigrationEnd, Status as TenantStatus, Verb};
use crate::domain::text;
use crate::proto::v1::lifecycle_server::Lifecycle;
use crate::proto::v1::list_transitions_response::Transition;
use crate::proto::v1::{
    ActivateTenantRequest, ArchiveTenantRequest, DeleteTenantRequest, FinishMigrationRequest,
    GetOperationRequest, ListOperationsRequest, ListOperationsResponse, ListTransitionsRequest,
    ListTransitionsResponse, Operation, StartMigrationRequest, SuspendTenantRequest, UndeleteTenantRequest,
    WatchOperationRequest,
};
use crate::services::Command;
use crate::services::lifecycle::{
    ListOperations, StartOperation, WAIT_MAX, get_operation, list_operations, list_transitions, status_of,
};
use crate::view::Snapshot;

type Watching = Pin<Box<dyn Stream<Item = Result<Operation, Status>> + Send>>;

/// Takes the fields that all verbs have out of their messages, which are types of their own.
macro_rules! asked {
    ($request:expr, $method:literal, $verb:expr) => {{
        let mut message = $request.get_ref().clone();
        let request_id = std::mem::take(&mut message.request_id);
        let command = command($request.metadata(), $method, &message, &request_id, message.validate_only);
        command.and_then(|command| {
            let start = decode_start(
                &message.tenant_id,
                $verb,
                &message.reason,
                &message.etag,
                message.wait.as_ref(),
            )?;
            Ok((start, command))
        })
    }};
}

#[tonic::async_trait]
impl Lifecycle for Handler {
    type WatchOperationStream = Watching;

    async fn suspend_tenant(
        &self,
        request: Request<SuspendTenantRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.start(asked!(request, "SuspendTenant", Verb::Suspend)).await
    }

    async fn activate_tenant(
        &self,
        request: Request<ActivateTenantRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.start(asked!(request, "ActivateTenant", Verb::Activate)).await
    }

    async fn start_migration(
        &self,
        request: Request<StartMigrationRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.start(asked!(request, "StartMigration", Verb::StartMigration)).await
    }

    async fn archive_tenant(
        &self,
        request: Request<ArchiveTenantRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.start(asked!(request, "ArchiveTenant", Verb::Archive)).await
    }

    async fn delete_tenant(
        &self,
        request: Request<DeleteTenantRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.start(asked!(request, "DeleteTenant", Verb::Delete)).await
    }

    async fn undelete_tenant(
        &self,
        request: Request<UndeleteTenantRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.start(asked!(request, "UndeleteTenant", Verb::Undelete)).await
    }

    async fn finish_migration(
        &self,
        request: Request<FinishMigrationRequest>,
    ) -> Result<Response<Operation>, Status> {
        let to = decode_migration_end(request.get_ref().to_status).map_err(|error| status(&error))?;
        self.start(asked!(request, "FinishMigration", Verb::FinishMigration { to })).await
    }

    async fn list_transitions(
        &self,
        request: Request<ListTransitionsRequest>,
    ) -> Result<Response<ListTransitionsResponse>, Status> {
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
        Ok(self.respond_at(&snapshot, ListTransitionsResponse { from, transitions }))
    }

    async fn get_operation(
        &self,
        request: Request<GetOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let found = convert::id("operation_id", OperationId::parse(&request.get_ref().operation_id))
            .and_then(|id| get_operation(&snapshot, id));
        let found = found.map_err(|error| status(&error))?;
        Ok(self.respond_at(&snapshot, operation::encode(&found)))
    }

    async fn list_operations(
        &self,
        request: Request<ListOperationsRequest>,
    ) -> Result<Response<ListOperationsResponse>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let page = decode_list(request.into_inner()).and_then(|list| list_operations(&snapshot, &list));
        let page = page.map_err(|error| status(&error))?;
        let response = ListOperationsResponse {
            operations: page.items.iter().map(|item| operation::encode(item)).collect(),
            next_page_token: page.next_token,
            total_size: convert::count(page.total),
        };
        Ok(self.respond_at(&snapshot, response))
    }

    async fn watch_operation(
        &self,
        request: Request<WatchOperationRequest>,
    ) -> Result<Response<Watching>, Status> {
        let told = convert::id("operation_id", OperationId::parse(&request.get_ref().operation_id))
            .and_then(|id| self.registry.watch_operation(id));
        let told = told.map_err(|error| status(&error))?;
        let stream = ReceiverStream::new(told).map(|told| match told {
            Ok(newest) => Ok(operation::encode(&newest)),
            Err(error) => Err(status(&error)),
        });
        Ok(self.respond(Box::pin(stream) as Watching))
    }
}

impl Handler {
    /// Runs a verb.
    async fn start(
        &self,
        asked: Result<(StartOperation, Command), Error>,
    ) -> Result<Response<Operation>, Status> {
        let (start, command) = asked.map_err(|error| status(&error))?;
        let newest = self.registry.start_operation(&start, &command).await.map_err(|error| status(&error))?;
        tracing::Span::current().record("operation_id", newest.operation_id.to_string());
        Ok(self.respond(operation::encode(&newest)))
    }
}

fn decode_start(
    tenant_id: &str,
    verb: Verb,
    reason: &str,
    etag: &str,
    wait: Option<&prost_types::Duration>,
) -> Result<StartOperation, Error> {
    let mut faults = convert::Faults::default();
    let tenant_id = faults.id("tenant_id", TenantId::parse(tenant_id));
    if let Err(invalid) = text::free(reason, convert::flag::choice::REASON_MAX) {
        faults.add("reason", invalid.why);
    }
    let wait = wait.map_or(Some(Duration::ZERO), |wait| {
        // Bounded before it is converted: the conversion overflows at the far end of `seconds`.
        let within = (0..=WAIT_MAX.as_secs().cast_signed()).contains(&wait.seconds) && wait.nanos >= 0;
        let wait = within.then(|| Duration::try_from(*wait).ok()).flatten().filter(|wait| *wait <= WAIT_MAX);
        if wait.is_none() {
            faults.add("wait", "must be from 0 to 30 seconds");
        }
        wait
    });
    let etag = convert::etag(etag.to_owned());
    let start = tenant_id.zip(wait).map(|(tenant_id, wait)| StartOperation {
        tenant_id,
        verb,
        reason: reason.to_owned(),
        etag,
        wait,
    });
    faults.check(start)
}

fn decode_migration_end(number: i32) -> Result<MigrationEnd, Error> {
    match tenant::decode_status("to_status", number)? {
        None | Some(TenantStatus::Active) => Ok(MigrationEnd::Active),
        Some(TenantStatus::Suspended) => Ok(MigrationEnd::Suspended),
        Some(_) => Err(Error::field("to_status", "must be ACTIVE or SUSPENDED")),
    }
}

fn decode_from(snapshot: &Snapshot, message: &ListTransitionsRequest) -> Result<TenantStatus, Error> {
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

fn decode_list(message: ListOperationsRequest) -> Result<ListOperations, Error> {
    let mut faults = convert::Faults::default();
    let tenant_id = faults.optional_id("tenant_id", &message.tenant_id, TenantId::parse);
    faults.check(Some(()))?;
    Ok(ListOperations {
        page: convert::page(message.page_size, message.page_token)?,
        tenant_id,
        state: operation::decode_state("state", message.state)?,
    })
}

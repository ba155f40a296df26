//! Use cases of the lifecycle: the verbs, and what became of them.

mod bulk;
mod bulk_drive;
mod children;
mod due;
mod intervene;
mod start;
mod targets;
mod verifier;
mod verify;
mod watch_operation;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use self::bulk::{StartBulk, get_bulk, list_bulks};
pub use self::bulk_drive::BULK_VERBS;
pub use self::intervene::{Intervene, Intervention};
pub use self::start::{StartOperation, WAIT_MAX};
pub use self::targets::{Hold, SetTarget, ShownTarget};
pub use self::verify::{Check, Verified, VerifyTenant};
use super::change::Reply;
use super::paging::{Keyed, Page, PageRequest, page_by_key};
use super::tenant_registry::not_found;
use super::{Command, Registry};
use crate::domain::error::{Error, Reason, invalid_filter};
use crate::domain::filter::Filter;
use crate::domain::filter::operation::{Row, SCHEMA};
use crate::domain::ids::{OperationId, Revision, TenantId};
use crate::domain::lifecycle::{Status, Verb, verbs};
use crate::domain::operation::{Operation, State};
use crate::view::Snapshot;

impl Reply for Operation {
    fn set_revision(&mut self, revision: Revision) {
        self.revision = revision;
    }
}

/// Which operations.
#[derive(Debug, Clone, Default)]
pub struct ListOperations {
    /// Which page.
    pub page: PageRequest,
    /// Only this tenant's.
    pub tenant_id: Option<TenantId>,
    /// Only in this state.
    pub state: Option<State>,
    /// AIP-160; empty for all.
    pub filter: String,
}

/// Starts what runs by itself beside the engine: scheduled operations and purges, the verifier, bulk operations. It ends
/// with `stop`.
pub fn start_background(registry: &Registry, stop: &CancellationToken) {
    let spawn = |work: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = work => {}
                () = stop.cancelled() => {}
            }
        });
    };
    spawn(Box::pin(due::run(registry.clone())));
    spawn(Box::pin(verifier::run(registry.clone())));
    spawn(Box::pin(bulk_drive::run(registry.clone())));
}

/// A change that the registry asks of itself.
fn background_command() -> Command {
    Command { actor: "tenantry".to_owned(), request_id: None, digest: [0; 32], validate_only: false }
}

/// Reads an operation.
pub fn get_operation(snapshot: &Snapshot, operation_id: OperationId) -> Result<Arc<Operation>, Error> {
    snapshot
        .operations
        .get(&operation_id)
        .cloned()
        .ok_or_else(|| Error::missing(Reason::OperationNotFound, "operation", "operation_id", operation_id))
}

/// Lists operations, newest first.
pub fn list_operations(snapshot: &Snapshot, request: &ListOperations) -> Result<Page<Arc<Operation>>, Error> {
    let filter = Filter::parse(&request.filter, &SCHEMA).map_err(|error| invalid_filter("filter", &error))?;
    if let Some(tenant_id) = &request.tenant_id {
        // A tenant that was purged is still known by its operations.
        let mut operations = snapshot.operations.values();
        if snapshot.tenant(tenant_id).is_none() && !operations.any(|known| known.tenant_id == *tenant_id) {
            return Err(not_found(tenant_id));
        }
    }
    let items = snapshot
        .operations
        .iter()
        .rev()
        .filter(|(_, operation)| request.tenant_id.as_ref().is_none_or(|id| operation.tenant_id == *id))
        .filter(|(_, operation)| request.state.is_none_or(|state| operation.state == state))
        .filter(|(_, operation)| filter.is_all() || filter.matches(&Row::of(operation)))
        .map(|(id, operation)| Keyed { key: id.to_string(), item: Arc::clone(operation) })
        .collect();
    let tenant = request.tenant_id.as_ref().map_or("", TenantId::as_str);
    let query = ["operations", tenant, request.state.map_or("", State::as_str), &request.filter];
    page_by_key(snapshot, &request.page, &query, true, items)
}

/// The moves from a status: where to, and by which verb.
pub fn list_transitions(from: Status) -> Vec<(Status, Verb)> {
    verbs(from).map(|verb| (verb.leads_to(from), verb)).collect()
}

/// The status a tenant is in.
pub fn status_of(snapshot: &Snapshot, tenant_id: &TenantId) -> Result<Status, Error> {
    Ok(super::tenant_registry::get_tenant(snapshot, tenant_id)?.tenant.status)
}

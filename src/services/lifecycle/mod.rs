//! Use cases of the lifecycle: the verbs, and what became of them.

mod start;
mod watch_operation;

use std::sync::Arc;

pub use self::start::{StartOperation, WAIT_MAX};
use super::change::Reply;
use super::paging::{Keyed, Page, PageRequest, page_by_key};
use super::tenant_registry::get_tenant;
use crate::domain::error::{Error, Reason};
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
    if let Some(tenant_id) = &request.tenant_id {
        get_tenant(snapshot, tenant_id)?;
    }
    let items = snapshot
        .operations
        .iter()
        .rev()
        .filter(|(_, operation)| request.tenant_id.as_ref().is_none_or(|id| operation.tenant_id == *id))
        .filter(|(_, operation)| request.state.is_none_or(|state| operation.state == state))
        .map(|(id, operation)| Keyed { key: id.to_string(), item: Arc::clone(operation) })
        .collect();
    let tenant = request.tenant_id.as_ref().map_or("", TenantId::as_str);
    let query = ["operations", tenant, request.state.map_or("", State::as_str)];
    page_by_key(snapshot, &request.page, &query, true, items)
}

/// The moves from a status: where to, and by which verb.
pub fn list_transitions(from: Status) -> Vec<(Status, Verb)> {
    verbs(from).map(|verb| (verb.target(), verb)).collect()
}

/// The status a tenant is in.
pub fn status_of(snapshot: &Snapshot, tenant_id: &TenantId) -> Result<Status, Error> {
    Ok(get_tenant(snapshot, tenant_id)?.tenant.status)
}

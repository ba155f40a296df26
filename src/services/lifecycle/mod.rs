//! Use cases of the lifecycle: the verbs, and what became of them.

mod beside;
mod bulk;
mod bulk_drive;
mod children;
mod due;
mod in_the_way;
mod intervene;
mod missing;
mod older_bulks;
mod opens_later;
mod operations;
mod settled;
mod start;
mod targets;
mod verifier;
mod verify;
mod watch_operation;

use tokio_util::sync::CancellationToken;

pub use self::bulk::{StartBulk, get_bulk, list_bulks};
pub use self::bulk_drive::BULK_VERBS;
pub use self::intervene::{Intervene, Intervention};
pub use self::missing::register_metrics;
pub use self::operations::ListOperations;
pub use self::start::{StartOperation, WAIT_MAX};
pub use self::targets::{Hold, SetTarget, ShownTarget};
pub use self::verify::{Check, Verified, VerifyTenant};
use super::change::Reply;
use super::{Command, Registry};
use crate::domain::error::Error;
use crate::domain::ids::{RequestId, Revision, TenantId};
use crate::domain::lifecycle::{Status, Verb, verbs};
use crate::domain::operation::Operation;
use crate::store::log::{Context, Idempotency};
use crate::view::Snapshot;

impl Reply for Operation {
    fn set_revision(&mut self, revision: Revision) {
        self.revision = revision;
    }
}

/// Starts what runs by itself beside the engine: scheduled operations and purges, the verifier, bulk operations, the watch
/// for targets that are missing. It ends with `stop`.
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
    spawn(Box::pin(verifier::run_after_stragglers(registry.clone())));
    spawn(Box::pin(bulk_drive::run(registry.clone())));
    spawn(Box::pin(missing::run(registry.clone())));
}

/// A change that the registry asks of itself.
fn background_command() -> Command {
    Command { actor: "tenantry".to_owned(), request_id: None, digest: [0; 32], validate_only: false }
}

/// What a change that the registry asks of itself is made in.
fn background_context(actor: &str) -> Context {
    let request_id = RequestId::from_uuid(super::new_id());
    let idempotency = Idempotency { request_id, digest: [0; 32] };
    Context { actor: actor.to_owned(), now: super::now(), idempotency }
}

/// The moves from a status: where to, and by which verb.
pub fn list_transitions(from: Status) -> Vec<(Status, Verb)> {
    verbs(from).map(|verb| (verb.leads_to(from), verb)).collect()
}

/// The status a tenant is in.
pub fn status_of(snapshot: &Snapshot, tenant_id: &TenantId) -> Result<Status, Error> {
    Ok(super::tenant_registry::get_tenant(snapshot, tenant_id)?.tenant.status)
}

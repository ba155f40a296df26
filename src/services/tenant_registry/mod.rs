//! Use cases of the tenant registry.

mod create_tenant;
mod list_tenants;
mod update_tenant;
mod watch_tenants;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::create_tenant::BATCH_MAX;
pub use self::list_tenants::ListTenants;
pub use self::update_tenant::TenantUpdate;
pub use self::watch_tenants::{Watch, WatchTenants, Watched};
use super::change::Reply;
use crate::domain::error::{Error, Reason};
use crate::domain::ids::{Revision, TenantId};
use crate::domain::lifecycle::Status;
use crate::domain::tenant::{Health, Tenant};
use crate::domain::tier::Tier;
use crate::view::{Record, Snapshot};

/// A tenant with all that is shown of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// The tenant.
    pub tenant: Tenant,
    /// Its last health report.
    pub health: Option<Box<Health>>,
    /// Its tier.
    pub tier: Option<Arc<Tier>>,
}

impl Shown {
    /// A tenant of a snapshot.
    pub fn new(snapshot: &Snapshot, record: &Record) -> Self {
        Self {
            tenant: record.tenant.clone(),
            health: record.health.clone(),
            tier: snapshot.tier_of(record).cloned(),
        }
    }
}

impl Reply for Shown {
    fn set_revision(&mut self, revision: Revision) {
        self.tenant.revision = revision;
    }
}

/// Finds a tenant, deleted ones too: a tenant in the middle of its deletion is never missing.
pub fn get_tenant<'a>(snapshot: &'a Snapshot, tenant_id: &TenantId) -> Result<&'a Arc<Record>, Error> {
    let found = snapshot.tenant(tenant_id);
    found.ok_or_else(|| snapshot.missing("tenant", tenant_id.as_str(), not_found(tenant_id)))
}

pub(super) fn not_found(tenant_id: &TenantId) -> Error {
    Error::missing(Reason::TenantNotFound, "tenant", "tenant_id", tenant_id)
}

/// A deleted tenant stays as it is until it is undeleted. `why` says what is not done to it.
pub(super) fn is_deleted(tenant_id: &TenantId, why: &str) -> Error {
    Error::new(Reason::IllegalTransition, format!("{why}; undelete it first"))
        .with("from", Status::Deleted)
        .with("tenant_id", tenant_id)
}

pub(super) fn tier_not_found(tier_id: &crate::domain::ids::TierId) -> Error {
    Error::missing(Reason::TierNotFound, "tier", "tier_id", tier_id)
}

/// Checks that a parent exists, is not on its way out and does not stand below the tenant.
fn check_parent(snapshot: &Snapshot, parent: Option<&TenantId>, tenant_id: &TenantId) -> Result<(), Error> {
    let Some(parent) = parent else { return Ok(()) };
    let found = snapshot.tenant(parent).map(|record| record.tenant.status);
    let cannot = found.is_none_or(|status| matches!(status, Status::Archived | Status::Deleted));
    if cannot && parent != tenant_id {
        let missing =
            Error::missing(Reason::ParentNotFound, "tenant that can be the parent with id", "parent", parent);
        return Err(match found {
            Some(status) => {
                let message = format!("tenant \"{parent}\" is {status}: nothing more can be put below it");
                Error { message, ..missing.with("status", status) }
            }
            None => missing,
        });
    }
    let mut above = Some(parent);
    // The database refuses cycles, so this ends; the bound is for a view in the middle of an unforeseen repair.
    for _ in 0..=snapshot.tenants.len() {
        match above {
            Some(id) if id == tenant_id => {
                return Err(Error::new(
                    Reason::ParentCycle,
                    format!(
                        "tenant \"{parent}\" cannot be the parent: it is, or stands below, \"{tenant_id}\""
                    ),
                )
                .with("tenant_id", tenant_id)
                .with("parent", parent));
            }
            Some(id) => above = snapshot.tenant(id).and_then(|record| record.tenant.profile.parent.as_ref()),
            None => break,
        }
    }
    Ok(())
}

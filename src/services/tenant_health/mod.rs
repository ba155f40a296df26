//! Use cases of tenants' health.

use super::change::{Decision, Reply};
use super::tenant_registry::{get_tenant, is_deleted};
use super::{Command, Registry};
use crate::domain::error::Error;
use crate::domain::health::{Signals, score};
use crate::domain::ids::{Revision, TenantId};
use crate::domain::lifecycle::Status;
use crate::domain::tenant::Health;
use crate::store::tenants;
use crate::view::Snapshot;

impl Reply for Health {
    fn set_revision(&mut self, revision: Revision) {
        self.revision = revision;
    }
}

/// Reads a tenant's last health report, if there was one.
pub fn get_tenant_health<'a>(
    snapshot: &'a Snapshot,
    tenant_id: &TenantId,
) -> Result<Option<&'a Health>, Error> {
    Ok(get_tenant(snapshot, tenant_id)?.health.as_deref())
}

impl Registry {
    /// Takes what was measured of a tenant and scores it.
    pub async fn report_signals(
        &self,
        tenant_id: &TenantId,
        signals: Signals,
        command: &Command,
    ) -> Result<Health, Error> {
        let score = score(&signals)
            .map_err(|invalid| Error::field(format!("signals.{}", invalid.field), invalid.why))?;
        self.change(command, |snapshot, context| {
            let record = get_tenant(snapshot, tenant_id)?;
            if record.tenant.status == Status::Deleted {
                return Err(is_deleted(tenant_id, "a deleted tenant takes no signals"));
            }
            let health = Health {
                tenant_id: tenant_id.clone(),
                signals,
                score,
                report_time: context.now,
                revision: Revision::ZERO,
            };
            Ok(Decision::Make(Box::new(tenants::health_report(&health, context)), health))
        })
        .await
    }
}

//! Changing what may be set of a tenant.

use super::{Shown, check_parent, get_tenant, is_deleted, tier_not_found};
use crate::domain::error::{Error, Reason};
use crate::domain::ids::TenantId;
use crate::domain::lifecycle::Status;
use crate::domain::tenant::{Profile, ProfileField};
use crate::services::change::Decision;
use crate::services::tiers::check_etag;
use crate::services::{Command, Registry};
use crate::store::tenants;

/// What is to be changed of a tenant.
#[derive(Debug, Clone)]
pub struct TenantUpdate {
    /// Which tenant.
    pub tenant_id: TenantId,
    /// The new values.
    pub profile: Profile,
    /// Which of them.
    pub fields: Vec<ProfileField>,
    /// Refuse if it changed since.
    pub etag: Option<String>,
}

impl Registry {
    /// Changes fields of a tenant. A deleted one stays as it is until it is undeleted.
    pub async fn update_tenant(&self, update: TenantUpdate, command: &Command) -> Result<Shown, Error> {
        self.change(command, |snapshot, context| {
            let record = get_tenant(snapshot, &update.tenant_id)?;
            check_etag(update.etag.as_deref(), record.tenant.revision)?;
            if record.tenant.status == Status::Deleted {
                return Err(is_deleted(&update.tenant_id, "a deleted tenant cannot be changed"));
            }
            let mut tenant = record.tenant.clone();
            for field in &update.fields {
                tenant.profile.take(*field, &update.profile);
            }
            let violations = tenant.profile.violations();
            if !violations.is_empty() {
                return Err(Error::invalid(Reason::InvalidField, violations).within("tenant."));
            }
            let Some(tier) = snapshot.tiers.get(&tenant.profile.tier) else {
                return Err(tier_not_found(&tenant.profile.tier));
            };
            if tenant.profile.tier != record.tenant.profile.tier {
                return Err(Error::new(
                    Reason::UseChangeTier,
                    "a tenant's tier is changed by ChangeTier, which makes its limits true in every target",
                )
                .with("tenant_id", &update.tenant_id)
                .with("method", "tenantry.v1.Lifecycle/ChangeTier"));
            }
            if update.fields.contains(&ProfileField::Parent) {
                check_parent(snapshot, tenant.profile.parent.as_ref(), &update.tenant_id)?;
            }
            let unchanged = tenant.profile == record.tenant.profile;
            let tier = Some(std::sync::Arc::clone(tier));
            let mut shown = Shown { tenant, health: record.health.clone(), tier };
            if unchanged {
                return Ok(Decision::Nothing(shown));
            }
            shown.tenant.update_time = context.now;
            let expected = record.tenant.revision;
            let change = tenants::tenant_update(&shown.tenant, &update.fields, expected, context, &shown);
            Ok(Decision::Make(Box::new(change), shown))
        })
        .await
    }
}

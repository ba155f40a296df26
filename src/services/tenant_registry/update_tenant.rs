//! Changing what may be set of a tenant.

use super::{Shown, check_parent, get_tenant, is_deleted, tier_not_found};
use crate::domain::error::{Error, Reason};
use crate::domain::ids::TenantId;
use crate::domain::lifecycle::Status;
use crate::domain::tenant::{Pairs, PairsChange, Profile, ProfileField, Tenant};
use crate::domain::violation::Violation;
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
    /// What becomes of some labels.
    pub labels: PairsChange,
    /// What becomes of some annotations.
    pub annotations: PairsChange,
    /// The currency that a new monthly budget is given in, where it says so.
    pub budget_currency: Option<String>,
    /// Refuse if it changed since.
    pub etag: Option<String>,
}

impl TenantUpdate {
    /// The profile as it will be, and which of its fields that is about.
    fn applied_to(&self, now: &Profile) -> (Profile, Vec<ProfileField>) {
        let (mut profile, mut fields) = (now.clone(), self.fields.clone());
        for field in &self.fields {
            profile.take(*field, &self.profile);
        }
        if !self.labels.is_empty() {
            profile.labels = self.labels.of(&now.labels);
            fields.push(ProfileField::Labels);
        }
        if !self.annotations.is_empty() {
            profile.annotations = self.annotations.of(&now.annotations);
            fields.push(ProfileField::Annotations);
        }
        (profile, fields)
    }

    /// What is wrong with the profile as it would be, by the request's fields.
    fn violations(&self, now: &Profile, next: &Profile) -> Vec<Violation> {
        let mut found = next.violations();
        for violation in &mut found {
            violation.field = match violation.field.as_str() {
                "labels" if !self.labels.is_empty() => Pairs::Labels.set().to_owned(),
                "annotations" if !self.annotations.is_empty() => Pairs::Annotations.set().to_owned(),
                field => format!("tenant.{field}"),
            };
        }
        found.extend(self.currency_violation(now, next));
        found
    }

    /// An amount means nothing without its currency: neither changes what the other is worth unseen.
    fn currency_violation(&self, now: &Profile, next: &Profile) -> Option<Violation> {
        let given = self.fields.contains(&ProfileField::MonthlyBudget);
        if let Some(currency) = self.budget_currency.as_deref().filter(|_| given)
            && currency != &*next.currency_code
        {
            let why =
                format!("must be the same as the tenant's currency_code, {}, or empty", next.currency_code);
            return Some(Violation::new("tenant.monthly_budget.currency_code", why));
        }
        let budget = next.monthly_budget.filter(|_| !given && now.currency_code != next.currency_code)?;
        let why = format!(
            "the monthly budget of {budget} is in {}: give the new monthly_budget as well, and name it in update_mask",
            now.currency_code
        );
        Some(Violation::new("tenant.currency_code", why))
    }
}

/// Targets are told where a tenant runs: another region is a migration. It may be said without one where the tenant has none
/// yet, or was never in use; its targets learn it with the next operation. Not while one is open, which tells them something else.
fn check_region(tenant: &Tenant) -> Result<(), Error> {
    let is_said = !tenant.profile.region.is_empty();
    let is_used = tenant.status != Status::Provisioning;
    let why = if is_said && is_used {
        "a tenant's region is changed by StartMigration and FinishMigration, which tell every target \
         (`tenantry tenant start-migration`)"
    } else if tenant.operation_id.is_some() || tenant.status == Status::Migrating {
        "a tenant's region is said when no operation or migration of it is under way: wait for the end of that, then say it"
    } else {
        return Ok(());
    };
    Err(Error::new(Reason::UseStartMigration, why)
        .with("tenant_id", &tenant.tenant_id)
        .with("method", "tenantry.v1.Lifecycle/StartMigration"))
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
            let (profile, fields) = update.applied_to(&record.tenant.profile);
            tenant.profile = profile;
            let violations = update.violations(&record.tenant.profile, &tenant.profile);
            if !violations.is_empty() {
                return Err(Error::invalid(Reason::InvalidField, violations));
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
            if tenant.profile.region != record.tenant.profile.region {
                check_region(&record.tenant)?;
            }
            if tenant.profile.parent != record.tenant.profile.parent {
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
            let change = tenants::tenant_update(&shown.tenant, &fields, expected, context, &shown);
            Ok(Decision::Make(Box::new(change), shown))
        })
        .await
    }
}

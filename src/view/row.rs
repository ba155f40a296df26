//! A tenant as lists, filters and watchers see it: with what it has from its tier.

use std::sync::Arc;

use super::snapshot::{Record, Snapshot};
use crate::domain::filter::tenant::TenantField;
use crate::domain::filter::{self, FieldId, FieldValue};
use crate::domain::ids::Revision;
use crate::domain::tier::effective_support_level;

/// A tenant of a snapshot. What it shows is what answers show.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    snapshot: &'a Snapshot,
    /// The tenant.
    pub record: &'a Arc<Record>,
}

impl<'a> Row<'a> {
    /// The revision of the last change of anything that is shown of the tenant: of itself, its health, its tier.
    pub fn revision(&self) -> Revision {
        let own = self.record.revision();
        self.snapshot.tier_of(self.record).map_or(own, |tier| own.max(tier.revision))
    }

    fn support_level(&self) -> &'a str {
        let own = &*self.record.tenant.profile.support_level;
        // Most filters ask for something else: the tier is looked up only here.
        effective_support_level(own, || self.snapshot.tier_of(self.record).map(|tier| &**tier))
    }
}

impl Snapshot {
    /// A tenant of this snapshot as lists see it.
    pub fn row<'a>(&'a self, record: &'a Arc<Record>) -> Row<'a> {
        Row { snapshot: self, record }
    }

    /// Every tenant by id, deleted ones too.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.tenants.values().map(|record| self.row(record))
    }
}

fn text(value: &str) -> FieldValue<'_> {
    if value.is_empty() { FieldValue::Absent } else { FieldValue::Text(value) }
}

impl filter::Record for Row<'_> {
    fn field(&self, id: FieldId) -> FieldValue<'_> {
        let Some(field) = TenantField::from_id(id) else { return FieldValue::Absent };
        let tenant = &self.record.tenant;
        let profile = &tenant.profile;
        match field {
            TenantField::TenantId => FieldValue::Text(tenant.tenant_id.as_str()),
            TenantField::DisplayName => text(&profile.display_name),
            TenantField::Status => FieldValue::Text(tenant.status.as_str()),
            TenantField::Tier => FieldValue::Text(profile.tier.as_str()),
            TenantField::HealthScore => FieldValue::Number(f64::from(self.record.score().get())),
            TenantField::HealthLevel => FieldValue::Text(self.record.score().level().as_str()),
            TenantField::Region => text(&profile.region),
            TenantField::Parent => {
                profile.parent.as_ref().map_or(FieldValue::Absent, |id| FieldValue::Text(id.as_str()))
            }
            TenantField::BusinessUnit => text(&profile.business_unit),
            TenantField::CostCenter => text(&profile.cost_center),
            TenantField::Owner => text(&profile.owner),
            TenantField::IsolationModel => FieldValue::Text(profile.isolation_model.as_str()),
            TenantField::DataResidency => text(&profile.data_residency),
            TenantField::SupportLevel => text(self.support_level()),
            TenantField::CreateTime => FieldValue::Time(tenant.create_time),
            TenantField::UpdateTime => FieldValue::Time(tenant.update_time),
            TenantField::CurrencyCode => text(&profile.currency_code),
            TenantField::Labels | TenantField::ComplianceFrameworks => FieldValue::Absent,
        }
    }

    fn entry(&self, id: FieldId, key: &str) -> Option<&str> {
        match TenantField::from_id(id)? {
            TenantField::Labels => self.record.tenant.profile.labels.get(key).map(|value| &**value),
            _ => None,
        }
    }

    fn has_any(&self, id: FieldId) -> bool {
        let profile = &self.record.tenant.profile;
        match TenantField::from_id(id) {
            Some(TenantField::Labels) => !profile.labels.is_empty(),
            Some(TenantField::ComplianceFrameworks) => !profile.compliance_frameworks.is_empty(),
            _ => false,
        }
    }

    fn any_item(&self, id: FieldId, test: &mut dyn FnMut(&str) -> bool) -> bool {
        match TenantField::from_id(id) {
            Some(TenantField::ComplianceFrameworks) => {
                self.record.tenant.profile.compliance_frameworks.iter().any(|item| test(item))
            }
            _ => false,
        }
    }
}

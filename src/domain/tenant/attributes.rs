//! What the rules of feature flags see of a tenant.

use serde_json::{Map, Value, json};

use super::Tenant;
use crate::domain::tier::{Tier, effective_support_level};

impl Tenant {
    /// The attributes under the names that the contract documents, with what the tenant has from its tier, as the API
    /// shows them. Those that are not set are left out.
    pub fn attributes(&self, tier: Option<&Tier>) -> Map<String, Value> {
        let profile = &self.profile;
        let mut found = Map::new();
        let texts = [
            ("tenantId", self.tenant_id.as_str()),
            ("displayName", &profile.display_name),
            ("tier", profile.tier.as_str()),
            ("status", self.status.as_str()),
            ("region", &profile.region),
            ("parent", profile.parent.as_ref().map_or("", |parent| parent.as_str())),
            ("businessUnit", &profile.business_unit),
            ("costCenter", &profile.cost_center),
            ("owner", &profile.owner),
            ("isolationModel", profile.isolation_model.as_str()),
            ("dataResidency", &profile.data_residency),
            ("supportLevel", effective_support_level(&profile.support_level, || tier)),
        ];
        for (name, text) in texts {
            if !text.is_empty() {
                found.insert(name.to_owned(), text.into());
            }
        }
        if !profile.compliance_frameworks.is_empty() {
            found.insert("complianceFrameworks".to_owned(), json!(profile.compliance_frameworks));
        }
        if !profile.labels.is_empty() {
            found.insert("labels".to_owned(), json!(profile.labels));
        }
        found
    }
}

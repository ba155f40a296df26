//! What the rules of feature flags see of a tenant.

use serde_json::{Map, Value, json};

use super::Tenant;

/// The names of all of them.
pub const ATTRIBUTES: [&str; 14] = [
    "tenantId",
    "displayName",
    "tier",
    "status",
    "region",
    "parent",
    "businessUnit",
    "costCenter",
    "owner",
    "isolationModel",
    "dataResidency",
    "supportLevel",
    "complianceFrameworks",
    "labels",
];

impl Tenant {
    /// The attributes under the names that the contract documents; those that are not set are left out.
    pub fn attributes(&self) -> Map<String, Value> {
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
            ("supportLevel", &profile.support_level),
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

//! A tenant as someone asks for it.

use uuid::Uuid;

use super::{Profile, ResourceNames};
use crate::domain::ids::TenantId;
use crate::domain::violation::Violation;

/// Resource names chosen by the caller; an empty one is derived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChosenNames {
    /// See [`ResourceNames::database_schema`].
    pub database_schema: String,
    /// See [`ResourceNames::vector_namespace`].
    pub vector_namespace: String,
    /// See [`ResourceNames::bucket`].
    pub bucket: String,
    /// See [`ResourceNames::bucket_prefix`].
    pub bucket_prefix: String,
    /// See [`ResourceNames::cache_prefix`].
    pub cache_prefix: String,
    /// See [`ResourceNames::monitoring_label`].
    pub monitoring_label: String,
}

impl ChosenNames {
    /// All names, the missing ones derived; `None` where nothing was chosen.
    pub fn complete(&self, tenant_id: &TenantId, uid: Uuid) -> Option<Box<ResourceNames>> {
        if *self == Self::default() {
            return None;
        }
        let mut names = ResourceNames::derived(tenant_id, uid);
        let pairs = [
            (&self.database_schema, &mut names.database_schema),
            (&self.vector_namespace, &mut names.vector_namespace),
            (&self.bucket, &mut names.bucket),
            (&self.bucket_prefix, &mut names.bucket_prefix),
            (&self.cache_prefix, &mut names.cache_prefix),
            (&self.monitoring_label, &mut names.monitoring_label),
        ];
        for (chosen, name) in pairs {
            if !chosen.is_empty() {
                name.clone_from(chosen);
            }
        }
        Some(Box::new(names))
    }
}

/// A tenant as someone asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTenant {
    /// Chosen by the caller.
    pub tenant_id: TenantId,
    /// What its owner sets.
    pub profile: Profile,
    /// Names of its resources, as far as they are chosen.
    pub resource_names: ChosenNames,
}

impl NewTenant {
    /// What is wrong with it; empty when it can be made.
    pub fn violations(&self) -> Vec<Violation> {
        let mut found = self.profile.violations();
        // The derived names are fine, so only chosen ones can be at fault.
        if let Some(names) = self.resource_names.complete(&self.tenant_id, Uuid::nil()) {
            found.extend(names.violations());
        }
        if self.profile.parent.as_ref() == Some(&self.tenant_id) {
            found.push(Violation::new("parent", "must be another tenant"));
        }
        found
    }
}

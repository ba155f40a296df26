//! A tenant as someone asks for it.

use super::{ChosenNames, Profile};
use crate::domain::ids::TenantId;
use crate::domain::violation::Violation;

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
        found.extend(self.resource_names.violations(&self.tenant_id));
        if self.profile.parent.as_ref() == Some(&self.tenant_id) {
            found.push(Violation::new("parent", "must be another tenant"));
        }
        found
    }
}

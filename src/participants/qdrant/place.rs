//! What a tenant's things are called in a vector database.

use super::super::{Failure, TenantRef};
use crate::domain::tenant::ResourceNames;

/// One tenant's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The name by which clients reach the collection, and for which their tokens are made.
    pub(super) alias: String,
    /// Whether that name was chosen, and so may have been another tenant's.
    pub(super) is_chosen: bool,
    /// The collection's own name.
    pub(super) collection: String,
}

impl Place {
    /// Of a tenant. Refuses an alias by which it could reach what is not its own.
    pub(super) fn of(tenant: &TenantRef, collection: &str) -> Result<Self, Failure> {
        let alias = tenant.names.vector_namespace.clone();
        // Every collection of ours has a dot in its name, so an alias without one can be none of them.
        if alias.is_empty() || alias.contains('.') {
            return Err(Failure::permanent("the tenant's vector namespace is empty or has a dot in it"));
        }
        let is_chosen = alias != ResourceNames::derived(&tenant.tenant_id, tenant.uid).vector_namespace;
        Ok(Self {
            alias,
            is_chosen,
            collection: collection.replace("{uid}", &tenant.uid.simple().to_string()),
        })
    }
}

//! Whose flags are asked for, and which of them.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::domain::error::{Error, NameField as _, Reason};
use crate::domain::flag::Settings;
use crate::domain::ids::TenantId;
use crate::domain::selector::Selector;
use crate::domain::violation::Violation;
use crate::services::tenant_registry::get_tenant;
use crate::view::{Record, Snapshot};

/// The attribute of a context that names the tenant.
pub const TENANT_ID: &str = "tenantId";

/// Who asks, and what for.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// The tenant that the caller is known to act for. What it says of itself can only repeat it.
    pub identity: Option<TenantId>,
    /// What it selects.
    pub selector: Selector,
}

/// Whose flags, and which of them.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The tenant; without one, the layers that are the same for all tenants answer.
    pub tenant: Option<Arc<Record>>,
    /// Only flags of this set; the empty name is that of flags without a set.
    pub flag_set: Option<String>,
    /// No flags at all: the selector names what is not there.
    pub is_empty: bool,
}

impl Question {
    /// The scope of an evaluation. The tenant is that of the identity, else of the selector, else of the context.
    pub fn scope(&self, snapshot: &Snapshot, attributes: &Map<String, Value>) -> Result<Scope, Error> {
        let named = match attributes.get(TENANT_ID) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.is_empty() => None,
            Some(Value::String(text)) => Some(TenantId::parse(text).field("context.tenantId")?),
            Some(_) => return Err(Error::field("context.tenantId", "must be a string")),
        };
        let mut scope = self.selected(snapshot)?;
        let Some(named) = named else { return Ok(scope) };
        match &scope.tenant {
            // A context never widens what the caller may see, and a selector is no reason to mix two tenants up.
            Some(tenant) if tenant.tenant.tenant_id != named => {
                Err(Error::field("context.tenantId", "names another tenant than the caller's"))
            }
            Some(_) => Ok(scope),
            None => {
                scope.tenant = Some(Arc::clone(get_tenant(snapshot, &named)?));
                Ok(scope)
            }
        }
    }

    /// The scope of what has no context: a stream of changes, a flag set.
    pub fn selected(&self, snapshot: &Snapshot) -> Result<Scope, Error> {
        let mut scope = Scope { is_empty: self.selector.is_elsewhere(), ..Scope::default() };
        if let Some(identity) = &self.identity {
            scope.tenant = Some(Arc::clone(get_tenant(snapshot, identity)?));
        }
        if let Some(tenant) = self.selector.tenant.as_deref() {
            // It names a tenant and nothing else: a typing error shows at once, as it does in a context.
            let tenant = TenantId::parse(tenant).field("selector.tenantId")?;
            adopt(&mut scope, get_tenant(snapshot, &tenant)?)?;
        }
        match self.selector.flag_set.as_deref() {
            None => {}
            Some("") => scope.flag_set = Some(String::new()),
            Some(name) => match TenantId::parse(name).ok().and_then(|id| snapshot.tenant(&id)) {
                // Another one than `tenantId=` names is refused.
                Some(found) => adopt(&mut scope, found)?,
                None => scope.flag_set = Some(name.to_owned()),
            },
        }
        Ok(scope)
    }
}

fn adopt(scope: &mut Scope, found: &Arc<Record>) -> Result<(), Error> {
    match &scope.tenant {
        Some(tenant) if tenant.tenant.tenant_id != found.tenant.tenant_id => {
            let why = "names another tenant than the caller's";
            Err(Error::invalid(Reason::InvalidField, vec![Violation::new("selector", why)]))
        }
        _ => {
            scope.tenant = Some(Arc::clone(found));
            Ok(())
        }
    }
}

impl Scope {
    /// The tenant's id.
    pub(super) fn tenant_id(&self) -> Option<&str> {
        self.tenant.as_ref().map(|record| record.tenant.tenant_id.as_str())
    }

    /// Whether the same words mean another tenant's flags now, or those of none.
    pub(super) fn is_for_another(&self, other: &Self) -> bool {
        let uid = |scope: &Self| scope.tenant.as_ref().map(|record| record.tenant.uid);
        uid(self) != uid(other)
    }

    /// Whether a flag is among those asked for.
    pub fn has(&self, flag: &Settings) -> bool {
        !self.is_empty && self.flag_set.as_ref().is_none_or(|set| *set == flag.flag_set)
    }
}

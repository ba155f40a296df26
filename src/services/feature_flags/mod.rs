//! Use cases of feature flags.

mod set_value;

use std::sync::Arc;

pub use self::set_value::{SetTenantOverride, SetTierDefault};
use super::change::{Decision, Reply};
use super::paging::{Keyed, Page, PageRequest, page_by_key};
use super::tenant_registry::get_tenant;
use super::tiers::check_etag;
use super::{Command, Registry};
use crate::domain::error::{Error, Reason};
use crate::domain::flag::{Flag, FlagField, NewFlag, TenantOverride, validate};
use crate::domain::ids::{FlagKey, Revision, TenantId, VariantName};
use crate::store::flags;
use crate::view::Snapshot;

impl Reply for Flag {
    fn set_revision(&mut self, revision: Revision) {
        self.revision = revision;
    }
}

/// What is to be changed of a flag.
#[derive(Debug, Clone)]
pub struct FlagUpdate {
    /// The new values; the key says which flag.
    pub flag: NewFlag,
    /// Which of them.
    pub fields: Vec<FlagField>,
    /// Refuse if it changed since.
    pub etag: Option<String>,
}

/// Reads a flag.
pub fn get_flag(snapshot: &Snapshot, flag_key: &FlagKey) -> Result<Arc<Flag>, Error> {
    snapshot.flags.flag(flag_key.as_str()).cloned().ok_or_else(|| flag_not_found(flag_key))
}

fn flag_not_found(flag_key: &FlagKey) -> Error {
    Error::missing(Reason::FlagNotFound, "flag", "flag_key", flag_key)
}

/// Lists flags by key.
pub fn list_flags(snapshot: &Snapshot, request: &PageRequest) -> Result<Page<Arc<Flag>>, Error> {
    let items = snapshot
        .flags
        .flags()
        .map(|flag| Keyed { key: flag.key.as_str().to_owned(), item: Arc::clone(flag) })
        .collect();
    page_by_key(snapshot, request, &["flags"], false, items)
}

/// Lists overrides of one flag, of one tenant, or all of them.
pub fn list_tenant_overrides(
    snapshot: &Snapshot,
    flag_key: Option<&FlagKey>,
    tenant_id: Option<&TenantId>,
    request: &PageRequest,
) -> Result<Page<Arc<TenantOverride>>, Error> {
    let mut own: Vec<Arc<TenantOverride>> = match (flag_key, tenant_id) {
        (Some(key), _) => {
            get_flag(snapshot, key)?;
            snapshot.flags.overrides_of_flag(key.as_str()).cloned().collect()
        }
        (None, Some(tenant)) => snapshot.flags.overrides_of_tenant(tenant.as_str()).cloned().collect(),
        (None, None) => {
            let flags = snapshot.flags.flags();
            flags.flat_map(|flag| snapshot.flags.overrides_of_flag(flag.key.as_str())).cloned().collect()
        }
    };
    if let Some(tenant) = tenant_id {
        get_tenant(snapshot, tenant)?;
        own.retain(|own| own.tenant == *tenant);
    }
    let mut items: Vec<_> =
        own.into_iter().map(|own| Keyed { key: format!("{} {}", own.flag, own.tenant), item: own }).collect();
    items.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    let query = ["overrides", flag_key.map_or("", FlagKey::as_str), tenant_id.map_or("", TenantId::as_str)];
    page_by_key(snapshot, request, &query, false, items)
}

impl Registry {
    /// Makes a flag.
    pub async fn create_flag(&self, flag: NewFlag, command: &Command) -> Result<Flag, Error> {
        self.change(command, |snapshot, context| {
            if snapshot.flags.flag(flag.key.as_str()).is_some() {
                return Err(Error::exists(Reason::FlagExists, "flag", "flag_key", &flag.key));
            }
            let flag = flag.clone().into_flag(Revision::ZERO, context.now);
            Ok(Decision::Make(Box::new(flags::flag_create(&flag, context)), flag))
        })
        .await
    }

    /// Changes fields of a flag.
    pub async fn update_flag(&self, update: FlagUpdate, command: &Command) -> Result<Flag, Error> {
        self.change(command, |snapshot, context| {
            let current = get_flag(snapshot, &update.flag.key)?;
            check_etag(update.etag.as_deref(), current.revision)?;
            let mut settings = current.settings();
            for field in &update.fields {
                settings.take(*field, &update.flag);
            }
            let violations = validate(&settings);
            if !violations.is_empty() {
                return Err(Error::invalid(Reason::InvalidField, violations).within("flag."));
            }
            check_variants_in_use(snapshot, &settings)?;
            let flag = current.with_settings(settings, context.now);
            Ok(Decision::Make(Box::new(flags::flag_update(&flag, current.revision, context)), flag))
        })
        .await
    }

    /// Deletes a flag with its defaults and overrides.
    pub async fn delete_flag(
        &self,
        flag_key: &FlagKey,
        etag: Option<&str>,
        command: &Command,
    ) -> Result<(), Error> {
        self.change(command, |snapshot, context| {
            let current = get_flag(snapshot, flag_key)?;
            check_etag(etag, current.revision)?;
            Ok(Decision::Make(Box::new(flags::flag_delete(flag_key, current.revision, context)), ()))
        })
        .await
    }
}

fn check_variants_in_use(snapshot: &Snapshot, flag: &NewFlag) -> Result<(), Error> {
    let key = flag.key.as_str();
    let refuse = |variant: &VariantName, who: String| {
        Err(Error::new(Reason::VariantInUse, format!("variant \"{variant}\" is used by {who}"))
            .with("variant", variant)
            .with("flag_key", key))
    };
    for default in snapshot.flags.tier_defaults(key) {
        if !flag.variants.contains_key(&default.variant) {
            return refuse(&default.variant, format!("the default of tier \"{}\"", default.tier));
        }
    }
    for own in snapshot.flags.overrides_of_flag(key) {
        if !flag.variants.contains_key(&own.variant) {
            return refuse(&own.variant, format!("the override of tenant \"{}\"", own.tenant));
        }
    }
    Ok(())
}

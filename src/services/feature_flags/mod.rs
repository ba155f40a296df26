//! Use cases of feature flags.

mod apply_flags;
mod context;
mod export_flags;
mod import_flags;
mod judge;
mod list_flags;
mod metrics;
mod segments;
mod set_value;
mod standing;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use self::apply_flags::{Action, Applied, ApplyFlags, Difference, FlagSpec, Manner, Resource};
pub use self::context::known_context;
pub use self::export_flags::{ExportFlags, Exported, export_flags};
pub use self::import_flags::ImportFlags;
pub use self::judge::Judged;
pub use self::list_flags::{Dependent, ListFlags, StaleFlag, list_dependents};
pub use self::metrics::register_metrics;
pub use self::segments::{SegmentUpdate, get_segment, list_segments};
pub use self::set_value::{SetTenantOverride, SetTierDefault};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::change::{Decision, Reply};
use super::paging::{Keyed, Page, PageRequest, page_by_key};
use super::tenant_registry::get_tenant;
use super::tiers::{check_etag, check_same};
use super::{Command, Registry};
use crate::domain::error::{Error, Reason};
use crate::domain::event::Event;
use crate::domain::filter::OrderBy;
use crate::domain::flag::removal::Removal;
use crate::domain::flag::{
    CompiledFlags, Flag, FlagField, FlagState, Kind, Settings, TenantOverride, validate,
};
use crate::domain::ids::{FlagKey, Revision, TenantId};
use crate::domain::rule::Context;
use crate::store::flags::{self, Deleting, Replacing, Write};
use crate::store::log;
use crate::view::Snapshot;

/// What a deletion takes with it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Going {
    /// What that is. An answer that a version kept which told nothing has none.
    pub removal: Option<Removal>,
    /// The mark of the plan; only where nothing was changed.
    #[serde(skip)]
    pub plan_etag: String,
}

/// It has no revision of its own.
impl Reply for Going {
    fn set_revision(&mut self, _: Revision) {}
}

impl Reply for Flag {
    fn set_revision(&mut self, revision: Revision) {
        self.revision = revision;
    }
}

/// What is to be changed of a flag.
#[derive(Debug, Clone)]
pub struct FlagUpdate {
    /// The new values; the key says which flag.
    pub flag: Settings,
    /// Which of them.
    pub fields: Vec<FlagField>,
    /// Refuse if it changed since.
    pub etag: Option<String>,
    /// Even if flags that hang on it would break.
    pub force: bool,
    /// Why its life is extended.
    pub reason: String,
}

/// Which flag is to be archived or deleted.
#[derive(Debug, Clone)]
pub struct FlagRemoval {
    /// Which.
    pub key: FlagKey,
    /// Refuse if it changed since.
    pub etag: Option<String>,
    /// Even if flags that hang on it would break.
    pub force: bool,
    /// Refuse if what goes with it is no longer what the answer with this mark told.
    pub plan_etag: Option<String>,
}

/// Reads a flag.
pub fn get_flag(snapshot: &Snapshot, flag_key: &FlagKey) -> Result<Arc<Flag>, Error> {
    let found = snapshot.flags.flag(flag_key.as_str()).cloned();
    found.ok_or_else(|| snapshot.missing("flag", flag_key.as_str(), flag_not_found(flag_key)))
}

fn flag_not_found(flag_key: &FlagKey) -> Error {
    Error::missing(Reason::FlagNotFound, "flag", "flag_key", flag_key)
}

/// Whether a list by key is in the wanted order already.
fn order_is_by_key(order: &OrderBy) -> bool {
    let by_key = crate::domain::filter::flag::SCHEMA.unique;
    matches!(order.keys(), [key] if key.field == by_key && !key.descending)
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
            flags.flat_map(|flag| snapshot.flags.overrides_of_flag(flag.key().as_str())).cloned().collect()
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
    pub async fn create_flag(&self, flag: Settings, command: &Command) -> Result<Judged<Flag>, Error> {
        self.change(command, |snapshot, context| {
            if snapshot.flags.flag(flag.key.as_str()).is_some() {
                return Err(Error::exists(Reason::FlagExists, "flag", "flag_key", &flag.key));
            }
            check_expiry(&flag, None, context.now)?;
            let mut settings = flag.clone();
            settings.fill_expire_time(context.now);
            let flag = settings.into_flag(Revision::ZERO, context.now);
            let event = Event::FlagCreated { flag: Box::new(flag.clone()) };
            Deciding { snapshot, fixed: &self.static_context, context, force: false, command }
                .write_flag(flag, None, event)
        })
        .await
    }

    /// Changes fields of a flag. Setting what is so already is no change, and a reason is kept with a longer life alone.
    pub async fn update_flag(&self, update: FlagUpdate, command: &Command) -> Result<Judged<Flag>, Error> {
        self.change(command, |snapshot, context| {
            let current = get_flag(snapshot, &update.flag.key)?;
            check_etag(update.etag.as_deref(), current.revision)?;
            let mut settings = current.settings.clone();
            for field in &update.fields {
                settings.take(*field, &update.flag);
            }
            if settings.kind == Kind::KillSwitch && !update.fields.contains(&FlagField::ExpireTime) {
                // What becomes a kill switch loses its end, or what it turns off would come back by itself.
                settings.expire_time = None;
            }
            check_expiry(&settings, Some(&current.settings), context.now)?;
            settings.fill_expire_time(current.create_time);
            let mut violations = validate(&settings);
            // What was so before may stay so: a rule for flags that is newer than the flag is no reason to leave it as it is.
            let before = validate(&current.settings);
            violations.retain(|found| !before.contains(found));
            if current.origin.is_some() {
                // A file may bring what nobody could make here: only what is changed now has to be as ours are.
                violations.retain(|found| {
                    update.fields.iter().any(|field| found.field.starts_with(field.as_str()))
                });
            }
            if !violations.is_empty() {
                return Err(Error::invalid(Reason::InvalidField, violations).within("flag."));
            }
            let deciding =
                Deciding { snapshot, fixed: &self.static_context, context, force: update.force, command };
            if settings == current.settings {
                let impact = deciding.impact(&snapshot.flags, &BTreeSet::from([update.flag.key.clone()]));
                return Ok(Decision::Nothing(Judged { made: Flag::clone(&current), impact }));
            }
            let mut flag = current.with_settings(settings, context.now);
            let event = match flag.extended_from(&current) {
                None => Event::FlagUpdated { flag: Box::new(flag.clone()) },
                Some(previous_expire_time) => {
                    let reason = update.reason.clone();
                    flag.keep_extension(previous_expire_time, &context.actor, &reason);
                    Event::FlagExpiryExtended { flag: Box::new(flag.clone()), previous_expire_time, reason }
                }
            };
            deciding.write_flag(flag, Some(current.revision), event)
        })
        .await
    }

    /// Takes a flag out of use for good, and keeps it.
    pub async fn archive_flag(
        &self,
        removal: &FlagRemoval,
        command: &Command,
    ) -> Result<Judged<Flag>, Error> {
        self.change(command, |snapshot, context| {
            let current = get_flag(snapshot, &removal.key)?;
            check_etag(removal.etag.as_deref(), current.revision)?;
            if current.settings.state == FlagState::Archived {
                return Ok(Decision::Nothing(Judged { made: Flag::clone(&current), impact: None }));
            }
            let settings = Settings { state: FlagState::Archived, ..current.settings.clone() };
            let flag = current.with_settings(settings, context.now);
            let event = Event::FlagUpdated { flag: Box::new(flag.clone()) };
            let deciding =
                Deciding { snapshot, fixed: &self.static_context, context, force: removal.force, command };
            deciding.write_flag(flag, Some(current.revision), event)
        })
        .await
    }

    /// Deletes a flag with its defaults and overrides, and tells which.
    pub async fn delete_flag(
        &self,
        removal: &FlagRemoval,
        command: &Command,
    ) -> Result<Judged<Going>, Error> {
        self.change(command, |snapshot, context| {
            let current = get_flag(snapshot, &removal.key)?;
            check_etag(removal.etag.as_deref(), current.revision)?;
            let key = removal.key.clone();
            let gone = Deleting { key: key.clone(), expected: current.revision };
            let values_unchanged_since = Some(snapshot.revision);
            let mut write = Write { flags_deleted: vec![gone], values_unchanged_since, ..Write::default() };
            let after = judge::judge(snapshot, &mut write, (removal.force, context.now), &|_| String::new())?;
            let deleted = BTreeSet::from([key.clone()]);
            let deciding =
                Deciding { snapshot, fixed: &self.static_context, context, force: removal.force, command };
            let plan_etag =
                deciding.plan_etag(removal.plan_etag.as_deref(), || snapshot.flags.removal_mark(&deleted))?;
            let going = Going { removal: Some(snapshot.flags.removal(&after, &deleted)), plan_etag };
            let judged = Judged { made: going, impact: deciding.impact(&after, &deleted) };
            let event = Event::FlagDeleted { flag_key: key };
            Ok(Decision::Make(Box::new(flags::flags_write(&write, event, context, &judged)), judged))
        })
        .await
    }
}

/// Refuses an end that has passed already, and any of a kill switch, unless the flag had it before.
fn check_expiry(wanted: &Settings, before: Option<&Settings>, now: Timestamp) -> Result<(), Error> {
    check_expires(wanted, before, "flag.")?;
    let end = wanted.expire_time;
    if end == before.and_then(|before| before.expire_time) || end.is_none_or(|end| end > now) {
        return Ok(());
    }
    Err(Error::field("flag.expire_time", "must lie in the future"))
}

/// Refuses an end of a kill switch that it did not have before, as a kill switch.
fn check_expires(wanted: &Settings, before: Option<&Settings>, prefix: &str) -> Result<(), Error> {
    let had = before.filter(|before| before.kind == Kind::KillSwitch).and_then(|before| before.expire_time);
    if wanted.kind != Kind::KillSwitch || wanted.expire_time.is_none() || wanted.expire_time == had {
        return Ok(());
    }
    let why =
        "must not be set for a kill switch: it never expires, or what it turns off would come back by itself";
    Err(Error::field(format!("{prefix}expire_time"), why))
}

/// What a decision about flags is made with.
struct Deciding<'a> {
    snapshot: &'a Snapshot,
    /// Attributes that every evaluation sees.
    fixed: &'a Context,
    context: &'a log::Context,
    force: bool,
    command: &'a Command,
}

impl Deciding<'_> {
    fn write_flag(
        &self,
        flag: Flag,
        expected: Option<Revision>,
        event: Event,
    ) -> Result<Decision<Judged<Flag>>, Error> {
        let row = Replacing { row: flag.clone(), expected };
        let mut write = Write { flags: vec![row], ..Write::default() };
        let after =
            judge::judge(self.snapshot, &mut write, (self.force, self.context.now), &|_| "flag.".to_owned())?;
        let change = flags::flags_write(&write, event, self.context, &flag);
        let impact = self.impact(&after, &judge::changed(&write));
        Ok(Decision::Make(Box::new(change), Judged { made: flag, impact }))
    }

    /// The mark of a plan, where it is one or one is brought, which it then has to be.
    fn plan_etag(&self, brought: Option<&str>, mark: impl FnOnce() -> String) -> Result<String, Error> {
        if !self.command.validate_only && brought.is_none() {
            return Ok(String::new());
        }
        let mark = mark();
        check_same(brought, &mark)?;
        Ok(mark)
    }

    /// Looked for only where nothing is changed: it takes time.
    fn impact(
        &self,
        after: &CompiledFlags,
        changed: &BTreeSet<FlagKey>,
    ) -> Option<crate::domain::flag::impact::Impact> {
        let tried = self.command.validate_only;
        tried.then(|| judge::impact_on_all((self.snapshot, self.fixed), after, changed, self.context.now))
    }
}

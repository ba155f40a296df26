//! Exporting a flag set as a flagd file.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

use super::context::known_context;
use super::import_flags::is_of;
use crate::domain::error::Error;
use crate::domain::flag::Query;
use crate::domain::flagd::{self, Head};
use crate::domain::ids::TenantId;
use crate::domain::rule::Context;
use crate::services::tenant_registry::get_tenant;
use crate::view::{Record, Snapshot};

/// Which flags, and for whom.
#[derive(Debug, Clone, Default)]
pub struct ExportFlags {
    /// The flag set; empty for the default one.
    pub flag_set: String,
    /// As this tenant sees it; without one, as callers without a tenant do.
    pub tenant: Option<TenantId>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Its text.
    pub content: String,
    /// How many flags are in it.
    pub flags: usize,
}

/// Writes a flag set as a flagd file. What a file cannot say (tiers, overrides, prerequisites, schedules, …) is decided
/// as for an in-process provider; without a tenant, what hangs on one is what callers without a tenant get.
pub fn export_flags(snapshot: &Snapshot, export: &ExportFlags, now: Timestamp) -> Result<Exported, Error> {
    let record = export.tenant.as_ref().map(|tenant| get_tenant(snapshot, tenant)).transpose()?;
    let context = known_context(snapshot, record.map(|record| &**record), &Context::default())?;
    let tenant = record.map(|record| Record::facts(record));
    let query = Query { tenant, context: &context, now };
    let resolved = snapshot.flags.resolved(&query);
    let mut flags = BTreeMap::new();
    for found in resolved.iter().filter(|found| is_of(found.flag, &export.flag_set)) {
        let origin = found.flag.origin.as_ref().filter(|origin| record.is_none() && !origin.is_changed);
        let text = origin.map_or_else(|| flagd::definition(found), |origin| origin.source.to_string());
        flags.insert(found.flag.key().as_str(), text);
    }
    let file = snapshot.flags.file(&export.flag_set);
    if file.is_none() && flags.is_empty() && !export.flag_set.is_empty() {
        return Err(Error::field("flag_set", "must be one that there is"));
    }
    let mut head = file.map_or_else(|| head_of(&export.flag_set), |file| file.head());
    if record.is_some() {
        // They are written into the rules, and may list other tenants.
        head.evaluators.clear();
    }
    Ok(Exported { content: flagd::pretty(&head.write(&flags)), flags: flags.len() })
}

/// What a file says of a flag set that none was imported for.
fn head_of(flag_set: &str) -> Head {
    let mut head = Head::default();
    if !flag_set.is_empty() {
        head.members.insert("metadata".to_owned(), json!({ "flagSetId": flag_set }).to_string());
    }
    head
}

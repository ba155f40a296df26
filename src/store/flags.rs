//! Flags, segments, tier defaults and tenant overrides.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::json;
use tokio_postgres::GenericClient;

use super::log::{Change, Context, json_value};
use super::reading::{Found, Range, Table, rows_as};
use super::{Error, change_sql};
use crate::domain::event::Event;
use crate::domain::flag::{Choice, Flag, FlagFile, Segment, TenantOverride, TierDefault};
use crate::domain::ids::{FlagKey, Revision, SegmentName, TenantId, TierId};

/// Something to be written, and the revision of what it replaces; none for what must not be there yet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replacing<T> {
    /// What is written.
    pub row: T,
    /// What is there now.
    pub expected: Option<Revision>,
}

/// Something to be deleted, and the revision of what is there now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deleting<K> {
    /// What is deleted.
    pub key: K,
    /// What is there now.
    pub expected: Revision,
}

/// What has to exist for a write to make sense.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Needs {
    /// Flags, here or in what is written.
    pub flags: BTreeSet<FlagKey>,
    /// Segments, here or in what is written.
    pub segments: BTreeSet<SegmentName>,
}

/// What a set was compared with, whether or not it had to be changed: two sets that name the same must not each find half of it
/// as they want it and make, together, what neither says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Nothing of it may have changed after this revision.
    pub since: Revision,
    /// Flags, with what tiers have of them.
    pub flags: BTreeSet<FlagKey>,
    /// Flag sets of which all flags were looked at, those that came since included.
    pub flag_sets: BTreeSet<String>,
    /// Segments; none where all were looked at.
    pub segments: Option<BTreeSet<SegmentName>>,
    /// The head of a flagd file.
    pub file: Option<String>,
}

/// Flags, segments, flagd files and tier defaults that are written and deleted as one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Write {
    /// Segments to make or change.
    pub segments: Vec<Replacing<Segment>>,
    /// Flags to make or change.
    pub flags: Vec<Replacing<Flag>>,
    /// flagd files to make or change.
    pub files: Vec<Replacing<FlagFile>>,
    /// Tier defaults to set.
    pub tier_defaults: Vec<TierDefault>,
    /// Segments to delete.
    pub segments_deleted: Vec<Deleting<SegmentName>>,
    /// Flags to delete, with their defaults and overrides.
    pub flags_deleted: Vec<Deleting<FlagKey>>,
    /// Tier defaults to clear.
    pub tier_defaults_cleared: Vec<(FlagKey, TierId)>,
    /// What has to exist.
    pub needs: Needs,
    /// No flag and no segment may have changed after this revision, where circles and dependents were looked for.
    pub unchanged_since: Option<Revision>,
    /// No tier default that is written or cleared, and nothing that tiers and tenants have of a flag that is deleted, may
    /// have changed after this revision.
    pub values_unchanged_since: Option<Revision>,
    /// What else has to be as it was looked at.
    pub compared: Option<Compared>,
}

/// Writes flags and segments as one. Conflict where anything is not as it was decided on, and where a default or an
/// override would be left without its variants.
pub fn flags_write(write: &Write, event: Event, context: &Context, reply: &impl Serialize) -> Change {
    let defaults = write.tier_defaults.iter();
    let row = json!({
        "segments": write.segments,
        "flags": write.flags,
        "files": write.files,
        "tier_defaults": defaults.map(|default| with_variants(default, &default.choice)).collect::<Vec<_>>(),
        "segments_deleted": write.segments_deleted,
        "flags_deleted": write.flags_deleted,
        "tier_defaults_cleared": write.tier_defaults_cleared,
        "needs": write.needs,
        "unchanged_since": write.unchanged_since,
        "values_unchanged_since": write.values_unchanged_since,
        "compared": write.compared,
        "time": context.now,
    });
    Change::new(change_sql!("flag/write.sql"), row, event, context, reply)
}

/// A row with the variants that it can give, which the flag must keep.
fn with_variants(row: &impl Serialize, choice: &Choice) -> serde_json::Value {
    let mut row = json_value(row);
    row["variants"] = json!(choice.variants());
    row
}

/// Sets a flag's value for a tier. Conflict where flag, variant or tier are gone.
pub fn tier_default_set(tier_default: &TierDefault, context: &Context) -> Change {
    let event = Event::TierDefaultSet { tier_default: tier_default.clone() };
    let row = with_variants(tier_default, &tier_default.choice);
    Change::new(change_sql!("flag/set_tier_default.sql"), row, event, context, tier_default)
}

/// Takes a flag's value for a tier back. Conflict where there is none.
pub fn tier_default_clear(flag_key: &FlagKey, tier_id: &TierId, context: &Context) -> Change {
    let row = json!({ "flag_key": flag_key, "tier_id": tier_id });
    let event = Event::TierDefaultCleared { flag_key: flag_key.clone(), tier_id: tier_id.clone() };
    Change::new(change_sql!("flag/clear_tier_default.sql"), row, event, context, &())
}

/// Sets a flag's value for a tenant. Conflict where flag, variant or tenant are gone.
pub fn tenant_override_set(tenant_override: &TenantOverride, context: &Context) -> Change {
    let event = Event::TenantOverrideSet { tenant_override: tenant_override.clone() };
    let row = with_variants(tenant_override, &tenant_override.choice);
    Change::new(change_sql!("flag/set_tenant_override.sql"), row, event, context, tenant_override)
}

/// Takes a flag's value for a tenant back. Conflict where there is none.
pub fn tenant_override_clear(flag_key: &FlagKey, tenant_id: &TenantId, context: &Context) -> Change {
    let row = json!({ "flag_key": flag_key, "tenant_id": tenant_id });
    let event = Event::TenantOverrideCleared { flag_key: flag_key.clone(), tenant_id: tenant_id.clone() };
    Change::new(change_sql!("flag/clear_tenant_override.sql"), row, event, context, &())
}

/// Flags of a range.
pub async fn flags_changed_after(client: &impl GenericClient, range: Range) -> Result<Found<Flag>, Error> {
    let table = Table { name: "flag", key: &["flag_key"] };
    rows_as(client, &table, include_str!("sql/flag/changed_after.sql"), range).await
}

/// flagd files of a range.
pub async fn files_changed_after(
    client: &impl GenericClient,
    range: Range,
) -> Result<Found<FlagFile>, Error> {
    let table = Table { name: "flag_file", key: &["file_name"] };
    rows_as(client, &table, include_str!("sql/flag/files_changed_after.sql"), range).await
}

/// Segments of a range.
pub async fn segments_changed_after(
    client: &impl GenericClient,
    range: Range,
) -> Result<Found<Segment>, Error> {
    let table = Table { name: "segment", key: &["segment_name"] };
    rows_as(client, &table, include_str!("sql/flag/segments_changed_after.sql"), range).await
}

/// Tier defaults of a range.
pub async fn tier_defaults_changed_after(
    client: &impl GenericClient,
    range: Range,
) -> Result<Found<TierDefault>, Error> {
    let table = Table { name: "tier_default", key: &["flag_key", "tier_id"] };
    rows_as(client, &table, include_str!("sql/flag/tier_defaults_changed_after.sql"), range).await
}

/// Tenant overrides of a range.
pub async fn tenant_overrides_changed_after(
    client: &impl GenericClient,
    range: Range,
) -> Result<Found<TenantOverride>, Error> {
    let table = Table { name: "tenant_override", key: &["flag_key", "tenant_id"] };
    rows_as(client, &table, include_str!("sql/flag/tenant_overrides_changed_after.sql"), range).await
}

//! Flags, tier defaults and tenant overrides.

use serde_json::json;
use tokio_postgres::GenericClient;

use super::log::{Change, Context, json_value, rows_as};
use super::{Error, change_sql};
use crate::domain::event::Event;
use crate::domain::flag::{Flag, TenantOverride, TierDefault};
use crate::domain::ids::{FlagKey, Revision, TenantId, TierId};

/// Makes a flag. Conflict where it exists.
pub fn flag_create(flag: &Flag, context: &Context) -> Change {
    let event = Event::FlagCreated { flag: Box::new(flag.clone()) };
    Change::new(change_sql!("flag/create.sql"), json_value(flag), event, context, flag)
}

/// Changes a flag that is still as it was at `expected`. Conflict also where a variant in use would go.
pub fn flag_update(flag: &Flag, expected: Revision, context: &Context) -> Change {
    let row = json!({ "flag": flag, "expected": expected });
    let event = Event::FlagUpdated { flag: Box::new(flag.clone()) };
    Change::new(change_sql!("flag/update.sql"), row, event, context, flag)
}

/// Deletes a flag that is still as it was at `expected`, with its defaults and overrides.
pub fn flag_delete(flag_key: &FlagKey, expected: Revision, context: &Context) -> Change {
    let row = json!({ "flag_key": flag_key, "expected": expected });
    let event = Event::FlagDeleted { flag_key: flag_key.clone() };
    Change::new(change_sql!("flag/delete.sql"), row, event, context, &())
}

/// Sets a flag's value for a tier. Conflict where flag, variant or tier are gone.
pub fn tier_default_set(tier_default: &TierDefault, context: &Context) -> Change {
    let event = Event::TierDefaultSet { tier_default: tier_default.clone() };
    let row = json_value(tier_default);
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
    let row = json_value(tenant_override);
    Change::new(change_sql!("flag/set_tenant_override.sql"), row, event, context, tenant_override)
}

/// Takes a flag's value for a tenant back. Conflict where there is none.
pub fn tenant_override_clear(flag_key: &FlagKey, tenant_id: &TenantId, context: &Context) -> Change {
    let row = json!({ "flag_key": flag_key, "tenant_id": tenant_id });
    let event = Event::TenantOverrideCleared { flag_key: flag_key.clone(), tenant_id: tenant_id.clone() };
    Change::new(change_sql!("flag/clear_tenant_override.sql"), row, event, context, &())
}

/// Flags that changed after a revision.
pub async fn flags_changed_after(client: &impl GenericClient, after: Revision) -> Result<Vec<Flag>, Error> {
    rows_as(client, "flag", include_str!("sql/flag/changed_after.sql"), after).await
}

/// Tier defaults that changed after a revision.
pub async fn tier_defaults_changed_after(
    client: &impl GenericClient,
    after: Revision,
) -> Result<Vec<TierDefault>, Error> {
    rows_as(client, "tier_default", include_str!("sql/flag/tier_defaults_changed_after.sql"), after).await
}

/// Tenant overrides that changed after a revision.
pub async fn tenant_overrides_changed_after(
    client: &impl GenericClient,
    after: Revision,
) -> Result<Vec<TenantOverride>, Error> {
    rows_as(client, "tenant_override", include_str!("sql/flag/tenant_overrides_changed_after.sql"), after)
        .await
}

//! Tiers.

use serde_json::json;
use tokio_postgres::GenericClient;

use super::log::{Change, Context, json_value};
use super::reading::{Found, Range, Table, rows_as};
use super::{Error, change_sql};
use crate::domain::event::Event;
use crate::domain::flag::removal::TierRemoval;
use crate::domain::ids::{Revision, TierId};
use crate::domain::tier::Tier;

/// Makes a tier. Conflict where it exists.
pub fn tier_create(tier: &Tier, context: &Context) -> Change {
    let event = Event::TierCreated { tier: tier.clone() };
    Change::new(change_sql!("tier/create.sql"), json_value(tier), event, context, tier)
}

/// Changes a tier that is still as it was at `expected`.
pub fn tier_update(tier: &Tier, expected: Revision, context: &Context) -> Change {
    let row = json!({ "tier": tier, "expected": expected });
    Change::new(change_sql!("tier/update.sql"), row, Event::TierUpdated { tier: tier.clone() }, context, tier)
}

/// Deletes a tier that is still as it was at `expected`, that nobody uses, and of which flags have as many defaults as
/// `removal` tells.
pub fn tier_delete(tier_id: &TierId, expected: Revision, removal: &TierRemoval, context: &Context) -> Change {
    let row = json!({ "tier_id": tier_id, "expected": expected, "defaults": removal.flags_total });
    let event = Event::TierDeleted { tier_id: tier_id.clone() };
    Change::new(change_sql!("tier/delete.sql"), row, event, context, removal)
}

/// Tiers of a range.
pub async fn tiers_changed_after(client: &impl GenericClient, range: Range) -> Result<Found<Tier>, Error> {
    let table = Table { name: "tier", key: &["tier_id"] };
    rows_as(client, &table, include_str!("sql/tier/changed_after.sql"), range).await
}

//! Verbs on many tenants.

use serde_json::json;
use tokio_postgres::GenericClient;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::log::{Change, Context};
use super::reading::{Found, Range, Table, rows_as};
use super::{Error, change_sql};
use crate::domain::bulk::{Bulk, Item};
use crate::domain::event::Event;
use crate::domain::ids::{OperationId, Revision};

/// A bulk operation and its tenants, as it begins.
#[derive(Debug, Clone)]
pub struct Begun {
    /// The whole.
    pub bulk: Bulk,
    /// Its tenants, in the order in which they are begun.
    pub items: Vec<Item>,
}

/// Takes a bulk operation up.
pub fn bulk_start(begun: &Begun, context: &Context) -> Change {
    let row = json!({ "bulk": begun.bulk, "items": begun.items });
    let event = Event::BulkStarted { bulk: Box::new(begun.bulk.clone()) };
    Change::new(change_sql!("bulk/start.sql"), row, event, context, &begun.bulk)
}

/// Writes how far a bulk operation got, and those of its items that changed. Conflict where it changed, or where
/// `owner`, if there is one, does not drive it any more.
pub fn bulk_advance(
    bulk: &Bulk,
    expected: Revision,
    owner: Option<Uuid>,
    changed: &[Item],
    context: &Context,
) -> Change {
    let row = json!({ "bulk": bulk, "expected": expected, "owner": owner, "items": changed });
    let event = Event::BulkAdvanced { bulk: Box::new(bulk.clone()) };
    Change::new(change_sql!("bulk/advance.sql"), row, event, context, bulk)
}

/// Bulk operations of a range.
pub async fn bulks_changed_after(client: &impl GenericClient, range: Range) -> Result<Found<Bulk>, Error> {
    let table = Table { name: "bulk_operation", key: &["bulk_id"] };
    rows_as(client, &table, include_str!("sql/bulk/changed_after.sql"), range).await
}

/// The tenants of a bulk operation, in order.
pub async fn bulk_items(client: &impl GenericClient, bulk_id: OperationId) -> Result<Vec<Item>, Error> {
    let rows = client.query(include_str!("sql/bulk/items.sql"), &[&bulk_id.uuid()]).await?;
    let item = |row: &tokio_postgres::Row| {
        let json: Json<Item> =
            row.try_get(0).map_err(|error| Error::Row { table: "bulk_item", why: format!("{error:?}") })?;
        Ok(json.0)
    };
    rows.iter().map(item).collect()
}

//! Verbs on many tenants.

use std::collections::HashSet;

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
use crate::domain::overruling::Overruling;

/// A bulk operation and its tenants, as it begins.
#[derive(Debug, Clone)]
pub struct Begun {
    /// The whole.
    pub bulk: Bulk,
    /// Its tenants, in the order in which they are begun.
    pub items: Vec<Item>,
}

/// Takes a bulk operation up, and its tenants out of older ones that it overrules.
pub fn bulk_start(begun: &Begun, context: &Context) -> Change {
    let overruling = Overruling::by_bulk(&begun.bulk);
    let row = json!({ "bulk": begun.bulk, "items": begun.items, "overruling": overruling });
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

/// Tenants that wait in a bulk operation and were taken out of it, with the newer decision, for people.
pub async fn bulk_overruled(
    client: &impl GenericClient,
    bulk_id: OperationId,
) -> Result<Vec<(Uuid, String)>, Error> {
    let rows = client.query(include_str!("sql/bulk/overruled.sql"), &[&bulk_id.uuid()]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The uids of tenants that wait in running bulk operations which a decision would take them out of.
pub async fn tenants_waiting_elsewhere(
    client: &impl GenericClient,
    decision: &Overruling,
) -> Result<HashSet<Uuid>, Error> {
    let rows = client.query(include_str!("sql/bulk/waiting_elsewhere.sql"), &[&Json(decision)]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The newest running bulk operation in which a tenant waits and which a decision would take it out of, with its verb.
pub async fn bulk_about_to_move(
    client: &impl GenericClient,
    decision: &Overruling,
    tenant_uid: Uuid,
) -> Result<Option<(OperationId, String)>, Error> {
    let sql = include_str!("sql/bulk/about_to_move.sql");
    let row = client.query_opt(sql, &[&Json(decision), &tenant_uid]).await?;
    Ok(row.map(|row| (OperationId::from_uuid(row.get(0)), row.get(1))))
}

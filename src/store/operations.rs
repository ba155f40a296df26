//! Operations, and the leases of those who drive them.

use std::time::Duration;

use serde_json::json;
use tokio_postgres::GenericClient;
use uuid::Uuid;

use super::log::{Change, Context, rows_as};
use super::{Error, change_sql};
use crate::domain::event::Event;
use crate::domain::ids::{OperationId, Revision};
use crate::domain::lifecycle::Desired;
use crate::domain::operation::Operation;
use crate::domain::tenant::Tenant;

/// Who drives a new operation, and for how long it may be silent.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// The replica, random per boot.
    pub owner: Uuid,
    /// How long.
    pub length: Duration,
}

/// A lease that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Of which operation.
    pub operation_id: OperationId,
    /// Grows with every take-over.
    pub epoch: i64,
}

/// What opens an operation.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    /// The tenant as it will be.
    pub tenant: &'a Tenant,
    /// The revision of the tenant as it was.
    pub expected: Revision,
    /// The new operation.
    pub operation: &'a Operation,
    /// The operation it takes over from, as it ends.
    pub superseded: Option<&'a Operation>,
    /// What the registry's own row-level security closes to at once, towards less access.
    pub deny: Option<Desired>,
}

/// Opens an operation. Conflict where the tenant changed.
pub fn operation_start(start: &Start<'_>, lease: Lease, context: &Context) -> Change {
    let row = json!({
        "tenant": start.tenant,
        "expected": start.expected,
        "operation": start.operation,
        "superseded": start.superseded,
        "deny": start.deny,
        "lease_owner": lease.owner,
        "lease_ms": lease_ms(lease.length),
    });
    let event = Event::OperationStarted {
        operation: Box::new(start.operation.clone()),
        superseded: start.superseded.map(|operation| Box::new(operation.clone())),
    };
    Change::new(change_sql!("operation/start.sql"), row, event, context, start.operation)
}

/// Writes what was seen of an operation's targets, and what follows for the tenant. Conflict where the operation
/// changed or another replica took the lease over.
pub fn operation_advance(
    operation: &Operation,
    expected: Revision,
    lease_epoch: i64,
    tenant: Option<&Tenant>,
    context: &Context,
) -> Change {
    let row = json!({
        "operation": operation,
        "expected": expected,
        "lease_epoch": lease_epoch,
        "tenant": tenant,
    });
    let event = Event::OperationAdvanced { operation: Box::new(operation.clone()) };
    Change::new(change_sql!("operation/advance.sql"), row, event, context, &())
}

/// Operations that changed after a revision.
pub async fn operations_changed_after(
    client: &impl GenericClient,
    after: Revision,
) -> Result<Vec<Operation>, Error> {
    rows_as(client, "operation", include_str!("sql/operation/changed_after.sql"), after).await
}

/// Keeps leases; answers those still held.
pub async fn leases_renew(
    client: &impl GenericClient,
    lease: Lease,
    operations: &[OperationId],
) -> Result<Vec<Held>, Error> {
    let ids: Vec<Uuid> = operations.iter().map(|id| id.uuid()).collect();
    let sql = include_str!("sql/operation/renew_leases.sql");
    let rows = client.query(sql, &[&lease.owner, &lease_ms(lease.length), &ids]).await?;
    Ok(rows.iter().map(held).collect())
}

/// Takes over at most `limit` operations whose owner went silent.
pub async fn leases_claim(client: &impl GenericClient, lease: Lease, limit: i64) -> Result<Vec<Held>, Error> {
    let sql = include_str!("sql/operation/claim_leases.sql");
    let rows = client.query(sql, &[&lease.owner, &lease_ms(lease.length), &limit]).await?;
    Ok(rows.iter().map(held).collect())
}

/// Drops leases of operations that ended without their owner.
pub async fn leases_forget(client: &impl GenericClient) -> Result<u64, Error> {
    Ok(client.execute(include_str!("sql/operation/forget_leases.sql"), &[]).await?)
}

fn held(row: &tokio_postgres::Row) -> Held {
    Held { operation_id: OperationId::from_uuid(row.get(0)), epoch: row.get(1) }
}

/// A lease's length as the statements take it.
pub(super) fn lease_ms(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

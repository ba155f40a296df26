//! Operations, and the leases of those who drive them.

use std::time::Duration;

use serde_json::json;
use tokio_postgres::GenericClient;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::bulks::Begun;
use super::committed::{Followed, Rows};
use super::log::{Change, Context};
use super::reading::{Found, Range, Table, rows_as, rows_with};
use super::{Error, change_sql};
use crate::domain::event::Event;
use crate::domain::ids::{OperationId, Revision, TenantId};
use crate::domain::lifecycle::Desired;
use crate::domain::operation::{Operation, State};
use crate::domain::overruling::Overruling;
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
    /// Whether it was scheduled and its time has come.
    pub scheduled: bool,
    /// The operation it takes over from, as it ends.
    pub superseded: Option<&'a Operation>,
    /// What the registry's own row-level security closes to at once, towards less access.
    pub deny: Option<Desired>,
    /// The children that follow.
    pub children: Option<&'a Begun>,
}

/// Opens an operation, and takes its tenant out of older bulk operations that it overrules. Conflict where the tenant
/// changed, a scheduled operation is no longer scheduled, or the tenant was taken out of the bulk operation that it is part of.
pub fn operation_start(start: &Start<'_>, lease: Lease, context: &Context) -> Change {
    let row = json!({
        "tenant": start.tenant,
        "expected": start.expected,
        "operation": start.operation,
        "scheduled": start.scheduled,
        "superseded": start.superseded,
        "deny": start.deny,
        "bulk": start.children.map(|begun| &begun.bulk),
        "items": start.children.map_or(&[][..], |begun| &begun.items),
        "overruling": Overruling::by_operation(start.operation),
        "children_overruling": start.children.and_then(|begun| Overruling::by_bulk(&begun.bulk)),
        "lease_owner": lease.owner,
        "lease_ms": lease_ms(lease.length),
    });
    let event = if start.operation.state == State::NeedsOperator {
        Event::OperationNeedsOperator { operation: Box::new(start.operation.clone()) }
    } else {
        Event::OperationStarted {
            operation: Box::new(start.operation.clone()),
            superseded: start.superseded.map(|operation| Box::new(operation.clone())),
        }
    };
    let change = Change::new(change_sql!("operation/start.sql"), row, event, context, start.operation);
    if start.scheduled || start.superseded.is_some() || start.children.is_some() {
        return change;
    }
    let (tenant, operation) = (Some(start.tenant.clone()), Some(start.operation.clone()));
    change.leaving(Rows { tenant, operation, ..Rows::default() })
}

/// Takes an operation up that begins later. Conflict where the tenant, or the tier that it leads to, is gone.
pub fn operation_schedule(operation: &Operation, context: &Context) -> Change {
    let row = json!({ "operation": operation });
    let event = Event::OperationScheduled { operation: Box::new(operation.clone()) };
    Change::new(change_sql!("operation/schedule.sql"), row, event, context, operation)
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
    let followed = tenant.map(|tenant| Followed { tenant: tenant.clone(), verb: operation.verb });
    let rows = Rows { operation: Some(operation.clone()), followed, ..Rows::default() };
    let operation = Box::new(operation.clone());
    let event = match operation.state {
        State::NeedsOperator => Event::OperationNeedsOperator { operation },
        _ => Event::OperationAdvanced { operation },
    };
    Change::new(change_sql!("operation/advance.sql"), row, event, context, &()).leaving(rows)
}

/// Writes what an operator decided of an operation, whoever drives it. Conflict where it changed.
pub fn operation_intervene(
    operation: &Operation,
    expected: Revision,
    tenant: Option<&Tenant>,
    context: &Context,
) -> Change {
    let row = json!({ "operation": operation, "expected": expected, "lease_epoch": null, "tenant": tenant });
    let event = Event::OperationIntervened { operation: Box::new(operation.clone()) };
    Change::new(change_sql!("operation/advance.sql"), row, event, context, operation)
}

/// Ends a purge: every target was seen empty, and the tenant goes with the operation's last step. Conflict where the
/// operation changed, another replica took the lease over, or a child still names the tenant.
pub fn operation_purge(
    operation: &Operation,
    expected: Revision,
    lease_epoch: i64,
    tenant: &Tenant,
    context: &Context,
) -> Change {
    let row = json!({ "operation": operation, "expected": expected, "lease_epoch": lease_epoch });
    let event =
        Event::TenantPurged { tenant: Box::new(tenant.clone()), operation: Box::new(operation.clone()) };
    Change::new(change_sql!("operation/purge.sql"), row, event, context, &())
}

/// Where operations are read from.
const OPERATION: Table = Table { name: "operation", key: &["operation_id"] };

/// Operations of a range.
pub async fn operations_changed_after(
    client: &impl GenericClient,
    range: Range,
) -> Result<Found<Operation>, Error> {
    rows_as(client, &OPERATION, include_str!("sql/operation/changed_after.sql"), range).await
}

/// Operations that have not ended, and so many that ended last; and the youngest that is not among them.
pub async fn operations_at_hand(
    client: &impl GenericClient,
    ended: usize,
) -> Result<(Found<Operation>, Option<OperationId>), Error> {
    let ended = i64::try_from(ended).unwrap_or(i64::MAX);
    let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&ended, Type::INT8)];
    let (operations, left_out) = tokio::try_join!(
        biased;
        rows_with(client, &OPERATION, include_str!("sql/operation/at_hand.sql"), &parameters),
        async { Ok(client.query_typed(include_str!("sql/operation/left_out.sql"), &parameters).await?) },
    )?;
    Ok((operations, left_out.first().map(|row| OperationId::from_uuid(row.get(0)))))
}

/// Operations by id; those that do not exist are left out.
pub async fn operations_by_ids(
    client: &impl GenericClient,
    ids: &[OperationId],
) -> Result<Found<Operation>, Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let sql = include_str!("sql/operation/by_ids.sql");
    rows_with(client, &OPERATION, sql, &[(&ids, Type::UUID_ARRAY)]).await
}

/// Which operations that have ended are read.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    /// None younger than this.
    pub youngest: OperationId,
    /// Only those older than this.
    pub before: Option<OperationId>,
    /// Only this tenant's.
    pub tenant_id: Option<&'a TenantId>,
    /// Only those in this state.
    pub state: Option<State>,
    /// At most so many.
    pub limit: usize,
}

/// Operations that have ended, newest first.
pub async fn operations_ended(
    client: &impl GenericClient,
    asked: &Ended<'_>,
) -> Result<Found<Operation>, Error> {
    let (youngest, before) = (asked.youngest.uuid(), asked.before.map(OperationId::uuid));
    let (tenant, state) = (asked.tenant_id.map(TenantId::as_str), asked.state.map(State::as_str));
    let limit = i64::try_from(asked.limit).unwrap_or(i64::MAX);
    let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
        (&youngest, Type::UUID),
        (&before, Type::UUID),
        (&tenant, Type::TEXT),
        (&state, Type::TEXT),
        (&limit, Type::INT8),
    ];
    rows_with(client, &OPERATION, include_str!("sql/operation/ended.sql"), &parameters).await
}

/// Scheduled operations whose time has come by the database's clock, the most overdue first.
pub async fn operations_scheduled_due(client: &impl GenericClient) -> Result<Vec<OperationId>, Error> {
    let rows = client.query(include_str!("sql/operation/scheduled_due.sql"), &[]).await?;
    Ok(rows.iter().map(|row| OperationId::from_uuid(row.get(0))).collect())
}

/// Deleted tenants that nobody can undelete any more by the database's clock, at most `limit`.
pub async fn tenants_purge_due(client: &impl GenericClient, limit: i64) -> Result<Vec<TenantId>, Error> {
    tenants_named(client, include_str!("sql/operation/purge_due.sql"), limit).await
}

/// Deleted tenants whose purge waits for their children, at most `limit`.
pub async fn tenants_purge_held(client: &impl GenericClient, limit: i64) -> Result<Vec<TenantId>, Error> {
    tenants_named(client, include_str!("sql/operation/purge_held.sql"), limit).await
}

async fn tenants_named(client: &impl GenericClient, sql: &str, limit: i64) -> Result<Vec<TenantId>, Error> {
    let id = |row: &tokio_postgres::Row| {
        TenantId::parse(row.get(0)).map_err(|error| Error::Row { table: "tenant", why: error.to_string() })
    };
    client.query(sql, &[&limit]).await?.iter().map(id).collect()
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

/// Leaves what this replica drives, for others to take over at once.
pub async fn leases_release(client: &impl GenericClient, owner: Uuid) -> Result<u64, Error> {
    Ok(client.execute(include_str!("sql/operation/release_leases.sql"), &[&owner]).await?)
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

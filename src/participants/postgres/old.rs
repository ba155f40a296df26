//! Transactions that see the database as it was before a change.
//!
//! Policies ask the access row as the transaction sees it. One that reads committed rows meets the change with its next
//! statement; one that reads repeatably, a cursor and a statement that runs go on as before until they end. So a state is
//! not in force before the last of them is gone. Seen from outside, one that reads committed rows and idles after a query
//! is no different: most drivers leave the query's portal, and with it the snapshot, until the next statement.
//!
//! Which tenant a session of the application is busy with, nobody outside it can know: those of other tenants are waited
//! for as well, and are ended as well where that is configured. A snapshot taken after the change is never waited for:
//! what was not found at first is not looked at again.

use std::time::{Duration, Instant};

use deadpool_postgres::Object;
use tokio_postgres::error::SqlState;

use super::super::access::failure;
use super::super::{Failure, TenantRef};

/// How often to look whether they are gone.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long they may go on before they are ended.
const GRACE: Duration = Duration::from_secs(1);
/// Processes that a failure names.
const NAMED_MAX: usize = 5;

/// Who is waited for, and how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience<'a> {
    /// The application's role: its sessions log in as it or as a member of it.
    pub(super) role: &'a str,
    /// Whether to end them after a moment.
    pub(super) ends: bool,
    /// When to stop and say how many are left.
    pub(super) until: Instant,
}

/// A transaction of the application, by what stays the same while it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Old {
    pid: i32,
    /// Its oldest running transaction.
    horizon: String,
    /// Empty where our account may not see it.
    began: String,
}

/// Waits until none is left that began before the tenant's row was written.
pub(super) async fn wait(client: &Object, tenant: &TenantRef, patience: Patience<'_>) -> Result<(), Failure> {
    let mut old = find(client, tenant, patience.role).await?;
    let end_from = (Instant::now() + GRACE).min(patience.until);
    while !old.is_empty() {
        let now = Instant::now();
        if patience.ends && now >= end_from {
            end(client, &old).await?;
        }
        if now >= patience.until {
            return Err(Failure::waiting(still(&old)));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        let found = find(client, tenant, patience.role).await?;
        old.retain(|one| found.contains(one));
    }
    Ok(())
}

async fn find(client: &Object, tenant: &TenantRef, role: &str) -> Result<Vec<Old>, Failure> {
    let id = tenant.tenant_id.as_str();
    let rows = client
        .query(include_str!("../sql/old/find.sql"), &[&id, &tenant.uid, &role])
        .await
        .map_err(failure)?;
    Ok(rows.iter().map(|row| Old { pid: row.get(0), horizon: row.get(1), began: row.get(2) }).collect())
}

async fn end(client: &Object, old: &[Old]) -> Result<(), Failure> {
    for Old { pid, horizon, .. } in old {
        tracing::warn!(pid, "a transaction that began before a tenant was locked out is ended");
        let ended = client.execute(include_str!("../sql/old/end.sql"), &[pid, horizon]).await;
        ended.map_err(|error| match error.code() {
            Some(state) if *state == SqlState::INSUFFICIENT_PRIVILEGE => Failure::permanent(
                "our database user may not end the application's sessions: it must be a member of pg_signal_backend",
            ),
            _ => failure(error),
        })?;
    }
    Ok(())
}

fn still(old: &[Old]) -> String {
    let named: Vec<String> = old.iter().take(NAMED_MAX).map(|one| one.pid.to_string()).collect();
    let more = if old.len() > NAMED_MAX { ", …" } else { "" };
    format!(
        "{} transactions that began before the change may still see the tenant as it was (processes {}{more})",
        old.len(),
        named.join(", ")
    )
}

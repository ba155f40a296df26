//! Removing a tenant's rows: in bounded batches, each under a lock that keeps a newer state from being written.

use std::time::Instant;

use deadpool_postgres::Object;
use tokio_postgres::Transaction;

use super::super::access::{failure, refused, stored};
use super::super::{Failure, TenantRef};
use super::client::untouched;

/// How fast, and how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Rows of a table in one statement.
    pub(super) batch: u32,
    /// When to stop and say how far it went.
    pub(super) until: Instant,
}

/// Removes every row of a tenant that was deleted at `generation`.
pub(super) async fn rows(
    client: &mut Object,
    tenant: &TenantRef,
    generation: u64,
    pace: Pace,
) -> Result<(), Failure> {
    let id = tenant.tenant_id.as_str();
    let batch = i32::try_from(pace.batch).unwrap_or(i32::MAX);
    let mut removed = 0;
    loop {
        let transaction = client.transaction().await.map_err(failure)?;
        let held = transaction
            .query_opt(include_str!("../sql/purge/hold.sql"), &[&id, &tenant.uid, &stored(generation)])
            .await
            .map_err(failure)?;
        if held.is_none() {
            return Err(refused(&*transaction, tenant).await?);
        }
        let row = transaction
            .query_one(include_str!("../sql/purge/batch.sql"), &[&id, &batch])
            .await
            .map_err(untouched)?;
        let gone: i64 = row.get(0);
        let kept = if gone == 0 { kept(&transaction, tenant).await? } else { None };
        transaction.commit().await.map_err(failure)?;
        removed += gone;
        match kept {
            Some(why) => return Err(Failure::permanent(format!("rows of the tenant stay in {why}"))),
            None if gone == 0 => return Ok(()),
            None if Instant::now() > pace.until => {
                return Err(Failure::unfinished(format!("{removed} rows were removed, and there are more")));
            }
            None => {}
        }
    }
}

/// A table that still has rows of the tenant, and what keeps them there.
async fn kept(transaction: &Transaction<'_>, tenant: &TenantRef) -> Result<Option<String>, Failure> {
    text(transaction, tenant, include_str!("../sql/purge/kept.sql")).await
}

/// A table that may still have rows of the tenant: it has some, or it is another than the one that was protected, and nobody
/// can tell.
pub(super) async fn remains(
    transaction: &Transaction<'_>,
    tenant: &TenantRef,
) -> Result<Option<String>, Failure> {
    text(transaction, tenant, include_str!("../sql/purge/remains.sql")).await
}

async fn text(
    transaction: &Transaction<'_>,
    tenant: &TenantRef,
    statement: &str,
) -> Result<Option<String>, Failure> {
    let found = transaction.query_one(statement, &[&tenant.tenant_id.as_str()]).await;
    found.map(|row| row.get(0)).map_err(untouched)
}

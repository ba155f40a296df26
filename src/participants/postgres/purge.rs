//! Removing a tenant's rows: in bounded batches, each under a lock that keeps a newer state from being written.
//!
//! What a row takes along, and what looks for those that refer to it, only the database knows. So a batch that was not done in time
//! is followed by smaller ones, and each that was by a larger one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool_postgres::Object;
use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::super::access::{failure, refused, stored};
use super::super::{Failure, TenantRef};
use super::client::untouched;

/// By how much smaller the next batch is.
const SHRINK: u32 = 10;
const GROW: u32 = 2;

/// How fast, and how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Rows of a table in one statement, at most.
    pub(super) batch: u32,
    /// When to stop and say how far it went.
    pub(super) until: Instant,
    /// How long after that a statement may still take.
    pub(super) grace: Duration,
}

/// How many rows the next batch of each tenant's purge takes, where that is not as many as there may be.
#[derive(Debug, Default)]
pub(super) struct Batches(Mutex<HashMap<Uuid, u32>>);

impl Batches {
    fn all(&self) -> MutexGuard<'_, HashMap<Uuid, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, uid: Uuid, most: u32) -> u32 {
        self.all().get(&uid).copied().unwrap_or(most).min(most)
    }

    fn was_done(&self, uid: Uuid, rows: u32, most: u32) {
        let next = rows.saturating_mul(GROW);
        if next >= most {
            self.all().remove(&uid)
        } else {
            self.all().insert(uid, next)
        };
    }

    fn took_too_long(&self, uid: Uuid, rows: u32) {
        self.all().insert(uid, (rows / SHRINK).max(1));
    }
}

/// Removes every row of a tenant that was deleted at `generation`.
pub(super) async fn rows(
    client: &mut Object,
    tenant: &TenantRef,
    generation: u64,
    batches: &Batches,
    pace: Pace,
) -> Result<(), Failure> {
    let mut removed = 0;
    loop {
        let rows = batches.next(tenant.uid, pace.batch);
        let transaction = client.transaction().await.map_err(failure)?;
        let gone = match batch(&transaction, tenant, generation, rows, pace).await {
            Ok(gone) => gone,
            Err(Failed::Otherwise(failure)) => return Err(failure),
            Err(Failed::TooLong) => {
                batches.took_too_long(tenant.uid, rows);
                drop(transaction);
                return Err(too_long(client, rows, removed).await);
            }
        };
        let kept = if gone == 0 { kept(&transaction, tenant).await? } else { None };
        transaction.commit().await.map_err(failure)?;
        batches.was_done(tenant.uid, rows, pace.batch);
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

enum Failed {
    TooLong,
    Otherwise(Failure),
}

/// Removes up to so many rows of each table, and answers how many went.
async fn batch(
    transaction: &Transaction<'_>,
    tenant: &TenantRef,
    generation: u64,
    rows: u32,
    pace: Pace,
) -> Result<i64, Failed> {
    let id = tenant.tenant_id.as_str();
    let otherwise = |error| Failed::Otherwise(failure(error));
    let left = pace.until.saturating_duration_since(Instant::now()) + pace.grace;
    let limit = left.as_millis().max(1).to_string();
    transaction.query_one(include_str!("../sql/purge/limit.sql"), &[&limit]).await.map_err(otherwise)?;
    let held = transaction
        .query_opt(include_str!("../sql/purge/hold.sql"), &[&id, &tenant.uid, &stored(generation)])
        .await
        .map_err(otherwise)?;
    if held.is_none() {
        return Err(Failed::Otherwise(refused(transaction, tenant).await.unwrap_or_else(|failure| failure)));
    }
    let rows = i32::try_from(rows).unwrap_or(i32::MAX);
    let row = transaction.query_one(include_str!("../sql/purge/batch.sql"), &[&id, &rows]).await;
    row.map(|row| row.get(0)).map_err(|error| match error.code() {
        Some(state) if *state == SqlState::QUERY_CANCELED => Failed::TooLong,
        _ => Failed::Otherwise(untouched(error)),
    })
}

/// That a batch was not done in time, with what makes removals slow.
async fn too_long(client: &Object, rows: u32, removed: i64) -> Failure {
    let unindexed = client.query(include_str!("../sql/purge/unindexed.sql"), &[]).await.unwrap_or_default();
    let named: Vec<&str> = unindexed.iter().map(|row| row.get(0)).collect();
    let next = match rows {
        1 => "raise that",
        _ => "fewer are tried next",
    };
    let mut words = format!(
        "{removed} rows were removed, and removing {rows} more of each table in one statement, or all that refer to each other, takes longer \
         than the target's `deadline` leaves; {next}"
    );
    if !named.is_empty() {
        words += &format!(
            ". Of foreign keys without an index, for which each row that is removed has the whole table searched, the largest tables': {}",
            named.join(", ")
        );
    }
    if removed > 0 { Failure::unfinished(words) } else { Failure::unknown(words) }
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

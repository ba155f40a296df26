//! One at a time for a bucket's policy, across all replicas.
//!
//! A bucket has one policy, and S3 has no conditional put for it: two that read, change and write at once lose one
//! change. The lock is PostgreSQL's, held by a transaction: it goes with the transaction, the connection or the process,
//! and a holder that is paused loses it when the server ends its idle session.
//!
//! A lock alone does not stop a request that is on its way when the lock is lost. Three things do:
//!
//! - What is written under the lock is signed so that the store refuses it once the holder's time is over (`stamp.rs`):
//!   a holder that was paused, or a request that a network kept, comes too late.
//! - Before its first write a holder leaves a mark in the registry's database: until when something of it can arrive. It takes the mark
//!   away together with the lock, where every write was answered and it held the lock to the end. Whoever takes the lock and finds a mark
//!   does its work, and believes in it only after that time: then it takes the lock again, and writes the policy as the records of all
//!   tenants in the bucket say (`roster.rs`), before it answers.
//! - A holder that was not alone, or got no answer to a write, does not believe itself either, and does the same.
//!
//! So what was answered stays true, also where a holder is killed. Replicas that call one store by two names do not share the lock.

use std::time::{Duration, Instant};

use deadpool_postgres::{Object, Pool};
use tokio::sync::OnceCell;

use super::super::Failure;
use super::stamp::{ServerClock, Stamp};

/// How much longer than its work a holder holds: the least time that a request has to arrive, and that clocks may be
/// apart where the server has not told its own yet.
const ARRIVAL: Duration = Duration::from_secs(5);
/// How much later the database ends a holder that says nothing: the holder must know first.
const GRACE: Duration = Duration::from_secs(1);

/// Who may edit a bucket now.
pub(super) struct Lock {
    pool: Option<Pool>,
    /// Where the buckets are: the same name elsewhere is another bucket.
    store: String,
    /// How long one may hold it.
    hold_max: Duration,
    clock: ServerClock,
}

/// The right to edit, until it is given back or its time is over.
pub(super) struct Held {
    shared: Option<Shared>,
    until: Instant,
    clock: ServerClock,
    is_marked: OnceCell<()>,
}

/// What is held where there are other replicas.
struct Shared {
    /// With an open transaction; the pool rolls it back.
    connection: Object,
    pool: Pool,
    /// The name of the mark.
    key: String,
    /// Until when something of a former holder may arrive; `None` where nothing is in doubt.
    doubt: Option<Instant>,
}

/// What a holder leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// The policy says all that it has to.
    Whole,
    /// It does not, but all that was written has arrived.
    Arrived,
    /// Something that was written may still arrive.
    Open,
}

impl Lock {
    /// For work that takes so long at most. Without a pool, for one process alone.
    pub(super) fn new(pool: Option<Pool>, store: String, work_max: Duration, clock: ServerClock) -> Self {
        Self { pool, store, hold_max: work_max + ARRIVAL, clock }
    }

    /// Waits for its turn.
    pub(super) async fn take(&self, bucket: &str) -> Result<Held, Failure> {
        let shared = match &self.pool {
            None => None,
            Some(pool) => Some(self.share(pool, bucket).await?),
        };
        // The wait was the others' time.
        let until = Instant::now() + self.hold_max;
        Ok(Held { shared, until, clock: self.clock.clone(), is_marked: OnceCell::new() })
    }

    async fn share(&self, pool: &Pool, bucket: &str) -> Result<Shared, Failure> {
        let failed = |error: &dyn std::fmt::Display| cannot_be_had(error, bucket);
        let connection = pool.get().await.map_err(|error| failed(&error))?;
        let key = format!("s3 {} {bucket}", self.store);
        let idle_max = self.hold_max + GRACE;
        // Long enough to outlast a holder that says nothing.
        let wait_max = idle_max + GRACE;
        let [idle, wait] = [idle_max, wait_max].map(|time| time.as_millis().to_string());
        let taken = async {
            connection.batch_execute("BEGIN").await?;
            connection.query_one(include_str!("sql/lock/bound.sql"), &[&wait, &idle]).await?;
            connection.query_one(include_str!("sql/lock/take.sql"), &[&key]).await?;
            connection.query_opt(include_str!("sql/lock/marked.sql"), &[&key]).await
        };
        // The database ends the wait itself, where it can.
        let taken = tokio::time::timeout(wait_max + GRACE, taken).await;
        let marked = taken.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        let left = |row: tokio_postgres::Row| {
            Duration::from_millis(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
        };
        let doubt = marked.map(|row| Instant::now() + left(row));
        Ok(Shared { connection, pool: pool.clone(), key, doubt })
    }
}

fn cannot_be_had(error: &dyn std::fmt::Display, bucket: &str) -> Failure {
    tracing::warn!(error = %error, bucket, "the policy's lock cannot be had");
    Failure::retryable("another replica is editing the bucket's policy, or the registry's database is away")
}

impl Held {
    /// When nothing that was stamped under it can arrive any more.
    pub(super) const fn until(&self) -> Instant {
        self.until
    }

    /// Until when something of a former holder may arrive, which then is the last word; `None` where nothing is in doubt.
    pub(super) fn doubt(&self) -> Option<Instant> {
        self.shared.as_ref().and_then(|shared| shared.doubt)
    }

    /// For a request that is sent now: the store refuses it when the time is over. `None` when it is. Everybody knows from before the
    /// first one that something may arrive.
    pub(super) async fn stamp(&self, bucket: &str) -> Result<Option<Stamp>, Failure> {
        self.is_marked.get_or_try_init(|| self.mark(bucket)).await?;
        // First the wall's clock, then ours: a pause between the two makes the rest shorter, not longer.
        let from = self.clock.at(jiff::Timestamp::now().into());
        let is_lost = self.shared.as_ref().is_some_and(|shared| shared.connection.is_closed());
        let left = self.until.checked_duration_since(Instant::now()).filter(|_| !is_lost);
        Ok(left.and_then(|left| Stamp::new(from, left)))
    }

    async fn mark(&self, bucket: &str) -> Result<(), Failure> {
        let Some(Shared { pool, key, .. }) = &self.shared else { return Ok(()) };
        let failed = |error: &dyn std::fmt::Display| cannot_be_had(error, bucket);
        let left = millis(self.until);
        let marked = async {
            // Not under the lock's transaction: it stays where that is rolled back.
            let client = pool.get().await.map_err(|error| failed(&error))?;
            let marked = client.execute(include_str!("sql/lock/mark.sql"), &[key, &left]).await;
            marked.map(drop).map_err(|error| failed(&error))
        };
        tokio::time::timeout_at(self.until.into(), marked).await.unwrap_or_else(|error| Err(failed(&error)))
    }

    /// Gives it back at once; says whether it was held to this moment.
    pub(super) async fn release(self, left: Left) -> bool {
        let Some(Shared { connection, key, doubt, .. }) = self.shared else {
            return Instant::now() < self.until;
        };
        let in_doubt = doubt.is_some() || self.is_marked.initialized();
        // Where this fails, the connection is broken and the lock was gone with it.
        let ended = async {
            match left {
                Left::Whole if in_doubt => {
                    connection.execute(include_str!("sql/lock/settle.sql"), &[&key]).await?;
                }
                Left::Arrived if in_doubt => {
                    let left = doubt.map_or(0, millis);
                    connection.execute(include_str!("sql/lock/shorten.sql"), &[&key, &left]).await?;
                }
                Left::Whole | Left::Arrived | Left::Open => {}
            }
            connection.batch_execute("COMMIT").await
        };
        let ended = tokio::time::timeout_at(self.until.into(), ended).await;
        ended.is_ok_and(|ended| ended.is_ok())
    }
}

/// How long it is until then, in milliseconds, and never too short.
fn millis(until: Instant) -> i64 {
    let left = until.saturating_duration_since(Instant::now());
    i64::try_from(left.as_millis()).unwrap_or(i64::MAX).saturating_add(1)
}

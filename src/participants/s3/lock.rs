//! One at a time for a bucket's policy, across all replicas.
//!
//! A bucket has one policy, and S3 has no conditional put for it: two that read, change and write at once lose one
//! change. The lock is PostgreSQL's, held by a transaction: it goes with the transaction, the connection or the process,
//! and a holder that is paused loses it when the server ends its idle session.
//!
//! A lock alone does not stop a request that is on its way when the lock is lost. Three things do, as far as they can:
//!
//! - What is written under the lock is signed so that the store refuses it once the holder's time is over (`stamp.rs`):
//!   a holder that was paused, or a request that a network kept, comes too late.
//! - A holder knows in the end whether it held the lock to the end. One that did not, or that got no answer to a write,
//!   does not believe itself: when nothing of it can arrive any more, it takes the lock again and writes the policy as
//!   the records of all tenants in the bucket say (`roster.rs`), before it answers.
//!
//! What is left: until that second round, what arrived late counts; and where the holder is killed before it, until the
//! tenants are next verified. Replicas that call one store by two names do not share the lock.

use std::time::{Duration, Instant};

use deadpool_postgres::{Object, Pool};

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
    /// A connection with an open transaction; the pool rolls it back.
    connection: Option<Object>,
    until: Instant,
    clock: ServerClock,
}

impl Lock {
    /// For work that takes so long at most. Without a pool, for one process alone.
    pub(super) fn new(pool: Option<Pool>, store: String, work_max: Duration, clock: ServerClock) -> Self {
        Self { pool, store, hold_max: work_max + ARRIVAL, clock }
    }

    /// Waits for its turn.
    pub(super) async fn take(&self, bucket: &str) -> Result<Held, Failure> {
        let connection = match &self.pool {
            None => None,
            Some(pool) => Some(self.connection(pool, bucket).await?),
        };
        // The wait was the others' time.
        Ok(Held { connection, until: Instant::now() + self.hold_max, clock: self.clock.clone() })
    }

    async fn connection(&self, pool: &Pool, bucket: &str) -> Result<Object, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            tracing::warn!(error = %error, bucket, "the policy's lock cannot be had");
            Failure::retryable(
                "another replica is editing the bucket's policy, or the registry's database is away",
            )
        };
        let connection = pool.get().await.map_err(|error| failed(&error))?;
        let key = format!("s3 {} {bucket}", self.store);
        let idle_max = self.hold_max + GRACE;
        // Long enough to outlast a holder that says nothing.
        let wait_max = idle_max + GRACE;
        let [idle, wait] = [idle_max, wait_max].map(|time| time.as_millis().to_string());
        let taken = async {
            connection.batch_execute("BEGIN").await?;
            connection.query_one(include_str!("sql/lock/bound.sql"), &[&wait, &idle]).await?;
            connection.query_one(include_str!("sql/lock/take.sql"), &[&key]).await
        };
        // The database ends the wait itself, where it can.
        let taken = tokio::time::timeout(wait_max + GRACE, taken).await;
        taken.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        Ok(connection)
    }
}

impl Held {
    /// When nothing that was stamped under it can arrive any more.
    pub(super) const fn until(&self) -> Instant {
        self.until
    }

    /// For a request that is sent now: the store refuses it when the time is over. `None` when it is.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        // First the wall's clock, then ours: a pause between the two makes the rest shorter, not longer.
        let from = self.clock.at(jiff::Timestamp::now().into());
        let is_lost = self.connection.as_ref().is_some_and(|connection| connection.is_closed());
        let left = self.until.checked_duration_since(Instant::now()).filter(|_| !is_lost)?;
        Stamp::new(from, left)
    }

    /// Gives it back at once; says whether it was held to this moment.
    pub(super) async fn release(self) -> bool {
        let Some(connection) = self.connection else { return Instant::now() < self.until };
        // Where this fails, the connection is broken and the lock was gone with it.
        let ended = tokio::time::timeout_at(self.until.into(), connection.batch_execute("ROLLBACK")).await;
        ended.is_ok_and(|ended| ended.is_ok())
    }
}

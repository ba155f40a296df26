//! One at a time for a bucket's policy, across all replicas.
//!
//! A bucket has one policy, and S3 has no conditional put for it: two that read, change and write at once lose one
//! change. The lock is PostgreSQL's, held by a transaction: it goes with the transaction, the connection or the process,
//! and a holder that is paused loses it when the server ends its idle session.
//!
//! What is left: a holder that is paused between its last look at the clock and the arrival of its request can still
//! overwrite a newer policy. Whoever wrote that one reads it back at once and again when the tenant is next verified.

use std::time::{Duration, Instant};

use deadpool_postgres::{Object, Pool};

use super::super::Failure;

/// Who may edit a bucket now.
pub(super) struct Lock {
    pool: Option<Pool>,
    /// Where the buckets are: the same name elsewhere is another bucket.
    store: String,
    /// How long one may hold it.
    hold_max: Duration,
}

/// The right to edit, until it is dropped or its time is over.
pub(super) struct Held {
    /// A connection with an open transaction; the pool rolls it back.
    connection: Option<Object>,
    until: Instant,
}

impl Lock {
    /// Without a pool, for one process alone.
    pub(super) const fn new(pool: Option<Pool>, store: String, hold_max: Duration) -> Self {
        Self { pool, store, hold_max }
    }

    /// Waits for its turn.
    pub(super) async fn take(&self, bucket: &str) -> Result<Held, Failure> {
        let mut held = Held { connection: None, until: Instant::now() + self.hold_max };
        let Some(pool) = &self.pool else { return Ok(held) };
        let failed = |error: &dyn std::fmt::Display| {
            tracing::warn!(error = %error, bucket, "the policy's lock cannot be had");
            Failure::retryable(
                "another replica is editing the bucket's policy, or the registry's database is away",
            )
        };
        let connection = pool.get().await.map_err(|error| failed(&error))?;
        let key = format!("s3 {} {bucket}", self.store);
        // One more second than the holder allows itself: it must know first.
        let idle_max = (self.hold_max + Duration::from_secs(1)).as_millis().to_string();
        let wait_max = self.hold_max.as_millis().to_string();
        let taken = async {
            connection.batch_execute("BEGIN").await?;
            connection.query_one(include_str!("sql/lock/bound.sql"), &[&wait_max, &idle_max]).await?;
            connection.query_one(include_str!("sql/lock/take.sql"), &[&key]).await
        };
        taken.await.map_err(|error| failed(&error))?;
        held.connection = Some(connection);
        // The wait was the others' time.
        held.until = Instant::now() + self.hold_max;
        Ok(held)
    }
}

impl Held {
    /// Whether there is still time to send a change.
    pub(super) fn is_held(&self) -> bool {
        Instant::now() < self.until
            && self.connection.as_ref().is_none_or(|connection| !connection.is_closed())
    }

    /// Gives it back at once.
    pub(super) async fn release(self) {
        if let Some(connection) = self.connection {
            // Where this fails, the connection is broken and the lock gone with it.
            let _ = connection.batch_execute("ROLLBACK").await;
        }
    }
}

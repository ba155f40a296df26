//! Row-level security inside the registry's own database: an access row that policies ask, and a demo table that shows
//! them at work.

use async_trait::async_trait;
use deadpool_postgres::Pool;
use tokio_postgres::Transaction;

use super::access::{self, failure};
use super::{Failure, Observed, Participant, TenantRef};
use crate::domain::lifecycle::Desired;

/// The target.
pub struct Registry {
    pool: Pool,
}

impl Registry {
    /// A target in the database that the pool leads to, which has the `tenancy` schema of the registry.
    pub const fn new(pool: Pool) -> Self {
        Self { pool }
    }
}

#[async_trait]
impl Participant for Registry {
    async fn apply(&self, tenant: &TenantRef, desired: Desired, generation: u64) -> Result<(), Failure> {
        let mut client = access::connection(&self.pool).await?;
        let transaction = client.transaction().await.map_err(failure)?;
        access::grant(&transaction, tenant, desired, generation).await?;
        // The row by which access is proved; its removal is what deletion means here.
        let rows = match desired {
            Desired::Deleted => include_str!("sql/access/purge.sql"),
            _ => include_str!("sql/access/welcome.sql"),
        };
        transaction.execute(rows, &[&tenant.tenant_id.as_str()]).await.map_err(failure)?;
        transaction.commit().await.map_err(failure)
    }

    async fn observe(&self, tenant: &TenantRef) -> Result<Observed, Failure> {
        let mut client = access::connection(&self.pool).await?;
        let transaction = client.transaction().await.map_err(failure)?;
        let Some((named, generation)) = access::find(&transaction, tenant).await? else {
            return Ok(Observed::UNKNOWN_TENANT);
        };
        let (reads, writes) = probe(&transaction, tenant).await?;
        transaction.rollback().await.map_err(failure)?;
        let state = match (reads, writes) {
            (true, true) => Desired::Active,
            (true, false) => Desired::ReadOnly,
            (false, true) => return Err(Failure::retryable("writes pass but reads do not")),
            // Nothing passes: which kind of nothing, only the row can say.
            (false, false) if matches!(named, Desired::Active | Desired::ReadOnly) => {
                return Err(Failure::retryable("the access row grants what the policies refuse"));
            }
            (false, false) => named,
        };
        Ok(Observed::effect(state, generation))
    }
}

/// Whether an ordinary client can read and write. Without conditions, so that only policies decide.
async fn probe(transaction: &Transaction<'_>, tenant: &TenantRef) -> Result<(bool, bool), Failure> {
    transaction.batch_execute(include_str!("sql/access/as_client.sql")).await.map_err(failure)?;
    access::become_tenant(transaction, tenant).await?;
    let visible: i64 =
        transaction.query_one(include_str!("sql/access/probe_read.sql"), &[]).await.map_err(failure)?.get(0);
    let written =
        transaction.execute(include_str!("sql/access/probe_write.sql"), &[]).await.map_err(failure)?;
    Ok((visible > 0, written > 0))
}

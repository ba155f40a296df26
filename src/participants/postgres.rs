//! Row-level security in PostgreSQL: an access row that policies ask, and a demo table that shows them at work.
//!
//! Reading back means being an ordinary client: become the application's role, claim the tenant, and see what the
//! policies let through.

use async_trait::async_trait;
use deadpool_postgres::{Object, Pool};
use tokio_postgres::Transaction;

use super::{Failure, Observed, Participant, TenantRef};
use crate::domain::lifecycle::Desired;

/// The target.
pub struct Postgres {
    pool: Pool,
}

impl Postgres {
    /// A target in the database that the pool leads to, which has the `tenancy` schema.
    pub const fn new(pool: Pool) -> Self {
        Self { pool }
    }

    async fn connection(&self) -> Result<Object, Failure> {
        self.pool.get().await.map_err(|error| {
            tracing::warn!(error = %error, "the postgres target has no connection");
            Failure::retryable("the database cannot be reached")
        })
    }
}

#[async_trait]
impl Participant for Postgres {
    async fn apply(&self, tenant: &TenantRef, desired: Desired, generation: u64) -> Result<(), Failure> {
        let mut client = self.connection().await?;
        let transaction = client.transaction().await.map_err(refused)?;
        let id = tenant.tenant_id.as_str();
        let generation = i64::try_from(generation).unwrap_or(i64::MAX);
        transaction
            .execute(
                include_str!("sql/access/grant.sql"),
                &[&id, &tenant.uid, &desired.as_str(), &generation],
            )
            .await
            .map_err(refused)?;
        let found = find(&transaction, tenant).await?;
        if found.is_none_or(|(_, applied)| applied != generation) {
            return Err(Failure::permanent("a newer change was applied already"));
        }
        // The row by which access is proved; its removal is what deletion means here.
        let rows = match desired {
            Desired::Deleted => include_str!("sql/access/purge.sql"),
            _ => include_str!("sql/access/welcome.sql"),
        };
        transaction.execute(rows, &[&id]).await.map_err(refused)?;
        transaction.commit().await.map_err(refused)
    }

    async fn observe(&self, tenant: &TenantRef) -> Result<Observed, Failure> {
        let mut client = self.connection().await?;
        let transaction = client.transaction().await.map_err(refused)?;
        let Some((named, generation)) = find(&transaction, tenant).await? else {
            return Ok(Observed::UNKNOWN_TENANT);
        };
        let (reads, writes) = probe(&transaction, tenant).await?;
        transaction.rollback().await.map_err(refused)?;
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
        Ok(Observed::effect(state, u64::try_from(generation).unwrap_or_default()))
    }
}

async fn find(transaction: &Transaction<'_>, tenant: &TenantRef) -> Result<Option<(Desired, i64)>, Failure> {
    let row = transaction
        .query_opt(include_str!("sql/access/find.sql"), &[&tenant.tenant_id.as_str(), &tenant.uid])
        .await
        .map_err(refused)?;
    let Some(row) = row else { return Ok(None) };
    let name: &str = row.get(0);
    let state = Desired::ALL.into_iter().find(|state| state.as_str() == name);
    let state = state.ok_or_else(|| Failure::retryable("the access row has a state of another version"))?;
    Ok(Some((state, row.get(1))))
}

/// Whether an ordinary client can read and write. Without conditions, so that only policies decide.
async fn probe(transaction: &Transaction<'_>, tenant: &TenantRef) -> Result<(bool, bool), Failure> {
    transaction.batch_execute(include_str!("sql/access/as_client.sql")).await.map_err(refused)?;
    transaction
        .query_one(include_str!("sql/access/become.sql"), &[&tenant.tenant_id.as_str()])
        .await
        .map_err(refused)?;
    let visible: i64 =
        transaction.query_one(include_str!("sql/access/probe_read.sql"), &[]).await.map_err(refused)?.get(0);
    let written =
        transaction.execute(include_str!("sql/access/probe_write.sql"), &[]).await.map_err(refused)?;
    Ok((visible > 0, written > 0))
}

#[allow(clippy::needless_pass_by_value)] // The shape that map_err wants.
fn refused(error: tokio_postgres::Error) -> Failure {
    tracing::warn!(error = %error, "the postgres target failed");
    Failure::retryable("the database did not do what it was asked")
}

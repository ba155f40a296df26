//! Row-level security inside the registry's own database: an access row that policies ask, and a demo table that shows
//! them at work.

use async_trait::async_trait;
use deadpool_postgres::Pool;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::types::{ToSql, Type};

use super::access::{self, failure, stored};
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
    fn is_in_the_registry(&self) -> bool {
        true
    }

    async fn apply(&self, tenant: &TenantRef, desired: Desired, generation: u64) -> Result<(), Failure> {
        let client = access::connection(&self.pool).await?;
        let id = tenant.tenant_id.as_str();
        // The row by which access is proved; its removal is what deletion means here.
        let rows = match desired {
            Desired::Deleted => include_str!("sql/access/purge.sql"),
            _ => include_str!("sql/access/welcome.sql"),
        };
        let generation_held = stored(generation);
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&id, Type::TEXT), (&tenant.uid, Type::UUID), (&generation_held, Type::INT8)];
        // In one round trip: polled in this order, each is sent before the one before it is answered.
        tokio::try_join!(
            biased;
            ask(client.batch_execute("BEGIN")),
            access::grant(&**client, tenant, desired, generation),
            ask(client.query_typed(rows, &parameters)),
            ask(client.batch_execute("COMMIT")),
        )?;
        Ok(())
    }

    async fn observe(&self, tenant: &TenantRef) -> Result<Observed, Failure> {
        let client = access::connection(&self.pool).await?;
        // As an ordinary client, and without conditions, so that only policies decide. In one round trip, as above.
        let ((), found, (), (), visible, written, ()) = tokio::try_join!(
            biased;
            ask(client.batch_execute("BEGIN")),
            access::find(&**client, tenant),
            ask(client.batch_execute(include_str!("sql/access/as_client.sql"))),
            access::become_tenant(&**client, tenant),
            ask(client.query_typed_one(include_str!("sql/access/probe_read.sql"), &[])),
            ask(client.simple_query(include_str!("sql/access/probe_write.sql"))),
            ask(client.batch_execute("ROLLBACK")),
        )?;
        let Some((named, generation)) = found else { return Ok(Observed::UNKNOWN_TENANT) };
        let reads = visible.get::<_, i64>(0) > 0;
        let writes = written.iter().any(|said| matches!(said, SimpleQueryMessage::CommandComplete(1..)));
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
        Ok(Observed::effect(state, generation).with_asked(Some(named)))
    }

    fn concurrent_max(&self) -> Option<usize> {
        Some(self.pool.status().max_size)
    }
}

async fn ask<T>(statement: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Failure> {
    statement.await.map_err(failure)
}

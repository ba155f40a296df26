//! Row-level security in an application's database: an access row that the policies of every table ask.
//!
//! Reading back means being an ordinary client: become the application's role, claim the tenant, and see what the
//! policies let through. That client is a new one; what those see that came before the change is in `old`. What it needs in
//! the database is `sql/install/schema.sql`.

mod client;
mod old;
mod purge;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use deadpool_postgres::{Object, Pool};
use tokio::sync::OnceCell;

use self::client::{Seen, probe, unprotected};
use super::access::{self, failure};
use super::{Failure, Observed, Participant, TenantRef};
use crate::config;
use crate::domain::lifecycle::Desired;

/// The target.
pub struct Postgres {
    pool: Pool,
    role: String,
    install: bool,
    ends_transactions: bool,
    batch: u32,
    deadline: Duration,
    ready: OnceCell<()>,
}

impl Postgres {
    /// A target in the database that the pool leads to; one call may take `deadline`.
    pub fn new(pool: Pool, settings: &config::targets::Postgres, deadline: Duration) -> Self {
        Self {
            pool,
            role: settings.role.clone(),
            install: settings.install,
            ends_transactions: settings.ends_transactions,
            batch: settings.batch,
            deadline,
            ready: OnceCell::new(),
        }
    }

    /// A connection to a database that has what this needs.
    async fn connection(&self) -> Result<Object, Failure> {
        let client = access::connection(&self.pool).await?;
        self.ready.get_or_try_init(|| self.prepare(&client)).await?;
        Ok(client)
    }

    /// Looked at once a process. With `install` the schema is written again, which brings an older one up to date.
    async fn prepare(&self, client: &Object) -> Result<(), Failure> {
        if self.install {
            client.batch_execute(include_str!("../sql/install/schema.sql")).await.map_err(failure)?;
            client.execute(include_str!("../sql/install/admit.sql"), &[&self.role]).await.map_err(failure)?;
            return Ok(());
        }
        let known = client.query_one(include_str!("../sql/install/known.sql"), &[]).await.map_err(failure)?;
        if known.get(0) {
            return Ok(());
        }
        Err(Failure::permanent(
            "the database has no schema `tenancy` of this version; set `install = true` to make it",
        ))
    }

    async fn converge(&self, tenant: &TenantRef, desired: Desired, generation: u64) -> Result<(), Failure> {
        let until = Instant::now() + self.deadline.mul_f64(0.8);
        let mut client = self.connection().await?;
        let transaction = client.transaction().await.map_err(failure)?;
        access::grant(&*transaction, tenant, desired, generation).await?;
        transaction.commit().await.map_err(failure)?;
        if desired != Desired::Active {
            let patience = old::Patience { role: &self.role, ends: self.ends_transactions, until };
            old::wait(&client, tenant, patience).await?;
        }
        if desired == Desired::Deleted {
            purge::rows(&mut client, tenant, generation, purge::Pace { batch: self.batch, until }).await?;
        }
        if desired != Desired::Active
            && let Some(table) = unprotected(&**client, &self.role).await?
        {
            return Err(not_protected(&table));
        }
        Ok(())
    }

    async fn look(&self, tenant: &TenantRef) -> Result<Observed, Failure> {
        let mut client = self.connection().await?;
        let transaction = client.transaction().await.map_err(failure)?;
        let Some((named, generation)) = access::find(&*transaction, tenant).await? else {
            // Nothing is known of it only where nothing of it is left; without the row nobody is let in.
            let is_empty = purge::leftover(&transaction, tenant).await?.is_none();
            return Ok(if is_empty {
                Observed::UNKNOWN_TENANT
            } else {
                Observed::effect(Desired::Suspended, 0)
            });
        };
        let leftover = match named {
            Desired::Deleted => purge::leftover(&transaction, tenant).await?,
            _ => None,
        };
        let unprotected = unprotected(&*transaction, &self.role).await?;
        let seen = probe(&transaction, tenant, &self.role).await?;
        transaction.rollback().await.map_err(failure)?;
        Ok(Observed::effect(state(named, &seen, unprotected.as_deref(), leftover.as_deref())?, generation))
    }
}

/// What an ordinary client meets, whatever the row says.
fn state(
    named: Desired,
    seen: &Seen,
    unprotected: Option<&str>,
    leftover: Option<&str>,
) -> Result<Desired, Failure> {
    if let Some(table) = &seen.visible {
        tracing::warn!(table, "rows of a tenant that is locked out can be seen");
        return Ok(Desired::ReadOnly);
    }
    if let Some(table) = unprotected
        && named != Desired::Active
    {
        tracing::warn!(table, "a table is not protected as it was, and a tenant is not to have all access");
        return Ok(if named == Desired::ReadOnly { Desired::Active } else { Desired::ReadOnly });
    }
    Ok(match (seen.reads, seen.writes) {
        (true, true) => Desired::Active,
        (true, false) => Desired::ReadOnly,
        (false, true) => return Err(Failure::retryable("writes pass but reads do not")),
        // Nothing passes: which kind of nothing, only the row and what is left can say.
        (false, false) if matches!(named, Desired::Active | Desired::ReadOnly) => Desired::Suspended,
        (false, false) if leftover.is_some() => {
            tracing::warn!(table = leftover, "rows of a deleted tenant are left");
            Desired::Archived
        }
        (false, false) => named,
    })
}

fn not_protected(table: &str) -> Failure {
    Failure::permanent(format!(
        "a table is no longer as `tenancy.protect` makes it: {table}; run that for it again, and drop policies that let \
         more through"
    ))
}

#[async_trait]
impl Participant for Postgres {
    async fn apply(&self, tenant: &TenantRef, desired: Desired, generation: u64) -> Result<(), Failure> {
        access::in_time(self.deadline, self.converge(tenant, desired, generation)).await
    }

    async fn observe(&self, tenant: &TenantRef) -> Result<Observed, Failure> {
        access::in_time(self.deadline, self.look(tenant)).await
    }

    fn concurrent_max(&self) -> Option<usize> {
        Some(self.pool.status().max_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(reads: bool, writes: bool) -> Seen {
        Seen { reads, writes, visible: None }
    }

    #[test]
    fn the_state_is_what_a_client_meets_and_not_what_the_row_says() {
        for named in Desired::ALL {
            assert_eq!(state(named, &seen(true, true), None, None), Ok(Desired::Active), "{named}");
            assert_eq!(state(named, &seen(true, false), None, None), Ok(Desired::ReadOnly), "{named}");
            assert!(state(named, &seen(false, true), None, None).is_err(), "{named}");
            let leak = Seen { visible: Some("document".to_owned()), ..seen(false, false) };
            assert_eq!(state(named, &leak, None, None), Ok(Desired::ReadOnly), "{named}");
            let open = state(named, &seen(false, false), Some("document (policy open)"), None);
            assert_ne!(open, Ok(named), "{named}");
        }
        assert_eq!(state(Desired::Active, &seen(false, false), None, None), Ok(Desired::Suspended));
        assert_eq!(state(Desired::Archived, &seen(false, false), None, None), Ok(Desired::Archived));
        assert_eq!(state(Desired::Deleted, &seen(false, false), None, None), Ok(Desired::Deleted));
        assert_eq!(
            state(Desired::Deleted, &seen(false, false), None, Some("document")),
            Ok(Desired::Archived)
        );
    }
}

//! Row-level security in an application's database: an access row that the policies of every table ask.
//!
//! Reading back means being an ordinary client: become the application's role, claim the tenant, and see what the
//! policies let through. That client is a new one; what those see that came before the change is in `old`. What it needs in
//! the database is `sql/install/schema.sql`.

mod awaited;
mod client;
mod old;
mod purge;
mod rights;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use deadpool_postgres::{Object, Pool};
use tokio::sync::Mutex;
use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;

use self::client::{Seen, learn_names, not_ours, probe, with_lockers};
use super::access::{self, failure};
use super::{Failure, Observed, Participant, TenantRef};
use crate::config;
use crate::domain::lifecycle::Desired;

/// Said where no table of the application follows.
const NO_TABLE: &str = "no table is protected here, so nothing of the application follows the tenant's state: run `SELECT \
                        tenancy.protect('schema.table')` for each table with tenants' rows";

/// Said of a tenant that is not to be called unknown. Whatever its client gets, it is drift: nothing there tells a late call from the
/// newest.
const NO_ROW: &str = "the database has rows of the tenant and no access row for it, which a repair or any other change of the \
                      tenant writes";

/// The target.
pub struct Postgres {
    pool: Pool,
    role: String,
    install: bool,
    ends_transactions: bool,
    batch: u32,
    deadline: Duration,
    /// Whether the database was seen to have what this needs.
    ready: Mutex<bool>,
    batches: purge::Batches,
    waited_for: awaited::Remembered,
    rights: rights::Found,
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
            ready: Mutex::new(false),
            batches: purge::Batches::default(),
            waited_for: awaited::Remembered::default(),
            rights: rights::Found::new(settings.rights_age),
        }
    }

    /// A connection to a database that has what this needs.
    async fn connection(&self) -> Result<Object, Failure> {
        let client = access::connection(&self.pool).await?;
        let mut ready = self.ready.lock().await;
        if !*ready {
            self.prepare(&client).await?;
            *ready = true;
        }
        Ok(client)
    }

    /// After a failure: somebody may have dropped the schema, or put an empty database in the place of this one.
    async fn doubt(&self) {
        let Ok(client) = access::connection(&self.pool).await else { return };
        let known = client.query_one(include_str!("../sql/install/known.sql"), &[]).await;
        if known.is_ok_and(|known| !known.get::<_, bool>(0)) {
            *self.ready.lock().await = false;
        }
    }

    /// Does work in time. With whoever holds a lock named where that is what it failed for.
    async fn doing<T: Send>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<T, Failure> {
        let work = async {
            let ended = with_lockers(&self.pool, work.await).await;
            if ended.is_err() {
                self.doubt().await;
            }
            ended
        };
        access::in_time(self.deadline, work).await
    }

    /// Looked at once a process, and after a failure. With `install` the schema is written again, which brings an older one up to date.
    async fn prepare(&self, client: &Object) -> Result<(), Failure> {
        if self.install {
            let schema = client.batch_execute(include_str!("../sql/install/schema.sql")).await;
            schema.map_err(not_installed)?;
            let admitted = client.execute(include_str!("../sql/install/admit.sql"), &[&self.role]).await;
            return admitted.map(drop).map_err(not_installed);
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
        if desired != Desired::Deleted {
            comes_upon_nothing(&transaction, tenant).await?;
        }
        access::grant(&*transaction, tenant, desired, generation).await?;
        transaction.commit().await.map_err(failure)?;
        if desired != Desired::Active {
            let patience = old::Patience { role: &self.role, ends: self.ends_transactions, until };
            old::wait(&client, tenant, generation, &self.waited_for, patience).await?;
        }
        if desired == Desired::Deleted {
            let pace = purge::Pace { batch: self.batch, until, grace: self.deadline.mul_f64(0.1) };
            purge::rows(&mut client, tenant, generation, &self.batches, pace).await?;
        }
        let ((), rights) = tokio::try_join!(learn_names(&**client), self.rights.now(&**client, &self.role))?;
        match rights.opened {
            Some(why) => Err(Failure::permanent(why)),
            None => Ok(()),
        }
    }

    async fn look(&self, tenant: &TenantRef) -> Result<Observed, Failure> {
        let mut client = self.connection().await?;
        let rights = self.rights.lately(&**client, &self.role).await?;
        let seen = self.meet(&mut client, tenant, rights.opened).await?;
        Ok(if rights.is_bare { seen.with_unproven(NO_TABLE) } else { seen })
    }

    /// What an ordinary client of the tenant meets. Where something is `opened`, no table is touched, and ours neither.
    async fn meet(
        &self,
        client: &mut Object,
        tenant: &TenantRef,
        opened: Option<String>,
    ) -> Result<Observed, Failure> {
        let transaction = client.transaction().await.map_err(failure)?;
        let found = access::find(&*transaction, tenant).await?;
        if found.is_none()
            && let Some(other) = access::other(&*transaction, tenant).await?
            && let Some(successor) = other.successor(tenant)
        {
            return Ok(successor.leaves(None));
        }
        let (former, remains) = match found {
            _ if opened.is_some() => (None, None),
            Some((Desired::Deleted, _)) => (None, purge::remains(&transaction, tenant).await?),
            Some(_) => (None, None),
            None => (former(&transaction, tenant).await?, purge::remains(&transaction, tenant).await?),
        };
        if found.is_none() && former.is_none() && remains.is_none() && opened.is_none() {
            // Nothing is known of it only where nothing of it is left.
            return Ok(Observed::UNKNOWN_TENANT);
        }
        let seen = match opened {
            None => probe(&transaction, tenant, &self.role).await?,
            Some(_) => Seen::default(),
        };
        transaction.rollback().await.map_err(failure)?;
        let Some((named, generation)) = found else {
            // Without a row nobody is to be let in. Policies ask for the id: what a former one may, this one may.
            let (state, amiss) = state(Desired::Suspended, &seen, opened, None);
            let why = amiss.unwrap_or_else(|| match former {
                Some(former) => former.stays(tenant),
                None => NO_ROW.to_owned(),
            });
            return Ok(Observed::effect(state, 0).with_amiss(Some(why)));
        };
        let (state, amiss) = state(named, &seen, opened, remains.as_deref());
        Ok(Observed::effect(state, generation).with_asked(Some(named)).with_amiss(amiss))
    }
}

/// A tenant that had this id before and was not purged here, or whose rows are here again.
async fn former(transaction: &Transaction<'_>, tenant: &TenantRef) -> Result<Option<access::Other>, Failure> {
    let Some(other) = access::other(transaction, tenant).await?.filter(access::Other::is_former) else {
        return Ok(None);
    };
    let stays = !other.is_purged() || purge::remains(transaction, tenant).await?.is_some();
    Ok(stays.then_some(other))
}

/// Whoever takes an id over must not see the rows of the one before. Rows of an id that this database has never heard of are
/// an application's that had tenants before us.
async fn comes_upon_nothing(transaction: &Transaction<'_>, tenant: &TenantRef) -> Result<(), Failure> {
    match former(transaction, tenant).await? {
        Some(former) => Err(Failure::permanent(former.stays(tenant))),
        None => Ok(()),
    }
}

/// What is denied while the schema is made is another right than what a change needs.
fn not_installed(error: tokio_postgres::Error) -> Failure {
    if let Some(not_ours) = not_ours(&error) {
        return not_ours;
    }
    if error.code() != Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
        return failure(error);
    }
    Failure::permanent(format!(
        "the schema `tenancy` cannot be made or brought up to date ({}): with `install` our database user needs CREATE on the \
         database and CREATEROLE, and must own the schema where it is there already",
        access::denied(&error)
    ))
}

/// What an ordinary client meets, whatever the row says; and what is wrong beside that.
fn state(
    named: Desired,
    seen: &Seen,
    opened: Option<String>,
    leftover: Option<&str>,
) -> (Desired, Option<String>) {
    if let Some(why) = opened {
        // A tenant that has all access has too much: what is others'.
        let state = match named {
            Desired::Active | Desired::ReadOnly => Desired::Active,
            _ => Desired::ReadOnly,
        };
        return (state, Some(why));
    }
    if let Some(table) = &seen.visible {
        let why = format!(
            "rows of {table} can be seen although the tenant is locked out: look at the policies of that table, or run \
             `tenancy.protect` for it"
        );
        return (Desired::ReadOnly, Some(why));
    }
    match (seen.reads, seen.writes) {
        (true, true) => (Desired::Active, None),
        (true, false) => (Desired::ReadOnly, None),
        (false, true) => {
            let why = "a write passes although nothing can be read: `tenancy.resolve` is no longer as the schema makes it; run \
                       that again (with `install = true` a start does), then retry";
            (Desired::Active, Some(why.to_owned()))
        }
        // Nothing passes: which kind of nothing, only the row and what is left can say.
        (false, false) if matches!(named, Desired::Active | Desired::ReadOnly) => (Desired::Suspended, None),
        (false, false) => match leftover {
            Some(table) => {
                (Desired::Archived, Some(format!("rows of the deleted tenant are left in {table}")))
            }
            None => (named, None),
        },
    }
}

#[async_trait]
impl Participant for Postgres {
    async fn apply(&self, tenant: &TenantRef, desired: Desired, generation: u64) -> Result<(), Failure> {
        self.doing(self.converge(tenant, desired, generation)).await
    }

    async fn observe(&self, tenant: &TenantRef) -> Result<Observed, Failure> {
        self.doing(self.look(tenant)).await
    }

    async fn until_worth_trying(&self, tenant: &TenantRef, generation: u64) {
        // What cannot be looked at, the next attempt says.
        let gone = self.waited_for.until_gone(&self.pool, tenant, generation, self.ends_transactions).await;
        gone.unwrap_or_default();
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

    /// The state alone, where nothing else is wrong.
    fn met(named: Desired, reads: bool, writes: bool) -> Desired {
        let (state, amiss) = state(named, &seen(reads, writes), None, None);
        assert_eq!(amiss, None);
        state
    }

    #[test]
    fn the_state_is_what_a_client_meets_and_not_what_the_row_says() {
        for named in Desired::ALL {
            assert_eq!(met(named, true, true), Desired::Active, "{named}");
            assert_eq!(met(named, true, false), Desired::ReadOnly, "{named}");
            let (met, amiss) = state(named, &seen(false, true), None, None);
            assert_eq!((met, amiss.is_some()), (Desired::Active, true), "{named}");
        }
        assert_eq!(met(Desired::Active, false, false), Desired::Suspended);
        assert_eq!(met(Desired::Archived, false, false), Desired::Archived);
        assert_eq!(met(Desired::Deleted, false, false), Desired::Deleted);
    }

    #[test]
    fn what_keeps_a_tenant_from_being_as_it_should_be_is_named_in_whatever_state_it_is() {
        let leak = Seen { visible: Some("document".to_owned()), ..seen(false, false) };
        for named in Desired::ALL {
            let (met, amiss) = state(named, &leak, None, None);
            assert_eq!(
                (met, amiss.unwrap().contains("rows of document")),
                (Desired::ReadOnly, true),
                "{named}"
            );
            let (met, amiss) = state(
                named,
                &seen(named == Desired::Active, named == Desired::Active),
                Some("document (policy open)".to_owned()),
                None,
            );
            assert_eq!(met == named, named == Desired::Active, "{named}");
            assert!(amiss.unwrap().contains("document (policy open)"), "{named}");
        }
        let (met, amiss) = state(Desired::Deleted, &seen(false, false), None, Some("document"));
        assert_eq!((met, amiss.unwrap().contains("document")), (Desired::Archived, true));
    }
}

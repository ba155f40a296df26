//! An object store that speaks S3: a bucket's policy denies the tenant's principals.
//!
//! Each tenant has a prefix of a shared bucket, or a bucket of its own. A stored policy is not an effect: where there is
//! a credential of the tenant, reading back means using it, and where there is none, the answer says that only the
//! policy was read.
//!
//! | state | in the object store |
//! |---|---|
//! | Active | no denial |
//! | ReadOnly | changes are denied to the tenant's principals |
//! | Suspended | everything is denied to the tenant's principals in the bucket |
//! | Archived | as Suspended, and tagged |
//! | Deleted | objects, versions, delete markers and unfinished uploads gone, then the denial, the record, the own bucket |

mod bucket;
mod client;
mod credentials;
mod desk;
mod fault;
mod lock;
mod place;
mod policy;
mod probe;
mod purge;
mod record;
mod roster;
mod stamp;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use deadpool_postgres::Pool;

use self::credentials::CredentialsFile;
use self::desk::{Desk, Edit};
use self::lock::Lock;
use self::place::Place;
use self::policy::Denial;
use self::probe::{Access, Prober};
use self::purge::Bounds;
use self::record::Record;
use super::{Failure, Observed, Participant, TenantRef};
use crate::config::targets::Endpoint;
use crate::config::targets::s3::{Deny, S3 as Settings};
use crate::domain::lifecycle::Desired;

/// Time that a removal leaves of its attempt for what comes after it.
const AFTER_PURGE: Duration = Duration::from_millis(500);

/// The target.
pub struct S3 {
    settings: Settings,
    client: Client,
    desk: Desk,
    prober: Arc<Prober>,
    deadline: Duration,
}

impl S3 {
    /// A target; one call to the store may take `deadline`. Replicas that edit the same buckets take turns by `pool`, the
    /// registry's database; without one, this process must be the only one.
    pub fn new(settings: Settings, deadline: Duration, pool: Option<Pool>) -> Self {
        let (client, clock) = client::connect(&settings, deadline);
        let credentials = settings.probe_credentials.clone().map(CredentialsFile::new);
        let neighbour = settings.neighbour_key.clone();
        let prober = Arc::new(Prober::new(client.clone(), credentials, neighbour));
        let store = settings.endpoint.as_ref().map_or_else(|| "aws".to_owned(), Endpoint::masked);
        // A round is several calls, and one that hangs is to be told from one that was never begun.
        let turn = deadline * 2;
        let lock = Lock::new(pool, store, turn, clock);
        let Deny::Principals(principals) = settings.deny.clone();
        let bounds = desk::Bounds { policy: settings.policy_bytes_max as usize, turn, principals };
        let desk = Desk::new(client.clone(), lock, Arc::clone(&prober), bounds);
        Self { settings, client, desk, prober, deadline }
    }

    /// Brings the policy and the record to a state in which data stays.
    async fn keep(
        &self,
        tenant: &TenantRef,
        place: Place,
        state: Desired,
        generation: u64,
    ) -> Result<(), Failure> {
        if place.own_bucket {
            // Only AWS itself has more than one place.
            let region = self.settings.endpoint.is_none().then_some(self.settings.region.as_str());
            bucket::make(&self.client, &place.record_bucket, region).await?;
            bucket::make(&self.client, &place.bucket, region).await?;
        }
        let record = Some(Record { tenant_id: tenant.tenant_id.to_string(), state, generation });
        let edit = Edit { place: place.clone(), denial: denial(state), generation, record };
        self.desk.submit(edit).await?;
        if place.own_bucket {
            // Only now: an old change was refused above.
            bucket::tag(&self.client, &place.bucket, state).await?;
        }
        Ok(())
    }

    /// Denies first, so that nothing comes while things go; then removes; then forgets.
    async fn remove(&self, tenant: &TenantRef, place: Place, generation: u64) -> Result<(), Failure> {
        let bounds = Bounds {
            deadline: Instant::now() + self.deadline.saturating_sub(AFTER_PURGE),
            count: self.settings.purge_max as usize,
        };
        if !place.own_bucket || bucket::exists(&self.client, &place.bucket).await? {
            let known = self.record(&place).await?;
            // Until all is gone, it is what it was.
            let state = known.map_or(Desired::Suspended, |record| record.state).max(Desired::Suspended);
            let record = Some(Record { tenant_id: tenant.tenant_id.to_string(), state, generation });
            let denial = Some(Denial::Everything);
            self.desk.submit(Edit { place: place.clone(), denial, generation, record }).await?;
            purge::purge(&self.client, &place, bounds).await?;
        }
        if place.own_bucket {
            // Its policy goes with it.
            bucket::remove(&self.client, &place.bucket).await?;
            return record::remove(&self.client, &place).await;
        }
        self.desk.submit(Edit { place, denial: None, generation, record: None }).await
    }

    async fn record(&self, place: &Place) -> Result<Option<Record>, Failure> {
        let record = record::read(&self.client, place).await;
        record.map_err(|fault| fault.failing("the tenant's record cannot be read"))
    }

    /// The state by name, as far as what is stored supports it.
    async fn named(&self, place: &Place, record: Option<&Record>) -> Result<Option<Desired>, Failure> {
        let named = record.map(|record| record.state);
        if named == Some(Desired::Archived)
            && place.own_bucket
            && !bucket::is_archived(&self.client, &place.bucket).await?
        {
            return Ok(Some(Desired::Suspended));
        }
        Ok(named)
    }
}

#[async_trait]
impl Participant for S3 {
    async fn apply(&self, tenant: &TenantRef, desired: Desired, generation: u64) -> Result<(), Failure> {
        let place = Place::of(&self.settings, tenant)?;
        match desired {
            Desired::Deleted => self.remove(tenant, place, generation).await,
            state => self.keep(tenant, place, state, generation).await,
        }
    }

    async fn observe(&self, tenant: &TenantRef) -> Result<Observed, Failure> {
        let place = Place::of(&self.settings, tenant)?;
        let record = self.record(&place).await?;
        if place.own_bucket && !bucket::exists(&self.client, &place.bucket).await? {
            return Ok(Observed::UNKNOWN_TENANT);
        }
        let policy = desk::read_policy(&self.client, &place.bucket).await?;
        let known = record.is_some() || policy.names(&place.principals);
        if !known && purge::is_empty(&self.client, &place).await? {
            return Ok(Observed::UNKNOWN_TENANT);
        }
        let stored = policy.denial(&place.principals);
        let seen = self.prober.access(&tenant.tenant_id, &place).await?;
        let named = self.named(&place, record.as_ref()).await?;
        let state = state_of(stored, seen, named)?;
        let generation = record.map_or(0, |record| record.generation);
        Ok(match seen {
            Some(_) => Observed::effect(state, generation),
            None => Observed::policy(state, generation),
        })
    }
}

const fn denial(state: Desired) -> Option<Denial> {
    match state {
        Desired::Active => None,
        Desired::ReadOnly => Some(Denial::Writes),
        Desired::Suspended | Desired::Archived | Desired::Deleted => Some(Denial::Everything),
    }
}

/// The state that an ordinary client would find the tenant in. Where a client was tried, what it got decides; that it
/// was refused counts only while something of ours refuses it, because a lost right comes back when somebody mends it.
fn state_of(
    stored: Option<Denial>,
    seen: Option<Access>,
    named: Option<Desired>,
) -> Result<Desired, Failure> {
    let from_policy = match stored {
        None => Access::Full,
        Some(Denial::Writes) => Access::ReadOnly,
        Some(Denial::Everything) => Access::None,
    };
    match seen.unwrap_or(from_policy) {
        access if access < from_policy => Err(Failure::retryable(
            "the tenant's credential is refused what nothing of ours denies: its own rights are missing",
        )),
        Access::Full => Ok(Desired::Active),
        Access::ReadOnly => Ok(Desired::ReadOnly),
        // Nothing passes: which kind of nothing, only the record can say.
        Access::None => Ok(named.filter(|state| *state == Desired::Archived).unwrap_or(Desired::Suspended)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_got_decides_over_what_is_stored() {
        for (stored, seen, named, state) in [
            (None, None, Some(Desired::Active), Desired::Active),
            (None, Some(Access::Full), None, Desired::Active),
            // A policy without effect.
            (Some(Denial::Everything), Some(Access::Full), Some(Desired::Suspended), Desired::Active),
            (Some(Denial::Everything), Some(Access::ReadOnly), Some(Desired::Archived), Desired::ReadOnly),
            (Some(Denial::Everything), Some(Access::None), Some(Desired::Archived), Desired::Archived),
            (Some(Denial::Everything), None, Some(Desired::Suspended), Desired::Suspended),
            // Half-way: the denial is there, the record not yet.
            (Some(Denial::Everything), None, Some(Desired::Active), Desired::Suspended),
            (Some(Denial::Writes), Some(Access::ReadOnly), Some(Desired::ReadOnly), Desired::ReadOnly),
            // Somebody took the denial away by hand.
            (None, None, Some(Desired::Suspended), Desired::Active),
        ] {
            assert_eq!(state_of(stored, seen, named), Ok(state), "{stored:?} {seen:?} {named:?}");
        }
    }

    #[test]
    fn a_refusal_that_is_not_ours_proves_nothing() {
        for (stored, seen) in
            [(None, Access::None), (None, Access::ReadOnly), (Some(Denial::Writes), Access::None)]
        {
            assert!(state_of(stored, Some(seen), Some(Desired::Suspended)).is_err(), "{stored:?} {seen:?}");
        }
    }
}

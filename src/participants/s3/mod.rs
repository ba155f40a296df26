//! An object store that speaks S3: a bucket's policy denies the tenant's principals.
//!
//! Each tenant has a prefix of a shared bucket, or a bucket of its own. A stored policy is not an effect: where there is
//! a credential of the tenant, reading back means using it, and where there is none, the answer says that only the
//! policy was read.
//!
//! | state | in the object store |
//! |---|---|
//! | Active | no denial |
//! | `ReadOnly` | changes are denied to the tenant's principals |
//! | Suspended | everything is denied to the tenant's principals in the bucket |
//! | Archived | as Suspended, and tagged |
//! | Deleted | objects, versions, delete markers, unfinished uploads gone; denial and record stay. Or: no own bucket |
//!
//! A purge does not revoke a key. Until the operator has done that, and takes the record and the principal in our statement
//! away by hand, it stays refused; a new tenant of the same principal, which is brought to Active, takes it out too.

mod bucket;
mod claims;
mod client;
mod credentials;
mod desk;
mod doubts;
mod fault;
mod lock;
mod place;
mod policy;
mod probe;
mod purge;
mod record;
mod roster;
mod round;
mod stamp;
mod unsaid;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use deadpool_postgres::Pool;
use uuid::Uuid;

use self::credentials::CredentialsFile;
use self::desk::{Desk, Edit};
use self::lock::Lock;
use self::place::Place;
use self::policy::{Denial, Foreign, Policy};
use self::probe::{Access, Prober};
use self::purge::Bounds;
use self::record::Record;
use super::{Failure, FailureKind, Observed, Participant, TenantRef};
use crate::config::targets::Endpoint;
use crate::config::targets::s3::{Deny, S3 as Settings};
use crate::domain::lifecycle::Desired;
use crate::domain::text::quote;

/// Time that a removal leaves of its attempt for what comes after it.
const AFTER_PURGE: Duration = Duration::from_millis(500);

/// The target.
pub struct S3 {
    settings: Settings,
    client: Client,
    desk: Desk,
    prober: Arc<Prober>,
    deadline: Duration,
    /// By tenant: of which generation the last attempt was that hung on writes which may still arrive.
    hung: Mutex<HashMap<Uuid, u64>>,
}

impl S3 {
    /// Connections of the pool that are used at once: for each bucket whose policy is edited, one that holds the lock and one that tells of
    /// it.
    pub const CONNECTIONS_MAX: usize = 2 * desk::BUCKETS_MAX;

    /// A target; one call to the store may take `deadline`. Replicas that edit the same buckets take turns by `pool`, the
    /// registry's database; without one, this process must be the only one.
    pub fn new(settings: Settings, deadline: Duration, pool: Option<Pool>) -> Self {
        let (client, clock) = client::connect(&settings, deadline);
        let credentials = settings.probe_credentials.clone().map(CredentialsFile::new);
        let neighbour = settings.neighbour_key.clone();
        let prober = Arc::new(Prober::new(
            client.clone(),
            client::anybody(&settings, deadline),
            credentials,
            neighbour,
        ));
        let store = settings.endpoint.as_ref().map_or_else(|| "aws".to_owned(), Endpoint::masked);
        // A round is several calls, and one that hangs is to be told from one that was never begun.
        let turn = deadline * 2;
        let lock = Lock::new(pool, store, turn, clock);
        let Deny::Principals(principals) = settings.deny.clone();
        let bounds = desk::Bounds { policy: settings.policy_bytes_max as usize, turn, principals };
        let desk = Desk::new(client.clone(), lock, Arc::clone(&prober), bounds);
        Self { settings, client, desk, prober, deadline, hung: Mutex::default() }
    }

    fn hung(&self) -> MutexGuard<'_, HashMap<Uuid, u64>> {
        self.hung.lock().unwrap_or_else(PoisonError::into_inner)
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
        let record = Record { tenant_id: tenant.tenant_id.to_string(), state, generation };
        let edit = Edit { place: place.clone(), denial: denial(state), record };
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
            let is_under_way =
                |known: &Record| known.generation == generation && known.state != Desired::Deleted;
            if !known.as_ref().is_some_and(is_under_way) {
                let Deny::Principals(principals) = &self.settings.deny;
                claims::check_unclaimed(&self.client, &place, principals).await?;
            }
            // Until all is gone, it is what it was.
            let state = known.map_or(Desired::Suspended, |record| record.state).max(Desired::Suspended);
            let record = Record { tenant_id: tenant.tenant_id.to_string(), state, generation };
            let denial = Some(Denial::Everything);
            self.desk.submit(Edit { place: place.clone(), denial, record }).await?;
            if place.own_bucket
                && let Some(guest) = roster::living_guest(&self.client, &place).await?
            {
                return Err(Failure::permanent(format!(
                    "the bucket {} is not this tenant's alone: it holds the record of the tenant {}, which a target with \
                     layout = \"prefix\" keeps there; nothing was removed: move and purge that tenant, then retry",
                    place.bucket,
                    quote(&guest)
                )));
            }
            purge::purge(&self.client, &place, bounds).await?;
        }
        if place.own_bucket {
            // Its policy goes with it, and what a key opens.
            bucket::remove(&self.client, &place.bucket).await?;
            return record::remove(&self.client, &place).await;
        }
        // Its data is gone, its keys are not: they stay refused, or they would fill the prefix anew.
        let record = Record { tenant_id: tenant.tenant_id.to_string(), state: Desired::Deleted, generation };
        self.desk.submit(Edit { place: place.clone(), denial: Some(Denial::Everything), record }).await?;
        claims::drop_all(&self.client, &place).await
    }

    /// What is found of a tenant whose data was removed: that nothing is there, and that nothing can come.
    async fn purged(
        &self,
        tenant: &TenantRef,
        place: &Place,
        standing: Standing,
        generation: u64,
    ) -> Result<Observed, Failure> {
        let seen = self.prober.lets_in_the_purged(&tenant.tenant_id, place).await?;
        let is_let_in = seen == Some(true) || !standing.is_written_for(Some(Desired::Deleted));
        let state = if is_let_in {
            Desired::Active
        } else if purge::is_empty(&self.client, place).await? {
            Desired::Deleted
        } else {
            Desired::Suspended
        };
        Ok(match seen {
            Some(_) => Observed::effect(state, generation),
            None => Observed::policy(state, generation),
        })
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
        if desired == Desired::Active
            && let Some(why) = place::is_anothers(&self.settings, &place)
        {
            // To shut it out, and to remove what is below its prefix, hurts nobody.
            return Err(Failure::permanent(why));
        }
        let outcome = match desired {
            Desired::Deleted => self.remove(tenant, place, generation).await,
            state => self.keep(tenant, place, state, generation).await,
        };
        if outcome.as_ref().is_err_and(|failure| failure.kind == FailureKind::Waiting) {
            self.hung().insert(tenant.uid, generation);
        }
        outcome
    }

    async fn until_worth_trying(&self, tenant: &TenantRef, generation: u64) {
        let has_hung = self.hung().remove(&tenant.uid) == Some(generation);
        if has_hung
            && let Ok(place) = Place::of(&self.settings, tenant)
            && let Some(until) = self.desk.doubt(&place.bucket)
        {
            tokio::time::sleep_until(until.into()).await;
        }
    }

    async fn observe(&self, tenant: &TenantRef) -> Result<Observed, Failure> {
        let place = Place::of(&self.settings, tenant)?;
        let (record, claims) = tokio::try_join!(self.record(&place), claims::look(&self.client, &place))?;
        if let Some(rival) = claims.rival {
            return Ok(rival.leaves(record.map(|record| (record.state, record.generation))));
        }
        if record.as_ref().is_some_and(|record| record.state != Desired::Deleted) {
            claims::make(&self.client, &place, &claims.missing).await?;
        }
        if place.own_bucket && !bucket::exists(&self.client, &place.bucket).await? {
            return Ok(Observed::UNKNOWN_TENANT);
        }
        let policy = desk::read_policy(&self.client, &place.bucket).await?;
        let standing = Standing::of(&policy, &place);
        if record.is_none() && !standing.is_named && purge::is_empty(&self.client, &place).await? {
            return Ok(Observed::UNKNOWN_TENANT);
        }
        let generation = record.as_ref().map_or(0, |record| record.generation);
        if record.as_ref().is_some_and(|record| record.state == Desired::Deleted) {
            return self.purged(tenant, &place, standing, generation).await;
        }
        let named = self.named(&place, record.as_ref()).await?;
        let is_to_serve = named == Some(Desired::Active);
        let seen = self.prober.access(&tenant.tenant_id, &place, is_to_serve).await?;
        let foreign = policy.foreign_denial(&place.principals);
        let state = state_of(standing, seen, named).map_err(|failure| match &foreign {
            Some(foreign) => {
                Failure { message: format!("{}; {}", failure.message, denied_by(foreign)), ..failure }
            }
            None => failure,
        });
        let (mut state, mut amiss) = (state?, None);
        if matches!(state, Desired::Suspended | Desired::Archived) {
            amiss = self.prober.is_public(&place).await?;
            if amiss.is_some() {
                state = Desired::ReadOnly;
            }
        } else if state == Desired::Active {
            amiss = place::is_anothers(&self.settings, &place);
        }
        let wanted = named.map_or(Access::None, |state| left_by(denial(state)));
        if seen.is_none()
            && let Some(foreign) = foreign.filter(|foreign| left_by(foreign.copies) < wanted)
        {
            state = met(left_by(foreign.copies), named);
            amiss = Some(denied_by(&foreign));
        }
        let found = match seen {
            Some(_) => Observed::effect(state, generation),
            None => Observed::policy(state, generation),
        };
        let found = found.with_asked(record.map(|record| record.state)).with_amiss(amiss);
        if standing.denial.is_none() {
            return Ok(found);
        }
        let unproven = self.prober.neighbour(&place.bucket).await?.unproven();
        Ok(unproven.into_iter().fold(found, |found, why| found.with_unproven(&why)))
    }
}

const fn denial(state: Desired) -> Option<Denial> {
    match state {
        Desired::Active => None,
        Desired::ReadOnly => Some(Denial::Writes),
        Desired::Suspended | Desired::Archived | Desired::Deleted => Some(Denial::Everything),
    }
}

/// What stands in the bucket's policy of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    /// What is denied to all of its principals, by a statement as we write it.
    denial: Option<Denial>,
    /// Whether one of its principals is named in a statement of ours, whole or not.
    is_named: bool,
    /// Whether our statements stand just as we write them.
    is_intact: bool,
}

impl Standing {
    fn of(policy: &Policy, place: &Place) -> Self {
        Self {
            denial: policy.denial(&place.principals),
            is_named: policy.names(&place.principals),
            is_intact: policy.is_intact(),
        }
    }

    /// Whether this is what we wrote for the state. Without a record, nobody knows what that was.
    fn is_written_for(self, named: Option<Desired>) -> bool {
        let is_ours = self.is_intact || !self.is_named;
        // Whoever is let in has no principal that is denied.
        let says = |state| denial(state) == self.denial && self.is_named == self.denial.is_some();
        is_ours && named.is_none_or(says)
    }
}

/// That somebody else denies the tenant what it is to have.
fn denied_by(foreign: &Foreign) -> String {
    format!(
        "the statement {} in the bucket's policy denies the tenant's principals what nothing of ours denies, and is not \
         Tenantry's to change: take them out of it",
        quote(&foreign.sid)
    )
}

const fn left_by(denial: Option<Denial>) -> Access {
    match denial {
        None => Access::Full,
        Some(Denial::Writes) => Access::ReadOnly,
        Some(Denial::Everything) => Access::None,
    }
}

/// The state that an ordinary client would find the tenant in. Where a client was tried, what it got decides; that it
/// was refused counts only while something of ours refuses it, because a lost right comes back when somebody mends it.
/// Where the policy does not say what we wrote, it is never the state that we wrote, whatever a client gets today.
fn state_of(standing: Standing, seen: Option<Access>, named: Option<Desired>) -> Result<Desired, Failure> {
    let promised = left_by(standing.denial);
    let got = seen.unwrap_or(promised);
    if !standing.is_written_for(named) {
        let wanted = named.map(|state| left_by(denial(state)));
        let differs = [got, promised].into_iter().find(|access| Some(*access) != wanted);
        return Ok(met(differs.unwrap_or(Access::None), None));
    }
    // A statement that was altered may deny to anybody.
    if got < promised && standing.is_intact {
        return Err(Failure::retryable(
            "the tenant's credential is refused what nothing of ours denies: its own rights are missing",
        ));
    }
    Ok(met(got, named))
}

/// The state of a client that gets so much.
fn met(access: Access, named: Option<Desired>) -> Desired {
    match access {
        Access::Full => Desired::Active,
        Access::ReadOnly => Desired::ReadOnly,
        // Nothing passes: which kind of nothing, only the record can say.
        Access::None => named.filter(|state| *state == Desired::Archived).unwrap_or(Desired::Suspended),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Option<Denial> = Some(Denial::Everything);
    const WRITES: Option<Denial> = Some(Denial::Writes);
    const KEPT: [Desired; 4] = [Desired::Active, Desired::ReadOnly, Desired::Suspended, Desired::Archived];
    const SEEN: [Option<Access>; 4] = [None, Some(Access::None), Some(Access::ReadOnly), Some(Access::Full)];

    const fn whole(denial: Option<Denial>) -> Standing {
        Standing { denial, is_named: denial.is_some(), is_intact: true }
    }

    #[test]
    fn what_a_client_got_decides_over_what_is_stored() {
        for (stored, seen, named, state) in [
            (None, None, Some(Desired::Active), Desired::Active),
            (None, Some(Access::Full), None, Desired::Active),
            // A policy without effect.
            (ALL, Some(Access::Full), Some(Desired::Suspended), Desired::Active),
            (ALL, Some(Access::ReadOnly), Some(Desired::Archived), Desired::ReadOnly),
            (ALL, Some(Access::None), Some(Desired::Archived), Desired::Archived),
            (ALL, None, Some(Desired::Suspended), Desired::Suspended),
            // Half-way: the denial is there, the record not yet.
            (ALL, None, Some(Desired::Active), Desired::Suspended),
            (WRITES, Some(Access::ReadOnly), Some(Desired::ReadOnly), Desired::ReadOnly),
            // Somebody took the denial away by hand.
            (None, None, Some(Desired::Suspended), Desired::Active),
        ] {
            assert_eq!(state_of(whole(stored), seen, named), Ok(state), "{stored:?} {seen:?} {named:?}");
        }
    }

    #[test]
    fn a_refusal_that_is_not_ours_proves_nothing() {
        for (stored, seen, named) in [
            (None, Access::None, Some(Desired::Active)),
            (None, Access::ReadOnly, None),
            (WRITES, Access::None, Some(Desired::ReadOnly)),
        ] {
            let seen = state_of(whole(stored), Some(seen), named);
            assert!(seen.is_err(), "{stored:?} {named:?}: {seen:?}");
        }
    }

    #[test]
    fn what_is_not_as_we_wrote_it_is_never_the_state_that_we_wrote() {
        let altered = Standing { denial: None, is_named: true, is_intact: false };
        // One of two principals is denied.
        let half = Standing { is_intact: true, ..altered };
        for wanted in KEPT {
            let others = [None, WRITES, ALL].into_iter().filter(|stored| *stored != denial(wanted));
            for standing in others.map(whole).chain([altered, half]) {
                for seen in SEEN {
                    let state = state_of(standing, seen, Some(wanted));
                    assert!(
                        state.as_ref().is_ok_and(|state| *state != wanted),
                        "{standing:?} {seen:?}: {state:?}"
                    );
                }
            }
        }
        // A statement that somebody made to deny everybody names nobody.
        let everybody = Standing { is_named: false, ..altered };
        let seen = state_of(everybody, Some(Access::None), Some(Desired::Active));
        assert_eq!(seen, Ok(Desired::Suspended));
    }
}

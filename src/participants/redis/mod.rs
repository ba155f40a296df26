//! A cache in Redis or Valkey, one server or a cluster.
//!
//! Three things follow a tenant's state. A status record that applications ask before they serve the tenant; it also
//! holds the generation, by which older calls are refused. The keys under the tenant's prefix, which are gone while the
//! tenant is locked out. And, where tenants have users of their own, what those users may do: that is enforced by the
//! server itself, so only then is a state verified by its effect.
//!
//! A state is seen only where all of them agree on it: the record, the keys, and the user at every node. Every node is
//! every one that the cluster knows: also a replica, and one that failed, since it may come back and be promoted with the
//! user as it was.

mod claims;
mod keys;
mod layout;
mod login;
mod nodes;
mod record;
mod state;
mod user;

use std::future::Future;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use self::claims::Claims;
use self::keys::Keys;
use self::nodes::Nodes;
use self::record::{Held, Records};
use self::state::state_of;
use self::user::Users;
use super::{Failure, Observed, Participant, TenantRef, Unusable};
use crate::config;
use crate::domain::lifecycle::{Desired, Verification};
use crate::domain::operation::is_explained;

/// How often a call looks again whether a newer one came between: each round loses only to another call.
const ROUNDS_MAX: u32 = 5;

/// The target.
pub struct Redis {
    nodes: Nodes,
    records: Records,
    claims: Claims,
    keys: Keys,
    users: Option<Users>,
    channel: String,
    deadline: Duration,
}

impl Redis {
    /// A target in the cache of the settings; one call may take `deadline`. Connects when first used, and again
    /// whenever a connection is lost.
    ///
    /// # Errors
    ///
    /// Where a URL or a certificate cannot be used.
    pub fn new(settings: &config::targets::Redis, deadline: Duration) -> Result<Self, Unusable> {
        let nodes = Nodes::new(settings, deadline)?;
        let database = nodes.database();
        Ok(Self {
            nodes,
            records: Records::new(settings.status_prefix.clone()),
            claims: Claims::new(settings.status_prefix.clone()),
            keys: Keys::new(settings.batch),
            users: settings
                .user_prefix
                .clone()
                .map(|prefix| Users::new(prefix, database, settings.is_cluster)),
            channel: settings.channel.clone(),
            deadline,
        })
    }

    async fn converge(&self, tenant: &TenantRef, wanted: Held) -> Result<(), Failure> {
        let until = Instant::now() + self.deadline.mul_f64(0.8);
        let cluster = self.nodes.cluster().await?;
        let raised = match self.claims.look(&cluster, &self.records, tenant).await {
            Ok(claims::Found { successor: Some(successor), .. }) => {
                return Err(Failure::permanent(successor.words()));
            }
            Ok(found) => self.raise(&cluster, tenant, wanted, found.is_unclaimed).await,
            // What cannot be looked at is at a node that is away, as the record may be.
            Err(unseen) => Err(unseen),
        };
        let mut newest = match raised {
            Ok(held) if held.generation > wanted.generation => {
                // What no change explains keeps nobody in.
                if wanted.state != Desired::Active && !is_explained(held.generation, wanted.generation) {
                    self.restrict(&cluster, tenant, wanted).await?;
                }
                return Err(overtaken());
            }
            Ok(held) => held,
            Err(unwritten) if wanted.state != Desired::Active => {
                match self.restrict(&cluster, tenant, wanted).await? {
                    Some(newer) => newer,
                    None => return self.check_reached(&cluster, wanted.state).and(Err(unwritten)),
                }
            }
            Err(unwritten) => return Err(unwritten),
        };
        for _ in 0..ROUNDS_MAX {
            self.enact(&cluster, tenant, newest, until).await?;
            // A call that was overtaken on its way must not have the last word: whoever writes last looks again, and
            // makes what the record says.
            match self.records.find(&cluster, tenant).await?.map(|record| record.held()) {
                Some(held) if held != newest => newest = held,
                _ if newest.generation > wanted.generation => return Err(overtaken()),
                _ => return self.check_reached(&cluster, wanted.state),
            }
        }
        Err(Failure::retryable("other changes of the tenant keep coming"))
    }

    /// Claims the prefix before anybody is served there, and writes the record.
    async fn raise(
        &self,
        cluster: &nodes::Cluster,
        tenant: &TenantRef,
        wanted: Held,
        is_unclaimed: bool,
    ) -> Result<Held, Failure> {
        if is_unclaimed && wanted.state != Desired::Deleted {
            self.claims.make(cluster, tenant).await?;
        }
        self.records.raise(cluster, tenant, wanted).await
    }

    /// Takes from the tenant what a state of less access does not give, where the record cannot be written, or holds a
    /// generation that is too far ahead to be of a newer change: nobody is to work on because of the one node that has it, or of
    /// one wrong number. The call fails all the same. Answers what is to be made instead, where the record shows that a newer
    /// change was there.
    ///
    /// Without the record it may be this call that is the older one, late. So it only takes away, never gives, and throws
    /// nothing away: no key, no password. What a newer change gave is missing then, but not for good:
    /// - a newer change that is still under way writes the record first and the users afterwards, in each of its tries, and
    ///   is not done before it wrote both. It either writes the users after us, or wrote the record before we look again,
    ///   and we make what that says.
    /// - where we cannot look again either, and the newer change was done before, the user is other than the record says:
    ///   nothing of the tenant is seen until its record is, then that is drift, and the repair applies the newest change.
    /// - this call does not come again: once the record can be read, it refuses it.
    async fn restrict(
        &self,
        cluster: &nodes::Cluster,
        tenant: &TenantRef,
        wanted: Held,
    ) -> Result<Option<Held>, Failure> {
        let newer = async || {
            let known = self.records.find(cluster, tenant).await.ok().flatten().map(|record| record.held());
            known.filter(|known| {
                known.generation > wanted.generation && is_explained(known.generation, wanted.generation)
            })
        };
        if newer().await.is_some() {
            return Err(overtaken());
        }
        let restricted = match &self.users {
            Some(users) => users.restrict(cluster, tenant, wanted.state).await,
            None => Ok(()),
        };
        // Whoever keeps copies of the record is told too.
        let announced = record::announce(cluster, &self.channel, tenant, wanted).await;
        match newer().await {
            Some(newer) => Ok(Some(newer)),
            None => restricted.and(announced).map(|()| None),
        }
    }

    /// Makes everything but the record follow it.
    async fn enact(
        &self,
        cluster: &nodes::Cluster,
        tenant: &TenantRef,
        held: Held,
        until: Instant,
    ) -> Result<(), Failure> {
        if let Some(users) = &self.users {
            users.set(cluster, tenant, held.state).await?;
        }
        record::announce(cluster, &self.channel, tenant, held).await?;
        if lets_in(held.state) {
            return Ok(());
        }
        self.keys.remove(cluster, &tenant.names.cache_prefix, until).await?;
        match held.state {
            Desired::Deleted => self.claims.remove(cluster, tenant).await,
            _ => Ok(()),
        }
    }

    /// Says which nodes were not told, and which slots nobody holds: who had them may be a node that we do not know of.
    /// What they let in is not known, so less access waits for each of them. More access waits for none that the cluster
    /// takes for failed: nobody is served there, and what is missing is drift once it is back.
    fn check_reached(&self, cluster: &nodes::Cluster, state: Desired) -> Result<(), Failure> {
        // Without users nothing but keys is at a node.
        let untold = |node: &&nodes::Missing| {
            node.has_slots || (self.users.is_some() && (state != Desired::Active || !node.is_failed))
        };
        let untold: Vec<String> = cluster.missing().iter().filter(untold).map(named).collect();
        let nodes = untold.join(", ");
        let waits = match (untold.is_empty(), state) {
            (true, _) => None,
            (false, Desired::Active) => {
                return Err(Failure::retryable(format!("nodes of the cluster were not told: {nodes}")));
            }
            (false, _) => Some(format!(
                "the tenant may still be let in at nodes that were not told: {nodes}; start them, or have every node \
                 of the cluster forget them"
            )),
        };
        let waits: Vec<String> = waits.into_iter().chain(cluster.uncovered()).collect();
        if waits.is_empty() { Ok(()) } else { Err(Failure::waiting(waits.join("; "))) }
    }

    /// Nothing is seen of a tenant while a node may serve it that we do not see.
    fn check_visible(&self, cluster: &nodes::Cluster) -> Result<(), Failure> {
        let unseen = |node: &&nodes::Missing| node.has_slots || (self.users.is_some() && !node.is_failed);
        let unseen: Vec<String> = cluster.missing().iter().filter(unseen).map(named).collect();
        let nodes = unseen.join(", ");
        let nodes =
            (!unseen.is_empty()).then(|| format!("nodes of the cluster cannot be looked at: {nodes}"));
        let why: Vec<String> = nodes.into_iter().chain(cluster.uncovered()).collect();
        if why.is_empty() { Ok(()) } else { Err(Failure::retryable(why.join("; "))) }
    }

    async fn look(&self, tenant: &TenantRef) -> Result<Observed, Failure> {
        let cluster = self.nodes.cluster().await?;
        self.check_visible(&cluster)?;
        let found = self.records.look(&cluster, tenant).await?;
        let claims = self.claims.look(&cluster, &self.records, tenant).await?;
        if let Some(successor) = claims.successor {
            let sound = found.filter(|found| found.amiss.is_none());
            let held = sound.map(|found| found.record.held());
            return Ok(successor.leaves(held.map(|held| (held.state, held.generation))));
        }
        let wanted = found.as_ref().and_then(|found| found.record.wanted());
        if claims.is_unclaimed && wanted.is_some_and(|wanted| wanted != Desired::Deleted) {
            self.claims.make(&cluster, tenant).await?;
        }
        let Some(found) = found else {
            // Nothing is known of it only where nothing of it is left.
            if !self.keys.any(&cluster, &tenant.names.cache_prefix).await? {
                return Ok(Observed::UNKNOWN_TENANT);
            }
            // Keys are too much for one that is locked out, and one that is let in lacks what applications ask.
            let missing = self.records.missing(tenant);
            return Ok(Observed::policy(Desired::Active, 0).with_amiss(Some(missing)));
        };
        let (users, verification) = match &self.users {
            Some(users) => {
                let seen = users.look(&cluster, tenant, wanted).await?;
                // A failed node was told when it was there. Whether it remembers, it shows when it is back.
                let is_whole = cluster.missing().is_empty() || wanted == Some(Desired::Active);
                (seen, if is_whole { Verification::Effect } else { Verification::PolicyOnly })
            }
            None => (user::Seen::default(), Verification::PolicyOnly),
        };
        let mut seen = state_of(&found.record, &users.doors);
        let held = found.record.held();
        if !lets_in(held.state) && self.keys.any(&cluster, &tenant.names.cache_prefix).await? {
            if wanted.is_some() {
                tracing::warn!(tenant_id = %tenant.tenant_id, "keys of a tenant that is locked out are in the cache");
            }
            seen = Desired::Active;
        }
        let seen = match verification {
            Verification::Effect => Observed::effect(seen, held.generation),
            Verification::PolicyOnly => Observed::policy(seen, held.generation),
        };
        let amiss: Vec<String> = found.amiss.into_iter().chain(users.amiss).collect();
        let seen = seen.with_asked(wanted).with_amiss((!amiss.is_empty()).then(|| amiss.join("; ")));
        Ok(users.unproven.into_iter().fold(seen, |seen, why| seen.with_unproven(&why)))
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Failure>> + Send) -> Result<T, Failure> {
        let ended = tokio::time::timeout(self.deadline, work).await;
        ended.unwrap_or_else(|_| Err(Failure::unknown("the cache did not answer in time")))
    }
}

#[async_trait]
impl Participant for Redis {
    async fn apply(&self, tenant: &TenantRef, desired: Desired, generation: u64) -> Result<(), Failure> {
        self.records.check_apart(tenant)?;
        self.in_time(self.converge(tenant, Held { state: desired, generation })).await
    }

    async fn observe(&self, tenant: &TenantRef) -> Result<Observed, Failure> {
        self.in_time(self.look(tenant)).await
    }
}

const fn lets_in(state: Desired) -> bool {
    matches!(state, Desired::Active | Desired::ReadOnly)
}

fn named(node: &nodes::Missing) -> String {
    let failed = if node.is_failed { ", and is failed in the cluster's eyes" } else { "" };
    format!("{} ({}{failed})", node.address, node.why)
}

fn overtaken() -> Failure {
    Failure::permanent("a newer change was applied already")
}

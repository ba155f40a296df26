//! A vector database in Qdrant: a collection for each tenant, reached by an alias.
//!
//! A tenant's tokens are made for the alias and are held by the server, on each call, against the tenant's record, a
//! point in a collection of ours. So a suspension takes effect with the next call, and without the alias there is
//! nothing that a token could be good for. A stored record is not an effect: reading back means using tokens that claim
//! what the tenant's claim. We can make those, because the server checks tokens with the key that we have.
//!
//! | state | in the vector database |
//! |---|---|
//! | Active | the record grants reading and writing, the alias leads to the collection |
//! | ReadOnly | the record grants reading |
//! | Suspended | the record grants nothing, no alias |
//! | Archived | as Suspended, and each node has a snapshot that is younger than the archive |
//! | Deleted | snapshots gone, then the collection; the record stays for 31 days, so that a late call is refused |

mod node;
mod place;
mod probe;
mod record;
mod remains;
mod state;
mod token;
mod version;

use std::future::Future;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tonic::metadata::AsciiMetadataValue;

use self::node::Node;
use self::place::Place;
use self::probe::{Doors, Prober};
use self::record::{Record, Records};
use self::state::{Standing, state_of};
use super::channel::channel;
use super::successor::Successor;
use super::{Failure, Observed, Participant, TenantRef, Unusable};
use crate::config::targets::{self, qdrant::Distance};
use crate::domain::lifecycle::Desired;
use crate::domain::operation::is_explained;
use crate::proto::qdrant::{self as wire, CreateCollection};

/// How often a call looks again whether a newer one came between: each round loses only to another call.
const ROUNDS_MAX: u32 = 5;
/// Longest wait for one node of several.
const NODE_MAX: Duration = Duration::from_secs(2);

/// Said of a tenant that is not to be called unknown. No client was tried, and nothing there tells a late call from the newest.
const NO_RECORD: &str = "something of the tenant is in the vector database, and its record is missing, which a repair or any other \
                         change of the tenant writes";

/// Who has a tenant's namespace.
struct Namespace {
    /// A later tenant.
    successor: Option<Successor>,
    /// Whether nobody has claimed it, or an earlier one.
    is_unclaimed: bool,
}

/// The target.
pub struct Qdrant {
    settings: targets::Qdrant,
    /// Never empty.
    nodes: Vec<Node>,
    records: Records,
    prober: Option<Prober>,
    deadline: Duration,
}

impl Qdrant {
    /// A target at the nodes of the settings; one call may take `deadline`. Connects when first used, and again whenever
    /// a connection is lost.
    ///
    /// # Errors
    ///
    /// Where a URL, a certificate or the key cannot be used.
    pub fn new(settings: &targets::Qdrant, deadline: Duration) -> Result<Self, Unusable> {
        let credential = settings.api_key.as_ref().map(|key| {
            let mut key: AsciiMetadataValue = key
                .expose()
                .parse()
                .map_err(|_| Unusable("its key has letters that no header can hold".to_owned()))?;
            key.set_sensitive(true);
            Ok(key)
        });
        let credential = credential.transpose()?;
        let mut nodes = Vec::new();
        for endpoint in &settings.endpoints {
            let channel = channel(endpoint, &settings.tls, settings.server_name.as_deref(), deadline)?;
            let address = (settings.endpoints.len() > 1).then(|| endpoint.authority());
            nodes.push(Node::new(address, channel, credential.clone(), deadline));
        }
        Ok(Self {
            records: Records::new(settings.records.clone(), settings.replication_factor),
            prober: settings.api_key.as_ref().map(|key| Prober::new(key, &settings.records)),
            settings: settings.clone(),
            nodes,
            deadline,
        })
    }

    /// The node that is told of changes and asked what is on record: the first that answers. It passes changes on by
    /// itself, and has what the others were told.
    async fn first(&self) -> Result<&Node, Failure> {
        if let [only] = self.nodes.as_slice() {
            return Ok(only);
        }
        let mut silent = Vec::new();
        for node in &self.nodes {
            // One that does not answer is to leave time for the others.
            match node.answers(NODE_MAX.min(self.deadline / 4)).await {
                Ok(()) => return Ok(node),
                Err(failure) => silent.push(failure.message),
            }
        }
        Err(Failure::unknown(silent.join("; ")))
    }

    async fn converge(&self, tenant: &TenantRef, desired: Desired, generation: u64) -> Result<(), Failure> {
        let until = Instant::now() + self.deadline.mul_f64(0.8);
        let place = Place::of(tenant, &self.settings.collection)?;
        let first = self.first().await?;
        if let Some(successor) = self.namespace(first, &place, tenant).await?.successor {
            return Err(Failure::permanent(successor.words()));
        }
        let known = self.records.find(first, tenant).await?;
        if let Some(newer) = known.as_ref().filter(|known| known.generation > generation) {
            // What no change explains keeps nobody in. Only what clients come by is taken away; the repair gives it back.
            if !lets_in(desired) && !is_explained(newer.generation, generation) {
                first.delete_alias(&place.alias).await.map_err(|status| first.failed(status))?;
            }
            return Err(overtaken());
        }
        let wanted = self.wanted((first, &place), known, tenant, (desired, generation)).await?;
        let mut newest = self.records.raise(first, tenant, &wanted).await?;
        if newest.generation > generation {
            return Err(overtaken());
        }
        if place.is_chosen && desired != Desired::Deleted {
            self.records.take(first, tenant, &place.alias).await?;
        }
        for _ in 0..ROUNDS_MAX {
            self.enact((first, &place), tenant, &newest, until).await?;
            // A call that was overtaken on its way must not have the last word: whoever writes last looks again, and
            // makes what the record says.
            match self.records.find(first, tenant).await? {
                Some(held) if held.generation != newest.generation => newest = held,
                _ if newest.generation > generation => return Err(overtaken()),
                _ => return Ok(()),
            }
        }
        Err(Failure::retryable("other changes of the tenant keep coming"))
    }

    /// Who has the tenant's namespace now: a registry that was restored may have forgotten a later tenant, to which it went.
    /// One that derives from the uid is nobody else's. A tenant from before namespaces were claimed claims its own when it is
    /// next changed or looked at.
    async fn namespace(&self, first: &Node, place: &Place, tenant: &TenantRef) -> Result<Namespace, Failure> {
        let mut found = Namespace { successor: None, is_unclaimed: false };
        if !place.is_chosen {
            return Ok(found);
        }
        let holder = self.records.holder(first, &place.alias).await?;
        found.is_unclaimed = holder.is_none_or(|holder| holder < tenant.uid);
        if let Some(uid) = holder.filter(|holder| *holder > tenant.uid) {
            let record = self.records.find_of(first, uid).await?;
            if record.is_none_or(|record| record.state != Desired::Deleted) {
                let what = format!("the vector namespace {}", place.alias);
                found.successor = Some(Successor { uid, what });
            }
        }
        Ok(found)
    }

    /// The record as it is to be. Whoever is let in has a collection from then on.
    async fn wanted(
        &self,
        (first, place): (&Node, &Place),
        known: Option<Record>,
        tenant: &TenantRef,
        (state, generation): (Desired, u64),
    ) -> Result<Record, Failure> {
        let known = known.filter(|known| known.state != Desired::Deleted || state == Desired::Deleted);
        let had_collection = known.as_ref().is_some_and(|known| known.had_collection);
        if lets_in(state)
            && !first.is_there(&place.collection).await.map_err(|status| first.failed(status))?
        {
            if had_collection {
                return Err(lost());
            }
            remains::make(first, self.shape(place)).await?;
        }
        let older_snapshots = match known {
            Some(known) if known.state == Desired::Archived && state == Desired::Archived => {
                known.older_snapshots
            }
            _ if state == Desired::Archived && had_collection => {
                remains::all_snapshots(&self.nodes, &place.collection).await?
            }
            _ => Vec::new(),
        };
        Ok(Record {
            tenant_id: tenant.tenant_id.to_string(),
            state,
            generation,
            had_collection: had_collection || lets_in(state),
            older_snapshots,
            purged_at: None,
        })
    }

    /// Makes everything but the record follow it.
    async fn enact(
        &self,
        (first, place): (&Node, &Place),
        tenant: &TenantRef,
        record: &Record,
        until: Instant,
    ) -> Result<(), Failure> {
        if lets_in(record.state) {
            let set = first.set_alias(&place.alias, &place.collection).await;
            return set.map_err(|status| first.failed(status));
        }
        first.delete_alias(&place.alias).await.map_err(|status| first.failed(status))?;
        match record.state {
            Desired::Archived if record.had_collection => {
                remains::archive(&self.nodes, &place.collection, &record.older_snapshots).await
            }
            Desired::Deleted if record.purged_at.is_none() => {
                remains::purge(&self.nodes, first, self.shape(place), until).await?;
                let now = jiff::Timestamp::now().as_second();
                let record = Record { purged_at: Some(now), ..record.clone() };
                self.records.raise(first, tenant, &record).await?;
                if place.is_chosen {
                    self.records.give_back(first, tenant, &place.alias).await?;
                }
                self.records.forget(first, now).await
            }
            _ => Ok(()),
        }
    }

    async fn look(&self, tenant: &TenantRef) -> Result<Observed, Failure> {
        let place = Place::of(tenant, &self.settings.collection)?;
        let first = self.first().await?;
        let record = self.records.find(first, tenant).await?;
        let namespace = self.namespace(first, &place, tenant).await?;
        if let Some(successor) = namespace.successor {
            return Ok(successor.leaves(record.map(|record| (record.state, record.generation))));
        }
        if namespace.is_unclaimed && record.as_ref().is_some_and(|record| record.state != Desired::Deleted) {
            self.records.take(first, tenant, &place.alias).await?;
        }
        let standing = self.standing(first, &place, record.as_ref()).await?;
        if record.is_none() && standing.is_complete && !standing.alias {
            return Ok(Observed::UNKNOWN_TENANT);
        }
        let Some(record) = record else {
            // Tokens claim a record, so where they are checked none is taken.
            let is_open = standing.alias && self.prober.is_none();
            let state = if is_open { Desired::Active } else { Desired::Suspended };
            return Ok(Observed::policy(state, 0).with_amiss(Some(NO_RECORD.to_owned())));
        };
        let seen = match &self.prober {
            Some(prober) => Some(self.doors(prober, &place, tenant, record.state).await?),
            None => None,
        };
        let state = state_of(record.state, seen, standing)?;
        Ok(match seen {
            Some(_) => Observed::effect(state, record.generation),
            None => Observed::policy(state, record.generation),
        }
        .with_asked(Some(record.state)))
    }

    /// What a client meets that chooses its node. Of a door that is to be locked, one that is open counts; of one that is
    /// to be open, one that is locked.
    async fn doors(
        &self,
        prober: &Prober,
        place: &Place,
        tenant: &TenantRef,
        named: Desired,
    ) -> Result<Doors, Failure> {
        let mut doors: Option<Doors> = None;
        for node in &self.nodes {
            if let Err(failure) = prober.control(node).await {
                // It may be the control record that is not there.
                self.records.doubt();
                return Err(failure);
            }
            let seen = prober.doors(node, place, tenant).await?;
            let pick = |is_open: bool| if is_open { Ord::min } else { Ord::max };
            doors = Some(doors.map_or(seen, |before| Doors {
                read: pick(lets_in(named))(before.read, seen.read),
                write: pick(named == Desired::Active)(before.write, seen.write),
            }));
        }
        doors.ok_or_else(|| Failure::permanent("no node is configured"))
    }

    async fn standing(
        &self,
        first: &Node,
        place: &Place,
        record: Option<&Record>,
    ) -> Result<Standing, Failure> {
        let failed = |status| first.failed(status);
        let collection = first.is_there(&place.collection).await.map_err(failed)?;
        let is_complete = match record {
            Some(record) if record.state == Desired::Archived && record.had_collection => {
                collection
                    && remains::is_archived(&self.nodes, &place.collection, &record.older_snapshots).await?
            }
            Some(record) if record.state == Desired::Deleted => record.purged_at.is_some() && !collection,
            Some(_) => true,
            None => !collection,
        };
        Ok(Standing {
            alias: first.is_there(&place.alias).await.map_err(failed)?,
            leads: first.leads(&place.alias, &place.collection).await.map_err(failed)?,
            is_complete,
        })
    }

    fn shape(&self, place: &Place) -> CreateCollection {
        let distance = match self.settings.distance {
            Distance::Cosine => wire::Distance::Cosine,
            Distance::Dot => wire::Distance::Dot,
            Distance::Euclid => wire::Distance::Euclid,
            Distance::Manhattan => wire::Distance::Manhattan,
        };
        let (size, copies) = (self.settings.vector_size, self.settings.replication_factor);
        record::shape(&place.collection, size, distance, copies)
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Failure>> + Send) -> Result<T, Failure> {
        let ended = tokio::time::timeout(self.deadline, work).await;
        ended.unwrap_or_else(|_| Err(Failure::unknown("the vector database did not answer in time")))
    }
}

#[async_trait]
impl Participant for Qdrant {
    async fn apply(&self, tenant: &TenantRef, desired: Desired, generation: u64) -> Result<(), Failure> {
        self.in_time(self.converge(tenant, desired, generation)).await
    }

    async fn observe(&self, tenant: &TenantRef) -> Result<Observed, Failure> {
        self.in_time(self.look(tenant)).await
    }
}

const fn lets_in(state: Desired) -> bool {
    matches!(state, Desired::Active | Desired::ReadOnly)
}

fn overtaken() -> Failure {
    Failure::permanent("a newer change was applied already")
}

fn lost() -> Failure {
    Failure::permanent(
        "the collection that the tenant had is gone: restore it from a snapshot, then retry; nobody is let into an \
         empty one in its place",
    )
}

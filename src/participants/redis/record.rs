//! The status record: what applications ask, and what refuses older calls.

use redis::RedisError;
use serde_json::json;
use uuid::Uuid;

use super::super::{Failure, TenantRef};
use super::nodes::{Cluster, failure};
use crate::domain::lifecycle::Desired;
use crate::domain::text::quote;

/// How long the record of a deleted tenant stays, in seconds: 31 days, a day longer than it can be undeleted.
const DELETED_SECONDS: u32 = 31 * 24 * 60 * 60;

/// What the server says of a key that holds something else than a command is for.
const OTHER_TYPE: &str = "WRONGTYPE";

/// Letters that are shown of what is no number: one more than the longest number has.
const SHOWN_MAX: usize = 21;

/// What the record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) state: Desired,
    pub(super) generation: u64,
}

/// A record as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    /// What applications are told; `None` where it is no state of ours: they let nobody in then.
    pub(super) told: Option<Desired>,
    /// What we wrote. `None` in a record of a version that did not say it twice.
    pub(super) applied: Option<Desired>,
    /// By which change.
    pub(super) generation: u64,
}

impl Record {
    /// The state that we wrote, whatever somebody made of it; `None` where that is not known any more.
    pub(super) fn wanted(&self) -> Option<Desired> {
        self.applied.or(self.told)
    }

    /// What the other parts are to follow.
    pub(super) fn held(&self) -> Held {
        Held { state: self.wanted().unwrap_or(Desired::Suspended), generation: self.generation }
    }
}

/// A record with what of it can be read.
#[derive(Debug)]
pub(super) struct Found {
    /// As far as it can be read; of generation 0 where that cannot.
    pub(super) record: Record,
    /// What of it cannot, and what mends it.
    pub(super) amiss: Option<String>,
}

/// Where the records are.
pub(super) struct Records {
    prefix: String,
}

impl Records {
    pub(super) const fn new(prefix: String) -> Self {
        Self { prefix }
    }

    /// Refuses a tenant whose keys are removed by a prefix that the records of all lie under.
    pub(super) fn check_apart(&self, tenant: &TenantRef) -> Result<(), Failure> {
        if self.prefix.starts_with(&tenant.names.cache_prefix) {
            let why = format!("the tenant's prefix would reach the records of all below {}", self.prefix);
            return Err(Failure::permanent(why));
        }
        Ok(())
    }

    fn key(&self, tenant: &TenantRef) -> String {
        format!("{}{}", self.prefix, tenant.uid)
    }

    /// Whether a tenant is on record as purged. One that has a claim and no record is not: a purge takes the claim with it.
    pub(super) async fn is_purged(&self, cluster: &Cluster, uid: Uuid) -> Result<bool, Failure> {
        let key = format!("{}{uid}", self.prefix);
        let mut command = redis::cmd("HMGET");
        command.arg(&key).arg("applied").arg("state");
        let (applied, told): (Option<String>, Option<String>) =
            cluster.holder(&key).await?.run(&command).await.map_err(|error| unusable(&key, error))?;
        Ok(applied.or(told).is_some_and(|state| state == Desired::Deleted.as_str()))
    }

    /// That the record is not there, of a tenant that has keys.
    pub(super) fn missing(&self, tenant: &TenantRef) -> String {
        let key = self.key(tenant);
        format!(
            "the cache has keys of the tenant, and its record {key} is missing, which a repair or any other change of the tenant writes"
        )
    }

    /// Writes the record unless a newer one is there; answers what is there then.
    pub(super) async fn raise(
        &self,
        cluster: &Cluster,
        tenant: &TenantRef,
        wanted: Held,
    ) -> Result<Held, Failure> {
        let key = self.key(tenant);
        let lifetime = if wanted.state == Desired::Deleted { DELETED_SECONDS } else { 0 };
        let mut script = redis::cmd("EVAL");
        script.arg(include_str!("raise.lua")).arg(1).arg(&key);
        script.arg(wanted.state.as_str()).arg(wanted.generation).arg(tenant.tenant_id.as_str()).arg(lifetime);
        let (state, generation): (Option<String>, Option<String>) =
            cluster.holder(&key).await?.run(&script).await.map_err(|error| unusable(&key, error))?;
        let generation = generation.map(|written| number(&key, &written)).transpose();
        decode((state, generation.map_err(Failure::permanent)?))?
            .ok_or_else(|| Failure::retryable("the tenant's record was not kept"))
    }

    /// The record; `None` where there is none.
    pub(super) async fn find(
        &self,
        cluster: &Cluster,
        tenant: &TenantRef,
    ) -> Result<Option<Record>, Failure> {
        let found = self.look(cluster, tenant).await?;
        let sound = |Found { record, amiss }| amiss.map_or(Ok(record), |why| Err(Failure::permanent(why)));
        found.map(sound).transpose()
    }

    /// As [`find`](Self::find), also where somebody made of it what cannot be read.
    pub(super) async fn look(&self, cluster: &Cluster, tenant: &TenantRef) -> Result<Option<Found>, Failure> {
        let key = self.key(tenant);
        let mut command = redis::cmd("HMGET");
        command.arg(&key).arg("state").arg("applied").arg("generation");
        let read = cluster.holder(&key).await?.run(&command).await;
        let (told, applied, generation): (Option<String>, Option<String>, Option<String>) = match read {
            Err(error) if is_of_another_type(&error) => {
                let record = Record { told: None, applied: None, generation: 0 };
                return Ok(Some(Found { record, amiss: Some(no_hash(&key)) }));
            }
            read => read.map_err(failure)?,
        };
        let Some(generation) = generation.filter(|_| told.is_some() || applied.is_some()) else {
            return Ok(None);
        };
        let state = |name: &Option<String>| name.as_deref().and_then(Desired::named);
        let mut record = Record { told: state(&told), applied: state(&applied), generation: 0 };
        let is_known = if applied.is_some() { record.applied.is_some() } else { record.told.is_some() };
        let mut amiss = (!is_known).then(|| {
            format!(
                "the tenant's record {key} has a state that is none of ours, which a repair or any other change of \
                 the tenant writes anew"
            )
        });
        match number(&key, &generation) {
            Ok(number) => record.generation = number,
            Err(why) => amiss = Some(why),
        }
        Ok(Some(Found { record, amiss }))
    }
}

/// What it means that the record can be neither read nor written.
fn unusable(key: &str, error: RedisError) -> Failure {
    if is_of_another_type(&error) { Failure::permanent(no_hash(key)) } else { failure(error) }
}

/// Of a command inside a script some versions tell it in the text.
fn is_of_another_type(error: &RedisError) -> bool {
    error.code() == Some(OTHER_TYPE) || error.detail().is_some_and(|words| words.contains(OTHER_TYPE))
}

fn no_hash(key: &str) -> String {
    format!("the tenant's record {key} is not a hash: delete that key, then retry")
}

/// The generation as it is written; or what is wrong with it.
fn number(key: &str, written: &str) -> Result<u64, String> {
    written.parse().map_err(|_| {
        let shown: String = written.chars().take(SHOWN_MAX).collect();
        format!(
            "the tenant's record {key} has a generation that is no number, {}: delete that key, then retry",
            quote(&shown)
        )
    })
}

fn decode((state, generation): (Option<String>, Option<u64>)) -> Result<Option<Held>, Failure> {
    let (Some(name), Some(generation)) = (state, generation) else { return Ok(None) };
    let state = Desired::named(&name);
    let state = state.ok_or_else(|| Failure::retryable("the tenant's record is of another version"))?;
    Ok(Some(Held { state, generation }))
}

/// Tells whoever keeps copies of their own that the tenant's state was set. A cluster passes it on by itself.
pub(super) async fn announce(
    cluster: &Cluster,
    channel: &str,
    tenant: &TenantRef,
    held: Held,
) -> Result<(), Failure> {
    let Some(node) = cluster.primaries().first() else { return Ok(()) };
    let message = json!({
        "tenant_id": tenant.tenant_id.as_str(),
        "uid": tenant.uid,
        "prefix": tenant.names.cache_prefix,
        "state": held.state.as_str(),
        "generation": held.generation,
    });
    let mut publish = redis::cmd("PUBLISH");
    publish.arg(channel).arg(message.to_string());
    node.run(&publish).await.map_err(failure)
}

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
    /// What the other parts are to follow: what we wrote, whatever somebody made of it.
    pub(super) fn held(&self) -> Held {
        let state = self.applied.or(self.told).unwrap_or(Desired::Suspended);
        Held { state, generation: self.generation }
    }
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
        decode((state, number(&key, generation)?))?
            .ok_or_else(|| Failure::retryable("the tenant's record was not kept"))
    }

    /// The record; `None` where there is none.
    pub(super) async fn find(
        &self,
        cluster: &Cluster,
        tenant: &TenantRef,
    ) -> Result<Option<Record>, Failure> {
        let key = self.key(tenant);
        let mut command = redis::cmd("HMGET");
        command.arg(&key).arg("state").arg("applied").arg("generation");
        let (told, applied, generation): (Option<String>, Option<String>, Option<String>) =
            cluster.holder(&key).await?.run(&command).await.map_err(|error| unusable(&key, error))?;
        let Some(generation) = number(&key, generation)? else { return Ok(None) };
        if told.is_none() && applied.is_none() {
            return Ok(None);
        }
        let applied = applied.as_deref().map(parse).transpose()?;
        let told = match (told.as_deref().map(parse), applied) {
            (None | Some(Err(_)), Some(_)) => None,
            (told, _) => told.transpose()?,
        };
        Ok(Some(Record { told, applied, generation }))
    }
}

/// What it means that the record can be neither read nor written.
fn unusable(key: &str, error: RedisError) -> Failure {
    // Of a command inside a script some versions tell it in the text.
    let is_of_another_type =
        error.code() == Some(OTHER_TYPE) || error.detail().is_some_and(|words| words.contains(OTHER_TYPE));
    if !is_of_another_type {
        return failure(error);
    }
    Failure::permanent(format!("the tenant's record {key} is not a hash: delete that key, then retry"))
}

/// The generation as it is written.
fn number(key: &str, written: Option<String>) -> Result<Option<u64>, Failure> {
    let number = |text: String| {
        text.parse().map_err(|_| {
            let shown: String = text.chars().take(SHOWN_MAX).collect();
            Failure::permanent(format!(
                "the tenant's record {key} has a generation that is no number, {}: delete that key, then retry",
                quote(&shown)
            ))
        })
    };
    written.map(number).transpose()
}

fn parse(name: &str) -> Result<Desired, Failure> {
    let state = Desired::ALL.into_iter().find(|state| state.as_str() == name);
    state.ok_or_else(|| Failure::retryable("the tenant's record is of another version"))
}

fn decode((state, generation): (Option<String>, Option<u64>)) -> Result<Option<Held>, Failure> {
    let (Some(name), Some(generation)) = (state, generation) else { return Ok(None) };
    Ok(Some(Held { state: parse(&name)?, generation }))
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

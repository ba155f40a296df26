//! Trying the object store as an ordinary client: a stored policy is not an effect.
//!
//! No try leaves a trace. Reading takes an empty object that we keep among the tenant's; writing sends a part of an
//! upload that does not exist, for which a server first asks for the right to put and then says that there is no such
//! upload.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Credentials, IdentityCache};
use aws_sdk_s3::primitives::ByteStream;
use futures_util::future::join_all;

use super::super::Failure;
use super::credentials::{CredentialsFile, NEIGHBOUR};
use super::fault::Fault;
use super::place::Place;
use super::purge;
use crate::domain::ids::TenantId;
use crate::domain::text::quote;

/// An upload that no server has given out, in the letters that all of them use.
const NO_UPLOAD: &str = "2~AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// How many of a tenant's objects are listed to choose from, and how many of them are tried without a signature.
const CHOICE: i32 = 200;
const UNSIGNED_TRIES: usize = 16;

/// What an ordinary client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    /// Nothing passes.
    None,
    /// Reads pass.
    ReadOnly,
    /// Reads and writes pass.
    Full,
}

/// What somebody gets whom no denial may touch. The texts say what is not proven then, in our words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Neighbour {
    /// It gets in, or none is configured.
    Passes,
    /// It, or we, are refused.
    Refused(String),
    /// Nobody can try as it.
    Untried(String),
}

impl Neighbour {
    /// Why nobody knows whether a denial leaves others alone; `None` where it does.
    pub(super) fn unproven(self) -> Option<String> {
        match self {
            Self::Passes => None,
            Self::Refused(why) | Self::Untried(why) => Some(why),
        }
    }
}

/// Who tries.
pub(super) struct Prober {
    ours: Client,
    /// A client that signs nothing.
    anybody: Client,
    credentials: Option<CredentialsFile>,
    /// An object that the neighbour may read in every bucket, whatever happens to tenants.
    neighbour_key: Option<String>,
}

impl Prober {
    pub(super) const fn new(
        ours: Client,
        anybody: Client,
        credentials: Option<CredentialsFile>,
        neighbour_key: Option<String>,
    ) -> Self {
        Self { ours, anybody, credentials, neighbour_key }
    }

    /// Why a tenant that is denied is not: something of it that anybody gets without a signature, in our words. Such a
    /// request has no principal that our denial names. Some of its objects are tried, and the list of them.
    pub(super) async fn is_public(&self, place: &Place) -> Result<Option<String>, Failure> {
        if unsigned(list(&self.anybody, place).await)? {
            return Ok(Some(
                "anybody can list the tenant's objects without a signature: mend the bucket's ACL or policy"
                    .to_owned(),
            ));
        }
        let keys = purge::some_keys(&self.ours, place, CHOICE).await?;
        let step = keys.len().div_ceil(UNSIGNED_TRIES).max(1);
        let tried = join_all(keys.iter().step_by(step).map(async |key| {
            let head = self.anybody.head_object().bucket(&place.bucket).key(key).send().await;
            unsigned(head.map(drop).map_err(Fault::from)).map(|passes| passes.then(|| public(key)))
        }));
        Ok(tried.await.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().next())
    }

    /// What the tenant's credential gets at its place; `None` where we have no credential of it. Half a refusal is none; but one that
    /// `is_to_serve`, and may not read, serves nobody.
    pub(super) async fn access(
        &self,
        tenant: &TenantId,
        place: &Place,
        is_to_serve: bool,
    ) -> Result<Option<Access>, Failure> {
        let Some(credentials) = self.credentials_of(tenant.as_str()).await? else { return Ok(None) };
        // We must pass, whatever the tenant gets; and what is not there cannot be refused.
        let kept = keep(&self.ours, &place.bucket, &place.probe_key()).await;
        kept.map_err(|fault| fault.failing("the object by which access is tried cannot be kept"))?;
        let client = self.acting_as(credentials);
        if passed(read(&client, &place.bucket, &place.probe_key()).await)? {
            let writes = passed(write(&client, place).await)?;
            return Ok(Some(if writes { Access::Full } else { Access::ReadOnly }));
        }
        let passes =
            !is_to_serve && (passed(write(&client, place).await)? || passed(list(&client, place).await)?);
        Ok(Some(if passes { Access::Full } else { Access::None }))
    }

    /// Whether the credential of a tenant that was purged is let in anywhere; `None` where we have no credential of it.
    /// Nothing is kept at its place to be read, and one that the object store no longer knows opens nothing.
    pub(super) async fn lets_in_the_purged(
        &self,
        tenant: &TenantId,
        place: &Place,
    ) -> Result<Option<bool>, Failure> {
        let Some(credentials) = self.credentials_of(tenant.as_str()).await? else { return Ok(None) };
        let client = self.acting_as(credentials);
        let tries = [
            list(&client, place).await,
            write(&client, place).await,
            read(&client, &place.bucket, &place.probe_key()).await,
        ];
        for outcome in tries {
            let is_strange = outcome.as_ref().is_err_and(Fault::is_stranger);
            if !is_strange && passed(outcome)? {
                return Ok(Some(true));
            }
        }
        Ok(Some(false))
    }

    /// What the neighbour gets, where one is configured.
    pub(super) async fn neighbour(&self, bucket: &str) -> Result<Neighbour, Failure> {
        let Some(key) = &self.neighbour_key else { return Ok(Neighbour::Passes) };
        let at = format!("{} in bucket {bucket}", quote(key));
        let unproven = |why: &str| format!("{why}: that the denial leaves others alone is not proven");
        let Some(credentials) = self.credentials_of(NEIGHBOUR).await? else {
            let why = format!("the probe credentials have no profile {NEIGHBOUR}, which would read {at}");
            return Ok(Neighbour::Untried(unproven(&why)));
        };
        match keep(&self.ours, bucket, key).await {
            Ok(()) => {}
            Err(fault) if fault.is_denied() => {
                let why = format!("we have no right to keep {at}, which {NEIGHBOUR} would read");
                return Ok(Neighbour::Refused(unproven(&why)));
            }
            Err(fault) => return Err(fault.failing("the neighbour's object cannot be kept")),
        }
        let outcome = read(&self.acting_as(credentials), bucket, key).await;
        if outcome.as_ref().is_err_and(Fault::is_stranger) {
            let why = format!(
                "the object store does not know the credential of {NEIGHBOUR}, which would read {at}"
            );
            return Ok(Neighbour::Untried(unproven(&why)));
        }
        if passed(outcome)? {
            return Ok(Neighbour::Passes);
        }
        // Whoever looks while a denial stands cannot tell the two.
        let why =
            format!("{NEIGHBOUR} cannot read {at}, for want of a right of its own or because of our denial");
        Ok(Neighbour::Refused(unproven(&why)))
    }

    async fn credentials_of(&self, profile: &str) -> Result<Option<Credentials>, Failure> {
        let Some(file) = &self.credentials else { return Ok(None) };
        file.of(profile).await.map_err(|error| {
            tracing::warn!(error = %error, "the probe credentials cannot be read");
            Failure::retryable("the file with the probe credentials cannot be read")
        })
    }

    fn acting_as(&self, credentials: Credentials) -> Client {
        let config = self.ours.config().to_builder();
        Client::from_conf(
            config.credentials_provider(credentials).identity_cache(IdentityCache::no_cache()).build(),
        )
    }
}

fn public(key: &str) -> String {
    format!(
        "anybody can read {} without a signature, and maybe others: make the tenant's objects private, and block public \
         access to the bucket",
        quote(key)
    )
}

/// Whether a request without a signature was served. One that cannot be made out is refused; one that is not there any more
/// was no one's to read.
fn unsigned(outcome: Result<(), Fault>) -> Result<bool, Failure> {
    match outcome {
        Ok(()) => Ok(true),
        // But for those that are about the moment.
        Err(Fault::Refused { status: 400..=407 | 409..=428 | 430..=499, .. }) => Ok(false),
        Err(fault) => Err(fault.failing("access without a signature cannot be tried")),
    }
}

/// Sees to it that an empty object is there.
async fn keep(ours: &Client, bucket: &str, key: &str) -> Result<(), Fault> {
    match ours.head_object().bucket(bucket).key(key).send().await.map_err(Fault::from) {
        Err(fault) if fault.is_missing() => {
            let put =
                ours.put_object().bucket(bucket).key(key).body(ByteStream::from_static(b"")).send().await;
            put.map(drop).map_err(Fault::from)
        }
        other => other.map(drop),
    }
}

async fn read(client: &Client, bucket: &str, key: &str) -> Result<(), Fault> {
    client.get_object().bucket(bucket).key(key).send().await.map(drop).map_err(Fault::from)
}

async fn list(client: &Client, place: &Place) -> Result<(), Fault> {
    let list = client.list_objects_v2().bucket(&place.bucket).prefix(&place.prefix).max_keys(1);
    list.send().await.map(drop).map_err(Fault::from)
}

async fn write(client: &Client, place: &Place) -> Result<(), Fault> {
    let part = client.upload_part().bucket(&place.bucket).key(place.probe_key()).upload_id(NO_UPLOAD);
    let part = part.part_number(1).body(ByteStream::from_static(b"probe"));
    part.send().await.map(drop).map_err(Fault::from)
}

/// Whether it got past the guard: what is not there is told only to those who may see it.
fn passed(outcome: Result<(), Fault>) -> Result<bool, Failure> {
    match outcome {
        Ok(()) => Ok(true),
        Err(fault) if fault.is_missing() => Ok(true),
        Err(fault) if fault.is_stranger() => Err(Failure::retryable(
            "the object store does not know the credential with which access is tried",
        )),
        Err(fault) if fault.is_denied() => Ok(false),
        Err(fault) => Err(fault.failing("access cannot be tried")),
    }
}

//! What the object store remembers of a tenant for us: its state by name and the generation applied last.
//!
//! An object beside the tenants' data, tagged with the state, that tells Suspended from Archived and an old change from
//! a new one. It is written under the lock of the tenant's bucket only, after the bucket's policy: what was answered is in
//! it. In a shared bucket it outlives the tenant's data: it says that the tenant was purged, and refuses what comes late.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::EncodingType;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};

use super::super::Failure;
use super::super::unreached::Unreached;
use super::fault::Fault;
use super::place::{Place, RECORDS, is_record};
use super::purge;
use super::stamp::Stamp;
use crate::domain::lifecycle::Desired;

/// The tag that shows the state to lifecycle rules and to people.
pub(super) const TAG: &str = "tenantry-state";

/// Records read at once.
const READS_MAX: usize = 16;

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// For people; the object's name is the uid.
    pub tenant_id: String,
    /// The state it was brought to.
    pub state: Desired,
    /// By which change.
    pub generation: u64,
}

/// The record of a tenant, if there is one. One that cannot be read counts as none, and is written anew.
pub(super) async fn read(client: &Client, place: &Place) -> Result<Option<Record>, Fault> {
    read_at(client, &place.record_bucket, &place.record_key).await
}

/// The same of a place of which no more is known.
pub(super) async fn read_at(client: &Client, bucket: &str, key: &str) -> Result<Option<Record>, Fault> {
    let answer = client.get_object().bucket(bucket).key(key).send().await;
    let body = match answer.map_err(Fault::from) {
        Ok(answer) => answer.body.collect().await.map_err(|_| Fault::Unanswered)?,
        Err(fault) if fault.is_missing() => return Ok(None),
        Err(fault) => return Err(fault),
    };
    Ok(serde_json::from_slice(&body.into_bytes()).ok())
}

/// Whether a tenant is known there that was not purged.
pub(super) async fn is_living(client: &Client, bucket: &str, key: &str) -> Result<bool, Fault> {
    Ok(read_at(client, bucket, key).await?.is_some_and(|record| record.state != Desired::Deleted))
}

/// What is made of the first of the records of later tenants that something can be made of, of those that were not purged. One
/// list of them is looked at.
pub(super) async fn first_later<T>(
    client: &Client,
    place: &Place,
    make: impl Fn(&str, Record) -> Option<T>,
) -> Result<Option<T>, Fault> {
    let bucket = place.record_bucket.as_str();
    let list = client.list_objects_v2().bucket(bucket).prefix(RECORDS).delimiter("/");
    let list = list.start_after(&place.record_key).encoding_type(EncodingType::Url);
    let page = list.send().await.map_err(Fault::from)?;
    let keys: Vec<String> =
        page.contents().iter().filter_map(|object| object.key()).map(purge::decode).collect();
    let later = keys.into_iter().filter(|key| is_record(key) && *key > place.record_key);
    let mut read = stream::iter(later)
        .map(|key| async move { Ok::<_, Fault>((read_at(client, bucket, &key).await?, key)) })
        .buffered(READS_MAX);
    while let Some((record, key)) = read.try_next().await? {
        let living = record.filter(|record| record.state != Desired::Deleted);
        if let Some(made) = living.and_then(|record| make(&key, record)) {
            return Ok(Some(made));
        }
    }
    Ok(None)
}

/// Remembers.
pub(super) async fn write(
    client: &Client,
    place: &Place,
    record: &Record,
    stamp: &Stamp,
) -> Result<(), Fault> {
    let text = serde_json::to_vec(record).map_err(|_| Fault::NotSent(Unreached::unmade()))?;
    let put = client.put_object().bucket(&place.record_bucket).key(&place.record_key);
    let put = put.content_type("application/json").tagging(format!("{TAG}={}", record.state.as_str()));
    put.body(ByteStream::from(text)).customize().config_override(stamp.config()).send().await?;
    Ok(())
}

/// Forgets, with all versions where the bucket keeps them; that there was nothing is as good.
pub(super) async fn remove(client: &Client, place: &Place) -> Result<(), Failure> {
    let own =
        Place { bucket: place.record_bucket.clone(), prefix: place.record_key.clone(), ..place.clone() };
    purge::remove_few(client, &own).await
}

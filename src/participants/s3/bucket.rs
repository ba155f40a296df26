//! Buckets that belong to one tenant: made, tagged and removed with it.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration, Tag, Tagging};

use super::super::Failure;
use super::fault::Fault;
use super::record::TAG;
use crate::domain::lifecycle::Desired;

/// AWS's first region, whose name must not be said when a bucket is made there.
const NO_CONSTRAINT: &str = "us-east-1";

pub(super) async fn exists(client: &Client, bucket: &str) -> Result<bool, Failure> {
    match client.head_bucket().bucket(bucket).send().await.map_err(Fault::from) {
        Ok(_) => Ok(true),
        Err(fault) if fault.is_missing() => Ok(false),
        Err(fault) => Err(fault.failing("the bucket cannot be looked at")),
    }
}

/// Makes a bucket where there is none. `place` is a region of AWS; other stores have one place only.
pub(super) async fn make(client: &Client, bucket: &str, place: Option<&str>) -> Result<(), Failure> {
    if exists(client, bucket).await? {
        return Ok(());
    }
    let place = place.filter(|region| *region != NO_CONSTRAINT).map(|region| {
        CreateBucketConfiguration::builder()
            .location_constraint(BucketLocationConstraint::from(region))
            .build()
    });
    let create = client.create_bucket().bucket(bucket).set_create_bucket_configuration(place);
    match create.send().await.map_err(Fault::from) {
        // Another replica was as fast.
        Err(Fault::Refused { code, .. }) if code == "BucketAlreadyOwnedByYou" => Ok(()),
        Err(Fault::Refused { code, .. }) if code == "BucketAlreadyExists" => {
            Err(Failure::permanent("the bucket's name is taken by somebody else"))
        }
        Err(fault) => Err(fault.failing("the bucket cannot be made")),
        Ok(_) => Ok(()),
    }
}

/// Removes an empty bucket, with its policy and its tags.
pub(super) async fn remove(client: &Client, bucket: &str) -> Result<(), Failure> {
    match client.delete_bucket().bucket(bucket).send().await.map_err(Fault::from) {
        Err(Fault::Refused { code, .. }) if code == "BucketNotEmpty" => {
            Err(Failure::waiting("the bucket was filled again while it was emptied"))
        }
        Err(fault) if !fault.is_missing() => Err(fault.failing("the bucket cannot be removed")),
        _ => Ok(()),
    }
}

/// Tags the bucket while the tenant is archived, and leaves the tags of others alone.
pub(super) async fn tag(client: &Client, bucket: &str, state: Desired) -> Result<(), Failure> {
    let before = tags(client, bucket).await?;
    let mut wanted: Vec<Tag> = before.iter().filter(|tag| tag.key() != TAG).cloned().collect();
    if state == Desired::Archived {
        let tag = Tag::builder().key(TAG).value(state.as_str()).build();
        wanted.push(tag.map_err(|_| Failure::permanent("the bucket's tag cannot be written"))?);
    }
    if wanted == before {
        return Ok(());
    }
    let done = if wanted.is_empty() {
        client.delete_bucket_tagging().bucket(bucket).send().await.map(drop).map_err(Fault::from)
    } else {
        let tagging = Tagging::builder().set_tag_set(Some(wanted)).build();
        let tagging = tagging.map_err(|_| Failure::permanent("the bucket's tags cannot be written"))?;
        client
            .put_bucket_tagging()
            .bucket(bucket)
            .tagging(tagging)
            .send()
            .await
            .map(drop)
            .map_err(Fault::from)
    };
    done.map_err(|fault| fault.failing("the bucket's tags cannot be written"))
}

/// Whether the bucket is tagged as archived.
pub(super) async fn is_archived(client: &Client, bucket: &str) -> Result<bool, Failure> {
    let tags = tags(client, bucket).await?;
    Ok(tags.iter().any(|tag| tag.key() == TAG && tag.value() == Desired::Archived.as_str()))
}

async fn tags(client: &Client, bucket: &str) -> Result<Vec<Tag>, Failure> {
    match client.get_bucket_tagging().bucket(bucket).send().await.map_err(Fault::from) {
        Ok(answer) => Ok(answer.tag_set),
        // There are none.
        Err(fault) if fault.is_missing() => Ok(Vec::new()),
        Err(fault) => Err(fault.failing("the bucket's tags cannot be read")),
    }
}

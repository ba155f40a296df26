//! What the records say of every tenant in a bucket: what its policy is rebuilt from.
//!
//! A bucket may have thousands of records, and whoever holds its lock has little time. So they are read before, and
//! under the lock only those whose content has changed since.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::EncodingType;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::super::Failure;
use super::denial;
use super::desk::Edit;
use super::fault::Fault;
use super::place::{self, Place, RECORDS, is_record};
use super::policy::Denial;
use super::purge;
use super::record::{self, Record};
use crate::domain::lifecycle::Desired;

/// Records read at once.
const READS_MAX: usize = 16;

/// Records by their keys, each with the mark of its content.
#[derive(Default)]
pub(super) struct Roster {
    records: BTreeMap<String, (Option<String>, Option<Record>)>,
}

/// What is denied to whom.
pub(super) struct Said {
    pub principals: Vec<String>,
    pub denial: Option<Denial>,
}

impl Roster {
    /// Reads those that are not here as they are now, of the bucket that some edits are about.
    pub(super) async fn refresh(&mut self, client: &Client, edits: &[Edit]) -> Result<(), Failure> {
        let read = self.read(client, edits).await;
        read.map_err(|fault| fault.failing("the records of the bucket's tenants cannot be read"))
    }

    async fn read(&mut self, client: &Client, edits: &[Edit]) -> Result<(), Fault> {
        let Some(place) = edits.first().map(|edit| &edit.place) else { return Ok(()) };
        let listed = if place.own_bucket {
            // Its policy is about one tenant, and the records beside are of others' buckets.
            BTreeMap::from([(place.record_key.clone(), None)])
        } else {
            list(client, &place.record_bucket).await?
        };
        self.records.retain(|key, (mark, _)| mark.is_some() && listed.get(key) == Some(mark));
        let missing = listed.into_iter().filter(|(key, _)| !self.records.contains_key(key));
        let missing: Vec<_> = missing.collect();
        let bucket = &place.record_bucket;
        let read: Vec<_> = stream::iter(missing)
            .map(|(key, mark)| async move {
                let record = record::read_at(client, bucket, &key).await?;
                Ok::<_, Fault>((key, (mark, record)))
            })
            .buffer_unordered(READS_MAX)
            .try_collect()
            .await?;
        self.records.extend(read);
        Ok(())
    }

    /// What they say. Of two tenants that had the same id one after the other, the later one has the later uid, and the
    /// last word.
    pub(super) fn said(&self, templates: &[String]) -> Vec<Said> {
        let records = self.records.iter().filter_map(|(key, (_, record))| Some((key, record.as_ref()?)));
        let mut heard = BTreeSet::new();
        records
            .rev()
            .map(|(key, record)| {
                let mut principals = place::principals_of(templates, &record.tenant_id, key);
                // One that was purged stays denied, unless it is another tenant's by now.
                principals.retain(|principal| heard.insert(principal.clone()));
                Said { principals, denial: denial(record.state) }
            })
            .collect()
    }
}

/// The id of another tenant whose record is in the bucket that is one tenant's alone. One that was purged has nothing left
/// there but a denial, which goes with the bucket.
pub(super) async fn living_guest(client: &Client, place: &Place) -> Result<Option<String>, Failure> {
    let look = async {
        let listed = list(client, &place.bucket).await?.into_keys();
        let others = listed.filter(|key| is_record(key) && *key != place.record_key);
        let read = stream::iter(others)
            .map(|key| async move { record::read_at(client, &place.bucket, &key).await })
            .buffer_unordered(READS_MAX)
            .try_filter_map(|record| async move { Ok(record.filter(|it| it.state != Desired::Deleted)) });
        Ok::<_, Fault>(pin!(read).try_next().await?.map(|record| record.tenant_id))
    };
    look.await.map_err(|fault| fault.failing("records of others in the tenant's bucket cannot be looked for"))
}

/// The keys of all records in a bucket, and the marks of their contents.
async fn list(client: &Client, bucket: &str) -> Result<BTreeMap<String, Option<String>>, Fault> {
    let mut listed = BTreeMap::new();
    let mut from = None;
    loop {
        // Claims lie one level below.
        let list = client.list_objects_v2().bucket(bucket).prefix(RECORDS).delimiter("/");
        let list = list.set_continuation_token(from);
        // In a bucket of its own a tenant may have put names there that XML cannot carry.
        let page = list.encoding_type(EncodingType::Url).send().await.map_err(Fault::from)?;
        for object in page.contents() {
            if let Some(key) = object.key() {
                listed.insert(purge::decode(key), object.e_tag().map(str::to_owned));
            }
        }
        from = page.next_continuation_token().map(str::to_owned);
        if from.is_none() || page.is_truncated() != Some(true) {
            return Ok(listed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_lives_again_is_not_denied_by_the_record_of_the_one_before() {
        let record = |uid: &str, tenant_id: &str, state| {
            let record = Record { tenant_id: tenant_id.to_owned(), state, generation: 1 };
            (format!("{RECORDS}{uid}"), (None, Some(record)))
        };
        let records = [
            record("01", "acme", Desired::Deleted),
            record("02", "gone", Desired::Deleted),
            record("03", "acme", Desired::Active),
        ];
        let said = Roster { records: BTreeMap::from(records) }.said(&["user/{tenant_id}".to_owned()]);
        let of = |name: &str| -> Vec<Option<Denial>> {
            said.iter().filter(|said| said.principals == [name]).map(|said| said.denial).collect()
        };
        assert_eq!((of("user/acme"), of("user/gone")), (vec![None], vec![Some(Denial::Everything)]));
    }
}

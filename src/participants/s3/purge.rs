//! Removal of everything that a tenant has: objects, versions, delete markers, unfinished uploads.
//!
//! A page is listed, a page is removed, and the next list starts from the front: nothing has to be remembered between
//! calls, and a removal that was cut short goes on where it was.

use std::time::Instant;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{Delete, EncodingType, ObjectIdentifier};
use futures_util::stream::{self, TryStreamExt as _};

use super::super::Failure;
use super::fault::Fault;
use super::place::Place;
use super::unsaid::{self, is_xml};
use crate::domain::text::quote;

/// Objects of one page, the most that S3 lists or removes with one call.
pub(super) const PAGE: i32 = 1_000;
/// Calls at once where each removes one thing.
pub(super) const SINGLE_CALLS_MAX: usize = 16;

/// One thing to remove: an object, one of its versions, or a delete marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Thing {
    pub(super) key: String,
    pub(super) version: Option<String>,
}

/// An upload that was begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Upload {
    key: String,
    id: String,
}

/// How much one call removes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Until when a further page is begun.
    pub deadline: Instant,
    /// So many objects, versions and uploads; a page more at most.
    pub count: usize,
}

/// Removes until nothing is left, or a bound is reached: then what was done is done, and the failure says so. A call
/// removes a page at least.
pub(super) async fn purge(client: &Client, place: &Place, bounds: Bounds) -> Result<(), Failure> {
    let mut removed: usize = 0;
    let (mut listed_before, mut before) = (Vec::new(), (Vec::new(), Vec::new()));
    loop {
        let listed = things(client, place, &place.prefix, PAGE).await?;
        // Nothing of it went: its names may not be the true ones. What is left of uploads goes all the same.
        let is_stuck = !listed.is_empty() && listed == listed_before;
        let uploads = if listed.is_empty() || is_stuck { uploads(client, place).await? } else { Vec::new() };
        if listed.is_empty() && uploads.is_empty() {
            return Ok(());
        }
        let things = if is_stuck {
            unsaid::find(client, place, &listed, bounds.deadline).await?
        } else {
            listed.clone()
        };
        let page = (things, uploads);
        if page == before || page == (Vec::new(), Vec::new()) {
            let uploads = page.1.iter().map(|upload| &upload.key);
            return Err(still_listed(page.0.iter().chain(&listed).map(|thing| &thing.key).chain(uploads)));
        }
        removed += page.0.len() + page.1.len();
        remove_all(client, place, &page.0).await?;
        abort_all(client, place, &page.1).await?;
        (listed_before, before) = (listed, page);
        if Instant::now() >= bounds.deadline || removed >= bounds.count {
            return Err(Failure::unfinished(format!(
                "{removed} objects, versions and uploads were removed, more may be left"
            )));
        }
    }
}

/// Removes the objects and versions below a prefix that has few.
pub(super) async fn remove_few(client: &Client, place: &Place) -> Result<(), Failure> {
    let mut before = Vec::new();
    loop {
        let things = things(client, place, &place.prefix, PAGE).await?;
        if things.is_empty() {
            return Ok(());
        }
        if things == before {
            return Err(still_listed(things.iter().map(|thing| &thing.key)));
        }
        remove_all(client, place, &things).await?;
        before = things;
    }
}

fn still_listed<'a>(mut keys: impl Iterator<Item = &'a String>) -> Failure {
    let name = keys.next().map_or_else(String::new, |key| format!(": {} and maybe more", quote(key)));
    Failure::retryable(format!("the object store still lists what it says it has removed{name}"))
}

/// Whether nothing is left; a bucket that is gone is empty.
pub(super) async fn is_empty(client: &Client, place: &Place) -> Result<bool, Failure> {
    Ok(things(client, place, &place.prefix, 1).await?.is_empty() && uploads(client, place).await?.is_empty())
}

/// Some of the keys that are there to be read, in their order.
pub(super) async fn some_keys(client: &Client, place: &Place, max: i32) -> Result<Vec<String>, Failure> {
    Ok(objects(client, place, &place.prefix, max).await?.into_iter().map(|thing| thing.key).collect())
}

/// Up to a page of what is there below a prefix of the place. Where a server does not know versions, its objects.
pub(super) async fn things(
    client: &Client,
    place: &Place,
    prefix: &str,
    max: i32,
) -> Result<Vec<Thing>, Failure> {
    let list = client.list_object_versions().bucket(&place.bucket).prefix(prefix);
    let page = match list.encoding_type(EncodingType::Url).max_keys(max).send().await.map_err(Fault::from) {
        Ok(page) => page,
        Err(fault) if fault.is_missing() => return Ok(Vec::new()),
        Err(fault) if fault.is_unknown_call() => return objects(client, place, prefix, max).await,
        Err(fault) => return Err(fault.failing("the tenant's objects cannot be listed")),
    };
    let encoding = page.encoding_type();
    let versions = page.versions().iter().map(|version| (version.key(), version.version_id()));
    let markers = page.delete_markers().iter().map(|marker| (marker.key(), marker.version_id()));
    let mut things = Vec::new();
    for (key, version) in versions.chain(markers) {
        for key in names(place, key, encoding)? {
            let version = version.filter(|version| !version.is_empty()).map(str::to_owned);
            things.push(Thing { key, version });
        }
    }
    Ok(things)
}

/// The same of the objects that are there to be read.
pub(super) async fn objects(
    client: &Client,
    place: &Place,
    prefix: &str,
    max: i32,
) -> Result<Vec<Thing>, Failure> {
    let list = client.list_objects_v2().bucket(&place.bucket).prefix(prefix);
    let page = list.encoding_type(EncodingType::Url).max_keys(max).send().await.map_err(Fault::from);
    let page = page.map_err(|fault| fault.failing("the tenant's objects cannot be listed"))?;
    let mut things = Vec::new();
    for object in page.contents() {
        let keys = names(place, object.key(), page.encoding_type())?;
        things.extend(keys.into_iter().map(|key| Thing { key, version: None }));
    }
    Ok(things)
}

/// What a key in a list may stand for. Some servers encode without saying so: then it is both, as it stands and decoded.
/// Whichever is wrong is not there, or is the tenant's too.
fn names(
    place: &Place,
    listed: Option<&str>,
    encoding: Option<&EncodingType>,
) -> Result<Vec<String>, Failure> {
    let listed = listed.unwrap_or_default();
    let decoded = decode(listed);
    mine(place, &decoded)?;
    if encoding == Some(&EncodingType::Url) || decoded == listed || !place.holds(listed) {
        return Ok(vec![decoded]);
    }
    Ok(vec![decoded, listed.to_owned()])
}

/// The last look before something is removed.
fn mine(place: &Place, key: &str) -> Result<(), Failure> {
    if place.holds(key) && !key.is_empty() {
        return Ok(());
    }
    Err(Failure::permanent(format!(
        "the object store lists {} below the tenant's prefix: nothing more is removed",
        quote(key)
    )))
}

/// The tenant's unfinished uploads. The whole bucket is asked: some servers cannot list those below a prefix.
async fn uploads(client: &Client, place: &Place) -> Result<Vec<Upload>, Failure> {
    let mut found = Vec::new();
    let (mut key_marker, mut id_marker) = (None, None);
    loop {
        let list = client.list_multipart_uploads().bucket(&place.bucket).encoding_type(EncodingType::Url);
        let list = list.set_key_marker(key_marker).set_upload_id_marker(id_marker).max_uploads(PAGE);
        let page = match list.send().await.map_err(Fault::from) {
            Ok(page) => page,
            Err(fault) if fault.is_missing() => return Ok(found),
            Err(fault) => return Err(fault.failing("unfinished uploads cannot be listed")),
        };
        let encoding = page.encoding_type();
        for upload in
            page.uploads().iter().filter(|upload| place.holds(&decode(upload.key().unwrap_or_default())))
        {
            let id = upload.upload_id().unwrap_or_default();
            // SeaweedFS says that it encodes these and does not. A wrong key cannot hurt: the upload's id decides.
            let keys = names(place, upload.key(), None)?;
            found.extend(keys.into_iter().map(|key| Upload { key, id: id.to_owned() }));
        }
        if page.is_truncated() != Some(true) || page.uploads().is_empty() {
            return Ok(found);
        }
        let next = page.next_key_marker().unwrap_or_default();
        key_marker = Some(if encoding == Some(&EncodingType::Url) { decode(next) } else { next.to_owned() });
        id_marker = page.next_upload_id_marker().map(str::to_owned);
    }
}

/// Many with one call; those whose names XML cannot carry, one by one.
async fn remove_all(client: &Client, place: &Place, things: &[Thing]) -> Result<(), Failure> {
    let (together, alone): (Vec<&Thing>, Vec<&Thing>) = things.iter().partition(|thing| is_xml(&thing.key));
    if !together.is_empty() {
        remove_together(client, place, &together).await?;
    }
    let calls = stream::iter(alone.into_iter().map(Ok));
    calls.try_for_each_concurrent(SINGLE_CALLS_MAX, |thing| remove_one(client, place, thing)).await
}

async fn remove_together(client: &Client, place: &Place, things: &[&Thing]) -> Result<(), Failure> {
    let unsaid = |_| Failure::permanent("the list of objects to remove cannot be written");
    let objects: Result<Vec<ObjectIdentifier>, _> = things
        .iter()
        .map(|thing| {
            ObjectIdentifier::builder().key(&thing.key).set_version_id(thing.version.clone()).build()
        })
        .collect();
    let delete = Delete::builder().set_objects(Some(objects.map_err(unsaid)?)).quiet(true).build();
    let delete = client.delete_objects().bucket(&place.bucket).delete(delete.map_err(unsaid)?);
    let answer = delete.send().await.map_err(Fault::from);
    let answer = answer.map_err(|fault| fault.failing("objects cannot be removed"))?;
    let kept = answer
        .errors()
        .iter()
        .find(|error| error.code() != Some("NoSuchKey") && error.code() != Some("NoSuchVersion"));
    match kept {
        None => Ok(()),
        Some(error) if matches!(error.code(), Some("AccessDenied" | "InvalidRequest" | "ObjectLocked")) => {
            Err(Failure::permanent(format!(
                "{} and maybe more cannot be removed: a lock of the object, a legal hold or a policy keeps them",
                quote(error.key().unwrap_or_default())
            )))
        }
        Some(error) => Err(Failure::retryable(format!(
            "objects cannot be removed: the object store says {}",
            quote(error.code().unwrap_or_default())
        ))),
    }
}

async fn remove_one(client: &Client, place: &Place, thing: &Thing) -> Result<(), Failure> {
    let delete =
        client.delete_object().bucket(&place.bucket).key(&thing.key).set_version_id(thing.version.clone());
    match delete.send().await.map_err(Fault::from) {
        Err(fault) if !fault.is_missing() => Err(fault.failing("an object cannot be removed")),
        _ => Ok(()),
    }
}

async fn abort_all(client: &Client, place: &Place, uploads: &[Upload]) -> Result<(), Failure> {
    let calls = stream::iter(uploads.iter().map(Ok));
    calls
        .try_for_each_concurrent(SINGLE_CALLS_MAX, |upload| async move {
            let abort =
                client.abort_multipart_upload().bucket(&place.bucket).key(&upload.key).upload_id(&upload.id);
            match abort.send().await.map_err(Fault::from) {
                Err(fault) if !fault.is_missing() => {
                    Err(fault.failing("an unfinished upload cannot be removed"))
                }
                _ => Ok(()),
            }
        })
        .await
}

/// Undoes the encoding of keys in lists: `%XX`, and `+` for a space.
pub(super) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let mut ahead = rest.clone();
                let digits =
                    [ahead.next(), ahead.next()].map(|digit| digit.and_then(|d| char::from(d).to_digit(16)));
                if let [Some(high), Some(low)] = digits {
                    bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                    rest = ahead;
                } else {
                    bytes.push(b'%');
                }
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_lists_are_decoded() {
        for (encoded, key) in [
            ("t/1/a", "t/1/a"),
            ("a+b", "a b"),
            ("a%2Bb%20c", "a+b c"),
            ("%C3%A4%E2%82%AC", "ä€"),
            ("100%", "100%"),
            ("%zz%2", "%zz%2"),
            ("%01", "\u{1}"),
        ] {
            assert_eq!(decode(encoded), key, "{encoded}");
        }
    }
}

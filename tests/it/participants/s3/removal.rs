//! Removal: all of the tenant's, nothing of anybody else's.

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use tenantry::domain::lifecycle::Desired;
use tenantry::participants::{FailureKind, Observed, Participant, TenantRef};

use super::client::put;
use super::on_each_server;
use super::store::{Bucket, Store, bring};

on_each_server!(
    objects_versions_markers_and_unfinished_uploads_go_and_the_neighbours_stay,
    a_large_prefix_is_removed_in_parts,
    a_removal_denies_before_it_removes,
    a_purge_never_lets_the_tenants_key_in_again,
    an_object_that_is_locked_needs_a_person,
    no_name_of_an_object_blocks_a_purge,
);

/// Names that are hard to list, to encode or to write down.
fn hostile_keys(prefix: &str) -> Vec<String> {
    let mut longest = format!("{prefix}{}", ["k"; 100].concat());
    while longest.len() < 1_024 {
        longest.push_str(if longest.len() % 101 == 0 { "/" } else { "k" });
    }
    let longest = longest.split_off(prefix.len());
    [
        "plain",
        "sub/dir/deep",
        "with space",
        "plus+plus",
        "100%",
        "%2F",
        "a&b<c>\"d'",
        "größe-日本語-😀",
        "/leading",
        "trailing/x",
        "a=b?c#d",
        "comma,semi;colon",
        "~tilde*star",
        "\\back",
        &longest,
    ]
    .map(str::to_owned)
    .to_vec()
}

async fn versioned(bucket: &Bucket) {
    let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let put = bucket.store.ours().put_bucket_versioning().bucket(&bucket.name).versioning_configuration(on);
    put.send().await.unwrap();
}

/// Keys of all versions and markers below a prefix.
async fn versions(bucket: &Bucket, prefix: &str) -> usize {
    let list = bucket.store.ours().list_object_versions().bucket(&bucket.name).prefix(prefix);
    let page = list.encoding_type(aws_sdk_s3::types::EncodingType::Url).send().await.unwrap();
    page.versions().len() + page.delete_markers().len()
}

async fn fill(bucket: &Bucket, prefix: &str) {
    let ours = bucket.store.ours();
    for key in hostile_keys(prefix) {
        for text in ["old", "new"] {
            put(&ours, &bucket.name, &format!("{prefix}{key}"), text)
                .await
                .unwrap_or_else(|error| panic!("{key:?}: {error:?}"));
        }
    }
    ours.delete_object().bucket(&bucket.name).key(format!("{prefix}plain")).send().await.unwrap();
    for key in ["unfinished", "un finished+ä%"] {
        ours.create_multipart_upload()
            .bucket(&bucket.name)
            .key(format!("{prefix}{key}"))
            .send()
            .await
            .unwrap();
    }
}

/// Removes the tenant as the engine does: what can be tried again is tried again.
async fn remove(target: &impl Participant, tenant: &TenantRef, generation: u64) {
    let mut failed = Ok(());
    for _ in 0..20 {
        failed = target.apply(tenant, Desired::Deleted, generation).await;
        match &failed {
            Err(failure) if failure.kind == FailureKind::Retryable => {
                tokio::time::sleep(std::time::Duration::from_millis(250)).await;
            }
            _ => break,
        }
    }
    failed.unwrap();
}

async fn uploads(bucket: &Bucket) -> Vec<String> {
    let list = bucket.store.ours().list_multipart_uploads().bucket(&bucket.name).send().await.unwrap();
    list.uploads().iter().map(|upload| upload.key().unwrap_or_default().to_owned()).collect()
}

async fn objects_versions_markers_and_unfinished_uploads_go_and_the_neighbours_stay(store: &'static Store) {
    let bucket = store.bucket("removal").await;
    versioned(&bucket).await;
    let (target, tenant, neighbour) = (bucket.target(""), bucket.tenant("acme"), bucket.tenant("acme2"));
    bring(&target, &tenant, Desired::Active, 1).await;
    bring(&target, &neighbour, Desired::Active, 1).await;
    fill(&bucket, "t/acme/").await;
    fill(&bucket, "t/acme2/").await;
    let (mine, theirs) = (versions(&bucket, "t/acme/").await, versions(&bucket, "t/acme2/").await);
    // Some servers take two slashes for one.
    assert!(mine >= 2 * hostile_keys("t/acme/").len() - 1, "versions and a marker are there: {mine}");
    assert_eq!(uploads(&bucket).await.len(), 4);

    bring(&target, &tenant, Desired::Archived, 2).await;
    for generation in [3, 3, 4] {
        remove(&target, &tenant, generation).await;
        assert_eq!(target.observe(&tenant).await, Ok(Observed::effect(Desired::Deleted, generation)));
    }
    assert_eq!(versions(&bucket, "t/acme/").await, 0);
    assert_eq!(versions(&bucket, "t/acme2/").await, theirs);
    let left = uploads(&bucket).await;
    assert!(left.len() == 2 && left.iter().all(|key| key.starts_with("t/acme2/")), "{left:?}");
    assert_eq!(bucket.denied().await, 1, "whoever was purged stays out");
    assert_eq!(target.observe(&neighbour).await, Ok(Observed::effect(Desired::Active, 1)));
}

async fn a_purge_never_lets_the_tenants_key_in_again(store: &'static Store) {
    let bucket = store.bucket("purged-for-good").await;
    let (target, tenant) = (bucket.target(""), bucket.tenant("acme"));
    bring(&target, &tenant, Desired::Active, 1).await;
    let own = store.of("acme");
    put(&own, &bucket.name, "t/acme/a", "x").await.expect("it is let in");
    for generation in [2, 2, 3] {
        remove(&target, &tenant, generation).await;
        assert_eq!(target.observe(&tenant).await, Ok(Observed::effect(Desired::Deleted, generation)));
        assert!(put(&own, &bucket.name, "t/acme/a", "x").await.is_err(), "the key puts");
        let list = own.list_objects_v2().bucket(&bucket.name).prefix("t/acme/").send().await;
        assert!(list.is_err(), "the key lists");
        let get = own.get_object().bucket(&bucket.name).key("t/acme/.tenantry-probe").send().await;
        assert!(get.is_err(), "the key gets");
    }
    assert_eq!(versions(&bucket, "t/acme/").await, 0, "looking leaves nothing");
    let late = target.apply(&tenant, Desired::Active, 1).await.unwrap_err();
    assert_eq!(late.message, "a newer change was applied already");

    // What comes afterwards, whoever it is from, is no emptiness.
    put(&store.ours(), &bucket.name, "t/acme/late", "x").await.unwrap();
    assert_eq!(target.observe(&tenant).await, Ok(Observed::effect(Desired::Suspended, 3)));
    remove(&target, &tenant, 3).await;
    // And the denial that somebody takes away is missed.
    let site = bucket.site_policy().to_string();
    store.ours().put_bucket_policy().bucket(&bucket.name).policy(site).send().await.unwrap();
    assert_eq!(target.observe(&tenant).await, Ok(Observed::effect(Desired::Active, 3)));
    remove(&target, &tenant, 3).await;
    assert_eq!(target.observe(&tenant).await, Ok(Observed::effect(Desired::Deleted, 3)));

    // The id lives again, with the same principal: it is the new tenant's.
    let again = bucket.tenant("acme");
    bring(&target, &again, Desired::Active, 1).await;
    put(&own, &bucket.name, "t/acme/b", "x").await.expect("the new tenant is let in");
}

async fn a_large_prefix_is_removed_in_parts(store: &'static Store) {
    let bucket = store.bucket("large").await;
    let (target, tenant) = (bucket.target("purge_max = 1000"), bucket.tenant("acme"));
    bring(&target, &tenant, Desired::Active, 1).await;
    let ours = store.ours();
    for hundred in 0..11 {
        let puts = (0..100).map(|number| {
            let (ours, key) = (ours.clone(), format!("t/acme/{hundred}/{number}"));
            async move { put(&ours, "large", &key, "").await.unwrap() }
        });
        futures_util::future::join_all(puts).await;
    }
    let failure = target.apply(&tenant, Desired::Deleted, 2).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unfinished, "{failure}");
    assert!(failure.message.starts_with("1000 objects"), "{failure}");
    // It is what it was until all is gone: shut, and not yet empty.
    assert_eq!(target.observe(&tenant).await, Ok(Observed::effect(Desired::Suspended, 2)));
    target.apply(&tenant, Desired::Deleted, 2).await.unwrap();
    assert_eq!(target.observe(&tenant).await, Ok(Observed::effect(Desired::Deleted, 2)));
}

async fn a_removal_denies_before_it_removes(store: &'static Store) {
    let bucket = store.bucket("denied-first").await;
    let (target, tenant) = (bucket.target(""), bucket.tenant("acme"));
    bring(&target, &tenant, Desired::Active, 1).await;
    let own = store.of("acme");
    // A client that writes as long as it may.
    let writing = tokio::spawn(async move {
        let mut written = 0_u32;
        while put(&own, "denied-first", &format!("t/acme/{written}"), "x").await.is_ok() {
            written += 1;
        }
        written
    });
    while versions(&bucket, "t/acme/").await < 5 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    target.apply(&tenant, Desired::Deleted, 2).await.unwrap();
    assert!(writing.await.unwrap() >= 4, "it wrote until it was refused");
    assert_eq!(target.observe(&tenant).await, Ok(Observed::effect(Desired::Deleted, 2)));
}

async fn an_object_that_is_locked_needs_a_person(store: &'static Store) {
    use aws_sdk_s3::types::{ObjectLockRetention, ObjectLockRetentionMode};
    let bucket = store.bucket_with_locks("locked").await;
    let (target, tenant) = (bucket.target(""), bucket.tenant("acme"));
    bring(&target, &tenant, Desired::Active, 1).await;
    let ours = store.ours();
    put(&ours, "locked", "t/acme/kept", "by law").await.unwrap();
    put(&ours, "locked", "t/acme/other", "x").await.unwrap();
    let until = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
    let retention = ObjectLockRetention::builder().mode(ObjectLockRetentionMode::Compliance);
    let retention = retention.retain_until_date(until.into()).build();
    let lock = ours.put_object_retention().bucket("locked").key("t/acme/kept").retention(retention);
    lock.send().await.expect("the object is locked");
    let failure = target.apply(&tenant, Desired::Deleted, 2).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Permanent, "{failure}");
    assert!(failure.message.starts_with("\"t/acme/kept\" and maybe more cannot be removed"), "{failure}");
    assert_eq!(target.observe(&tenant).await, Ok(Observed::effect(Desired::Suspended, 2)));
    assert_eq!(versions(&bucket, "t/acme/other").await, 0, "the others are gone");
}

/// Of what XML cannot carry, some servers list something else.
async fn no_name_of_an_object_blocks_a_purge(store: &'static Store) {
    for is_versioned in [false, true] {
        let bucket = store.bucket(if is_versioned { "names-versioned" } else { "names" }).await;
        if is_versioned {
            versioned(&bucket).await;
        }
        let (target, tenant) = (bucket.target(""), bucket.tenant("acme"));
        bring(&target, &tenant, Desired::Active, 1).await;
        let ours = store.ours();
        let mut taken = 0;
        for name in ["\u{1}ctl", "a\rb", "plain", "\u{1}", "\u{fffe}", "\u{fffd}ctl", "%01ctl"] {
            for text in ["old", "new"] {
                // Some servers refuse such names.
                let put = put(&ours, &bucket.name, &format!("t/acme/{name}"), text).await;
                taken += usize::from(put.is_ok());
            }
        }
        assert!(taken >= 2, "{taken}");
        // Where versions are kept, this marks them.
        for name in ["\u{1}ctl", "deep/\u{1}\u{2}/\u{1f}"] {
            let key = format!("t/acme/{name}");
            let _ = put(&ours, &bucket.name, &key, "x").await;
            let _ = ours.delete_object().bucket(&bucket.name).key(key).send().await;
        }
        for key in ["t/acme/unfinished", "t/acme2/unfinished"] {
            ours.create_multipart_upload().bucket(&bucket.name).key(key).send().await.unwrap();
        }
        remove(&target, &tenant, 2).await;
        assert_eq!(target.observe(&tenant).await, Ok(Observed::effect(Desired::Deleted, 2)));
        assert_eq!(versions(&bucket, "t/acme/").await, 0);
        assert_eq!(uploads(&bucket).await, ["t/acme2/unfinished"]);
    }
}

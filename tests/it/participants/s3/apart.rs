//! Both layouts side by side on one store: a tenant that shares a bucket never shares one that is another's alone.

use tenantry::config::targets::Target;
use tenantry::config::{Config, Flags};
use tenantry::domain::lifecycle::Desired;
use tenantry::participants::s3::S3;
use tenantry::participants::{FailureKind, Observed, Participant as _, TenantRef};

use super::client::put;
use super::store::{Bucket, DEADLINE, Store, bring, seaweedfs, tenant_in};

/// Nobody's credential is tried: what counts here is what is removed.
const OWN: &str = "layout = 'bucket'\nprobe_credentials_file = 'none'\nneighbour_key = 'none'";

/// The targets of one configuration: tenants that share buckets, and tenants with a bucket and records by these names.
fn both(bucket: &Bucket, template: &str, records: &str) -> (S3, S3) {
    let own = format!("{OWN}\nbucket = '{template}'\nrecords_bucket = '{records}'");
    let named = |name: &str, more: &str| bucket.settings(more).replace("[store]", &format!("[{name}]"));
    let mut flags = Flags::default();
    flags.values.insert("cascade.targets", format!("{}\n{}", named("shared", ""), named("own", &own)));
    let config = Config::load(&flags, |_| None).expect("the settings are valid").config;
    let target = |name: &str| match &config.cascade.targets[name] {
        Target::S3(settings) => S3::new((**settings).clone(), DEADLINE, None),
        other => panic!("another kind: {other:?}"),
    };
    (target("shared"), target("own"))
}

async fn is_there(store: &Store, bucket: &str, key: &str) -> bool {
    store.ours().head_object().bucket(bucket).key(key).send().await.is_ok()
}

fn named(template: &str, tenant: &TenantRef) -> String {
    template.replace("{uid}", &tenant.uid.simple().to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_let_into_a_bucket_that_another_target_makes_or_keeps_records_in() {
    let store = seaweedfs().await;
    let bucket = store.bucket("apart-site").await;
    let (template, records) = ("apart-{uid}", "apart-records");
    let (shared, own) = both(&bucket, template, records);
    let alpha = bucket.tenant("other");
    own.apply(&alpha, Desired::Active, 1).await.unwrap();
    for taken in [named(template, &alpha), records.to_owned()] {
        let guest = tenant_in(&taken, "acme");
        for _ in 0..2 {
            let failure = shared.apply(&guest, Desired::Active, 1).await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::Permanent, "{failure}");
            for words in [taken.as_str(), "target own", "make the tenant anew with another bucket"] {
                assert!(failure.message.contains(words), "{words}: {failure}");
            }
        }
        assert!(!is_there(store, &taken, &format!(".tenantry/{}", guest.uid.simple())).await, "{taken}");
    }
    // Its neighbours by name are anybody's.
    bring(&shared, &bucket.tenant("acme"), Desired::Active, 1).await;
}

/// As a program left them that did not look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_is_in_anothers_bucket_already_can_be_shut_out_and_removed_and_nothing_else_goes() {
    let store = seaweedfs().await;
    let bucket = store.bucket("guest-site").await;
    let template = "guest-{uid}";
    let (shared, own) = both(&bucket, template, "guest-records");
    let alpha = bucket.tenant("other");
    own.apply(&alpha, Desired::Active, 1).await.unwrap();
    let taken = named(template, &alpha);
    let guest = tenant_in(&taken, "acme");
    bucket.target("neighbour_key = 'none'").apply(&guest, Desired::Active, 1).await.unwrap();
    let ours = store.ours();
    for key in ["alpha/data", "t/acme/data"] {
        put(&ours, &taken, key, "precious").await.unwrap();
    }
    let seen = shared.observe(&guest).await.unwrap();
    assert_eq!(seen.state, Some(Desired::Active));
    assert!(seen.amiss.is_some_and(|why| why.contains("target own")), "somebody is told");

    // The owner of the bucket goes: not before its guest.
    for state in [Desired::Suspended, Desired::Archived] {
        own.apply(&alpha, state, 2).await.unwrap();
    }
    for generation in [3, 3, 4] {
        let failure = own.apply(&alpha, Desired::Deleted, generation).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Permanent, "{failure}");
        assert!(failure.message.contains("acme") && failure.message.contains(&taken), "{failure}");
        for key in ["alpha/data", "t/acme/data", &format!(".tenantry/{}", guest.uid.simple())] {
            assert!(is_there(store, &taken, key).await, "{key} is gone");
        }
        assert_ne!(own.observe(&alpha).await.unwrap().state, Some(Desired::Deleted));
    }

    for (state, generation) in [(Desired::Suspended, 2), (Desired::Archived, 3), (Desired::Deleted, 4)] {
        shared.apply(&guest, state, generation).await.unwrap_or_else(|failure| panic!("{state}: {failure}"));
        assert_eq!(shared.observe(&guest).await, Ok(Observed::effect(state, generation)));
    }
    assert!(is_there(store, &taken, "alpha/data").await, "the guest's removal is the guest's alone");
    assert!(!is_there(store, &taken, "t/acme/data").await);
    own.apply(&alpha, Desired::Deleted, 5).await.unwrap();
    assert_eq!(own.observe(&alpha).await, Ok(Observed::UNKNOWN_TENANT));
}

/// What no configuration told: the other target reaches the store by another name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_with_the_record_of_another_living_tenant_is_not_removed() {
    let store = seaweedfs().await;
    let bucket = store.bucket("unknown-site").await;
    let own = format!("{OWN}\nbucket = 'unknown-{{uid}}'\nrecords_bucket = 'unknown-records'");
    let (shared, own) = (bucket.target("neighbour_key = 'none'"), bucket.target(&own));
    let alpha = bucket.tenant("other");
    own.apply(&alpha, Desired::Active, 1).await.unwrap();
    let taken = named("unknown-{uid}", &alpha);
    let guest = tenant_in(&taken, "acme");
    bring(&shared, &guest, Desired::Active, 1).await;
    // Something of its own of that name is no record of anybody.
    put(&store.ours(), &taken, ".tenantry/mine", "{}").await.unwrap();
    let failure = own.apply(&alpha, Desired::Deleted, 2).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Permanent, "{failure}");
    assert_eq!(shared.observe(&guest).await, Ok(Observed::effect(Desired::Active, 1)));
    shared.apply(&guest, Desired::Deleted, 2).await.unwrap();
    own.apply(&alpha, Desired::Deleted, 3).await.unwrap();
    assert_eq!(own.observe(&alpha).await, Ok(Observed::UNKNOWN_TENANT));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_name_of_an_object_hides_the_record_of_another_tenant() {
    let store = seaweedfs().await;
    let bucket = store.bucket("hidden-site").await;
    let own = format!("{OWN}\nbucket = 'hidden-{{uid}}'\nrecords_bucket = 'hidden-records'");
    let (shared, own) = (bucket.target("neighbour_key = 'none'"), bucket.target(&own));
    let alpha = bucket.tenant("other");
    own.apply(&alpha, Desired::Active, 1).await.unwrap();
    let taken = named("hidden-{uid}", &alpha);
    bring(&shared, &tenant_in(&taken, "acme"), Desired::Active, 1).await;
    // Below our own prefix, in letters that XML does not carry or that lists encode.
    for key in [".tenantry/\u{1}", ".tenantry/a b+ä%"] {
        put(&store.ours(), &taken, key, "{}").await.unwrap();
    }
    let failure = own.apply(&alpha, Desired::Deleted, 2).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Permanent, "{failure}");
    assert!(failure.message.contains("acme"), "{failure}");
}

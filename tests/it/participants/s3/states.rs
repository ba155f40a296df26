//! Every state, in every order that matters, applied once and again.

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::{FailureKind, Observed, Participant as _};

use super::client::put;
use super::on_each_server;
use super::store::{Store, bring};

const WALK: [Desired; 9] = [
    Desired::Active,
    Desired::ReadOnly,
    Desired::Active,
    Desired::Suspended,
    Desired::Archived,
    Desired::Suspended,
    Desired::ReadOnly,
    Desired::Archived,
    Desired::Active,
];

on_each_server!(
    every_state_is_read_back_and_applying_it_again_changes_nothing,
    an_older_change_is_refused_in_every_state,
    a_number_that_is_too_high_or_far_ahead_keeps_nobody_in_and_removes_nothing,
    without_a_credential_to_try_the_answer_says_that_only_the_policy_was_read,
    a_tenants_own_bucket_is_made_tagged_and_removed_with_it,
);

async fn every_state_is_read_back_and_applying_it_again_changes_nothing(store: &'static Store) {
    let bucket = store.bucket("states").await;
    let (target, tenant) = (bucket.target(""), bucket.tenant("acme"));
    assert_eq!(target.observe(&tenant).await, Ok(Observed::UNKNOWN_TENANT));
    for (state, generation) in WALK.into_iter().zip(1..) {
        bring(&target, &tenant, state, generation).await;
        let policy = bucket.policy().await;
        bring(&target, &tenant, state, generation).await;
        assert_eq!(bucket.policy().await, policy, "{state}");
    }
    bring(&target, &tenant, Desired::Suspended, 10).await;
    for _ in 0..2 {
        bring(&target, &tenant, Desired::Deleted, 11).await;
    }
    assert_eq!(bucket.denied().await, 1, "the key outlives the data, so it stays refused");
}

async fn an_older_change_is_refused_in_every_state(store: &'static Store) {
    let bucket = store.bucket("fenced").await;
    let (target, tenant) = (bucket.target(""), bucket.tenant("acme"));
    bring(&target, &tenant, Desired::Suspended, 5).await;
    for state in Desired::ALL {
        let failure = target.apply(&tenant, state, 4).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Permanent, "{state}: {failure}");
        assert_eq!(failure.message, "a newer change was applied already");
    }
    assert_eq!(target.observe(&tenant).await, Ok(Observed::effect(Desired::Suspended, 5)));
}

async fn a_number_that_is_too_high_or_far_ahead_keeps_nobody_in_and_removes_nothing(store: &'static Store) {
    let bucket = store.bucket("numbers").await;
    let (target, tenant) = (bucket.target(""), bucket.tenant("acme"));
    let (ours, own) = (store.ours(), store.of("acme"));
    let record = format!(".tenantry/{}", tenant.uid.simple());
    bring(&target, &tenant, Desired::Active, 2).await;
    let get = ours.get_object().bucket(&bucket.name).key(&record).send().await.unwrap();
    let honest = String::from_utf8(get.body.collect().await.unwrap().to_vec()).unwrap();
    let holds = async |number: &str| {
        let text = honest.replace("\"generation\":2", &format!("\"generation\":{number}"));
        put(&ours, &bucket.name, &record, &text).await.unwrap();
    };
    for number in ["4503599627370400", "9223372036854775807"] {
        put(&own, &bucket.name, "t/acme/a", "x").await.expect("it is let in");
        holds(number).await;
        // It takes nothing but all: whether reading gives or takes, nobody knows.
        for (state, generation) in [
            (Desired::Suspended, 3),
            (Desired::Archived, 4),
            (Desired::Deleted, 5),
            (Desired::ReadOnly, 6),
            (Desired::Active, 7),
        ] {
            let failure = target.apply(&tenant, state, generation).await.unwrap_err();
            assert_eq!(failure.message, "a newer change was applied already", "{number}: {state}");
            assert!(put(&own, &bucket.name, "t/acme/a", "y").await.is_err(), "{number}: {state}");
            let read = own.get_object().bucket(&bucket.name).key("t/acme/a").send().await;
            assert!(read.is_err(), "{number}: {state}");
        }
        let list = ours.list_objects_v2().bucket(&bucket.name).prefix("t/acme/a").send().await.unwrap();
        assert_eq!(list.contents().len(), 1, "{number}: its data is there");
        holds("2").await;
        bring(&target, &tenant, Desired::Active, 2).await;
    }
    // As far ahead as an honest one can be, of a late call.
    bring(&target, &tenant, Desired::Active, 1_000_003).await;
    target.apply(&tenant, Desired::Suspended, 3).await.unwrap_err();
    put(&own, &bucket.name, "t/acme/a", "x").await.expect("it is not shut out");
}

async fn without_a_credential_to_try_the_answer_says_that_only_the_policy_was_read(store: &'static Store) {
    let bucket = store.bucket("policy-only").await;
    let target = bucket.target("probe_credentials_file = 'none'\nneighbour_key = 'none'");
    let tenant = bucket.tenant("acme");
    for (state, generation) in
        [Desired::Active, Desired::ReadOnly, Desired::Suspended, Desired::Archived].into_iter().zip(1..)
    {
        target.apply(&tenant, state, generation).await.unwrap();
        assert_eq!(target.observe(&tenant).await, Ok(Observed::policy(state, generation)));
    }
}

async fn a_tenants_own_bucket_is_made_tagged_and_removed_with_it(store: &'static Store) {
    let shared = store.bucket("own-bucket-site").await;
    let target = shared.target(
        "layout = 'bucket'\nbucket = 'own-{uid}'\nrecords_bucket = 'own-records'\n\
         probe_credentials_file = 'none'\nneighbour_key = 'none'",
    );
    let (tenant, other) = (shared.tenant("acme"), shared.tenant("acme2"));
    let (name, others) = (format!("own-{}", tenant.uid.simple()), format!("own-{}", other.uid.simple()));
    assert_eq!(target.observe(&tenant).await, Ok(Observed::UNKNOWN_TENANT));
    let ours = store.ours();
    for tenant in [&tenant, &other] {
        target.apply(tenant, Desired::Active, 1).await.unwrap();
    }
    super::client::put(&ours, &name, "a", "1").await.unwrap();
    super::client::put(&ours, &others, "a", "1").await.unwrap();
    let site = aws_sdk_s3::types::Tag::builder().key("cost-centre").value("42").build().unwrap();
    let tagging = aws_sdk_s3::types::Tagging::builder().tag_set(site.clone()).build().unwrap();
    ours.put_bucket_tagging().bucket(&name).tagging(tagging).send().await.unwrap();

    target.apply(&tenant, Desired::Archived, 2).await.unwrap();
    assert_eq!(target.observe(&tenant).await, Ok(Observed::policy(Desired::Archived, 2)));
    let tags = ours.get_bucket_tagging().bucket(&name).send().await.unwrap().tag_set;
    assert_eq!(tags.len(), 2, "{tags:?}");
    assert!(tags.contains(&site));
    target.apply(&tenant, Desired::Suspended, 3).await.unwrap();
    let tags = ours.get_bucket_tagging().bucket(&name).send().await.unwrap().tag_set;
    assert_eq!(tags, [site]);

    for _ in 0..2 {
        target.apply(&tenant, Desired::Deleted, 4).await.unwrap();
        assert_eq!(target.observe(&tenant).await, Ok(Observed::UNKNOWN_TENANT));
    }
    assert!(ours.head_bucket().bucket(&name).send().await.is_err(), "the bucket is gone");
    assert_eq!(target.observe(&other).await, Ok(Observed::policy(Desired::Active, 1)));
    ours.get_object().bucket(&others).key("a").send().await.expect("the other's data is there");
}

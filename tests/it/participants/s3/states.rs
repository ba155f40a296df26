//! Every state, in every order that matters, applied once and again.

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::{FailureKind, Observed, Participant as _};

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

//! A tenant whose id, prefix or principal a later one has. A registry that was restored from an old backup may believe in the
//! former alone, and ask for whatever it likes.

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::s3::S3;
use tenantry::participants::{FailureKind, Observed, Participant as _, TenantRef};

use super::client::put;
use super::on_each_server;
use super::store::{Bucket, Store, bring, tenant_in};

on_each_server!(
    nothing_that_is_asked_for_a_purged_tenant_reaches_the_new_one_of_its_id_and_prefix,
    a_tenant_that_was_never_purged_here_does_not_reach_the_later_one_either,
    a_prefix_below_or_above_the_later_tenants_is_refused,
    the_same_principal_alone_is_refused,
    a_later_tenant_has_the_last_word_whatever_the_earlier_one_was_in,
    a_tenant_from_before_there_were_claims_is_protected_once_it_is_looked_at,
    a_purge_spares_the_principals_of_later_tenants_without_claims,
);

/// Asks everything of a tenant, and each time the refusal names the later one.
async fn refuses_all(target: &S3, former: &TenantRef, later: &TenantRef, from: u64) {
    for (state, generation) in Desired::ALL.into_iter().zip(from..) {
        let failure = target.apply(former, state, generation).await.expect_err(state.as_str());
        assert_eq!(failure.kind, FailureKind::Permanent, "{state}: {failure}");
        let words = format!("is another tenant's now, of the uid {}: skip this target", later.uid);
        assert!(failure.message.ends_with(&words), "{state}: {failure}");
    }
}

/// The later tenant's data is there, its key opens it, and nothing of it is denied.
async fn is_untouched(bucket: &Bucket, target: &S3, later: &TenantRef, key: &str) {
    assert_eq!(target.observe(later).await, Ok(Observed::effect(Desired::Active, 1)));
    let own = bucket.store.of(later.tenant_id.as_str());
    own.get_object().bucket(&bucket.name).key(key).send().await.expect("its object is there");
    put(&own, &bucket.name, key, "more").await.expect("its key writes");
}

async fn nothing_that_is_asked_for_a_purged_tenant_reaches_the_new_one_of_its_id_and_prefix(
    store: &'static Store,
) {
    let bucket = store.bucket("taken-over").await;
    let (target, former) = (bucket.target(""), bucket.tenant("acme"));
    bring(&target, &former, Desired::Active, 1).await;
    bring(&target, &former, Desired::Deleted, 5).await;
    let later = bucket.tenant("acme");
    bring(&target, &later, Desired::Active, 1).await;
    put(&store.of("acme"), &bucket.name, "t/acme/data", "precious").await.unwrap();
    // A purge that was open in the backup goes on, under the same number.
    let failure = target.apply(&former, Desired::Deleted, 5).await.unwrap_err();
    assert!(failure.message.contains(&later.uid.to_string()), "{failure}");
    is_untouched(&bucket, &target, &later, "t/acme/data").await;
    for from in [2, 6] {
        refuses_all(&target, &former, &later, from).await;
        is_untouched(&bucket, &target, &later, "t/acme/data").await;
        // So a restored registry learns that the tenant was purged.
        let seen = target.observe(&former).await.unwrap();
        assert_eq!((seen.state, seen.generation), (Some(Desired::Deleted), 5));
        assert!(seen.unproven.is_some_and(|why| why.contains(&later.uid.to_string())));
    }
}

async fn a_tenant_that_was_never_purged_here_does_not_reach_the_later_one_either(store: &'static Store) {
    for (name, left_in) in [("left-active", Desired::Active), ("left-shut", Desired::Suspended)] {
        let bucket = store.bucket(name).await;
        let (target, former) = (bucket.target(""), bucket.tenant("acme"));
        bring(&target, &former, left_in, 4).await;
        let later = bucket.tenant("acme");
        bring(&target, &later, Desired::Active, 1).await;
        put(&store.of("acme"), &bucket.name, "t/acme/data", "precious").await.unwrap();
        refuses_all(&target, &former, &later, 5).await;
        is_untouched(&bucket, &target, &later, "t/acme/data").await;
        let seen = target.observe(&former).await.unwrap();
        assert_eq!(
            (seen.state, seen.generation),
            (Some(Desired::Suspended), 4),
            "the other's access is its own"
        );
        assert!(seen.amiss.is_some_and(|why| why.contains(&later.uid.to_string())), "{name}");
    }
}

async fn a_prefix_below_or_above_the_later_tenants_is_refused(store: &'static Store) {
    let bucket = store.bucket("nested").await;
    let target = bucket.target("");
    for (former, later) in [("t/other/", "t/other/sub/deep/"), ("t/other/in/side/", "t/other/in/")] {
        let (mut wide, mut narrow) = (bucket.tenant("acme2"), bucket.tenant("other"));
        former.clone_into(&mut wide.names.bucket_prefix);
        later.clone_into(&mut narrow.names.bucket_prefix);
        target.apply(&wide, Desired::Suspended, 1).await.unwrap();
        bring(&target, &narrow, Desired::Active, 1).await;
        let key = format!("{later}data");
        put(&store.of("other"), &bucket.name, &key, "precious").await.unwrap();
        refuses_all(&target, &wide, &narrow, 2).await;
        is_untouched(&bucket, &target, &narrow, &key).await;
        target.apply(&narrow, Desired::Deleted, 2).await.unwrap();
        // Whoever is purged is in nobody's way.
        target.apply(&wide, Desired::Deleted, 20).await.unwrap();
    }
}

async fn the_same_principal_alone_is_refused(store: &'static Store) {
    let bucket = store.bucket("same-principal").await;
    let (target, mut former) = (bucket.target(""), bucket.tenant("acme"));
    "elsewhere/".clone_into(&mut former.names.bucket_prefix);
    target.apply(&former, Desired::Suspended, 1).await.unwrap();
    let later = bucket.tenant("acme");
    bring(&target, &later, Desired::Active, 1).await;
    put(&store.of("acme"), &bucket.name, "t/acme/data", "precious").await.unwrap();
    refuses_all(&target, &former, &later, 2).await;
    is_untouched(&bucket, &target, &later, "t/acme/data").await;
}

async fn a_later_tenant_has_the_last_word_whatever_the_earlier_one_was_in(store: &'static Store) {
    let bucket = store.bucket("last-word").await;
    let target = bucket.target("");
    for state in Desired::ALL {
        // Of the same id and prefix as the last one, which stays as it is.
        let tenant = bucket.tenant("acme");
        for (state, generation) in
            [(Desired::Active, 1), (Desired::Suspended, 2), (Desired::Active, 3), (state, 4)]
        {
            bring(&target, &tenant, state, generation).await;
        }
    }
    // A tenant and its successor in one round.
    let (former, later) = (bucket.tenant("acme2"), bucket.tenant("acme2"));
    let suspend = target.apply(&former, Desired::Suspended, 1);
    let others = (0..4).map(|number| tenant_in(&bucket.name, &format!("other-{number}"))).collect::<Vec<_>>();
    let busy =
        futures_util::future::join_all(others.iter().map(|other| target.apply(other, Desired::Active, 1)));
    let (_, activated, _) = tokio::join!(busy, target.apply(&later, Desired::Active, 1), suspend);
    activated.unwrap();
    assert_eq!(target.observe(&later).await, Ok(Observed::effect(Desired::Active, 1)));
}

/// Removes what a version without claims did not write.
async fn forget_claims(bucket: &Bucket) {
    let ours = bucket.store.ours();
    for below in [".tenantry/prefixes/", ".tenantry/principals/"] {
        let list = ours.list_objects_v2().bucket(&bucket.name).prefix(below).send().await.unwrap();
        for object in list.contents() {
            ours.delete_object().bucket(&bucket.name).key(object.key().unwrap()).send().await.unwrap();
        }
    }
}

async fn a_tenant_from_before_there_were_claims_is_protected_once_it_is_looked_at(store: &'static Store) {
    let bucket = store.bucket("older-version").await;
    let (target, former) = (bucket.target(""), bucket.tenant("acme"));
    bring(&target, &former, Desired::Suspended, 1).await;
    let later = bucket.tenant("acme");
    bring(&target, &later, Desired::Active, 1).await;
    put(&store.of("acme"), &bucket.name, "t/acme/data", "precious").await.unwrap();
    forget_claims(&bucket).await;
    // As the verifier does with every tenant.
    assert_eq!(target.observe(&later).await, Ok(Observed::effect(Desired::Active, 1)));
    refuses_all(&target, &former, &later, 2).await;
    is_untouched(&bucket, &target, &later, "t/acme/data").await;
}

async fn a_purge_spares_the_principals_of_later_tenants_without_claims(store: &'static Store) {
    let bucket = store.bucket("unclaimed").await;
    let (target, former) = (bucket.target(""), bucket.tenant("acme"));
    bring(&target, &former, Desired::Deleted, 3).await;
    let later = bucket.tenant("acme");
    bring(&target, &later, Desired::Active, 1).await;
    put(&store.of("acme"), &bucket.name, "t/acme/data", "precious").await.unwrap();
    forget_claims(&bucket).await;
    for generation in [3, 4] {
        let failure = target.apply(&former, Desired::Deleted, generation).await.unwrap_err();
        assert!(failure.message.contains(&later.uid.to_string()), "{failure}");
    }
    is_untouched(&bucket, &target, &later, "t/acme/data").await;
}

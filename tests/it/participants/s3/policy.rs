//! The bucket's policy: what stands there beside ours, how much it holds, who tampers with it.

use serde_json::Value;
use tenantry::domain::lifecycle::Desired;
use tenantry::participants::{FailureKind, Observed, Participant as _};

use super::on_each_server;
use super::store::{Store, bring};

on_each_server!(
    a_denial_that_somebody_takes_away_is_seen_and_put_back,
    denials_that_somebody_deletes_are_put_back_for_all_when_one_is_looked_at,
    a_statement_that_somebody_narrowed_is_drift_whatever_a_client_gets,
    a_policy_that_is_full_says_the_way_out_and_keeps_what_it_has,
    the_sites_own_statements_stay_as_they_were,
    a_denial_that_somebody_renamed_is_named_when_the_tenant_is_to_be_let_in,
);

async fn a_denial_that_somebody_takes_away_is_seen_and_put_back(store: &'static Store) {
    let bucket = store.bucket("tampered").await;
    let (target, tenant) = (bucket.target(""), bucket.tenant("acme"));
    bring(&target, &tenant, Desired::Archived, 1).await;
    let ours = store.ours();
    let site = bucket.site_policy().to_string();
    ours.put_bucket_policy().bucket(&bucket.name).policy(site).send().await.unwrap();
    let open = Observed::effect(Desired::Active, 1).with_asked(Some(Desired::Archived));
    assert_eq!(target.observe(&tenant).await, Ok(open.clone()));
    bring(&target, &tenant, Desired::Archived, 1).await;

    // And a statement that looks like ours, but denies less.
    let mut policy = bucket.policy().await.unwrap();
    for statement in policy["Statement"].as_array_mut().unwrap() {
        if statement["Effect"] == "Deny" {
            statement["Action"] = "s3:GetObjectAcl".into();
        }
    }
    ours.put_bucket_policy().bucket(&bucket.name).policy(policy.to_string()).send().await.unwrap();
    assert_eq!(target.observe(&tenant).await, Ok(open));
    bring(&target, &tenant, Desired::Archived, 1).await;
}

async fn denials_that_somebody_deletes_are_put_back_for_all_when_one_is_looked_at(store: &'static Store) {
    let bucket = store.bucket("robbed").await;
    let target = bucket.target("");
    let [first, second, third] = super::store::TENANTS.map(|id| bucket.tenant(id));
    bring(&target, &first, Desired::Suspended, 1).await;
    bring(&target, &second, Desired::ReadOnly, 1).await;
    bring(&target, &third, Desired::Active, 1).await;
    // What the site grants stays: on some servers nobody gets anything without it.
    let site = bucket.site_policy().to_string();
    store.ours().put_bucket_policy().bucket(&bucket.name).policy(site).send().await.unwrap();
    let open = Observed::effect(Desired::Active, 1).with_asked(Some(Desired::ReadOnly));
    assert_eq!(target.observe(&second).await, Ok(open));
    bring(&target, &first, Desired::Suspended, 2).await;
    assert_eq!(target.observe(&second).await, Ok(Observed::effect(Desired::ReadOnly, 1)));
    assert_eq!(target.observe(&third).await, Ok(Observed::effect(Desired::Active, 1)));
}

/// What somebody makes of a statement by hand.
type ByHand = fn(&mut Value);

async fn a_statement_that_somebody_narrowed_is_drift_whatever_a_client_gets(store: &'static Store) {
    let bucket = store.bucket("narrowed").await;
    let (target, tenant, other) = (bucket.target(""), bucket.tenant("acme"), bucket.tenant("acme2"));
    bring(&target, &other, Desired::Active, 1).await;
    let narrow = async |change: ByHand| {
        let mut policy = bucket.policy().await.unwrap();
        for statement in policy["Statement"].as_array_mut().unwrap() {
            if statement["Effect"] == "Deny" {
                change(statement);
            }
        }
        let put = store.ours().put_bucket_policy().bucket(&bucket.name).policy(policy.to_string());
        put.send().await.unwrap();
    };
    let changes: [(&str, ByHand); 3] = [
        ("puts alone are denied", |statement| statement["Action"] = "s3:PutObject".into()),
        // All that is tried is denied, and more is not.
        ("deletion is forgotten", |statement| {
            statement["Action"] = serde_json::json!(["s3:Get*", "s3:PutObject", "s3:ListBucket"]);
        }),
        ("nothing is denied", |statement| statement["Action"] = "s3:GetObjectAcl".into()),
    ];
    for (generation, wanted) in [(1, Desired::Suspended), (2, Desired::Archived), (3, Desired::ReadOnly)] {
        for (what, change) in changes {
            bring(&target, &tenant, wanted, generation).await;
            narrow(change).await;
            let seen = target.observe(&tenant).await.unwrap_or_else(|failure| panic!("{what}: {failure}"));
            assert_ne!(seen.state, Some(wanted), "{what}");
            assert_eq!(target.observe(&other).await, Ok(Observed::effect(Desired::Active, 1)), "{what}");
        }
        bring(&target, &tenant, wanted, generation).await;
    }
}

async fn a_policy_that_is_full_says_the_way_out_and_keeps_what_it_has(store: &'static Store) {
    let bucket = store.bucket("full").await;
    let [first, second, _] = super::store::TENANTS.map(|id| bucket.tenant(id));
    bring(&bucket.target(""), &first, Desired::Suspended, 1).await;
    let room = bucket.policy().await.unwrap().to_string().len() + 4;
    let target = bucket.target(&format!("policy_bytes_max = {room}"));
    let failure = target.apply(&second, Desired::Suspended, 1).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Permanent, "{failure}");
    assert!(failure.message.contains("make new tenants in other buckets"), "{failure}");
    assert_eq!(target.observe(&first).await, Ok(Observed::effect(Desired::Suspended, 1)));
    // Whoever leaves makes room.
    bring(&target, &first, Desired::Active, 2).await;
    bring(&target, &second, Desired::Suspended, 2).await;
}

async fn the_sites_own_statements_stay_as_they_were(store: &'static Store) {
    let bucket = store.bucket("sites-own").await;
    let before = bucket.policy().await;
    let (target, tenant) = (bucket.target(""), bucket.tenant("acme"));
    for (state, generation) in [Desired::Suspended, Desired::ReadOnly, Desired::Active].into_iter().zip(1..) {
        bring(&target, &tenant, state, generation).await;
    }
    assert_eq!(bucket.policy().await, before);
    // A bucket whose policy is ours alone has none afterwards.
    store.ours().delete_bucket_policy().bucket(&bucket.name).send().await.unwrap();
    let target = bucket.target("probe_credentials_file = 'none'\nneighbour_key = 'none'");
    target.apply(&tenant, Desired::Suspended, 4).await.unwrap();
    assert_eq!(bucket.denied().await, 1);
    target.apply(&tenant, Desired::Active, 5).await.unwrap();
    assert_eq!(bucket.policy().await, None);
}

async fn a_denial_that_somebody_renamed_is_named_when_the_tenant_is_to_be_let_in(store: &'static Store) {
    for (name, credentials) in [
        ("renamed-tried", ""),
        ("renamed-untried", "probe_credentials_file = 'none'\nneighbour_key = 'none'"),
    ] {
        let bucket = store.bucket(name).await;
        let (target, tenant) = (bucket.target(credentials), bucket.tenant("acme"));
        target.apply(&tenant, Desired::Suspended, 1).await.unwrap();
        let mut policy = bucket.policy().await.unwrap();
        for statement in policy["Statement"].as_array_mut().unwrap() {
            if statement["Effect"] == "Deny" {
                statement["Sid"] = "ByHand".into();
            }
        }
        let put = store.ours().put_bucket_policy().bucket(&bucket.name).policy(policy.to_string());
        put.send().await.unwrap();
        let seen = target.observe(&tenant).await.unwrap();
        assert_ne!(seen.state, Some(Desired::Suspended), "{name}: it is drift");
        // A repair writes ours anew beside it.
        target.apply(&tenant, Desired::Suspended, 1).await.unwrap();
        assert_eq!(target.observe(&tenant).await.unwrap().state, Some(Desired::Suspended), "{name}");
        target.apply(&tenant, Desired::Active, 2).await.unwrap();
        let why = match target.observe(&tenant).await {
            Ok(seen) => {
                assert_ne!(seen.state, Some(Desired::Active), "{name}: its client is refused");
                seen.amiss.expect(name)
            }
            Err(failure) => failure.message,
        };
        assert!(why.contains("the statement \"ByHand\" in the bucket's policy denies"), "{name}: {why}");
        // The site may deny a tenant what it likes, as long as nobody is refused what was promised.
        let mut policy = bucket.policy().await.unwrap();
        for statement in policy["Statement"].as_array_mut().unwrap() {
            if statement["Effect"] == "Deny" {
                statement["Action"] = "s3:PutObjectAcl".into();
            }
        }
        let put = store.ours().put_bucket_policy().bucket(&bucket.name).policy(policy.to_string());
        put.send().await.unwrap();
        let seen = target.observe(&tenant).await.unwrap();
        assert_eq!((seen.state, seen.amiss), (Some(Desired::Active), None), "{name}");
    }
}

//! Users that the server does not know: it denies them all the same, and it denies nobody.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use tenantry::domain::lifecycle::Desired;
use tenantry::participants::{Observed, Participant as _, TenantRef};

use super::on_each_server_that_takes_unknown_principals;
use super::store::{Bucket, Store, pool};
use crate::support::{Replica, Setup};

/// Tenants of one test. Servers need not know a user to deny it.
const TENANTS: usize = 60;

on_each_server_that_takes_unknown_principals!(
    many_edits_by_two_replicas_at_once_lose_no_statement,
    a_policy_without_effect_is_not_taken_for_a_suspension,
);

async fn many_edits_by_two_replicas_at_once_lose_no_statement(store: &'static Store) {
    let bucket = store.bucket("two-replicas").await;
    let registry = Replica::start(&Setup::default()).await;
    let url = registry.database_url.clone();
    registry.stop().await;
    let alone = "probe_credentials_file = 'none'\nneighbour_key = 'none'";
    let replicas = [0, 1].map(|_| bucket.target_of(alone, Some(pool(&url))));
    let tenants: Vec<TenantRef> =
        (0..TENANTS).map(|number| bucket.tenant(&format!("many-{number}"))).collect();
    let bring = async |state: fn(usize) -> Desired, generation| {
        let calls = tenants.iter().enumerate().map(|(number, tenant)| {
            let replica = &replicas[number % 2];
            async move { replica.apply(tenant, state(number), generation).await.unwrap() }
        });
        join_all(calls).await;
    };
    let site = bucket.policy().await;
    bring(|_| Desired::Suspended, 1).await;
    assert_eq!(denied(&bucket).await.len(), TENANTS);
    bring(|number| if number % 3 == 0 { Desired::Suspended } else { Desired::Active }, 2).await;
    let expected = (0..TENANTS).filter(|number| number % 3 == 0);
    let expected: BTreeSet<String> =
        expected.map(|number| format!("{}many-{number}", store.principal)).collect();
    assert_eq!(denied(&bucket).await, expected);
    bring(|_| Desired::Active, 3).await;
    assert_eq!(bucket.policy().await, site);
}

async fn denied(bucket: &Bucket) -> BTreeSet<String> {
    let policy = bucket.policy().await.unwrap();
    let statements = policy["Statement"].as_array().unwrap().iter();
    let denied = statements.filter(|statement| statement["Effect"] == "Deny");
    denied
        .flat_map(|statement| statement["Principal"]["AWS"].as_array().unwrap())
        .map(|principal| principal.as_str().unwrap().to_owned())
        .collect()
}

async fn a_policy_without_effect_is_not_taken_for_a_suspension(store: &'static Store) {
    let bucket = store.bucket("without-effect").await;
    // Users of another account: a fine policy, and nobody it applies to.
    let target = bucket.target("principals = ['arn:aws:iam::123456789012:user/x-{tenant_id}']");
    let tenant = bucket.tenant("acme");
    target.apply(&tenant, Desired::Suspended, 1).await.unwrap();
    assert_eq!(bucket.denied().await, 1);
    let open = Observed::effect(Desired::Active, 1).with_asked(Some(Desired::Suspended));
    assert_eq!(target.observe(&tenant).await, Ok(open));
}

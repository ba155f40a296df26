//! Somebody who is not to be denied, tried beside each denial: what it tells where it has no right of its own.

use serde_json::{Value, json};
use tenantry::domain::lifecycle::{Desired, Verification};
use tenantry::participants::s3::S3;
use tenantry::participants::{FailureKind, Participant as _, TenantRef};

use super::on_each_server;
use super::store::{Bucket, NEIGHBOUR, Store, bring};

on_each_server!(
    a_suspension_holds_where_the_neighbour_could_not_read_anyway,
    an_activation_is_no_matter_of_the_neighbours,
    a_neighbour_that_the_store_does_not_know_keeps_nobody_open,
);

/// The platform's own policy, with a neighbour that it lets read no more.
fn without_neighbour(bucket: &Bucket) -> Value {
    let mut policy = bucket.site_policy();
    // A right of the account itself is overruled, too.
    let arn = format!("arn:aws:s3:::{}", bucket.name);
    policy["Statement"].as_array_mut().unwrap().push(json!({
        "Sid": "Withdrawn", "Effect": "Deny", "Action": ["s3:*"], "Resource": [arn, format!("{arn}/*")],
        "Principal": { "AWS": [format!("{}{NEIGHBOUR}", bucket.store.principal)] },
    }));
    policy
}

async fn put_policy(bucket: &Bucket, policy: &Value) {
    let put = bucket.store.ours().put_bucket_policy().bucket(&bucket.name).policy(policy.to_string());
    put.send().await.unwrap();
}

/// The state is there, and the answer says that nobody knows what it means for others.
async fn is_unproven(target: &S3, tenant: &TenantRef, state: Desired, bucket: &str) {
    let seen = target.observe(tenant).await.unwrap();
    assert_eq!(
        (seen.state, seen.verification, &seen.amiss),
        (Some(state), Verification::PolicyOnly, &None),
        "{seen:?}"
    );
    let why = seen.unproven.unwrap();
    for words in ["NEIGHBOUR", "\"public/hello\"", bucket, "leaves others alone is not proven"] {
        assert!(why.contains(words), "{words}: {why}");
    }
}

async fn a_suspension_holds_where_the_neighbour_could_not_read_anyway(store: &'static Store) {
    let bucket = store.bucket("no-neighbour").await;
    let (target, tenant, other) = (bucket.target(""), bucket.tenant("acme"), bucket.tenant("other"));
    bring(&target, &tenant, Desired::Active, 1).await;
    put_policy(&bucket, &without_neighbour(&bucket)).await;
    for (state, generation) in [(Desired::Suspended, 2), (Desired::Archived, 3), (Desired::ReadOnly, 4)] {
        for _ in 0..2 {
            target.apply(&tenant, state, generation).await.unwrap_or_else(|failure| panic!("{failure}"));
            is_unproven(&target, &tenant, state, &bucket.name).await;
        }
    }
    // Somebody puts the platform's policy anew, and ours is gone: the repair is no matter of the neighbour's either.
    target.apply(&tenant, Desired::Suspended, 5).await.unwrap();
    put_policy(&bucket, &without_neighbour(&bucket)).await;
    target.apply(&tenant, Desired::Suspended, 5).await.unwrap();
    is_unproven(&target, &tenant, Desired::Suspended, &bucket.name).await;
    // Two at once, of whom each is tried alone where the first document fails.
    let (first, second) = tokio::join!(
        target.apply(&tenant, Desired::ReadOnly, 6),
        target.apply(&other, Desired::Suspended, 1)
    );
    assert_eq!((first, second), (Ok(()), Ok(())));

    // The right comes back: from then on it is proven.
    let mut policy = bucket.policy().await.unwrap();
    policy["Statement"].as_array_mut().unwrap().retain(|statement| statement["Sid"] != "Withdrawn");
    put_policy(&bucket, &policy).await;
    bring(&target, &tenant, Desired::Suspended, 7).await;
}

async fn an_activation_is_no_matter_of_the_neighbours(store: &'static Store) {
    let bucket = store.bucket("no-neighbour-active").await;
    let (target, tenant, other) = (bucket.target(""), bucket.tenant("acme"), bucket.tenant("other"));
    for tenant in [&tenant, &other] {
        bring(&target, tenant, Desired::Suspended, 1).await;
    }
    let mut policy = bucket.policy().await.unwrap();
    let withdrawn = without_neighbour(&bucket)["Statement"].as_array().unwrap().last().unwrap().clone();
    policy["Statement"].as_array_mut().unwrap().push(withdrawn);
    put_policy(&bucket, &policy).await;
    for tenant in [&tenant, &other] {
        bring(&target, tenant, Desired::Active, 2).await;
    }
}

async fn a_neighbour_that_the_store_does_not_know_keeps_nobody_open(store: &'static Store) {
    let bucket = store.bucket("strange-neighbour").await;
    let (target, tenant) = (bucket.target(""), bucket.tenant("acme"));
    bring(&target, &tenant, Desired::Active, 1).await;
    let file = bucket.credentials.path();
    let text = std::fs::read_to_string(file).unwrap();
    let rotated = text.replace(&format!("aws_access_key_id = {NEIGHBOUR}"), "aws_access_key_id = gone");
    let (others, _) = text.split_once("[NEIGHBOUR]").unwrap();
    for (generation, text) in [(2, rotated.as_str()), (4, others)] {
        std::fs::write(file, text).unwrap();
        target.apply(&tenant, Desired::Suspended, generation).await.unwrap();
        is_unproven(&target, &tenant, Desired::Suspended, &bucket.name).await;
        bring(&target, &tenant, Desired::Active, generation + 1).await;
    }
}

/// On Ceph nobody but its owner has a right in a bucket until somebody grants it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_made_for_a_tenant_has_no_neighbour_until_the_platform_grants_it() {
    let store = super::store::ceph().await;
    let site = store.bucket("no-neighbour-site").await;
    let target =
        site.target("layout = 'bucket'\nbucket = 'lone-{uid}'\nrecords_bucket = 'no-neighbour-records'");
    let tenant = site.tenant("acme");
    let name = format!("lone-{}", tenant.uid.simple());
    target.apply(&tenant, Desired::Suspended, 1).await.unwrap();
    is_unproven(&target, &tenant, Desired::Suspended, &name).await;
    // The only statements are ours, and somebody deletes them.
    store.ours().delete_bucket_policy().bucket(&name).send().await.unwrap();
    target.apply(&tenant, Desired::Suspended, 1).await.unwrap();
    is_unproven(&target, &tenant, Desired::Suspended, &name).await;
    target.apply(&tenant, Desired::Active, 2).await.unwrap();
    let failure = target.observe(&tenant).await.unwrap_err();
    assert!(failure.message.contains("its own rights are missing"), "{failure}");
    // Now the platform grants both.
    let users = ["acme", NEIGHBOUR].map(|user| format!("{}{user}", store.principal));
    let arn = format!("arn:aws:s3:::{name}");
    let granted = Bucket { name, ..site };
    put_policy(
        &granted,
        &json!({ "Version": "2012-10-17", "Statement": [{ "Sid": "Grant", "Effect": "Allow",
        "Principal": { "AWS": users }, "Action": ["s3:*"], "Resource": [arn, format!("{arn}/*")] }] }),
    )
    .await;
    for (state, generation) in [(Desired::Active, 2), (Desired::Suspended, 3), (Desired::Active, 4)] {
        bring(&target, &tenant, state, generation).await;
    }
}

/// SeaweedFS takes patterns in principals; this one means more than the tenant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_denials_at_once_that_hit_a_neighbour_none_stays() {
    let bucket = super::store::seaweedfs().await.bucket("two-too-wide").await;
    let before = bucket.policy().await;
    let target = bucket.target("principals = ['arn:aws:iam::*:user/{tenant_id}*']");
    // Its name begins with both.
    let tenants = ["acme", "acm"].map(|id| bucket.tenant(id));
    let (first, second) = tokio::join!(
        target.apply(&tenants[0], Desired::Suspended, 1),
        target.apply(&tenants[1], Desired::Suspended, 1)
    );
    for failure in [first.unwrap_err(), second.unwrap_err()] {
        assert_eq!(failure.kind, FailureKind::Permanent, "{failure}");
        assert!(failure.message.contains("locks out others than the tenant"), "{failure}");
    }
    assert_eq!(bucket.policy().await, before);
}

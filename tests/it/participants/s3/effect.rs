//! What an ordinary client with the tenant's own credential gets, and its neighbours.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ObjectCannedAcl;
use tenantry::domain::lifecycle::Desired;
use tenantry::participants::{Observed, Participant as _};

use super::client::Session;
use super::on_each_server;
use super::store::{Bucket, Store, TENANTS, bring, prefix};
use crate::support::{Replica, Setup};

/// What changes something.
const WRITES: [&str; 6] = ["put", "copy", "part", "begin upload", "delete", "presigned put"];

on_each_server!(
    a_suspended_tenant_is_refused_everything_and_gets_it_all_back,
    a_tenant_that_may_only_read_reads,
    two_tenants_suspended_at_the_same_moment_leave_the_third_alone,
    suspend_and_activate_through_the_registry_are_true_for_a_client,
);

async fn session(bucket: &Bucket, user: &str) -> Session {
    Session::begin(bucket.store.of(user), &bucket.name, &prefix(user)).await
}

fn all(passes: bool, seen: &[(&'static str, bool)]) {
    assert!(seen.len() > 9);
    assert!(seen.iter().all(|(_, passed)| *passed == passes), "{passes}: {seen:?}");
}

async fn a_suspended_tenant_is_refused_everything_and_gets_it_all_back(store: &'static Store) {
    let bucket = store.bucket("refused").await;
    let (target, tenant) = (bucket.target(""), bucket.tenant("acme"));
    bring(&target, &tenant, Desired::Active, 1).await;
    let (own, neighbour) = (session(&bucket, "acme").await, session(&bucket, "acme2").await);
    all(true, &own.passes().await);
    for (state, generation) in [(Desired::Suspended, 2), (Desired::Archived, 3)] {
        bring(&target, &tenant, state, generation).await;
        all(false, &own.passes().await);
        assert!(!own.ends_upload().await, "{state}: an upload begun before ends");
        all(true, &neighbour.passes().await);
    }
    bring(&target, &tenant, Desired::Active, 4).await;
    assert_eq!(own.data().await, "precious");
    all(true, &own.passes().await);
    assert!(own.ends_upload().await);
}

async fn a_tenant_that_may_only_read_reads(store: &'static Store) {
    let bucket = store.bucket("read-only").await;
    let (target, tenant) = (bucket.target(""), bucket.tenant("acme2"));
    bring(&target, &tenant, Desired::Active, 1).await;
    let (own, neighbour) = (session(&bucket, "acme2").await, session(&bucket, "acme").await);
    bring(&target, &tenant, Desired::ReadOnly, 2).await;
    for (what, passed) in own.passes().await {
        assert_eq!(passed, !WRITES.contains(&what), "{what}");
    }
    assert!(!own.ends_upload().await);
    all(true, &neighbour.passes().await);
}

async fn two_tenants_suspended_at_the_same_moment_leave_the_third_alone(store: &'static Store) {
    let bucket = store.bucket("at-once").await;
    let target = bucket.target("");
    let tenants = TENANTS.map(|id| bucket.tenant(id));
    for tenant in &tenants {
        bring(&target, tenant, Desired::Active, 1).await;
    }
    let [acme, acme2, other] = TENANTS;
    let sessions =
        [session(&bucket, acme).await, session(&bucket, acme2).await, session(&bucket, other).await];
    let (first, second) = tokio::join!(
        target.apply(&tenants[0], Desired::Suspended, 2),
        target.apply(&tenants[1], Desired::Suspended, 2),
    );
    assert_eq!((first, second), (Ok(()), Ok(())));
    all(false, &sessions[0].passes().await);
    all(false, &sessions[1].passes().await);
    all(true, &sessions[2].passes().await);
    bring(&target, &tenants[0], Desired::Active, 3).await;
    all(true, &sessions[0].passes().await);
    all(false, &sessions[1].passes().await);
    assert_eq!(target.observe(&tenants[1]).await, Ok(Observed::effect(Desired::Suspended, 2)));
}

async fn suspend_and_activate_through_the_registry_are_true_for_a_client(store: &'static Store) {
    use tenantry::proto::v1::{ActivateTenantRequest, ResourceNames, SuspendTenantRequest};
    let bucket = store.bucket("through-the-registry").await;
    let settings = vec![("cascade.targets", bucket.settings("")), ("cascade.lease", "10s".to_owned())];
    let mut replica = Replica::start(&Setup { settings, ..Setup::default() }).await;
    for id in ["acme", "acme2"] {
        let mut tenant = crate::support::new_tenant(id);
        let names = bucket.tenant(id).names;
        tenant.resource_names = Some(ResourceNames {
            bucket: names.bucket,
            bucket_prefix: names.bucket_prefix,
            ..Default::default()
        });
        let request = tenantry::proto::v1::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
        replica.tenants.create_tenant(request).await.unwrap();
        assert_eq!(replica.settled(id).await.status(), tenantry::proto::v1::TenantStatus::Active);
    }
    let (own, neighbour) = (session(&bucket, "acme").await, session(&bucket, "acme2").await);
    for _ in 0..2 {
        let request = SuspendTenantRequest { tenant_id: "acme".to_owned(), ..Default::default() };
        replica.lifecycle.suspend_tenant(request).await.unwrap();
        assert_eq!(replica.settled("acme").await.status(), tenantry::proto::v1::TenantStatus::Suspended);
        all(false, &own.passes().await);
        all(true, &neighbour.passes().await);
        let request = ActivateTenantRequest { tenant_id: "acme".to_owned(), ..Default::default() };
        replica.lifecycle.activate_tenant(request).await.unwrap();
        assert_eq!(replica.settled("acme").await.status(), tenantry::proto::v1::TenantStatus::Active);
        all(true, &own.passes().await);
        assert_eq!(own.data().await, "precious");
    }
    replica.stop().await;
}

/// Ceph's users may give an object of theirs to everybody: a request without a signature has no principal to deny.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_anybody_can_read_without_a_signature_is_no_suspended_tenants() {
    let store = super::store::ceph().await;
    let bucket = store.bucket("public-object").await;
    let (target, tenant, own) = (bucket.target(""), bucket.tenant("acme"), store.of("acme"));
    bring(&target, &tenant, Desired::Active, 1).await;
    super::client::put(&own, &bucket.name, "t/acme/private", "1").await.unwrap();
    let key = "t/acme/leaflet";
    let public = own.put_object().bucket(&bucket.name).key(key).acl(ObjectCannedAcl::PublicRead);
    public.body(ByteStream::from_static(b"1")).send().await.unwrap();
    bring(&target, &tenant, Desired::ReadOnly, 2).await;
    for (state, generation) in [(Desired::Suspended, 3), (Desired::Archived, 4)] {
        target.apply(&tenant, state, generation).await.unwrap();
        let url = format!("{}/{}/{key}", store.endpoint, bucket.name);
        assert_eq!(reqwest::get(&url).await.unwrap().status(), 200, "anybody reads it");
        let seen = target.observe(&tenant).await.unwrap();
        assert_eq!(seen.state, Some(Desired::ReadOnly), "{state}");
        let why = seen.amiss.unwrap();
        assert!(why.contains("can read \"t/acme/leaflet\" without a signature"), "{why}");
    }
    store.ours().delete_object().bucket(&bucket.name).key(key).send().await.unwrap();
    assert_eq!(target.observe(&tenant).await, Ok(Observed::effect(Desired::Archived, 4)));
}

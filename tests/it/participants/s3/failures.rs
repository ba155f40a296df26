//! Stores that are away, silent, or not as the settings say.

use std::time::{Duration, Instant};

use tenantry::app::dev_servers::Login;
use tenantry::app::dev_servers::seaweedfs::{Identity, SeaweedFs, Tls};
use tenantry::config::targets::Target;
use tenantry::config::{Config, Flags};
use tenantry::domain::lifecycle::Desired;
use tenantry::participants::s3::S3;
use tenantry::participants::{FailureKind, Observed, Participant as _};
use tokio::net::TcpListener;

use super::on_each_server;
use super::store::{Bucket, Store, bring, seaweedfs};
use crate::participants::certificates::Certificates;
use crate::participants::{blocking, until};
use crate::support::programs::weed;

on_each_server!(
    a_bucket_that_is_not_there_needs_a_person,
    a_credential_of_ours_that_is_refused_is_tried_again,
    a_tenant_whose_own_rights_are_missing_is_not_called_suspended,
    a_tenant_that_may_list_its_objects_and_neither_read_nor_write_them_is_not_called_active,
    a_tenant_that_may_write_and_not_read_is_not_called_active,
);

async fn a_bucket_that_is_not_there_needs_a_person(store: &'static Store) {
    let mut bucket = store.bucket("there").await;
    "not-there".clone_into(&mut bucket.name);
    let failure = bucket.target("").apply(&bucket.tenant("acme"), Desired::Suspended, 1).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Permanent, "{failure}");
    assert!(failure.message.contains("NoSuchBucket"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_that_holds_the_neighbours_object_is_refused() {
    let bucket = seaweedfs().await.bucket("neighbour-within").await;
    let mut tenant = bucket.tenant("acme");
    "public/".clone_into(&mut tenant.names.bucket_prefix);
    let failure = bucket.target("").apply(&tenant, Desired::Active, 1).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Permanent, "{failure}");
    assert!(failure.message.contains("`neighbour_key`"), "{failure}");
}

async fn a_credential_of_ours_that_is_refused_is_tried_again(store: &'static Store) {
    let bucket = store.bucket("no-rights").await;
    let target = bucket.target("secret_key = 'wrong'");
    let tenant = bucket.tenant("acme");
    let failure = target.apply(&tenant, Desired::Suspended, 1).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Retryable, "{failure}");
    assert!(failure.message.ends_with("our own credential was refused"), "{failure}");
    assert_eq!(target.observe(&tenant).await.unwrap_err().kind, FailureKind::Retryable);
}

async fn a_tenant_whose_own_rights_are_missing_is_not_called_suspended(store: &'static Store) {
    let bucket = store.bucket("lost-rights").await;
    let (target, tenant) = (bucket.target(""), bucket.tenant("acme"));
    bring(&target, &tenant, Desired::Active, 1).await;
    // Somebody else denies the tenant; that is not our suspension, and goes when they please.
    let mut policy = bucket.site_policy();
    let user = format!("{}acme", store.principal);
    policy["Statement"].as_array_mut().unwrap().push(serde_json::json!({
        "Sid": "Foreign", "Effect": "Deny", "Principal": { "AWS": [user] }, "Action": ["s3:*"],
        "Resource": [format!("arn:aws:s3:::{}", bucket.name), format!("arn:aws:s3:::{}/*", bucket.name)],
    }));
    let put = store.ours().put_bucket_policy().bucket(&bucket.name).policy(policy.to_string());
    put.send().await.unwrap();
    let failure = target.observe(&tenant).await.unwrap_err();
    assert!(failure.message.contains("its own rights are missing"), "{failure}");
}

async fn a_tenant_that_may_list_its_objects_and_neither_read_nor_write_them_is_not_called_active(
    store: &'static Store,
) {
    let bucket = store.bucket("list-alone").await;
    is_not_called_active_where_its_objects_are_denied(store, &bucket, "s3:*").await;
}

async fn a_tenant_that_may_write_and_not_read_is_not_called_active(store: &'static Store) {
    let bucket = store.bucket("write-alone").await;
    is_not_called_active_where_its_objects_are_denied(store, &bucket, "s3:GetObject").await;
}

async fn is_not_called_active_where_its_objects_are_denied(store: &Store, bucket: &Bucket, action: &str) {
    let (target, tenant) = (bucket.target(""), bucket.tenant("acme"));
    bring(&target, &tenant, Desired::Active, 1).await;
    let user = format!("{}acme", store.principal);
    let mut policy = bucket.site_policy();
    policy["Statement"].as_array_mut().unwrap().push(serde_json::json!({
        "Sid": "Foreign", "Effect": "Deny", "Principal": { "AWS": [user] }, "Action": [action],
        "Resource": [format!("arn:aws:s3:::{}/*", bucket.name)],
    }));
    let policy = policy.to_string();
    let put = || store.ours().put_bucket_policy().bucket(&bucket.name).policy(&policy).send();
    put().await.unwrap();
    let failure = target.observe(&tenant).await.unwrap_err();
    assert!(failure.message.contains("its own rights are missing"), "{failure}");
    assert!(failure.message.contains("the statement \"Foreign\""), "{failure}");
    // Who is to be shut out is not, as long as anything of it can be seen.
    bring(&target, &tenant, Desired::Suspended, 2).await;
    put().await.unwrap();
    assert_eq!(target.observe(&tenant).await.unwrap().state, Some(Desired::Active));
}

/// SeaweedFS takes patterns in principals; this one means more than the tenant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_that_hits_a_neighbour_is_taken_back() {
    let bucket = seaweedfs().await.bucket("too-wide").await;
    let before = bucket.policy().await;
    let target = bucket.target("principals = ['arn:aws:iam::*:user/{tenant_id}*']");
    let failure = target.apply(&bucket.tenant("acme"), Desired::Suspended, 1).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Permanent, "{failure}");
    assert!(failure.message.contains("locks out others than the tenant"), "{failure}");
    assert_eq!(bucket.policy().await, before);
}

fn target_at(endpoint: &str) -> S3 {
    let text = format!(
        "kind = 's3', url = '{endpoint}', access_key = 'a', secret_key = 's', deny = 'principals', \
         principals = ['{{tenant_id}}']"
    );
    alone(&text, Duration::from_millis(500))
}

/// A target of this process alone.
fn alone(settings: &str, deadline: Duration) -> S3 {
    let mut flags = Flags::default();
    flags.values.insert("cascade.targets", format!("store = {{ {settings} }}"));
    let config = Config::load(&flags, |_| None).unwrap().config;
    match &config.cascade.targets["store"] {
        Target::S3(settings) => S3::new((**settings).clone(), deadline, None),
        other => panic!("another kind: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_with_tls_is_reached_by_those_who_trust_its_authority() {
    let certificates = Certificates::new().await;
    let [certificate, key] = ["server.crt", "server.key"].map(|file| certificates.path(file));
    let weed = weed().await;
    let server = blocking(move || {
        let ours = Identity { login: Login::of("control-plane"), actions: vec!["Admin".to_owned()] };
        let tls = Tls { certificate: &certificate, key: &key };
        SeaweedFs::start_encrypted(&weed, &[ours], &tls).expect("SeaweedFS starts")
    })
    .await;
    let Login { user, secret } = Login::of("control-plane");
    let settings = format!(
        "kind = \"s3\", url = \"https://127.0.0.1:{}\", access_key = \"{user}\", secret_key = \"{secret}\", \
         deny = \"principals\", principals = [\"{}{{tenant_id}}\"], layout = \"bucket\", \
         records_bucket = \"records\"",
        server.port(),
        SeaweedFs::PRINCIPAL
    );
    let tenant = crate::participants::tenant("acme");
    let wait = Duration::from_secs(20);
    let trusting = alone(&format!("{settings}, {}", certificates.trust()), wait);
    // It listens before it can keep anything.
    until("the store takes what it is given", async || {
        trusting.apply(&tenant, Desired::Suspended, 1).await.is_ok()
    })
    .await;
    assert_eq!(trusting.observe(&tenant).await, Ok(Observed::policy(Desired::Suspended, 1)));
    let stranger = alone(&settings, wait).apply(&tenant, Desired::Active, 2).await.unwrap_err();
    assert_ne!(stranger.kind, FailureKind::Permanent, "{stranger}");
    let why =
        "the object store cannot be reached: its certificate is of no authority that we trust (`ca_file`)";
    assert!(stranger.message.contains(why), "{stranger}");
    assert_eq!(trusting.observe(&tenant).await, Ok(Observed::policy(Desired::Suspended, 1)), "{stranger}");
}

#[tokio::test]
async fn a_store_that_is_away_is_tried_again() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let target = target_at(&format!("http://{port}"));
    let tenant = super::store::tenant_in("tenants", "acme");
    let failure = target.apply(&tenant, Desired::Suspended, 1).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Retryable, "{failure}");
    assert!(
        failure.message.ends_with("the object store cannot be reached: it refuses connections"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_store_that_never_answers_is_given_up_in_time_and_nobody_knows_what_it_did() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = target_at(&format!("http://{}", silent.local_addr().unwrap()));
    let tenant = super::store::tenant_in("tenants", "acme");
    let begin = Instant::now();
    for failure in [
        target.apply(&tenant, Desired::Suspended, 1).await.unwrap_err(),
        target.observe(&tenant).await.unwrap_err(),
    ] {
        assert_eq!(failure.kind, FailureKind::Unknown, "{failure}");
    }
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

//! What a call demands of freshness is heeded by everything that reads, streams as well.

use std::time::Duration;

use prost_reflect::{DescriptorPool, Value};
use tenantry::proto::v1;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Request;
use tonic::metadata::MetadataValue;

use super::edge::wire::{connect, framed, request, send};
use crate::support::proxy::{Flow, Proxy};
use crate::support::{Replica, Setup, fields, new_tenant, reason};

const MIN_REVISION: &str = "tenantry-min-revision";
const CONSISTENCY: &str = "tenantry-consistency";
const SOON: Duration = Duration::from_secs(10);

type Token = MetadataValue<tonic::metadata::Ascii>;

fn without_targets() -> Setup {
    Setup { no_targets: true, ..Setup::default() }
}

async fn two() -> (Replica, Replica) {
    let first = Replica::start(&without_targets()).await;
    let second = Replica::on(&first.database_url, &without_targets()).await;
    (first, second)
}

/// The paths of all rpcs of our contract that only read, and whether each answers with a stream. flagd's services are of
/// another contract, which knows nothing of the kind.
fn readers() -> Vec<(String, bool)> {
    let pool = DescriptorPool::decode(tenantry::proto::DESCRIPTOR_SET).unwrap();
    let access = pool.get_extension_by_name("tenantry.v1.access").unwrap();
    let services = pool.services().filter(|service| service.parent_file().package_name() == "tenantry.v1");
    let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
    let reads = methods.filter(|method| {
        let options = method.options();
        let value = options.get_extension(&access).into_owned();
        let Value::Message(said) = value else { panic!("the option is a message") };
        method.is_server_streaming() || said.get_field_by_name("read_only").unwrap().as_bool().unwrap()
    });
    let path = |method: &prost_reflect::MethodDescriptor| {
        format!("/{}/{}", method.parent_service().full_name(), method.name())
    };
    reads.map(|method| (path(&method), method.is_server_streaming())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rpc_that_reads_heeds_the_freshness_that_is_demanded() {
    let replica = Replica::start(&without_targets()).await;
    let seen = replica.server.registry.view.snapshot().unwrap();
    let ahead = format!("{:016x}-{:x}", seen.epoch.as_u64_pair().0, seen.revision.get() + 1_000);
    let readers = readers();
    assert!(readers.len() > 20, "{readers:?}");
    assert!(readers.iter().filter(|(_, is_stream)| *is_stream).count() >= 3, "{readers:?}");
    let client = connect(replica.server.grpc).await;
    let mut calls = JoinSet::new();
    for (path, _) in readers {
        for (name, value, wanted) in [
            (MIN_REVISION, "nonsense", "INVALID_FIELD"),
            (CONSISTENCY, "bogus", "INVALID_FIELD"),
            (MIN_REVISION, "0000000000000007-1", "EPOCH_MISMATCH"),
            (MIN_REVISION, ahead.as_str(), "VIEW_NOT_READY"),
        ] {
            let (client, request) = (client.clone(), request(&path, &[(name, value)]));
            let what = format!("{path} with {name}: {value}");
            calls.spawn(async move {
                let answer = timeout(SOON, send(&client, request, framed(0, b""))).await;
                let answer = answer.unwrap_or_else(|_| panic!("{what} began all the same")).unwrap();
                let status = answer.status();
                assert_eq!(reason(&status), wanted, "{what}: {status:?}");
                if wanted == "INVALID_FIELD" {
                    assert_eq!(fields(&status), [name], "{what}");
                }
            });
        }
    }
    calls.join_all().await;
    drop(client);
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_on_another_replica_waits_for_the_revision_it_begins_behind() {
    let (mut first, mut second) = two().await;
    first.tenant("finance").await;
    for round in 0..20 {
        let owner = format!("owner{round}");
        let update = v1::UpdateTenantRequest {
            tenant: Some(v1::Tenant { tenant_id: "finance".into(), owner, ..Default::default() }),
            update_mask: Some(prost_types::FieldMask { paths: vec!["owner".into()] }),
            ..Default::default()
        };
        let updated = first.tenants.update_tenant(update).await.unwrap();
        let token: Token = updated.metadata().get("tenantry-revision").unwrap().clone();
        let start_revision = updated.into_inner().revision;
        let watch = v1::WatchTenantsRequest { start_revision, ..Default::default() };
        let mut with_token = Request::new(watch.clone());
        with_token.metadata_mut().insert(MIN_REVISION, token);
        // The revision alone is waited for, too.
        let asked = if round % 2 == 0 { with_token } else { Request::new(watch) };
        second.tenants.watch_tenants(asked).await.unwrap();
    }
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_is_watched_on_another_replica_right_after_it_was_asked_for() {
    let (mut first, mut second) = two().await;
    first.tenant("finance").await;
    for round in 0..10 {
        let tenant_id = "finance".to_owned();
        let started = if round % 2 == 0 {
            let request = v1::SuspendTenantRequest { tenant_id, ..Default::default() };
            first.lifecycle.suspend_tenant(request).await.unwrap()
        } else {
            let request = v1::ActivateTenantRequest { tenant_id, ..Default::default() };
            first.lifecycle.activate_tenant(request).await.unwrap()
        };
        let token: Token = started.metadata().get("tenantry-revision").unwrap().clone();
        let operation_id = started.into_inner().operation_id;
        let mut request = Request::new(v1::WatchOperationRequest { operation_id: operation_id.clone() });
        request.metadata_mut().insert(MIN_REVISION, token);
        let mut told = second.lifecycle.watch_operation(request).await.unwrap().into_inner();
        assert_eq!(told.message().await.unwrap().unwrap().operation_id, operation_id);
    }
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_lies_ahead_of_the_log_or_only_of_a_replica_that_is_behind() {
    let mut first = Replica::start(&without_targets()).await;
    let (proxy, url) = Proxy::start(&first.database_url).await;
    let mut behind = Replica::on(&url, &without_targets()).await;
    let watch = |start_revision| v1::WatchTenantsRequest { start_revision, ..Default::default() };
    proxy.flow(Flow::FollowerHeld);
    let made = first.create("finance").await.unwrap();
    let error = behind.tenants.watch_tenants(watch(made.revision)).await.unwrap_err();
    assert_eq!(reason(&error), "VIEW_NOT_READY");
    let error = behind.tenants.watch_tenants(watch(made.revision + 1)).await.unwrap_err();
    assert_eq!(reason(&error), "INVALID_REVISION");
    assert!(error.message().contains(&format!("which is at {}", made.revision)), "{error:?}");
    assert_eq!(fields(&error), ["start_revision"]);
    proxy.flow(Flow::Open);
    let mut told = behind.tenants.watch_tenants(watch(made.revision)).await.unwrap().into_inner();
    let request = v1::CreateTenantRequest { tenant: Some(new_tenant("legal")), ..Default::default() };
    first.tenants.create_tenant(request).await.unwrap();
    assert_eq!(told.message().await.unwrap().unwrap().tenant.unwrap().tenant_id, "legal");
    drop(told);
    behind.stop().await;
    first.stop().await;
}

#[tokio::test]
async fn what_is_said_twice_beside_a_message_must_be_the_same_both_times() {
    let mut replica = Replica::start(&without_targets()).await;
    let token = {
        let answer = replica.tiers.list_tiers(v1::ListTiersRequest::default()).await.unwrap();
        answer.metadata().get("tenantry-revision").unwrap().clone()
    };
    let (latest, ada): (Token, Token) = ("latest".parse().unwrap(), "ada".parse().unwrap());
    for (name, first, other) in [
        (MIN_REVISION, &token, "0000000000000000-1"),
        (CONSISTENCY, &latest, "cached"),
        ("tenantry-actor", &ada, "bob"),
    ] {
        for (second, is_taken) in [(first.clone(), true), (other.parse().unwrap(), false)] {
            let mut read = Request::new(v1::GetTenantRequest { tenant_id: "nobody".to_owned() });
            let new = v1::CreateTenantRequest {
                tenant: Some(new_tenant("acme")),
                validate_only: true,
                ..Default::default()
            };
            let mut write = Request::new(new);
            for metadata in [read.metadata_mut(), write.metadata_mut()] {
                metadata.append(name, first.clone());
                metadata.append(name, second.clone());
            }
            let refused = if name == "tenantry-actor" {
                replica.tenants.create_tenant(write).await.err().map(|status| fields(&status))
            } else {
                let status = replica.tenants.get_tenant(read).await.unwrap_err();
                Some(fields(&status)).filter(|fields| !fields.is_empty())
            };
            assert_eq!(refused, (!is_taken).then(|| vec![name.to_owned()]), "{name}: {second:?}");
        }
    }
    replica.stop().await;
}

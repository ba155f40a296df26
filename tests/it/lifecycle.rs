//! `Lifecycle`, as its callers see it.

mod asked_again;
mod denial;
mod drift;
mod drift_beside;
mod halfway;
mod history;
mod kept_out;
mod left_open;
mod many;
mod migrations;
mod numbers;
mod operators;
mod overruled;
mod overtaken;
mod plans;
mod refused;
mod restored;
mod restored_beside;
mod restored_open;
mod restored_unseen;
pub(crate) mod schedule;
mod tiers;
mod untold;

use std::time::Duration;

use tenantry::participants::stub::Stub;
use tenantry::proto::v1;
use tonic::Code;

use crate::support::{Replica, Setup, new_tenant, reason};

const TEN_SECONDS: Option<prost_types::Duration> = Some(prost_types::Duration { seconds: 10, nanos: 0 });

async fn five_targets() -> Setup {
    let mut stubs = Vec::new();
    for name in ["cache", "monitoring", "object-store", "vector-db"] {
        stubs.push((name, Stub::start(Duration::from_millis(1)).await.unwrap()));
    }
    Setup { stubs, ..Setup::default() }
}

/// A server with a stub target, and the tenant `finance` in the region `eu-west-1`.
async fn in_a_region() -> (Replica, Stub, v1::Tenant) {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let tenant = v1::Tenant { region: "eu-west-1".into(), ..new_tenant("finance") };
    let request = v1::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
    replica.tenants.create_tenant(request).await.unwrap();
    let tenant = replica.settled("finance").await;
    (replica, stub, tenant)
}

pub(crate) fn suspend(tenant_id: &str) -> v1::SuspendTenantRequest {
    v1::SuspendTenantRequest {
        tenant_id: tenant_id.into(),
        reason: "unpaid".into(),
        wait: TEN_SECONDS,
        ..Default::default()
    }
}

pub(crate) fn activate(tenant_id: &str) -> v1::ActivateTenantRequest {
    v1::ActivateTenantRequest { tenant_id: tenant_id.into(), wait: TEN_SECONDS, ..Default::default() }
}

#[tokio::test]
async fn suspending_and_activating_are_true_in_all_five_systems() {
    let setup = five_targets().await;
    let mut replica = Replica::start(&setup).await;
    let tenant = replica.tenant("finance").await;
    let operation = replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap().into_inner();
    assert_eq!(operation.state(), v1::OperationState::Succeeded, "{operation:?}");
    assert_eq!(operation.targets.len(), 5);
    assert!(operation.targets.iter().all(|step| step.state() == v1::TargetState::Verified));
    let suspended = replica.get("finance").await;
    assert_eq!(suspended.status(), v1::TenantStatus::Suspended);
    assert_eq!(suspended.status_reason, "unpaid");
    assert_eq!(suspended.access(), v1::TenantAccess::None);
    for (name, stub) in &setup.stubs {
        let held = stub.held(&tenant.uid).unwrap();
        assert_eq!(held.state, tenantry::domain::lifecycle::Desired::Suspended, "{name}");
        assert_eq!(stub.effects(&tenant.uid).len(), 2, "{name}: provisioned, then suspended");
    }
    let operation = replica.lifecycle.activate_tenant(activate("finance")).await.unwrap().into_inner();
    assert_eq!(operation.state(), v1::OperationState::Succeeded, "{operation:?}");
    assert_eq!(replica.get("finance").await.status(), v1::TenantStatus::Active);
    replica.stop().await;
}

#[tokio::test]
async fn an_illegal_move_names_the_allowed_ones() {
    use tonic_types::StatusExt as _;
    let mut replica = Replica::start(&Setup::default()).await;
    replica.tenant("finance").await;
    let delete = v1::DeleteTenantRequest { tenant_id: "finance".into(), ..Default::default() };
    let error = replica.lifecycle.delete_tenant(delete).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::FailedPrecondition, "ILLEGAL_TRANSITION"));
    let info = error.get_details_error_info().unwrap();
    assert_eq!(info.metadata["from"], "ACTIVE");
    assert_eq!(info.metadata["to"], "DELETED");
    assert_eq!(info.metadata["allowed"], "SUSPENDED,MIGRATING");
    replica.stop().await;
}

#[tokio::test]
async fn the_whole_life_of_a_tenant() {
    let mut replica = Replica::start(&Setup::default()).await;
    replica.tenant("finance").await;
    let id = || "finance".to_owned();
    let start = v1::StartMigrationRequest { tenant_id: id(), wait: TEN_SECONDS, ..Default::default() };
    replica.lifecycle.start_migration(start).await.unwrap();
    let migrating = replica.get("finance").await;
    assert_eq!(
        (migrating.status(), migrating.access()),
        (v1::TenantStatus::Migrating, v1::TenantAccess::ReadOnly)
    );
    let finish = v1::FinishMigrationRequest {
        tenant_id: id(),
        wait: TEN_SECONDS,
        to_status: v1::TenantStatus::Suspended.into(),
        ..Default::default()
    };
    replica.lifecycle.finish_migration(finish).await.unwrap();
    let archive = v1::ArchiveTenantRequest { tenant_id: id(), wait: TEN_SECONDS, ..Default::default() };
    replica.lifecycle.archive_tenant(archive).await.unwrap();
    let delete = v1::DeleteTenantRequest { tenant_id: id(), wait: TEN_SECONDS, ..Default::default() };
    replica.lifecycle.delete_tenant(delete).await.unwrap();
    let deleted = replica.get("finance").await;
    assert_eq!(deleted.status(), v1::TenantStatus::Deleted);
    assert!(deleted.purge_time.is_some() && deleted.delete_time.is_some());
    let list = replica.tenants.list_tenants(v1::ListTenantsRequest::default()).await.unwrap().into_inner();
    assert_eq!(list.total_size, 0, "deleted tenants are hidden");
    let undelete = v1::UndeleteTenantRequest { tenant_id: id(), wait: TEN_SECONDS, ..Default::default() };
    let operation = replica.lifecycle.undelete_tenant(undelete).await.unwrap().into_inner();
    assert_eq!(operation.state(), v1::OperationState::Succeeded, "{operation:?}");
    let back = replica.get("finance").await;
    assert_eq!(back.status(), v1::TenantStatus::Archived);
    assert!(back.purge_time.is_none() && back.delete_time.is_none());
    replica.stop().await;
}

#[tokio::test]
async fn row_level_security_follows_the_state() {
    let mut replica = Replica::start(&Setup::default()).await;
    replica.tenant("finance").await;
    assert_eq!(visible_rows(&replica.database_url, "finance").await, 1);
    replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap();
    assert_eq!(visible_rows(&replica.database_url, "finance").await, 0);
    replica.lifecycle.activate_tenant(activate("finance")).await.unwrap();
    assert_eq!(visible_rows(&replica.database_url, "finance").await, 1);
    replica.stop().await;
}

/// What an ordinary client of an application database sees.
async fn visible_rows(url: &str, tenant_id: &str) -> i64 {
    let (mut client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let transaction = client.transaction().await.unwrap();
    transaction.batch_execute("SET LOCAL ROLE tenantry_app").await.unwrap();
    transaction.execute("SELECT set_config('tenancy.tenant', $1, true)", &[&tenant_id]).await.unwrap();
    transaction.query_one("SELECT count(*) FROM tenancy.demo_document", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_watched_operation_is_told_to_its_end() {
    let setup = five_targets().await;
    let mut replica = Replica::start(&setup).await;
    replica.tenant("finance").await;
    let request = v1::SuspendTenantRequest { wait: None, ..suspend("finance") };
    let operation = replica.lifecycle.suspend_tenant(request).await.unwrap().into_inner();
    let request = v1::WatchOperationRequest { operation_id: operation.operation_id };
    let mut watch = replica.lifecycle.watch_operation(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(told) = watch.message().await.unwrap() {
        last = Some(told);
    }
    assert_eq!(last.unwrap().state(), v1::OperationState::Succeeded);
    replica.stop().await;
}

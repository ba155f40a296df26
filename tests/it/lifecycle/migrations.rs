//! Where tenants run: what moves them, what goes when a move is taken back, and what the command line says of it.

use tenantry::participants::stub::Fault;
use tenantry::proto::v1;
use tonic::Status;

use super::schedule::in_seconds;
use super::{TEN_SECONDS, in_a_region};
use crate::command_line::tenantry;
use crate::support::{Replica, new_tenant, reason};

async fn say_region(replica: &mut Replica, tenant_id: &str, region: &str) -> Result<v1::Tenant, Status> {
    let request = v1::UpdateTenantRequest {
        tenant: Some(v1::Tenant { region: region.into(), ..new_tenant(tenant_id) }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["region".to_owned()] }),
        ..Default::default()
    };
    replica.tenants.update_tenant(request).await.map(tonic::Response::into_inner)
}

fn start() -> v1::StartMigrationRequest {
    v1::StartMigrationRequest {
        tenant_id: "finance".into(),
        to_region: "me-south-1".into(),
        wait: TEN_SECONDS,
        ..Default::default()
    }
}

fn finish(seconds: u64) -> v1::FinishMigrationRequest {
    v1::FinishMigrationRequest {
        tenant_id: "finance".into(),
        at: Some(in_seconds(seconds)),
        ..Default::default()
    }
}

async fn abort(replica: &mut Replica, operation_id: &str) -> v1::Operation {
    let operation_id = operation_id.to_owned();
    let request = v1::AbortOperationRequest { operation_id, wait: TEN_SECONDS, ..Default::default() };
    replica.lifecycle.abort_operation(request).await.unwrap().into_inner()
}

async fn operation(replica: &mut Replica, operation_id: &str) -> v1::Operation {
    let mut request = tonic::Request::new(v1::GetOperationRequest { operation_id: operation_id.into() });
    request.metadata_mut().insert("tenantry-consistency", "latest".parse().unwrap());
    replica.lifecycle.get_operation(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn the_region_of_a_tenant_in_use_is_changed_by_migrations_alone() {
    let (mut replica, stub, tenant) = in_a_region().await;
    let refused = say_region(&mut replica, "finance", "pluto").await.unwrap_err();
    assert_eq!(reason(&refused), "USE_START_MIGRATION");
    assert!(refused.message().contains("start-migration"), "{}", refused.message());
    assert!(say_region(&mut replica, "finance", "eu-west-1").await.is_ok(), "it is there already");
    replica.lifecycle.start_migration(start()).await.unwrap();
    for region in ["pluto", "me-south-1", ""] {
        let refused = say_region(&mut replica, "finance", region).await.unwrap_err();
        assert_eq!(reason(&refused), "USE_START_MIGRATION", "{region}");
    }
    assert_eq!(replica.get("finance").await.region, "eu-west-1");

    // Where none was said yet it can be, but not while something else is told to the targets.
    let free = replica.tenant("free").await;
    stub.set_fault(&free.uid, Some(Fault::Hanging));
    let suspend = v1::SuspendTenantRequest { tenant_id: "free".into(), ..Default::default() };
    replica.lifecycle.suspend_tenant(suspend).await.unwrap();
    let refused = say_region(&mut replica, "free", "eu-west-1").await.unwrap_err();
    assert_eq!(reason(&refused), "USE_START_MIGRATION");
    assert!(refused.message().contains("wait for the end"), "{}", refused.message());
    stub.set_fault(&free.uid, None);
    replica.settled("free").await;
    assert_eq!(say_region(&mut replica, "free", "eu-west-1").await.unwrap().region, "eu-west-1");
    let refused = say_region(&mut replica, "free", "us-east-1").await.unwrap_err();
    assert_eq!(reason(&refused), "USE_START_MIGRATION", "once it is said it stays");
    drop(tenant);
    replica.stop().await;
}

#[tokio::test]
async fn a_migration_that_is_taken_back_takes_its_scheduled_end_along() {
    let (mut replica, stub, tenant) = in_a_region().await;
    // Once while the tenant is MIGRATING, and once before that was true everywhere.
    for hanging in [false, true] {
        stub.set_fault(&tenant.uid, hanging.then_some(Fault::Hanging));
        let wait = if hanging { None } else { TEN_SECONDS };
        let asked = v1::StartMigrationRequest { wait, ..start() };
        let begun = replica.lifecycle.start_migration(asked).await.unwrap().into_inner();
        let end = replica.lifecycle.finish_migration(finish(3_600)).await.unwrap().into_inner();
        let other = v1::SuspendTenantRequest {
            tenant_id: "finance".into(),
            at: Some(in_seconds(3_600)),
            ..Default::default()
        };
        let other = replica.lifecycle.suspend_tenant(other).await.unwrap().into_inner();
        stub.set_fault(&tenant.uid, None);
        abort(&mut replica, &begun.operation_id).await;
        assert_eq!(replica.settled("finance").await.status(), v1::TenantStatus::Active);
        let end = operation(&mut replica, &end.operation_id).await;
        assert_eq!(end.state(), v1::OperationState::Cancelled, "{hanging}: {end:?}");
        assert!(end.abort_reason.contains(&begun.operation_id), "{end:?}");
        let other = operation(&mut replica, &other.operation_id).await;
        assert_eq!(other.state(), v1::OperationState::Scheduled, "that is not about the migration");
        abort(&mut replica, &other.operation_id).await;
    }
    // An end that belongs to a migration which begins before it stays.
    let begun = replica.lifecycle.start_migration(start()).await.unwrap().into_inner();
    let next = v1::StartMigrationRequest { at: Some(in_seconds(1_800)), wait: None, ..start() };
    replica.lifecycle.start_migration(next).await.unwrap();
    let end = replica.lifecycle.finish_migration(finish(3_600)).await.unwrap().into_inner();
    abort(&mut replica, &begun.operation_id).await;
    let end = operation(&mut replica, &end.operation_id).await;
    assert_eq!(end.state(), v1::OperationState::Scheduled, "{end:?}");
    replica.stop().await;
}

#[tokio::test]
async fn the_command_line_says_what_is_about_to_change_beside_the_states() {
    let (mut replica, stub, tenant) = in_a_region().await;
    let request = v1::UpdateTenantRequest {
        tenant: Some(v1::Tenant { data_residency: "EU".into(), ..new_tenant("finance") }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["data_residency".to_owned()] }),
        ..Default::default()
    };
    replica.tenants.update_tenant(request).await.unwrap();
    let server = format!("http://{}", replica.server.grpc);
    let at = |arguments: &'static [&'static str]| {
        let server = server.clone();
        async move { tenantry(&[arguments, &["--server", &server]].concat()).await }
    };
    let (code, said) = at(&["tenant", "change-tier", "finance", "--tier", "silver"]).await;
    assert!(code == Some(0) && said.contains("finance is on tier silver, and ACTIVE (operation "), "{said}");
    stub.set_fault(&tenant.uid, Some(Fault::Refusing));
    let (code, said) = at(&["tenant", "change-tier", "finance", "--tier", "gold"]).await;
    let stuck = "finance is on tier gold, but its limits are not true yet in cache (operation ";
    assert!(code == Some(7) && said.contains(stuck), "{said}");
    stub.set_fault(&tenant.uid, None);
    let open = replica.get("finance").await.operation_id;
    let (code, said) = tenantry(&["operation", "retry", &open, "cache", "--server", &server]).await;
    assert_eq!(code, Some(0), "{said}");

    let (code, said) = at(&["tenant", "start-migration", "finance", "--to-region", "us-east-1"]).await;
    assert!(code == Some(0) && said.contains("its data must stay in EU"), "{said}");
    let begun = v1::ListOperationsRequest { tenant_id: "finance".into(), page_size: 1, ..Default::default() };
    let begun = replica.lifecycle.list_operations(begun).await.unwrap().into_inner().operations.remove(0);
    let (code, said) = at(&["tenant", "finish-migration", "finance", "--validate-only"]).await;
    let planned = "it will be ACTIVE at us-east-1; this is the point of no return";
    assert!(code == Some(0) && said.contains(planned), "{said}");
    replica.lifecycle.finish_migration(finish(3_600)).await.unwrap();
    let (code, said) = tenantry(&["operation", "abort", &begun.operation_id, "--server", &server]).await;
    assert!(code == Some(0) && said.contains("note: FINISH_MIGRATION was scheduled for "), "{said}");
    assert!(said.contains("it was taken back as well"), "{said}");
    replica.stop().await;
}

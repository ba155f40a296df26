//! However much the engine has to do, callers go first.

use std::time::Duration;

use tenantry::participants::stub::Stub;
use tenantry::proto::v1;
use tenantry::proto::v1::batch_create_tenants_response::result::Outcome;
use tokio_postgres::NoTls;

use super::verbs::stubs;
use crate::support::{Replica, Setup, new_tenant};

/// As an operator has it where nothing is said: tests have less patience elsewhere.
fn patient(stubs: Vec<(&'static str, Stub)>) -> Setup {
    let settings = vec![("cascade.apply_deadline", "10s".to_owned()), ("cascade.lease", "10s".to_owned())];
    Setup { stubs, settings, ..Setup::default() }
}

fn create(tenant_id: &str) -> v1::CreateTenantRequest {
    v1::CreateTenantRequest {
        tenant: Some(new_tenant(tenant_id)),
        request_id: uuid::Uuid::now_v7().to_string(),
        ..Default::default()
    }
}

/// A change that names its request, of a tenant that is read and written again and again.
async fn describe(replica: &mut Replica, tenant: v1::Tenant, description: String) -> v1::Tenant {
    let request = v1::UpdateTenantRequest {
        tenant: Some(v1::Tenant { description, ..tenant }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["description".to_owned()] }),
        request_id: uuid::Uuid::now_v7().to_string(),
        ..Default::default()
    };
    replica.tenants.update_tenant(request).await.expect("the engine keeps no caller out").into_inner()
}

async fn open_operations(replica: &mut Replica) -> i32 {
    let request =
        v1::ListOperationsRequest { filter: "open = true".to_owned(), page_size: 1, ..Default::default() };
    replica.lifecycle.list_operations(request).await.unwrap().into_inner().total_size
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_are_served_while_a_thousand_tenants_are_being_provisioned() {
    let mut replica = Replica::start(&patient(stubs(Duration::from_millis(1)).await)).await;
    let mut busy = replica.tenant("busy").await;
    let requests = (0..1_000).map(|number| create(&format!("tenant-{number}"))).collect();
    let mut tenants = replica.tenants.clone();
    let creating = tokio::spawn(async move {
        tenants.batch_create_tenants(v1::BatchCreateTenantsRequest { requests }).await
    });
    for change in 0.. {
        busy = describe(&mut replica, busy, format!("change {change}")).await;
        if creating.is_finished() && open_operations(&mut replica).await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for result in creating.await.unwrap().unwrap().into_inner().results {
        assert!(matches!(result.outcome, Some(Outcome::Tenant(_))), "{result:?}");
    }
    replica.stop().await;
}

/// The target in the registry's own database had the registry's own connections: with all of them busy, no request could
/// be looked up, no lease kept, and writes were UNAVAILABLE for as long as a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_holds_all_its_connections_leaves_the_registry_its_own() {
    let mut replica = Replica::start(&patient(Vec::new())).await;
    let mut busy = replica.tenant("busy").await;
    let (holder, connection) = tokio_postgres::connect(&replica.database_url, NoTls).await.unwrap();
    tokio::spawn(connection);
    holder.batch_execute("BEGIN; LOCK TABLE tenancy.access").await.unwrap();
    for number in 0..50 {
        replica.tenants.create_tenant(create(&format!("tenant-{number}"))).await.unwrap();
    }
    for change in 0..20 {
        busy = describe(&mut replica, busy, format!("change {change}")).await;
    }
    assert_eq!(open_operations(&mut replica).await, 50);
    holder.batch_execute("COMMIT").await.unwrap();
    for number in 0..50 {
        let tenant = replica.settled(&format!("tenant-{number}")).await;
        assert_eq!(tenant.status(), v1::TenantStatus::Active, "{tenant:?}");
    }
    replica.stop().await;
}

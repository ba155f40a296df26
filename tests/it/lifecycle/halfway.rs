//! A change that was cut off half way: the target has noted it, and is still in the state before.

use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Fault, Held, Stub};
use tenantry::proto::v1;

use super::{activate, suspend};
use crate::support::{Replica, Setup};

/// It took its own half-done change for one that the registry had forgotten, and waited for an operator.
#[tokio::test]
async fn a_replica_goes_on_with_an_activation_that_another_was_stopped_in_the_middle_of() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let tenant = replica.tenant("finance").await;
    replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap();
    let generation = stub.held(&tenant.uid).unwrap().generation + 1;
    stub.set_fault("finance", Some(Fault::Halfway(Duration::from_mins(1))));
    let request = v1::ActivateTenantRequest { wait: None, ..activate("finance") };
    let open = replica.lifecycle.activate_tenant(request).await.unwrap().into_inner();
    while stub.held(&tenant.uid) != Some(Held { state: Desired::Suspended, generation }) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let url = replica.database_url.clone();
    replica.stop().await;
    stub.set_fault("finance", None);

    let mut replica = Replica::on(&url, &setup).await;
    let settled = replica.settled("finance").await;
    let request = v1::GetOperationRequest { operation_id: open.operation_id };
    let ended = replica.lifecycle.get_operation(request).await.unwrap().into_inner();
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    assert_eq!(settled.status(), v1::TenantStatus::Active);
    assert_eq!(stub.held(&tenant.uid), Some(Held { state: Desired::Active, generation }));
    replica.stop().await;
}

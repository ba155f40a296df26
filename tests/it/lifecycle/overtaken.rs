//! Operations of bulk operations that others took over from.

use std::time::Duration;

use tenantry::participants::stub::{Fault, Stub};
use tenantry::proto::v1;

use super::activate;
use crate::participants::until;
use crate::support::{Replica, Setup, sql};

async fn read(replica: &mut Replica, bulk_operation_id: &str) -> v1::BulkOperation {
    let request = v1::GetBulkOperationRequest { bulk_operation_id: bulk_operation_id.into() };
    replica.lifecycle.get_bulk_operation(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_tenant_that_was_taken_over_before_its_operation_was_answered_says_by_whom() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup {
        stubs: vec![("cache", stub.clone())],
        settings: vec![("cascade.max_attempts", "1000".to_owned())],
        ..Setup::default()
    };
    let mut first = Replica::start(&setup).await;
    let tenant = first.tenant("finance").await;
    let url = first.database_url.clone();
    stub.set_fault(&tenant.uid, Some(Fault::Hanging));
    let request = v1::StartBulkOperationRequest {
        filter: r#"tenant_id = "finance""#.into(),
        verb: v1::OperationVerb::Suspend.into(),
        ..Default::default()
    };
    let bulk = first.lifecycle.start_bulk_operation(request).await.unwrap().into_inner();
    until("its operation is open", async || !first.get("finance").await.operation_id.is_empty()).await;
    // The replica dies before it has written what it began, and another one drives no bulk operation for a while.
    first.stop().await;
    sql(
        &url,
        "UPDATE background_work SET owner = gen_random_uuid(), expire_time = now() + interval '1 hour'
         WHERE work LIKE 'bulk/%'",
    )
    .await;
    let mut second = Replica::on(&url, &setup).await;
    let request = v1::ActivateTenantRequest { wait: None, ..activate("finance") };
    let taker = second.lifecycle.activate_tenant(request).await.unwrap().into_inner();
    assert_eq!(read(&mut second, &bulk.bulk_operation_id).await.state(), v1::BulkOperationState::Running);
    sql(&url, "DELETE FROM background_work WHERE work LIKE 'bulk/%'").await;
    until("the whole has ended", async || {
        read(&mut second, &bulk.bulk_operation_id).await.state() == v1::BulkOperationState::Failed
    })
    .await;
    let ended = read(&mut second, &bulk.bulk_operation_id).await;
    assert_eq!(ended.error, format!("finance: operation {} took over", taker.operation_id));
    second.stop().await;
}

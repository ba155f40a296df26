//! Operations that ended long ago are not in memory any more; nobody notices.

use tenantry::proto::v1;
use tonic::Code;

use super::{activate, suspend};
use crate::support::{Replica, Setup, reason};

/// All operations of a listing, page by page.
async fn listed(replica: &mut Replica, request: &v1::ListOperationsRequest) -> Vec<v1::Operation> {
    let mut request = request.clone();
    let mut all = Vec::new();
    loop {
        let page = replica.lifecycle.list_operations(request.clone()).await.unwrap().into_inner();
        assert!(page.operations.len() <= usize::try_from(request.page_size).unwrap());
        all.extend(page.operations);
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

fn ids(operations: &[v1::Operation]) -> Vec<&str> {
    operations.iter().map(|operation| operation.operation_id.as_str()).collect()
}

async fn check(replica: &mut Replica, made: &[v1::Operation], planned: &v1::Operation) {
    let oldest = &made[0];
    let at_hand = replica.server.registry.view.snapshot().unwrap().operations.values().count();
    assert!(at_hand <= 101, "{at_hand} are in memory");
    let id = || oldest.operation_id.clone();
    let get = v1::GetOperationRequest { operation_id: id() };
    assert_eq!(replica.lifecycle.get_operation(get).await.unwrap().into_inner(), *oldest);
    let watch = v1::WatchOperationRequest { operation_id: id() };
    let mut told = replica.lifecycle.watch_operation(watch).await.unwrap().into_inner();
    assert_eq!(told.message().await.unwrap().as_ref(), Some(oldest));
    assert_eq!(told.message().await.unwrap(), None, "it has ended");

    let mut wanted = ids(made);
    wanted.push(&planned.operation_id);
    wanted.sort_unstable();
    wanted.reverse();
    for page_size in [7, 1_000] {
        let all = v1::ListOperationsRequest { page_size, ..Default::default() };
        assert_eq!(ids(&listed(replica, &all).await), wanted);
        let one = v1::ListOperationsRequest { page_size, tenant_id: "quiet".into(), ..Default::default() };
        let of_one: Vec<_> =
            made.iter().filter(|made| made.tenant_id == "quiet").map(|made| &*made.operation_id).collect();
        let mut found = listed(replica, &one).await;
        found.retain(|operation| operation.state() != v1::OperationState::Scheduled);
        assert_eq!(ids(&found).into_iter().rev().collect::<Vec<_>>(), of_one);
        let filter = format!("reason = \"unpaid\" AND operation_id = \"{}\"", oldest.operation_id);
        let filtered = v1::ListOperationsRequest { page_size, filter, ..Default::default() };
        assert_eq!(listed(replica, &filtered).await, std::slice::from_ref(oldest));
        let state = v1::OperationState::Scheduled.into();
        let scheduled = v1::ListOperationsRequest { page_size, state, ..Default::default() };
        assert_eq!(ids(&listed(replica, &scheduled).await), [&*planned.operation_id]);
    }
    let unknown = v1::ListOperationsRequest { tenant_id: "nobody".into(), ..Default::default() };
    let error = replica.lifecycle.list_operations(unknown).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::NotFound, "TENANT_NOT_FOUND"));
    let abort =
        v1::AbortOperationRequest { operation_id: id(), reason: "too late".into(), ..Default::default() };
    let error = replica.lifecycle.abort_operation(abort).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error:?}");
}

#[tokio::test]
async fn what_ended_long_ago_is_read_and_listed_like_the_rest() {
    let settings = vec![("view.ended_operations", "100".to_owned())];
    let setup = Setup { no_targets: true, settings, ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    replica.tenant("quiet").await;
    replica.tenant("busy").await;
    let later = std::time::SystemTime::now() + std::time::Duration::from_hours(1);
    let planned = v1::SuspendTenantRequest { at: Some(later.into()), ..suspend("quiet") };
    let planned = replica.lifecycle.suspend_tenant(planned).await.unwrap().into_inner();
    let mut made = Vec::new();
    for tenant_id in std::iter::repeat_n("quiet", 2).chain(std::iter::repeat_n("busy", 60)) {
        made.push(replica.lifecycle.suspend_tenant(suspend(tenant_id)).await.unwrap().into_inner());
        made.push(replica.lifecycle.activate_tenant(activate(tenant_id)).await.unwrap().into_inner());
    }
    check(&mut replica, &made, &planned).await;
    // And on one that was started on them.
    let mut fresh = Replica::on(&replica.database_url, &setup).await;
    check(&mut fresh, &made, &planned).await;
    fresh.stop().await;
    replica.stop().await;
}

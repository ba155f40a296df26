//! One target down for everybody.

use std::time::Duration;

use tenantry::participants::stub::{Fault, Stub};
use tenantry::proto::v1;
use tenantry::proto::v1::batch_create_tenants_response::result::Outcome;

use super::verbs::{Clients, Verb};
use crate::support::{Replica, Setup, metrics, new_tenant};

/// 1,000 in `make soak`; fewer beside everything else that is tested at the same time.
fn tenants() -> usize {
    std::env::var("SOAK_TENANTS").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

async fn cache_as_listed(replica: &mut Replica) -> v1::Target {
    let request = v1::ListTargetsRequest::default();
    let list = replica.lifecycle.list_targets(request).await.unwrap().into_inner();
    list.targets.into_iter().find(|target| target.target == "cache").unwrap()
}

async fn make_tenants(replica: &mut Replica) {
    let request = |number| v1::CreateTenantRequest {
        tenant: Some(new_tenant(&format!("t{number}"))),
        request_id: uuid::Uuid::now_v7().to_string(),
        ..Default::default()
    };
    let request = v1::BatchCreateTenantsRequest { requests: (0..tenants()).map(request).collect() };
    let answer = replica.tenants.batch_create_tenants(request).await.unwrap().into_inner();
    for result in answer.results {
        assert!(matches!(result.outcome, Some(Outcome::Tenant(_))), "{result:?}");
    }
    in_status(replica, "active").await;
}

/// Waits until every tenant is in a status.
async fn in_status(replica: &mut Replica, status: &str) {
    let mut seen = v1::GetStatisticsResponse::default();
    for _ in 0..2_400 {
        let request = v1::GetStatisticsRequest {};
        seen = replica.tenants.get_statistics(request).await.unwrap().into_inner();
        if seen.by_status[status] == i64::try_from(tenants()).unwrap() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let request = v1::ListOperationsRequest { filter: "open = true".into(), ..Default::default() };
    let open = replica.lifecycle.list_operations(request).await.unwrap().into_inner();
    panic!(
        "not every tenant is {status}: {seen:?}; {} open, first {:?}",
        open.total_size,
        open.operations.first()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_down_for_good_is_left_alone_and_every_operation_goes_on_when_it_is_back() {
    let stubs = vec![
        ("cache", Stub::start(Duration::from_millis(1)).await.unwrap()),
        ("vector-db", Stub::start(Duration::from_millis(1)).await.unwrap()),
    ];
    let cache = stubs[0].1.clone();
    // Attempts that a machine under load keeps: what is down fails at once.
    let settings =
        vec![("cascade.apply_deadline", "5s".to_owned()), ("cascade.max_attempts", "20".to_owned())];
    let mut replica = Replica::start(&Setup { stubs, settings, ..Setup::default() }).await;
    make_tenants(&mut replica).await;
    cache.set_fault("", Some(Fault::Failing(u32::MAX)));
    let mut asked = tokio::task::JoinSet::new();
    for worker in 0..20 {
        let mut clients = Clients::of(&replica);
        asked.spawn(async move {
            for number in (worker..tenants()).step_by(20) {
                Verb::Suspend.ask(&mut clients, &format!("t{number}"), 0).await.unwrap();
            }
        });
    }
    while let Some(done) = asked.join_next().await {
        done.unwrap();
    }
    // Every other target is done with every tenant, whatever the cache does.
    let mut clients = Clients::of(&replica);
    let request =
        || v1::ListOperationsRequest { filter: "open = true".into(), page_size: 1_000, ..Default::default() };
    let open = loop {
        let open = clients.lifecycle.list_operations(request()).await.unwrap().into_inner();
        let done = |operation: &v1::Operation| {
            operation
                .targets
                .iter()
                .all(|step| step.target == "cache" || step.state() == v1::TargetState::Verified)
        };
        if open.operations.iter().all(done) {
            break open;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let all = i32::try_from(tenants()).unwrap();
    assert_eq!(open.total_size, all, "none has ended, and none was given up");
    assert!(open.operations.iter().all(|operation| operation.state() == v1::OperationState::Running));
    let listed = cache_as_listed(&mut replica).await;
    assert_ne!(listed.circuit(), v1::CircuitState::Closed, "{listed:?}");
    let untold: Vec<&v1::TargetStep> = open
        .operations
        .iter()
        .flat_map(|one| &one.targets)
        .filter(|step| step.hold() == v1::TargetHold::CircuitOpen && step.last_error.is_empty())
        .collect();
    assert!(untold.is_empty(), "also one that was never tried says what is wrong there: {untold:?}");
    assert_eq!(listed.waiting_operations, all);
    assert!(metrics(&replica).await.contains("tenantry_target_circuit{target=\"cache\"}"));
    let calls = cache.calls();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let tried = cache.calls() - calls;
    // A probe every 50 ms is a change and a look; a machine under load takes its time to count.
    assert!(tried <= 200, "many operations wait, and only probes were made: {tried}");
    cache.set_fault("", None);
    in_status(&mut replica, "suspended").await;
    let listed = cache_as_listed(&mut replica).await;
    assert_eq!((listed.circuit(), listed.waiting_operations), (v1::CircuitState::Closed, 0));
    replica.stop().await;
}

//! A replica with fewer targets than others.

use std::time::Duration;

use tenantry::participants::stub::Stub;
use tenantry::proto::v1;

use crate::support::{Replica, Setup, metrics};

const WAIT: Option<prost_types::Duration> = Some(prost_types::Duration { seconds: 20, nanos: 0 });

/// A suspension, with what became of it.
async fn suspend(replica: &mut Replica) -> v1::Operation {
    let request = v1::SuspendTenantRequest { tenant_id: "finance".into(), wait: WAIT, ..Default::default() };
    replica.lifecycle.suspend_tenant(request).await.unwrap().into_inner()
}

async fn missing(replica: &Replica) -> String {
    let metrics = metrics(replica).await;
    metrics.lines().find(|line| line.starts_with("tenantry_targets_missing ")).unwrap().to_owned()
}

fn targets(operation: &v1::Operation) -> Vec<&str> {
    operation.targets.iter().map(|step| step.target.as_str()).collect()
}

#[tokio::test]
async fn a_tenant_is_not_called_suspended_while_a_target_of_other_replicas_lets_it_in() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let all = Setup { stubs: vec![("cache", stub)], ..Setup::default() };
    let mut whole = Replica::start(&all).await;
    whole.tenant("finance").await;
    assert_eq!(missing(&whole).await, "tenantry_targets_missing 0");
    let url = whole.database_url.clone();
    whole.stop().await;

    let mut lacking = Replica::on(&url, &Setup::default()).await;
    assert_eq!(missing(&lacking).await, "tenantry_targets_missing 1");
    let plan =
        v1::SuspendTenantRequest { tenant_id: "finance".into(), validate_only: true, ..Default::default() };
    let plan = lacking.lifecycle.suspend_tenant(plan).await.unwrap().into_inner();
    assert_eq!(targets(&plan), ["cache", "postgres"]);
    assert_eq!(plan.targets[0].planned_change(), v1::PlannedChange::Unknown);
    assert_eq!(plan.targets[0].last_error, "this replica does not have it");
    let stuck = suspend(&mut lacking).await;
    assert_eq!(
        (stuck.state(), targets(&stuck)),
        (v1::OperationState::NeedsOperator, vec!["cache", "postgres"])
    );
    assert_eq!(stuck.targets[0].last_error, "this target is not in the server's configuration");
    assert_eq!(stuck.targets[1].state(), v1::TargetState::Verified);
    let tenant = lacking.get("finance").await;
    assert_eq!((tenant.status(), tenant.access()), (v1::TenantStatus::Active, v1::TenantAccess::None));
    // A tenant that was never there is none of its business.
    lacking.tenant("hr").await;
    lacking.stop().await;

    // Where it is there again, it goes on.
    let mut whole = Replica::on(&url, &all).await;
    let request = v1::RetryTargetRequest {
        operation_id: stuck.operation_id,
        target: "cache".into(),
        wait: WAIT,
        ..Default::default()
    };
    let done = whole.lifecycle.retry_target(request).await.unwrap().into_inner();
    assert_eq!(done.state(), v1::OperationState::Succeeded, "{done:?}");
    whole.stop().await;

    // Taken away on purpose, it is not missed.
    let settings = vec![("cascade.retired_targets", "cache".to_owned())];
    let mut without = Replica::on(&url, &Setup { settings, ..Setup::default() }).await;
    assert_eq!(missing(&without).await, "tenantry_targets_missing 0");
    let request = v1::ActivateTenantRequest { tenant_id: "finance".into(), wait: WAIT, ..Default::default() };
    let active = without.lifecycle.activate_tenant(request).await.unwrap().into_inner();
    assert_eq!((active.state(), targets(&active)), (v1::OperationState::Succeeded, vec!["postgres"]));
    without.stop().await;
}

#[tokio::test]
async fn a_target_that_an_operator_skipped_is_not_missed_again() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let mut whole = Replica::start(&Setup { stubs: vec![("cache", stub)], ..Setup::default() }).await;
    whole.tenant("finance").await;
    let url = whole.database_url.clone();
    whole.stop().await;
    let mut lacking = Replica::on(&url, &Setup::default()).await;
    let stuck = suspend(&mut lacking).await;
    let request = v1::SkipTargetRequest {
        operation_id: stuck.operation_id,
        target: "cache".into(),
        reason: "sold".into(),
        ..Default::default()
    };
    lacking.lifecycle.skip_target(request).await.unwrap();
    assert_eq!(lacking.settled("finance").await.status(), v1::TenantStatus::Suspended);
    let request = v1::ActivateTenantRequest { tenant_id: "finance".into(), wait: WAIT, ..Default::default() };
    let active = lacking.lifecycle.activate_tenant(request).await.unwrap().into_inner();
    assert_eq!((active.state(), targets(&active)), (v1::OperationState::Succeeded, vec!["postgres"]));
    lacking.stop().await;
}

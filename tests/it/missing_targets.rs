//! A replica with fewer targets than others.

mod history;

use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::Stub;
use tenantry::proto::v1;

use crate::command_line::tenantry;
use crate::participants::until;
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
async fn a_tenant_is_not_called_active_while_a_target_of_other_replicas_has_nothing_of_it() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let all = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut whole = Replica::start(&all).await;
    whole.tenant("finance").await;
    let url = whole.database_url.clone();
    whole.stop().await;

    let hurried = || vec![("cascade.max_attempts", "1".to_owned())];
    let mut lacking = Replica::on(&url, &Setup { settings: hurried(), ..Setup::default() }).await;
    let made = lacking.create("hr").await.unwrap();
    let making = operation(&mut lacking, &made.operation_id).await;
    assert_eq!(targets(&making), ["cache", "postgres"]);
    let needs_operator = v1::OperationState::NeedsOperator;
    until("it needs an operator", async || {
        operation(&mut lacking, &made.operation_id).await.state() == needs_operator
    })
    .await;
    assert_eq!(lacking.get("hr").await.status(), v1::TenantStatus::Provisioning);
    lacking.stop().await;

    let mut whole = Replica::on(&url, &all).await;
    let request = v1::RetryTargetRequest {
        operation_id: made.operation_id,
        target: "cache".into(),
        wait: WAIT,
        ..Default::default()
    };
    let done = whole.lifecycle.retry_target(request).await.unwrap().into_inner();
    assert_eq!(done.state(), v1::OperationState::Succeeded, "{done:?}");
    assert_eq!(whole.get("hr").await.status(), v1::TenantStatus::Active);
    assert_eq!(stub.held(&made.uid).unwrap().state, Desired::Active);
    whole.stop().await;

    // Taken away on purpose, nothing is made there.
    let retired = [hurried(), vec![("cascade.retired_targets", "cache".to_owned())]].concat();
    let mut without = Replica::on(&url, &Setup { settings: retired, ..Setup::default() }).await;
    assert_eq!(without.tenant("legal").await.status(), v1::TenantStatus::Active);
    without.stop().await;
}

#[tokio::test]
async fn a_target_of_other_replicas_cannot_be_verified_here_and_nobody_is_told_that_all_is_well() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let all = Setup { stubs: vec![("cache", stub)], ..Setup::default() };
    let mut whole = Replica::start(&all).await;
    whole.tenant("finance").await;
    let url = whole.database_url.clone();
    let verify = |validate_only| v1::VerifyTenantRequest {
        tenant_id: "finance".into(),
        validate_only,
        ..Default::default()
    };
    let (code, said) = verify_by_command(&whole).await;
    assert_eq!(code, Some(0), "{said}");

    let mut lacking = Replica::on(&url, &Setup::default()).await;
    for validate_only in [false, true] {
        let found = lacking.lifecycle.verify_tenant(verify(validate_only)).await.unwrap().into_inner();
        let seen: Vec<_> = found.targets.iter().map(|it| (it.target.as_str(), it.result())).collect();
        let expected = [("cache", v1::CheckResult::Unknown), ("postgres", v1::CheckResult::AsDesired)];
        assert_eq!(seen, expected);
        assert_eq!(found.targets[0].error, "this replica does not have it");
        assert_eq!(found.targets[0].desired(), v1::DesiredState::Active);
        assert_eq!(found.operation, None);
    }
    let (code, said) = verify_by_command(&lacking).await;
    assert!(code == Some(6) && said.contains("this replica does not have it"), "{code:?} {said}");
    lacking.stop().await;
    whole.stop().await;
}

async fn verify_by_command(replica: &Replica) -> (Option<i32>, String) {
    let server = format!("http://{}", replica.server.grpc);
    tenantry(&["tenant", "verify", "finance", "--server", &server]).await
}

async fn operation(replica: &mut Replica, operation_id: &str) -> v1::Operation {
    let request = v1::GetOperationRequest { operation_id: operation_id.into() };
    replica.lifecycle.get_operation(request).await.unwrap().into_inner()
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

#[tokio::test]
async fn a_target_that_an_operator_skipped_still_lets_in_and_a_look_says_that_it_cannot_be_asked() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let mut whole = Replica::start(&Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() }).await;
    let uid = whole.tenant("finance").await.uid;
    let url = whole.database_url.clone();
    whole.stop().await;
    // The verifier that runs by itself sees it, too, and opens nothing.
    let settings =
        vec![("cascade.verify_rate", "1000".to_owned()), ("cascade.verify_interval", "1s".to_owned())];
    let mut lacking = Replica::on(&url, &Setup { settings, ..Setup::default() }).await;
    let stuck = suspend(&mut lacking).await;
    let skip = v1::SkipTargetRequest {
        operation_id: stuck.operation_id.clone(),
        target: "cache".into(),
        reason: "it is elsewhere".into(),
        ..Default::default()
    };
    lacking.lifecycle.skip_target(skip).await.unwrap();
    assert_eq!(lacking.settled("finance").await.status(), v1::TenantStatus::Suspended);
    assert_eq!(stub.held(&uid).unwrap().state, Desired::Active);

    let request = v1::VerifyTenantRequest { tenant_id: "finance".into(), ..Default::default() };
    let found = lacking.lifecycle.verify_tenant(request).await.unwrap().into_inner();
    let seen: Vec<_> = found.targets.iter().map(|it| (it.target.as_str(), it.result())).collect();
    assert_eq!(seen, [("cache", v1::CheckResult::Unknown), ("postgres", v1::CheckResult::AsDesired)]);
    assert_eq!(found.targets[0].error, "this replica does not have it");
    assert_eq!((found.targets[0].desired(), found.operation), (v1::DesiredState::Suspended, None));
    let (code, said) = verify_by_command(&lacking).await;
    assert!(code == Some(6) && said.contains("this replica does not have it"), "{code:?} {said}");
    until("the verifier was round", async || verified(&lacking).await > 1.0).await;
    let request = v1::ListOperationsRequest { tenant_id: "finance".into(), ..Default::default() };
    let newest = &lacking.lifecycle.list_operations(request).await.unwrap().into_inner().operations[0];
    assert_eq!(newest.operation_id, stuck.operation_id, "nothing was opened since");

    // Whom no operation brought there has no such row.
    let retired = vec![("cascade.retired_targets", "cache".to_owned())];
    lacking.stop().await;
    let mut without = Replica::on(&url, &Setup { settings: retired, ..Setup::default() }).await;
    without.tenant("hr").await;
    let (code, said) = verify_by_command(&without).await;
    assert!(code == Some(0) && !said.contains("cache"), "taken away on purpose: {code:?} {said}");
    without.stop().await;
    let mut lacking = Replica::on(&url, &Setup::default()).await;
    let request =
        v1::VerifyTenantRequest { tenant_id: "hr".into(), validate_only: true, ..Default::default() };
    let found = lacking.lifecycle.verify_tenant(request).await.unwrap().into_inner();
    assert_eq!(found.targets.iter().map(|it| it.target.as_str()).collect::<Vec<_>>(), ["postgres"]);
    lacking.stop().await;
}

/// How many looks the verifier took.
async fn verified(replica: &Replica) -> f64 {
    let metrics = metrics(replica).await;
    let line = metrics.lines().find(|line| line.starts_with("tenantry_tenants_verified_total "));
    line.and_then(|line| line.rsplit(' ').next()).and_then(|count| count.parse().ok()).unwrap_or_default()
}

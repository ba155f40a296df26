//! What operators do: retry, skip, abort, pause; and how they find what needs them.

use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Fault, Stub};
use tenantry::proto::v1;
use tonic::Code;

use super::{TEN_SECONDS, activate, suspend};
use crate::support::{Replica, Setup, fields, metrics, reason};

/// A server with two stub targets, and the tenant `finance` whose suspension one of them refuses.
async fn stuck() -> (Replica, Vec<(&'static str, Stub)>, v1::Tenant, v1::Operation) {
    let stubs = vec![
        ("cache", Stub::start(Duration::ZERO).await.unwrap()),
        ("vector-db", Stub::start(Duration::ZERO).await.unwrap()),
    ];
    let mut replica = Replica::start(&Setup { stubs: stubs.clone(), ..Setup::default() }).await;
    let tenant = replica.tenant("finance").await;
    stubs[0].1.set_fault(&tenant.uid, Some(Fault::Refusing));
    let operation = replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap().into_inner();
    assert_eq!(operation.state(), v1::OperationState::NeedsOperator, "{operation:?}");
    (replica, stubs, tenant, operation)
}

async fn listed(replica: &mut Replica, filter: &str) -> Vec<String> {
    let request = v1::ListOperationsRequest { filter: filter.into(), ..Default::default() };
    let response = replica.lifecycle.list_operations(request).await.unwrap().into_inner();
    response.operations.into_iter().map(|operation| operation.operation_id).collect()
}

fn retry(operation: &v1::Operation, target: &str) -> v1::RetryTargetRequest {
    v1::RetryTargetRequest {
        operation_id: operation.operation_id.clone(),
        target: target.into(),
        wait: TEN_SECONDS,
        ..Default::default()
    }
}

#[tokio::test]
async fn a_stuck_operation_is_found_told_of_and_brought_to_its_end_by_a_retry() {
    let (mut replica, stubs, tenant, operation) = stuck().await;
    let id = || vec![operation.operation_id.clone()];
    for filter in [
        "stuck = true",
        "state = NEEDS_OPERATOR",
        r#"open = true AND failing_target:"cache""#,
        r#"tenant_id = "finance" AND verb = SUSPEND AND target:"vector-db""#,
    ] {
        assert_eq!(listed(&mut replica, filter).await, id(), "{filter}");
    }
    assert!(listed(&mut replica, r#"failing_target:"vector-db""#).await.is_empty());
    let request = v1::ListOperationsRequest { filter: "stuck = maybe".into(), ..Default::default() };
    let error = replica.lifecycle.list_operations(request).await.unwrap_err();
    assert_eq!((reason(&error).as_str(), fields(&error)), ("INVALID_FILTER", vec!["filter".to_owned()]));
    let text = metrics(&replica).await;
    assert!(text.contains(r#"tenantry_operations{state="NEEDS_OPERATOR"} 1"#), "{text}");
    let kinds = crate::support::event_kinds(&replica.database_url).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "operation_needs_operator").count(), 1);

    stubs[0].1.set_fault(&tenant.uid, None);
    let ended = replica.lifecycle.retry_target(retry(&operation, "cache")).await.unwrap().into_inner();
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    assert_eq!(ended.generation, operation.generation, "nothing is asked of the others again");
    assert_eq!(replica.get("finance").await.status(), v1::TenantStatus::Suspended);
    assert!(listed(&mut replica, "stuck = true").await.is_empty());
    let again = replica.lifecycle.retry_target(retry(&operation, "cache")).await.unwrap_err();
    assert_eq!(reason(&again), "OPERATION_ENDED");
    let unknown = replica.lifecycle.retry_target(retry(&operation, "Nothing!")).await.unwrap_err();
    assert_eq!((unknown.code(), fields(&unknown)), (Code::InvalidArgument, vec!["target".to_owned()]));
    replica.stop().await;
}

#[tokio::test]
async fn a_skipped_target_is_passed_by_and_the_operation_says_so() {
    let (mut replica, stubs, tenant, operation) = stuck().await;
    let mut request = v1::SkipTargetRequest {
        operation_id: operation.operation_id.clone(),
        target: "cache".into(),
        ..Default::default()
    };
    let error = replica.lifecycle.skip_target(request.clone()).await.unwrap_err();
    assert_eq!(fields(&error), ["reason"], "nobody skips without a word");
    request.reason = "decommissioned".into();
    let ended = replica.lifecycle.skip_target(request).await.unwrap().into_inner();
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    let cache = ended.targets.iter().find(|step| step.target == "cache").unwrap();
    assert_eq!((cache.state(), cache.skip_reason.as_str()), (v1::TargetState::Skipped, "decommissioned"));
    assert_eq!(stubs[0].1.held(&tenant.uid).unwrap().state, Desired::Active, "nothing was done there");
    assert_eq!(replica.get("finance").await.status(), v1::TenantStatus::Suspended);
    replica.stop().await;
}

#[tokio::test]
async fn an_aborted_suspension_lets_the_tenant_in_again_everywhere() {
    let (mut replica, stubs, tenant, operation) = stuck().await;
    stubs[0].1.set_fault(&tenant.uid, None);
    let request = v1::AbortOperationRequest {
        operation_id: operation.operation_id.clone(),
        reason: "wrong tenant".into(),
        wait: TEN_SECONDS,
        request_id: uuid::Uuid::now_v7().to_string(),
        ..Default::default()
    };
    let ended = replica.lifecycle.abort_operation(request.clone()).await.unwrap().into_inner();
    assert_eq!(ended.state(), v1::OperationState::Cancelled, "{ended:?}");
    assert_eq!((ended.abort_reason.as_str(), ended.backward), ("wrong tenant", true));
    let tenant = replica.get("finance").await;
    assert_eq!((tenant.status(), tenant.access()), (v1::TenantStatus::Active, v1::TenantAccess::Full));
    for (name, stub) in &stubs {
        assert_eq!(stub.held(&tenant.uid).unwrap().state, Desired::Active, "{name}");
    }
    let repeated = replica.lifecycle.abort_operation(request).await.unwrap().into_inner();
    assert_eq!(repeated, ended, "a repeated request gets the same answer");
    replica.stop().await;
}

#[tokio::test]
async fn a_target_that_hangs_can_be_taken_back_while_the_operation_runs() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let tenant = replica.tenant("finance").await;
    stub.set_fault(&tenant.uid, Some(Fault::Hanging));
    let request = v1::SuspendTenantRequest { wait: None, ..suspend("finance") };
    let operation = replica.lifecycle.suspend_tenant(request).await.unwrap().into_inner();
    assert_eq!(operation.state(), v1::OperationState::Running);
    stub.set_fault(&tenant.uid, None);
    let request = v1::AbortOperationRequest {
        operation_id: operation.operation_id,
        wait: TEN_SECONDS,
        ..Default::default()
    };
    let ended = replica.lifecycle.abort_operation(request).await.unwrap().into_inner();
    assert_eq!(ended.state(), v1::OperationState::Cancelled, "{ended:?}");
    assert_eq!(stub.held(&tenant.uid).unwrap().state, Desired::Active);
    replica.stop().await;
}

#[tokio::test]
async fn a_paused_target_is_left_alone_for_everybody_and_operations_wait_for_it_visibly() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    replica.tenant("finance").await;
    let pause =
        v1::PauseTargetRequest { target: "cache".into(), reason: "upgrade".into(), ..Default::default() };
    let paused = replica.lifecycle.pause_target(pause.clone()).await.unwrap().into_inner();
    assert!(paused.paused && paused.reason == "upgrade" && paused.configured, "{paused:?}");
    let again = replica.lifecycle.pause_target(pause.clone()).await.unwrap().into_inner();
    assert_eq!(again.revision, paused.revision, "it is so already");
    let why = v1::PauseTargetRequest { reason: "upgrade, and then a restore".into(), ..pause };
    let paused = replica.lifecycle.pause_target(why.clone()).await.unwrap().into_inner();
    assert!(paused.paused && paused.reason == why.reason, "what is told now is why: {paused:?}");
    let calls = stub.calls();
    let request = v1::SuspendTenantRequest { wait: None, ..suspend("finance") };
    let operation = replica.lifecycle.suspend_tenant(request).await.unwrap().into_inner();
    let request = v1::WatchOperationRequest { operation_id: operation.operation_id.clone() };
    let mut watch = replica.lifecycle.watch_operation(request).await.unwrap().into_inner();
    let waiting = loop {
        let told = watch.message().await.unwrap().unwrap();
        let postgres = told.targets.iter().find(|step| step.target == "postgres").unwrap();
        if postgres.state() == v1::TargetState::Verified {
            break told;
        }
    };
    let cache = waiting.targets.iter().find(|step| step.target == "cache").unwrap();
    assert_eq!((cache.state(), cache.hold()), (v1::TargetState::Pending, v1::TargetHold::Paused));
    assert_eq!(stub.calls(), calls, "nothing was tried");
    let targets =
        replica.lifecycle.list_targets(v1::ListTargetsRequest::default()).await.unwrap().into_inner();
    let shown = targets.targets.iter().find(|target| target.target == "cache").unwrap();
    assert_eq!((shown.waiting_operations, shown.circuit()), (1, v1::CircuitState::Closed));
    let resume = v1::ResumeTargetRequest { target: "cache".into(), ..Default::default() };
    let resumed = replica.lifecycle.resume_target(resume).await.unwrap().into_inner();
    assert!(!resumed.paused && resumed.reason.is_empty(), "{resumed:?}");
    let mut last = waiting;
    while let Some(told) = watch.message().await.unwrap() {
        last = told;
    }
    assert_eq!(last.state(), v1::OperationState::Succeeded, "{last:?}");
    let targets =
        replica.lifecycle.list_targets(v1::ListTargetsRequest::default()).await.unwrap().into_inner();
    let shown = targets.targets.iter().find(|target| target.target == "cache").unwrap();
    assert!(!shown.paused && shown.reason.is_empty(), "no longer why it was paused: {shown:?}");
    replica.lifecycle.activate_tenant(activate("finance")).await.unwrap();
    replica.stop().await;
}

#[tokio::test]
async fn a_tenant_whose_provisioning_failed_is_there_and_can_be_retried() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    stub.set_fault("finance", Some(Fault::Refusing));
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    replica.create("finance").await.unwrap();
    let mut tenant = replica.get("finance").await;
    // It cannot be brought back either: the target refuses everything.
    let operation = loop {
        let request = v1::GetOperationRequest { operation_id: tenant.operation_id.clone() };
        let operation = replica.lifecycle.get_operation(request).await.unwrap().into_inner();
        if operation.state() == v1::OperationState::NeedsOperator {
            break operation;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    tenant = replica.get("finance").await;
    assert_eq!((tenant.status(), tenant.access()), (v1::TenantStatus::Provisioning, v1::TenantAccess::None));
    assert!(operation.error.contains("cache"), "{operation:?}");
    stub.set_fault("finance", None);
    let ended = replica.lifecycle.retry_target(retry(&operation, "cache")).await.unwrap().into_inner();
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "brought forward again: {ended:?}");
    tenant = replica.get("finance").await;
    assert_eq!((tenant.status(), tenant.access()), (v1::TenantStatus::Active, v1::TenantAccess::Full));
    assert_eq!(stub.held(&tenant.uid).unwrap().state, Desired::Active);
    replica.stop().await;
}

#[tokio::test]
async fn a_provisioning_that_was_taken_back_stays_so_until_the_tenant_is_activated() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    stub.set_fault("finance", Some(Fault::Failing(1_000_000)));
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let made = replica.create("finance").await.unwrap();
    let request = v1::AbortOperationRequest {
        operation_id: made.operation_id.clone(),
        reason: "wrong tier".into(),
        ..Default::default()
    };
    let turned = replica.lifecycle.abort_operation(request).await.unwrap().into_inner();
    stub.set_fault("finance", None);
    // Whoever has the way back tried again does not turn it round.
    let _ = replica.lifecycle.retry_target(retry(&turned, "cache")).await;
    let tenant = replica.settled("finance").await;
    assert_eq!((tenant.status(), tenant.access()), (v1::TenantStatus::Provisioning, v1::TenantAccess::None));
    assert_eq!(stub.held(&tenant.uid).unwrap().state, Desired::Suspended);
    let ended = replica.lifecycle.activate_tenant(activate("finance")).await.unwrap().into_inner();
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    assert_eq!(replica.get("finance").await.status(), v1::TenantStatus::Active);
    replica.stop().await;
}

#[tokio::test]
async fn an_abort_is_answered_at_once_when_only_a_paused_target_is_left() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    replica.tenant("finance").await;
    let pause = v1::PauseTargetRequest {
        target: "cache".into(),
        reason: "up\u{202e}grade".into(),
        ..Default::default()
    };
    let error = replica.lifecycle.pause_target(pause.clone()).await.unwrap_err();
    assert_eq!(fields(&error), ["reason"], "it would turn round what stands beside it");
    let pause = v1::PauseTargetRequest { reason: "upgrade".into(), ..pause };
    replica.lifecycle.pause_target(pause).await.unwrap();
    let asked = std::time::Instant::now();
    let waiting = replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap().into_inner();
    let abort = v1::AbortOperationRequest {
        operation_id: waiting.operation_id,
        reason: "wrong tenant".into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    let turned = replica.lifecycle.abort_operation(abort).await.unwrap().into_inner();
    assert!(asked.elapsed() < Duration::from_secs(8), "nothing comes of waiting: {:?}", asked.elapsed());
    assert_eq!(
        (turned.state(), turned.abort_reason.as_str()),
        (v1::OperationState::Reverting, "wrong tenant")
    );
    let cache = turned.targets.iter().find(|step| step.target == "cache").unwrap();
    assert_eq!((cache.state(), cache.hold()), (v1::TargetState::Pending, v1::TargetHold::Paused));
    let resume = v1::ResumeTargetRequest { target: "cache".into(), ..Default::default() };
    replica.lifecycle.resume_target(resume).await.unwrap();
    let tenant = replica.settled("finance").await;
    assert_eq!((tenant.status(), tenant.access()), (v1::TenantStatus::Active, v1::TenantAccess::Full));
    replica.stop().await;
}

/// The call held the drain up for all of its 20 s, and was cut without an answer then.
#[tokio::test]
async fn who_waits_while_the_server_drains_gets_the_operation_as_it_is() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let settings =
        vec![("server.drain_timeout", "20s".to_owned()), ("cascade.apply_deadline", "9s".to_owned())];
    let setup = Setup { stubs: vec![("cache", stub.clone())], settings, ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let tenant = replica.tenant("finance").await;
    stub.set_fault(&tenant.uid, Some(Fault::Hanging));
    let (mut lifecycle, before) = (replica.lifecycle.clone(), stub.calls());
    let call = tokio::spawn(async move { lifecycle.suspend_tenant(suspend("finance")).await });
    while stub.calls() == before {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let began = std::time::Instant::now();
    let stopping = tokio::spawn(replica.stop());
    let operation = call.await.unwrap().unwrap().into_inner();
    assert_eq!(operation.state(), v1::OperationState::Running, "{operation:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    stopping.await.unwrap();
}

//! Plans that look, and targets that drifted from the registry.

use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Fault, Held, Stub};
use tenantry::proto::v1;

use super::{TEN_SECONDS, suspend};
use crate::participants::until;
use crate::support::{Replica, Setup, metrics, reason};

/// A server with a stub target, and the suspended tenant `finance`.
async fn suspended(settings: Vec<(&'static str, String)>) -> (Replica, Stub, v1::Tenant) {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], settings, ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let tenant = replica.tenant("finance").await;
    replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap();
    (replica, stub, tenant)
}

/// As if somebody had removed the denial by hand.
fn open_by_hand(stub: &Stub, uid: &str) {
    let held = stub.held(uid).unwrap();
    stub.put(uid, Held { state: Desired::Active, ..held });
}

fn verify() -> v1::VerifyTenantRequest {
    v1::VerifyTenantRequest { tenant_id: "finance".into(), wait: TEN_SECONDS, ..Default::default() }
}

#[tokio::test]
async fn a_plan_says_what_would_change_in_each_target_and_what_cannot_be_asked() {
    let stubs = vec![
        ("cache", Stub::start(Duration::ZERO).await.unwrap()),
        ("vector-db", Stub::start(Duration::ZERO).await.unwrap()),
    ];
    let mut replica = Replica::start(&Setup { stubs: stubs.clone(), ..Setup::default() }).await;
    let tenant = replica.tenant("finance").await;
    let held = stubs[0].1.held(&tenant.uid).unwrap();
    stubs[0].1.put(&tenant.uid, Held { state: Desired::Suspended, ..held });
    stubs[1].1.set_fault(&tenant.uid, Some(Fault::Hanging));
    let request = v1::SuspendTenantRequest { validate_only: true, wait: None, ..suspend("finance") };
    let plan = replica.lifecycle.suspend_tenant(request).await.unwrap().into_inner();
    let changes: Vec<_> =
        plan.targets.iter().map(|step| (step.target.as_str(), step.planned_change())).collect();
    let expected = [
        ("cache", v1::PlannedChange::None),
        ("postgres", v1::PlannedChange::Apply),
        ("vector-db", v1::PlannedChange::Unknown),
    ];
    assert_eq!(changes, expected);
    assert!(plan.targets[2].last_error.contains("in time"), "{plan:?}");
    assert_eq!(replica.get("finance").await, tenant, "nothing changed");
    replica.stop().await;
}

#[tokio::test]
async fn drift_that_is_found_is_repaired() {
    let (mut replica, stub, tenant) = suspended(vec![]).await;
    let clean = replica.lifecycle.verify_tenant(verify()).await.unwrap().into_inner();
    assert!(clean.operation.is_none(), "{clean:?}");
    assert!(clean.targets.iter().all(|check| check.result() == v1::CheckResult::AsDesired), "{clean:?}");
    open_by_hand(&stub, &tenant.uid);
    let look = v1::VerifyTenantRequest { validate_only: true, ..verify() };
    let seen = replica.lifecycle.verify_tenant(look).await.unwrap().into_inner();
    assert_eq!(seen.targets[0].result(), v1::CheckResult::Drifted);
    assert_eq!(stub.held(&tenant.uid).unwrap().state, Desired::Active, "only looked at");
    let asked = v1::VerifyTenantRequest { request_id: uuid::Uuid::now_v7().to_string(), ..verify() };
    let found = replica.lifecycle.verify_tenant(asked.clone()).await.unwrap().into_inner();
    let repair = found.operation.unwrap();
    let again = replica.lifecycle.verify_tenant(asked).await.unwrap().into_inner();
    assert_eq!(again.operation.as_ref(), Some(&repair), "the same request, the same repair");
    assert_eq!((repair.verb(), repair.state()), (v1::OperationVerb::Repair, v1::OperationState::Succeeded));
    assert!(repair.error.contains("cache"), "{repair:?}");
    assert_eq!(stub.held(&tenant.uid).unwrap().state, Desired::Suspended);
    assert_eq!(replica.get("finance").await.status(), v1::TenantStatus::Suspended);
    replica.stop().await;
}

#[tokio::test]
async fn drift_that_is_reported_waits_for_an_operator_and_holds_up_no_other_verb() {
    let (mut replica, stub, tenant) = suspended(vec![("cascade.drift", "report".into())]).await;
    open_by_hand(&stub, &tenant.uid);
    let found = replica.lifecycle.verify_tenant(verify()).await.unwrap().into_inner();
    let report = found.operation.unwrap();
    assert_eq!(report.state(), v1::OperationState::NeedsOperator, "{report:?}");
    assert!(report.targets[0].last_error.contains("ACTIVE, not SUSPENDED"), "{report:?}");
    assert_eq!(stub.held(&tenant.uid).unwrap().state, Desired::Active, "nothing was done");
    let again = replica.lifecycle.verify_tenant(verify()).await.unwrap_err();
    assert_eq!(reason(&again), "OPERATION_IN_PROGRESS");
    let retry = v1::RetryTargetRequest {
        operation_id: report.operation_id,
        target: "cache".into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    let ended = replica.lifecycle.retry_target(retry).await.unwrap().into_inner();
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    assert_eq!(stub.held(&tenant.uid).unwrap().state, Desired::Suspended);

    open_by_hand(&stub, &tenant.uid);
    let found = replica.lifecycle.verify_tenant(verify()).await.unwrap().into_inner();
    let archive =
        v1::ArchiveTenantRequest { tenant_id: "finance".into(), wait: TEN_SECONDS, ..Default::default() };
    let ended = replica.lifecycle.archive_tenant(archive).await.unwrap().into_inner();
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    assert_eq!(stub.held(&tenant.uid).unwrap().state, Desired::Archived);
    let request = v1::GetOperationRequest { operation_id: found.operation.unwrap().operation_id };
    let report = replica.lifecycle.get_operation(request).await.unwrap().into_inner();
    assert_eq!(report.state(), v1::OperationState::Superseded);
    replica.stop().await;
}

#[tokio::test]
async fn the_background_verifier_finds_and_repairs_drift_round_after_round() {
    let settings =
        vec![("cascade.verify_rate", "1000".to_owned()), ("cascade.verify_interval", "1s".to_owned())];
    let (mut replica, stub, tenant) = suspended(settings).await;
    for _ in 0..2 {
        open_by_hand(&stub, &tenant.uid);
        for _ in 0..2_000 {
            if stub.held(&tenant.uid).unwrap().state == Desired::Suspended {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(stub.held(&tenant.uid).unwrap().state, Desired::Suspended);
        replica.settled("finance").await;
    }
    let text = metrics(&replica).await;
    assert!(text.contains(r#"tenantry_drift_found_total{target="cache"} 2"#), "{text}");
    assert_eq!(repairs(&mut replica).await.len(), 2);
    replica.stop().await;
}

/// A server with two stub targets, and the tenant `finance`, whose suspension waits for `cache`, which is paused. The other
/// targets are done, and somebody opened `vector-db` by hand after that.
async fn waiting(settings: Vec<(&'static str, String)>) -> (Replica, Stub, v1::Tenant, v1::Operation) {
    let stubs = vec![
        ("cache", Stub::start(Duration::ZERO).await.unwrap()),
        ("vector-db", Stub::start(Duration::ZERO).await.unwrap()),
    ];
    let vectors = stubs[1].1.clone();
    let mut replica = Replica::start(&Setup { stubs, settings, ..Setup::default() }).await;
    let tenant = replica.tenant("finance").await;
    let pause =
        v1::PauseTargetRequest { target: "cache".into(), reason: "upgrade".into(), ..Default::default() };
    replica.lifecycle.pause_target(pause).await.unwrap();
    // Answered once nothing but the paused target is left.
    let operation = replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap().into_inner();
    assert_eq!(operation.state(), v1::OperationState::Running, "{operation:?}");
    assert_eq!(vectors.held(&tenant.uid).unwrap().state, Desired::Suspended);
    open_by_hand(&vectors, &tenant.uid);
    (replica, vectors, tenant, operation)
}

async fn resume(replica: &mut Replica) {
    let resume = v1::ResumeTargetRequest { target: "cache".into(), ..Default::default() };
    replica.lifecycle.resume_target(resume).await.unwrap();
}

async fn operation(replica: &mut Replica, operation_id: &str) -> v1::Operation {
    let request = v1::GetOperationRequest { operation_id: operation_id.into() };
    replica.lifecycle.get_operation(request).await.unwrap().into_inner()
}

async fn stuck(replica: &mut Replica) -> i32 {
    let request = v1::ListOperationsRequest { filter: "stuck = true".into(), ..Default::default() };
    replica.lifecycle.list_operations(request).await.unwrap().into_inner().total_size
}

#[tokio::test]
async fn an_operation_that_waited_is_listed_as_stuck_and_looks_again_before_it_succeeds() {
    let (mut replica, vectors, tenant, waiting) = waiting(vec![]).await;
    assert_eq!(stuck(&mut replica).await, 0, "it has only begun");
    // Longer than a reading counts, and longer than an operation may wait unnoticed.
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(stuck(&mut replica).await, 1);
    let look = v1::VerifyTenantRequest { validate_only: true, ..verify() };
    let seen = replica.lifecycle.verify_tenant(look).await.unwrap().into_inner();
    let results: Vec<_> = seen.targets.iter().map(|check| (check.target.as_str(), check.result())).collect();
    let expected = [
        ("cache", v1::CheckResult::Unknown),
        ("postgres", v1::CheckResult::AsDesired),
        ("vector-db", v1::CheckResult::Drifted),
    ];
    assert_eq!(results, expected, "a look is allowed at any time");
    let error = replica.lifecycle.verify_tenant(verify()).await.unwrap_err();
    assert_eq!(reason(&error), "OPERATION_IN_PROGRESS");
    assert_eq!(vectors.held(&tenant.uid).unwrap().state, Desired::Active, "only looked at");
    resume(&mut replica).await;
    let resumed = std::time::SystemTime::now();
    let after = replica.settled("finance").await;
    let held = vectors.held(&tenant.uid).unwrap();
    assert_eq!(held.state, Desired::Suspended, "denied again before the operation said so");
    let ended = operation(&mut replica, &waiting.operation_id).await;
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    assert_eq!((ended.generation, after.status()), (waiting.generation + 1, v1::TenantStatus::Suspended));
    assert_eq!(i64::try_from(held.generation).unwrap(), ended.generation);
    for step in &ended.targets {
        let seen = std::time::SystemTime::try_from(step.verify_time.unwrap()).unwrap();
        assert!(seen > resumed - Duration::from_secs(10), "seen too long ago: {step:?}");
    }
    assert!(metrics(&replica).await.contains(r#"tenantry_drift_found_total{target="vector-db"} 1"#));
    // The next operation goes on from the generation that was reached.
    let request =
        v1::ActivateTenantRequest { tenant_id: "finance".into(), wait: TEN_SECONDS, ..Default::default() };
    let next = replica.lifecycle.activate_tenant(request).await.unwrap().into_inner();
    assert_eq!((next.state(), next.generation), (v1::OperationState::Succeeded, ended.generation + 1));
    replica.stop().await;
}

/// The repairs so far, newest first.
async fn repairs(replica: &mut Replica) -> Vec<v1::Operation> {
    let request = v1::ListOperationsRequest { filter: "verb = REPAIR".into(), ..Default::default() };
    replica.lifecycle.list_operations(request).await.unwrap().into_inner().operations
}

fn verifying(policy: &str) -> Vec<(&'static str, String)> {
    vec![
        ("cascade.verify_rate", "1000".to_owned()),
        ("cascade.verify_interval", "1s".to_owned()),
        ("cascade.drift", policy.to_owned()),
    ]
}

#[tokio::test]
async fn the_background_verifier_looks_beside_an_operation_that_waits() {
    // What an operation is to bring about it goes on bringing about, whatever the policy.
    let (mut replica, vectors, tenant, waiting) = waiting(verifying("report")).await;
    for _ in 0..6_000 {
        if vectors.held(&tenant.uid).unwrap().state == Desired::Suspended {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(vectors.held(&tenant.uid).unwrap().state, Desired::Suspended);
    let now = operation(&mut replica, &waiting.operation_id).await;
    assert_eq!(now.state(), v1::OperationState::Running, "the same operation: {now:?}");
    assert_eq!(now.targets.iter().filter(|step| step.hold() == v1::TargetHold::Paused).count(), 1);
    resume(&mut replica).await;
    assert_eq!(replica.settled("finance").await.status(), v1::TenantStatus::Suspended);
    let ended = operation(&mut replica, &waiting.operation_id).await;
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    replica.stop().await;
}

#[tokio::test]
async fn drift_that_waits_for_an_operator_hides_no_other_drift() {
    let stubs = vec![
        ("cache", Stub::start(Duration::ZERO).await.unwrap()),
        ("vector-db", Stub::start(Duration::ZERO).await.unwrap()),
    ];
    let setup = Setup { stubs: stubs.clone(), settings: verifying("report"), ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let tenant = replica.tenant("finance").await;
    replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap();
    let mut report = v1::Operation::default();
    for (number, (_, stub)) in stubs.iter().enumerate() {
        open_by_hand(stub, &tenant.uid);
        for _ in 0..3_000 {
            let now = replica.get("finance").await;
            if !now.operation_id.is_empty() {
                report = operation(&mut replica, &now.operation_id).await;
            }
            if report.targets.len() > number {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let waits: Vec<_> = report.targets.iter().map(|step| (step.target.as_str(), step.state())).collect();
    let needs = v1::TargetState::NeedsOperator;
    assert_eq!(waits, [("cache", needs), ("vector-db", needs)], "{report:?}");
    assert_eq!(
        (report.verb(), report.state()),
        (v1::OperationVerb::Repair, v1::OperationState::NeedsOperator)
    );
    assert!(report.error.contains("cache, vector-db"), "{report:?}");
    let look = v1::VerifyTenantRequest { validate_only: true, ..verify() };
    let seen = replica.lifecycle.verify_tenant(look).await.unwrap().into_inner();
    assert_eq!(seen.targets.iter().filter(|c| c.result() == v1::CheckResult::Drifted).count(), 2, "{seen:?}");
    for (target, stub) in &stubs {
        assert_eq!(stub.held(&tenant.uid).unwrap().state, Desired::Active, "nothing was done at {target}");
        let retry = v1::RetryTargetRequest {
            operation_id: report.operation_id.clone(),
            target: (*target).into(),
            wait: TEN_SECONDS,
            ..Default::default()
        };
        report = replica.lifecycle.retry_target(retry).await.unwrap().into_inner();
        assert_eq!(stub.held(&tenant.uid).unwrap().state, Desired::Suspended, "{target}: {report:?}");
    }
    assert_eq!(report.state(), v1::OperationState::Succeeded, "{report:?}");
    replica.stop().await;
}

#[tokio::test]
async fn drift_is_counted_where_an_operation_has_it_and_not_where_that_ended_meanwhile() {
    let stubs = vec![
        ("cache", Stub::start(Duration::ZERO).await.unwrap()),
        ("vector-db", Stub::start(Duration::ZERO).await.unwrap()),
    ];
    let vectors = stubs[1].1.clone();
    let setup = Setup { stubs: stubs.clone(), settings: verifying("report"), ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let tenant = replica.tenant("finance").await;
    replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap();
    open_by_hand(&stubs[0].1, &tenant.uid);
    until("cache is reported", async || !replica.get("finance").await.operation_id.is_empty()).await;
    let reported = replica.get("finance").await.operation_id;
    // The verifier looks twice beside the operation, and the operation ends in between.
    open_by_hand(&vectors, &tenant.uid);
    let before = vectors.calls();
    until("it looks", async || vectors.calls() > before).await;
    let abort = v1::AbortOperationRequest { operation_id: reported, ..Default::default() };
    replica.lifecycle.abort_operation(abort).await.unwrap();
    until("both are reported", async || {
        repairs(&mut replica).await.first().is_some_and(|it| it.targets.len() == 2)
    })
    .await;
    // On a busy machine the first one may have taken it up before it ended.
    let has_it = |it: &&v1::Operation| it.targets.iter().any(|step| step.target == "vector-db");
    let having = repairs(&mut replica).await.iter().filter(has_it).count();
    let counted = format!("tenantry_drift_found_total{{target=\"vector-db\"}} {having}\n");
    until("it is counted", async || metrics(&replica).await.contains(&counted)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let text = metrics(&replica).await;
    assert!(text.contains(&counted), "{counted}{text}");
    replica.stop().await;
}

#[tokio::test]
async fn a_target_that_holds_the_limits_of_the_tier_before_shows_an_older_generation() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let tenant = replica.tenant("finance").await;
    let change = |wait| v1::ChangeTierRequest {
        tenant_id: "finance".into(),
        tier: "platinum".into(),
        wait,
        ..Default::default()
    };
    let look = || v1::VerifyTenantRequest { validate_only: true, ..verify() };
    let generations = |seen: &v1::VerifyTenantResponse| {
        let of = |check: &v1::TargetCheck| (check.desired_generation, check.applied_generation);
        assert!(seen.targets.iter().all(|check| check.result() == v1::CheckResult::AsDesired), "{seen:?}");
        seen.targets.iter().map(of).collect::<Vec<_>>()
    };
    stub.set_fault(&tenant.uid, Some(Fault::Failing(1_000)));
    let changing = replica.lifecycle.change_tier(change(None)).await.unwrap().into_inner();
    let skip = v1::SkipTargetRequest {
        operation_id: changing.operation_id,
        target: "cache".into(),
        reason: "an upgrade".into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    let skipped = replica.lifecycle.skip_target(skip).await.unwrap().into_inner();
    assert_eq!(skipped.state(), v1::OperationState::Succeeded, "{skipped:?}");
    let seen = replica.lifecycle.verify_tenant(look()).await.unwrap().into_inner();
    assert_eq!(generations(&seen), [(2, 1), (2, 2)]);
    stub.set_fault(&tenant.uid, None);
    replica.lifecycle.change_tier(change(TEN_SECONDS)).await.unwrap();
    let seen = replica.lifecycle.verify_tenant(look()).await.unwrap().into_inner();
    assert_eq!(generations(&seen), [(3, 3), (3, 3)]);
    replica.stop().await;
}

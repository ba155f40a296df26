//! Plans that look, and targets that drifted from the registry.

use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Fault, Held, Stub};
use tenantry::proto::v1;

use super::{TEN_SECONDS, suspend};
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
    let request = v1::ListOperationsRequest { filter: "verb = REPAIR".into(), ..Default::default() };
    let repairs = replica.lifecycle.list_operations(request).await.unwrap().into_inner();
    assert_eq!(repairs.total_size, 2);
    replica.stop().await;
}

//! A tenant that one target refuses for good.

use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Fault, Stub};
use tenantry::proto::v1;

use super::{TEN_SECONDS, activate, suspend};
use crate::support::{Replica, Setup, fields, new_tenant, reason};

/// The end of an operation that waits for the cache and goes on without it.
async fn without_the_cache(replica: &mut Replica, stuck: v1::Operation) -> v1::Operation {
    assert_eq!(stuck.state(), v1::OperationState::NeedsOperator, "{stuck:?}");
    let skip = v1::SkipTargetRequest {
        operation_id: stuck.operation_id,
        target: "cache".into(),
        reason: "it refuses finance".into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    replica.lifecycle.skip_target(skip).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_tenant_that_a_target_refuses_for_good_is_provisioned_without_it_and_can_be_deleted() {
    let stubs = vec![
        ("cache", Stub::start(Duration::ZERO).await.unwrap()),
        ("vector-db", Stub::start(Duration::ZERO).await.unwrap()),
    ];
    stubs[0].1.set_fault("finance", Some(Fault::Refusing));
    let mut replica = Replica::start(&Setup { stubs: stubs.clone(), ..Setup::default() }).await;
    let create = v1::CreateTenantRequest { tenant: Some(new_tenant("finance")), ..Default::default() };
    let made = replica.tenants.create_tenant(create).await.unwrap().into_inner();
    // On its way back it is refused, too: whatever is skipped there, it does not come to what was asked for.
    let request = v1::GetOperationRequest { operation_id: made.operation_id };
    let stuck = loop {
        let seen = replica.lifecycle.get_operation(request.clone()).await.unwrap().into_inner();
        if seen.state() == v1::OperationState::NeedsOperator {
            break seen;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(without_the_cache(&mut replica, stuck).await.state(), v1::OperationState::Failed);
    let asked = v1::ActivateTenantRequest { skip_targets: vec!["cache".into()], ..activate("finance") };
    let error = replica.lifecycle.activate_tenant(asked.clone()).await.unwrap_err();
    assert_eq!(fields(&error), ["reason"], "nobody skips without a word");
    let asked = v1::ActivateTenantRequest { reason: "it refuses finance".into(), ..asked };
    for (target, expected) in [("nothing", "TARGET_NOT_FOUND"), ("Nothing!", "INVALID_FIELD")] {
        let other = v1::ActivateTenantRequest { skip_targets: vec![target.into()], ..asked.clone() };
        let error = replica.lifecycle.activate_tenant(other).await.unwrap_err();
        assert_eq!(reason(&error), expected, "{target}");
    }
    let plan = v1::ActivateTenantRequest { validate_only: true, ..asked.clone() };
    let plan = replica.lifecycle.activate_tenant(plan).await.unwrap().into_inner();
    let step = plan.targets.iter().find(|step| step.target == "cache").unwrap();
    assert_eq!((step.state(), step.planned_change()), (v1::TargetState::Skipped, v1::PlannedChange::None));
    let ended = replica.lifecycle.activate_tenant(asked).await.unwrap().into_inner();
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    let step = ended.targets.iter().find(|step| step.target == "cache").unwrap();
    assert_eq!((step.state(), step.skip_reason.as_str()), (v1::TargetState::Skipped, "it refuses finance"));
    assert_eq!(replica.get("finance").await.status(), v1::TenantStatus::Active);
    let held = |at: usize| stubs[at].1.held(&made.uid).map(|held| held.state);
    assert_eq!((held(0), held(1)), (None, Some(Desired::Active)));
    // And the way out: each goes forward, and on without the target.
    let suspended = replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap().into_inner();
    let suspended = without_the_cache(&mut replica, suspended).await;
    assert_eq!(suspended.state(), v1::OperationState::Succeeded, "{suspended:?}");
    let archive =
        v1::ArchiveTenantRequest { tenant_id: "finance".into(), wait: TEN_SECONDS, ..Default::default() };
    let archived = replica.lifecycle.archive_tenant(archive).await.unwrap().into_inner();
    without_the_cache(&mut replica, archived).await;
    let delete =
        v1::DeleteTenantRequest { tenant_id: "finance".into(), wait: TEN_SECONDS, ..Default::default() };
    let deleted = replica.lifecycle.delete_tenant(delete).await.unwrap().into_inner();
    without_the_cache(&mut replica, deleted).await;
    assert_eq!(replica.get("finance").await.status(), v1::TenantStatus::Deleted);
    replica.stop().await;
}

//! Deny first: a move to less access takes over, whatever the open operation waits for.

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::Stub;
use tenantry::proto::v1;

use super::{TEN_SECONDS, activate, in_a_region, suspend};
use crate::support::{Replica, reason};

/// A replica with a tenant that is active, and a target that is paused.
async fn paused() -> (Replica, Stub, v1::Tenant) {
    let (mut replica, stub, tenant) = in_a_region().await;
    let pause =
        v1::PauseTargetRequest { target: "cache".into(), reason: "upgrade".into(), ..Default::default() };
    replica.lifecycle.pause_target(pause).await.unwrap();
    (replica, stub, tenant)
}

async fn abort(replica: &mut Replica, operation_id: &str) {
    let abort = v1::AbortOperationRequest { operation_id: operation_id.into(), ..Default::default() };
    let turned = replica.lifecycle.abort_operation(abort).await.unwrap().into_inner();
    assert_eq!(turned.state(), v1::OperationState::Reverting, "{turned:?}");
}

/// Suspends `finance` while `open` waits; it is locked out from that moment on, and suspended everywhere in the end.
async fn is_locked_out(mut replica: Replica, stub: &Stub, uid: &str, open: &v1::Operation) -> v1::Tenant {
    let suspending = replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap().into_inner();
    assert_eq!(suspending.state(), v1::OperationState::Running, "{suspending:?}");
    assert!(suspending.generation > open.generation, "{suspending:?}");
    assert_eq!(replica.get("finance").await.access(), v1::TenantAccess::None);
    let get = v1::GetOperationRequest { operation_id: open.operation_id.clone() };
    let before = replica.lifecycle.get_operation(get).await.unwrap().into_inner();
    assert_eq!(before.state(), v1::OperationState::Superseded, "{before:?}");
    let resume = v1::ResumeTargetRequest { target: "cache".into(), ..Default::default() };
    replica.lifecycle.resume_target(resume).await.unwrap();
    let tenant = replica.settled("finance").await;
    assert_eq!(tenant.status(), v1::TenantStatus::Suspended, "{tenant:?}");
    assert_eq!(stub.held(uid).unwrap().state, Desired::Suspended);
    replica.stop().await;
    tenant
}

#[tokio::test]
async fn a_suspension_takes_over_from_an_activation_that_took_a_suspension_back() {
    for aborted in [false, true] {
        let (mut replica, stub, tenant) = paused().await;
        replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap();
        let open = replica.lifecycle.activate_tenant(activate("finance")).await.unwrap().into_inner();
        assert_eq!(replica.get("finance").await.access(), v1::TenantAccess::Full);
        if aborted {
            abort(&mut replica, &open.operation_id).await;
        }
        is_locked_out(replica, &stub, &tenant.uid, &open).await;
    }
}

#[tokio::test]
async fn a_suspension_takes_over_from_its_own_way_back() {
    let (mut replica, stub, tenant) = paused().await;
    let open = replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap().into_inner();
    abort(&mut replica, &open.operation_id).await;
    is_locked_out(replica, &stub, &tenant.uid, &open).await;
}

#[tokio::test]
async fn a_suspension_takes_over_from_a_change_of_tier_whose_tier_counts_as_it_did() {
    for (aborted, tier) in [(false, "platinum"), (true, "gold")] {
        let (mut replica, stub, tenant) = paused().await;
        let change = v1::ChangeTierRequest {
            tenant_id: "finance".into(),
            tier: "platinum".into(),
            ..Default::default()
        };
        let open = replica.lifecycle.change_tier(change).await.unwrap().into_inner();
        if aborted {
            abort(&mut replica, &open.operation_id).await;
        }
        let suspended = is_locked_out(replica, &stub, &tenant.uid, &open).await;
        assert_eq!(suspended.tier, tier);
    }
}

#[tokio::test]
async fn a_suspension_takes_over_from_a_migration_which_then_never_was() {
    for aborted in [false, true] {
        let (mut replica, stub, tenant) = paused().await;
        let start = v1::StartMigrationRequest {
            tenant_id: "finance".into(),
            to_region: "me-south-1".into(),
            ..Default::default()
        };
        let open = replica.lifecycle.start_migration(start).await.unwrap().into_inner();
        if aborted {
            abort(&mut replica, &open.operation_id).await;
        }
        let suspended = is_locked_out(replica, &stub, &tenant.uid, &open).await;
        assert_eq!((suspended.region.as_str(), suspended.migration), ("eu-west-1", None));
    }
}

#[tokio::test]
async fn a_suspension_takes_over_from_the_end_of_a_migration_that_had_not_begun() {
    let (mut replica, stub, tenant) = paused().await;
    let start = v1::StartMigrationRequest {
        tenant_id: "finance".into(),
        to_region: "me-south-1".into(),
        ..Default::default()
    };
    replica.lifecycle.start_migration(start).await.unwrap();
    let finish = v1::FinishMigrationRequest { tenant_id: "finance".into(), ..Default::default() };
    let open = replica.lifecycle.finish_migration(finish).await.unwrap().into_inner();
    let suspended = is_locked_out(replica, &stub, &tenant.uid, &open).await;
    assert_eq!((suspended.region.as_str(), suspended.migration), ("eu-west-1", None));
}

/// The tenant has been let in at its new place, by every target but the one that is paused.
#[tokio::test]
async fn a_suspension_takes_over_from_the_end_of_a_migration_which_then_counts_as_done() {
    let (mut replica, stub, tenant) = in_a_region().await;
    let start = v1::StartMigrationRequest {
        tenant_id: "finance".into(),
        to_region: "me-south-1".into(),
        to_cell: "cell-7".into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    let started = replica.lifecycle.start_migration(start).await.unwrap().into_inner();
    assert_eq!(started.state(), v1::OperationState::Succeeded, "{started:?}");
    let pause =
        v1::PauseTargetRequest { target: "cache".into(), reason: "upgrade".into(), ..Default::default() };
    replica.lifecycle.pause_target(pause).await.unwrap();
    let finish = v1::FinishMigrationRequest { tenant_id: "finance".into(), ..Default::default() };
    let open = replica.lifecycle.finish_migration(finish).await.unwrap().into_inner();
    let abort = v1::AbortOperationRequest { operation_id: open.operation_id.clone(), ..Default::default() };
    assert_eq!(reason(&replica.lifecycle.abort_operation(abort).await.unwrap_err()), "POINT_OF_NO_RETURN");
    // What may not take over is told who may, and not of an abort that would be refused.
    let start = v1::StartMigrationRequest { tenant_id: "finance".into(), ..Default::default() };
    let error = replica.lifecycle.start_migration(start).await.unwrap_err();
    assert_eq!(reason(&error), "OPERATION_IN_PROGRESS");
    assert!(error.message().contains("only SuspendTenant may take over"), "{}", error.message());
    assert!(!error.message().contains("abort"), "{}", error.message());
    let suspended = is_locked_out(replica, &stub, &tenant.uid, &open).await;
    assert_eq!(
        (suspended.region.as_str(), suspended.cell.as_str(), suspended.migration),
        ("me-south-1", "cell-7", None)
    );
}

/// What was suspended in place of the end of a migration can be let in again, at the new place.
#[tokio::test]
async fn a_suspension_that_took_over_from_the_end_of_a_migration_is_taken_back_to_the_new_place() {
    let (mut replica, stub, tenant) = in_a_region().await;
    let start = v1::StartMigrationRequest {
        tenant_id: "finance".into(),
        to_region: "me-south-1".into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    replica.lifecycle.start_migration(start).await.unwrap();
    let pause =
        v1::PauseTargetRequest { target: "cache".into(), reason: "upgrade".into(), ..Default::default() };
    replica.lifecycle.pause_target(pause).await.unwrap();
    let finish = v1::FinishMigrationRequest { tenant_id: "finance".into(), ..Default::default() };
    replica.lifecycle.finish_migration(finish).await.unwrap();
    let open = replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap().into_inner();
    abort(&mut replica, &open.operation_id).await;
    let resume = v1::ResumeTargetRequest { target: "cache".into(), ..Default::default() };
    replica.lifecycle.resume_target(resume).await.unwrap();
    let back = replica.settled("finance").await;
    assert_eq!((back.status(), back.region.as_str()), (v1::TenantStatus::Active, "me-south-1"));
    assert_eq!(stub.held(&tenant.uid).unwrap().state, Desired::Active);
    replica.stop().await;
}

#[tokio::test]
async fn what_may_not_take_over_is_told_the_ways_out() {
    let (mut replica, _, _) = paused().await;
    replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap();
    let start = v1::StartMigrationRequest { tenant_id: "finance".into(), ..Default::default() };
    let error = replica.lifecycle.start_migration(start).await.unwrap_err();
    assert_eq!(reason(&error), "OPERATION_IN_PROGRESS");
    for way in ["Wait for its end", "retry", "tenantry operation skip ", "abort"] {
        assert!(error.message().contains(way), "{}", error.message());
    }
    replica.stop().await;
}

#[tokio::test]
async fn an_activation_takes_over_from_a_suspension_that_took_an_activation_back() {
    let (mut replica, stub, tenant) = in_a_region().await;
    replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap();
    let pause =
        v1::PauseTargetRequest { target: "cache".into(), reason: "upgrade".into(), ..Default::default() };
    replica.lifecycle.pause_target(pause).await.unwrap();
    replica.lifecycle.activate_tenant(activate("finance")).await.unwrap();
    let open = replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap().into_inner();
    assert_eq!(
        (open.from_status(), open.to_status()),
        (v1::TenantStatus::Suspended, v1::TenantStatus::Suspended)
    );
    let next = replica.lifecycle.activate_tenant(activate("finance")).await.unwrap().into_inner();
    assert_eq!(
        (next.from_status(), next.to_status()),
        (v1::TenantStatus::Suspended, v1::TenantStatus::Active)
    );
    assert!(next.generation > open.generation, "{next:?}");
    assert_eq!(
        replica.get("finance").await.access(),
        v1::TenantAccess::None,
        "until every target has followed"
    );
    let resume = v1::ResumeTargetRequest { target: "cache".into(), ..Default::default() };
    replica.lifecycle.resume_target(resume).await.unwrap();
    assert_eq!(replica.settled("finance").await.status(), v1::TenantStatus::Active);
    assert_eq!(stub.held(&tenant.uid).unwrap().state, Desired::Active);
    replica.stop().await;
}

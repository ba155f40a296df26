//! Who is to be kept out, and is scheduled to be let in: whoever asks for that is told, by every refusal and by every verb on many.

use tenantry::proto::v1;
use tonic_types::StatusExt as _;

use super::many::{bulk, bulk_ended, make};
use super::schedule::in_seconds;
use super::{activate, suspend};
use crate::support::{Replica, Setup, reason};

/// Tenants without targets.
async fn with(tenant_ids: &[&str]) -> Replica {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    make(&mut replica, tenant_ids, "").await;
    replica
}

/// Schedules an activation in so many seconds.
async fn let_in(replica: &mut Replica, tenant_id: &str, seconds: u64) -> v1::Operation {
    let request =
        v1::ActivateTenantRequest { at: Some(in_seconds(seconds)), wait: None, ..activate(tenant_id) };
    replica.lifecycle.activate_tenant(request).await.unwrap().into_inner()
}

fn metadata(error: &tonic::Status, key: &str) -> String {
    error.get_details_error_info().unwrap().metadata.get(key).cloned().unwrap_or_default()
}

#[tokio::test]
async fn a_refused_suspension_names_what_is_scheduled_to_let_the_tenant_in_and_how_to_take_it_back() {
    let mut replica = with(&["finance"]).await;
    replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap();
    let plain = replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap_err();
    assert!(!plain.message().contains("scheduled"), "{plain:?}");
    let later = let_in(&mut replica, "finance", 7_200).await;
    let first = let_in(&mut replica, "finance", 3_600).await;
    let at = v1::StartMigrationRequest {
        tenant_id: "finance".into(),
        at: Some(in_seconds(1_800)),
        ..Default::default()
    };
    replica.lifecycle.start_migration(at).await.unwrap();
    let id = &first.operation_id;
    for children in [v1::ChildrenPolicy::Unspecified, v1::ChildrenPolicy::Follow] {
        for validate_only in [false, true] {
            let asked = v1::SuspendTenantRequest {
                children: children.into(),
                validate_only,
                reason: "INCIDENT: keep out".into(),
                ..suspend("finance")
            };
            let refused = replica.lifecycle.suspend_tenant(asked).await.unwrap_err();
            assert_eq!(reason(&refused), "ILLEGAL_TRANSITION");
            let told = format!("; operation {id} (ACTIVATE) is scheduled for ");
            assert!(refused.message().contains(&told), "{}", refused.message());
            let abort = format!(", to ACTIVE: `tenantry operation abort {id}`");
            assert!(refused.message().ends_with(&abort), "the first of them: {}", refused.message());
            assert_eq!(&metadata(&refused, "scheduled_operation_id"), id);
            assert_eq!(metadata(&refused, "scheduled_verb"), "ACTIVATE");
            let time = metadata(&refused, "schedule_time");
            assert!(refused.message().contains(&time) && time.ends_with('Z'), "{time}");
        }
    }
    for operation_id in [first.operation_id, later.operation_id] {
        let abort = v1::AbortOperationRequest { operation_id, ..Default::default() };
        replica.lifecycle.abort_operation(abort).await.unwrap();
    }
    let refused = replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap_err();
    assert!(!refused.message().contains("scheduled"), "a migration from SUSPENDED is illegal: {refused:?}");
    replica.stop().await;
}

#[tokio::test]
async fn what_is_scheduled_is_named_while_the_suspension_is_on_its_way_too() {
    let mut replica = Replica::start(&Setup::default()).await;
    replica.tenant("finance").await;
    let pause =
        v1::PauseTargetRequest { target: "postgres".into(), reason: "upgrade".into(), ..Default::default() };
    replica.lifecycle.pause_target(pause).await.unwrap();
    replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap();
    let scheduled = let_in(&mut replica, "finance", 3_600).await;
    let refused = replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap_err();
    assert_eq!(reason(&refused), "OPERATION_IN_PROGRESS");
    assert_eq!(metadata(&refused, "scheduled_operation_id"), scheduled.operation_id);
    // What would take the tenant further than it is on its way to has another reason to be refused.
    let archive = v1::ArchiveTenantRequest { tenant_id: "finance".into(), ..Default::default() };
    let refused = replica.lifecycle.archive_tenant(archive).await.unwrap_err();
    assert_eq!(reason(&refused), "OPERATION_IN_PROGRESS");
    assert_eq!(metadata(&refused, "scheduled_operation_id"), "");
    replica.stop().await;
}

#[tokio::test]
async fn a_bulk_suspension_counts_those_as_failed_that_are_out_already_and_scheduled_to_be_let_in() {
    let mut replica = with(&["a", "b", "c"]).await;
    for tenant_id in ["a", "b"] {
        replica.lifecycle.suspend_tenant(suspend(tenant_id)).await.unwrap();
    }
    let scheduled = let_in(&mut replica, "b", 3_600).await;
    let asked = |validate_only| v1::StartBulkOperationRequest {
        validate_only,
        ..bulk("tenant_id:*", v1::OperationVerb::Suspend)
    };
    let plan = replica.lifecycle.start_bulk_operation(asked(true)).await.unwrap().into_inner();
    assert_eq!((plan.total, plan.failed), (2, 1), "{plan:?}");
    let started = replica.lifecycle.start_bulk_operation(asked(false)).await.unwrap().into_inner();
    let ended = bulk_ended(&mut replica, &started).await;
    assert_eq!((ended.state(), ended.succeeded, ended.failed), (v1::BulkOperationState::Failed, 1, 1));
    let told =
        format!("b: is SUSPENDED, and operation {} (ACTIVATE) is scheduled for ", scheduled.operation_id);
    let abort = format!(", to ACTIVE: `tenantry operation abort {}`", scheduled.operation_id);
    assert!(ended.error.starts_with(&told) && ended.error.ends_with(&abort), "{ended:?}");
    // What leads to more access passes such tenants by as before.
    let archive = bulk(r#"tenant_id = "b""#, v1::OperationVerb::Archive);
    let archive = replica.lifecycle.start_bulk_operation(archive).await.unwrap().into_inner();
    let archived = bulk_ended(&mut replica, &archive).await;
    assert_eq!(archived.state(), v1::BulkOperationState::Succeeded, "{archived:?}");
    let again = bulk(r#"tenant_id = "b""#, v1::OperationVerb::Archive);
    let again = replica.lifecycle.start_bulk_operation(again).await.unwrap().into_inner();
    assert_eq!(again.total, 0, "nothing leads from ARCHIVED to ACTIVE: {again:?}");
    replica.stop().await;
}

#[tokio::test]
async fn children_that_are_out_already_and_scheduled_to_be_let_in_count_as_failed() {
    let mut replica = with(&["holding"]).await;
    make(&mut replica, &["hr"], "holding").await;
    for tenant_id in ["holding", "hr"] {
        replica.lifecycle.suspend_tenant(suspend(tenant_id)).await.unwrap();
    }
    let scheduled = let_in(&mut replica, "hr", 3_600).await;
    let asked =
        v1::SuspendTenantRequest { children: v1::ChildrenPolicy::Follow.into(), ..suspend("holding") };
    let ended = replica.lifecycle.suspend_tenant(asked).await.unwrap().into_inner();
    let followed =
        v1::BulkOperation { bulk_operation_id: ended.children_bulk_operation_id, ..Default::default() };
    let followed = bulk_ended(&mut replica, &followed).await;
    assert_eq!((followed.state(), followed.failed), (v1::BulkOperationState::Failed, 1), "{followed:?}");
    assert!(followed.error.contains(&scheduled.operation_id), "{followed:?}");
    replica.stop().await;
}

/// That it is to stay out was the last that was asked for, and yet it is let in, as it was told: a suspension and a later activation
/// are scheduled in either order.
#[tokio::test]
async fn what_was_scheduled_before_stays_scheduled_until_somebody_takes_it_back() {
    let mut replica = with(&["finance"]).await;
    replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap();
    let_in(&mut replica, "finance", 2).await;
    replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap_err();
    crate::participants::until("it is let in", async || {
        replica.get("finance").await.status() == v1::TenantStatus::Active
    })
    .await;
    replica.stop().await;
}

//! Verbs that find a tenant where they lead, and yet decide something.

use tenantry::proto::v1;

use super::many::{bulk_ended, make};
use super::schedule::in_seconds;
use super::{TEN_SECONDS, activate, suspend};
use crate::support::{Replica, Setup, fields, reason};

/// What became of the tenants below, where a verb succeeded without any target.
async fn followed(replica: &mut Replica, operation: v1::Operation) -> (i32, i32) {
    assert_eq!(
        (operation.state(), operation.targets.len()),
        (v1::OperationState::Succeeded, 0),
        "{operation:?}"
    );
    let bulk_operation_id = operation.children_bulk_operation_id;
    let bulk = v1::BulkOperation { bulk_operation_id, ..Default::default() };
    let ended = bulk_ended(replica, &bulk).await;
    (ended.succeeded, ended.failed)
}

#[tokio::test]
async fn children_follow_a_parent_that_is_there_already() {
    let mut replica = Replica::start(&Setup::default()).await;
    make(&mut replica, &["holding"], "").await;
    make(&mut replica, &["hr", "it"], "holding").await;
    let follow = v1::ChildrenPolicy::Follow;
    replica.lifecycle.suspend_tenant(suspend("holding")).await.unwrap();
    let asked = || v1::SuspendTenantRequest { children: follow.into(), ..suspend("holding") };
    let plan = v1::SuspendTenantRequest { validate_only: true, ..asked() };
    let plan = replica.lifecycle.suspend_tenant(plan).await.unwrap().into_inner();
    assert_eq!(plan.children_bulk_operation_id, "", "nobody can ask for what was not begun");
    let following = |plan: &v1::Operation| -> Vec<String> {
        plan.followers.iter().map(|follower| format!("{} {}", follower.tenant_id, follower.error)).collect()
    };
    assert_eq!((plan.follower_count, following(&plan)), (2, vec!["hr ".to_owned(), "it ".to_owned()]));
    let alone = v1::SuspendTenantRequest { validate_only: true, ..suspend("hr") };
    let alone = replica.lifecycle.suspend_tenant(alone).await.unwrap().into_inner();
    assert_eq!((alone.follower_count, following(&alone)), (0, Vec::new()), "nobody is to follow");
    let operation = replica.lifecycle.suspend_tenant(asked()).await.unwrap().into_inner();
    assert_eq!(followed(&mut replica, operation).await, (2, 0));
    for tenant_id in ["holding", "hr", "it"] {
        assert_eq!(replica.get(tenant_id).await.status(), v1::TenantStatus::Suspended, "{tenant_id}");
    }
    // Nobody is left who could follow: nothing is decided any more.
    let again = replica.lifecycle.suspend_tenant(asked()).await.unwrap_err();
    assert_eq!(reason(&again), "ILLEGAL_TRANSITION");

    replica.lifecycle.activate_tenant(activate("holding")).await.unwrap();
    let asked = v1::ActivateTenantRequest { children: follow.into(), ..activate("holding") };
    let operation = replica.lifecycle.activate_tenant(asked).await.unwrap().into_inner();
    assert_eq!(followed(&mut replica, operation).await, (2, 0));

    let asked = || v1::SuspendTenantRequest { children: follow.into(), ..suspend("holding") };
    let operation = replica.lifecycle.suspend_tenant(asked()).await.unwrap().into_inner();
    let children =
        v1::BulkOperation { bulk_operation_id: operation.children_bulk_operation_id, ..Default::default() };
    bulk_ended(&mut replica, &children).await;
    replica.lifecycle.archive_tenant(archive("holding", Some(3_600), false)).await.unwrap();
    let kept = replica.get("holding").await.retain_time;
    let asked = v1::ArchiveTenantRequest { children: follow.into(), ..archive("holding", None, false) };
    let operation = replica.lifecycle.archive_tenant(asked).await.unwrap().into_inner();
    assert_eq!(followed(&mut replica, operation).await, (2, 0));
    assert_eq!(replica.get("holding").await.retain_time, kept, "no other retention was asked for");
    replica.stop().await;
}

fn archive(tenant_id: &str, seconds: Option<i64>, shorten_retention: bool) -> v1::ArchiveTenantRequest {
    v1::ArchiveTenantRequest {
        tenant_id: tenant_id.into(),
        retention: seconds.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
        shorten_retention,
        wait: TEN_SECONDS,
        ..Default::default()
    }
}

#[tokio::test]
async fn what_is_archived_is_kept_longer_when_asked_and_for_less_long_only_where_that_is_meant() {
    let mut replica = Replica::start(&Setup::default()).await;
    make(&mut replica, &["finance"], "").await;
    replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap();
    replica.lifecycle.archive_tenant(archive("finance", None, false)).await.unwrap();
    let again = replica.lifecycle.archive_tenant(archive("finance", None, false)).await.unwrap_err();
    assert_eq!(reason(&again), "ILLEGAL_TRANSITION", "nothing is decided");
    let error = replica.lifecycle.archive_tenant(archive("finance", None, true)).await.unwrap_err();
    assert_eq!(fields(&error), ["shorten_retention"]);

    let day = 24 * 3_600;
    let longer = archive("finance", Some(7 * day), false);
    let held = replica.lifecycle.archive_tenant(longer).await.unwrap().into_inner();
    assert_eq!((held.state(), held.targets.len()), (v1::OperationState::Succeeded, 0), "{held:?}");
    let week = replica.get("finance").await.retain_time.unwrap();
    let delete = |at| v1::DeleteTenantRequest { tenant_id: "finance".into(), at, ..Default::default() };
    for at in [None, Some(in_seconds(3_600))] {
        let error = replica.lifecycle.delete_tenant(delete(at)).await.unwrap_err();
        assert_eq!(reason(&error), "RETENTION_NOT_OVER", "{at:?}: {}", error.message());
    }
    let late = replica.lifecycle.delete_tenant(delete(Some(in_seconds(8 * 24 * 3_600)))).await.unwrap();
    assert_eq!(late.into_inner().state(), v1::OperationState::Scheduled);

    let error = replica.lifecycle.archive_tenant(archive("finance", Some(day), false)).await.unwrap_err();
    assert_eq!(reason(&error), "RETENTION_NOT_OVER");
    assert!(error.message().contains("--shorten-retention"), "{}", error.message());
    assert_eq!(replica.get("finance").await.retain_time, Some(week));
    replica.lifecycle.archive_tenant(archive("finance", Some(0), true)).await.unwrap();
    let asked = v1::DeleteTenantRequest { wait: TEN_SECONDS, ..delete(None) };
    let deleted = replica.lifecycle.delete_tenant(asked).await.unwrap().into_inner();
    assert_eq!(deleted.state(), v1::OperationState::Succeeded, "{deleted:?}");

    // The way to hold a purge: back from the deletion, and keep it.
    let back =
        v1::UndeleteTenantRequest { tenant_id: "finance".into(), wait: TEN_SECONDS, ..Default::default() };
    replica.lifecycle.undelete_tenant(back).await.unwrap();
    replica.lifecycle.archive_tenant(archive("finance", Some(day), false)).await.unwrap();
    let error = replica.lifecycle.delete_tenant(delete(None)).await.unwrap_err();
    assert_eq!(reason(&error), "RETENTION_NOT_OVER");
    replica.stop().await;
}

//! Many tenants at once, tenants below others, other tiers and other places.

use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Fault, Stub};
use tenantry::proto::v1;

use super::{TEN_SECONDS, in_a_region, suspend};
use crate::support::{Replica, Setup, fields, new_tenant, reason};

pub(super) async fn bulk_ended(replica: &mut Replica, bulk: &v1::BulkOperation) -> v1::BulkOperation {
    let request = v1::WatchBulkOperationRequest { bulk_operation_id: bulk.bulk_operation_id.clone() };
    let mut watch = replica.lifecycle.watch_bulk_operation(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(told) = watch.message().await.unwrap() {
        assert!(told.running + told.needs_operator <= told.concurrent_max + told.needs_operator, "{told:?}");
        last = Some(told);
    }
    last.unwrap()
}

pub(super) async fn make(replica: &mut Replica, tenant_ids: &[&str], parent: &str) {
    for tenant_id in tenant_ids {
        let tenant = v1::Tenant { parent: parent.into(), ..new_tenant(tenant_id) };
        let request = v1::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
        replica.tenants.create_tenant(request).await.unwrap();
        replica.settled(tenant_id).await;
    }
}

pub(super) fn bulk(filter: &str, verb: v1::OperationVerb) -> v1::StartBulkOperationRequest {
    v1::StartBulkOperationRequest { filter: filter.into(), verb: verb.into(), ..Default::default() }
}

#[tokio::test]
async fn a_verb_on_many_tenants_moves_each_that_matches_and_counts_what_became_of_them() {
    let stub = Stub::start(Duration::from_millis(20)).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let names: Vec<String> = (0..12).map(|number| format!("t{number}")).collect();
    make(&mut replica, &names.iter().map(String::as_str).collect::<Vec<_>>(), "").await;
    let broken = replica.get("t3").await;
    stub.set_fault(&broken.uid, Some(Fault::Refusing));
    replica.lifecycle.suspend_tenant(suspend("t5")).await.unwrap();
    let filter = r#"tenant_id = "t*" AND tier = "gold""#;
    let dry =
        v1::StartBulkOperationRequest { validate_only: true, ..bulk(filter, v1::OperationVerb::Suspend) };
    let dry = replica.lifecycle.start_bulk_operation(dry).await.unwrap().into_inner();
    assert_eq!(dry.total, 11, "one is suspended already");
    let request = v1::StartBulkOperationRequest {
        concurrent_max: 4,
        reason: "incident".into(),
        ..bulk(filter, v1::OperationVerb::Suspend)
    };
    let started = replica.lifecycle.start_bulk_operation(request).await.unwrap().into_inner();
    // One of them waits for an operator: that holds up nobody else.
    let waiting = loop {
        let request = v1::GetBulkOperationRequest { bulk_operation_id: started.bulk_operation_id.clone() };
        let now = replica.lifecycle.get_bulk_operation(request).await.unwrap().into_inner();
        if (now.succeeded, now.needs_operator) == (10, 1) {
            break now;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(waiting.state(), v1::BulkOperationState::Running);
    let filter = format!(r#"bulk_id = "{}" AND state = NEEDS_OPERATOR"#, started.bulk_operation_id);
    let list = v1::ListOperationsRequest { filter, ..Default::default() };
    let stuck = replica.lifecycle.list_operations(list).await.unwrap().into_inner().operations;
    assert_eq!((stuck.len(), stuck[0].reason.as_str()), (1, "incident"));
    stub.set_fault(&broken.uid, None);
    let retry = v1::RetryTargetRequest {
        operation_id: stuck[0].operation_id.clone(),
        target: "cache".into(),
        ..Default::default()
    };
    replica.lifecycle.retry_target(retry).await.unwrap();
    let ended = bulk_ended(&mut replica, &started).await;
    assert_eq!((ended.state(), ended.succeeded), (v1::BulkOperationState::Succeeded, 11), "{ended:?}");
    for name in &names {
        assert_eq!(replica.get(name).await.status(), v1::TenantStatus::Suspended, "{name}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn tenants_that_have_another_operation_open_take_no_place_of_a_bulk_operation_and_say_what_they_wait_for()
 {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    // Those that wait come first.
    let (held, free) = (["a0", "a1", "a2", "a3", "a4", "a5"], ["b0", "b1", "b2"]);
    make(&mut replica, &[&held[..], &free].concat(), "").await;
    let mut open = Vec::new();
    for name in held {
        stub.set_fault(&replica.get(name).await.uid, Some(Fault::Refusing));
        open.push(replica.lifecycle.suspend_tenant(suspend(name)).await.unwrap().into_inner());
    }
    let request = v1::StartBulkOperationRequest {
        concurrent_max: 2,
        ..bulk("tenant_id:*", v1::OperationVerb::StartMigration)
    };
    let started = replica.lifecycle.start_bulk_operation(request).await.unwrap().into_inner();
    assert_eq!(started.total, 9, "{started:?}");
    let get = || v1::GetBulkOperationRequest { bulk_operation_id: started.bulk_operation_id.clone() };
    let mut now = started.clone();
    for _ in 0..1_000 {
        now = replica.lifecycle.get_bulk_operation(get()).await.unwrap().into_inner();
        if (now.succeeded, now.needs_operator) == (3, 6) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((now.succeeded, now.waiting, now.running, now.needs_operator), (3, 0, 0, 6), "{now:?}");
    let why = format!("a0: waits for operation {} (SUSPEND), which needs an operator", open[0].operation_id);
    assert!(now.error.starts_with(&why) && now.error.ends_with("; and 1 more"), "{now:?}");
    // One of them is free again, and has its turn.
    stub.set_fault(&replica.get("a0").await.uid, None);
    let abort =
        v1::AbortOperationRequest { operation_id: open[0].operation_id.clone(), ..Default::default() };
    replica.lifecycle.abort_operation(abort).await.unwrap();
    for _ in 0..1_000 {
        now = replica.lifecycle.get_bulk_operation(get()).await.unwrap().into_inner();
        if now.succeeded == 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((now.succeeded, now.needs_operator), (4, 5), "{now:?}");
    assert!(now.error.starts_with("a1: waits for operation "), "{now:?}");
    replica.stop().await;
}

#[tokio::test]
async fn another_replica_goes_on_with_a_bulk_operation_and_moves_nobody_twice() {
    let stub = Stub::start(Duration::from_millis(30)).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut first = Replica::start(&setup).await;
    let names: Vec<String> = (0..16).map(|number| format!("t{number}")).collect();
    make(&mut first, &names.iter().map(String::as_str).collect::<Vec<_>>(), "").await;
    let request = v1::StartBulkOperationRequest {
        concurrent_max: 2,
        ..bulk("tenant_id:*", v1::OperationVerb::Suspend)
    };
    let started = first.lifecycle.start_bulk_operation(request).await.unwrap().into_inner();
    tokio::time::sleep(Duration::from_millis(400)).await;
    let url = first.database_url.clone();
    first.stop().await;
    let mut second = Replica::on(&url, &setup).await;
    let ended = bulk_ended(&mut second, &started).await;
    assert_eq!((ended.state(), ended.succeeded), (v1::BulkOperationState::Succeeded, 16), "{ended:?}");
    for name in &names {
        let tenant = second.get(name).await;
        let effects = stub.effects(&tenant.uid);
        assert_eq!(effects.len(), 2, "{name}: provisioned, then suspended once: {effects:?}");
    }
    second.stop().await;
}

#[tokio::test]
async fn an_aborted_bulk_operation_begins_no_more_tenants() {
    let stub = Stub::start(Duration::from_millis(100)).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub)], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    make(&mut replica, &["a", "b", "c", "d", "e", "f"], "").await;
    let request = v1::StartBulkOperationRequest {
        concurrent_max: 1,
        ..bulk("tenant_id:*", v1::OperationVerb::Suspend)
    };
    let started = replica.lifecycle.start_bulk_operation(request).await.unwrap().into_inner();
    let request = v1::AbortBulkOperationRequest {
        bulk_operation_id: started.bulk_operation_id.clone(),
        ..Default::default()
    };
    replica.lifecycle.abort_bulk_operation(request.clone()).await.unwrap();
    let ended = bulk_ended(&mut replica, &started).await;
    assert_eq!(ended.state(), v1::BulkOperationState::Cancelled, "{ended:?}");
    assert!(ended.failed >= 4, "{ended:?}");
    let error = replica.lifecycle.abort_bulk_operation(request).await.unwrap_err();
    assert_eq!(reason(&error), "OPERATION_ENDED");
    let error = replica.lifecycle.start_bulk_operation(bulk("", v1::OperationVerb::Purge)).await.unwrap_err();
    assert_eq!(fields(&error), ["filter", "verb"]);
    replica.stop().await;
}

#[tokio::test]
async fn children_block_or_follow_as_asked() {
    let mut replica = Replica::start(&Setup::default()).await;
    make(&mut replica, &["holding"], "").await;
    make(&mut replica, &["hr", "it"], "holding").await;
    make(&mut replica, &["it-ops"], "it").await;
    let asked = |children: v1::ChildrenPolicy| v1::SuspendTenantRequest {
        children: children.into(),
        ..suspend("holding")
    };
    let error = replica.lifecycle.suspend_tenant(asked(v1::ChildrenPolicy::Block)).await.unwrap_err();
    assert_eq!(reason(&error), "CHILDREN_IN_THE_WAY");
    let ended =
        replica.lifecycle.suspend_tenant(asked(v1::ChildrenPolicy::Follow)).await.unwrap().into_inner();
    let followed =
        v1::BulkOperation { bulk_operation_id: ended.children_bulk_operation_id, ..Default::default() };
    let followed = bulk_ended(&mut replica, &followed).await;
    assert_eq!((followed.parent.as_str(), followed.succeeded), ("holding", 3), "{followed:?}");
    for tenant_id in ["holding", "hr", "it", "it-ops"] {
        assert_eq!(replica.get(tenant_id).await.status(), v1::TenantStatus::Suspended, "{tenant_id}");
    }
    let archive = v1::ArchiveTenantRequest {
        tenant_id: "holding".into(),
        children: v1::ChildrenPolicy::Ignore.into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    replica.lifecycle.archive_tenant(archive).await.unwrap();
    assert_eq!(replica.get("hr").await.status(), v1::TenantStatus::Suspended, "they stay as they are");
    replica.stop().await;
}

#[tokio::test]
async fn children_whose_suspension_is_still_open_follow_an_activation() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    make(&mut replica, &["holding"], "").await;
    make(&mut replica, &["hr", "it"], "holding").await;
    let hr = replica.get("hr").await;
    stub.set_fault(&hr.uid, Some(Fault::Refusing));
    let asked =
        v1::SuspendTenantRequest { children: v1::ChildrenPolicy::Follow.into(), ..suspend("holding") };
    replica.lifecycle.suspend_tenant(asked).await.unwrap();
    replica.settled("it").await;
    crate::participants::until("hr waits", async || {
        let open = replica.get("hr").await;
        (open.status(), open.access()) == (v1::TenantStatus::Active, v1::TenantAccess::None)
    })
    .await;
    stub.set_fault(&hr.uid, None);
    let asked = v1::ActivateTenantRequest {
        tenant_id: "holding".into(),
        children: v1::ChildrenPolicy::Follow.into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    let ended = replica.lifecycle.activate_tenant(asked).await.unwrap().into_inner();
    let followed =
        v1::BulkOperation { bulk_operation_id: ended.children_bulk_operation_id, ..Default::default() };
    let followed = bulk_ended(&mut replica, &followed).await;
    assert_eq!(
        (followed.state(), followed.succeeded),
        (v1::BulkOperationState::Succeeded, 2),
        "{followed:?}"
    );
    for tenant_id in ["hr", "it"] {
        let tenant = replica.settled(tenant_id).await;
        assert_eq!(tenant.access(), v1::TenantAccess::Full, "{tenant_id}");
    }
    assert_eq!(stub.held(&hr.uid).unwrap().state, Desired::Active);
    replica.stop().await;
}

#[tokio::test]
async fn another_tier_counts_at_once_and_is_made_true_in_every_target() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let tenant = replica.tenant("finance").await;
    let before = stub.held(&tenant.uid).unwrap();
    let ask = |tier: &str| v1::ChangeTierRequest {
        tenant_id: "finance".into(),
        tier: tier.into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    let plan = v1::ChangeTierRequest { validate_only: true, wait: None, ..ask("platinum") };
    let plan = replica.lifecycle.change_tier(plan).await.unwrap().into_inner();
    let applies = |step: &v1::TargetStep| step.planned_change() == v1::PlannedChange::Apply;
    assert!(plan.targets.iter().all(applies), "the limits are made true: {plan:?}");
    let ended = replica.lifecycle.change_tier(ask("platinum")).await.unwrap().into_inner();
    assert_eq!(
        (ended.state(), ended.tier.as_str()),
        (v1::OperationState::Succeeded, "platinum"),
        "{ended:?}"
    );
    let after = stub.held(&tenant.uid).unwrap();
    assert_eq!((after.state, after.generation), (before.state, before.generation + 1));
    let moved = replica.get("finance").await;
    assert_eq!((moved.tier.as_str(), moved.status()), ("platinum", v1::TenantStatus::Active));
    // To the tier that it is on: targets take over limits that were changed since.
    let same = replica.lifecycle.change_tier(ask("platinum")).await.unwrap().into_inner();
    assert_eq!(same.state(), v1::OperationState::Succeeded, "{same:?}");
    assert_eq!(stub.held(&tenant.uid).unwrap().generation, after.generation + 1);
    let unknown = replica.lifecycle.change_tier(ask("bronze")).await.unwrap_err();
    assert_eq!(reason(&unknown), "TIER_NOT_FOUND");
    // A target that does not take it is seen to; taking it back brings the old limits.
    stub.set_fault(&tenant.uid, Some(Fault::Refusing));
    let stuck = replica.lifecycle.change_tier(ask("silver")).await.unwrap().into_inner();
    assert_eq!(stuck.state(), v1::OperationState::NeedsOperator, "{stuck:?}");
    stub.set_fault(&tenant.uid, None);
    let abort = v1::AbortOperationRequest {
        operation_id: stuck.operation_id,
        wait: TEN_SECONDS,
        ..Default::default()
    };
    let ended = replica.lifecycle.abort_operation(abort).await.unwrap().into_inner();
    assert_eq!(ended.state(), v1::OperationState::Cancelled, "{ended:?}");
    assert_eq!(replica.get("finance").await.tier, "platinum");
    replica.stop().await;
}

#[tokio::test]
async fn a_migration_can_be_taken_back_until_its_end_is_asked_for() {
    let (mut replica, stub, tenant) = in_a_region().await;
    let start = || v1::StartMigrationRequest {
        tenant_id: "finance".into(),
        to_region: "me-south-1".into(),
        to_cell: "cell-7".into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    let abort = |operation_id: &str| v1::AbortOperationRequest {
        operation_id: operation_id.into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    let nowhere =
        v1::StartMigrationRequest { to_region: "eu-west-1".into(), to_cell: String::new(), ..start() };
    let error = replica.lifecycle.start_migration(nowhere).await.unwrap_err();
    assert_eq!(fields(&error), ["to_region"]);
    let begun = replica.lifecycle.start_migration(start()).await.unwrap().into_inner();
    let moving = replica.get("finance").await;
    assert_eq!((moving.status(), moving.region.as_str()), (v1::TenantStatus::Migrating, "eu-west-1"));
    let migration = moving.migration.unwrap();
    assert_eq!((migration.to_region.as_str(), migration.to_cell.as_str()), ("me-south-1", "cell-7"));
    let back = replica.lifecycle.abort_operation(abort(&begun.operation_id)).await.unwrap().into_inner();
    assert_eq!(back.state(), v1::OperationState::Succeeded, "{back:?}");
    let home = replica.get("finance").await;
    assert_eq!((home.status(), home.region.as_str()), (v1::TenantStatus::Active, "eu-west-1"));
    assert!(home.migration.is_none());

    let begun = replica.lifecycle.start_migration(start()).await.unwrap().into_inner();
    stub.set_fault(&tenant.uid, Some(Fault::Refusing));
    let finish =
        v1::FinishMigrationRequest { tenant_id: "finance".into(), wait: TEN_SECONDS, ..Default::default() };
    let stuck = replica.lifecycle.finish_migration(finish).await.unwrap().into_inner();
    assert_eq!(stuck.state(), v1::OperationState::NeedsOperator, "only forward: {stuck:?}");
    for operation_id in [&stuck.operation_id, &begun.operation_id] {
        let error = replica.lifecycle.abort_operation(abort(operation_id)).await.unwrap_err();
        assert_eq!(reason(&error), "POINT_OF_NO_RETURN");
    }
    stub.set_fault(&tenant.uid, None);
    let retry = v1::RetryTargetRequest {
        operation_id: stuck.operation_id,
        target: "cache".into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    let ended = replica.lifecycle.retry_target(retry).await.unwrap().into_inner();
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    let moved = replica.get("finance").await;
    assert_eq!(
        (moved.status(), moved.region.as_str(), moved.cell.as_str()),
        (v1::TenantStatus::Active, "me-south-1", "cell-7")
    );
    assert!(moved.migration.is_none());
    assert_eq!(stub.held(&tenant.uid).unwrap().state, Desired::Active);
    replica.stop().await;
}

/// Tenants are suspended, few at a time, while one target of several is away in some way: every one of them is locked out
/// where it can be, and the whole ends when the target is back.
async fn others_progress(away: impl AsyncFn(&mut Replica, &Stub), back: impl AsyncFn(&mut Replica, &Stub)) {
    let cache = Stub::start(Duration::ZERO).await.unwrap();
    let vectors = Stub::start(Duration::ZERO).await.unwrap();
    let stubs = vec![("cache", cache.clone()), ("vector-db", vectors.clone())];
    let settings = vec![("cascade.max_attempts", "1000".to_owned())];
    let mut replica = Replica::start(&Setup { stubs, settings, ..Setup::default() }).await;
    let names: Vec<String> = (0..40).map(|number| format!("t{number}")).collect();
    make(&mut replica, &names.iter().map(String::as_str).collect::<Vec<_>>(), "").await;
    away(&mut replica, &cache).await;
    let request = v1::StartBulkOperationRequest {
        concurrent_max: 5,
        ..bulk("tenant_id:*", v1::OperationVerb::Suspend)
    };
    let started = replica.lifecycle.start_bulk_operation(request).await.unwrap().into_inner();
    let mut denied = 0;
    for _ in 0..600 {
        denied = 0;
        for name in &names {
            let tenant = replica.get(name).await;
            let there = vectors.held(&tenant.uid).unwrap().state == Desired::Suspended;
            denied += usize::from(there && tenant.access() == v1::TenantAccess::None);
        }
        if denied == names.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(denied, names.len(), "everybody is locked out by the registry and by what answers");
    let request = || v1::GetBulkOperationRequest { bulk_operation_id: started.bulk_operation_id.clone() };
    let now = loop {
        let now = replica.lifecycle.get_bulk_operation(request()).await.unwrap().into_inner();
        if now.waiting == 0 {
            break now;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((now.state(), now.running), (v1::BulkOperationState::Running, 40), "{now:?}");
    back(&mut replica, &cache).await;
    let request = v1::WatchBulkOperationRequest { bulk_operation_id: started.bulk_operation_id.clone() };
    let mut watch = replica.lifecycle.watch_bulk_operation(request).await.unwrap().into_inner();
    let mut last = now;
    while let Some(told) = watch.message().await.unwrap() {
        last = told;
    }
    assert_eq!((last.state(), last.succeeded), (v1::BulkOperationState::Succeeded, 40), "{last:?}");
    replica.stop().await;
}

#[tokio::test]
async fn a_target_that_is_down_keeps_no_tenant_of_a_bulk_operation_open_at_the_others() {
    others_progress(
        async |_, cache| cache.set_fault("", Some(Fault::Hanging)),
        async |_, cache| cache.set_fault("", None),
    )
    .await;
}

#[tokio::test]
async fn a_target_that_is_paused_keeps_no_tenant_of_a_bulk_operation_open_at_the_others() {
    others_progress(
        async |replica, _| {
            let pause = v1::PauseTargetRequest {
                target: "cache".into(),
                reason: "upgrade".into(),
                ..Default::default()
            };
            replica.lifecycle.pause_target(pause).await.unwrap();
        },
        async |replica, _| {
            let resume = v1::ResumeTargetRequest { target: "cache".into(), ..Default::default() };
            replica.lifecycle.resume_target(resume).await.unwrap();
        },
    )
    .await;
}

/// Only after an attempt's deadline, and only of many tenants, a target that hangs is known to be down.
#[tokio::test]
async fn a_target_that_hangs_from_the_first_call_keeps_no_tenant_of_a_bulk_suspension_open() {
    let (cache, vectors) =
        (Stub::start(Duration::ZERO).await.unwrap(), Stub::start(Duration::ZERO).await.unwrap());
    let stubs = vec![("cache", cache.clone()), ("vector-db", vectors.clone())];
    let settings = vec![("cascade.apply_deadline", "60s".to_owned())];
    let mut replica = Replica::start(&Setup { stubs, settings, ..Setup::default() }).await;
    let names = ["t1", "t2", "t3", "t4", "t5", "t6"];
    make(&mut replica, &names, "").await;
    cache.set_fault("", Some(Fault::Hanging));
    let few = |verb| v1::StartBulkOperationRequest { concurrent_max: 2, ..bulk("tenant_id:*", verb) };
    let request = few(v1::OperationVerb::Suspend);
    let started = replica.lifecycle.start_bulk_operation(request).await.unwrap().into_inner();
    for name in names {
        crate::participants::until("it is locked out", async || {
            let tenant = replica.get(name).await;
            let there = vectors.held(&tenant.uid).unwrap().state == Desired::Suspended;
            there && tenant.access() == v1::TenantAccess::None
        })
        .await;
    }
    let id = &started.bulk_operation_id;
    crate::participants::until("all of them wait for the target alone", async || {
        let request = v1::GetBulkOperationRequest { bulk_operation_id: id.clone() };
        let now = replica.lifecycle.get_bulk_operation(request).await.unwrap().into_inner();
        (now.running, now.waiting) == (6, 0)
    })
    .await;
    replica.stop().await;
}

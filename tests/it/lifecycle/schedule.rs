//! What begins by itself: scheduled operations, and the purge of deleted tenants.

use std::time::Duration;

use tenantry::domain::ids::{FlagKey, TenantId};
use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Fault, Stub};
use tenantry::proto::v1;

use super::{TEN_SECONDS, activate, suspend};
use crate::support::{Replica, Setup, event_kinds, fields, metrics, new_tenant, reason, sql};

pub(crate) fn in_seconds(seconds: u64) -> prost_types::Timestamp {
    let now = std::time::SystemTime::now() + Duration::from_secs(seconds);
    now.into()
}

fn seconds_ago(seconds: u64) -> prost_types::Timestamp {
    (std::time::SystemTime::now() - Duration::from_secs(seconds)).into()
}

async fn operation(replica: &mut Replica, operation_id: &str) -> v1::Operation {
    let mut request = tonic::Request::new(v1::GetOperationRequest { operation_id: operation_id.into() });
    request.metadata_mut().insert("tenantry-consistency", "latest".parse().unwrap());
    replica.lifecycle.get_operation(request).await.unwrap().into_inner()
}

/// Waits until the operation has ended, or whatever else is asked for.
async fn until(
    replica: &mut Replica,
    operation_id: &str,
    done: impl Fn(&v1::Operation) -> bool,
) -> v1::Operation {
    for _ in 0..2_000 {
        let now = operation(replica, operation_id).await;
        if done(&now) {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it does not come to that: {:?}", operation(replica, operation_id).await);
}

#[tokio::test]
async fn a_scheduled_operation_is_listed_survives_a_restart_and_begins_when_its_time_has_come() {
    let mut replica = Replica::start(&Setup::default()).await;
    replica.tenant("finance").await;
    let request = v1::SuspendTenantRequest { at: Some(in_seconds(3_600)), ..suspend("finance") };
    let scheduled = replica.lifecycle.suspend_tenant(request).await.unwrap().into_inner();
    assert_eq!(scheduled.state(), v1::OperationState::Scheduled, "{scheduled:?}");
    let tenant = replica.get("finance").await;
    assert_eq!((tenant.status(), tenant.operation_id.as_str()), (v1::TenantStatus::Active, ""));
    // It is counted, here as in the metrics, but not among those that are open.
    let counts = replica.tenants.get_statistics(v1::GetStatisticsRequest {}).await.unwrap().into_inner();
    assert_eq!((counts.open_operations, counts.scheduled_operations), (0, 1));
    let metrics = metrics(&replica).await;
    assert!(metrics.contains(r#"tenantry_operations{state="SCHEDULED"} 1"#), "{metrics}");
    let url = replica.database_url.clone();
    replica.stop().await;
    // As if the hour had passed while nothing ran.
    sql(&url, "UPDATE operation SET schedule_time = now() - interval '1 second' WHERE state = 'SCHEDULED'")
        .await;
    let mut replica = Replica::on(&url, &Setup::default()).await;
    let ended =
        until(&mut replica, &scheduled.operation_id, |now| now.state() == v1::OperationState::Succeeded)
            .await;
    assert_eq!((ended.create_time, ended.verb()), (scheduled.create_time, scheduled.verb()));
    assert_eq!(replica.get("finance").await.status(), v1::TenantStatus::Suspended);
    replica.stop().await;
}

#[tokio::test]
async fn nothing_is_scheduled_for_a_time_that_has_passed() {
    let mut replica = Replica::start(&Setup::default()).await;
    replica.tenant("finance").await;
    let request = v1::SuspendTenantRequest { at: Some(seconds_ago(120)), ..suspend("finance") };
    let error = replica.lifecycle.suspend_tenant(request).await.unwrap_err();
    assert_eq!(fields(&error), ["at"]);
    // A caller's clock that is a little behind is no mistake.
    let request = v1::SuspendTenantRequest { at: Some(seconds_ago(20)), ..suspend("finance") };
    let late = replica.lifecycle.suspend_tenant(request).await.unwrap().into_inner();
    until(&mut replica, &late.operation_id, |now| now.state() == v1::OperationState::Succeeded).await;
    replica.stop().await;
}

#[tokio::test]
async fn a_scheduled_operation_that_is_taken_back_never_begins() {
    let mut replica = Replica::start(&Setup::default()).await;
    replica.tenant("finance").await;
    let request = v1::SuspendTenantRequest { at: Some(in_seconds(1)), ..suspend("finance") };
    let scheduled = replica.lifecycle.suspend_tenant(request).await.unwrap().into_inner();
    let filter = "state = SCHEDULED".to_owned();
    let list = v1::ListOperationsRequest { filter, ..Default::default() };
    assert_eq!(replica.lifecycle.list_operations(list).await.unwrap().into_inner().total_size, 1);
    let request =
        v1::AbortOperationRequest { operation_id: scheduled.operation_id.clone(), ..Default::default() };
    let ended = replica.lifecycle.abort_operation(request).await.unwrap().into_inner();
    assert_eq!(ended.state(), v1::OperationState::Cancelled, "{ended:?}");
    // Another one that is due later begins; the one that was taken back does not.
    let request = v1::SuspendTenantRequest { at: Some(in_seconds(1)), ..suspend("finance") };
    let later = replica.lifecycle.suspend_tenant(request).await.unwrap().into_inner();
    until(&mut replica, &later.operation_id, |now| now.state() == v1::OperationState::Succeeded).await;
    assert_eq!(operation(&mut replica, &scheduled.operation_id).await, ended);
    replica.stop().await;
}

#[tokio::test]
async fn what_is_illegal_when_its_time_comes_ends_as_failed_and_what_is_held_up_waits() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let tenant = replica.tenant("finance").await;
    let request = v1::ActivateTenantRequest { at: Some(in_seconds(0)), ..activate("finance") };
    let illegal = replica.lifecycle.activate_tenant(request).await.unwrap().into_inner();
    let ended = until(&mut replica, &illegal.operation_id, |now| now.finish_time.is_some()).await;
    assert_eq!(ended.state(), v1::OperationState::Failed, "{ended:?}");
    assert!(ended.error.contains("ActivateTenant"), "{}", ended.error);

    stub.set_fault(&tenant.uid, Some(Fault::Hanging));
    let start = v1::StartMigrationRequest { tenant_id: "finance".into(), ..Default::default() };
    replica.lifecycle.start_migration(start).await.unwrap();
    let request = v1::FinishMigrationRequest {
        tenant_id: "finance".into(),
        to_status: v1::TenantStatus::Suspended.into(),
        at: Some(in_seconds(0)),
        ..Default::default()
    };
    let waiting = replica.lifecycle.finish_migration(request).await.unwrap().into_inner();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(operation(&mut replica, &waiting.operation_id).await.state(), v1::OperationState::Scheduled);
    stub.set_fault(&tenant.uid, None);
    until(&mut replica, &waiting.operation_id, |now| now.state() == v1::OperationState::Succeeded).await;
    assert_eq!(replica.get("finance").await.status(), v1::TenantStatus::Suspended);
    replica.stop().await;
}

/// A replica with the tenant `held`, whose suspension a target refuses, and which so has an operation open.
async fn held() -> (Replica, Stub, v1::Tenant, v1::Operation) {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let tenant = replica.tenant("held").await;
    stub.set_fault(&tenant.uid, Some(Fault::Refusing));
    let open = replica.lifecycle.suspend_tenant(suspend("held")).await.unwrap().into_inner();
    assert_eq!(open.state(), v1::OperationState::NeedsOperator, "{open:?}");
    (replica, stub, tenant, open)
}

/// One that is refused while a suspension is open.
fn migration(at: prost_types::Timestamp) -> v1::StartMigrationRequest {
    v1::StartMigrationRequest { tenant_id: "held".into(), at: Some(at), ..Default::default() }
}

#[tokio::test]
async fn however_many_scheduled_operations_wait_the_others_begin_and_those_are_listed_as_stuck() {
    let (mut replica, _, _, open) = held().await;
    replica.tenant("free").await;
    for _ in 0..70 {
        let due = replica.lifecycle.start_migration(migration(seconds_ago(20))).await.unwrap().into_inner();
        assert_eq!(due.state(), v1::OperationState::Scheduled, "{due:?}");
    }
    let request = v1::SuspendTenantRequest { at: Some(in_seconds(0)), ..suspend("free") };
    let free = replica.lifecycle.suspend_tenant(request).await.unwrap().into_inner();
    until(&mut replica, &free.operation_id, |now| now.state() == v1::OperationState::Succeeded).await;
    let filter = "stuck = true AND state = SCHEDULED".to_owned();
    let list = v1::ListOperationsRequest { filter, page_size: 1, ..Default::default() };
    let stuck = replica.lifecycle.list_operations(list).await.unwrap().into_inner();
    assert_eq!(stuck.total_size, 70);
    let why = format!("waits for operation {} (SUSPEND), which needs an operator", open.operation_id);
    assert_eq!(stuck.operations[0].error, why);
    let metrics = metrics(&replica).await;
    assert!(metrics.contains("tenantry_operations_stuck 71"), "with the one they wait for: {metrics}");
    replica.stop().await;
}

#[tokio::test]
async fn a_watch_tells_when_a_scheduled_operation_is_due_and_waits() {
    let (mut replica, _, _, open) = held().await;
    let due = replica.lifecycle.start_migration(migration(in_seconds(2))).await.unwrap().into_inner();
    let request = v1::WatchOperationRequest { operation_id: due.operation_id };
    let mut watch = replica.lifecycle.watch_operation(request).await.unwrap().into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!((first.state(), first.error.as_str()), (v1::OperationState::Scheduled, ""));
    // Nothing changes in the registry when its time comes.
    let told = tokio::time::timeout(Duration::from_secs(8), watch.message()).await.expect("it is told");
    let told = told.unwrap().unwrap();
    assert_eq!((told.state(), told.revision), (v1::OperationState::Scheduled, first.revision));
    assert!(told.error.starts_with(&format!("waits for operation {}", open.operation_id)), "{told:?}");
    // Once, not over and over.
    assert!(tokio::time::timeout(Duration::from_secs(1), watch.message()).await.is_err());
    replica.stop().await;
}

#[tokio::test]
async fn what_was_asked_for_after_a_schedule_was_due_overrules_it() {
    let (mut replica, stub, tenant, _) = held().await;
    let due = replica.lifecycle.start_migration(migration(in_seconds(0))).await.unwrap().into_inner();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(operation(&mut replica, &due.operation_id).await.state(), v1::OperationState::Scheduled);
    stub.set_fault(&tenant.uid, None);
    let newer = replica.lifecycle.activate_tenant(activate("held")).await.unwrap().into_inner();
    let ended = until(&mut replica, &due.operation_id, |now| now.finish_time.is_some()).await;
    assert_eq!(ended.state(), v1::OperationState::Failed, "{ended:?}");
    let why = format!(
        "could not begin: operation {} (ACTIVATE) was asked for after its time had come",
        newer.operation_id
    );
    assert_eq!(ended.error, why);
    assert_eq!(replica.settled("held").await.status(), v1::TenantStatus::Active);
    replica.stop().await;
}

/// Takes an active tenant to DELETED.
pub(crate) async fn delete(replica: &mut Replica, tenant_id: &str) -> v1::Tenant {
    replica.lifecycle.suspend_tenant(suspend(tenant_id)).await.unwrap();
    let id = || tenant_id.to_owned();
    let archive = v1::ArchiveTenantRequest { tenant_id: id(), wait: TEN_SECONDS, ..Default::default() };
    replica.lifecycle.archive_tenant(archive).await.unwrap();
    let delete = v1::DeleteTenantRequest { tenant_id: id(), wait: TEN_SECONDS, ..Default::default() };
    let ended = replica.lifecycle.delete_tenant(delete).await.unwrap().into_inner();
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    replica.get(tenant_id).await
}

/// Makes it time to purge `finance`.
pub(crate) const PURGE_NOW: &str =
    "WITH head AS (UPDATE log_head SET revision = revision + 1 RETURNING revision)
    UPDATE tenant SET purge_time = now() - interval '1 second', revision = head.revision FROM head
    WHERE tenant_id = 'finance'";

/// Nothing showed that a tenant was there beyond its time.
#[tokio::test]
async fn a_purge_that_children_hold_up_is_counted_until_they_are_moved() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    replica.tenant("finance").await;
    let child = |parent: &str| v1::Tenant { parent: parent.into(), ..new_tenant("treasury") };
    let create = v1::CreateTenantRequest { tenant: Some(child("finance")), ..Default::default() };
    replica.tenants.create_tenant(create).await.unwrap();
    delete(&mut replica, "finance").await;
    sql(&replica.database_url, PURGE_NOW).await;
    while !metrics(&replica).await.contains("tenantry_purges_held 1") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(replica.get("finance").await.status(), v1::TenantStatus::Deleted);
    let update_mask = Some(prost_types::FieldMask { paths: vec!["parent".into()] });
    let moved = v1::UpdateTenantRequest { tenant: Some(child("")), update_mask, ..Default::default() };
    replica.tenants.update_tenant(moved).await.unwrap();
    while !metrics(&replica).await.contains("tenantry_purges_held 0") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let get = || v1::GetTenantRequest { tenant_id: "finance".into() };
    while replica.tenants.get_tenant(get()).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    replica.stop().await;
}

#[tokio::test]
async fn a_deleted_tenant_keeps_its_data_until_it_is_purged_and_then_its_id_is_free_and_its_uid_is_not() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    replica.tenant("finance").await;
    let flag =
        v1::Flag { flag_key: "search".into(), r#type: v1::FlagType::Boolean.into(), ..Default::default() };
    let create = v1::CreateFlagRequest { flag: Some(flag), ..Default::default() };
    replica.flags.create_flag(create).await.unwrap();
    let registry = replica.server.registry.clone();
    let count = async || {
        let finance = TenantId::parse("finance").unwrap();
        let now = jiff::Timestamp::now();
        registry.evaluations.count(&FlagKey::parse("search").unwrap(), Some(&finance), now);
        registry.evaluations.flush(&registry.database).await;
        let client = registry.database.pooled().await.unwrap();
        let rows = client.query("SELECT 1 FROM flag_evaluation WHERE tenant_id = 'finance'", &[]).await;
        rows.unwrap().len()
    };
    assert_eq!(count().await, 1);
    let deleted = delete(&mut replica, "finance").await;
    assert_eq!(stub.held(&deleted.uid).unwrap().state, Desired::Archived, "undelete gives it back");
    let error = replica.create("finance").await.unwrap_err();
    assert_eq!(reason(&error), "TENANT_EXISTS");
    sql(&replica.database_url, PURGE_NOW).await;
    let get = || v1::GetTenantRequest { tenant_id: "finance".into() };
    for _ in 0..1_000 {
        if replica.tenants.get_tenant(get()).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let gone = replica.tenants.get_tenant(get()).await.unwrap_err();
    assert_eq!(reason(&gone), "TENANT_NOT_FOUND");
    assert_eq!(count().await, 0, "what another replica counted before is nobody's");
    assert_eq!(stub.held(&deleted.uid).unwrap().state, Desired::Deleted);
    let request = v1::ListOperationsRequest {
        tenant_id: "finance".into(),
        filter: "verb = PURGE".into(),
        ..Default::default()
    };
    let receipts = replica.lifecycle.list_operations(request).await.unwrap().into_inner().operations;
    assert_eq!(receipts.len(), 1);
    assert_eq!(receipts[0].state(), v1::OperationState::Succeeded, "{receipts:?}");
    for step in &receipts[0].targets {
        assert_eq!((step.state(), step.observed()), (v1::TargetState::Verified, v1::DesiredState::Deleted));
        assert!(step.verify_time.is_some(), "{step:?}");
        assert_ne!(step.verification(), v1::Verification::Unspecified);
    }
    assert_eq!(event_kinds(&replica.database_url).await.last().unwrap(), "tenant_purged");
    let anew = replica.tenant("finance").await;
    assert_eq!(anew.status(), v1::TenantStatus::Active);
    assert_ne!(anew.uid, deleted.uid);
    // What another replica reads from the tables is the same.
    let mut second = Replica::on(&replica.database_url, &setup).await;
    assert_eq!(second.get("finance").await.uid, anew.uid);
    second.stop().await;
    replica.stop().await;
}

#[tokio::test]
async fn without_any_target_a_purge_ends_too() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    replica.tenant("finance").await;
    delete(&mut replica, "finance").await;
    sql(&replica.database_url, PURGE_NOW).await;
    for _ in 0..1_000 {
        let request = v1::GetTenantRequest { tenant_id: "finance".into() };
        if replica.tenants.get_tenant(request).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let kinds = event_kinds(&replica.database_url).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "tenant_purged").count(), 1);
    replica.stop().await;
}

#[tokio::test]
async fn a_purge_that_a_target_holds_up_leaves_the_tenant_there_until_it_is_proven_empty() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    replica.tenant("finance").await;
    let deleted = delete(&mut replica, "finance").await;
    stub.set_fault(&deleted.uid, Some(Fault::Lying));
    sql(&replica.database_url, PURGE_NOW).await;
    let stuck = loop {
        let request = v1::ListOperationsRequest { filter: "verb = PURGE".into(), ..Default::default() };
        let list = replica.lifecycle.list_operations(request).await.unwrap().into_inner().operations;
        if let Some(stuck) = list.into_iter().find(|it| it.state() == v1::OperationState::NeedsOperator) {
            break stuck;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(replica.get("finance").await.status(), v1::TenantStatus::Deleted, "never missing meanwhile");
    let abort = v1::AbortOperationRequest { operation_id: stuck.operation_id.clone(), ..Default::default() };
    let error = replica.lifecycle.abort_operation(abort).await.unwrap_err();
    assert_eq!(reason(&error), "POINT_OF_NO_RETURN");
    let skip = v1::SkipTargetRequest {
        operation_id: stuck.operation_id,
        target: "cache".into(),
        reason: "wiped by hand".into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    let ended = replica.lifecycle.skip_target(skip).await.unwrap().into_inner();
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    let tenant = v1::GetTenantRequest { tenant_id: "finance".into() };
    assert_eq!(reason(&replica.tenants.get_tenant(tenant).await.unwrap_err()), "TENANT_NOT_FOUND");
    replica.stop().await;
}

#[tokio::test]
async fn an_archived_tenant_that_must_be_kept_cannot_be_deleted_before() {
    let mut replica = Replica::start(&Setup::default()).await;
    replica.tenant("finance").await;
    replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap();
    let archive = v1::ArchiveTenantRequest {
        tenant_id: "finance".into(),
        retention: Some(prost_types::Duration { seconds: 7 * 24 * 3_600, nanos: 0 }),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    replica.lifecycle.archive_tenant(archive).await.unwrap();
    assert!(replica.get("finance").await.retain_time.is_some());
    let delete = v1::DeleteTenantRequest { tenant_id: "finance".into(), ..Default::default() };
    let error = replica.lifecycle.delete_tenant(delete).await.unwrap_err();
    assert_eq!(reason(&error), "RETENTION_NOT_OVER");
    replica.stop().await;
}

#[tokio::test]
async fn a_time_in_the_last_hours_of_9999_is_only_too_far_away() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    replica.tenant("finance").await;
    // 9999-12-31T23:59:59Z.
    let at = Some(prost_types::Timestamp { seconds: 253_402_300_799, nanos: 0 });
    let request = v1::SuspendTenantRequest { at, ..suspend("finance") };
    let error = replica.lifecycle.suspend_tenant(request).await.unwrap_err();
    assert_eq!(error.message(), "at: must be at most 366 days from now");
    let nonsense = Some(prost_types::Timestamp { seconds: 0, nanos: -1 });
    let request = v1::SuspendTenantRequest { at: nonsense, ..suspend("finance") };
    let error = replica.lifecycle.suspend_tenant(request).await.unwrap_err();
    assert!(error.message().starts_with("at: must be a time from year 1"), "{error:?}");
    let filter = r#"create_time < "9999-12-31T23:59:59Z""#.to_owned();
    let list = v1::ListTenantsRequest { filter, ..Default::default() };
    assert_eq!(replica.tenants.list_tenants(list).await.unwrap().into_inner().total_size, 1);
    replica.stop().await;
}

/// A purge could be had for a test, or for who asks to be forgotten, by writing in the database alone.
#[tokio::test]
async fn for_how_long_a_deletion_can_be_taken_back_is_for_whoever_deletes_to_say() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    for tenant in ["finance", "sales"] {
        replica.tenant(tenant).await;
        replica.lifecycle.suspend_tenant(suspend(tenant)).await.unwrap();
        let archive =
            v1::ArchiveTenantRequest { tenant_id: tenant.into(), wait: TEN_SECONDS, ..Default::default() };
        replica.lifecycle.archive_tenant(archive).await.unwrap();
    }
    let delete = |tenant: &str, seconds: i64| v1::DeleteTenantRequest {
        tenant_id: tenant.into(),
        undelete_period: Some(prost_types::Duration { seconds, nanos: 0 }),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    let refused = replica.lifecycle.delete_tenant(delete("sales", -1)).await.unwrap_err();
    assert_eq!(fields(&refused), ["undelete_period"]);
    replica.lifecycle.delete_tenant(delete("sales", 86_400)).await.unwrap();
    let sales = replica.get("sales").await;
    assert_eq!(sales.purge_time.unwrap().seconds - sales.delete_time.unwrap().seconds, 86_400);
    replica.lifecycle.delete_tenant(delete("finance", 0)).await.unwrap();
    let get = || v1::GetTenantRequest { tenant_id: "finance".into() };
    crate::participants::until("it is purged", async || replica.tenants.get_tenant(get()).await.is_err())
        .await;
    replica.stop().await;
}

//! Newer decisions about tenants that wait in a bulk operation.

use std::time::Duration;

use tenantry::participants::stub::{Fault, Stub};
use tenantry::proto::v1;

use super::many::{bulk, bulk_ended, make};
use super::{TEN_SECONDS, activate, suspend};
use crate::command_line::tenantry;
use crate::participants::until;
use crate::support::{Replica, Setup, reason};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn one_at_a_time(verb: v1::OperationVerb) -> v1::StartBulkOperationRequest {
    v1::StartBulkOperationRequest { concurrent_max: 1, ..bulk("tenant_id:*", verb) }
}

fn setup(stub: &Stub) -> Setup {
    let settings = vec![("cascade.apply_deadline", "20s".to_owned())];
    Setup { stubs: vec![("cache", stub.clone())], settings, ..Setup::default() }
}

/// Tenants `a` to `d`, SUSPENDED unless `active`, and a target that takes its time over `a`: in a bulk operation that takes
/// one at a time the others wait.
async fn four(active: bool) -> (Replica, Setup) {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = setup(&stub);
    let mut replica = Replica::start(&setup).await;
    make(&mut replica, &NAMES, "").await;
    for name in NAMES {
        if !active {
            replica.lifecycle.suspend_tenant(suspend(name)).await.unwrap();
        }
    }
    stub.set_fault(&replica.get("a").await.uid, Some(Fault::Late(Duration::from_secs(2))));
    (replica, setup)
}

/// A bulk operation over the four that has begun with `a`.
async fn begun(replica: &mut Replica, request: v1::StartBulkOperationRequest) -> v1::BulkOperation {
    let started = replica.lifecycle.start_bulk_operation(request).await.unwrap().into_inner();
    assert_eq!(started.total, 4, "{started:?}");
    until("a is under way", async || !replica.get("a").await.operation_id.is_empty()).await;
    started
}

#[tokio::test]
async fn a_suspension_is_not_undone_by_a_bulk_operation_that_is_older() {
    let (mut replica, _setup) = four(false).await;
    let older = begun(&mut replica, one_at_a_time(v1::OperationVerb::Activate)).await;
    replica.lifecycle.activate_tenant(activate("d")).await.unwrap();
    let newer = replica.lifecycle.suspend_tenant(suspend("d")).await.unwrap().into_inner();
    assert_eq!(newer.state(), v1::OperationState::Succeeded, "{newer:?}");
    let ended = bulk_ended(&mut replica, &older).await;
    assert_eq!(replica.settled("d").await.status(), v1::TenantStatus::Suspended);
    assert_eq!((ended.state(), ended.succeeded), (v1::BulkOperationState::Failed, 3), "{ended:?}");
    assert_eq!((ended.failed, ended.overruled), (1, 1), "{ended:?}");
    let why = format!("d: operation {} (SUSPEND) was asked for later", newer.operation_id);
    assert_eq!(ended.error, why);
    replica.stop().await;
}

#[tokio::test]
async fn a_bulk_operation_takes_tenants_that_are_there_out_of_an_older_one_that_is_about_to_move_them() {
    let (mut replica, _setup) = four(false).await;
    let older = begun(&mut replica, one_at_a_time(v1::OperationVerb::Activate)).await;
    let request = bulk("tenant_id:*", v1::OperationVerb::Suspend);
    let newer = replica.lifecycle.start_bulk_operation(request).await.unwrap().into_inner();
    assert_eq!(newer.total, 4, "{newer:?}");
    let ended = bulk_ended(&mut replica, &newer).await;
    assert_eq!((ended.state(), ended.succeeded), (v1::BulkOperationState::Succeeded, 4), "{ended:?}");
    let overruled = bulk_ended(&mut replica, &older).await;
    assert_eq!((overruled.state(), overruled.failed), (v1::BulkOperationState::Failed, 4), "{overruled:?}");
    assert_eq!(overruled.overruled, 3, "a was under way: {overruled:?}");
    let why = format!("b: bulk operation {} (SUSPEND) was asked for later", newer.bulk_operation_id);
    assert!(overruled.error.contains(&why), "{overruled:?}");
    for name in NAMES {
        assert_eq!(replica.settled(name).await.status(), v1::TenantStatus::Suspended, "{name}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn a_verb_that_finds_the_tenant_there_takes_it_out_of_the_bulk_operation_that_is_about_to_move_it() {
    let (mut replica, _setup) = four(false).await;
    let older = begun(&mut replica, one_at_a_time(v1::OperationVerb::Activate)).await;
    let plan = v1::SuspendTenantRequest { validate_only: true, ..suspend("d") };
    replica.lifecycle.suspend_tenant(plan).await.unwrap();
    let newer = replica.lifecycle.suspend_tenant(suspend("d")).await.unwrap().into_inner();
    assert_eq!((newer.state(), newer.targets.len()), (v1::OperationState::Succeeded, 0), "{newer:?}");
    assert_eq!(
        (newer.from_status(), newer.to_status()),
        (v1::TenantStatus::Suspended, v1::TenantStatus::Suspended)
    );
    let again = replica.lifecycle.suspend_tenant(suspend("d")).await.unwrap_err();
    assert_eq!(reason(&again), "ILLEGAL_TRANSITION", "nothing is about to move it any more");
    let ended = bulk_ended(&mut replica, &older).await;
    assert_eq!((ended.succeeded, ended.failed), (3, 1), "{ended:?}");
    assert_eq!(ended.error, format!("d: operation {} (SUSPEND) was asked for later", newer.operation_id));
    assert_eq!(replica.settled("d").await.status(), v1::TenantStatus::Suspended);
    replica.lifecycle.activate_tenant(activate("d")).await.unwrap();
    assert_eq!(replica.settled("d").await.status(), v1::TenantStatus::Active);
    replica.stop().await;
}

#[tokio::test]
async fn a_scheduled_suspension_counts_from_its_time_on() {
    let (mut replica, _setup) = four(false).await;
    let older = begun(&mut replica, one_at_a_time(v1::OperationVerb::Activate)).await;
    let at = Some(super::schedule::in_seconds(0));
    let request = v1::SuspendTenantRequest { at, wait: None, ..suspend("d") };
    let scheduled = replica.lifecycle.suspend_tenant(request).await.unwrap().into_inner();
    let ended = bulk_ended(&mut replica, &older).await;
    assert_eq!((ended.succeeded, ended.failed), (3, 1), "{ended:?}");
    assert_eq!(ended.error, format!("d: operation {} (SUSPEND) was asked for later", scheduled.operation_id));
    let get = v1::GetOperationRequest { operation_id: scheduled.operation_id };
    let scheduled = replica.lifecycle.get_operation(get).await.unwrap().into_inner();
    assert_eq!(scheduled.state(), v1::OperationState::Succeeded, "{scheduled:?}");
    assert_eq!(replica.settled("d").await.status(), v1::TenantStatus::Suspended);
    replica.stop().await;
}

#[tokio::test]
async fn a_move_that_tenants_cannot_take_leaves_them_in_the_older_bulk_operation_that_locks_them_out() {
    let (mut replica, _setup) = four(true).await;
    let older = begun(&mut replica, one_at_a_time(v1::OperationVerb::Suspend)).await;
    let request = bulk(r#"tenant_id = "d""#, v1::OperationVerb::Archive);
    let newer = replica.lifecycle.start_bulk_operation(request).await.unwrap().into_inner();
    assert_eq!((newer.state(), newer.failed), (v1::BulkOperationState::Failed, 1), "{newer:?}");
    assert!(newer.error.starts_with("d: a tenant that is ACTIVE cannot take ArchiveTenant"), "{newer:?}");
    let ended = bulk_ended(&mut replica, &older).await;
    assert_eq!((ended.state(), ended.succeeded), (v1::BulkOperationState::Succeeded, 4), "{ended:?}");
    assert_eq!(replica.settled("d").await.status(), v1::TenantStatus::Suspended);
    replica.stop().await;
}

#[tokio::test]
async fn a_refusal_names_the_bulk_operation_that_is_about_to_move_the_tenant() {
    let (mut replica, _setup) = four(false).await;
    let archive = |tenant_id: &str| v1::ArchiveTenantRequest {
        tenant_id: tenant_id.into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    for name in NAMES {
        replica.lifecycle.archive_tenant(archive(name)).await.unwrap();
    }
    let older = begun(&mut replica, one_at_a_time(v1::OperationVerb::Delete)).await;
    let refused = replica.lifecycle.archive_tenant(archive("d")).await.unwrap_err();
    assert_eq!(reason(&refused), "ILLEGAL_TRANSITION");
    let told = format!(
        "; bulk operation {id} (DELETE) is about to move it: `tenantry bulk abort {id}`",
        id = older.bulk_operation_id
    );
    assert!(refused.message().ends_with(&told), "{}", refused.message());
    replica.stop().await;
}

#[tokio::test]
async fn children_follow_their_parent_out_of_the_move_before() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let mut replica = Replica::start(&setup(&stub)).await;
    make(&mut replica, &["holding"], "").await;
    let names: Vec<String> = (0..26).map(|number| format!("t{number}")).collect();
    make(&mut replica, &names.iter().map(String::as_str).collect::<Vec<_>>(), "holding").await;
    let follow = v1::ChildrenPolicy::Follow;
    let asked = || v1::SuspendTenantRequest { children: follow.into(), ..suspend("holding") };
    let first = replica.lifecycle.suspend_tenant(asked()).await.unwrap().into_inner();
    let of = |operation: &v1::Operation| v1::BulkOperation {
        bulk_operation_id: operation.children_bulk_operation_id.clone(),
        ..Default::default()
    };
    bulk_ended(&mut replica, &of(&first)).await;
    stub.set_fault("", Some(Fault::Late(Duration::from_secs(1))));
    let older = v1::ActivateTenantRequest { children: follow.into(), wait: None, ..activate("holding") };
    let older = replica.lifecycle.activate_tenant(older).await.unwrap().into_inner();
    let get = || v1::GetBulkOperationRequest { bulk_operation_id: older.children_bulk_operation_id.clone() };
    until("some have begun", async || {
        replica.lifecycle.get_bulk_operation(get()).await.unwrap().into_inner().running > 0
    })
    .await;
    let newer = replica.lifecycle.suspend_tenant(asked()).await.unwrap().into_inner();
    stub.set_fault("", None);
    let ended = bulk_ended(&mut replica, &of(&newer)).await;
    assert_eq!((ended.state(), ended.succeeded), (v1::BulkOperationState::Succeeded, 26), "{ended:?}");
    bulk_ended(&mut replica, &of(&older)).await;
    for name in &names {
        assert_eq!(replica.settled(name).await.status(), v1::TenantStatus::Suspended, "{name}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn a_change_of_tier_counts_before_a_bulk_operation_that_is_older_and_a_suspension_does_not() {
    let (mut replica, _setup) = four(true).await;
    let request = v1::StartBulkOperationRequest {
        tier: "platinum".into(),
        ..one_at_a_time(v1::OperationVerb::ChangeTier)
    };
    let older = begun(&mut replica, request).await;
    let silver = v1::ChangeTierRequest {
        tenant_id: "d".into(),
        tier: "silver".into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    let newer = replica.lifecycle.change_tier(silver).await.unwrap().into_inner();
    replica.lifecycle.suspend_tenant(suspend("c")).await.unwrap();
    let ended = bulk_ended(&mut replica, &older).await;
    assert_eq!((ended.succeeded, ended.failed), (3, 1), "{ended:?}");
    assert_eq!(ended.error, format!("d: operation {} (CHANGE_TIER) was asked for later", newer.operation_id));
    assert_eq!(replica.settled("d").await.tier, "silver");
    let other = replica.settled("c").await;
    assert_eq!((other.tier.as_str(), other.status()), ("platinum", v1::TenantStatus::Suspended));
    replica.stop().await;
}

#[tokio::test]
async fn another_replica_and_a_restart_know_of_the_newer_decision() {
    let (mut first, setup) = four(false).await;
    let mut second = Replica::on(&first.database_url, &setup).await;
    let older = begun(&mut first, one_at_a_time(v1::OperationVerb::Activate)).await;
    // Asked of the one that does not drive it, and as soon as it can be; then the one that does is gone.
    let newer = second.lifecycle.suspend_tenant(suspend("d")).await.unwrap().into_inner();
    first.stop().await;
    let ended = bulk_ended(&mut second, &older).await;
    assert_eq!((ended.succeeded, ended.failed), (3, 1), "{ended:?}");
    assert_eq!(ended.error, format!("d: operation {} (SUSPEND) was asked for later", newer.operation_id));
    assert_eq!(second.settled("d").await.status(), v1::TenantStatus::Suspended);
    second.stop().await;
}

/// A verb on one tenant, or on several; answers whether it was taken, and the bulk operation.
async fn decide(
    replica: &mut Replica,
    to: v1::TenantStatus,
    names: &[&str],
    singly: bool,
) -> (bool, Option<v1::BulkOperation>) {
    let suspends = to == v1::TenantStatus::Suspended;
    if !singly {
        let verb = if suspends { v1::OperationVerb::Suspend } else { v1::OperationVerb::Activate };
        let filter: Vec<_> = names.iter().map(|name| format!("tenant_id = \"{name}\"")).collect();
        let request = v1::StartBulkOperationRequest { filter: filter.join(" OR "), ..one_at_a_time(verb) };
        let bulk = replica.lifecycle.start_bulk_operation(request).await.unwrap().into_inner();
        return (true, Some(bulk));
    }
    let asked = if suspends {
        replica.lifecycle.suspend_tenant(v1::SuspendTenantRequest { wait: None, ..suspend(names[0]) }).await
    } else {
        replica
            .lifecycle
            .activate_tenant(v1::ActivateTenantRequest { wait: None, ..activate(names[0]) })
            .await
    };
    if let Err(refused) = &asked {
        let why = reason(refused);
        assert!(["ILLEGAL_TRANSITION", "OPERATION_IN_PROGRESS"].contains(&why.as_str()), "{refused:?}");
    }
    (asked.is_ok(), None)
}

/// On two replicas, each decision asked for when the one before was answered: long before what that one leads to.
#[tokio::test]
async fn whatever_was_decided_last_about_a_tenant_is_so_in_the_end() {
    let stub = Stub::start(Duration::from_millis(20)).await.unwrap();
    let setup = setup(&stub);
    let mut replicas = vec![Replica::start(&setup).await];
    let url = replicas[0].database_url.clone();
    replicas.push(Replica::on(&url, &setup).await);
    let seed = fastrand::u64(..);
    let mut chance = fastrand::Rng::with_seed(seed);
    let names = ["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7"];
    make(&mut replicas[0], &names, "").await;
    let mut last = [v1::TenantStatus::Active; 8];
    for _ in 0..8 {
        let mut bulks = Vec::new();
        for step in 0..chance.usize(2..7) {
            let to = [v1::TenantStatus::Active, v1::TenantStatus::Suspended][chance.usize(..2)];
            // First of all of them, so that those that come then find tenants that wait.
            let (singly, count) = match (step, chance.bool()) {
                (0, _) => (false, names.len()),
                (_, true) => (true, 1),
                (_, false) => (false, chance.usize(1..names.len())),
            };
            let mut chosen: Vec<usize> = (0..names.len()).collect();
            chance.shuffle(&mut chosen);
            chosen.truncate(count);
            let chosen_names: Vec<&str> = chosen.iter().map(|place| names[*place]).collect();
            let (taken, bulk) = decide(&mut replicas[chance.usize(..2)], to, &chosen_names, singly).await;
            bulks.extend(bulk);
            chosen.iter().filter(|_| taken).for_each(|place| last[*place] = to);
            tokio::time::sleep(Duration::from_millis(chance.u64(..60))).await;
        }
        // What the other one answered, this one knows a moment later.
        let answered = replicas[1].server.registry.view.snapshot().unwrap().revision;
        replicas[0].server.registry.view.at_least(answered, Duration::from_secs(30)).await.unwrap();
        for bulk in &bulks {
            bulk_ended(&mut replicas[0], bulk).await;
        }
        for (name, to) in names.iter().zip(last) {
            assert_eq!(replicas[0].settled(name).await.status(), to, "{name}, seed {seed}");
        }
    }
    for replica in replicas {
        replica.stop().await;
    }
}

#[tokio::test]
async fn a_plan_of_a_suspension_that_only_leaves_an_older_bulk_operation_says_so() {
    let (mut replica, _setup) = four(false).await;
    let older = begun(&mut replica, one_at_a_time(v1::OperationVerb::Activate)).await;
    let server = format!("http://{}", replica.server.grpc);
    let plan = ["tenant", "suspend", "d", "--validate-only", "--server", &server];
    let (code, said) = tenantry(&plan).await;
    assert_eq!(code, Some(0), "{said}");
    let told = "it is SUSPENDED already, and stays so: nothing is asked of any target, and it leaves any older bulk operation \
                that is to take it elsewhere\n";
    assert!(said.contains(told), "{said}");
    let (_, said) = tenantry(&[&plan[..], &["-o", "json"]].concat()).await;
    assert!(!said.contains("it is SUSPENDED already"), "for people alone: {said}");
    let ended = bulk_ended(&mut replica, &older).await;
    assert_eq!((ended.succeeded, ended.failed), (4, 0), "nothing was changed by looking: {ended:?}");
    let (code, said) = tenantry(&["tenant", "suspend", "d", "--validate-only", "--server", &server]).await;
    assert!(code == Some(0) && !said.contains("already"), "it would be locked out: {said}");
    replica.stop().await;
}

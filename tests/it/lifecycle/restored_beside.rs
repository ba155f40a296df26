//! A restored registry, and targets that know of different decisions: what one knows keeps its neighbours from letting the tenant in.

use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Fault, Held, Stub};
use tenantry::proto::v1;

use super::restored::backup;
use super::restored_open::{STUBS, run, start_stubs};
use super::{TEN_SECONDS, activate, suspend};
use crate::command_line::tenantry;
use crate::support::{Replica, Setup};

/// The tenant was being let in, or was let in, but for the cache, when the backup was made; then it was suspended, of which the cache,
/// still paused, never heard; then the registry was restored.
struct Scene {
    replica: Replica,
    stubs: Vec<(&'static str, Stub)>,
    setup: Setup,
    uid: String,
}

async fn set_paused(replica: &mut Replica, target: &str, is_paused: bool) {
    let (target, reason) = (target.to_owned(), "a repair".to_owned());
    if is_paused {
        let pause = v1::PauseTargetRequest { target, reason, ..Default::default() };
        replica.lifecycle.pause_target(pause).await.unwrap();
    } else {
        let resume = v1::ResumeTargetRequest { target, ..Default::default() };
        replica.lifecycle.resume_target(resume).await.unwrap();
    }
}

/// How the activation went on without the cache.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Activated {
    /// It waits for the cache, which is paused.
    Open,
    /// It ended without it.
    Skipped,
}

impl Scene {
    async fn new(activated: Activated) -> Self {
        let stubs = start_stubs().await;
        let settings = [
            ("cascade.verify_rate", "100"),
            ("cascade.verify_interval", "1s"),
            ("cascade.max_attempts", "2"),
        ];
        let settings = settings.map(|(key, value)| (key, value.to_owned())).to_vec();
        let setup = Setup { stubs: stubs.clone(), ..Setup::default() };
        let mut replica = Replica::start(&setup).await;
        let uid = replica.tenant("finance").await.uid;
        replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap();
        set_paused(&mut replica, "cache", true).await;
        let skip_targets = if activated == Activated::Skipped { vec!["cache".to_owned()] } else { vec![] };
        let up = v1::ActivateTenantRequest {
            wait: TEN_SECONDS,
            skip_targets,
            reason: "paid".into(),
            ..activate("finance")
        };
        let up = replica.lifecycle.activate_tenant(up).await.unwrap().into_inner();
        assert_eq!(up.state() == v1::OperationState::Succeeded, activated == Activated::Skipped, "{up:?}");
        let url = replica.database_url.clone();
        replica.stop().await;
        let older = backup(&url).await;
        let mut replica = Replica::on(&url, &setup).await;
        let wait = Some(prost_types::Duration { seconds: 1, nanos: 0 });
        let down = v1::SuspendTenantRequest { wait, ..suspend("finance") };
        replica.lifecycle.suspend_tenant(down).await.unwrap();
        for (name, stub) in &stubs {
            assert_eq!(stub.held(&uid).unwrap().state, Desired::Suspended, "{name}");
        }
        replica.stop().await;
        run(&["restored", "--database-url", &older]).await;
        let setup = Setup { settings, ..setup };
        Self { replica: Replica::on(&older, &setup).await, stubs, setup, uid }
    }

    /// The state of each target.
    fn held(&self) -> Vec<Desired> {
        self.stubs.iter().map(|(_, stub)| stub.held(&self.uid).unwrap().state).collect()
    }

    /// The operation that is open, once it waits for an operator.
    async fn waiting(&mut self) -> v1::Operation {
        for _ in 0..500 {
            let operation_id = self.replica.get("finance").await.operation_id;
            if !operation_id.is_empty() {
                let get = v1::GetOperationRequest { operation_id };
                let operation = self.replica.lifecycle.get_operation(get).await.unwrap().into_inner();
                if operation.state() == v1::OperationState::NeedsOperator {
                    return operation;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("nothing waits: {:?}", self.held());
    }
}

/// A tenant in every target, whose registry is to be restored: no server runs.
struct Stopped {
    stubs: Vec<(&'static str, Stub)>,
    setup: Setup,
    url: String,
    uid: String,
}

impl Stopped {
    async fn new() -> Self {
        let stubs = start_stubs().await;
        let setup = Setup { stubs: stubs.clone(), ..Setup::default() };
        let mut replica = Replica::start(&setup).await;
        let uid = replica.tenant("finance").await.uid;
        let url = replica.database_url.clone();
        replica.stop().await;
        Self { stubs, setup, url, uid }
    }
}

/// The repair that a look at the targets begins, if any.
async fn verify(replica: &mut Replica) -> Option<v1::Operation> {
    let verify =
        v1::VerifyTenantRequest { tenant_id: "finance".into(), wait: TEN_SECONDS, ..Default::default() };
    replica.lifecycle.verify_tenant(verify).await.unwrap().into_inner().operation
}

/// An operator says that the operation counts at a target, and waits so long.
async fn adopt(
    replica: &mut Replica,
    operation: &v1::Operation,
    target: &str,
    wait: Option<prost_types::Duration>,
) {
    let retry = v1::RetryTargetRequest {
        operation_id: operation.operation_id.clone(),
        target: target.into(),
        adopt: true,
        reason: "it has paid".into(),
        wait,
        ..Default::default()
    };
    replica.lifecycle.retry_target(retry).await.unwrap();
}

fn step<'a>(operation: &'a v1::Operation, target: &str) -> &'a v1::TargetStep {
    operation.targets.iter().find(|step| step.target == target).unwrap()
}

/// Each target was decided on by itself: the cache held what the registry knew of, and got access while its neighbours waited.
#[tokio::test]
async fn a_target_that_never_heard_of_a_suspension_lets_nobody_in_once_another_tells_of_it() {
    for activated in [Activated::Open, Activated::Skipped] {
        let mut scene = Scene::new(activated).await;
        set_paused(&mut scene.replica, "cache", false).await;
        let waiting = scene.waiting().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(scene.held(), [Desired::Suspended; 3], "{activated:?}: {waiting:?}");
        let cache = step(&waiting, "cache");
        assert_eq!(cache.state(), v1::TargetState::Pending, "{activated:?}: {waiting:?}");
        let why = "is not asked yet: first decide what counts at object-store, vector-db";
        assert!(cache.last_error.starts_with(why) && waiting.error.contains(why), "{waiting:?}");
        let server = format!("http://{}", scene.replica.server.grpc);
        let (code, said) =
            tenantry(&["operation", "watch", &waiting.operation_id, "--server", &server]).await;
        let way = format!(
            "cache goes on once that is decided; if this counts there already: tenantry operation retry {} cache --adopt",
            waiting.operation_id
        );
        assert!(
            code == Some(7) && said.contains(&way) && said.contains("the others go on without it"),
            "{said}"
        );
        // A suspension says that they are right, by the filter that the manual names.
        let many = v1::StartBulkOperationRequest {
            filter: "status != PROVISIONING".into(),
            verb: v1::OperationVerb::Suspend.into(),
            reason: "restored".into(),
            ..Default::default()
        };
        let many = scene.replica.lifecycle.start_bulk_operation(many).await.unwrap().into_inner();
        assert_eq!(many.total, 1, "{activated:?}: {many:?}");
        while !scene.replica.get("finance").await.operation_id.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let suspended = scene.replica.get("finance").await;
        assert_eq!(
            (suspended.status(), suspended.access()),
            (v1::TenantStatus::Suspended, v1::TenantAccess::None)
        );
        scene.replica.stop().await;
    }
}

/// Those that know of the suspension do not answer; the one that does not know of it is there first.
#[tokio::test]
async fn in_a_restored_registry_every_target_is_looked_at_before_any_lets_a_tenant_in() {
    let mut scene = Scene::new(Activated::Open).await;
    for (_, stub) in &scene.stubs[1..] {
        stub.set_fault(&scene.uid, Some(Fault::Failing(u32::MAX)));
    }
    scene.setup.settings.retain(|(key, _)| *key != "cascade.max_attempts");
    let url = scene.replica.database_url.clone();
    let next = Replica::on(&url, &scene.setup).await;
    std::mem::replace(&mut scene.replica, next).stop().await;
    set_paused(&mut scene.replica, "cache", false).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(scene.held(), [Desired::Suspended; 3]);
    for (_, stub) in &scene.stubs[1..] {
        stub.set_fault(&scene.uid, None);
    }
    let waiting = scene.waiting().await;
    // An operator says that the registry is right, target by target.
    for target in ["vector-db", "object-store"] {
        adopt(&mut scene.replica, &waiting, target, TEN_SECONDS).await;
    }
    let mut ended = scene.replica.get("finance").await;
    for _ in 0..500 {
        if ended.operation_id.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        ended = scene.replica.get("finance").await;
    }
    assert_eq!(ended.status(), v1::TenantStatus::Active, "{ended:?}");
    assert_eq!(scene.held(), [Desired::Active; 3]);
    scene.replica.stop().await;
}

/// A bucket of its own goes with the tenant's data, and all that told of it: nothing was ahead, and the tenant was made anew and let in.
#[tokio::test]
async fn a_target_that_keeps_nothing_of_whom_it_purged_does_not_let_the_tenant_in_again() {
    let Stopped { stubs, setup, url, uid } = Stopped::new().await;
    for (_, stub) in &stubs {
        stub.forget(&uid);
    }
    run(&["restored", "--database-url", &url]).await;
    let mut replica = Replica::on(&url, &setup).await;
    let repair = verify(&mut replica).await.unwrap();
    assert_eq!(repair.state(), v1::OperationState::NeedsOperator, "{repair:?}");
    for target in STUBS {
        let said = &step(&repair, target).last_error;
        assert!(said.starts_with("has nothing of the tenant, as after a purge"), "{target}: {said}");
    }
    assert!(stubs.iter().all(|(_, stub)| stub.held(&uid).is_none()), "{repair:?}");
    // To go on without them decides nothing, and nor does it to have them tried again.
    let (operation_id, reason) = (repair.operation_id.clone(), "later".to_owned());
    for target in STUBS {
        let (operation_id, reason, target) = (operation_id.clone(), reason.clone(), target.to_owned());
        let skip = v1::SkipTargetRequest { operation_id, target, reason, ..Default::default() };
        replica.lifecycle.skip_target(skip).await.unwrap();
    }
    replica.settled("finance").await;
    let repair = verify(&mut replica).await.unwrap();
    for target in STUBS {
        let (operation_id, target) = (repair.operation_id.clone(), target.to_owned());
        let retry = v1::RetryTargetRequest { operation_id, target, wait: TEN_SECONDS, ..Default::default() };
        replica.lifecycle.retry_target(retry).await.unwrap();
    }
    for target in STUBS {
        let said = &step(&repair, target).last_error;
        assert!(said.starts_with("has nothing of the tenant, as after a purge"), "{target}: {said}");
    }
    assert!(stubs.iter().all(|(_, stub)| stub.held(&uid).is_none()), "{repair:?}");
    // Where somebody says so it is made there anew, and is asked for once.
    for target in STUBS {
        adopt(&mut replica, &repair, target, TEN_SECONDS).await;
    }
    assert!(replica.get("finance").await.operation_id.is_empty());
    assert!(stubs.iter().all(|(_, stub)| stub.held(&uid).unwrap().state == Desired::Active));
    replica.stop().await;
}

/// It had the target go on without a look at its neighbours, although the tenant was suspended since.
#[tokio::test]
async fn what_an_operator_decided_before_a_backup_is_asked_for_again_after_a_restore() {
    let Stopped { stubs, setup, url, uid } = Stopped::new().await;
    for (_, stub) in &stubs {
        stub.put(&uid, Held { state: Desired::Suspended, generation: 2 });
    }
    run(&["restored", "--database-url", &url]).await;
    let mut replica = Replica::on(&url, &setup).await;
    let repair = verify(&mut replica).await.unwrap();
    stubs[0].1.set_fault(&uid, Some(Fault::Failing(u32::MAX)));
    // The one that does not answer last: it is still being tried when the backup is made.
    for target in STUBS.into_iter().rev() {
        let moment = prost_types::Duration { seconds: 0, nanos: 300_000_000 };
        adopt(&mut replica, &repair, target, Some(moment)).await;
    }
    let states = || stubs.iter().map(|(_, stub)| stub.held(&uid).unwrap().state).collect::<Vec<_>>();
    assert_eq!(states(), [Desired::Suspended, Desired::Active, Desired::Active]);
    replica.stop().await;
    let older = backup(&url).await;
    let mut replica = Replica::on(&url, &setup).await;
    let wait = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    replica.lifecycle.suspend_tenant(v1::SuspendTenantRequest { wait, ..suspend("finance") }).await.unwrap();
    assert_eq!(states(), [Desired::Suspended; 3]);
    replica.stop().await;
    stubs[0].1.set_fault(&uid, None);
    run(&["restored", "--database-url", &older]).await;
    let replica = Replica::on(&older, &setup).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(states(), [Desired::Suspended; 3]);
    replica.stop().await;
}

/// The mark of the restore stayed, and whatever lacked the tenant from then on passed for purged.
#[tokio::test]
async fn a_tenant_of_which_nothing_was_forgotten_is_like_any_other_once_it_was_looked_at() {
    let Stopped { stubs, setup, url, uid } = Stopped::new().await;
    run(&["restored", "--database-url", &url]).await;
    let mut replica = Replica::on(&url, &setup).await;
    assert_eq!(verify(&mut replica).await, None);
    stubs[0].1.forget(&uid);
    let repair = verify(&mut replica).await.unwrap();
    assert_eq!(repair.state(), v1::OperationState::Succeeded, "{repair:?}");
    replica.stop().await;
}

/// Of whoever was purged there was nothing to go beyond: the suspension said nothing, and an activation let the tenant in.
#[tokio::test]
async fn who_is_suspended_first_after_a_restore_is_told_where_nothing_was_left_of_the_tenant() {
    let stubs = start_stubs().await;
    let setup = Setup { stubs: stubs.clone(), ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let (gone, removed) = (replica.tenant("gone").await.uid, replica.tenant("removed").await.uid);
    replica.tenant("innocent").await;
    let url = replica.database_url.clone();
    replica.stop().await;
    for (_, stub) in &stubs {
        stub.forget(&gone);
        stub.put(&removed, Held { state: Desired::Deleted, generation: 5 });
    }
    run(&["restored", "--database-url", &url]).await;
    let mut replica = Replica::on(&url, &setup).await;
    for id in ["gone", "removed", "innocent"] {
        let ended = replica.lifecycle.suspend_tenant(suspend(id)).await.unwrap().into_inner();
        assert_eq!(ended.state(), v1::OperationState::Succeeded, "{id}: {ended:?}");
    }
    let list = v1::ListOperationsRequest {
        filter: "verb = SUSPEND AND adopted = true".into(),
        ..Default::default()
    };
    let found = replica.lifecycle.list_operations(list).await.unwrap().into_inner().operations;
    let mut told: Vec<_> = found.iter().map(|operation| operation.tenant_id.as_str()).collect();
    told.sort_unstable();
    assert_eq!(told, ["gone", "removed"]);
    replica.stop().await;
}

/// It was to be purged as soon as it was done; that somebody took it back was forgotten.
#[tokio::test]
async fn a_deletion_that_was_open_in_the_backup_purges_nothing_within_seven_days() {
    let stubs = start_stubs().await;
    let setup = Setup { stubs: stubs.clone(), ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    replica.tenant("finance").await;
    replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap();
    let archive =
        v1::ArchiveTenantRequest { tenant_id: "finance".into(), wait: TEN_SECONDS, ..Default::default() };
    replica.lifecycle.archive_tenant(archive).await.unwrap();
    set_paused(&mut replica, "cache", true).await;
    let at_once = prost_types::Duration::default();
    let delete = v1::DeleteTenantRequest {
        tenant_id: "finance".into(),
        undelete_period: Some(at_once),
        wait: Some(at_once),
        ..Default::default()
    };
    let open = replica.lifecycle.delete_tenant(delete).await.unwrap().into_inner();
    assert_eq!(open.state(), v1::OperationState::Running, "{open:?}");
    let url = replica.database_url.clone();
    replica.stop().await;
    run(&["restored", "--database-url", &url]).await;
    let mut replica = Replica::on(&url, &setup).await;
    set_paused(&mut replica, "cache", false).await;
    replica.settled("finance").await;
    let deleted = replica.get("finance").await;
    assert_eq!(deleted.status(), v1::TenantStatus::Deleted, "{deleted:?}");
    let purge = deleted.purge_time.unwrap().seconds;
    assert!(purge > jiff::Timestamp::now().as_second() + 6 * 24 * 60 * 60, "{purge}");
    replica.stop().await;
}

//! A registry that was restored, and told so: what was open in the backup, and what it had seen of the targets then, tells nothing.

use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Fault, Stub};
use tenantry::proto::v1;

use super::restored::backup;
use super::schedule::delete;
use super::{TEN_SECONDS, activate, suspend};
use crate::command_line::tenantry;
use crate::support::{Replica, Setup, sql};

pub(super) const STUBS: [&str; 3] = ["cache", "object-store", "vector-db"];

/// What was open when the backup was made.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Open {
    /// The cache was paused; the others were seen in the state that was asked for.
    ChangeTier,
    /// The same of a tenant that was being made.
    Provision,
    /// All were paused.
    Untried,
}

struct Scene {
    replica: Replica,
    stubs: Vec<(&'static str, Stub)>,
    operation_id: String,
    uid: String,
}

impl Scene {
    async fn operation(&mut self) -> v1::Operation {
        let get = v1::GetOperationRequest { operation_id: self.operation_id.clone() };
        self.replica.lifecycle.get_operation(get).await.unwrap().into_inner()
    }

    /// Waits until the operation has come to something.
    async fn until(&mut self, what: impl Fn(&v1::Operation) -> bool) {
        for _ in 0..1_000 {
            if what(&self.operation().await) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it does not come to that: {:?}", self.operation().await);
    }

    async fn pause(&mut self, targets: &[&str], is_paused: bool) {
        for target in targets.iter().map(ToString::to_string) {
            if is_paused {
                let pause =
                    v1::PauseTargetRequest { target, reason: "a repair".into(), ..Default::default() };
                self.replica.lifecycle.pause_target(pause).await.unwrap();
            } else {
                let resume = v1::ResumeTargetRequest { target, ..Default::default() };
                self.replica.lifecycle.resume_target(resume).await.unwrap();
            }
        }
    }

    fn set_fault(&self, targets: &[&str], fault: Option<Fault>) {
        for (_, stub) in self.stubs.iter().filter(|(name, _)| targets.contains(name)) {
            stub.set_fault(&self.uid, fault);
        }
    }
}

/// Says that the registry was restored, as soon as that is taken: what a replica asks for while it stops may still get a lease, and one
/// in this process leaves its connections a moment later.
pub(super) async fn run(arguments: &[&str]) -> String {
    for _ in 0..100 {
        let (code, said) = tenantry(arguments).await;
        if code == Some(0) {
            return said;
        }
        assert!(said.contains("Stop every replica"), "{said}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("a replica goes on serving");
}

pub(super) async fn start_stubs() -> Vec<(&'static str, Stub)> {
    let mut stubs = Vec::new();
    for name in STUBS {
        stubs.push((name, Stub::start(Duration::ZERO).await.unwrap()));
    }
    stubs
}

/// The tenant was suspended once the operation had ended; then the registry was restored. Of its targets, `down` do not answer.
async fn restored(open: Open, down: &[&str]) -> Scene {
    let stubs = start_stubs().await;
    let setup = Setup { stubs: stubs.clone(), ..Setup::default() };
    let replica = Replica::start(&setup).await;
    let mut scene = Scene { replica, stubs, operation_id: String::new(), uid: String::new() };
    if open == Open::ChangeTier {
        scene.replica.tenant("finance").await;
    }
    let paused = if open == Open::Untried { &STUBS[..] } else { &STUBS[..1] };
    scene.pause(paused, true).await;
    scene.operation_id = match open {
        Open::Provision | Open::Untried => scene.replica.create("finance").await.unwrap().operation_id,
        Open::ChangeTier => {
            let (tenant_id, tier) = ("finance".to_owned(), "silver".to_owned());
            let wait = Some(prost_types::Duration::default());
            let change = v1::ChangeTierRequest { tenant_id, tier, wait, ..Default::default() };
            scene.replica.lifecycle.change_tier(change).await.unwrap().into_inner().operation_id
        }
    };
    let is_seen = |step: &&v1::TargetStep| step.state() == v1::TargetState::Verified;
    // The registry's own target beside those that are not paused.
    let seen = STUBS.len() + 1 - paused.len();
    scene.until(|operation| operation.targets.iter().filter(is_seen).count() == seen).await;
    scene.uid = scene.replica.get("finance").await.uid;
    let url = scene.replica.database_url.clone();
    scene.replica.stop().await;
    let older = backup(&url).await;
    scene.replica = Replica::on(&url, &setup).await;
    scene.pause(paused, false).await;
    scene.replica.settled("finance").await;
    scene.replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap();
    scene.set_fault(down, Some(Fault::Hanging));
    scene.replica.stop().await;
    let said = run(&["restored", "--database-url", &older]).await;
    assert!(said.contains("every target of 1 tenants, with 1 open operations,"), "{said}");
    let settings =
        [("cascade.verify_rate", "100"), ("cascade.verify_interval", "1s"), ("cascade.max_attempts", "2")];
    let settings = settings.map(|(key, value)| (key, value.to_owned())).to_vec();
    scene.replica = Replica::on(&older, &Setup { settings, ..setup }).await;
    scene
}

async fn nobody_was_let_in(scene: Scene, context: &str) {
    tokio::time::sleep(Duration::from_secs(3)).await;
    for (name, stub) in &scene.stubs {
        let held: Vec<Desired> = stub.effects(&scene.uid).iter().map(|held| held.state).collect();
        let last = held.iter().rposition(|state| *state != Desired::Suspended);
        let suspended = held.iter().position(|state| *state == Desired::Suspended);
        assert!(last < suspended, "{context}: {name} was told {held:?}");
    }
    scene.replica.stop().await;
}

/// A step that was seen in the backup counted as seen; once the number had been raised for one target, another that was down meanwhile
/// passed for drift, whether or not the operation was aborted.
#[tokio::test]
async fn what_was_seen_in_the_backup_lets_nobody_in_who_was_suspended_since() {
    for (open, is_aborted) in [(Open::Provision, false), (Open::ChangeTier, false), (Open::ChangeTier, true)]
    {
        let mut scene = restored(open, &["object-store"]).await;
        let is_ahead = |step: &v1::TargetStep| step.target == "vector-db" && step.ahead_generation != 0;
        scene.until(|operation| operation.targets.iter().any(is_ahead)).await;
        if is_aborted {
            let (operation_id, reason) = (scene.operation_id.clone(), "not wanted".to_owned());
            let wait = Some(prost_types::Duration::default());
            let abort = v1::AbortOperationRequest { operation_id, reason, wait, ..Default::default() };
            scene.replica.lifecycle.abort_operation(abort).await.unwrap();
        }
        scene.set_fault(&["object-store"], None);
        scene.pause(&["cache"], false).await;
        nobody_was_let_in(scene, &format!("{open:?}, aborted: {is_aborted}")).await;
    }
}

/// To begin it again gave it a number beyond what the targets held, and who is being made was taken to be in none yet.
#[tokio::test]
async fn a_tenant_whose_making_is_tried_again_is_not_let_in_where_it_was_suspended_since_the_backup() {
    let mut scene = restored(Open::Untried, &STUBS).await;
    scene.pause(&STUBS, false).await;
    scene.until(|operation| operation.state() == v1::OperationState::NeedsOperator).await;
    scene.set_fault(&STUBS, None);
    let (operation_id, target) = (scene.operation_id.clone(), STUBS[0].to_owned());
    let retry = v1::RetryTargetRequest { operation_id, target, wait: TEN_SECONDS, ..Default::default() };
    scene.replica.lifecycle.retry_target(retry).await.unwrap();
    nobody_was_let_in(scene, "tried again").await;
}

/// A suspension overwrites what there was to look at: so it looks first, and says what it found.
#[tokio::test]
async fn who_is_suspended_first_and_looked_at_afterwards_can_be_told_from_who_had_been_suspended_before() {
    let setup = Setup { stubs: start_stubs().await, ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    for id in ["innocent", "fraud"] {
        replica.tenant(id).await;
    }
    let url = replica.database_url.clone();
    replica.stop().await;
    let older = backup(&url).await;
    let mut replica = Replica::on(&url, &setup).await;
    replica.lifecycle.suspend_tenant(suspend("fraud")).await.unwrap();
    replica.stop().await;
    run(&["restored", "--database-url", &older]).await;
    let mut replica = Replica::on(&older, &setup).await;
    for id in ["innocent", "fraud"] {
        replica.lifecycle.suspend_tenant(suspend(id)).await.unwrap();
    }
    let filter = "adopted = true".to_owned();
    let list = v1::ListOperationsRequest { filter, ..Default::default() };
    let found = replica.lifecycle.list_operations(list).await.unwrap().into_inner().operations;
    let told: Vec<_> = found.iter().map(|operation| operation.tenant_id.as_str()).collect();
    assert_eq!(told, ["fraud"]);
    let held: Vec<_> =
        found[0].adoptions.iter().map(|it| (it.target.as_str(), it.generation, it.reason.as_str())).collect();
    let reason = "gives no more access than the target grants (SUSPENDED)";
    assert_eq!(held, STUBS.map(|name| (name, 2, reason)));
    // What was looked at is looked at once.
    let up = v1::ActivateTenantRequest { wait: TEN_SECONDS, ..activate("innocent") };
    let up = replica.lifecycle.activate_tenant(up).await.unwrap().into_inner();
    assert_eq!((up.state(), up.adoptions.len()), (v1::OperationState::Succeeded, 0));
    replica.stop().await;
}

#[tokio::test]
async fn a_registry_that_is_served_is_not_taken_for_restored() {
    let mut replica = Replica::start(&Setup::default()).await;
    replica.tenant("finance").await;
    let again = ["restored", "--database-url", &replica.database_url];
    // One that holds no lease, as after it lost the database for a moment, is there all the same.
    sql(&replica.database_url, "DELETE FROM background_work").await;
    let (code, said) = tenantry(&again).await;
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("Stop every replica"), "{said}");
    let (code, said) = tenantry(&again).await;
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("Stop every replica"), "{said}");
    replica.stop().await;
}

/// What the first suspension had gone beyond was forgotten by the second, whose way back let the tenant in.
#[tokio::test]
async fn whoever_suspends_twice_after_a_restore_is_asked_before_the_way_back_all_the_same() {
    let stubs = start_stubs().await;
    let setup = Setup { stubs: stubs.clone(), ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let uid = replica.tenant("finance").await.uid;
    let url = replica.database_url.clone();
    replica.stop().await;
    let older = backup(&url).await;
    let mut replica = Replica::on(&url, &setup).await;
    for _ in 0..2 {
        replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap();
        replica.lifecycle.activate_tenant(activate("finance")).await.unwrap();
    }
    replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap();
    replica.stop().await;
    run(&["restored", "--database-url", &older]).await;
    stubs[1].1.set_fault(&uid, Some(Fault::Hanging));
    let mut replica = Replica::on(&older, &setup).await;
    for _ in 0..2 {
        let waiting = replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap().into_inner();
        assert_eq!(waiting.state(), v1::OperationState::NeedsOperator, "{waiting:?}");
    }
    stubs[1].1.set_fault(&uid, None);
    let waiting = replica.get("finance").await.operation_id;
    let abort = v1::AbortOperationRequest {
        operation_id: waiting,
        reason: "a mistake".into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    let aborted = replica.lifecycle.abort_operation(abort).await.unwrap().into_inner();
    assert_eq!(aborted.state(), v1::OperationState::NeedsOperator, "{aborted:?}");
    for (name, stub) in &stubs {
        assert_eq!(stub.held(&uid).unwrap().state, Desired::Suspended, "{name}: {aborted:?}");
    }
    replica.stop().await;
}

/// Nothing waited there: registry and targets agreed that the tenants were SUSPENDED, and what had overruled it was forgotten.
#[tokio::test]
async fn what_was_to_let_tenants_in_later_ends_with_a_restore_and_is_told() {
    let stubs = start_stubs().await;
    let setup = Setup { stubs: stubs.clone(), ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let tenants = ["scheduled", "many-1", "many-2"];
    for id in tenants {
        replica.tenant(id).await;
        replica.lifecycle.suspend_tenant(suspend(id)).await.unwrap();
    }
    replica.tenant("gone").await;
    delete(&mut replica, "gone").await;
    let soon = jiff::Timestamp::now().as_second() + 3_600;
    let at = Some(prost_types::Timestamp { seconds: soon, nanos: 0 });
    let later = v1::ActivateTenantRequest { at, ..activate("scheduled") };
    let later = replica.lifecycle.activate_tenant(later).await.unwrap().into_inner();
    let target = STUBS[0].to_owned();
    let pause = v1::PauseTargetRequest { target, reason: "a repair".into(), ..Default::default() };
    replica.lifecycle.pause_target(pause).await.unwrap();
    let many = v1::StartBulkOperationRequest {
        filter: r#"tenant_id = "many-*""#.into(),
        verb: v1::OperationVerb::Activate.into(),
        concurrent_max: 1,
        ..Default::default()
    };
    let many = replica.lifecycle.start_bulk_operation(many).await.unwrap().into_inner();
    assert_eq!(many.total, 2, "{many:?}");
    let url = replica.database_url.clone();
    replica.stop().await;
    sql(&url, "UPDATE tenant SET purge_time = now() + interval '5 seconds' WHERE tenant_id = 'gone'").await;
    let said = run(&["restored", "--database-url", &url]).await;
    assert!(
        said.contains("1 scheduled operations have FAILED and 1 bulk operations begin no more"),
        "{said}"
    );
    let mut replica = Replica::on(&url, &setup).await;
    let get = v1::GetOperationRequest { operation_id: later.operation_id };
    let later = replica.lifecycle.get_operation(get).await.unwrap().into_inner();
    assert_eq!(later.state(), v1::OperationState::Failed, "{later:?}");
    assert!(later.error.contains("the registry was restored before its time came"), "{later:?}");
    assert_eq!(replica.get("scheduled").await.status(), v1::TenantStatus::Suspended);
    let purge = replica.get("gone").await.purge_time.unwrap().seconds;
    assert!(purge > jiff::Timestamp::now().as_second() + 6 * 24 * 60 * 60, "{purge}");
    let get = v1::GetBulkOperationRequest { bulk_operation_id: many.bulk_operation_id };
    let mut looks = 0;
    let many = loop {
        let many = replica.lifecycle.get_bulk_operation(get.clone()).await.unwrap().into_inner();
        looks += 1;
        if many.waiting == 0 || looks == 500 {
            break many;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(many.waiting == 0 && many.failed > 0, "{many:?}");
    replica.stop().await;
}

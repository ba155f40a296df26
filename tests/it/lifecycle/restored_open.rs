//! A registry that was restored, and told so: what was open in the backup, and what it had seen of the targets then, tells nothing.

use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Fault, Stub};
use tenantry::proto::v1;

use super::restored::backup;
use super::{TEN_SECONDS, activate, suspend};
use crate::command_line::tenantry;
use crate::support::{Replica, Setup};

const STUBS: [&str; 2] = ["cache", "vector-db"];

/// What was open when the backup was made: `cache` was paused, and the other target was seen in the state that was asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Open {
    Provision,
    ChangeTier,
}

/// What becomes of it after the restore, while `cache` is paused still.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    /// Nobody does anything.
    Nothing,
    /// An operator aborts it.
    Abort,
    /// The other target is down, too, and both are tried again once they are back.
    Retry,
}

struct Scene {
    replica: Replica,
    stubs: Vec<(&'static str, Stub)>,
    open: v1::Operation,
    uid: String,
}

async fn pause(replica: &mut Replica, is_paused: bool) {
    let target = STUBS[0].to_owned();
    if is_paused {
        let pause = v1::PauseTargetRequest { target, reason: "a repair".into(), ..Default::default() };
        replica.lifecycle.pause_target(pause).await.unwrap();
    } else {
        let resume = v1::ResumeTargetRequest { target, ..Default::default() };
        replica.lifecycle.resume_target(resume).await.unwrap();
    }
}

async fn run(arguments: &[&str]) -> String {
    let (code, said) = tenantry(arguments).await;
    assert_eq!(code, Some(0), "{said}");
    said
}

/// The tenant was suspended once the operation had ended; then the registry was restored.
async fn restored(open: Open) -> Scene {
    let mut stubs = Vec::new();
    for name in STUBS {
        stubs.push((name, Stub::start(Duration::ZERO).await.unwrap()));
    }
    let setup = Setup { stubs: stubs.clone(), ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    if open == Open::ChangeTier {
        replica.tenant("finance").await;
    }
    pause(&mut replica, true).await;
    let operation_id = match open {
        Open::Provision => replica.create("finance").await.unwrap().operation_id,
        Open::ChangeTier => {
            let (tenant_id, tier) = ("finance".to_owned(), "silver".to_owned());
            let change = v1::ChangeTierRequest { tenant_id, tier, ..Default::default() };
            replica.lifecycle.change_tier(change).await.unwrap().into_inner().operation_id
        }
    };
    let get = v1::GetOperationRequest { operation_id };
    let open = loop {
        let open = replica.lifecycle.get_operation(get.clone()).await.unwrap().into_inner();
        if open.targets.iter().filter(|step| step.state() == v1::TargetState::Verified).count() == 2 {
            break open;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let (url, uid) = (replica.database_url.clone(), replica.get("finance").await.uid);
    replica.stop().await;
    let older = backup(&url).await;
    let mut replica = Replica::on(&url, &setup).await;
    pause(&mut replica, false).await;
    replica.settled("finance").await;
    replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap();
    replica.stop().await;
    let said = run(&["restored", "--database-url", &older]).await;
    assert!(said.contains("every target of 1 tenants, with 1 open operations,"), "{said}");
    Scene { replica: Replica::on(&older, &setup).await, stubs, open, uid }
}

/// A step that was seen in the backup counted as seen, and a number that was raised for one target hid what the others held.
#[tokio::test]
async fn an_operation_that_was_open_in_the_backup_lets_nobody_in_who_was_suspended_since() {
    for open in [Open::Provision, Open::ChangeTier] {
        for then in [Then::Nothing, Then::Abort, Then::Retry] {
            let mut scene = restored(open).await;
            let operation_id = scene.open.operation_id.clone();
            let lifecycle = &mut scene.replica.lifecycle;
            match then {
                Then::Nothing => {}
                Then::Abort => {
                    let reason = "not wanted".to_owned();
                    let abort = v1::AbortOperationRequest { operation_id, reason, ..Default::default() };
                    lifecycle.abort_operation(abort).await.unwrap();
                }
                Then::Retry => {
                    scene.stubs[1].1.set_fault(&scene.uid, Some(Fault::Hanging));
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    scene.stubs[1].1.set_fault(&scene.uid, None);
                    let target = STUBS[1].to_owned();
                    let retry = v1::RetryTargetRequest { operation_id, target, ..Default::default() };
                    // It may have been tried again by itself.
                    let _ = lifecycle.retry_target(retry).await;
                }
            }
            pause(&mut scene.replica, false).await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            for (name, stub) in &scene.stubs {
                let held: Vec<Desired> = stub.effects(&scene.uid).iter().map(|held| held.state).collect();
                let last = held.iter().rposition(|state| *state != Desired::Suspended);
                let suspended = held.iter().position(|state| *state == Desired::Suspended);
                assert!(last < suspended, "{open:?}, {then:?}: {name} was told {held:?}");
            }
            scene.replica.stop().await;
        }
    }
}

/// A suspension overwrites what there was to look at: so it looks first, and says what it found.
#[tokio::test]
async fn who_is_suspended_first_and_looked_at_afterwards_can_be_told_from_who_had_been_suspended_before() {
    let mut stubs = Vec::new();
    for name in STUBS {
        stubs.push((name, Stub::start(Duration::ZERO).await.unwrap()));
    }
    let setup = Setup { stubs: stubs.clone(), ..Setup::default() };
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
    assert_eq!(held, [("cache", 2, reason), ("vector-db", 2, reason)]);
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
    let (code, said) = loop {
        let (code, said) = tenantry(&["restored", "--database-url", &replica.database_url]).await;
        // Until the verifier or another of its works has begun.
        if code != Some(0) {
            break (code, said);
        }
    };
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("Stop every replica"), "{said}");
    replica.stop().await;
}

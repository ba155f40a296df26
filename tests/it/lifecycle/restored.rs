//! A registry whose database was restored from an older state than its targets are in.

use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Held, Stub};
use tenantry::proto::v1;

use super::schedule::{PURGE_NOW, delete};
use super::{TEN_SECONDS, activate, suspend};
use crate::command_line::tenantry;
use crate::support::{Replica, Setup, fields, reason, sql};

/// A copy of a database as it is, which nobody may be using.
pub(super) async fn backup(url: &str) -> String {
    let (server, name) = url.rsplit_once('/').unwrap();
    let others = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    let admin = format!("{server}/postgres");
    sql(&admin, &others).await;
    sql(&admin, &format!("CREATE DATABASE {name}_older TEMPLATE {name}")).await;
    format!("{server}/{name}_older")
}

/// Two targets, a server on a database that was restored, and tenants by id. Each was in the first state when the backup was
/// made; the targets have them in the state after, which the registry has forgotten.
pub(super) struct Restored {
    pub(super) replica: Replica,
    pub(super) stubs: Vec<(&'static str, Stub)>,
    setup: Setup,
}

/// What was decided since the backup.
#[derive(Clone, Copy)]
pub(super) enum Since {
    Suspended,
    Activated,
    SuspendedAndActivated,
    SuspendedTwice,
}

impl Restored {
    pub(super) async fn new(tenants: &[(&str, Since)], settings: Vec<(&'static str, String)>) -> Self {
        let stubs = vec![
            ("cache", Stub::start(Duration::ZERO).await.unwrap()),
            ("vector-db", Stub::start(Duration::ZERO).await.unwrap()),
        ];
        let setup = Setup { stubs: stubs.clone(), ..Setup::default() };
        let mut replica = Replica::start(&setup).await;
        for (id, since) in tenants {
            replica.tenant(id).await;
            if matches!(since, Since::Activated) {
                replica.lifecycle.suspend_tenant(suspend(id)).await.unwrap();
            }
        }
        let url = replica.database_url.clone();
        replica.stop().await;
        let older = backup(&url).await;
        let mut replica = Replica::on(&url, &setup).await;
        for (id, since) in tenants {
            if !matches!(since, Since::Activated) {
                replica.lifecycle.suspend_tenant(suspend(id)).await.unwrap();
            }
            if !matches!(since, Since::Suspended) {
                replica.lifecycle.activate_tenant(activate(id)).await.unwrap();
            }
            if matches!(since, Since::SuspendedTwice) {
                replica.lifecycle.suspend_tenant(suspend(id)).await.unwrap();
            }
        }
        replica.stop().await;
        let setup = Setup { settings, ..setup };
        Self { replica: Replica::on(&older, &setup).await, stubs, setup }
    }

    /// The same once more, by another server.
    pub(super) async fn restart(&mut self) {
        let url = self.replica.database_url.clone();
        let next = Replica::on(&url, &self.setup).await;
        std::mem::replace(&mut self.replica, next).stop().await;
    }

    pub(super) async fn verify(&mut self, tenant_id: &str, validate_only: bool) -> v1::VerifyTenantResponse {
        let request = v1::VerifyTenantRequest {
            tenant_id: tenant_id.into(),
            wait: TEN_SECONDS,
            validate_only,
            ..Default::default()
        };
        self.replica.lifecycle.verify_tenant(request).await.unwrap().into_inner()
    }

    /// What the first of the targets has of a tenant; the other has the same.
    async fn held(&mut self, tenant_id: &str) -> Held {
        let uid = self.replica.get(tenant_id).await.uid;
        let held: Vec<Held> = self.stubs.iter().map(|(_, stub)| stub.held(&uid).unwrap()).collect();
        assert_eq!(held[0].state, held[1].state, "{held:?}");
        held[0]
    }

    pub(super) async fn retry(
        &mut self,
        request: v1::RetryTargetRequest,
    ) -> Result<v1::Operation, tonic::Status> {
        let request = v1::RetryTargetRequest { wait: TEN_SECONDS, ..request };
        self.replica.lifecycle.retry_target(request).await.map(tonic::Response::into_inner)
    }
}

pub(super) fn waits_behind(operation: &v1::Operation) -> Vec<(&str, i64)> {
    let waits = operation.targets.iter().filter(|step| step.ahead_generation != 0);
    waits.map(|step| (step.target.as_str(), step.ahead_generation)).collect()
}

fn results(seen: &v1::VerifyTenantResponse) -> Vec<(&str, v1::CheckResult)> {
    seen.targets.iter().map(|check| (check.target.as_str(), check.result())).collect()
}

#[tokio::test]
async fn targets_that_are_ahead_are_found_and_brought_in_line_where_that_gives_no_more_access() {
    let tenants = [("same", Since::SuspendedAndActivated), ("open", Since::Activated)];
    let mut restored = Restored::new(&tenants, vec![]).await;
    for (id, state) in [("same", Desired::Active), ("open", Desired::Suspended)] {
        let ahead = restored.held(id).await;
        assert_eq!((ahead.state, ahead.generation), (Desired::Active, 3), "{id}");
        let look = restored.verify(id, true).await;
        let expected = [
            ("cache", v1::CheckResult::Ahead),
            ("postgres", v1::CheckResult::AsDesired),
            ("vector-db", v1::CheckResult::Ahead),
        ];
        assert_eq!(results(&look), expected, "{id}");
        let repair = restored.verify(id, false).await.operation.unwrap();
        assert_eq!(repair.state(), v1::OperationState::Succeeded, "{repair:?}");
        assert_eq!(repair.generation, 4, "{repair:?}");
        let adopted: Vec<_> = repair
            .adoptions
            .iter()
            .map(|it| (it.target.as_str(), it.generation, it.actor.as_str(), it.reason.is_empty()))
            .collect();
        assert_eq!(adopted, [("cache", 3, "tenantry", false), ("vector-db", 3, "tenantry", false)]);
        assert_eq!(restored.held(id).await.state, state, "{id}");
        assert!(restored.verify(id, false).await.operation.is_none(), "{id} is in line");
    }
    restored.replica.stop().await;
}

/// An operator who aborts or skips has decided nothing: the verifier's next round let the tenant in, since the registry's own
/// generation had reached the targets' by then.
#[tokio::test]
async fn who_was_suspended_since_the_backup_is_not_let_in_after_an_abort_or_a_skip() {
    let tenants =
        [("aborted", Since::Suspended), ("skipped", Since::Suspended), ("looked-at", Since::Suspended)];
    let mut restored = Restored::new(&tenants, vec![]).await;
    for (id, _) in tenants {
        for round in 0..3 {
            let seen = restored.verify(id, false).await;
            let ahead = seen.targets.iter().filter(|check| check.result() == v1::CheckResult::Ahead);
            assert_eq!(ahead.count(), 2, "{id} {round}: {seen:?}");
            let repair = seen.operation.unwrap();
            assert_eq!(repair.state(), v1::OperationState::NeedsOperator, "{id} {round}: {repair:?}");
            assert_eq!(waits_behind(&repair).len(), 2, "{id} {round}: {repair:?}");
            assert_eq!(restored.held(id).await.state, Desired::Suspended, "{id} {round}");
            let (operation_id, reason) = (repair.operation_id, "not now".to_owned());
            let server = format!("http://{}", restored.replica.server.grpc);
            let (code, said) = tenantry(&["operation", "watch", &operation_id, "--server", &server]).await;
            let way = format!(
                "if what cache was told since counts, as after a restore of the registry: tenantry tenant suspend {id}"
            );
            assert!(code == Some(7) && said.contains(&way) && said.contains("decides nothing"), "{said}");
            match id {
                "aborted" => {
                    let abort = v1::AbortOperationRequest { operation_id, reason, ..Default::default() };
                    restored.replica.lifecycle.abort_operation(abort).await.unwrap();
                }
                "skipped" => {
                    for target in ["cache", "vector-db"] {
                        let (operation_id, reason) = (operation_id.clone(), reason.clone());
                        let target = target.to_owned();
                        let wait = if target == "vector-db" { TEN_SECONDS } else { None };
                        let skip = v1::SkipTargetRequest {
                            operation_id,
                            target,
                            reason,
                            wait,
                            ..Default::default()
                        };
                        restored.replica.lifecycle.skip_target(skip).await.unwrap();
                    }
                }
                // Retried without a word on which counts, they are looked at again, and wait again.
                _ => {
                    for target in ["cache", "vector-db"] {
                        let (operation_id, target) = (operation_id.clone(), target.to_owned());
                        let retry = v1::RetryTargetRequest { operation_id, target, ..Default::default() };
                        let retried = restored.retry(retry).await.unwrap();
                        assert!(waits_behind(&retried).len() == 2, "{retried:?}");
                    }
                    let abort = v1::AbortOperationRequest { operation_id, reason, ..Default::default() };
                    restored.replica.lifecycle.abort_operation(abort).await.unwrap();
                }
            }
        }
        // The target is right: nothing waits any more, and nothing is said of it again.
        let ended = restored.replica.lifecycle.suspend_tenant(suspend(id)).await.unwrap().into_inner();
        assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
        assert!(restored.verify(id, false).await.operation.is_none(), "{id}");
        let ended = restored.replica.lifecycle.activate_tenant(activate(id)).await.unwrap().into_inner();
        assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    }
    restored.replica.stop().await;
}

#[tokio::test]
async fn a_denial_goes_beyond_what_a_target_that_is_ahead_holds_by_itself() {
    let mut restored = Restored::new(&[("finance", Since::SuspendedAndActivated)], vec![]).await;
    let ended = restored.replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap().into_inner();
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    let held = restored.held("finance").await;
    assert_eq!((held.state, held.generation), (Desired::Suspended, 4));
    // And the registry is in line from then on.
    let ended = restored.replica.lifecycle.activate_tenant(activate("finance")).await.unwrap().into_inner();
    assert_eq!((ended.state(), ended.generation), (v1::OperationState::Succeeded, 5), "{ended:?}");
    restored.replica.stop().await;
}

#[tokio::test]
async fn a_tenant_that_was_locked_out_since_the_backup_is_let_in_only_when_an_operator_says_so() {
    let mut restored = Restored::new(&[("finance", Since::Suspended)], vec![]).await;
    // Its generation is the one that the next operation would have.
    let held = restored.held("finance").await;
    assert_eq!((held.state, held.generation), (Desired::Suspended, 2));
    let repair = restored.verify("finance", false).await.operation.unwrap();
    assert_eq!(repair.state(), v1::OperationState::NeedsOperator, "{repair:?}");
    assert_eq!(waits_behind(&repair), [("cache", 2), ("vector-db", 2)]);
    // Neither a retry, nor another verb in its place, lets it in.
    let of = |operation: &v1::Operation, target: &str| v1::RetryTargetRequest {
        operation_id: operation.operation_id.clone(),
        target: target.into(),
        ..Default::default()
    };
    let again = restored.retry(of(&repair, "cache")).await.unwrap();
    assert_eq!(again.state(), v1::OperationState::NeedsOperator, "{again:?}");
    let tier = v1::ChangeTierRequest {
        tenant_id: "finance".into(),
        tier: "platinum".into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    let changing = restored.replica.lifecycle.change_tier(tier).await.unwrap().into_inner();
    assert_eq!(changing.state(), v1::OperationState::NeedsOperator, "{changing:?}");
    assert_eq!(waits_behind(&changing), [("cache", 2), ("vector-db", 2)]);
    assert_eq!(restored.held("finance").await.state, Desired::Suspended);
    // With a reason, one target after the other.
    let adopt = |target: &str| v1::RetryTargetRequest { adopt: true, ..of(&changing, target) };
    assert_eq!(fields(&restored.retry(adopt("cache")).await.unwrap_err()), ["reason"]);
    let unasked = v1::RetryTargetRequest { adopt: false, reason: "paid".into(), ..adopt("cache") };
    assert_eq!(fields(&restored.retry(unasked).await.unwrap_err()), ["reason"]);
    let adopt = |target: &str| v1::RetryTargetRequest { reason: "it has paid".into(), ..adopt(target) };
    let first = restored.retry(adopt("cache")).await.unwrap();
    assert_eq!(waits_behind(&first), [("vector-db", 2)], "{first:?}");
    let ended = restored.retry(adopt("vector-db")).await.unwrap();
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    assert!(ended.adoptions.iter().all(|it| it.reason == "it has paid"), "{ended:?}");
    assert_eq!(restored.held("finance").await.state, Desired::Active);
    restored.replica.stop().await;
}

#[tokio::test]
async fn a_verb_that_would_let_a_tenant_in_looks_first_and_can_be_taken_back() {
    let mut restored = Restored::new(&[("finance", Since::Suspended)], vec![]).await;
    // Reading, too, is more than nothing.
    let start = v1::StartMigrationRequest {
        tenant_id: "finance".into(),
        to_region: "me-south-1".into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    let moving = restored.replica.lifecycle.start_migration(start).await.unwrap().into_inner();
    assert_eq!(moving.state(), v1::OperationState::NeedsOperator, "{moving:?}");
    assert_eq!(waits_behind(&moving), [("cache", 2), ("vector-db", 2)]);
    assert_eq!(restored.held("finance").await.state, Desired::Suspended);
    let adopt = v1::RetryTargetRequest {
        operation_id: moving.operation_id.clone(),
        target: "postgres".into(),
        adopt: true,
        reason: "it has paid".into(),
        ..Default::default()
    };
    // What the two know keeps the third from letting the tenant read, until somebody says so.
    let third = |operation: &v1::Operation| {
        let step = operation.targets.iter().find(|step| step.target == "postgres").unwrap();
        (step.state(), step.last_error.clone())
    };
    let (state, said) = third(&moving);
    assert_eq!(state, v1::TargetState::Pending, "{moving:?}");
    assert!(said.contains("first decide what counts at cache, vector-db"), "{said}");
    let adopted = restored.retry(adopt.clone()).await.unwrap();
    assert_eq!((third(&adopted).0, adopted.generation), (v1::TargetState::Verified, 3), "{adopted:?}");
    assert_eq!(waits_behind(&adopted), [("cache", 2), ("vector-db", 2)]);
    assert_eq!(reason(&restored.retry(adopt).await.unwrap_err()), "TARGET_NOT_WAITING");
    // A suspension says what the targets hold, and brings all in line.
    let ended = restored.replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap().into_inner();
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    assert_eq!(restored.held("finance").await.state, Desired::Suspended);
    restored.replica.stop().await;
}

/// Its targets have removed what they had; the registry was restored to before that, and says ACTIVE.
#[tokio::test]
async fn a_tenant_that_was_purged_after_the_backup_is_brought_there_verb_by_verb() {
    let mut restored = Restored::new(&[("finance", Since::Suspended)], vec![]).await;
    let uid = restored.replica.get("finance").await.uid;
    for (_, stub) in &restored.stubs {
        stub.put(&uid, Held { state: Desired::Deleted, generation: 9 });
    }
    let repair = restored.verify("finance", false).await.operation.unwrap();
    assert_eq!(
        repair.state(),
        v1::OperationState::NeedsOperator,
        "nobody has asked for anything: {repair:?}"
    );
    assert_eq!(restored.replica.get("finance").await.access(), v1::TenantAccess::Full);
    // Each ends by itself.
    delete(&mut restored.replica, "finance").await;
    let found = restored.verify("finance", false).await.operation.unwrap();
    assert_eq!(found.state(), v1::OperationState::Succeeded, "and is in nobody's way: {found:?}");
    let step = found.targets.iter().find(|step| step.target == "cache").unwrap();
    assert_eq!(step.state(), v1::TargetState::Skipped, "{step:?}");
    assert!(step.skip_reason.contains("9 (DELETED)"), "{step:?}");
    sql(&restored.replica.database_url, PURGE_NOW).await;
    let list = v1::ListOperationsRequest { filter: "verb = PURGE".into(), ..Default::default() };
    crate::participants::until("it is purged", async || {
        let found = restored.replica.lifecycle.list_operations(list.clone()).await.unwrap().into_inner();
        found.operations.first().is_some_and(|purge| purge.state() == v1::OperationState::Succeeded)
    })
    .await;
    for (name, stub) in &restored.stubs {
        assert_eq!(stub.held(&uid).unwrap().state, Desired::Deleted, "{name}");
    }
    restored.replica.stop().await;
}

#[tokio::test]
async fn the_verifier_repairs_what_is_ahead_and_lets_nobody_in() {
    let settings =
        vec![("cascade.verify_rate", "1000".to_owned()), ("cascade.verify_interval", "1s".to_owned())];
    let tenants = [("locked", Since::Suspended), ("open", Since::Activated)];
    let mut restored = Restored::new(&tenants, settings).await;
    crate::participants::until("both are seen to", async || {
        let list = v1::ListOperationsRequest { filter: "verb = REPAIR".into(), ..Default::default() };
        let found = restored.replica.lifecycle.list_operations(list).await.unwrap().into_inner().operations;
        let of = |id: &str| found.iter().find(|it| it.tenant_id == id).map(v1::Operation::state);
        of("locked") == Some(v1::OperationState::NeedsOperator)
            && of("open") == Some(v1::OperationState::Succeeded)
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(restored.held("locked").await.state, Desired::Suspended);
    assert_eq!(restored.held("open").await.state, Desired::Suspended);
    restored.replica.stop().await;
}

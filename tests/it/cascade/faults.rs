//! Every verb, with every fault, at every target.

use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Fault, Held, Stub};
use tenantry::proto::v1;
use tonic::Code;

use super::verbs::{Clients, TARGETS, VERBS, Verb, assert_true, patiently, stubs};
use crate::support::{Replica, Setup, reason, sql};

/// Longer than anybody tries.
const NEVER_ENDS: u32 = 9_999;

const FAULTS: [Fault; 13] = [
    Fault::Failing(2),
    Fault::Failing(NEVER_ENDS),
    Fault::Flapping,
    Fault::Refusing,
    Fault::Hanging,
    Fault::Late(Duration::from_millis(100)),
    Fault::Halfway(Duration::from_millis(100)),
    Fault::Lying,
    Fault::DroppingReplies(2),
    Fault::Mute,
    Fault::Slow,
    Fault::Unseeing,
    Fault::Unnumbered,
];

/// One verb against one misbehaving target.
struct Play {
    clients: Clients,
    stubs: Vec<(&'static str, Stub)>,
    database_url: String,
    verb: Verb,
    target: usize,
    fault: Fault,
}

impl Play {
    /// Takes a tenant to where the verb starts and asks for it. Answers the tenant's uid and the operation's id.
    async fn begin(&mut self, tenant_id: &str, context: &str) -> (String, String) {
        let misbehaving = self.stubs[self.target].1.clone();
        if self.verb == Verb::Provision {
            misbehaving.set_fault(tenant_id, Some(self.fault));
            let made = self.clients.create(tenant_id).await;
            return (made.uid, made.operation_id);
        }
        let before = self.clients.tenant_before(tenant_id, self.verb).await;
        assert_eq!(before.status(), self.verb.from().0, "{context}");
        misbehaving.set_fault(&before.uid, Some(self.fault));
        let operation_id = match self.verb {
            Verb::Purge => self.purge(tenant_id).await,
            Verb::Repair => self.repair(tenant_id, &before.uid).await,
            verb => verb.ask(&mut self.clients, tenant_id, 0).await.unwrap().operation_id,
        };
        (before.uid, operation_id)
    }

    async fn purge(&mut self, tenant_id: &str) -> String {
        let due = format!(
            "WITH head AS (UPDATE log_head SET revision = revision + 1 RETURNING revision)
             UPDATE tenant SET purge_time = now() - interval '1 second', revision = head.revision FROM head
             WHERE tenant_id = '{tenant_id}'"
        );
        sql(&self.database_url, &due).await;
        self.opened(tenant_id, "PURGE").await
    }

    /// Another target than the misbehaving one drifts, so that it is seen; the repair reaches them all.
    async fn repair(&mut self, tenant_id: &str, uid: &str) -> String {
        let drifting = &self.stubs[(self.target + 1) % self.stubs.len()].1;
        drifting.put(uid, Held { state: Desired::Suspended, ..drifting.held(uid).unwrap() });
        let request = v1::VerifyTenantRequest {
            tenant_id: tenant_id.to_owned(),
            drift: v1::DriftPolicy::Repair.into(),
            ..Default::default()
        };
        patiently(|| {
            let (mut lifecycle, request) = (self.clients.lifecycle.clone(), request.clone());
            async move {
                match lifecycle.verify_tenant(request).await {
                    // It was opened by a call whose answer did not come.
                    Err(status) if reason(&status) == "OPERATION_IN_PROGRESS" => Ok(tonic::Response::new(())),
                    answer => answer.map(|_| tonic::Response::new(())),
                }
            }
        })
        .await;
        self.opened(tenant_id, "REPAIR").await
    }

    /// The tenant's operation of a verb that is not asked for by itself, once there is one.
    async fn opened(&mut self, tenant_id: &str, verb: &str) -> String {
        let request = v1::ListOperationsRequest {
            tenant_id: tenant_id.to_owned(),
            filter: format!("verb = {verb}"),
            ..Default::default()
        };
        loop {
            let listed = patiently(|| {
                let (mut lifecycle, request) = (self.clients.lifecycle.clone(), request.clone());
                async move { lifecycle.list_operations(request).await }
            })
            .await;
            if let Some(operation) = listed.operations.into_iter().next() {
                return operation.operation_id;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Plays it and checks the end against what is true.
    async fn play(mut self) {
        let Self { verb, fault, .. } = self;
        let context = format!("{verb:?} with {fault:?} at {}", self.stubs[self.target].0);
        let tenant_id =
            format!("t-{}", context.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
        let tenant_id = tenant_id.chars().take(60).collect::<String>().trim_end_matches('-').to_owned();
        let (uid, operation_id) = self.begin(&tenant_id, &context).await;
        if verb.locks() {
            let access = self.clients.get(&tenant_id).await.access();
            assert_eq!(access, v1::TenantAccess::None, "{context}: denied from the start");
        }
        let ended = loop {
            if let Some(tenant) = self.clients.find(&tenant_id).await {
                assert_true(&tenant, &self.stubs, &context);
            }
            let operation = self.clients.operation(&operation_id).await;
            if !matches!(operation.state(), v1::OperationState::Running | v1::OperationState::Reverting) {
                break operation;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let tenant = self.clients.find(&tenant_id).await;
        let status = tenant.as_ref().map(v1::Tenant::status);
        if let Some(tenant) = &tenant {
            assert_true(tenant, &self.stubs, &context);
        }
        let held: Vec<Option<Desired>> =
            self.stubs.iter().map(|(_, stub)| stub.held(&uid).map(|held| held.state)).collect();
        let all = |wanted: Desired| held.iter().all(|state| *state == Some(wanted));
        match ended.state() {
            v1::OperationState::Succeeded => {
                // With the end of its purge the tenant is gone.
                assert_eq!(status, Some(verb.to().0).filter(|_| verb != Verb::Purge), "{context}");
                // A stub that answers without looking cannot be found out by asking it.
                assert!(fault == Fault::Unseeing || all(verb.to().1), "{context}: {held:?}");
            }
            v1::OperationState::Failed => {
                assert!(verb.opens(), "{context}: towards less access nothing turns back");
                assert_eq!(status, Some(verb.from().0), "{context}");
                assert!(all(verb.from().1), "{context}: {held:?}");
            }
            v1::OperationState::NeedsOperator => {
                assert_eq!(status, Some(verb.from().0), "{context}");
                assert!(!ended.error.is_empty(), "{context}");
            }
            other => panic!("{context}: ended as {other:?}"),
        }
        let must_succeed = match fault {
            Fault::Failing(NEVER_ENDS)
            | Fault::Refusing
            | Fault::Hanging
            | Fault::Lying
            | Fault::Unnumbered => false,
            Fault::Failing(_)
            | Fault::DroppingReplies(_)
            | Fault::Late(_)
            | Fault::Mute
            | Fault::Slow
            | Fault::Halfway(_)
            | Fault::Flapping
            | Fault::Unseeing => true,
        };
        assert_eq!(must_succeed, ended.state() == v1::OperationState::Succeeded, "{context}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_ends_in_a_true_state_whatever_any_target_does() {
    let stubs = stubs(Duration::from_millis(1)).await;
    // What each operation does is the question, not what many that fail at once do to a target.
    let settings = vec![
        ("cascade.circuit_failures", "100000".to_owned()),
        // A fault that passes must pass within the attempts there are, also while this machine does other things.
        ("cascade.apply_deadline", "2s".to_owned()),
    ];
    let setup = Setup { stubs: stubs.clone(), settings, ..Setup::default() };
    let replica = Replica::start(&setup).await;
    // So many at once that a machine that does other things as well answers in time.
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(48));
    let mut plays = tokio::task::JoinSet::new();
    for verb in VERBS {
        for fault in FAULTS {
            for target in 0..TARGETS.len() {
                let play = Play {
                    clients: Clients::of(&replica),
                    stubs: stubs.clone(),
                    database_url: replica.database_url.clone(),
                    verb,
                    target,
                    fault,
                };
                let places = std::sync::Arc::clone(&places);
                plays.spawn(async move {
                    let _place = places.acquire_owned().await.unwrap();
                    Box::pin(play.play()).await;
                });
            }
        }
    }
    while let Some(played) = plays.join_next().await {
        played.unwrap();
    }
    replica.holds_what_the_tables_say(&setup).await;
    replica.stop().await;
}

#[tokio::test]
async fn an_activation_takes_over_from_a_hanging_suspension() {
    let stubs = stubs(Duration::ZERO).await;
    let mut replica = Replica::start(&Setup { stubs: stubs.clone(), ..Setup::default() }).await;
    let tenant = replica.tenant("finance").await;
    let mut clients = Clients::of(&replica);
    stubs[0].1.set_fault(&tenant.uid, Some(Fault::Hanging));
    let suspending = Verb::Suspend.ask(&mut clients, "finance", 0).await.unwrap();
    let error = Verb::StartMigration.ask(&mut clients, "finance", 0).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::Aborted, "OPERATION_IN_PROGRESS"));
    stubs[0].1.set_fault(&tenant.uid, None);
    let activating = Verb::Activate.ask(&mut clients, "finance", 20).await.unwrap();
    assert_eq!(activating.state(), v1::OperationState::Succeeded, "{activating:?}");
    assert_eq!(clients.operation(&suspending.operation_id).await.state(), v1::OperationState::Superseded);
    let tenant = replica.get("finance").await;
    assert_eq!((tenant.status(), tenant.access()), (v1::TenantStatus::Active, v1::TenantAccess::Full));
    for (name, stub) in &stubs {
        assert_eq!(stub.held(&tenant.uid).unwrap().state, Desired::Active, "{name}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn the_same_verb_again_starts_afresh_once_an_operator_is_needed() {
    let stubs = stubs(Duration::ZERO).await;
    let mut replica = Replica::start(&Setup { stubs: stubs.clone(), ..Setup::default() }).await;
    let tenant = replica.tenant("finance").await;
    let mut clients = Clients::of(&replica);
    stubs[1].1.set_fault(&tenant.uid, Some(Fault::Refusing));
    let stuck = Verb::Suspend.ask(&mut clients, "finance", 20).await.unwrap();
    assert_eq!(stuck.state(), v1::OperationState::NeedsOperator);
    assert_eq!(replica.get("finance").await.access(), v1::TenantAccess::None);
    stubs[1].1.set_fault(&tenant.uid, None);
    let again = Verb::Suspend.ask(&mut clients, "finance", 20).await.unwrap();
    assert_eq!(again.state(), v1::OperationState::Succeeded, "{again:?}");
    assert_eq!(replica.get("finance").await.status(), v1::TenantStatus::Suspended);
    replica.stop().await;
}

#[tokio::test]
async fn a_plan_changes_nothing() {
    let mut replica = Replica::start(&Setup::default()).await;
    let before = replica.tenant("finance").await;
    let request =
        v1::SuspendTenantRequest { tenant_id: "finance".into(), validate_only: true, ..Default::default() };
    let plan = replica.lifecycle.suspend_tenant(request).await.unwrap().into_inner();
    assert_eq!((plan.targets.len(), plan.to_status()), (1, v1::TenantStatus::Suspended));
    assert_eq!(replica.get("finance").await, before);
    replica.stop().await;
}

#[tokio::test]
async fn another_replica_takes_over_what_one_left() {
    let stubs = stubs(Duration::ZERO).await;
    let setup = Setup { stubs: stubs.clone(), ..Setup::default() };
    let mut first = Replica::start(&setup).await;
    let tenant = first.tenant("finance").await;
    let second = Replica::on(&first.database_url, &setup).await;
    stubs[2].1.set_fault(&tenant.uid, Some(Fault::Hanging));
    let operation = Verb::Suspend.ask(&mut Clients::of(&first), "finance", 0).await.unwrap();
    first.stop().await;
    stubs[2].1.set_fault(&tenant.uid, None);
    let mut clients = Clients::of(&second);
    let ended = clients.ended(&operation.operation_id).await;
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    assert_true(&clients.get("finance").await, &stubs, "taken over");
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_that_hang_for_many_tenants_hold_up_nobody_else() {
    let stubs = stubs(Duration::from_millis(1)).await;
    // The circuit opens for those that hang, and pauses as long as it does by default: the healthy one passes.
    let settings =
        vec![("cascade.max_attempts", "1000".to_owned()), ("cascade.circuit_cooldown", "1s".to_owned())];
    let mut replica = Replica::start(&Setup { stubs: stubs.clone(), settings, ..Setup::default() }).await;
    let mut hanging = Vec::new();
    for number in 0..64 {
        hanging.push(replica.tenant(&format!("hanging{number}")).await);
    }
    replica.tenant("healthy").await;
    let mut clients = Clients::of(&replica);
    let mut operations = Vec::new();
    for tenant in &hanging {
        stubs[0].1.set_fault(&tenant.uid, Some(Fault::Hanging));
        operations.push(Verb::Suspend.ask(&mut clients, &tenant.tenant_id, 0).await.unwrap());
    }
    for _ in 0..5 {
        for verb in [Verb::Suspend, Verb::Activate] {
            let operation = verb.ask(&mut clients, "healthy", 10).await.unwrap();
            assert_eq!(operation.state(), v1::OperationState::Succeeded, "{operation:?}");
        }
    }
    for operation in &operations {
        let operation = clients.operation(&operation.operation_id).await;
        assert_eq!(operation.state(), v1::OperationState::Running, "it still hangs, and is not given up");
        let done = operation.targets.iter().filter(|step| step.state() == v1::TargetState::Verified).count();
        assert_eq!(done, TARGETS.len(), "all but the hanging one: {operation:?}");
    }
    for tenant in &hanging {
        stubs[0].1.set_fault(&tenant.uid, None);
    }
    for operation in &operations {
        let ended = clients.ended(&operation.operation_id).await;
        assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    }
    replica.stop().await;
}

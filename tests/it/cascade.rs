//! The cascade engine: every verb, at every target, with every way to misbehave.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Fault, Stub};
use tenantry::proto::v1;
use tonic::Code;

use crate::support::{Replica, Setup, new_tenant, program, reason};

const TARGETS: [&str; 4] = ["cache", "monitoring", "object-store", "vector-db"];

async fn stubs(latency: Duration) -> Vec<(&'static str, Stub)> {
    let mut stubs = Vec::new();
    for name in TARGETS {
        stubs.push((name, Stub::start(latency).await.unwrap()));
    }
    stubs
}

/// The verbs, and the states around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Suspend,
    Activate,
    StartMigration,
    FinishMigration,
    Archive,
    Delete,
    Undelete,
}

const VERBS: [Verb; 7] = [
    Verb::Suspend,
    Verb::Activate,
    Verb::StartMigration,
    Verb::FinishMigration,
    Verb::Archive,
    Verb::Delete,
    Verb::Undelete,
];

impl Verb {
    /// The verbs that lead an active tenant to where this one starts.
    fn before(self) -> &'static [Self] {
        match self {
            Self::Suspend | Self::StartMigration => &[],
            Self::Activate | Self::Archive => &[Self::Suspend],
            Self::FinishMigration => &[Self::StartMigration],
            Self::Delete => &[Self::Suspend, Self::Archive],
            Self::Undelete => &[Self::Suspend, Self::Archive, Self::Delete],
        }
    }

    fn from(self) -> (v1::TenantStatus, Desired) {
        match self {
            Self::Suspend | Self::StartMigration => (v1::TenantStatus::Active, Desired::Active),
            Self::Activate | Self::Archive => (v1::TenantStatus::Suspended, Desired::Suspended),
            Self::FinishMigration => (v1::TenantStatus::Migrating, Desired::ReadOnly),
            Self::Delete => (v1::TenantStatus::Archived, Desired::Archived),
            Self::Undelete => (v1::TenantStatus::Deleted, Desired::Deleted),
        }
    }

    fn to(self) -> (v1::TenantStatus, Desired) {
        match self {
            Self::Suspend => (v1::TenantStatus::Suspended, Desired::Suspended),
            Self::Activate | Self::FinishMigration => (v1::TenantStatus::Active, Desired::Active),
            Self::StartMigration => (v1::TenantStatus::Migrating, Desired::ReadOnly),
            Self::Archive | Self::Undelete => (v1::TenantStatus::Archived, Desired::Archived),
            Self::Delete => (v1::TenantStatus::Deleted, Desired::Deleted),
        }
    }

    fn opens(self) -> bool {
        matches!(self, Self::Activate | Self::FinishMigration | Self::Undelete)
    }

    async fn ask(
        self,
        replica: &mut Clients,
        tenant_id: &str,
        seconds: i64,
    ) -> Result<v1::Operation, tonic::Status> {
        let wait = Some(prost_types::Duration { seconds, nanos: 0 });
        let tenant_id = tenant_id.to_owned();
        let client = &mut replica.lifecycle;
        let answer = match self {
            Self::Suspend => {
                client
                    .suspend_tenant(v1::SuspendTenantRequest { tenant_id, wait, ..Default::default() })
                    .await
            }
            Self::Activate => {
                client
                    .activate_tenant(v1::ActivateTenantRequest { tenant_id, wait, ..Default::default() })
                    .await
            }
            Self::StartMigration => {
                client
                    .start_migration(v1::StartMigrationRequest { tenant_id, wait, ..Default::default() })
                    .await
            }
            Self::FinishMigration => {
                client
                    .finish_migration(v1::FinishMigrationRequest { tenant_id, wait, ..Default::default() })
                    .await
            }
            Self::Archive => {
                client
                    .archive_tenant(v1::ArchiveTenantRequest { tenant_id, wait, ..Default::default() })
                    .await
            }
            Self::Delete => {
                client.delete_tenant(v1::DeleteTenantRequest { tenant_id, wait, ..Default::default() }).await
            }
            Self::Undelete => {
                client
                    .undelete_tenant(v1::UndeleteTenantRequest { tenant_id, wait, ..Default::default() })
                    .await
            }
        };
        answer.map(tonic::Response::into_inner)
    }
}

/// Clients that a task can take with it.
#[derive(Clone)]
struct Clients {
    tenants: v1::tenant_registry_client::TenantRegistryClient<tonic::transport::Channel>,
    lifecycle: v1::lifecycle_client::LifecycleClient<tonic::transport::Channel>,
}

impl Clients {
    fn of(replica: &Replica) -> Self {
        Self { tenants: replica.tenants.clone(), lifecycle: replica.lifecycle.clone() }
    }

    async fn get(&mut self, tenant_id: &str) -> v1::Tenant {
        let mut request = tonic::Request::new(v1::GetTenantRequest { tenant_id: tenant_id.to_owned() });
        request.metadata_mut().insert("tenantry-consistency", "latest".parse().unwrap());
        self.tenants.get_tenant(request).await.unwrap().into_inner()
    }

    async fn operation(&mut self, operation_id: &str) -> v1::Operation {
        let mut request =
            tonic::Request::new(v1::GetOperationRequest { operation_id: operation_id.to_owned() });
        // It may have been opened on another replica.
        request.metadata_mut().insert("tenantry-consistency", "latest".parse().unwrap());
        self.lifecycle.get_operation(request).await.unwrap().into_inner()
    }

    /// Waits until the engine has nothing more to do.
    async fn ended(&mut self, operation_id: &str) -> v1::Operation {
        for _ in 0..6_000 {
            let operation = self.operation(operation_id).await;
            if !matches!(operation.state(), v1::OperationState::Running | v1::OperationState::Reverting) {
                return operation;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the operation does not end: {:?}", self.operation(operation_id).await);
    }

    /// A tenant that is where the verb starts.
    async fn tenant_before(&mut self, tenant_id: &str, verb: Verb) -> v1::Tenant {
        let request = v1::CreateTenantRequest { tenant: Some(new_tenant(tenant_id)), ..Default::default() };
        let made = self.tenants.create_tenant(request).await.unwrap().into_inner();
        self.ended(&made.operation_id).await;
        for step in verb.before() {
            let operation = step.ask(self, tenant_id, 20).await.unwrap();
            assert_eq!(operation.state(), v1::OperationState::Succeeded, "{operation:?}");
        }
        self.get(tenant_id).await
    }
}

/// Nothing that a tenant is said to be may be untrue in a target, and no effect may be there twice.
fn assert_true(tenant: &v1::Tenant, stubs: &[(&str, Stub)], context: &str) {
    for (name, stub) in stubs {
        let held = stub.held(&tenant.uid);
        let lets_in = held.is_some_and(|held| matches!(held.state, Desired::Active | Desired::ReadOnly));
        let locked = matches!(
            tenant.status(),
            v1::TenantStatus::Suspended | v1::TenantStatus::Archived | v1::TenantStatus::Deleted
        );
        // On the way up it is still said to be locked while targets open one by one: then an operation says so.
        if locked && tenant.pending_status() == v1::TenantStatus::Unspecified {
            assert!(!lets_in, "{context}: {name} lets in a tenant that is {:?}: {held:?}", tenant.status());
        }
        let effects = stub.effects(&tenant.uid);
        for pair in effects.windows(2) {
            assert!(
                pair[0].generation < pair[1].generation,
                "{context}: {name} did something twice: {effects:?}"
            );
        }
    }
}

/// Plays one verb against one misbehaving target and checks the end against what is true.
async fn play(
    mut clients: Clients,
    stubs: Vec<(&'static str, Stub)>,
    verb: Verb,
    target: usize,
    fault: Fault,
) {
    let context = format!("{verb:?} with {fault:?} at {}", stubs[target].0);
    let tenant_id =
        format!("t-{}", context.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
    let tenant_id =
        tenant_id.trim_end_matches('-').chars().take(60).collect::<String>().trim_end_matches('-').to_owned();
    let before = clients.tenant_before(&tenant_id, verb).await;
    assert_eq!(before.status(), verb.from().0, "{context}");
    stubs[target].1.set_fault(&before.uid, Some(fault));
    let started = verb.ask(&mut clients, &tenant_id, 0).await.unwrap();
    if !verb.opens() && verb != Verb::StartMigration {
        assert_eq!(
            clients.get(&tenant_id).await.access(),
            v1::TenantAccess::None,
            "{context}: denied from the start"
        );
    }
    let ended = loop {
        let tenant = clients.get(&tenant_id).await;
        assert_true(&tenant, &stubs, &context);
        let operation = clients.operation(&started.operation_id).await;
        if !matches!(operation.state(), v1::OperationState::Running | v1::OperationState::Reverting) {
            break operation;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let tenant = clients.get(&tenant_id).await;
    assert_true(&tenant, &stubs, &context);
    let held: Vec<Desired> = stubs.iter().map(|(_, stub)| stub.held(&tenant.uid).unwrap().state).collect();
    match ended.state() {
        v1::OperationState::Succeeded => {
            assert_eq!(tenant.status(), verb.to().0, "{context}");
            // A stub that answers without looking cannot be found out by asking it.
            if fault != Fault::Unseeing {
                assert!(held.iter().all(|state| *state == verb.to().1), "{context}: {held:?}");
            }
        }
        v1::OperationState::Failed => {
            assert!(verb.opens(), "{context}: towards less access nothing turns back");
            assert_eq!(tenant.status(), verb.from().0, "{context}");
            assert!(held.iter().all(|state| *state == verb.from().1), "{context}: {held:?}");
        }
        v1::OperationState::NeedsOperator => {
            assert_eq!(tenant.status(), verb.from().0, "{context}");
            assert!(!ended.error.is_empty(), "{context}");
        }
        other => panic!("{context}: ended as {other:?}"),
    }
    let must_succeed =
        matches!(fault, Fault::Failing(_) | Fault::DroppingReplies(_) | Fault::Late(_) | Fault::Unseeing);
    assert_eq!(must_succeed, ended.state() == v1::OperationState::Succeeded, "{context}: {ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_ends_in_a_true_state_whatever_a_target_does() {
    let stubs = stubs(Duration::from_millis(1)).await;
    let replica = Replica::start(&Setup { stubs: stubs.clone(), ..Setup::default() }).await;
    let faults = [
        Fault::Failing(2),
        Fault::Refusing,
        Fault::Hanging,
        Fault::Late(Duration::from_millis(100)),
        Fault::Lying,
        Fault::DroppingReplies(2),
        Fault::Unseeing,
    ];
    let mut plays = tokio::task::JoinSet::new();
    for (v, verb) in VERBS.into_iter().enumerate() {
        for (f, fault) in faults.into_iter().enumerate() {
            // Every pair of verb and fault at one target, so that over all pairs each target has every fault.
            plays.spawn(play(Clients::of(&replica), stubs.clone(), verb, (v + f) % TARGETS.len(), fault));
        }
    }
    for target in 0..TARGETS.len() {
        for fault in [Fault::Refusing, Fault::Hanging, Fault::Lying] {
            if !(0..VERBS.len()).any(|v| {
                (v + faults.iter().position(|f| *f == fault).unwrap()) % TARGETS.len() == target
                    && VERBS[v] == Verb::Suspend
            }) {
                plays.spawn(play(Clients::of(&replica), stubs.clone(), Verb::Suspend, target, fault));
            }
        }
    }
    while let Some(played) = plays.join_next().await {
        played.unwrap();
    }
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

/// The real program, serving on a database.
struct Process {
    child: Child,
    grpc: String,
}

impl Process {
    fn serve(database_url: &str, stubs: &[(&str, Stub)]) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let grpc = format!("127.0.0.1:{port}");
        let mut command = Command::new(program());
        command.args([
            "serve",
            "--insecure-no-auth",
            "--database-url",
            database_url,
            "--http-listen",
            "127.0.0.1:0",
        ]);
        command.args(["--grpc-listen", &grpc, "--cascade-lease", "1s", "--cascade-apply-deadline", "500ms"]);
        command.args(["--participants", "postgres=postgres"]);
        for (name, stub) in stubs {
            command.args(["--participants", &format!("{name}={}", stub.endpoint())]);
        }
        let log = std::fs::File::create(log_path(port)).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { child, grpc }
    }

    async fn clients(&self) -> Clients {
        for _ in 0..400 {
            let endpoint = tonic::transport::Channel::from_shared(format!("http://{}", self.grpc)).unwrap();
            if let Ok(channel) = endpoint.connect().await {
                let mut tenants = v1::tenant_registry_client::TenantRegistryClient::new(channel.clone());
                if tenants.get_statistics(v1::GetStatisticsRequest {}).await.is_ok() {
                    return Clients {
                        tenants,
                        lifecycle: v1::lifecycle_client::LifecycleClient::new(channel),
                    };
                }
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the program does not serve");
    }

    fn kill(mut self) {
        // SIGKILL: it has no chance to put anything in order.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn log_path(port: u16) -> PathBuf {
    std::env::temp_dir().join(format!("tenantry-test-{port}.log"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_of_a_cascade_it_goes_on_where_it_was() {
    let stubs = stubs(Duration::from_millis(5)).await;
    let setup = Setup { stubs: stubs.clone(), ..Setup::default() };
    let replica = Replica::start(&setup).await;
    let url = replica.database_url.clone();
    replica.stop().await;
    for (number, pause_ms) in [0, 3, 8, 15, 40].into_iter().enumerate() {
        for verb in [Verb::Suspend, Verb::Activate] {
            let context = format!("{verb:?}, killed after {pause_ms} ms");
            let tenant_id = format!("t{number}-{}", format!("{verb:?}").to_lowercase());
            let process = Process::serve(&url, &stubs);
            let mut clients = process.clients().await;
            let tenant = clients.tenant_before(&tenant_id, verb).await;
            stubs[3].1.set_fault(&tenant.uid, Some(Fault::DroppingReplies(1)));
            let operation = verb.ask(&mut clients, &tenant_id, 0).await.unwrap();
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            process.kill();
            let process = Process::serve(&url, &stubs);
            let mut clients = process.clients().await;
            let ended = clients.ended(&operation.operation_id).await;
            assert_eq!(ended.state(), v1::OperationState::Succeeded, "{context}: {ended:?}");
            let tenant = clients.get(&tenant_id).await;
            assert_eq!(tenant.status(), verb.to().0, "{context}");
            assert_true(&tenant, &stubs, &context);
            for (name, stub) in &stubs {
                assert_eq!(stub.held(&tenant.uid).unwrap().state, verb.to().1, "{context}: {name}");
            }
            process.kill();
        }
    }
}

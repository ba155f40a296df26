//! The real program, killed and paused.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Fault, Stub};
use tenantry::proto::v1;

use super::verbs::{Clients, Verb, assert_true, stubs};
use crate::support::{Replica, Setup, program};

/// The real program, serving on a database.
pub(super) struct Process {
    child: Child,
    pub(super) grpc: String,
}

impl Process {
    pub(super) fn serve(database_url: &str, stubs: &[(&str, Stub)]) -> Self {
        Self::serve_at(database_url, stubs, None, &[])
    }

    /// Serves with a clock that is wrong by so much, for example `+1h`, and further arguments.
    pub(super) fn serve_at(
        database_url: &str,
        stubs: &[(&str, Stub)],
        clock: Option<&str>,
        more: &[&str],
    ) -> Self {
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
        command.args(more);
        for (name, stub) in stubs {
            command.args(["--participants", &format!("{name}={}", stub.endpoint())]);
        }
        if let Some(clock) = clock {
            // The wall clock alone: timers go on as they do on a machine whose clock was set wrongly.
            command.env("LD_PRELOAD", libfaketime()).env("FAKETIME", clock).env("DONT_FAKE_MONOTONIC", "1");
        }
        let log = std::fs::File::create(log_path(port)).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { child, grpc }
    }

    pub(super) async fn clients(&self) -> Clients {
        for _ in 0..400 {
            let endpoint = tonic::transport::Channel::from_shared(format!("http://{}", self.grpc)).unwrap();
            if let Ok(channel) = endpoint.connect().await {
                let mut tenants = v1::tenant_registry_client::TenantRegistryClient::new(channel.clone());
                if tenants.get_statistics(v1::GetStatisticsRequest {}).await.is_ok() {
                    return Clients::over(channel);
                }
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the program does not serve");
    }

    /// Stops it in its tracks, as a machine under pressure does, or lets it go on.
    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    fn kill(mut self) {
        // SIGKILL: it has no chance to put anything in order.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn libfaketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap();
    folders
        .map(|folder| folder.unwrap().path().join("faketime/libfaketime.so.1"))
        .find(|library| library.exists())
        .expect("libfaketime is installed by `make setup`")
}

impl Process {
    /// As [`kill`](Self::kill), and its log is of no interest.
    pub(super) fn kill_and_forget(self) {
        let log = self.log_path();
        self.kill();
        let _ = std::fs::remove_file(log);
    }

    fn log_path(&self) -> PathBuf {
        log_path(self.grpc.rsplit(':').next().unwrap().parse().unwrap())
    }

    /// What it has said so far.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap()
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
            stubs[2].1.set_fault(&tenant.uid, Some(Fault::Halfway(Duration::from_millis(30))));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_owner_that_wakes_with_an_old_lease_changes_nothing_any_more() {
    let stubs = stubs(Duration::from_millis(5)).await;
    let replica = Replica::start(&Setup { stubs: stubs.clone(), ..Setup::default() }).await;
    let url = replica.database_url.clone();
    replica.stop().await;
    let paused = Process::serve(&url, &stubs);
    let mut clients = paused.clients().await;
    let tenant = clients.tenant_before("finance", Verb::Suspend).await;
    stubs[0].1.set_fault(&tenant.uid, Some(Fault::Failing(1_000)));
    let suspending = Verb::Suspend.ask(&mut clients, "finance", 0).await.unwrap();
    paused.signal("-STOP");
    let awake = Process::serve(&url, &stubs);
    let mut clients = awake.clients().await;
    stubs[0].1.set_fault(&tenant.uid, None);
    let ended = clients.ended(&suspending.operation_id).await;
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "taken over: {ended:?}");
    let log = awake.log();
    let line = log.lines().find(|line| line.contains("took an operation over")).unwrap_or(&log);
    assert!(line.contains("finance") && line.contains(&suspending.operation_id), "{line}");
    let activated = Verb::Activate.ask(&mut clients, "finance", 20).await.unwrap();
    assert_eq!(activated.state(), v1::OperationState::Succeeded, "{activated:?}");
    // The first still has the suspension before it, and a lease that ended long ago.
    paused.signal("-CONT");
    for _ in 0..30 {
        let tenant = clients.get("finance").await;
        assert_eq!((tenant.status(), tenant.access()), (v1::TenantStatus::Active, v1::TenantAccess::Full));
        assert_true(&tenant, &stubs, "after it woke");
        for (name, stub) in &stubs {
            assert_eq!(
                stub.held(&tenant.uid).unwrap().state,
                Desired::Active,
                "{name} goes back to nothing older"
            );
        }
        assert_eq!(clients.operation(&activated.operation_id).await, activated);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut woken = paused.clients().await;
    assert_eq!(woken.get("finance").await, clients.get("finance").await, "it sees what became of it");
    let again = Verb::Suspend.ask(&mut woken, "finance", 20).await.unwrap();
    assert_eq!(again.state(), v1::OperationState::Succeeded, "and can be used again: {again:?}");
    paused.kill();
    awake.kill();
}

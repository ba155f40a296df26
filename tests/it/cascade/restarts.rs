//! PostgreSQL itself stopped and started again in the middle of cascades.

use std::path::Path;
use std::time::Duration;

use tenantry::app::dev_postgres::{Options, PrivatePostgres};
use tenantry::proto::v1;

use super::verbs::{Clients, Verb, assert_true, patiently, stubs};
use crate::support::{Replica, Setup};

const TENANTS: usize = 12;

/// How the database goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// It ends every session and writes everything to disk.
    Fast,
    /// It drops everything where it stands, and recovers from its log when it is started again.
    Immediate,
}

/// One that writes to disk as a real one does, on the port that it first had.
async fn start(data_dir: &Path, port: Option<u16>) -> PrivatePostgres {
    let options = Options { port, ..Options::kept_in(data_dir) };
    tokio::task::spawn_blocking(move || PrivatePostgres::start(&options).expect("PostgreSQL starts"))
        .await
        .unwrap()
}

async fn stop(postgres: PrivatePostgres, mode: Mode) {
    if mode == Mode::Immediate {
        let pid_path = postgres.data_dir().join("postgres/postmaster.pid");
        let text = std::fs::read_to_string(pid_path).unwrap();
        let pid = text.lines().next().unwrap().trim().to_owned();
        assert!(std::process::Command::new("kill").args(["-QUIT", &pid]).status().unwrap().success());
        while postgres.is_running() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    tokio::task::spawn_blocking(move || postgres.stop().expect("it stops")).await.unwrap();
}

/// Asks of every tenant at once, each under a request id of its own, for as long as it takes to be told of an
/// operation.
fn ask(clients: &Clients, verb: Verb) -> tokio::task::JoinSet<(String, v1::Operation)> {
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..TENANTS {
        let mut clients = clients.clone();
        asked.spawn(async move {
            let tenant_id = format!("t{number}");
            let operation = verb.ask(&mut clients, &tenant_id, 0).await.unwrap();
            (tenant_id, operation)
        });
    }
    asked
}

async fn restart_in_the_middle(mode: Mode) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let data_dir = folder.path().join("database");
    let mut postgres = start(&data_dir, None).await;
    let (url, port) = (postgres.url(), postgres.port());
    let stubs = stubs(Duration::from_millis(20)).await;
    // The outage is no fault of the targets', and longer than four attempts of the one in the database itself.
    let settings =
        vec![("cascade.max_attempts", "1000".to_owned()), ("cascade.apply_deadline", "3s".to_owned())];
    let mut replica = Replica::on(&url, &Setup { stubs: stubs.clone(), settings, ..Setup::default() }).await;
    replica.seed_tiers().await;
    let mut clients = Clients::of(&replica);
    for number in 0..TENANTS {
        clients.tenant_before(&format!("t{number}"), Verb::Suspend).await;
    }
    for (round, pause_ms) in [0, 10, 25, 60].into_iter().enumerate() {
        let verb = [Verb::Suspend, Verb::Activate][round % 2];
        let context = format!("{mode:?}, {verb:?}, after {pause_ms} ms");
        let mut asked = ask(&clients, verb);
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        stop(postgres, mode).await;
        // Reads go on from memory.
        let read = replica.get("t0").await;
        assert_true(&read, &stubs, &context);
        tokio::time::sleep(Duration::from_millis(300)).await;
        postgres = start(&data_dir, Some(port)).await;
        let mut operations = Vec::new();
        while let Some(answered) = asked.join_next().await {
            operations.push(answered.unwrap());
        }
        for (tenant_id, operation) in operations {
            let ended = clients.ended(&operation.operation_id).await;
            assert_eq!(ended.state(), v1::OperationState::Succeeded, "{context}: {ended:?}");
            let tenant = clients.get(&tenant_id).await;
            assert_eq!(tenant.status(), verb.to().0, "{context}");
            assert_true(&tenant, &stubs, &context);
            for (name, stub) in &stubs {
                assert_eq!(stub.held(&tenant.uid).unwrap().state, verb.to().1, "{context}: {name}");
                // The provisioning, and one for each verb so far.
                assert_eq!(stub.effects(&tenant.uid).len(), round + 2, "{context}: {name} did it once");
            }
        }
    }
    let request = v1::ListOperationsRequest { page_size: 1, ..Default::default() };
    let all = patiently(|| {
        let (mut lifecycle, request) = (clients.lifecycle.clone(), request.clone());
        async move { lifecycle.list_operations(request).await }
    })
    .await;
    assert_eq!(usize::try_from(all.total_size).unwrap(), TENANTS * 5, "{mode:?}: each was begun once");
    replica.stop().await;
    stop(postgres, Mode::Fast).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_shut_down_in_the_middle_of_cascades_loses_and_doubles_nothing() {
    Box::pin(restart_in_the_middle(Mode::Fast)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_crashes_in_the_middle_of_cascades_loses_and_doubles_nothing() {
    Box::pin(restart_in_the_middle(Mode::Immediate)).await;
}

//! Replicas whose clocks are wrong: leases and schedules go by the database's.

use std::time::Duration;

use tenantry::app::dev_servers::alertmanager::{Alertmanager, Options};
use tenantry::participants::stub::Fault;
use tenantry::proto::v1;

use super::processes::Process;
use super::verbs::{Clients, Verb, assert_true, stubs};
use crate::participants::blocking;
use crate::support::{Replica, Setup};

async fn lease(database_url: &str, operation_id: &str) -> (uuid::Uuid, i64) {
    let (client, connection) = tokio_postgres::connect(database_url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let id: uuid::Uuid = operation_id.parse().unwrap();
    let sql = "SELECT owner, epoch FROM operation_lease WHERE operation_id = $1";
    let row = client.query_one(sql, &[&id]).await.unwrap();
    (row.get(0), row.get(1))
}

/// Whether a time that a replica wrote is that of the database, whose clock is this machine's.
fn assert_is_now(written: prost_types::Timestamp, what: &str) {
    let off =
        std::time::SystemTime::try_from(written).unwrap().elapsed().unwrap_or_else(|ahead| ahead.duration());
    assert!(off < Duration::from_mins(1), "{what}: {written:?} is {off:?} off");
}

async fn schedule(clients: &mut Clients, tenant_id: &str, seconds: u64) -> v1::Operation {
    let at = std::time::SystemTime::now() + Duration::from_secs(seconds);
    let request =
        v1::SuspendTenantRequest { tenant_id: tenant_id.into(), at: Some(at.into()), ..Default::default() };
    clients.lifecycle.suspend_tenant(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_are_an_hour_apart_move_no_lease_and_no_schedule() {
    let stubs = stubs(Duration::from_millis(1)).await;
    let replica = Replica::start(&Setup { stubs: stubs.clone(), ..Setup::default() }).await;
    let url = replica.database_url.clone();
    replica.stop().await;
    let behind = Process::serve_at(&url, &stubs, Some("-1h"), &[]);
    let ahead = Process::serve_at(&url, &stubs, Some("+1h"), &[]);
    let (mut at_behind, mut at_ahead) = (behind.clients().await, ahead.clients().await);
    for (mine, other, name) in [(true, false, "behind"), (false, true, "ahead")] {
        assert_ne!(mine, other);
        let clients = if mine { &mut at_behind } else { &mut at_ahead };
        let tenant = clients.tenant_before(name, Verb::Suspend).await;
        assert_is_now(tenant.create_time.unwrap(), name);
        // It drives an operation that does not end, for several times the length of a lease.
        stubs[0].1.set_fault(&tenant.uid, Some(Fault::Failing(u32::MAX)));
        let operation = Verb::Suspend.ask(clients, name, 0).await.unwrap();
        let first = lease(&url, &operation.operation_id).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(lease(&url, &operation.operation_id).await, first, "{name}: nobody took it over");
        stubs[0].1.set_fault(&tenant.uid, None);
        let ended = clients.ended(&operation.operation_id).await;
        assert_eq!(ended.state(), v1::OperationState::Succeeded, "{name}: {ended:?}");
    }
    // What one wrote when it was to be tried next is far ahead for the other.
    let tenant = at_ahead.tenant_before("left", Verb::Suspend).await;
    stubs[0].1.set_fault(&tenant.uid, Some(Fault::Failing(u32::MAX)));
    let left = Verb::Suspend.ask(&mut at_ahead, "left", 0).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let later = at_ahead.tenant_before("later", Verb::Suspend).await;
    let asked = std::time::Instant::now();
    let scheduled = schedule(&mut at_ahead, "later", 4).await;
    ahead.kill_and_forget();
    stubs[0].1.set_fault(&tenant.uid, None);
    let ended = at_behind.ended(&left.operation_id).await;
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "taken over: {ended:?}");
    assert_true(&at_behind.get("left").await, &stubs, "taken over");
    // For the one ahead it was due at once, for the one behind in an hour.
    let begun = loop {
        let now = at_behind.operation(&scheduled.operation_id).await;
        if now.state() == v1::OperationState::Succeeded {
            break now;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(begun.schedule_time, scheduled.schedule_time);
    assert!(asked.elapsed() > Duration::from_millis(3_500), "begun too early: {:?}", asked.elapsed());
    assert_eq!(stubs[0].1.effects(&later.uid).len(), 2, "and once");
    behind.kill_and_forget();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_with_a_wrong_clock_writes_carries_the_databases_time_purges_too() {
    let stubs = stubs(Duration::from_millis(1)).await;
    let replica = Replica::start(&Setup { stubs: stubs.clone(), ..Setup::default() }).await;
    let url = replica.database_url.clone();
    replica.stop().await;
    for (name, clock) in [("behind", "-1h"), ("ahead", "+1h")] {
        let process = Process::serve_at(&url, &stubs, Some(clock), &[]);
        let mut clients = process.clients().await;
        clients.tenant_before(name, Verb::Delete).await;
        let deleted = Verb::Delete.ask(&mut clients, name, 20).await.unwrap();
        assert_eq!(deleted.state(), v1::OperationState::Succeeded, "{name}: {deleted:?}");
        assert_is_now(deleted.create_time.unwrap(), name);
        assert_is_now(deleted.finish_time.unwrap(), name);
        let id: uuid::Uuid = deleted.operation_id.parse().unwrap();
        let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
        assert_is_now(
            prost_types::Timestamp { seconds: seconds.cast_signed(), nanos: nanos.cast_signed() },
            name,
        );
        let purged = Duration::from_hours(30 * 24);
        let purge_time =
            std::time::SystemTime::try_from(clients.get(name).await.purge_time.unwrap()).unwrap();
        assert_is_now((purge_time - purged).into(), name);
        let told = process.log();
        assert!(told.contains("this machine's clock is off: times are the database's"), "{told}");
        process.kill_and_forget();
    }
}

/// How many silences there are that have not ended.
async fn silences_left(alerts: &Alertmanager) -> usize {
    let url = format!("{}/api/v2/silences", alerts.endpoint());
    let all: Vec<serde_json::Value> = reqwest::get(url).await.unwrap().json().await.unwrap();
    all.iter().filter(|silence| silence["status"]["state"] != "expired").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_our_clock_shows_alerts_are_silenced_in_one_attempt_and_no_silence_is_left() {
    let alerts = blocking(|| Alertmanager::start(&Options::default()).unwrap()).await;
    let replica = Replica::start(&Setup::default()).await;
    let url = replica.database_url.clone();
    replica.stop().await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("tenantry.toml");
    // A machine under load is to need no second attempt.
    let target = format!("kind = \"alertmanager\"\nurl = \"{}\"\ndeadline = \"10s\"\n", alerts.endpoint());
    std::fs::write(&config, format!("[cascade.targets.alerts]\n{target}")).unwrap();
    // Beyond ten years behind, ten years from now had passed.
    for (number, clock) in ["+1s", "+10s", "+1h", "-1h", "-11y"].into_iter().enumerate() {
        let more = ["--config", config.to_str().unwrap()];
        let process = Process::serve_at(&url, &[], Some(clock), &more);
        let mut clients = process.clients().await;
        let tenant_id = format!("t{number}");
        clients.tenant_before(&tenant_id, Verb::Suspend).await;
        for (verb, left) in [(Verb::Suspend, 1), (Verb::Activate, 0)] {
            let operation = verb.ask(&mut clients, &tenant_id, 20).await.unwrap();
            assert_eq!(operation.state(), v1::OperationState::Succeeded, "{clock}: {operation:?}");
            let step = operation.targets.iter().find(|step| step.target == "alerts").unwrap();
            assert_eq!(step.attempts, 1, "{clock}: {step:?}");
            assert_eq!(silences_left(&alerts).await, left, "{clock}: {verb:?}");
        }
        process.kill_and_forget();
    }
}

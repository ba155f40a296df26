//! Leases of operations, as the sweep keeps them beside the writer that ends them.

use std::time::Duration;

use tenantry::domain::ids::OperationId;
use tenantry::participants::stub::Fault;
use tenantry::proto::v1;
use tenantry::store::operations::{Lease, leases_renew};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use super::verbs::{Clients, Verb, stubs};
use crate::support::{Replica, Setup};

async fn connect(database_url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(database_url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Waits until a session waits for a lock, or is done with what it was asked.
async fn waits_or_is_done(database_url: &str, pid: i32) {
    let watcher = connect(database_url).await;
    loop {
        let sql = "SELECT wait_event_type = 'Lock' OR state = 'idle' FROM pg_stat_activity WHERE pid = $1";
        if watcher.query_one(sql, &[&pid]).await.unwrap().get::<_, Option<bool>>(0) == Some(true) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The writer ends operations in the order of its batch, the sweep renewed them in the order of the table: each waited for
/// a row of the other.
#[tokio::test]
async fn a_sweep_and_a_writer_that_ends_operations_do_not_wait_for_each_other() {
    let replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    let url = replica.database_url.clone();
    replica.stop().await;
    let lease = Lease { owner: Uuid::now_v7(), length: Duration::from_mins(1) };
    let ids: Vec<Uuid> = (0..2).map(|_| Uuid::now_v7()).collect();
    let (mut writer, sweeper) = (connect(&url).await, connect(&url).await);
    for id in &ids {
        let sql = "INSERT INTO operation_lease VALUES ($1, $2, 1, now() + interval '1 minute')";
        writer.execute(sql, &[id, &lease.owner]).await.unwrap();
    }
    let pid: i32 = sweeper.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let operations: Vec<OperationId> = ids.iter().map(|id| OperationId::from_uuid(*id)).collect();

    let batch = writer.transaction().await.unwrap();
    let end = "DELETE FROM operation_lease WHERE operation_id = $1";
    batch.execute(end, &[&ids[1]]).await.unwrap();
    let asked = operations.clone();
    let renewing = tokio::spawn(async move {
        let held = leases_renew(&sweeper, lease, &asked).await;
        (held, sweeper)
    });
    waits_or_is_done(&url, pid).await;
    batch.execute(end, &[&ids[0]]).await.expect("the writer is not made to wait for the sweep");
    batch.commit().await.unwrap();
    let (held, sweeper) = renewing.await.unwrap();
    let held = held.expect("nor the sweep for the writer");
    let mut held: Vec<_> = held.iter().map(|held| held.operation_id).collect();
    held.sort_unstable();
    assert_eq!(held, operations, "neither had ended when it asked");
    assert!(leases_renew(&sweeper, lease, &operations).await.unwrap().is_empty(), "both have ended");
}

/// A rolling restart held every open operation up for the length of a lease.
#[tokio::test]
async fn a_replica_that_is_stopped_leaves_its_operations_to_the_next_at_once() {
    let stubs = stubs(Duration::ZERO).await;
    let settings = vec![("cascade.lease", "5m".to_owned())];
    let setup = Setup { stubs: stubs.clone(), settings, ..Setup::default() };
    let mut first = Replica::start(&setup).await;
    let uid = first.tenant("finance").await.uid;
    stubs[0].1.set_fault(&uid, Some(Fault::Hanging));
    let asked = Verb::Suspend.ask(&mut Clients::of(&first), "finance", 0).await.unwrap();
    let url = first.database_url.clone();
    first.stop().await;
    stubs[0].1.set_fault(&uid, None);
    let next = Replica::on(&url, &setup).await;
    let ended = Clients::of(&next).ended(&asked.operation_id).await;
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    next.stop().await;
}

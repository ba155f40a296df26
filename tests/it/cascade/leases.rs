//! Leases of operations, as the sweep keeps them beside the writer that ends them.

use std::time::Duration;

use tenantry::domain::ids::OperationId;
use tenantry::store::operations::{Lease, leases_renew};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

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

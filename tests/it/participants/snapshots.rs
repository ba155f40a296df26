//! Snapshots from before a change that are handed on, and writers that make newer ones look as old.

use tenantry::app::dev_postgres::{Options, PrivatePostgres};
use tenantry::domain::lifecycle::Desired;
use tenantry::participants::{FailureKind, TenantRef};
use tokio_postgres::{Client, IsolationLevel, Transaction};

use super::postgres::{Application, connect};
use super::transactions::{begun, documents};
use super::{blocking, bring, tenant, told};
use crate::support::sql;

/// An application on a server where nobody else writes: a writer in any database of a server is one.
async fn alone() -> (PrivatePostgres, Application) {
    let server = blocking(|| PrivatePostgres::start(&Options::ephemeral()).expect("PostgreSQL starts")).await;
    sql(&server.url(), "CREATE DATABASE orders").await;
    let place = format!("{}/orders", server.url().rsplit_once('/').unwrap().0);
    let application = Application::on(place, "").await;
    (server, application)
}

/// Begins a transaction with the snapshot of another one that is still open, and claims a tenant.
async fn takes_over(client: &Client, snapshot: &str, tenant: &TenantRef) {
    let begin = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '{snapshot}'; SET LOCAL tenancy.tenant = '{}'",
        tenant.tenant_id.as_str()
    );
    client.batch_execute(&begin).await.unwrap();
}

async fn seen_by(client: &Client) -> i64 {
    client.query_one("SELECT count(*) FROM document", &[]).await.unwrap().get(0)
}

async fn exported(transaction: &Transaction<'_>) -> String {
    transaction.query_one("SELECT pg_export_snapshot()", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_session_that_takes_over_the_snapshot_of_one_that_is_waited_for_is_waited_for_as_well() {
    let application = Application::new("").await;
    let target = application.modest(", deadline = \"3s\"").await;
    let acme = tenant("acme");
    application.fill(&acme, 50).await;
    for is_between_attempts in [false, true] {
        let generation = if is_between_attempts { 3 } else { 1 };
        bring(&target, &acme, Desired::Active, generation).await;
        let (mut first, second) = (application.client().await, application.client().await);
        let old = begun(&mut first, &acme, IsolationLevel::RepeatableRead).await;
        let snapshot = exported(&old).await;
        let hands_on = async {
            takes_over(&second, &snapshot, &acme).await;
            old.commit().await.unwrap();
        };
        let suspend = || target.apply(&acme, Desired::Suspended, generation + 1);
        if is_between_attempts {
            assert_eq!(told(suspend().await).0, FailureKind::Waiting);
            hands_on.await;
        } else {
            let (applied, ()) = tokio::join!(suspend(), async {
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                hands_on.await;
            });
            assert_eq!(told(applied).0, FailureKind::Waiting);
        }
        let (kind, words) = told(suspend().await);
        assert_eq!((kind, words.matches("(process ").count()), (FailureKind::Waiting, 1), "{words}");
        assert_eq!(seen_by(&second).await, 50, "what was said is so");
        second.batch_execute("UPDATE document SET title = 'late'; COMMIT").await.unwrap();
        suspend().await.unwrap();
        assert_eq!(target.observe(&acme).await.unwrap().state, Some(Desired::Suspended));
    }
}

#[tokio::test]
async fn a_snapshot_that_is_handed_on_quickly_again_and_again_is_followed_to_its_last_holder() {
    let (_server, application) = alone().await;
    let target = application.modest(", deadline = \"3s\"").await;
    let acme = tenant("acme");
    application.fill(&acme, 50).await;
    bring(&target, &acme, Desired::Active, 1).await;
    let mut holder = application.client().await;
    let old = begun(&mut holder, &acme, IsolationLevel::RepeatableRead).await;
    let snapshot = exported(&old).await;
    let hands_on = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let mut last = application.client().await;
        takes_over(&last, &snapshot, &acme).await;
        old.commit().await.unwrap();
        for _ in 0..4 {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            let next: String = last.query_one("SELECT pg_export_snapshot()", &[]).await.unwrap().get(0);
            let heir = application.client().await;
            takes_over(&heir, &next, &acme).await;
            last.batch_execute("COMMIT").await.unwrap();
            last = heir;
        }
        last
    };
    let (applied, last) = tokio::join!(target.apply(&acme, Desired::Suspended, 2), hands_on);
    assert_eq!(told(applied).0, FailureKind::Waiting);
    assert_eq!(seen_by(&last).await, 50, "what was said is so");
    last.batch_execute("COMMIT").await.unwrap();
    assert_eq!(bring(&target, &acme, Desired::Suspended, 2).await, Some(Desired::Suspended));
}

#[tokio::test]
async fn a_session_that_took_over_a_snapshot_is_ended_where_that_is_wanted() {
    let application = Application::new(", end_transactions = true").await;
    let acme = tenant("acme");
    application.fill(&acme, 50).await;
    bring(&application.target, &acme, Desired::Active, 1).await;
    let (mut first, second) = (application.client().await, application.client().await);
    let old = begun(&mut first, &acme, IsolationLevel::RepeatableRead).await;
    let snapshot = exported(&old).await;
    let (applied, ()) = tokio::join!(application.target.apply(&acme, Desired::Suspended, 2), async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        takes_over(&second, &snapshot, &acme).await;
        old.commit().await.unwrap();
    });
    applied.unwrap();
    assert!(second.query_one("SELECT count(*) FROM document", &[]).await.is_err(), "it was ended");
}

#[tokio::test]
async fn beside_a_long_writer_from_before_the_change_new_transactions_are_not_waited_for_without_end() {
    let (_server, application) = alone().await;
    let target = application.modest(", deadline = \"5s\"").await;
    let (acme, neighbour) = (tenant("acme"), tenant("acme-2"));
    for tenant in [&acme, &neighbour] {
        application.fill(tenant, 50).await;
        bring(&target, tenant, Desired::Active, 1).await;
    }
    // A job of the site's own: as long as it runs, every snapshot looks as old as it.
    let job = connect(&application.url).await;
    job.batch_execute("BEGIN; INSERT INTO document (tenant_id, document_id) VALUES ('acme-3', 1)")
        .await
        .unwrap();
    let (mut first, mut last) = (application.client().await, application.client().await);
    let old = begun(&mut first, &acme, IsolationLevel::RepeatableRead).await;
    let mut busy = Vec::new();
    for _ in 0..2 {
        let (mut client, neighbour) = (application.client().await, neighbour.clone());
        busy.push(tokio::spawn(async move {
            loop {
                let transaction = begun(&mut client, &neighbour, IsolationLevel::RepeatableRead).await;
                tokio::time::sleep(std::time::Duration::from_millis(150)).await;
                transaction.commit().await.unwrap();
            }
        }));
    }
    let (applied, later) = tokio::join!(target.apply(&acme, Desired::Suspended, 2), async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        old.commit().await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        begun(&mut last, &neighbour, IsolationLevel::RepeatableRead).await
    });
    applied.unwrap();
    assert_eq!(documents(&later).await, 50, "it goes on");
    for task in busy {
        assert!(!task.is_finished());
        task.abort();
    }
}

#[tokio::test]
async fn a_long_writer_that_makes_newer_transactions_look_old_is_named() {
    let (server, application) = alone().await;
    let target = application.modest(", deadline = \"1s\"").await;
    let acme = tenant("acme");
    application.fill(&acme, 50).await;
    bring(&target, &acme, Desired::Active, 1).await;
    // Of nobody's that the change is about, in another database of the server.
    let mut job = connect(&server.url()).await;
    let job_process: i32 = job.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let writer = job.transaction().await.unwrap();
    writer.execute("SELECT pg_current_xact_id()", &[]).await.unwrap();
    let mut client = application.client().await;
    let old = begun(&mut client, &acme, IsolationLevel::RepeatableRead).await;
    let (_, words) = told(target.apply(&acme, Desired::Suspended, 2).await);
    assert!(
        words.contains(&format!("while process {job_process} has a write open that began before")),
        "{words}"
    );
    writer.rollback().await.unwrap();
    let (kind, words) = told(target.apply(&acme, Desired::Suspended, 2).await);
    assert_eq!((kind, words.contains("has a write open")), (FailureKind::Waiting, false), "{words}");
    old.commit().await.unwrap();
    target.apply(&acme, Desired::Suspended, 2).await.unwrap();
}

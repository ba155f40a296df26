//! Transactions of the application that are open while a tenant is locked out.

use std::sync::Arc;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::{FailureKind, Participant, TenantRef};
use tenantry::proto::v1;
use tokio_postgres::{Client, IsolationLevel, Transaction};

use super::postgres::{Application, at, connect, tries};
use super::{bring, tenant, told};
use crate::support::{Replica, Setup};

/// A transaction of a tenant, after its first look.
pub(super) async fn begun<'a>(
    client: &'a mut Client,
    tenant: &TenantRef,
    level: IsolationLevel,
) -> Transaction<'a> {
    let transaction = client.build_transaction().isolation_level(level).start().await.unwrap();
    let claim = "SELECT set_config('tenancy.tenant', $1, true)";
    transaction.execute(claim, &[&tenant.tenant_id.as_str()]).await.unwrap();
    assert_eq!(documents(&transaction).await, 50);
    transaction
}

pub(super) async fn documents(transaction: &Transaction<'_>) -> i64 {
    transaction.query_one("SELECT count(*) FROM document", &[]).await.unwrap().get(0)
}

/// Changes a row, where it may.
async fn changes(transaction: &Transaction<'_>) -> u64 {
    transaction.execute("UPDATE document SET title = 'z' WHERE document_id = 1", &[]).await.unwrap()
}

impl Application {
    /// A target whose account has what the operations manual asks for, and no more.
    pub(super) async fn modest(&self, more: &str) -> Arc<dyn Participant> {
        let account = format!("{}_control", self.role);
        let make = format!(
            "DO $$ BEGIN CREATE ROLE {account} LOGIN BYPASSRLS PASSWORD 'pass'; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
             GRANT {} TO {account}; GRANT USAGE ON SCHEMA tenancy TO {account};
             GRANT ALL ON ALL TABLES IN SCHEMA tenancy TO {account};
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tenancy TO {account}",
            self.role
        );
        self.admin.batch_execute(&make).await.unwrap();
        let (_, place) = self.url.rsplit_once('@').unwrap();
        at(&format!("postgres://{account}:pass@{place}"), &format!(", role = \"{}\"{more}", self.role))
    }
}

#[tokio::test]
async fn a_transaction_that_began_before_a_suspension_is_waited_for_and_said() {
    let application = Application::new("").await;
    let (acme, neighbour) = (tenant("acme"), tenant("acme-2"));
    let target = application.modest(", deadline = \"3s\"").await;
    for tenant in [&acme, &neighbour] {
        application.fill(tenant, 50).await;
        bring(&target, tenant, Desired::Active, 1).await;
    }
    let (mut reader, mut writer) = (application.client().await, application.client().await);
    let old = begun(&mut reader, &acme, IsolationLevel::RepeatableRead).await;
    // Its next statement meets the change.
    let modern = begun(&mut writer, &acme, IsolationLevel::ReadCommitted).await;
    modern.batch_execute("SELECT 1").await.unwrap();
    for state in [Desired::ReadOnly, Desired::Deleted] {
        let (kind, words) = told(target.apply(&acme, state, 2).await);
        assert_eq!(kind, FailureKind::Waiting, "{state}: {words}");
        assert!(words.starts_with("1 transaction from before the change may still see"), "{state}: {words}");
    }
    let (kind, words) = told(target.apply(&acme, Desired::Suspended, 3).await);
    assert_eq!((kind, words.matches("(process ").count()), (FailureKind::Waiting, 1), "{words}");
    assert_eq!((documents(&old).await, changes(&modern).await), (50, 0), "what was said is so");
    let mut fresh = application.client().await;
    assert_eq!(tries(&mut fresh, &acme).await, (0, false), "whoever begins now is refused");
    assert_eq!(tries(&mut fresh, &neighbour).await, (50, true), "the neighbour");
    old.rollback().await.unwrap();
    assert_eq!(bring(&target, &acme, Desired::Suspended, 3).await, Some(Desired::Suspended));
    modern.rollback().await.unwrap();
    assert_eq!(bring(&target, &acme, Desired::Active, 4).await, Some(Desired::Active));
    let _old = begun(&mut reader, &acme, IsolationLevel::RepeatableRead).await;
    assert_eq!(
        bring(&target, &acme, Desired::Active, 5).await,
        Some(Desired::Active),
        "more access waits for none"
    );
}

#[tokio::test]
async fn who_is_waited_for_is_said_by_login_and_application_long_before_the_deadline() {
    let application = Application::new("").await;
    let target = application.modest(", deadline = \"5m\"").await;
    let acme = tenant("acme");
    application.fill(&acme, 50).await;
    bring(&target, &acme, Desired::Active, 1).await;
    let mut client = application.client().await;
    client.batch_execute("SET application_name = 'night job'").await.unwrap();
    let old = begun(&mut client, &acme, IsolationLevel::RepeatableRead).await;
    let (kind, words) = told(target.apply(&acme, Desired::Suspended, 2).await);
    // Since when is told to whoever may see it: a member of that login, or of pg_read_all_stats.
    let whose = format!(" of {}_login ('night job')", application.role);
    assert_eq!((kind, words.contains(&whose)), (FailureKind::Waiting, true), "{words}");
    old.rollback().await.unwrap();
    target.apply(&acme, Desired::Suspended, 2).await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_began_before_a_suspension_is_ended_where_that_is_wanted() {
    let application = Application::new(", end_transactions = true").await;
    let acme = tenant("acme");
    application.fill(&acme, 50).await;
    bring(&application.target, &acme, Desired::Active, 1).await;
    let (mut client, mut other) = (application.client().await, application.client().await);
    let mut site = connect(&application.url).await;
    let old = begun(&mut client, &acme, IsolationLevel::Serializable).await;
    // Whom no policy binds is nobody's client.
    let dump =
        site.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().await.unwrap();
    assert_eq!(documents(&dump).await, 50);
    let idle = begun(&mut other, &acme, IsolationLevel::ReadCommitted).await;
    idle.batch_execute("SELECT 1").await.unwrap();
    let modest = application.modest(", end_transactions = true, deadline = \"3s\"").await;
    let (kind, words) = told(modest.apply(&acme, Desired::Suspended, 2).await);
    assert_eq!(kind, FailureKind::Permanent, "{words}");
    assert!(words.ends_with("it must be a member of pg_signal_backend"), "{words}");
    assert_eq!(documents(&old).await, 50, "it goes on");
    assert_eq!(bring(&application.target, &acme, Desired::Suspended, 2).await, Some(Desired::Suspended));
    assert!(old.query_one("SELECT count(*) FROM document", &[]).await.is_err(), "it was ended");
    assert_eq!(changes(&idle).await, 0, "one that reads what is committed was left alone, and is refused");
    assert_eq!(documents(&dump).await, 50, "and the site's own");
}

#[tokio::test]
async fn one_transaction_that_stays_open_keeps_no_other_tenants_row_from_being_written() {
    const TENANTS: i64 = 30;
    let application = Application::new("").await;
    let orders = format!(
        "orders = {{ kind = \"postgres\", url = \"{}\", role = \"{}\", deadline = \"1m\" }}",
        application.url, application.role
    );
    let setup = Setup { settings: vec![("cascade.targets", orders)], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    for n in 0..TENANTS {
        replica.tenant(&format!("t{n}")).await;
    }
    let mut client = application.client().await;
    let neighbour = tenant("neighbour");
    application.fill(&neighbour, 50).await;
    bring(&application.target, &neighbour, Desired::Active, 1).await;
    let old = begun(&mut client, &neighbour, IsolationLevel::RepeatableRead).await;
    for n in 0..TENANTS {
        let request = v1::SuspendTenantRequest { tenant_id: format!("t{n}"), ..Default::default() };
        replica.lifecycle.suspend_tenant(request).await.unwrap();
    }
    let count = "SELECT count(*) FROM tenancy.access WHERE tenant_id ~ '^t[0-9]+$' AND state = 'SUSPENDED'";
    let written = async || application.admin.query_one(count, &[]).await.unwrap().get::<_, i64>(0);
    // One after the other for as long as an attempt waits, they took minutes.
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(15);
    while written().await < TENANTS {
        assert!(tokio::time::Instant::now() < until, "{} of {TENANTS}", written().await);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // A new tenant, which waits for nobody, finds a place.
    replica.tenant("newcomer").await;
    let list = v1::ListOperationsRequest {
        filter: "verb = SUSPEND AND state = RUNNING".into(),
        ..Default::default()
    };
    let running = replica.lifecycle.list_operations(list.clone()).await.unwrap().into_inner().total_size;
    assert_eq!(i64::from(running), TENANTS, "none is done before it has ended");
    old.rollback().await.unwrap();
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(15);
    while replica.lifecycle.list_operations(list.clone()).await.unwrap().into_inner().total_size > 0 {
        assert!(tokio::time::Instant::now() < until, "all go on by themselves");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    replica.stop().await;
}

/// Writes a row of a tenant and leaves the transaction open, by the simple protocol as psql and psycopg2 do: it idles without
/// a snapshot.
async fn leaves_a_write_open(client: &Client, tenant: &TenantRef) {
    let write = format!(
        "BEGIN; SET LOCAL tenancy.tenant = '{0}'; INSERT INTO document (tenant_id, document_id) VALUES ('{0}', 7)",
        tenant.tenant_id.as_str()
    );
    client.batch_execute(&write).await.unwrap();
}

#[tokio::test]
async fn a_write_that_is_not_committed_is_waited_for_before_any_state_of_less_access_and_before_a_purge() {
    let application = Application::new("").await;
    let target = application.modest(", deadline = \"1500ms\"").await;
    let (acme, neighbour) = (tenant("acme"), tenant("acme-2"));
    for tenant in [&acme, &neighbour] {
        application.fill(tenant, 5).await;
        bring(&target, tenant, Desired::Active, 1).await;
    }
    let client = application.client().await;
    leaves_a_write_open(&client, &acme).await;
    let states = [(Desired::ReadOnly, 2), (Desired::Suspended, 3), (Desired::Archived, 4)];
    for (state, generation) in states.into_iter().chain([(Desired::Deleted, 5)]) {
        let (kind, words) = told(target.apply(&acme, state, generation).await);
        assert_eq!(kind, FailureKind::Waiting, "{state}: {words}");
        assert!(words.starts_with("1 transaction from before the change"), "{state}: {words}");
    }
    // A write that began since then is of no tenant that was let in: the step is not put off for ever.
    let later = application.client().await;
    leaves_a_write_open(&later, &neighbour).await;
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(bring(&target, &acme, Desired::Deleted, 5).await, Some(Desired::Deleted));
    assert_eq!(application.count(&acme).await, 0, "the late row was there when the rows were removed");
    let again = tenant("acme");
    later.batch_execute("COMMIT").await.unwrap();
    assert_eq!(bring(&target, &again, Desired::Active, 1).await, Some(Desired::Active));
    assert_eq!(application.count(&again).await, 0, "whoever has the id next sees none of it");
}

#[tokio::test]
async fn a_write_that_is_not_committed_is_ended_where_that_is_wanted() {
    let application = Application::new(", end_transactions = true").await;
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    bring(&application.target, &acme, Desired::Active, 1).await;
    let before = application.count(&acme).await;
    let client = application.client().await;
    leaves_a_write_open(&client, &acme).await;
    assert_eq!(bring(&application.target, &acme, Desired::Suspended, 2).await, Some(Desired::Suspended));
    assert!(client.batch_execute("COMMIT").await.is_err(), "it was ended");
    assert_eq!(application.count(&acme).await, before);
}

#[tokio::test]
async fn a_statement_from_before_the_change_that_ends_is_waited_for_until_its_write_is_committed() {
    let application = Application::new("").await;
    let target = application.modest(", deadline = \"3s\"").await;
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    bring(&target, &acme, Desired::Active, 1).await;
    let client = application.client().await;
    client.batch_execute("BEGIN; SET LOCAL tenancy.tenant = 'acme'").await.unwrap();
    // It asks its policies, waits, and writes only then: of its transaction there is nothing to see but a snapshot before.
    let slow =
        "INSERT INTO document (tenant_id, document_id) SELECT 'acme', 7 FROM (SELECT pg_sleep(1) OFFSET 0) s
        WHERE (SELECT tenancy.resolve('w')) = 'acme'";
    let (written, applied) = tokio::join!(client.batch_execute(slow), async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        target.apply(&acme, Desired::Suspended, 2).await
    });
    written.unwrap();
    assert_eq!(told(applied).0, FailureKind::Waiting);
    assert_eq!(
        told(target.apply(&acme, Desired::Suspended, 2).await).0,
        FailureKind::Waiting,
        "a retry as well"
    );
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(bring(&target, &acme, Desired::Suspended, 2).await, Some(Desired::Suspended));
}

#[tokio::test]
async fn a_prepared_transaction_is_waited_for_and_said_with_its_owner_and_never_rolled_back_by_us() {
    let application = Application::new(", end_transactions = true, deadline = \"2s\"").await;
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    bring(&application.target, &acme, Desired::Active, 1).await;
    let login = application.client().await;
    leaves_a_write_open(&login, &acme).await;
    let gid = format!("{}'s order", application.role);
    let quoted = gid.replace('\'', "''");
    login.batch_execute(&format!("PREPARE TRANSACTION '{quoted}'")).await.unwrap();
    drop(login);
    for (state, generation) in [(Desired::Suspended, 2), (Desired::Deleted, 3)] {
        let (kind, words) = told(application.target.apply(&acme, state, generation).await);
        assert_eq!(kind, FailureKind::Waiting, "{state}: {words}");
        let named = format!("'{quoted}' of {}_login since ", application.role);
        assert!(words.contains(&named) && words.contains("ROLLBACK PREPARED"), "{state}: {words}");
    }
    let login = application.client().await;
    login.batch_execute(&format!("COMMIT PREPARED '{quoted}'")).await.unwrap();
    assert_eq!(bring(&application.target, &acme, Desired::Deleted, 3).await, Some(Desired::Deleted));
    assert_eq!(application.count(&acme).await, 0);
}

#[tokio::test]
async fn a_session_that_is_waited_for_and_prepares_its_transaction_meanwhile_is_waited_for_on() {
    let application = Application::new("").await;
    let target = application.modest(", deadline = \"2s\"").await;
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    bring(&target, &acme, Desired::Active, 1).await;
    let client = application.client().await;
    leaves_a_write_open(&client, &acme).await;
    let gid = format!("{}_late", application.role);
    let (prepared, applied) = tokio::join!(
        async {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            client.batch_execute(&format!("PREPARE TRANSACTION '{gid}'")).await
        },
        target.apply(&acme, Desired::Suspended, 2)
    );
    prepared.unwrap();
    let (kind, words) = told(applied);
    assert_eq!((kind, words.contains(&gid)), (FailureKind::Waiting, true), "{words}");
    client.batch_execute(&format!("ROLLBACK PREPARED '{gid}'")).await.unwrap();
    assert_eq!(bring(&target, &acme, Desired::Suspended, 2).await, Some(Desired::Suspended));
}

#[tokio::test]
async fn a_second_role_that_was_admitted_is_waited_for_and_looked_at_like_the_first() {
    let application = Application::new("").await;
    let (admin, role) = (&application.admin, &application.role);
    let acme = tenant("acme");
    application.fill(&acme, 50).await;
    bring(&application.target, &acme, Desired::Active, 1).await;
    let make = format!(
        "SELECT tenancy.admit('{role}_batch'); GRANT SELECT, INSERT, UPDATE, DELETE ON document TO {role}_batch;
         CREATE ROLE {role}_job LOGIN PASSWORD 'pass'; GRANT {role}_batch TO {role}_job"
    );
    admin.batch_execute(&make).await.unwrap();
    let target = application.modest(", deadline = \"3s\"").await;
    let (_, place) = application.url.rsplit_once('@').unwrap();
    let job = connect(&format!("postgres://{role}_job:pass@{place}")).await;
    let read = "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL tenancy.tenant = 'acme'; TABLE document";
    job.batch_execute(read).await.unwrap();
    let (kind, words) = told(target.apply(&acme, Desired::Suspended, 2).await);
    assert_eq!((kind, words.matches("(process ").count()), (FailureKind::Waiting, 1), "{words}");
    job.batch_execute("COMMIT").await.unwrap();
    target.apply(&acme, Desired::Suspended, 2).await.unwrap();
    assert_eq!(target.observe(&acme).await.unwrap().amiss, None);
    admin.batch_execute(&format!("ALTER ROLE {role}_job BYPASSRLS")).await.unwrap();
    let why = target.observe(&acme).await.unwrap().amiss.unwrap_or_default();
    assert!(why.contains(&format!("{role}_job (BYPASSRLS)")), "{why}");
}

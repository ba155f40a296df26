//! An application's database: rows under policies, and clients that log in as applications do.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tenantry::app::dev_postgres::{Options, PrivatePostgres};
use tenantry::domain::lifecycle::{Desired, Verification};
use tenantry::participants::{FailureKind, Participant, TenantRef};
use tenantry::proto::v1;
use tokio_postgres::{Client, NoTls};

use super::certificates::Certificates;
use super::{blocking, bring, closed, holds_its_generation, target, tenant, told, until};
use crate::lifecycle::schedule::{PURGE_NOW, delete};
use crate::support::{Replica, Setup, empty_database, sql};

const TABLES: &str = "
    CREATE TABLE folder (tenant_id text NOT NULL, folder_id bigint, above bigint, PRIMARY KEY (tenant_id, folder_id),
        FOREIGN KEY (tenant_id, above) REFERENCES folder);
    CREATE TABLE document (tenant_id text NOT NULL, document_id bigint, folder_id bigint, title text,
        PRIMARY KEY (tenant_id, document_id), FOREIGN KEY (tenant_id, folder_id) REFERENCES folder);
    CREATE TABLE visit (tenant_id text NOT NULL, visited date NOT NULL) PARTITION BY RANGE (visited);
    CREATE TABLE visit_2025 PARTITION OF visit FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
    CREATE TABLE visit_2026 PARTITION OF visit FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');";
const PROTECTED: [&str; 3] = ["folder", "document", "visit"];

/// A database with an application's tables, and its target.
pub(super) struct Application {
    pub(super) url: String,
    /// The role of the application; roles belong to the whole server, so each test has its own.
    pub(super) role: String,
    pub(super) admin: Client,
    pub(super) target: Arc<dyn Participant>,
}

pub(super) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

pub(super) fn at(url: &str, more: &str) -> Arc<dyn Participant> {
    target(&format!("kind = \"postgres\", url = \"{url}\", rights_age = \"0s\"{more}"))
}

impl Application {
    pub(super) async fn new(more: &str) -> Self {
        Self::on(empty_database().await, more).await
    }

    /// In a database that is empty.
    pub(super) async fn on(url: String, more: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let role = format!("app_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let target = at(&url, &format!(", install = true, role = \"{role}\"{more}"));
        // The first call makes the schema; its tenant is nobody's.
        bring(&target, &tenant("first"), Desired::Suspended, 1).await;
        let admin = connect(&url).await;
        admin.batch_execute(TABLES).await.unwrap();
        for table in PROTECTED {
            admin.execute("SELECT tenancy.protect($1::text::regclass)", &[&table]).await.unwrap();
        }
        let grants = format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON folder, document, visit TO {role};
             GRANT SELECT ON folder, document, visit TO tenantry_archive;
             CREATE ROLE {role}_login LOGIN PASSWORD 'pass'; GRANT {role} TO {role}_login;"
        );
        admin.batch_execute(&grants).await.unwrap();
        Self { url, role, admin, target }
    }

    /// A connection of the application: it logs in by itself and claims its tenant in each transaction.
    pub(super) async fn client(&self) -> Client {
        let (_, place) = self.url.rsplit_once('@').unwrap();
        connect(&format!("postgres://{}_login:pass@{place}", self.role)).await
    }

    pub(super) async fn fill(&self, tenant: &TenantRef, documents: i64) {
        let id = tenant.tenant_id.as_str();
        let folders =
            "INSERT INTO folder SELECT $1, n, CASE WHEN n > 1 THEN n / 2 END FROM generate_series(1, 20) n";
        self.admin.execute(folders, &[&id]).await.unwrap();
        let rows = "INSERT INTO document SELECT $1, n, 1 + n % 20, 'x' FROM generate_series(1, $2::bigint) n";
        self.admin.execute(rows, &[&id, &documents]).await.unwrap();
        let visits =
            "INSERT INTO visit SELECT $1, d FROM generate_series(date '2025-12-01', '2026-01-31', '1 day') d";
        self.admin.execute(visits, &[&id]).await.unwrap();
    }

    pub(super) async fn count(&self, tenant: &TenantRef) -> i64 {
        let all = "SELECT (SELECT count(*) FROM folder WHERE tenant_id = $1)
            + (SELECT count(*) FROM document WHERE tenant_id = $1) + (SELECT count(*) FROM visit WHERE tenant_id = $1)";
        self.admin.query_one(all, &[&tenant.tenant_id.as_str()]).await.unwrap().get(0)
    }
}

/// What a client gets in a transaction of a tenant: rows that it sees, and whether it may write.
pub(super) async fn tries(client: &mut Client, tenant: &TenantRef) -> (i64, bool) {
    let transaction = client.transaction().await.unwrap();
    let claim = "SELECT set_config('tenancy.tenant', $1, true)";
    transaction.execute(claim, &[&tenant.tenant_id.as_str()]).await.unwrap();
    let seen = transaction.query_one("SELECT count(*) FROM document", &[]).await.unwrap().get(0);
    let changed = transaction.execute("UPDATE document SET title = 'y'", &[]).await.unwrap();
    let insert = "INSERT INTO document (tenant_id, document_id) VALUES ($1, -1)";
    let inserted = transaction.execute(insert, &[&tenant.tenant_id.as_str()]).await.is_ok();
    assert_eq!(changed > 0, inserted, "an update and an insert fare alike");
    transaction.rollback().await.unwrap();
    (seen, inserted)
}

#[tokio::test]
async fn a_client_of_the_application_is_refused_and_let_in_while_the_neighbour_never_notices() {
    let application = Application::new("").await;
    let (target, mut client) = (application.target.clone(), application.client().await);
    let (acme, neighbour) = (tenant("acme"), tenant("acme-2"));
    for tenant in [&acme, &neighbour] {
        application.fill(tenant, 50).await;
        bring(&target, tenant, Desired::Active, 1).await;
    }
    let mut generation = 1;
    for (state, wanted) in [
        (Desired::Suspended, (0, false)),
        (Desired::Active, (50, true)),
        (Desired::ReadOnly, (50, false)),
        (Desired::Archived, (0, false)),
        (Desired::Suspended, (0, false)),
        (Desired::Active, (50, true)),
    ] {
        generation += 1;
        assert_eq!(bring(&target, &acme, state, generation).await, Some(state));
        assert_eq!(tries(&mut client, &acme).await, wanted, "{state}");
        assert_eq!(tries(&mut client, &neighbour).await, (50, true), "{state}: the neighbour");
    }
    holds_its_generation(&target, &acme, Desired::Active, generation).await;
    assert_eq!(target.observe(&acme).await.unwrap().verification, Verification::Effect);
    let probes: i64 =
        application.admin.query_one("SELECT count(*) FROM tenancy.probe", &[]).await.unwrap().get(0);
    assert_eq!(probes, 0, "trying leaves nothing behind");
}

#[tokio::test]
async fn what_is_archived_is_read_by_the_archives_role_alone() {
    let application = Application::new("").await;
    let (acme, mut client) = (tenant("acme"), application.client().await);
    application.fill(&acme, 50).await;
    for (generation, state, archive, everybody) in
        [(2, Desired::Active, 50, 50), (3, Desired::Suspended, 0, 0), (4, Desired::Archived, 50, 0)]
    {
        bring(&application.target, &acme, state, generation).await;
        let mut archivist = connect(&application.url).await;
        let transaction = archivist.transaction().await.unwrap();
        let role = "SET LOCAL ROLE tenantry_archive; SET LOCAL tenancy.tenant = 'acme'";
        transaction.batch_execute(role).await.unwrap();
        let documents = "SELECT count(*) FROM document";
        let seen: i64 = transaction.query_one(documents, &[]).await.unwrap().get(0);
        assert_eq!((seen, tries(&mut client, &acme).await.0), (archive, everybody), "{state}");
    }
}

#[tokio::test]
async fn deletion_removes_every_row_in_batches_and_proves_it() {
    let application = Application::new(", batch = 7").await;
    let (acme, neighbour) = (tenant("acme"), tenant("acme-2"));
    for tenant in [&acme, &neighbour] {
        application.fill(tenant, 100).await;
        bring(&application.target, tenant, Desired::Archived, 1).await;
    }
    let before = application.count(&neighbour).await;
    assert_eq!(before, application.count(&acme).await);
    assert_eq!(bring(&application.target, &acme, Desired::Deleted, 2).await, Some(Desired::Deleted));
    assert_eq!((application.count(&acme).await, application.count(&neighbour).await), (0, before));
    application.fill(&acme, 1).await;
    assert_eq!(
        application.target.observe(&acme).await.unwrap().state,
        Some(Desired::Archived),
        "rows came back"
    );
    assert_eq!(bring(&application.target, &acme, Desired::Deleted, 2).await, Some(Desired::Deleted));
    holds_its_generation(&application.target, &acme, Desired::Deleted, 2).await;
    assert_eq!(application.count(&acme).await, 0);
    // The id lives again with another uid; a late call for the one before changes nothing.
    let again = tenant("acme");
    assert_eq!(bring(&application.target, &again, Desired::Active, 1).await, Some(Desired::Active));
    application.fill(&again, 10).await;
    assert!(application.target.apply(&acme, Desired::Deleted, 3).await.is_err());
    assert_eq!(application.target.observe(&again).await.unwrap().state, Some(Desired::Active));
    assert!(application.count(&again).await > 0);
}

#[tokio::test]
async fn a_purge_that_runs_out_of_time_says_how_far_it_went_and_goes_on_from_there() {
    let application = Application::new("").await;
    let hurried = format!(", role = \"{}\", batch = 1, deadline = \"500ms\"", application.role);
    let hurried = at(&application.url, &hurried);
    let acme = tenant("acme");
    application.fill(&acme, 600).await;
    let (mut calls, mut before) = (0, application.count(&acme).await);
    while let Err(failure) = hurried.apply(&acme, Desired::Deleted, 1).await {
        // A batch can be cut off by the deadline on a busy machine; then nobody knows.
        assert!(matches!(failure.kind, FailureKind::Unfinished | FailureKind::Unknown), "{failure}");
        let now = application.count(&acme).await;
        assert!(now <= before, "it goes on");
        (calls, before) = (calls + 1, now);
        assert!(calls < 400, "it ends");
    }
    assert!(calls > 0, "600 batches do not fit into 500 ms");
    assert_eq!(application.count(&acme).await, 0);
}

#[tokio::test]
async fn a_large_purge_is_not_listed_as_stuck_while_it_gets_on() {
    let application = Application::new("").await;
    let (url, role) = (&application.url, &application.role);
    let target = format!(
        "orders = {{ kind = \"postgres\", url = \"{url}\", role = \"{role}\", batch = 1, deadline = \"1s\" }}"
    );
    let setup = Setup { settings: vec![("cascade.targets", target)], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    replica.tenant("finance").await;
    application.fill(&tenant("finance"), 800).await;
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_sleep(0.05); RETURN OLD; END';
        CREATE TRIGGER slow BEFORE DELETE ON document FOR EACH ROW EXECUTE FUNCTION slow()";
    application.admin.batch_execute(slow).await.unwrap();
    delete(&mut replica, "finance").await;
    sql(&replica.database_url, PURGE_NOW).await;
    // Longer than an operation may go without getting on.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let mut listed = async |filter: &str| {
        let request = v1::ListOperationsRequest { filter: filter.to_owned(), ..Default::default() };
        replica.lifecycle.list_operations(request).await.unwrap().into_inner().operations
    };
    let mut stuck = 0;
    for _ in 0..10 {
        stuck += listed("verb = PURGE AND stuck = true").await.len();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let purge = listed("verb = PURGE").await.remove(0);
    assert_eq!(purge.state(), v1::OperationState::Running, "{purge:?}");
    assert!(purge.targets[0].last_error.contains("rows were removed, and there are more"), "{purge:?}");
    // On a busy machine one part may have been cut off.
    assert!(stuck < 5, "{stuck} of 10 looks: {purge:?}");
    application.admin.batch_execute("DROP TRIGGER slow ON document").await.unwrap();
    until("it ends", async || listed("verb = PURGE AND open = true").await.is_empty()).await;
    assert_eq!(application.count(&tenant("finance")).await, 0);
    replica.stop().await;
}

#[tokio::test]
async fn what_somebody_changed_by_hand_is_seen() {
    let application = Application::new("").await;
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    for (by_hand, seen, back) in [
        (
            "ALTER TABLE document DISABLE ROW LEVEL SECURITY",
            Desired::ReadOnly,
            "ALTER TABLE document ENABLE ROW LEVEL SECURITY",
        ),
        (
            "CREATE POLICY open ON document FOR SELECT USING (true)",
            Desired::ReadOnly,
            "DROP POLICY open ON document",
        ),
        (
            "UPDATE tenancy.access SET state = 'ACTIVE'",
            Desired::Active,
            "UPDATE tenancy.access SET state = 'SUSPENDED'",
        ),
    ] {
        application.admin.batch_execute(by_hand).await.unwrap();
        assert_eq!(application.target.observe(&acme).await.unwrap().state, Some(seen), "{by_hand}");
        application.admin.batch_execute(back).await.unwrap();
        assert_eq!(
            application.target.observe(&acme).await.unwrap().state,
            Some(Desired::Suspended),
            "{back}"
        );
    }
    application.admin.batch_execute("DELETE FROM tenancy.access").await.unwrap();
    let seen = application.target.observe(&acme).await.unwrap().state;
    assert_eq!(seen, Some(Desired::Suspended), "nobody is let in, and its rows are there");
    application.admin.batch_execute("TRUNCATE folder, document, visit").await.unwrap();
    assert_eq!(application.target.observe(&acme).await.unwrap().state, None, "nothing is left");
}

#[tokio::test]
async fn each_failure_has_its_class_and_our_words() {
    let application = Application::new("").await;
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    let weak = format!(
        "CREATE ROLE {0}_weak LOGIN PASSWORD 'pass'; GRANT {0} TO {0}_weak; GRANT USAGE ON SCHEMA tenancy TO {0}_weak;
         GRANT ALL ON ALL TABLES IN SCHEMA tenancy TO {0}_weak; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tenancy TO {0}_weak;
         GRANT SELECT, INSERT, UPDATE, DELETE ON folder, document, visit TO {0}_weak;",
        application.role
    );
    application.admin.batch_execute(&weak).await.unwrap();
    let (_, place) = application.url.rsplit_once('@').unwrap();
    let weak = format!("postgres://{}_weak:pass@{place}", application.role);
    let lacking = "our database user lacks a right (query would be affected by row-level security policy)";
    for (target, kind, words) in [
        (
            at(&format!("postgres://ada@127.0.0.1:{}/none", closed()), ""),
            FailureKind::Retryable,
            "the database cannot be reached: it refuses connections",
        ),
        (
            at(&empty_database().await, ""),
            FailureKind::Permanent,
            "the database has no schema `tenancy` of this version; set `install = true` to make it",
        ),
        // It would see no row to remove, and call that empty.
        (at(&weak, &format!(", role = \"{}\"", application.role)), FailureKind::Permanent, lacking),
    ] {
        let (met, said) = told(target.apply(&acme, Desired::Deleted, 1).await);
        // Which of the tables it meets first is the server's affair.
        let said = match said.split_once(" for table ") {
            Some((start, end))
                if end.ends_with("): it must see every row and be able to act as the role") =>
            {
                format!("{start})")
            }
            _ => said,
        };
        assert_eq!((met, said.as_str()), (kind, words));
    }
    assert!(application.count(&acme).await > 0);
    let elsewhere = "CREATE TABLE bill (tenant_id text, document_id bigint, FOREIGN KEY (tenant_id, document_id) REFERENCES document);
        INSERT INTO bill VALUES ('acme', 1)";
    let strong = format!("REVOKE ALL ON ALL TABLES IN SCHEMA tenancy FROM {}_weak", application.role);
    application.admin.batch_execute(&strong).await.unwrap();
    application.admin.batch_execute(elsewhere).await.unwrap();
    let (kind, words) = told(application.target.apply(&acme, Desired::Deleted, 2).await);
    assert_eq!((kind, words.contains("public.bill")), (FailureKind::Permanent, true), "{words}");
}

/// A server that takes encrypted connections, with one of the certificates. Its account must own its key, and reach the
/// folder.
pub(crate) async fn encrypted(
    certificates: &Certificates,
    name: &str,
) -> (PrivatePostgres, tempfile::TempDir) {
    let [certificate, key] = ["crt", "key"].map(|end| certificates.pem(&format!("{name}.{end}")));
    blocking(move || {
        let folder = tempfile::tempdir().unwrap();
        let set = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        set(folder.path(), 0o755);
        let [certificate, key] = [("crt", certificate), ("key", key)].map(|(name, pem)| {
            let path = folder.path().join(name);
            std::fs::write(&path, pem).unwrap();
            path
        });
        set(&key, 0o600);
        if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
            let owned = std::process::Command::new("chown").arg("postgres").arg(&key).status().unwrap();
            assert!(owned.success());
        }
        let mut options = Options::ephemeral();
        for (name, value) in [
            ("ssl", "on".to_owned()),
            ("ssl_cert_file", certificate.display().to_string()),
            ("ssl_key_file", key.display().to_string()),
        ] {
            options.settings.push((name.to_owned(), value));
        }
        (PrivatePostgres::start(&options).expect("PostgreSQL starts"), folder)
    })
    .await
}

#[tokio::test]
async fn a_database_with_tls_is_reached_by_those_who_trust_its_authority() {
    let certificates = Certificates::new().await;
    let (server, _folder) = encrypted(&certificates, "server").await;
    let url = format!("{}?sslmode=require", server.url());
    let trusting = at(&url, &format!(", install = true, role = \"app_tls\", {}", certificates.trust()));
    assert_eq!(bring(&trusting, &tenant("finance"), Desired::Suspended, 1).await, Some(Desired::Suspended));
    let stranger = at(&url, ", role = \"app_tls\"");
    let (kind, words) = told(stranger.apply(&tenant("hr"), Desired::Suspended, 1).await);
    let refused =
        "the database cannot be reached: its certificate is of no authority that we trust (`ca_file`)";
    assert_eq!((kind, words.as_str()), (FailureKind::Retryable, refused));
    blocking(move || drop(server)).await;
}

//! Logins that the application's role was taken from while they are connected.

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::FailureKind;
use tokio_postgres::Client;

use super::postgres::{Application, connect};
use super::{bring, tenant, told};

#[tokio::test]
async fn a_login_that_the_role_was_taken_from_while_its_transaction_runs_is_waited_for_and_a_report_is_not() {
    let application = Application::new("").await;
    let (admin, role) = (&application.admin, &application.role);
    let target = application.modest(", deadline = \"3s\"").await;
    let acme = tenant("acme");
    application.fill(&acme, 50).await;
    bring(&target, &acme, Desired::Active, 1).await;
    let make = format!(
        "CREATE ROLE {role}_former LOGIN PASSWORD 'pass'; GRANT {role} TO {role}_former;
         CREATE ROLE {role}_report LOGIN PASSWORD 'pass'; GRANT SELECT ON document TO {role}_report;
         CREATE POLICY report ON document FOR SELECT TO {role}_report USING (true)"
    );
    admin.batch_execute(&make).await.unwrap();
    let (_, place) = application.url.rsplit_once('@').unwrap();
    let login = async |name: &str| connect(&format!("postgres://{role}_{name}:pass@{place}")).await;
    let (former, report) = (login("former").await, login("report").await);
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ";
    report.batch_execute(&format!("{begin}; SELECT count(*) FROM document")).await.unwrap();
    bring(&target, &acme, Desired::Suspended, 2).await;
    bring(&target, &acme, Desired::Active, 3).await;
    let read = format!(
        "SET ROLE {role}; {begin}; SET LOCAL tenancy.tenant = 'acme'; DECLARE c CURSOR FOR TABLE document; FETCH 1 FROM c"
    );
    former.batch_execute(&read).await.unwrap();
    admin.batch_execute(&format!("REVOKE {role} FROM {role}_former")).await.unwrap();
    let (kind, words) = told(target.apply(&acme, Desired::Suspended, 4).await);
    assert_eq!((kind, words.matches("(process ").count()), (FailureKind::Waiting, 1), "{words}");
    let fetched = former.query("FETCH ALL FROM c", &[]).await.unwrap();
    assert_eq!(fetched.len(), 49, "a cursor goes on");
    former.batch_execute("COMMIT").await.unwrap();
    target.apply(&acme, Desired::Suspended, 4).await.unwrap();
    report.batch_execute("COMMIT").await.unwrap();
}

/// It keeps the role that it has set, and was seen by the locks that it holds alone: one has none yet, one has given its own up
/// again, and one has a right of its own at the table.
#[tokio::test]
async fn a_login_that_the_role_was_taken_from_reads_and_writes_nothing_after_a_suspension_whatever_it_held() {
    let application = Application::new("").await;
    let (admin, role) = (&application.admin, &application.role);
    let target = application.modest(", deadline = \"1s\"").await;
    let begin = format!(
        "SET ROLE {role}; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT set_config('tenancy.tenant', 'acme', true)"
    );
    let acme = tenant("acme");
    application.fill(&acme, 50).await;
    for (name, more, generation) in [
        ("idle", "SELECT 1", 1),
        ("back", "SAVEPOINT a; TABLE document; ROLLBACK TO a", 3),
        ("direct", "TABLE document", 5),
    ] {
        bring(&target, &acme, Desired::Active, generation).await;
        let former = application.login(name).await;
        admin
            .batch_execute(&format!("ALTER ROLE {role}_{name} NOINHERIT; GRANT {role} TO {role}_{name}"))
            .await
            .unwrap();
        if name == "direct" {
            admin.batch_execute(&format!("GRANT SELECT, INSERT ON document TO {role}_direct")).await.unwrap();
        }
        former.batch_execute(&format!("{begin}; {more}")).await.unwrap();
        admin.batch_execute(&format!("REVOKE {role} FROM {role}_{name}")).await.unwrap();
        let suspended = target.apply(&acme, Desired::Suspended, generation + 1).await;
        if name == "direct" {
            let (kind, words) = told(suspended);
            assert_eq!(
                (kind, words.matches("(process ").count()),
                (FailureKind::Waiting, 1),
                "{name}: {words}"
            );
            former.batch_execute("COMMIT").await.unwrap();
            assert_eq!(
                bring(&target, &acme, Desired::Suspended, generation + 1).await,
                Some(Desired::Suspended)
            );
            continue;
        }
        suspended.unwrap();
        application.refuses(name, &former, &["TABLE document", WRITE]).await;
    }
}

impl Application {
    /// A login that has no role, and its connection.
    async fn login(&self, name: &str) -> Client {
        let role = &self.role;
        let make = format!("CREATE ROLE {role}_{name} LOGIN PASSWORD 'pass'");
        self.admin.batch_execute(&make).await.unwrap();
        let (_, place) = self.url.rsplit_once('@').unwrap();
        connect(&format!("postgres://{role}_{name}:pass@{place}")).await
    }

    /// A member, with a function of its session that acts as the application's role.
    async fn member_with_a_function(&self) -> Client {
        let (role, member) = (&self.role, self.login("former").await);
        self.admin.batch_execute(&format!("GRANT {role} TO {role}_former")).await.unwrap();
        let make = format!(
            "SET ROLE {role}; CREATE FUNCTION pg_temp.reads() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM document';
             RESET ROLE"
        );
        member.batch_execute(&make).await.unwrap();
        member
    }

    /// That a login in a transaction is refused by `resolve`, whatever it asks.
    async fn refuses(&self, name: &str, client: &Client, statements: &[&str]) {
        let said = "is no member of the application's role, or was none when this transaction began";
        for statement in statements {
            let error = client.batch_execute(&format!("SAVEPOINT b; {statement}")).await.unwrap_err();
            let words = error.as_db_error().unwrap().message();
            assert_eq!(words, format!("{}_{name} {said}", self.role), "{statement}");
            client.batch_execute("ROLLBACK TO b").await.unwrap();
        }
    }
}

const WRITE: &str = "INSERT INTO document (tenant_id, document_id) VALUES ('acme', 99)";
const SNAPSHOT: &str =
    "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT set_config('tenancy.tenant', 'acme', true); SELECT 1";

/// Who is no member is not waited for, and its snapshot goes on showing the tenant as it was.
#[tokio::test]
async fn a_login_that_becomes_a_member_after_a_suspension_sees_nothing_with_its_snapshot_from_before() {
    let application = Application::new("").await;
    let (admin, role, acme) = (&application.admin, &application.role, tenant("acme"));
    application.fill(&acme, 50).await;
    bring(&application.target, &acme, Desired::Active, 1).await;
    let late = application.login("late").await;
    late.batch_execute(SNAPSHOT).await.unwrap();
    bring(&application.target, &acme, Desired::Suspended, 2).await;
    let group = format!("CREATE ROLE {role}_group; GRANT {role} TO {role}_group");
    admin.batch_execute(&group).await.unwrap();
    for through in ["", "_group"] {
        admin.batch_execute(&format!("GRANT {role}{through} TO {role}_late")).await.unwrap();
        application.refuses("late", &late, &["TABLE document", WRITE]).await;
        admin.batch_execute(&format!("REVOKE {role}{through} FROM {role}_late")).await.unwrap();
    }
    late.batch_execute("COMMIT").await.unwrap();
    // By way of another role it is a client like any other, from its next transaction on.
    bring(&application.target, &acme, Desired::Active, 3).await;
    admin.batch_execute(&format!("GRANT {role}_group TO {role}_late")).await.unwrap();
    late.batch_execute(SNAPSHOT).await.unwrap();
    let seen: i64 = late.query_one("SELECT count(*) FROM document", &[]).await.unwrap().get(0);
    assert_eq!(seen, 50);
}

#[tokio::test]
async fn a_function_that_a_member_left_behind_lets_it_in_no_longer_than_it_is_one() {
    let application = Application::new("").await;
    let (admin, role, acme) = (&application.admin, &application.role, tenant("acme"));
    application.fill(&acme, 50).await;
    bring(&application.target, &acme, Desired::Active, 1).await;
    let former = application.member_with_a_function().await;
    former.batch_execute(SNAPSHOT).await.unwrap();
    admin.batch_execute(&format!("REVOKE {role} FROM {role}_former")).await.unwrap();
    bring(&application.target, &acme, Desired::Suspended, 2).await;
    application.refuses("former", &former, &["SELECT pg_temp.reads()"]).await;
}

#[tokio::test]
async fn what_a_former_member_has_prepared_is_waited_for() {
    let application = Application::new("").await;
    let (admin, role, acme) = (&application.admin, &application.role, tenant("acme"));
    let target = application.modest(", deadline = \"1s\"").await;
    bring(&target, &acme, Desired::Active, 1).await;
    let former = application.login("former").await;
    let prepare = format!(
        "BEGIN; SELECT set_config('tenancy.tenant', 'acme', true); INSERT INTO document (tenant_id, document_id) VALUES ('acme', 99);
         PREPARE TRANSACTION '{role}'"
    );
    admin.batch_execute(&format!("GRANT {role} TO {role}_former")).await.unwrap();
    former.batch_execute(&prepare).await.unwrap();
    admin.batch_execute(&format!("REVOKE {role} FROM {role}_former")).await.unwrap();
    let (kind, words) = told(target.apply(&acme, Desired::Suspended, 2).await);
    assert_eq!(
        (kind, words.contains(&format!("prepared: '{role}' of {role}_former"))),
        (FailureKind::Waiting, true),
        "{words}"
    );
    former.batch_execute(&format!("ROLLBACK PREPARED '{role}'")).await.unwrap();
    target.apply(&acme, Desired::Suspended, 2).await.unwrap();
}

#[tokio::test]
async fn a_reader_of_archives_is_waited_for_like_the_application() {
    let application = Application::new("").await;
    let (admin, role, acme) = (&application.admin, &application.role, tenant("acme"));
    let target = application.modest(", deadline = \"1s\"").await;
    application.fill(&acme, 50).await;
    bring(&target, &acme, Desired::Archived, 1).await;
    let reader = application.login("reader").await;
    admin.batch_execute(&format!("GRANT tenantry_archive TO {role}_reader")).await.unwrap();
    reader.batch_execute(&format!("{SNAPSHOT}; TABLE document")).await.unwrap();
    let (kind, words) = told(target.apply(&acme, Desired::Deleted, 2).await);
    assert_eq!((kind, words.matches("(process ").count()), (FailureKind::Waiting, 1), "{words}");
    reader.batch_execute("COMMIT").await.unwrap();
    assert_eq!(bring(&target, &acme, Desired::Deleted, 2).await, Some(Desired::Deleted));
}

#[tokio::test]
async fn whoever_may_ask_without_having_been_admitted_is_waited_for() {
    let application = Application::new("").await;
    let (admin, role, acme) = (&application.admin, &application.role, tenant("acme"));
    let target = application.modest(", deadline = \"1s\"").await;
    application.fill(&acme, 50).await;
    let batch = application.login("batch").await;
    let grant =
        format!("GRANT USAGE ON SCHEMA tenancy TO {role}_batch; GRANT SELECT ON document TO {role}_batch");
    admin.batch_execute(&grant).await.unwrap();
    for (generation, whom) in (0..).zip([format!("{role}_batch"), "PUBLIC".to_owned()]) {
        bring(&target, &acme, Desired::Active, 2 * generation + 1).await;
        let right = "EXECUTE ON FUNCTION tenancy.resolve(text)";
        admin.batch_execute(&format!("GRANT {right} TO {whom}")).await.unwrap();
        batch.batch_execute(SNAPSHOT).await.unwrap();
        let (kind, words) = told(target.apply(&acme, Desired::Suspended, 2 * generation + 2).await);
        assert_eq!((kind, words.matches("(process ").count()), (FailureKind::Waiting, 1), "{whom}: {words}");
        batch.batch_execute("COMMIT").await.unwrap();
        assert_eq!(
            bring(&target, &acme, Desired::Suspended, 2 * generation + 2).await,
            Some(Desired::Suspended)
        );
        admin.batch_execute(&format!("REVOKE {right} FROM {whom}")).await.unwrap();
    }
}

#[tokio::test]
async fn a_former_member_that_had_bypassrls_once_is_refused() {
    let application = Application::new("").await;
    let (admin, role, acme) = (&application.admin, &application.role, tenant("acme"));
    application.fill(&acme, 50).await;
    bring(&application.target, &acme, Desired::Active, 1).await;
    let former = application.member_with_a_function().await;
    for attribute in ["BYPASSRLS", "SUPERUSER"] {
        admin
            .batch_execute(&format!("REVOKE {role} FROM {role}_former; ALTER ROLE {role}_former {attribute}"))
            .await
            .unwrap();
        former.batch_execute(SNAPSHOT).await.unwrap();
        admin.batch_execute(&format!("ALTER ROLE {role}_former NO{attribute}")).await.unwrap();
        application.refuses("former", &former, &["SELECT pg_temp.reads()"]).await;
        former.batch_execute("ROLLBACK").await.unwrap();
    }
}

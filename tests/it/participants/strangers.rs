//! Whoever else has a login in an application's database, or a table there: what is its own is none of ours, and no code of
//! its own runs as us.

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::TenantRef;
use tokio_postgres::Client;

use super::postgres::{Application, at, connect};
use super::{bring, tenant, told};
use crate::support::{Replica, Setup, empty_database, sql};

const SCHEMA: &str = include_str!("../../../src/participants/sql/install/schema.sql");

/// A login that is no member of the application and has no right in `tenancy`, with a schema of its own. A sequence there tells
/// whether its code ran.
async fn stranger(application: &Application) -> Client {
    let eve = format!("{}_eve", application.role);
    let make = format!("CREATE ROLE {eve} LOGIN PASSWORD 'pass'; CREATE SCHEMA eves AUTHORIZATION {eve}");
    application.admin.batch_execute(&make).await.unwrap();
    let (_, place) = application.url.rsplit_once('@').unwrap();
    let client = connect(&format!("postgres://{eve}:pass@{place}")).await;
    make_evidence(&client).await;
    client
}

async fn make_evidence(client: &Client) {
    let evidence =
        "CREATE SEQUENCE eves.ran; GRANT ALL ON SEQUENCE eves.ran TO PUBLIC; GRANT USAGE ON SCHEMA eves TO PUBLIC;
        CREATE FUNCTION eves.spring() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM nextval(''eves.ran''); RETURN NULL; END';
        CREATE FUNCTION eves.peek() RETURNS text LANGUAGE plpgsql AS
            'BEGIN PERFORM nextval(''eves.ran''); RETURN ''''; END'";
    client.batch_execute(evidence).await.unwrap();
}

async fn ran(admin: &Client, evidence: &str) -> bool {
    admin.query_one(&format!("SELECT is_called FROM {evidence}"), &[]).await.unwrap().get(0)
}

/// A table whose policy has a name and a condition, with code that runs when rows are removed or read.
fn trap(name: &str, policy: &str, condition: &str) -> String {
    format!(
        "CREATE TABLE eves.{name} (tenant_id text); INSERT INTO eves.{name} VALUES ('acme'), ('beta');
         ALTER TABLE eves.{name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         GRANT SELECT, INSERT, UPDATE, DELETE ON eves.{name} TO PUBLIC;
         CREATE TRIGGER t BEFORE DELETE ON eves.{name} FOR EACH STATEMENT EXECUTE FUNCTION eves.spring();
         CREATE POLICY {policy} ON eves.{name} USING ({condition});"
    )
}

/// That a tenant is locked out and purged as if no such table were there.
async fn passes_by(application: &Application, id: &str) {
    let (target, admin, whose) = (&application.target, &application.admin, tenant(id));
    application.fill(&whose, 5).await;
    assert_eq!(bring(target, &whose, Desired::Suspended, 1).await, Some(Desired::Suspended));
    assert_eq!(target.observe(&whose).await.unwrap().amiss, None);
    // A program that starts anew, and makes the schema again, takes none of them for one of ours.
    let again = at(&application.url, &format!(", install = true, role = \"{}\"", application.role));
    assert_eq!(bring(&again, &whose, Desired::Deleted, 2).await, Some(Desired::Deleted));
    assert!(!ran(admin, "eves.ran").await, "it ran");
    let left: i64 = admin.query_one("SELECT count(*) FROM eves.text", &[]).await.unwrap().get(0);
    assert_eq!(left, 2, "what is whose own stays");
}

#[tokio::test]
async fn a_table_of_a_stranger_is_neither_looked_at_nor_purged_nor_stopped_over_whatever_its_policies_say() {
    let application = Application::new("").await;
    let eve = stranger(&application).await;
    let traps = [
        trap("text", "p", "coalesce(tenant_id, '') <> 'tenancy.resolve('"),
        trap("named", "tenant_reads", "eves.peek() <> 'tenancy.resolve('"),
        // Nobody can look into these, or tell whose the rows are.
        "CREATE TABLE eves.other (x text); ALTER TABLE eves.other ENABLE ROW LEVEL SECURITY;
         CREATE POLICY p ON eves.other USING (x <> 'tenancy.resolve(')"
            .to_owned(),
    ];
    eve.batch_execute(&traps.concat()).await.unwrap();
    passes_by(&application, "acme").await;
    // Some let everybody into the schema, whose policies may ask then.
    let lets =
        "GRANT USAGE ON SCHEMA tenancy TO PUBLIC; GRANT EXECUTE ON FUNCTION tenancy.resolve(text) TO PUBLIC";
    application.admin.batch_execute(lets).await.unwrap();
    let asks = trap("asks", "tenant_reads", "tenant_id = coalesce(tenancy.resolve('r'), eves.peek())");
    eve.batch_execute(&asks).await.unwrap();
    passes_by(&application, "beta").await;
}

#[tokio::test]
async fn a_table_of_the_applications_own_making_is_none_of_ours_although_its_policies_ask_for_the_tenant() {
    let application = Application::new("").await;
    let make = format!("CREATE SCHEMA eves AUTHORIZATION {}_login", application.role);
    application.admin.batch_execute(&make).await.unwrap();
    let login = application.client().await;
    make_evidence(&login).await;
    let asks = trap("text", "tenant_reads", "tenant_id = coalesce(tenancy.resolve('r'), eves.peek())");
    login.batch_execute(&asks).await.unwrap();
    passes_by(&application, "acme").await;
}

#[tokio::test]
async fn a_table_of_an_owner_who_may_protect_is_purged_where_its_policies_ask_for_the_tenant() {
    let application = Application::new("").await;
    let (admin, role, acme) = (&application.admin, &application.role, tenant("acme"));
    let own = format!(
        "CREATE ROLE {role}_owner; CREATE SCHEMA shop AUTHORIZATION {role}_owner;
         GRANT USAGE ON SCHEMA tenancy TO {role}_owner;
         GRANT EXECUTE ON FUNCTION tenancy.protect(regclass) TO {role}_owner;
         SET ROLE {role}_owner;
         CREATE TABLE shop.bill (tenant_id text NOT NULL); INSERT INTO shop.bill VALUES ('acme');
         ALTER TABLE shop.bill ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON shop.bill USING (tenant_id = (SELECT tenancy.resolve('r')));
         RESET ROLE"
    );
    admin.batch_execute(&own).await.unwrap();
    assert_eq!(bring(&application.target, &acme, Desired::Deleted, 1).await, Some(Desired::Deleted));
    let left: i64 = admin.query_one("SELECT count(*) FROM shop.bill", &[]).await.unwrap().get(0);
    assert_eq!(left, 0);
}

#[tokio::test]
async fn nothing_that_a_user_put_into_public_runs_as_us_when_the_schema_is_made() {
    let url = empty_database().await;
    // Nearer than the server's own, which is of other types.
    let trap =
        "CREATE ROLE eve_in_public; GRANT CREATE ON SCHEMA public TO eve_in_public; SET ROLE eve_in_public;
        CREATE SEQUENCE public.ran; GRANT ALL ON SEQUENCE public.ran TO PUBLIC;
        CREATE FUNCTION public.differs(oid, regclass) RETURNS boolean LANGUAGE plpgsql AS
            'BEGIN PERFORM nextval(''public.ran''); RETURN true; END';
        CREATE OPERATOR public.<> (LEFTARG = oid, RIGHTARG = regclass, FUNCTION = public.differs);
        RESET ROLE";
    sql(&url, trap).await;
    let admin = connect(&url).await;
    let acme = tenant("acme");
    for generation in [1, 2] {
        let target = at(&url, ", install = true, role = \"app_with_public\"");
        bring(&target, &acme, Desired::Suspended, generation).await;
        assert!(!ran(&admin, "public.ran").await, "it ran");
    }
    // By hand, too; and whoever goes on in that session finds names as before.
    admin.batch_execute("SET search_path = public, information_schema").await.unwrap();
    admin.batch_execute(SCHEMA).await.unwrap();
    assert!(!ran(&admin, "public.ran").await, "it ran");
    let path: String = admin.query_one("SHOW search_path", &[]).await.unwrap().get(0);
    assert_eq!(path, "public, information_schema");
}

/// Notes, with each write of an access row, where the session finds names.
const NOTE: &str = "CREATE TABLE public.path (says text);
    CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN INSERT INTO public.path VALUES (current_setting(''search_path'')); RETURN NEW; END';
    CREATE TRIGGER t BEFORE INSERT OR UPDATE ON tenancy.access FOR EACH ROW EXECUTE FUNCTION public.note()";

async fn noted(admin: &Client) -> Vec<String> {
    let rows = admin.query("SELECT DISTINCT says FROM public.path", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn every_statement_of_ours_finds_names_in_the_servers_own_schema_alone() {
    let application = Application::new("").await;
    let (admin, role) = (&application.admin, &application.role);
    admin.batch_execute(NOTE).await.unwrap();
    let acme = tenant("acme");
    for (more, generation) in [("", 1), (", install = true", 2)] {
        let target = at(&application.url, &format!(", role = \"{role}\"{more}"));
        bring(&target, &acme, Desired::Suspended, generation).await;
    }
    assert_eq!(noted(admin).await, ["pg_catalog,pg_temp"]);
    // The registry's own table is no different.
    let mut replica = Replica::start(&Setup::default()).await;
    let admin = connect(&replica.database_url).await;
    admin.batch_execute(NOTE).await.unwrap();
    replica.tenant("finance").await;
    assert_eq!(noted(&admin).await, ["pg_catalog,pg_temp"]);
    replica.stop().await;
}

/// Has a session keep everybody else's writes out of a table until its transaction ends, and answers its process.
async fn locks(client: &Client, table: &str) -> i32 {
    let process = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    client.batch_execute(&format!("BEGIN; LOCK TABLE {table} IN EXCLUSIVE MODE")).await.unwrap();
    process
}

#[tokio::test]
async fn whoever_locks_a_table_of_ours_is_named() {
    let application = Application::new("").await;
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    bring(&application.target, &acme, Desired::Active, 1).await;
    let target = application.modest(", deadline = \"3s\"").await;
    let login = application.client().await;
    let process = locks(&login, "tenancy.probe").await;
    // It locks its tenant out all the same.
    target.apply(&acme, Desired::Suspended, 2).await.unwrap();
    let words = target.observe(&acme).await.unwrap_err().message;
    assert!(words.contains(&format!("process {process} locks tenancy.probe")), "{words}");
    login.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(target.observe(&acme).await.unwrap().state, Some(Desired::Suspended));
}

#[tokio::test]
async fn the_application_may_not_run_what_would_hold_up_every_change() {
    let application = Application::new("").await;
    let (admin, login) = (&application.admin, application.client().await);
    let denied = async || {
        let error = login.batch_execute("SELECT tenancy.learn_names()").await.unwrap_err();
        let words = error.as_db_error().unwrap().message().to_owned();
        assert!(words.contains("permission denied for function learn_names"), "{words}");
    };
    denied().await;
    // As versions before gave it; those who are control planes keep it.
    let modest = application.modest("").await;
    let before = format!("GRANT EXECUTE ON FUNCTION tenancy.learn_names() TO {}", application.role);
    admin.batch_execute(&before).await.unwrap();
    admin.batch_execute(SCHEMA).await.unwrap();
    denied().await;
    assert_eq!(bring(&modest, &tenant("acme"), Desired::Suspended, 1).await, Some(Desired::Suspended));
    // An older schema is asked for again, so that all of this is so.
    admin.batch_execute("DROP FUNCTION tenancy.says_whose(oid[])").await.unwrap();
    let old = at(&application.url, &format!(", role = \"{}\"", application.role));
    let (_, words) = told(old.apply(&tenant("acme"), Desired::Suspended, 1).await);
    assert!(words.contains("install = true"), "{words}");
}

/// That nothing is looked at or removed while something is so, which is named with these words; and that no code ran.
async fn stops_all_until(
    application: &Application,
    acme: &TenantRef,
    (made, named, back): (String, String, String),
) {
    let (target, admin) = (&application.target, &application.admin);
    admin.batch_execute(&made).await.unwrap();
    let why = target.observe(acme).await.unwrap().amiss.unwrap_or_default();
    assert!(why.contains(&named), "{made}: {why}");
    let (_, words) = told(target.apply(acme, Desired::Deleted, 2).await);
    assert!(words.contains(&named), "{made}: {words}");
    assert!(!ran(admin, "eves.ran").await, "it ran");
    admin.batch_execute(&back).await.unwrap();
}

/// Whoever owns one, or may put a trigger on it, does so while a purge waits for its lock: the check has passed by then.
#[tokio::test]
async fn a_table_of_a_stranger_that_refers_to_a_protected_one_is_named_before_it_has_any_code() {
    let application = Application::new("").await;
    let (target, admin, acme) = (&application.target, &application.admin, tenant("acme"));
    let eve = format!("{}_eve", application.role);
    application.fill(&acme, 5).await;
    let stranger = stranger(&application).await;
    bring(target, &acme, Desired::Archived, 1).await;
    let kid = "CREATE TABLE kid (tenant_id text, document_id bigint,
        FOREIGN KEY (tenant_id, document_id) REFERENCES public.document ON DELETE CASCADE); INSERT INTO kid VALUES ('acme', 1)";
    for (made, named, back) in [
        (
            format!("GRANT REFERENCES (tenant_id, document_id) ON document TO {eve}"),
            format!("public.document ({eve} has REFERENCES, and may not run tenancy.protect)"),
            format!("REVOKE REFERENCES (tenant_id, document_id) ON document FROM {eve}"),
        ),
        (
            format!("GRANT TRIGGER ON folder TO {eve}"),
            format!("public.folder ({eve} has TRIGGER, and may not run tenancy.protect)"),
            format!("REVOKE TRIGGER ON folder FROM {eve}"),
        ),
        (
            format!("{kid}; ALTER TABLE kid OWNER TO {eve}"),
            format!("public.kid ({eve} has OWNERSHIP, and may not run tenancy.protect)"),
            "ALTER TABLE kid OWNER TO CURRENT_USER".to_owned(),
        ),
        (
            "CREATE POLICY narrow ON document AS RESTRICTIVE USING (eves.peek() IS NOT NULL)".to_owned(),
            format!(
                "public.document ({eve} has OWNERSHIP of the function eves.peek(), and may not run tenancy.protect)"
            ),
            "DROP POLICY narrow ON document".to_owned(),
        ),
    ] {
        stops_all_until(&application, &acme, (made, named, back)).await;
    }
    // Whom the operator trusts with protecting tables has tables that refer to them.
    let trusts = format!(
        "ALTER TABLE kid OWNER TO {eve}; GRANT USAGE ON SCHEMA tenancy TO {eve};
         GRANT EXECUTE ON FUNCTION tenancy.protect(regclass) TO {eve}"
    );
    admin.batch_execute(&trusts).await.unwrap();
    drop(stranger);
    assert_eq!(bring(target, &acme, Desired::Deleted, 2).await, Some(Desired::Deleted));
    let left: i64 = admin.query_one("SELECT count(*) FROM kid", &[]).await.unwrap().get(0);
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_function_of_a_stranger_that_the_planner_runs_and_a_schema_that_it_may_rename_are_named() {
    let application = Application::new("").await;
    let (target, acme) = (&application.target, tenant("acme"));
    let eve = format!("{}_eve", application.role);
    application.fill(&acme, 5).await;
    let stranger = stranger(&application).await;
    bring(target, &acme, Desired::Archived, 1).await;
    let less =
        "CREATE FUNCTION eves.less(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 0; END'";
    stranger.batch_execute(less).await.unwrap();
    let (_, database) = application.url.rsplit_once('/').unwrap();
    for change in [
        // What the planner works out.
        (
            "CREATE STATISTICS wide ON tenant_id, (document_id + eves.less(1)) FROM document".to_owned(),
            format!(
                "public.document ({eve} has OWNERSHIP of the function eves.less(integer), and may not run tenancy.protect)"
            ),
            "DROP STATISTICS wide".to_owned(),
        ),
        (
            "CREATE TABLE parted (tenant_id text, n int) PARTITION BY LIST ((n + eves.less(1))); SELECT tenancy.protect('parted')".to_owned(),
            format!(
                "public.parted ({eve} has OWNERSHIP of the function eves.less(integer), and may not run tenancy.protect)"
            ),
            "DROP TABLE parted".to_owned(),
        ),
        // Names lead elsewhere once it is renamed, whatever lock the table is under.
        (
            format!(
                "CREATE TABLE eves.plain (tenant_id text); SELECT tenancy.protect('eves.plain');
                 GRANT CREATE ON DATABASE {database} TO {eve}"
            ),
            format!("eves.plain ({eve} has OWNERSHIP of its schema, and may not run tenancy.protect)"),
            format!("REVOKE CREATE ON DATABASE {database} FROM {eve}"),
        ),
    ] {
        stops_all_until(&application, &acme, change).await;
    }
    assert_eq!(bring(target, &acme, Desired::Deleted, 2).await, Some(Desired::Deleted));
}

#[tokio::test]
async fn whoever_locks_what_a_purge_leads_to_is_named() {
    let application = Application::new("").await;
    let (admin, role, acme) = (&application.admin, &application.role, tenant("acme"));
    application.fill(&acme, 5).await;
    let kid = format!(
        "CREATE TABLE kid (tenant_id text, document_id bigint, FOREIGN KEY (tenant_id, document_id) REFERENCES document
            ON DELETE CASCADE);
         GRANT ALL ON kid TO {role}; REVOKE TRIGGER, REFERENCES ON kid FROM {role}"
    );
    admin.batch_execute(&kid).await.unwrap();
    let target = application.modest(", deadline = \"2s\"").await;
    for (locker, table) in [(&application.client().await, "kid"), (admin, "visit_2025")] {
        let process = locks(locker, table).await;
        let (_, words) = told(target.apply(&acme, Desired::Deleted, 1).await);
        assert!(words.contains(&format!("process {process} locks public.{table}")), "{words}");
        locker.batch_execute("ROLLBACK").await.unwrap();
    }
    assert_eq!(bring(&target, &acme, Desired::Deleted, 1).await, Some(Desired::Deleted));
}

/// Whoever owns the schema puts another table in the place of a protected one, and commits that when a statement of ours waits for
/// its lock: it goes by the name then, after the look.
#[tokio::test]
async fn what_a_stranger_swaps_in_for_a_table_while_we_wait_for_its_lock_never_runs_as_us() {
    let application = Application::new("").await;
    let (admin, role) = (&application.admin, &application.role);
    let eve = stranger(&application).await;
    let trigger = "CREATE TABLE eves.note (tenant_id text); INSERT INTO eves.note VALUES ('acme');
        CREATE TRIGGER t BEFORE DELETE ON eves.note FOR EACH STATEMENT EXECUTE FUNCTION eves.spring()";
    let view = "CREATE VIEW eves.note AS SELECT eves.peek() AS tenant_id";
    for (ours, trap) in [
        ("SELECT tenancy.purge_batch('acme', 100)", trigger),
        ("SELECT tenancy.kept('acme')", trigger),
        ("SELECT tenancy.leftover('acme')", view),
        ("SELECT tenancy.visible()", view),
    ] {
        let note = format!(
            "CREATE TABLE eves.note (tenant_id text); INSERT INTO eves.note VALUES ('acme'); SELECT tenancy.protect('eves.note');
             GRANT SELECT ON eves.note TO {role}"
        );
        admin.batch_execute(&note).await.unwrap();
        let swap = format!("BEGIN; DROP TABLE eves.note; {trap}; GRANT ALL ON eves.note TO PUBLIC");
        admin.batch_execute(&format!("ALTER TABLE eves.note OWNER TO {role}_eve")).await.unwrap();
        eve.batch_execute(&swap).await.unwrap();
        let (ended, ()) = tokio::join!(admin.batch_execute(ours), async {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            eve.batch_execute("COMMIT").await.unwrap();
        });
        assert!(!ran(admin, "eves.ran").await, "{ours}: it ran");
        let words = ended.unwrap_err().as_db_error().unwrap().message().to_owned();
        assert_eq!(words, "eves.note was replaced while we waited for it", "{ours}");
        let gone = if trap == view { "DROP VIEW eves.note" } else { "DROP TABLE eves.note" };
        admin.batch_execute(&format!("{gone}; SELECT tenancy.release('eves.note')")).await.unwrap();
    }
}

/// A start makes the schema again: that took locks that a mere reader has.
#[tokio::test]
async fn a_client_that_has_read_what_it_may_of_ours_holds_up_no_change_after_a_start() {
    let application = Application::new("").await;
    let (role, acme) = (&application.role, tenant("acme"));
    application.fill(&acme, 5).await;
    bring(&application.target, &acme, Desired::Active, 1).await;
    let login = application.client().await;
    let read = "BEGIN; SELECT count(*) FROM tenancy.probe; SELECT tenancy.named_tables(); SELECT tenancy.unprotected('x')";
    login.batch_execute(read).await.unwrap();
    let again = at(&application.url, &format!(", install = true, role = \"{role}\", deadline = \"3s\""));
    assert_eq!(bring(&again, &acme, Desired::Suspended, 2).await, Some(Desired::Suspended));
}

#[tokio::test]
async fn what_a_stranger_put_in_the_place_of_our_schema_is_not_taken_over() {
    let url = empty_database().await;
    sql(&url, "CREATE ROLE eve_beforehand").await;
    for (squat, whose) in [
        ("CREATE SCHEMA tenancy AUTHORIZATION eve_beforehand", "the schema tenancy is there already and belongs to eve_beforehand"),
        (
            "CREATE SCHEMA tenancy; CREATE TABLE tenancy.access (tenant_id text PRIMARY KEY, uid uuid NOT NULL, state text NOT NULL,
                generation bigint NOT NULL); ALTER TABLE tenancy.access OWNER TO eve_beforehand",
            "tenancy.access is there already and belongs to eve_beforehand",
        ),
    ] {
        sql(&url, squat).await;
        let target = at(&url, ", install = true, role = \"app_beforehand\"");
        let (_, words) = told(target.apply(&tenant("acme"), Desired::Suspended, 1).await);
        assert!(words.contains(whose), "{words}");
        sql(&url, "DROP SCHEMA tenancy CASCADE").await;
        assert_eq!(bring(&target, &tenant("acme"), Desired::Suspended, 1).await, Some(Desired::Suspended));
        sql(&url, "DROP SCHEMA tenancy CASCADE").await;
    }
}

#[tokio::test]
async fn a_lock_on_a_table_of_a_strangers_own_holds_nobody_up() {
    let application = Application::new("").await;
    let eve = stranger(&application).await;
    eve.batch_execute("CREATE TEMP TABLE x (a int); CREATE POLICY p ON x USING (true)").await.unwrap();
    eve.batch_execute("BEGIN; LOCK TABLE x").await.unwrap();
    let target = application.modest(", deadline = \"3s\"").await;
    assert_eq!(bring(&target, &tenant("acme"), Desired::Suspended, 1).await, Some(Desired::Suspended));
}

#[tokio::test]
async fn the_application_cannot_fill_the_table_that_looks_try_with() {
    let application = Application::new("").await;
    let (admin, login, acme) = (&application.admin, application.client().await, tenant("acme"));
    bring(&application.target, &acme, Desired::Active, 1).await;
    let fill = "BEGIN; SET LOCAL tenancy.tenant = 'acme'; INSERT INTO tenancy.probe VALUES ('acme'); COMMIT";
    let before = format!("GRANT INSERT, UPDATE ON tenancy.probe TO {}", application.role);
    admin.batch_execute(&before).await.unwrap();
    login.batch_execute(fill).await.unwrap();
    // As versions before gave it.
    admin.batch_execute(SCHEMA).await.unwrap();
    let left: i64 = admin.query_one("SELECT count(*) FROM tenancy.probe", &[]).await.unwrap().get(0);
    assert_eq!(left, 0);
    let error = login.batch_execute(fill).await.unwrap_err();
    assert_eq!(error.as_db_error().unwrap().message(), "permission denied for table probe");
    assert_eq!(bring(&application.target, &acme, Desired::ReadOnly, 2).await, Some(Desired::ReadOnly));
    assert_eq!(bring(&application.target, &acme, Desired::Active, 3).await, Some(Desired::Active));
}

//! Code of the application, which must never run as the target's own database user: that sees every row, and decides who is
//! let in. And roles that the application takes on, with what those may.

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::{FailureKind, TenantRef};

use super::postgres::{Application, at};
use super::{bring, tenant, told};

/// A schema of the application's own, where its login makes what it likes.
async fn with_a_schema_of_its_own() -> (Application, tokio_postgres::Client) {
    let application = Application::new("").await;
    let make = format!("CREATE SCHEMA mine AUTHORIZATION {}_login", application.role);
    application.admin.batch_execute(&make).await.unwrap();
    let login = application.client().await;
    let evidence = "CREATE SEQUENCE mine.ran; GRANT ALL ON SEQUENCE mine.ran TO PUBLIC; GRANT USAGE ON SCHEMA mine TO PUBLIC";
    login.batch_execute(evidence).await.unwrap();
    (application, login)
}

/// Has the operator trust the application's login with protecting tables: one of its own whose policies ask is one of ours then.
async fn may_protect(application: &Application) {
    let grant = format!("GRANT EXECUTE ON FUNCTION tenancy.protect(regclass) TO {}_login", application.role);
    application.admin.batch_execute(&grant).await.unwrap();
}

async fn ran(application: &Application) -> bool {
    application.admin.query_one("SELECT is_called FROM mine.ran", &[]).await.unwrap().get(0)
}

const TRAP: &str = "CREATE TABLE mine.trap (tenant_id text);
    INSERT INTO mine.trap VALUES ('acme'), ('other');
    ALTER TABLE mine.trap ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
    GRANT SELECT, INSERT, UPDATE, DELETE ON mine.trap TO PUBLIC;
    CREATE POLICY p ON mine.trap USING (tenant_id = tenancy.resolve('r'))";

#[tokio::test]
async fn a_trigger_of_the_application_never_lets_a_tenant_in_or_takes_a_role_with_the_purge_of_another() {
    let (application, login) = with_a_schema_of_its_own().await;
    may_protect(&application).await;
    let (acme, other) = (tenant("acme"), tenant("other"));
    application.fill(&acme, 5).await;
    application.fill(&other, 5).await;
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    bring(&application.target, &other, Desired::Archived, 1).await;
    let trap = format!(
        "{TRAP};
        CREATE FUNCTION mine.spring() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM nextval('mine.ran');
            UPDATE tenancy.access SET state = 'ACTIVE' WHERE tenant_id = 'acme';
            GRANT pg_execute_server_program TO {0}_login;
            RETURN NULL;
        END $$;
        CREATE TRIGGER spring BEFORE DELETE ON mine.trap FOR EACH STATEMENT EXECUTE FUNCTION mine.spring()",
        application.role
    );
    login.batch_execute(&trap).await.unwrap();
    let (kind, words) = told(application.target.apply(&other, Desired::Deleted, 2).await);
    assert_eq!(kind, FailureKind::Permanent, "{words}");
    let whose = format!("mine.trap ({}_login has OWNERSHIP, OWNERSHIP of its schema", application.role);
    assert!(words.contains(&whose), "{words}");
    assert!(!ran(&application).await, "it ran");
    let programs =
        format!("SELECT pg_has_role('{}_login', 'pg_execute_server_program', 'MEMBER')", application.role);
    assert!(!application.admin.query_one(&programs, &[]).await.unwrap().get::<_, bool>(0));
    let seen = application.target.observe(&acme).await.unwrap();
    assert!(seen.amiss.is_some_and(|why| why.contains(&whose)), "and looks say so beforehand");
    // Nobody does it by hand either, with more rights still.
    let forget = "SELECT tenancy.forget('other', uid) FROM tenancy.access WHERE tenant_id = 'other'";
    application.admin.execute(forget, &[]).await.unwrap_err();
    assert!(!ran(&application).await, "it ran");
    login.batch_execute("DROP TABLE mine.trap").await.unwrap();
    assert_eq!(bring(&application.target, &other, Desired::Deleted, 2).await, Some(Desired::Deleted));
    assert_eq!(bring(&application.target, &acme, Desired::Suspended, 1).await, Some(Desired::Suspended));
}

#[tokio::test]
async fn a_policy_of_the_application_never_reads_as_us_what_the_application_may_not() {
    let (application, login) = with_a_schema_of_its_own().await;
    may_protect(&application).await;
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    let trap = format!(
        "{TRAP};
        CREATE FUNCTION mine.peek(t text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
            PERFORM set_config('role', 'none', true);
            PERFORM nextval('mine.ran') FROM public.document;
            PERFORM set_config('role', '{}', true);
            RETURN t;
        END $$;
        ALTER POLICY p ON mine.trap USING (tenant_id = mine.peek(tenancy.resolve('r')))",
        application.role
    );
    login.batch_execute(&trap).await.unwrap();
    let seen = application.target.observe(&acme).await.unwrap();
    assert!(!ran(&application).await, "it ran");
    assert!(seen.amiss.is_some_and(|why| why.contains("mine.trap")));
    let (kind, words) = told(application.target.apply(&acme, Desired::Suspended, 1).await);
    assert_eq!((kind, words.contains("mine.trap")), (FailureKind::Permanent, true), "{words}");
    // Nor of a tenant of which nothing is known, or that was purged.
    for (state, generation) in [(None, 0), (Some(Desired::Deleted), 1)] {
        let unknown = tenant("unknown");
        if let Some(state) = state {
            application.target.apply(&unknown, state, generation).await.unwrap_err();
        }
        assert!(application.target.observe(&unknown).await.unwrap().amiss.is_some(), "{state:?}");
    }
    assert!(!ran(&application).await, "it ran");
}

#[tokio::test]
async fn whatever_the_application_may_attach_its_code_to_is_named_with_whose_right_it_is() {
    let (application, login) = with_a_schema_of_its_own().await;
    let (target, admin, role) = (&application.target, &application.admin, &application.role);
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    bring(target, &acme, Desired::Archived, 1).await;
    let own = "CREATE FUNCTION mine.run() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM nextval(''mine.ran''); RETURN OLD; END';
        CREATE FUNCTION mine.same(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
            'BEGIN PERFORM nextval(''mine.ran''); RETURN $1; END';
        CREATE DOMAIN mine.title AS text;
        CREATE TABLE mine.bill (tenant_id text, document_id bigint)";
    login.batch_execute(own).await.unwrap();
    for (change, table, what, back) in [
        (
            "CREATE TRIGGER t BEFORE DELETE ON visit_2025 FOR EACH ROW EXECUTE FUNCTION mine.run()",
            "public.visit_2025",
            "OWNERSHIP of the function mine.run()",
            "DROP TRIGGER t ON visit_2025",
        ),
        (
            "CREATE RULE r AS ON DELETE TO document DO ALSO SELECT mine.same('x')",
            "public.document",
            "OWNERSHIP of the function mine.same(text)",
            "DROP RULE r ON document",
        ),
        (
            "CREATE INDEX narrow ON document (title) WHERE title = mine.same('x')",
            "public.document",
            "OWNERSHIP of the function mine.same(text)",
            "DROP INDEX narrow; SELECT setval('mine.ran', 1, false)",
        ),
        (
            "ALTER TABLE document ADD COLUMN named mine.title",
            "public.document",
            "OWNERSHIP of the type mine.title",
            "ALTER TABLE document DROP COLUMN named",
        ),
        (
            "ALTER TABLE mine.bill ADD CONSTRAINT b FOREIGN KEY (tenant_id, document_id) REFERENCES document ON DELETE CASCADE",
            "mine.bill",
            "OWNERSHIP, OWNERSHIP of its schema",
            "ALTER TABLE mine.bill DROP CONSTRAINT b",
        ),
    ] {
        admin.batch_execute(change).await.unwrap();
        admin.execute("SELECT setval('mine.ran', 1, false)", &[]).await.unwrap();
        let (kind, words) = told(target.apply(&acme, Desired::Deleted, 2).await);
        let named = format!("{table} ({role}_login has {what})");
        assert_eq!((kind, words.contains(&named)), (FailureKind::Permanent, true), "{change}: {words}");
        assert!(
            target.observe(&acme).await.unwrap().amiss.is_some_and(|why| why.contains(&named)),
            "{change}"
        );
        assert!(!ran(&application).await, "{change}: it ran");
        admin.batch_execute(back).await.unwrap();
    }
    assert_eq!(bring(target, &acme, Desired::Deleted, 2).await, Some(Desired::Deleted));
}

#[tokio::test]
async fn a_temporary_table_of_a_session_hinders_no_purge() {
    let application = Application::new("").await;
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    bring(&application.target, &acme, Desired::Archived, 1).await;
    let login = application.client().await;
    let temporary = "CREATE TEMPORARY TABLE x (tenant_id text); ALTER TABLE x ENABLE ROW LEVEL SECURITY;
        CREATE POLICY p ON x USING (tenant_id = tenancy.resolve('r')); INSERT INTO x VALUES ('acme')";
    login.batch_execute(temporary).await.unwrap();
    for target in [&application.target, &application.modest("").await] {
        assert_eq!(bring(target, &acme, Desired::Deleted, 2).await, Some(Desired::Deleted));
        assert_eq!(target.observe(&acme).await.unwrap().amiss, None);
    }
}

#[tokio::test]
async fn an_application_that_may_change_what_this_schema_decides_by_is_named() {
    let application = Application::new("").await;
    let (target, admin, role) = (&application.target, &application.admin, &application.role);
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    bring(target, &acme, Desired::Suspended, 1).await;
    let us: String = admin.query_one("SELECT current_user::text", &[]).await.unwrap().get(0);
    for (right, named, back) in [
        (
            format!("GRANT ALL ON tenancy.access TO {role}"),
            format!("tenancy.access ({role} has DELETE, INSERT, REFERENCES, TRIGGER, TRUNCATE, UPDATE"),
            format!("REVOKE ALL ON tenancy.access FROM {role}"),
        ),
        (
            "GRANT UPDATE (state) ON tenancy.access TO PUBLIC".to_owned(),
            format!("tenancy.access ({role} has UPDATE)"),
            "REVOKE UPDATE (state) ON tenancy.access FROM PUBLIC".to_owned(),
        ),
        (
            format!("GRANT DELETE ON tenancy.protected TO {role}_login"),
            format!("tenancy.protected ({role}_login has DELETE)"),
            format!("REVOKE DELETE ON tenancy.protected FROM {role}_login"),
        ),
        (
            format!("GRANT INSERT ON tenancy.permitted TO {role}"),
            format!("tenancy.permitted ({role} has INSERT)"),
            format!("REVOKE INSERT ON tenancy.permitted FROM {role}"),
        ),
        (
            format!("GRANT TRIGGER ON tenancy.probe TO {role}"),
            format!("tenancy.probe ({role} has TRIGGER)"),
            format!("REVOKE TRIGGER ON tenancy.probe FROM {role}"),
        ),
        (
            format!("ALTER FUNCTION tenancy.resolve(text) OWNER TO {role}"),
            format!("({role} has OWNERSHIP of the function tenancy.resolve(text))"),
            format!("ALTER FUNCTION tenancy.resolve(text) OWNER TO {us}; SELECT tenancy.admit('{role}')"),
        ),
        (
            format!("GRANT CREATE ON SCHEMA tenancy TO {role}"),
            format!("the schema tenancy ({role} has CREATE)"),
            format!("REVOKE CREATE ON SCHEMA tenancy FROM {role}"),
        ),
    ] {
        admin.batch_execute(&right).await.unwrap();
        let seen = target.observe(&acme).await.unwrap();
        assert_ne!(seen.state, Some(Desired::Suspended), "{right}");
        let why = seen.amiss.unwrap();
        assert!(why.contains(&named), "{right}: {why}");
        let (kind, words) = told(target.apply(&acme, Desired::Suspended, 1).await);
        assert_eq!((kind, words), (FailureKind::Permanent, why), "{right}");
        admin.batch_execute(&back).await.unwrap();
        assert_eq!(bring(target, &acme, Desired::Suspended, 1).await, Some(Desired::Suspended), "{back}");
    }
}

#[tokio::test]
async fn an_application_that_owns_the_database_or_the_schema_of_a_protected_table_is_named() {
    let application = Application::new("").await;
    let (target, admin, role) = (&application.target, &application.admin, &application.role);
    let acme = tenant("acme");
    bring(target, &acme, Desired::Suspended, 1).await;
    let database: String = admin.query_one("SELECT current_database()::text", &[]).await.unwrap().get(0);
    let owner: String = admin
        .query_one("SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = 'public'", &[])
        .await
        .unwrap()
        .get(0);
    let us: String = admin.query_one("SELECT current_user::text", &[]).await.unwrap().get(0);
    for (right, named, back) in [
        (
            format!("ALTER SCHEMA public OWNER TO {role}"),
            format!("public.document ({role} has OWNERSHIP of its schema)"),
            format!("ALTER SCHEMA public OWNER TO {owner}"),
        ),
        (
            format!("ALTER DATABASE {database} OWNER TO {role}"),
            format!("({role} has OWNERSHIP"),
            format!("ALTER DATABASE {database} OWNER TO {us}"),
        ),
    ] {
        admin.batch_execute(&right).await.unwrap();
        let why = target.observe(&acme).await.unwrap().amiss.unwrap();
        assert!(why.contains(&named), "{right}: {why}");
        admin.batch_execute(&back).await.unwrap();
        assert_eq!(target.observe(&acme).await.unwrap().amiss, None, "{back}");
    }
}

/// That a tenant is drift while something is so, with these words, and no longer once it is taken back.
pub(super) async fn is_named_until(
    application: &Application,
    acme: &TenantRef,
    (change, named, back): (String, String, String),
) {
    let target = &application.target;
    bring(target, acme, Desired::Suspended, 1).await;
    application.admin.batch_execute(&change).await.unwrap();
    let seen = target.observe(acme).await.unwrap();
    let why = seen.amiss.unwrap_or_default();
    assert!(why.contains(&named), "{change}: {why:?}");
    assert_ne!(seen.state, Some(Desired::Suspended), "{change}");
    let (kind, words) = told(target.apply(acme, Desired::Suspended, 1).await);
    assert_eq!((kind, words), (FailureKind::Permanent, why), "{change}");
    application.admin.batch_execute(&back).await.unwrap();
    assert_eq!(bring(target, acme, Desired::Suspended, 1).await, Some(Desired::Suspended), "{back}");
}

#[tokio::test]
async fn a_role_that_the_application_may_set_is_looked_at_like_its_own() {
    let application = Application::new("").await;
    let (role, acme) = (&application.role, tenant("acme"));
    let make = format!(
        "ALTER ROLE {role} NOINHERIT; ALTER ROLE {role}_login NOINHERIT; CREATE ROLE {role}_maint;
         CREATE ROLE {role}_far; GRANT {role}_far TO {role}_maint"
    );
    application.admin.batch_execute(&make).await.unwrap();
    let back = format!("REVOKE {role}_maint FROM {role}, {role}_login");
    for (right, named, back) in [
        (
            format!("ALTER ROLE {role}_far BYPASSRLS; GRANT {role}_maint TO {role}"),
            format!("role {role}, as {role}_far (BYPASSRLS)"),
            format!("{back}; ALTER ROLE {role}_far NOBYPASSRLS"),
        ),
        (
            format!("ALTER ROLE {role}_maint SUPERUSER; GRANT {role}_maint TO {role}_login"),
            format!("role {role}_login, as {role}_maint (superuser)"),
            format!("{back}; ALTER ROLE {role}_maint NOSUPERUSER"),
        ),
        (
            format!("GRANT pg_read_server_files TO {role}_maint; GRANT {role}_maint TO {role}"),
            format!("role {role}, as pg_read_server_files (reaches the files"),
            format!("{back}; REVOKE pg_read_server_files FROM {role}_maint"),
        ),
        (
            format!("GRANT SELECT, INSERT ON visit_2025 TO {role}_maint; GRANT {role}_maint TO {role}"),
            "public.visit_2025 (".to_owned(),
            format!("{back}; REVOKE ALL ON visit_2025 FROM {role}_maint"),
        ),
        (
            format!(
                "GRANT SELECT ON document TO {role}_far; GRANT {role}_maint TO {role};
                 CREATE POLICY beside ON document TO {role}_far USING (true)"
            ),
            "public.document (policy beside)".to_owned(),
            format!("{back}; DROP POLICY beside ON document"),
        ),
    ] {
        is_named_until(&application, &acme, (right, named, back)).await;
    }
    // What others are that are no members of it, and what the members may that are control planes, is their own affair.
    let others = format!(
        "ALTER ROLE {role}_far SUPERUSER; CREATE ROLE {role}_plane LOGIN BYPASSRLS; GRANT {role}, {role}_far TO {role}_plane;
         GRANT INSERT, UPDATE ON tenancy.access TO {role}_plane"
    );
    application.admin.batch_execute(&others).await.unwrap();
    assert_eq!(application.target.observe(&acme).await.unwrap().amiss, None);
}

#[tokio::test]
async fn an_application_that_can_grant_itself_our_account_is_named() {
    let application = Application::new("").await;
    let (role, acme) = (&application.role, tenant("acme"));
    let version = "SELECT current_setting('server_version_num')::integer < 160000";
    let before_16: bool = application.admin.query_one(version, &[]).await.unwrap().get(0);
    let right = format!("CREATE ROLE {role}_boss CREATEROLE; GRANT {role}_boss TO {role}");
    if before_16 {
        let named = format!("role {role}, as {role}_boss (CREATEROLE");
        is_named_until(&application, &acme, (right, named, format!("DROP ROLE {role}_boss"))).await;
    } else {
        // From there on it gives nobody a role that it was not given itself.
        application.admin.batch_execute(&right).await.unwrap();
        bring(&application.target, &acme, Desired::Suspended, 1).await;
        assert_eq!(application.target.observe(&acme).await.unwrap().amiss, None);
    }
}

#[tokio::test]
async fn a_detached_partition_that_a_client_reaches_is_purged_and_named_until_it_is_protected_or_released() {
    let application = Application::new("").await;
    let (target, admin) = (&application.target, &application.admin);
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    bring(target, &acme, Desired::Archived, 1).await;
    let role = &application.role;
    let attach = &format!(
        "REVOKE ALL ON visit_2026 FROM {role};
         ALTER TABLE visit ATTACH PARTITION visit_2026 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')"
    );
    let detach =
        &format!("ALTER TABLE visit DETACH PARTITION visit_2026; GRANT SELECT ON visit_2026 TO {role}");
    admin.batch_execute(detach).await.unwrap();
    let named = "public.visit_2026 (was a partition of public.visit: ";
    let why = target.observe(&acme).await.unwrap().amiss.unwrap_or_default();
    assert!(why.contains(named), "{why:?}");
    let (kind, words) = told(target.apply(&acme, Desired::Deleted, 2).await);
    assert_eq!((kind, words.contains(named)), (FailureKind::Permanent, true), "{words}");
    let rows: i64 = admin.query_one("SELECT count(*) FROM visit_2026", &[]).await.unwrap().get(0);
    assert_eq!(rows, 0, "no next tenant of this id gets them with the partition");
    // A program that starts anew forgets nothing.
    let again = at(&application.url, &format!(", install = true, role = \"{}\"", application.role));
    assert!(again.observe(&acme).await.unwrap().amiss.is_some_and(|why| why.contains(named)));
    for mended in
        [attach, "SELECT tenancy.protect('visit_2026')", "SELECT tenancy.release('public.visit_2026')"]
    {
        admin.batch_execute(mended).await.unwrap();
        assert_eq!(bring(target, &acme, Desired::Deleted, 2).await, Some(Desired::Deleted), "{mended}");
        assert_eq!(target.observe(&acme).await.unwrap().amiss, None, "{mended}");
        if mended == attach {
            admin.batch_execute(detach).await.unwrap();
        }
        let forgotten = "DELETE FROM tenancy.protected WHERE relation = 'visit_2026'::regclass";
        admin.batch_execute(forgotten).await.unwrap();
    }
    // A table that is released altogether takes its partitions with it, and one that is dropped is no more.
    admin.batch_execute("DROP TABLE visit_2026; SELECT tenancy.release('public.visit')").await.unwrap();
    assert_eq!(target.observe(&acme).await.unwrap().amiss.map(|why| why.contains("visit_2025")), None);
}

#[tokio::test]
async fn a_detached_partition_of_which_nobody_can_tell_whose_its_rows_are_lets_no_purge_end() {
    let application = Application::new("").await;
    let (target, admin) = (&application.target, &application.admin);
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    bring(target, &acme, Desired::Archived, 1).await;
    let change =
        "ALTER TABLE visit DETACH PARTITION visit_2026; ALTER TABLE visit_2026 RENAME tenant_id TO whose";
    admin.batch_execute(change).await.unwrap();
    let (kind, words) = told(target.apply(&acme, Desired::Deleted, 2).await);
    let named = "public.visit_2026 was a partition of public.visit and has no column tenant_id";
    assert_eq!((kind, words.contains(named)), (FailureKind::Permanent, true), "{words}");
    admin.batch_execute("DROP TABLE visit_2026").await.unwrap();
    assert_eq!(bring(target, &acme, Desired::Deleted, 2).await, Some(Desired::Deleted));
}

#[tokio::test]
async fn what_rules_and_policies_of_trusted_owners_lead_to_is_looked_at_too() {
    let (application, login) = with_a_schema_of_its_own().await;
    let (role, acme) = (&application.role, tenant("acme"));
    let own =
        "CREATE TABLE mine.audit (tenant_id text); CREATE VIEW mine.seen AS SELECT 'x'::text AS tenant_id;
        CREATE FUNCTION mine.same(text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
        CREATE DOMAIN mine.title AS text";
    login.batch_execute(own).await.unwrap();
    for (change, named, back) in [
        (
            "CREATE RULE r AS ON DELETE TO document DO ALSO INSERT INTO mine.audit VALUES (old.tenant_id)",
            "mine.audit",
            "DROP RULE r ON document",
        ),
        (
            "CREATE POLICY narrow ON document AS RESTRICTIVE USING (tenant_id NOT IN (SELECT tenant_id FROM mine.seen))",
            "mine.seen",
            "DROP POLICY narrow ON document",
        ),
        (
            "CREATE VIEW between AS SELECT tenant_id FROM mine.seen;
             CREATE POLICY narrow ON document AS RESTRICTIVE USING (tenant_id NOT IN (SELECT tenant_id FROM between))",
            "mine.seen",
            "DROP POLICY narrow ON document; DROP VIEW between",
        ),
        (
            "CREATE POLICY narrow ON document AS RESTRICTIVE USING (title::mine.title <> 'y')",
            "of the type mine.title",
            "DROP POLICY narrow ON document",
        ),
        (
            "CREATE DOMAIN inner_title AS text CHECK (mine.same(VALUE)); CREATE DOMAIN title AS inner_title;
             CREATE POLICY narrow ON document AS RESTRICTIVE USING (title::title <> 'y')",
            "of the function mine.same(text)",
            "DROP POLICY narrow ON document; DROP DOMAIN title; DROP DOMAIN inner_title",
        ),
    ] {
        let named = if named.starts_with("of") {
            format!("public.document ({role}_login has OWNERSHIP {named})")
        } else {
            format!("{named} ({role}_login has OWNERSHIP, OWNERSHIP of its schema)")
        };
        is_named_until(&application, &acme, (change.to_owned(), named, back.to_owned())).await;
    }
}

#[tokio::test]
async fn a_rule_whose_owner_is_bound_by_policies_is_not_called_a_right_that_we_lack() {
    let application = Application::new("").await;
    let (target, role) = (&application.target, &application.role);
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    bring(target, &acme, Desired::Archived, 1).await;
    let keeps = format!(
        "CREATE ROLE {role}_owner; CREATE TABLE audit (tenant_id text); SELECT tenancy.protect('audit');
         ALTER TABLE audit OWNER TO {role}_owner; ALTER TABLE document OWNER TO {role}_owner;
         CREATE RULE r AS ON DELETE TO document DO ALSO DELETE FROM audit WHERE tenant_id = old.tenant_id"
    );
    application.admin.batch_execute(&keeps).await.unwrap();
    let (kind, words) = told(target.apply(&acme, Desired::Deleted, 2).await);
    assert_eq!(kind, FailureKind::Permanent, "{words}");
    for part in ["public.document: a rule, or", "as an owner whom policies bind", "for table \"document\""] {
        assert!(words.contains(part), "{words}");
    }
    assert!(!words.contains("lacks a right"), "{words}");
}

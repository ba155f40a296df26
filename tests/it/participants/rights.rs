//! Rights in an application's database: those that let somebody past all policies, and those that are missing.

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::FailureKind;

use super::overreach::is_named_until;
use super::postgres::{Application, at};
use super::{bring, tenant, told};
use crate::support::{empty_database, sql};

#[tokio::test]
async fn a_role_that_no_policy_binds_is_named_whatever_state_a_tenant_is_in() {
    let application = Application::new("").await;
    let (target, role) = (&application.target, &application.role);
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    for (state, generation) in [(Desired::Active, 1), (Desired::Suspended, 2)] {
        bring(target, &acme, state, generation).await;
        for (who, right, back) in [
            (role.clone(), "BYPASSRLS", "NOBYPASSRLS"),
            (format!("{role}_login"), "BYPASSRLS", "NOBYPASSRLS"),
            (format!("{role}_login"), "SUPERUSER", "NOSUPERUSER"),
        ] {
            application.admin.batch_execute(&format!("ALTER ROLE {who} {right}")).await.unwrap();
            let seen = target.observe(&acme).await.unwrap();
            assert_eq!(seen.state == Some(state), state == Desired::Active, "{state}: {who} {right}");
            let why = seen.amiss.unwrap();
            assert!(why.contains(&format!("role {who} (")) && why.to_uppercase().contains(right), "{why}");
            let (kind, words) = told(target.apply(&acme, state, generation).await);
            assert_eq!((kind, words == why), (FailureKind::Permanent, true), "{words}");
            application.admin.batch_execute(&format!("ALTER ROLE {who} {back}")).await.unwrap();
            assert_eq!(bring(target, &acme, state, generation).await, Some(state), "{who} is mended");
        }
    }
    // Another control plane's account passes policies because it has to, and is none of the application's logins.
    let control = format!(
        "CREATE ROLE {role}_plane LOGIN BYPASSRLS; GRANT {role} TO {role}_plane;
         GRANT INSERT, UPDATE ON tenancy.access TO {role}_plane"
    );
    application.admin.batch_execute(&control).await.unwrap();
    assert_eq!(target.observe(&acme).await.unwrap().amiss, None);
}

#[tokio::test]
async fn a_login_that_copies_the_database_or_reads_or_writes_all_of_it_is_named_with_how() {
    let application = Application::new("").await;
    let (admin, role, acme) = (&application.admin, &application.role, tenant("acme"));
    application.fill(&acme, 5).await;
    let make = format!("CREATE ROLE {role}_maint; GRANT {role}_maint TO {role}_login");
    admin.batch_execute(&make).await.unwrap();
    for (right, named, back) in [
        (
            format!("ALTER ROLE {role}_login REPLICATION"),
            format!("role {role}_login (REPLICATION, which copies the whole database)"),
            format!("ALTER ROLE {role}_login NOREPLICATION"),
        ),
        (
            format!("GRANT pg_read_all_data TO {role}"),
            format!("role {role}, as pg_read_all_data (reads what the planner keeps of every tenant's rows)"),
            format!("REVOKE pg_read_all_data FROM {role}"),
        ),
        (
            format!("GRANT pg_write_all_data TO {role}_maint"),
            format!("role {role}_login, as pg_write_all_data (writes the access rows)"),
            format!("REVOKE pg_write_all_data FROM {role}_maint"),
        ),
        // A role that was admitted beside the target's own.
        (
            format!(
                "CREATE ROLE {role}_beside; SELECT tenancy.admit('{role}_beside'); GRANT pg_write_all_data TO {role}_beside"
            ),
            format!("role {role}_beside, as pg_write_all_data (writes the access rows)"),
            format!("REVOKE pg_write_all_data FROM {role}_beside"),
        ),
        (
            format!("GRANT UPDATE ON tenancy.access TO pg_monitor; GRANT pg_monitor TO {role}_maint"),
            format!("tenancy.access ({role}_login has UPDATE)"),
            format!("REVOKE UPDATE ON tenancy.access FROM pg_monitor; REVOKE pg_monitor FROM {role}_maint"),
        ),
    ] {
        is_named_until(&application, &acme, (right, named, back)).await;
    }
    let harmless = format!("GRANT pg_monitor, pg_signal_backend, pg_checkpoint TO {role}");
    admin.batch_execute(&harmless).await.unwrap();
    assert_eq!(application.target.observe(&acme).await.unwrap().amiss, None);
}

#[tokio::test]
async fn a_right_to_a_protected_table_that_passes_by_its_policies_is_named() {
    let application = Application::new("").await;
    let (target, role) = (&application.target, &application.role);
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    bring(target, &acme, Desired::Suspended, 1).await;
    let owner: String = application.admin.query_one("SELECT current_user::text", &[]).await.unwrap().get(0);
    for (right, what, back) in [
        (
            format!("GRANT TRUNCATE ON document TO {role}"),
            format!("public.document ({role} has TRUNCATE)"),
            format!("REVOKE TRUNCATE ON document FROM {role}"),
        ),
        (
            format!("GRANT TRIGGER ON visit TO {role}_login"),
            format!("public.visit ({role}_login has TRIGGER)"),
            format!("REVOKE TRIGGER ON visit FROM {role}_login"),
        ),
        (
            format!("GRANT REFERENCES (tenant_id) ON folder TO {role}"),
            format!("public.folder ({role} has REFERENCES)"),
            format!("REVOKE ALL (tenant_id) ON folder FROM {role}"),
        ),
        (
            "GRANT ALL ON document TO PUBLIC".to_owned(),
            format!("public.document ({role} has REFERENCES, TRIGGER, TRUNCATE)"),
            "REVOKE ALL ON document FROM PUBLIC".to_owned(),
        ),
        // By its own name it is emptied without the table above.
        (
            format!("GRANT TRUNCATE ON visit_2025 TO {role}"),
            format!("public.visit_2025 ({role} has TRUNCATE)"),
            format!("REVOKE TRUNCATE ON visit_2025 FROM {role}"),
        ),
        (
            format!("ALTER TABLE document OWNER TO {role}"),
            format!("public.document ({role} has OWNERSHIP"),
            format!(
                "ALTER TABLE document OWNER TO {owner}; GRANT SELECT, INSERT, UPDATE, DELETE ON document TO {role}"
            ),
        ),
    ] {
        application.admin.batch_execute(&right).await.unwrap();
        let seen = target.observe(&acme).await.unwrap();
        assert_ne!(seen.state, Some(Desired::Suspended), "{right}");
        let why = seen.amiss.unwrap();
        assert!(why.contains(&what), "{right}: {why}");
        let (kind, words) = told(target.apply(&acme, Desired::Suspended, 1).await);
        assert_eq!((kind, words), (FailureKind::Permanent, why), "{right}");
        application.admin.batch_execute(&back).await.unwrap();
        assert_eq!(bring(target, &acme, Desired::Suspended, 1).await, Some(Desired::Suspended), "{back}");
    }
}

#[tokio::test]
async fn a_role_of_another_database_that_becomes_a_superuser_meanwhile_is_none_of_this_ones_logins() {
    let application = Application::new("").await;
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    assert_eq!(bring(&application.target, &acme, Desired::Suspended, 1).await, Some(Desired::Suspended));
    let other = Application::new("").await;
    let flapping = tokio::spawn(async move {
        for right in ["SUPERUSER", "NOSUPERUSER"].iter().cycle() {
            other.admin.batch_execute(&format!("ALTER ROLE {}_login {right}", other.role)).await.unwrap();
        }
    });
    for look in 0..200 {
        let seen = application.target.observe(&acme).await.unwrap();
        assert_eq!((seen.state, seen.amiss), (Some(Desired::Suspended), None), "look {look}");
    }
    assert!(!flapping.is_finished());
    flapping.abort();
}

/// A change that was read back and is gone after a crash would let a tenant in that nobody looks at any more.
#[tokio::test]
async fn what_a_database_or_a_role_is_set_to_weakens_no_change_and_misleads_no_look() {
    let application = Application::new("").await;
    let (admin, acme) = (&application.admin, tenant("acme"));
    application.fill(&acme, 5).await;
    let (_, database) = application.url.rsplit_once('/').unwrap();
    let settings = format!(
        "ALTER TABLE document ALTER tenant_id TYPE varchar; CREATE TABLE written (how text);
         CREATE FUNCTION write_down() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO public.written VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$;
         CREATE TRIGGER writes AFTER INSERT OR UPDATE ON tenancy.access FOR EACH ROW EXECUTE FUNCTION write_down();
         GRANT INSERT ON written TO PUBLIC;
         ALTER DATABASE {database} SET synchronous_commit = off; ALTER DATABASE {database} SET row_security = off;
         ALTER DATABASE {database} SET quote_all_identifiers = on"
    );
    // The policies are in the way of the column's type.
    admin.batch_execute("DO $$ DECLARE p name; BEGIN FOR p IN SELECT polname FROM pg_policy WHERE polrelid = 'document'::regclass
        LOOP EXECUTE format('DROP POLICY %I ON document', p); END LOOP; END $$").await.unwrap();
    admin.batch_execute(&settings).await.unwrap();
    admin.execute("SELECT tenancy.protect('document')", &[]).await.unwrap();
    let target = application.modest("").await;
    let acts = format!("ALTER ROLE {0}_control SET role = {0}", application.role);
    admin.batch_execute(&acts).await.unwrap();
    for (state, generation) in [(Desired::Active, 1), (Desired::Suspended, 2), (Desired::Deleted, 3)] {
        assert_eq!(bring(&target, &acme, state, generation).await, Some(state));
        assert_eq!(target.observe(&acme).await.unwrap().amiss, None, "{state}");
    }
    let how = "SELECT count(*), count(*) FILTER (WHERE how = 'on') FROM written";
    let row = admin.query_one(how, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (3, 3));
}

#[tokio::test]
async fn a_user_that_may_not_make_the_schema_is_told_what_it_lacks_and_makes_it_with_what_the_manual_lists() {
    let url = empty_database().await;
    let (server, database) = url.rsplit_once('/').unwrap();
    let (_, place) = server.rsplit_once('@').unwrap();
    sql(&url, "CREATE ROLE installer LOGIN BYPASSRLS CREATEROLE PASSWORD 'pass'").await;
    let account = format!("postgres://installer:pass@{place}/{database}");
    let target = at(&account, ", install = true, role = \"app_installed\"");
    let (kind, words) = told(target.apply(&tenant("acme"), Desired::Suspended, 1).await);
    assert_eq!(kind, FailureKind::Permanent, "{words}");
    for part in [&format!("permission denied for database {database}"), "CREATE on the database"] {
        assert!(words.contains(part), "{words}");
    }
    sql(&url, &format!("GRANT CREATE ON DATABASE {database} TO installer")).await;
    assert_eq!(bring(&target, &tenant("acme"), Desired::Suspended, 1).await, Some(Desired::Suspended));
    // As in a database that was moved, where the schema and the roles are, and rights to the database are not.
    sql(
        &url,
        &format!("REVOKE CREATE ON DATABASE {database} FROM installer; ALTER ROLE installer NOCREATEROLE"),
    )
    .await;
    let again = at(&account, ", install = true, role = \"app_installed\"");
    assert_eq!(bring(&again, &tenant("hr"), Desired::Suspended, 1).await, Some(Desired::Suspended));
}

#[tokio::test]
async fn a_schema_that_is_dropped_while_we_run_is_made_again_or_said_to_be_missing() {
    let application = Application::new("").await;
    let (admin, role) = (&application.admin, &application.role);
    let (plain, acme) = (at(&application.url, &format!(", role = \"{role}\"")), tenant("acme"));
    for target in [&application.target, &plain] {
        bring(target, &acme, Desired::Suspended, 1).await;
    }
    admin.batch_execute("DROP SCHEMA tenancy CASCADE").await.unwrap();
    told(plain.apply(&acme, Desired::Suspended, 1).await);
    let (kind, words) = told(plain.apply(&acme, Desired::Suspended, 1).await);
    assert_eq!(
        (kind, words.contains("no schema `tenancy` of this version")),
        (FailureKind::Permanent, true),
        "{words}"
    );
    told(application.target.apply(&acme, Desired::Suspended, 1).await);
    application.target.apply(&acme, Desired::Suspended, 1).await.unwrap();
}

//! What an application's database may be set to for reasons of its own: tables that are published, and read-only databases.

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::FailureKind;

use super::postgres::{Application, at, connect};
use super::{bring, tenant, told};
use crate::support::{Replica, Setup, empty_database, sql};

#[tokio::test]
async fn a_database_all_of_whose_tables_are_published_is_installed_and_brought_up_to_date() {
    for (number, published) in ["FOR ALL TABLES", "FOR TABLES IN SCHEMA tenancy"].iter().enumerate() {
        let url = empty_database().await;
        sql(&url, &format!("CREATE SCHEMA tenancy; CREATE PUBLICATION everything {published}")).await;
        let settings = format!(", install = true, role = \"published_{number}\"");
        let first = at(&url, &settings);
        assert_eq!(bring(&first, &tenant("acme"), Desired::Suspended, 1).await, Some(Desired::Suspended));
        let hr = tenant("hr");
        // A list of an older version, and one that had no names either.
        for older in [
            "ALTER TABLE tenancy.protected REPLICA IDENTITY DEFAULT",
            "ALTER TABLE tenancy.protected REPLICA IDENTITY DEFAULT, DROP COLUMN schema_name, DROP COLUMN table_name,
                 ADD CONSTRAINT protected_pkey PRIMARY KEY (relation)",
        ] {
            sql(&url, older).await;
            let again = at(&url, &settings);
            assert_eq!(bring(&again, &hr, Desired::Suspended, 1).await, Some(Desired::Suspended));
        }
    }
}

#[tokio::test]
async fn tables_that_are_published_later_are_suspended_released_forgotten_and_purged_as_before() {
    let application = Application::new("").await;
    let (admin, settings) =
        (&application.admin, format!(", install = true, role = \"{}\"", application.role));
    let (acme, hr) = (tenant("acme"), tenant("hr"));
    let publish =
        "ALTER TABLE visit_2025 REPLICA IDENTITY FULL; ALTER TABLE visit_2026 REPLICA IDENTITY FULL;
        CREATE PUBLICATION everything FOR ALL TABLES";
    admin.batch_execute(publish).await.unwrap();
    for tenant in [&acme, &hr] {
        application.fill(tenant, 5).await;
        assert_eq!(bring(&application.target, tenant, Desired::Suspended, 1).await, Some(Desired::Suspended));
    }
    let again = at(&application.url, &settings);
    assert_eq!(bring(&again, &acme, Desired::Active, 2).await, Some(Desired::Active));
    // Names that are learnt, partitions that go, and both released.
    admin.batch_execute("ALTER TABLE visit RENAME TO visits; DROP TABLE visit_2026").await.unwrap();
    assert_eq!(bring(&again, &acme, Desired::Archived, 3).await, Some(Desired::Archived));
    admin.execute("SELECT tenancy.release('public.visit')", &[]).await.unwrap();
    assert_eq!(bring(&again, &acme, Desired::Deleted, 4).await, Some(Desired::Deleted));
    admin.batch_execute(&format!("SELECT tenancy.forget('hr', '{}')", hr.uid)).await.unwrap();
    let left = "SELECT (SELECT count(*) FROM document) + (SELECT count(*) FROM folder)";
    assert_eq!(admin.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn a_purge_names_the_published_table_whose_rows_cannot_go_and_what_lets_them() {
    let application = Application::new("").await;
    let (target, admin, acme) = (&application.target, &application.admin, tenant("acme"));
    application.fill(&acme, 5).await;
    bring(target, &acme, Desired::Archived, 1).await;
    admin.batch_execute("CREATE PUBLICATION everything FOR ALL TABLES").await.unwrap();
    for _ in 0..2 {
        let (kind, words) = told(target.apply(&acme, Desired::Deleted, 2).await);
        assert_eq!(kind, FailureKind::Permanent, "{words}");
        for part in ["public.visit: cannot delete from table \"visit_202", "does not have a replica identity"]
        {
            assert!(words.contains(part), "{words}");
        }
        let forget = format!("SELECT tenancy.forget('acme', '{}')", acme.uid);
        let refused = admin.batch_execute(&forget).await.unwrap_err();
        let said = refused.as_db_error().unwrap().message().to_owned();
        assert!(words.contains(&said), "{said}");
        let remedy = words.split('`').nth(1).unwrap().to_owned();
        assert!(remedy.starts_with("ALTER TABLE public.visit_202"), "{words}");
        admin.batch_execute(&remedy).await.unwrap();
    }
    assert_eq!(bring(target, &acme, Desired::Deleted, 2).await, Some(Desired::Deleted));
    assert_eq!(application.count(&acme).await, 0);
}

#[tokio::test]
async fn a_failure_tells_the_table_and_the_databases_words_and_not_an_applications() {
    let application = Application::new("").await;
    let (target, admin, acme) = (&application.target, &application.admin, tenant("acme"));
    application.fill(&acme, 5).await;
    bring(target, &acme, Desired::Archived, 1).await;
    let refuse = |raised: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {raised}; RETURN OLD; END $$;
             CREATE OR REPLACE TRIGGER refuse BEFORE DELETE ON document FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    };
    for (raised, expected) in [
        ("PERFORM 'Bob'::integer", "(SQLSTATE 22P02, at public.document; its words are in our log)"),
        ("PERFORM 1 FROM gone", "(SQLSTATE 42P01, at public.document: relation \"gone\" does not exist)"),
    ] {
        admin.batch_execute(&refuse(raised)).await.unwrap();
        let (kind, words) = told(target.apply(&acme, Desired::Deleted, 2).await);
        assert_eq!(kind, FailureKind::Retryable, "{words}");
        assert_eq!(words, format!("the database did not do what it was asked {expected}"));
    }
    admin.batch_execute(&refuse("RAISE EXCEPTION 'Bob owes us'")).await.unwrap();
    let (kind, words) = told(target.apply(&acme, Desired::Deleted, 2).await);
    let expected =
        "public.document: a trigger or a rule there refuses to let them go; its words are in our log";
    assert!(kind == FailureKind::Permanent && words.ends_with(expected), "{words}");
    // As a server becomes that is made a standby while we are connected.
    let demoted = "DROP TRIGGER refuse ON document;
        CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN SET LOCAL transaction_read_only = on; DELETE FROM public.folder; RETURN NULL; END $$;
        CREATE TRIGGER refuse BEFORE DELETE ON document EXECUTE FUNCTION refuse()";
    admin.batch_execute(demoted).await.unwrap();
    let (kind, words) = told(target.apply(&acme, Desired::Deleted, 2).await);
    let expected = "the database is read-only: a hot standby, or `default_transaction_read_only` is on";
    assert_eq!((kind, words.as_str()), (FailureKind::Retryable, expected));
    admin.batch_execute("DROP TRIGGER refuse ON document").await.unwrap();
    assert_eq!(bring(target, &acme, Desired::Deleted, 2).await, Some(Desired::Deleted));
}

#[tokio::test]
async fn a_database_that_is_read_only_is_said_to_be_and_is_asked_again() {
    let application = Application::new("").await;
    let acme = tenant("acme");
    bring(&application.target, &acme, Desired::Active, 1).await;
    let (_, database) = application.url.rsplit_once('/').unwrap();
    let set = |to: &str| format!("ALTER DATABASE {database} SET default_transaction_read_only = {to}");
    application.admin.batch_execute(&set("on")).await.unwrap();
    for install in [false, true] {
        let settings = format!(", install = {install}, role = \"{}\"", application.role);
        let target = at(&application.url, &settings);
        let (kind, words) = told(target.apply(&acme, Desired::Suspended, 2).await);
        assert_eq!(
            (kind, words.contains("it is read-only: a hot standby, or")),
            (FailureKind::Retryable, true),
            "{words}"
        );
        let failure = target.observe(&acme).await.unwrap_err();
        assert!(failure.message.contains("it is read-only: a hot standby, or"), "{failure}");
    }
    let mended = connect(&application.url).await;
    mended.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    mended.batch_execute(&set("off")).await.unwrap();
    let target = at(&application.url, &format!(", role = \"{}\"", application.role));
    assert_eq!(bring(&target, &acme, Desired::Suspended, 2).await, Some(Desired::Suspended));
}

#[tokio::test]
async fn every_table_of_the_registry_may_be_published() {
    let replica = Replica::start(&Setup::default()).await;
    let admin = connect(&replica.database_url).await;
    let keyless = "SELECT c.oid::regclass::text FROM pg_class c
        WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND c.oid >= 16384 AND c.relreplident = 'd'
          AND NOT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)";
    let keyless: Vec<String> =
        admin.query(keyless, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(keyless, Vec::<String>::new(), "takes no UPDATE and no DELETE where all tables are published");
    replica.stop().await;
}

//! Rows that a purge cannot remove: whoever mends it is told of the table, and of what keeps them.

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::FailureKind;

use super::postgres::{Application, at};
use super::{bring, tenant, told};

#[tokio::test]
async fn a_purge_names_the_table_whose_rows_a_trigger_or_a_rule_keeps() {
    let application = Application::new("").await;
    let acme = tenant("acme");
    let soft = "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$";
    application.admin.batch_execute(soft).await.unwrap();
    // Nobody refers to a visit. A document refers to its folder, which is stuck for no other reason.
    for (table, keep, release) in [
        (
            "visit_2025",
            "CREATE TRIGGER soft BEFORE DELETE ON visit_2025 FOR EACH ROW EXECUTE FUNCTION keep()",
            "DROP TRIGGER soft ON visit_2025",
        ),
        (
            "document",
            "CREATE TRIGGER soft BEFORE DELETE ON document FOR EACH ROW EXECUTE FUNCTION keep()",
            "DROP TRIGGER soft ON document",
        ),
        (
            "document",
            "CREATE RULE soft AS ON DELETE TO document DO INSTEAD UPDATE document SET title = 'deleted'
                WHERE tenant_id = OLD.tenant_id AND document_id = OLD.document_id",
            "DROP RULE soft ON document",
        ),
    ] {
        application.fill(&acme, 5).await;
        application.admin.batch_execute(keep).await.unwrap();
        let named = table.split('_').next().unwrap();
        let words = told(application.target.apply(&acme, Desired::Deleted, 1).await);
        let expected = format!(
            "rows of the tenant stay in public.{named}: DELETE leaves them and fails with no error, so a trigger or a rule keeps them"
        );
        assert_eq!(words, (FailureKind::Permanent, expected), "{keep}");
        application.admin.batch_execute(release).await.unwrap();
        assert_eq!(bring(&application.target, &acme, Desired::Deleted, 1).await, Some(Desired::Deleted));
        assert_eq!(application.count(&acme).await, 0, "{release}");
    }
}

#[tokio::test]
async fn a_purge_names_the_foreign_key_and_the_table_whose_rows_refer_to_the_tenants() {
    let application = Application::new("").await;
    let (acme, neighbour) = (tenant("acme"), tenant("acme-2"));
    for tenant in [&acme, &neighbour] {
        application.fill(tenant, 5).await;
    }
    let words = |table: &str, key: &str, by: &str| {
        let expected = format!(
            "rows of the tenant stay in public.{table}: rows of {by} refer to them (foreign key {key})"
        );
        (FailureKind::Permanent, expected)
    };
    // Protected, and referred to by a row of a neighbour: documents of the tenant's own hold its folders, too.
    let shares = "CREATE SCHEMA \"Shop\"; CREATE TABLE \"Shop\".share (tenant_id text NOT NULL, of_tenant text, of_document bigint,
            CONSTRAINT \"shared of\" FOREIGN KEY (of_tenant, of_document) REFERENCES document ON DELETE RESTRICT);
        SELECT tenancy.protect('\"Shop\".share');
        INSERT INTO \"Shop\".share VALUES ('acme-2', 'acme', 3), ('acme', 'acme', 2)";
    application.admin.batch_execute(shares).await.unwrap();
    let met = told(application.target.apply(&acme, Desired::Deleted, 1).await);
    assert_eq!(met, words("document", "\"shared of\"", "\"Shop\".share"));
    let forget = format!("SELECT tenancy.forget('acme', '{}')", acme.uid);
    let refused = application.admin.execute(&forget, &[]).await.unwrap_err();
    let said = refused.as_db_error().unwrap().message();
    assert!(said.contains("foreign key \"shared of\""), "{said}");
    application.admin.batch_execute("DELETE FROM \"Shop\".share").await.unwrap();
    // Of the same table, and with a table between that has rows of the tenant's own.
    let parents = "ALTER TABLE document ADD of_tenant text, ADD of_document bigint,
            ADD CONSTRAINT part_of FOREIGN KEY (of_tenant, of_document) REFERENCES document;
        UPDATE document SET of_tenant = 'acme', of_document = 3 WHERE tenant_id = 'acme-2' AND document_id = 1";
    application.admin.batch_execute(parents).await.unwrap();
    let met = told(application.target.apply(&acme, Desired::Deleted, 1).await);
    assert_eq!(met, words("document", "part_of", "public.document"));
    application.admin.execute("UPDATE document SET of_document = NULL", &[]).await.unwrap();
    assert_eq!(bring(&application.target, &acme, Desired::Deleted, 1).await, Some(Desired::Deleted));
    assert_eq!(application.count(&acme).await, 0);
    assert!(application.count(&neighbour).await > 0, "a neighbour keeps all");
}

#[tokio::test]
async fn a_schema_from_before_reasons_were_told_is_brought_up_to_date() {
    let application = Application::new("").await;
    application.fill(&tenant("acme"), 5).await;
    // As it was: `forget` had a sentence of its own.
    let older = "DROP FUNCTION IF EXISTS tenancy.kept(text), tenancy.overreach(); DROP TABLE tenancy.part, tenancy.permitted;
        CREATE TABLE bill (tenant_id text, document_id bigint, FOREIGN KEY (tenant_id, document_id) REFERENCES document);
        INSERT INTO bill VALUES ('acme', 1)";
    application.admin.batch_execute(older).await.unwrap();
    let settings = format!(", role = \"{}\"", application.role);
    let not_installed = at(&application.url, &settings);
    let (kind, words) = told(not_installed.apply(&tenant("acme"), Desired::Deleted, 1).await);
    assert_eq!((kind, words.contains("install = true")), (FailureKind::Permanent, true), "{words}");
    let target = at(&application.url, &format!("{settings}, install = true"));
    let (kind, words) = told(target.apply(&tenant("acme"), Desired::Deleted, 2).await);
    assert_eq!((kind, words.contains("public.bill")), (FailureKind::Permanent, true), "{words}");
}

#[tokio::test]
async fn a_partition_that_is_on_another_server_is_purged_also_once_it_is_detached() {
    let application = Application::new("").await;
    let (admin, acme) = (&application.admin, tenant("acme"));
    let place: tokio_postgres::Config = application.url.parse().unwrap();
    let make = format!(
        "CREATE EXTENSION postgres_fdw;
         CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{}', dbname '{}');
         CREATE USER MAPPING FOR CURRENT_USER SERVER loop OPTIONS (user '{}', password '{}');
         CREATE TABLE far (tenant_id text NOT NULL, year int); INSERT INTO far VALUES ('acme', 1), ('beta', 1);
         CREATE TABLE call (tenant_id text NOT NULL, year int) PARTITION BY LIST (year);
         CREATE FOREIGN TABLE call_1 PARTITION OF call FOR VALUES IN (1) SERVER loop OPTIONS (schema_name 'public', table_name 'far');
         SELECT tenancy.protect('call')",
        place.get_ports()[0],
        place.get_dbname().unwrap(),
        place.get_user().unwrap(),
        String::from_utf8_lossy(place.get_password().unwrap_or_default())
    );
    admin.batch_execute(&make).await.unwrap();
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    admin.batch_execute("ALTER TABLE call DETACH PARTITION call_1").await.unwrap();
    assert_eq!(bring(&application.target, &acme, Desired::Deleted, 2).await, Some(Desired::Deleted));
    let left: i64 = admin.query_one("SELECT count(*) FROM far", &[]).await.unwrap().get(0);
    assert_eq!(left, 1, "the neighbour's");
}

/// From when on `DETACH … CONCURRENTLY` waits for others, and for good once it was broken off, the table above no longer reaches it.
#[tokio::test]
async fn a_partition_that_is_half_detached_is_purged_and_no_next_tenant_of_that_id_gets_its_rows() {
    let application = Application::new("").await;
    let (target, admin) = (&application.target, &application.admin);
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    bring(target, &acme, Desired::Archived, 1).await;
    // One that no change of a tenant has seen attached.
    let late = "CREATE TABLE visit_2027 PARTITION OF visit FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
        INSERT INTO visit VALUES ('acme', '2027-02-03')";
    admin.batch_execute(late).await.unwrap();
    let reader = application.client().await;
    for part in ["visit_2026", "visit_2027"] {
        reader
            .batch_execute("BEGIN; SELECT count(*) FROM tenancy.probe; LOCK TABLE visit IN ACCESS SHARE MODE")
            .await
            .unwrap();
        admin.batch_execute("SET statement_timeout = '300ms'").await.unwrap();
        let detach = format!("ALTER TABLE visit DETACH PARTITION {part} CONCURRENTLY");
        admin.batch_execute(&detach).await.unwrap_err();
        reader.batch_execute("ROLLBACK").await.unwrap();
        admin.batch_execute("RESET statement_timeout").await.unwrap();
        if part == "visit_2026" {
            // Only one of a table can be half-way.
            assert_eq!(bring(target, &acme, Desired::Deleted, 2).await, Some(Desired::Deleted));
            admin.batch_execute("ALTER TABLE visit DETACH PARTITION visit_2026 FINALIZE").await.unwrap();
            admin.batch_execute("INSERT INTO visit VALUES ('acme', '2027-02-03')").await.unwrap();
        }
    }
    assert_ne!(target.observe(&acme).await.unwrap().state, Some(Desired::Deleted), "it still has a row");
    assert_eq!(bring(target, &acme, Desired::Deleted, 2).await, Some(Desired::Deleted));
    let left = "SELECT (SELECT count(*) FROM visit_2026) + (SELECT count(*) FROM visit_2027)";
    assert_eq!(admin.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
}

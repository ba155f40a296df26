//! Tables of an application whose protection somebody took away by hand.

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::FailureKind;

use super::postgres::{Application, at};
use super::{bring, tenant, told};

const NO_POLICIES: &str = "
    DROP POLICY tenant_reads ON document; DROP POLICY tenant_inserts ON document; DROP POLICY tenant_updates ON document;
    DROP POLICY tenant_deletes ON document; DROP POLICY archive_reads ON document;
    ALTER TABLE document NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY";

#[tokio::test]
async fn a_table_that_lost_its_protection_is_drift_is_named_and_can_be_protected_again() {
    let application = Application::new("").await;
    let (target, acme) = (&application.target, tenant("acme"));
    application.fill(&acme, 5).await;
    let by_hand = [
        (NO_POLICIES, "document (policy archive_reads)", ""),
        ("DROP POLICY tenant_inserts ON document", "document (policy tenant_inserts)", ""),
        ("ALTER TABLE document NO FORCE ROW LEVEL SECURITY", "document (row-level security)", ""),
        ("ALTER POLICY tenant_updates ON document USING (true)", "document (policy tenant_updates)", ""),
        (
            "CREATE POLICY open ON document FOR INSERT WITH CHECK (true)",
            "document (policy open)",
            "DROP POLICY open ON document",
        ),
        (
            &format!("GRANT SELECT ON visit_2025 TO {}", application.role),
            "visit_2025 (policy archive_reads)",
            &format!("REVOKE ALL ON visit_2025 FROM {}", application.role),
        ),
    ];
    for (state, generation) in [(Desired::ReadOnly, 1), (Desired::Suspended, 2)] {
        bring(target, &acme, state, generation).await;
        for (change, table, back) in by_hand {
            application.admin.batch_execute(change).await.unwrap();
            assert_ne!(target.observe(&acme).await.unwrap().state, Some(state), "{state}: {change}");
            let (kind, words) = told(target.apply(&acme, state, generation).await);
            assert_eq!(kind, FailureKind::Permanent, "{change}: {words}");
            assert!(words.contains(table), "{change}: {words}");
            application.admin.batch_execute(back).await.unwrap();
            application.admin.execute("SELECT tenancy.protect('document')", &[]).await.unwrap();
            assert_eq!(bring(target, &acme, state, generation).await, Some(state), "{change} is mended");
        }
    }
    // What narrows, and what is for others, is nobody's hole.
    let others = "CREATE POLICY narrow ON document AS RESTRICTIVE FOR SELECT USING (true);
        CREATE POLICY staff ON document TO pg_monitor USING (true)";
    application.admin.batch_execute(others).await.unwrap();
    assert_eq!(target.observe(&acme).await.unwrap().state, Some(Desired::Suspended));
}

#[tokio::test]
async fn no_receipt_of_emptiness_is_given_while_a_table_that_was_protected_has_rows() {
    let application = Application::new("").await;
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    bring(&application.target, &acme, Desired::Archived, 1).await;
    application.admin.batch_execute(NO_POLICIES).await.unwrap();
    let (kind, words) = told(application.target.apply(&acme, Desired::Deleted, 2).await);
    assert_eq!((kind, words.contains("document")), (FailureKind::Permanent, true), "{words}");
    assert_ne!(application.target.observe(&acme).await.unwrap().state, Some(Desired::Deleted));
    assert_eq!(application.count(&acme).await, 0, "its rows are gone all the same");
    application.admin.execute("SELECT tenancy.protect('document')", &[]).await.unwrap();
    assert_eq!(bring(&application.target, &acme, Desired::Deleted, 2).await, Some(Desired::Deleted));
}

#[tokio::test]
async fn a_schema_of_an_older_version_is_brought_up_to_date_and_knows_its_tables() {
    let application = Application::new("").await;
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    let older = "DROP FUNCTION tenancy.unprotected(text); DROP TABLE tenancy.protected";
    application.admin.batch_execute(older).await.unwrap();
    let settings = format!(", role = \"{}\"", application.role);
    let (kind, words) = told(at(&application.url, &settings).apply(&acme, Desired::Suspended, 1).await);
    assert_eq!((kind, words.contains("install = true")), (FailureKind::Permanent, true), "{words}");
    let again = at(&application.url, &format!("{settings}, install = true"));
    assert_eq!(bring(&again, &acme, Desired::Suspended, 1).await, Some(Desired::Suspended));
    application.admin.batch_execute(NO_POLICIES).await.unwrap();
    assert_ne!(again.observe(&acme).await.unwrap().state, Some(Desired::Suspended));
}

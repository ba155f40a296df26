//! Protected tables that are no more the tables that were protected: made again, swapped, dropped, renamed.

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::{FailureKind, TenantRef};
use tenantry::proto::v1;

use super::postgres::{Application, at};
use super::protection::{served, verify};
use super::{bring, tenant, told};

const COPY: &str =
    "CREATE TABLE document_new (LIKE document INCLUDING ALL); INSERT INTO document_new TABLE document";
const SWAP: &str = "ALTER TABLE document RENAME TO document_old; ALTER TABLE document_new RENAME TO document";
const PROTECT: &str = "SELECT tenancy.protect('document')";

impl Application {
    /// Runs statements of the application's owner.
    async fn migrate(&self, statements: &str) {
        self.admin.batch_execute(statements).await.unwrap();
    }

    /// That a table is named as what keeps a tenant from being suspended, looked at and changed.
    async fn is_replaced(&self, acme: &TenantRef, generation: u64, table: &str) {
        let seen = self.target.observe(acme).await.unwrap();
        let why = seen.amiss.unwrap_or_default();
        assert!(why.contains(table), "{why:?}");
        let (kind, words) = told(self.target.apply(acme, Desired::Suspended, generation).await);
        assert_eq!((kind, words.contains(table)), (FailureKind::Permanent, true), "{words}");
    }
}

#[tokio::test]
async fn a_protected_table_that_is_made_again_is_drift_whichever_way_it_was_done() {
    for swap in [
        format!("{COPY}; {SWAP}; DROP TABLE document_old CASCADE"),
        format!("{COPY}; {SWAP}"),
        "CREATE TABLE copy AS TABLE document; DROP TABLE document; CREATE TABLE document AS TABLE copy"
            .to_owned(),
        "ALTER TABLE document RENAME TO document_2; CREATE VIEW document AS TABLE document_2".to_owned(),
    ] {
        let application = Application::new("").await;
        let (target, acme) = (&application.target, tenant("acme"));
        application.fill(&acme, 5).await;
        bring(target, &acme, Desired::Suspended, 1).await;
        application.migrate(&swap).await;
        let seen = target.observe(&acme).await.unwrap();
        assert_eq!(seen.state, Some(Desired::ReadOnly), "{swap}");
        let why = seen.amiss.unwrap();
        for words in ["public.document (another than the one", "tenancy.release('public.document')"] {
            assert!(why.contains(words), "{swap}: {why}");
        }
        let (kind, words) = told(target.apply(&acme, Desired::Suspended, 2).await);
        assert_eq!((kind, words), (FailureKind::Permanent, why), "{swap}");
        // A program that starts anew, and brings the schema up to date, forgets nothing.
        let again = at(&application.url, &format!(", install = true, role = \"{}\"", application.role));
        assert_eq!(again.observe(&acme).await.unwrap().state, Some(Desired::ReadOnly), "{swap}");
        if swap.contains("VIEW") {
            application.admin.batch_execute("DROP VIEW document").await.unwrap();
        } else {
            application.admin.execute(PROTECT, &[]).await.unwrap();
        }
        assert_eq!(bring(target, &acme, Desired::Suspended, 3).await, Some(Desired::Suspended), "{swap}");
        // Also of a table that stays beside it under another name.
        bring(target, &acme, Desired::Deleted, 4).await;
        let left = "SELECT tenancy.leftover('acme')";
        let left: Option<String> = application.admin.query_one(left, &[]).await.unwrap().get(0);
        assert_eq!(left, None, "{swap}");
    }
}

#[tokio::test]
async fn a_table_that_is_protected_before_it_takes_the_others_place_is_no_drift() {
    let application = Application::new("").await;
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    let careful =
        format!("{COPY}; SELECT tenancy.protect('document_new'); {SWAP}; DROP TABLE document_old CASCADE");
    application.migrate(&careful).await;
    assert_eq!(bring(&application.target, &acme, Desired::Suspended, 2).await, Some(Desired::Suspended));
}

#[tokio::test]
async fn no_receipt_is_given_and_no_id_used_again_while_a_protected_table_is_another() {
    let application = Application::new("").await;
    let (target, former) = (&application.target, tenant("acme"));
    application.fill(&former, 5).await;
    bring(target, &former, Desired::Archived, 1).await;
    application.migrate(&format!("{COPY}; {SWAP}; DROP TABLE document_old CASCADE")).await;
    let (kind, words) = told(target.apply(&former, Desired::Deleted, 2).await);
    assert_eq!((kind, words.contains("public.document (another")), (FailureKind::Permanent, true), "{words}");
    assert_ne!(target.observe(&former).await.unwrap().state, Some(Desired::Deleted));
    // As after that target was skipped.
    let again = tenant("acme");
    let (kind, words) = told(target.apply(&again, Desired::Active, 1).await);
    assert_eq!((kind, words.contains("tenancy.forget('acme'")), (FailureKind::Permanent, true), "{words}");
    let forget = format!("SELECT tenancy.forget('acme', '{}')", former.uid);
    let error = application.admin.batch_execute(&forget).await.unwrap_err();
    let why = error.as_db_error().unwrap().message();
    assert!(why.starts_with("public.document is another table than the one that was protected"), "{why}");
    application.admin.execute(PROTECT, &[]).await.unwrap();
    assert_eq!(bring(target, &former, Desired::Deleted, 2).await, Some(Desired::Deleted));
    assert_eq!(application.count(&former).await, 0);
    assert_eq!(bring(target, &again, Desired::Active, 1).await, Some(Desired::Active));
}

#[tokio::test]
async fn a_table_that_is_dropped_for_good_or_renamed_hinders_nobody_until_its_name_is_used_again() {
    let application = Application::new("").await;
    let (target, acme) = (&application.target, tenant("acme"));
    application.fill(&acme, 5).await;
    application.migrate("DROP TABLE document; ALTER TABLE folder RENAME TO shelf").await;
    assert_eq!(bring(target, &acme, Desired::Suspended, 1).await, Some(Desired::Suspended));
    let numbers = "SELECT count(*) FROM tenancy.protected p
        WHERE p.relation::oid <> 0 AND NOT EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = p.relation)";
    let numbers: i64 = application.admin.query_one(numbers, &[]).await.unwrap().get(0);
    assert_eq!(numbers, 0, "in a dump it would be another relation's");
    // Both names stand for a protected table now, and neither is taken for granted.
    application.migrate("CREATE TABLE document (notice text); CREATE VIEW folder AS SELECT 1 AS one").await;
    for name in ["public.document", "public.folder"] {
        application.is_replaced(&acme, 2, name).await;
        application.admin.execute("SELECT tenancy.release($1)", &[&name]).await.unwrap();
        application.admin.execute("SELECT tenancy.release($1)", &[&name]).await.expect_err("it is released");
    }
    assert_eq!(target.observe(&acme).await.unwrap().amiss, None);
    application.migrate("ALTER TABLE shelf DISABLE ROW LEVEL SECURITY").await;
    application.is_replaced(&acme, 3, "public.shelf (row-level security)").await;
    // Its new name was learnt from a change.
    application.migrate("DROP TABLE shelf; CREATE TABLE shelf (tenant_id text)").await;
    application.is_replaced(&acme, 4, "public.shelf (another").await;
    application.admin.execute("SELECT tenancy.protect('shelf')", &[]).await.unwrap();
    assert_eq!(bring(target, &acme, Desired::Suspended, 5).await, Some(Desired::Suspended));
    // One that is to follow no longer.
    let freed = "DROP POLICY tenant_reads ON shelf; DROP POLICY tenant_inserts ON shelf; DROP POLICY tenant_updates ON shelf;
        DROP POLICY tenant_deletes ON shelf; DROP POLICY archive_reads ON shelf; ALTER TABLE shelf DISABLE ROW LEVEL SECURITY;
        SELECT tenancy.release('public.shelf')";
    application.migrate(freed).await;
    assert_eq!(bring(target, &acme, Desired::Suspended, 6).await, Some(Desired::Suspended));
}

#[tokio::test]
async fn a_list_without_names_learns_them_and_says_which_of_its_tables_are_gone() {
    let application = Application::new("").await;
    let acme = tenant("acme");
    application.fill(&acme, 5).await;
    bring(&application.target, &acme, Desired::Suspended, 1).await;
    // The list as earlier versions kept it.
    let older = "DROP FUNCTION IF EXISTS tenancy.release(text);
        ALTER TABLE tenancy.protected DROP COLUMN IF EXISTS schema_name, DROP COLUMN IF EXISTS table_name,
            DROP CONSTRAINT IF EXISTS protected_pkey, ADD CONSTRAINT protected_pkey PRIMARY KEY (relation)";
    application.admin.batch_execute(older).await.unwrap();
    let visit: String =
        application.admin.query_one("SELECT 'visit'::regclass::oid::text", &[]).await.unwrap().get(0);
    application.migrate("DROP TABLE visit; CREATE TABLE visit (tenant_id text)").await;
    let current = Application {
        target: at(&application.url, &format!(", install = true, role = \"{}\"", application.role)),
        ..application
    };
    current.is_replaced(&acme, 2, &format!("tenancy.release('{visit}')")).await;
    current.admin.execute("SELECT tenancy.release($1)", &[&visit]).await.unwrap();
    assert_eq!(bring(&current.target, &acme, Desired::Suspended, 3).await, Some(Desired::Suspended));
    current.migrate(&format!("{COPY}; {SWAP}; DROP TABLE document_old CASCADE")).await;
    current.is_replaced(&acme, 4, "public.document (another").await;
}

#[tokio::test]
async fn verify_finds_a_table_that_was_swapped_while_the_tenant_is_active() {
    let (application, mut replica) = served("report").await;
    assert!(verify(&mut replica).await.operation.is_none());
    application.migrate(&format!("{COPY}; {SWAP}; DROP TABLE document_old CASCADE")).await;
    let found = verify(&mut replica).await;
    let check = found.targets.iter().find(|check| check.target == "orders").unwrap();
    assert_eq!(check.result(), v1::CheckResult::Drifted);
    assert!(check.error.contains("public.document (another"), "{check:?}");
    replica.stop().await;
}

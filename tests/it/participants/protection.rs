//! Tables of an application whose protection somebody took away by hand.

use std::time::{Duration, Instant};

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::FailureKind;
use tenantry::proto::v1;

use super::postgres::{Application, at};
use super::{bring, tenant, told};
use crate::support::{Replica, Setup, empty_database, reason, sql};

const TEN_SECONDS: Option<prost_types::Duration> = Some(prost_types::Duration { seconds: 10, nanos: 0 });

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
    for (state, generation) in [(Desired::Active, 1), (Desired::ReadOnly, 2), (Desired::Suspended, 3)] {
        bring(target, &acme, state, generation).await;
        for (change, table, back) in by_hand {
            application.admin.batch_execute(change).await.unwrap();
            let seen = target.observe(&acme).await.unwrap();
            assert_eq!(seen.state == Some(state), state == Desired::Active, "{state}: {change}");
            assert!(seen.amiss.is_some_and(|why| why.contains(table)), "{state}: {change}");
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

/// A server with the tenant `finance`, which has rows in an application's database.
pub(super) async fn served(drift: &str) -> (Application, Replica) {
    let application = Application::new("").await;
    let (url, role) = (&application.url, &application.role);
    let targets = format!(
        "orders = {{ kind = \"postgres\", url = \"{url}\", rights_age = \"0s\", role = \"{role}\" }}"
    );
    let settings = vec![("cascade.targets", targets), ("cascade.drift", drift.to_owned())];
    let mut replica = Replica::start(&Setup { settings, ..Setup::default() }).await;
    replica.tenant("finance").await;
    application.fill(&tenant("finance"), 5).await;
    (application, replica)
}

pub(super) async fn verify(replica: &mut Replica) -> v1::VerifyTenantResponse {
    let request =
        v1::VerifyTenantRequest { tenant_id: "finance".into(), wait: TEN_SECONDS, ..Default::default() };
    replica.lifecycle.verify_tenant(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn verify_finds_a_table_that_lost_its_protection_while_the_tenant_is_active_and_names_it() {
    for (drift, words) in [("repair", "run that for it again"), ("report", "but not as it should be")] {
        let (application, mut replica) = served(drift).await;
        assert!(verify(&mut replica).await.operation.is_none());
        let widened = "ALTER POLICY tenant_reads ON document USING (true)";
        application.admin.batch_execute(widened).await.unwrap();
        // A plan says beforehand what a suspension would stumble over.
        let plan = v1::SuspendTenantRequest {
            tenant_id: "finance".into(),
            validate_only: true,
            ..Default::default()
        };
        let plan = replica.lifecycle.suspend_tenant(plan).await.unwrap().into_inner();
        let step = plan.targets.iter().find(|step| step.target == "orders").unwrap();
        assert!(step.last_error.contains("document (policy tenant_reads)"), "{step:?}");
        let found = verify(&mut replica).await;
        let check = found.targets.iter().find(|check| check.target == "orders").unwrap();
        assert_eq!((check.result(), check.observed()), (v1::CheckResult::Drifted, v1::DesiredState::Active));
        assert!(check.error.contains("document (policy tenant_reads)"), "{check:?}");
        let report = found.operation.unwrap();
        assert_eq!(report.state(), v1::OperationState::NeedsOperator, "{report:?}");
        let step = report.targets.iter().find(|step| step.target == "orders").unwrap();
        assert!(step.last_error.contains(words) && step.last_error.contains("tenant_reads"), "{step:?}");
        // Waiting for the end of the repair would lead to nothing else.
        let archive = v1::ArchiveTenantRequest { tenant_id: "finance".into(), ..Default::default() };
        let refused = replica.lifecycle.archive_tenant(archive).await.unwrap_err();
        assert_eq!(reason(&refused), "ILLEGAL_TRANSITION");
        application.admin.execute("SELECT tenancy.protect('document')", &[]).await.unwrap();
        let retry = v1::RetryTargetRequest {
            operation_id: report.operation_id,
            target: "orders".into(),
            wait: TEN_SECONDS,
            ..Default::default()
        };
        let ended = replica.lifecycle.retry_target(retry).await.unwrap().into_inner();
        assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
        assert!(verify(&mut replica).await.operation.is_none());
        replica.stop().await;
    }
}

#[tokio::test]
async fn a_database_without_a_protected_table_is_never_taken_for_proof() {
    let (url, role) = (empty_database().await, "app_without_tables");
    let orders = format!(
        "orders = {{ kind = \"postgres\", url = \"{url}\", rights_age = \"0s\", role = \"{role}\", install = true }}"
    );
    let setup = Setup { settings: vec![("cascade.targets", orders)], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    // Its schema is made with the first tenant: that is no failure, and no proof.
    replica.tenant("finance").await;
    let table = "CREATE TABLE docs (tenant_id text NOT NULL); INSERT INTO docs VALUES ('finance')";
    sql(&url, table).await;
    let suspended = suspend(&mut replica).await;
    let step = suspended.targets.iter().find(|step| step.target == "orders").unwrap();
    assert_eq!(
        (step.state(), step.verification()),
        (v1::TargetState::Verified, v1::Verification::PolicyOnly)
    );
    assert!(step.last_error.starts_with("no table is protected here"), "{step:?}");
    let found = verify(&mut replica).await;
    let check = found.targets.iter().find(|check| check.target == "orders").unwrap();
    assert_eq!(check.result(), v1::CheckResult::AsDesired, "{check:?}");
    assert!(check.error.contains("tenancy.protect('schema.table')"), "{check:?}");
    // From the first table on, whoever's rows are in it.
    sql(&url, "DELETE FROM docs; SELECT tenancy.protect('docs')").await;
    let found = verify(&mut replica).await;
    let check = found.targets.iter().find(|check| check.target == "orders").unwrap();
    assert_eq!(check.error, "", "{check:?}");
    let activate =
        v1::ActivateTenantRequest { tenant_id: "finance".into(), wait: TEN_SECONDS, ..Default::default() };
    replica.lifecycle.activate_tenant(activate).await.unwrap();
    let suspended = suspend(&mut replica).await;
    let step = suspended.targets.iter().find(|step| step.target == "orders").unwrap();
    assert_eq!((step.verification(), step.last_error.as_str()), (v1::Verification::Effect, ""), "{step:?}");
    replica.stop().await;
}

pub(super) async fn suspend(replica: &mut Replica) -> v1::Operation {
    let request =
        v1::SuspendTenantRequest { tenant_id: "finance".into(), wait: TEN_SECONDS, ..Default::default() };
    let ended = replica.lifecycle.suspend_tenant(request).await.unwrap().into_inner();
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    ended
}

#[tokio::test]
async fn rows_that_can_be_seen_for_another_reason_are_named_with_their_table() {
    let (application, mut replica) = served("repair").await;
    // Not one that was ever protected: its own policies ask for the tenant, and let all through beside.
    let leaking = format!(
        "CREATE TABLE notice (tenant_id text NOT NULL);
         INSERT INTO notice VALUES ('finance');
         ALTER TABLE notice ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON notice USING (tenant_id = (SELECT tenancy.resolve('r')) OR true);
         GRANT SELECT ON notice TO {}",
        application.role
    );
    application.admin.batch_execute(&leaking).await.unwrap();
    let request =
        v1::SuspendTenantRequest { tenant_id: "finance".into(), wait: TEN_SECONDS, ..Default::default() };
    let stuck = replica.lifecycle.suspend_tenant(request).await.unwrap().into_inner();
    assert_eq!(stuck.state(), v1::OperationState::NeedsOperator, "{stuck:?}");
    let step = stuck.targets.iter().find(|step| step.target == "orders").unwrap();
    assert!(
        step.last_error.contains("read back in state READ_ONLY: rows of public.notice can be seen"),
        "{step:?}"
    );
    replica.stop().await;
}

/// Drift of a moment concerns every tenant of a database; nobody is to end a repair for each.
#[tokio::test]
async fn a_repair_that_waits_for_an_operator_ends_by_itself_once_what_was_wrong_is_mended() {
    let application = Application::new("").await;
    let (admin, role) = (&application.admin, &application.role);
    let orders = format!(
        "orders = {{ kind = \"postgres\", url = \"{}\", rights_age = \"0s\", role = \"{role}\" }}",
        application.url
    );
    let settings = vec![
        ("cascade.targets", orders),
        ("cascade.verify_rate", "1000".to_owned()),
        ("cascade.verify_interval", "1s".to_owned()),
    ];
    let mut replica = Replica::start(&Setup { settings, ..Setup::default() }).await;
    for id in ["finance", "hr"] {
        replica.tenant(id).await;
    }
    let list = |filter: &str| v1::ListOperationsRequest { filter: filter.to_owned(), ..Default::default() };
    let mut number = async |filter: &str| {
        replica.lifecycle.list_operations(list(filter)).await.unwrap().into_inner().total_size
    };
    admin.batch_execute(&format!("GRANT TRUNCATE ON document TO {role}")).await.unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while number("verb = REPAIR AND state = NEEDS_OPERATOR").await < 2 {
        assert!(Instant::now() < until, "both are found");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Not while it is as it was.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(number("verb = REPAIR AND state = NEEDS_OPERATOR").await, 2);
    admin.batch_execute(&format!("REVOKE TRUNCATE ON document FROM {role}")).await.unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while number("open = true").await > 0 {
        assert!(Instant::now() < until, "both end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(number("verb = REPAIR AND state = SUCCEEDED").await, 2);
    replica.stop().await;
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
    let older = "DROP FUNCTION tenancy.kept(text), tenancy.release(text), tenancy.unprotected(text), tenancy.overreach();
        DROP TABLE tenancy.protected, tenancy.part, tenancy.permitted";
    application.admin.batch_execute(older).await.unwrap();
    let settings = format!(", role = \"{}\"", application.role);
    let (kind, words) = told(at(&application.url, &settings).apply(&acme, Desired::Suspended, 1).await);
    assert_eq!((kind, words.contains("install = true")), (FailureKind::Permanent, true), "{words}");
    let again = at(&application.url, &format!("{settings}, install = true"));
    assert_eq!(bring(&again, &acme, Desired::Suspended, 1).await, Some(Desired::Suspended));
    application.admin.batch_execute(NO_POLICIES).await.unwrap();
    assert_ne!(again.observe(&acme).await.unwrap().state, Some(Desired::Suspended));
}

#[tokio::test]
async fn a_write_that_passes_although_nothing_is_read_is_drift_and_is_named() {
    let application = Application::new("").await;
    let (target, acme) = (&application.target, tenant("acme"));
    application.fill(&acme, 5).await;
    // As it might be written anew in haste: who writes is not asked for the state.
    let by_hand = "CREATE OR REPLACE FUNCTION tenancy.resolve(kind text) RETURNS text
        LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
            SELECT a.tenant_id FROM tenancy.access a
            WHERE a.tenant_id = current_setting('tenancy.tenant', true) AND (kind = 'w' OR a.state = 'ACTIVE') $$";
    for (state, generation) in [(Desired::Suspended, 1), (Desired::Archived, 2)] {
        bring(target, &acme, state, generation).await;
        application.admin.batch_execute(by_hand).await.unwrap();
        let client = application.client().await;
        let writes =
            "BEGIN; SET LOCAL tenancy.tenant = 'acme'; INSERT INTO document VALUES ('acme', -1); ROLLBACK";
        client.batch_execute(writes).await.unwrap();
        let seen = target.observe(&acme).await.unwrap();
        assert_eq!(seen.state, Some(Desired::Active), "{state}");
        assert!(seen.amiss.is_some_and(|why| why.contains("`tenancy.resolve`")), "{state}");
        // What the schema has is put back by a program that starts.
        let again = at(&application.url, &format!(", install = true, role = \"{}\"", application.role));
        assert_eq!(bring(&again, &acme, state, generation).await, Some(state));
        client.batch_execute(writes).await.expect_err("nothing is written");
    }
}

#[tokio::test]
async fn looks_within_a_second_ask_once_for_rights_and_a_change_asks_itself() {
    let application = Application::new("").await;
    let (admin, acme) = (&application.admin, tenant("acme"));
    let settings = "kind = \"postgres\", rights_age = \"1m\"";
    let target =
        super::target(&format!("{settings}, url = \"{}\", role = \"{}\"", application.url, application.role));
    bring(&target, &acme, Desired::Active, 1).await;
    admin.batch_execute("DROP POLICY tenant_reads ON document").await.unwrap();
    assert_eq!(
        target.observe(&acme).await.unwrap().amiss,
        None,
        "what was found holds for as long as it is told to"
    );
    let (kind, words) = told(target.apply(&acme, Desired::Suspended, 2).await);
    assert_eq!(
        (kind, words.contains("public.document (policy tenant_reads)")),
        (FailureKind::Permanent, true),
        "{words}"
    );
    let seen = target.observe(&acme).await.unwrap().amiss.unwrap_or_default();
    assert!(
        seen.contains("public.document (policy tenant_reads)"),
        "what is wrong is asked for anew: {seen}"
    );
    admin.batch_execute("SELECT tenancy.protect('document')").await.unwrap();
    assert_eq!(target.observe(&acme).await.unwrap().amiss, None, "so that what was mended is seen at once");
}

#[tokio::test]
async fn a_table_that_takes_ids_which_differ_for_one_is_refused_and_named_and_no_neighbours_rows_go() {
    let application = Application::new("").await;
    let (target, admin) = (&application.target, &application.admin);
    let (dashed, plain) = (tenant("a-b"), tenant("ab"));
    for tenant in [&dashed, &plain] {
        bring(target, tenant, Desired::Archived, 1).await;
    }
    let table = "CREATE COLLATION loose (provider = icu, locale = 'und-u-ka-shifted', deterministic = false);
        CREATE TABLE note (tenant_id text COLLATE loose); INSERT INTO note VALUES ('a-b'), ('ab')";
    admin.batch_execute(table).await.unwrap();
    let why =
        "tenant_id has the nondeterministic collation public.loose, for which ids that differ may be one";
    let error = admin.batch_execute("SELECT tenancy.protect('note')").await.unwrap_err();
    let words = error.as_db_error().unwrap().message().to_owned();
    assert_eq!(words, format!("public.note: {why}"));
    // Altered later, with the policies put back by hand; and one that was never protected.
    let listed = "ALTER TABLE note ALTER tenant_id TYPE text COLLATE \"C\"; SELECT tenancy.protect('note');
        DROP POLICY tenant_reads ON note; DROP POLICY tenant_inserts ON note; DROP POLICY tenant_updates ON note;
        DROP POLICY tenant_deletes ON note; DROP POLICY archive_reads ON note;
        ALTER TABLE note ALTER tenant_id TYPE text COLLATE loose;
        CREATE POLICY tenant_reads ON note FOR SELECT USING (tenant_id = (SELECT tenancy.resolve('r')));
        CREATE POLICY tenant_inserts ON note FOR INSERT WITH CHECK (tenant_id = (SELECT tenancy.resolve('w')));
        CREATE POLICY tenant_updates ON note FOR UPDATE USING (tenant_id = (SELECT tenancy.resolve('w')))
            WITH CHECK (tenant_id = (SELECT tenancy.resolve('w')));
        CREATE POLICY tenant_deletes ON note FOR DELETE USING (tenant_id = (SELECT tenancy.resolve('w')));
        CREATE POLICY archive_reads ON note FOR SELECT TO tenantry_archive USING (tenant_id = (SELECT tenancy.resolve('a')))";
    let own = "DROP TABLE note; CREATE TABLE note (tenant_id text COLLATE loose); INSERT INTO note VALUES ('a-b'), ('ab');
        ALTER TABLE note ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON note USING (tenant_id = (SELECT tenancy.resolve('r')))";
    for (change, is_protected) in [(listed, true), (own, false)] {
        admin.batch_execute(change).await.unwrap();
        let (kind, words) = told(target.apply(&dashed, Desired::Deleted, 2).await);
        let named = format!("public.note: {why}");
        assert_eq!((kind, words.contains(&named)), (FailureKind::Permanent, true), "{words}");
        let rows: i64 = admin.query_one("SELECT count(*) FROM note", &[]).await.unwrap().get(0);
        assert_eq!(rows, 2, "nobody's rows go");
        if is_protected {
            let seen = target.observe(&plain).await.unwrap().amiss.unwrap_or_default();
            assert!(seen.contains(&format!("public.note ({why})")), "{seen}");
        }
    }
    admin.batch_execute("DROP TABLE note").await.unwrap();
    assert_eq!(bring(target, &dashed, Desired::Deleted, 2).await, Some(Desired::Deleted));
}

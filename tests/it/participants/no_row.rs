//! Tenants that have rows in an application's database and no access row there: of a database that became a target after they
//! were made, or whose access row somebody deleted.

use tenantry::domain::lifecycle::{Desired, Verification};
use tenantry::participants::Observed;
use tenantry::proto::v1;

use super::postgres::{Application, tries};
use super::protection::{served, suspend, verify};
use super::{bring, tenant};

const NO_ROW: &str = "the database has rows of the tenant and no access row for it";
const DELETE_ROW: &str = "DELETE FROM tenancy.access WHERE tenant_id = $1";

/// What lets the application see or take what is others', how that is named, and how it is mended.
fn by_hand(role: &str) -> [(String, &'static str, String); 4] {
    [
        (
            "ALTER TABLE document DISABLE ROW LEVEL SECURITY".to_owned(),
            "public.document (row-level security)",
            "ALTER TABLE document ENABLE ROW LEVEL SECURITY".to_owned(),
        ),
        (
            "CREATE POLICY open ON document USING (true)".to_owned(),
            "public.document (policy open)",
            "DROP POLICY open ON document".to_owned(),
        ),
        (
            format!("GRANT TRUNCATE ON document TO {role}"),
            "has TRUNCATE",
            format!("REVOKE TRUNCATE ON document FROM {role}"),
        ),
        (
            format!("ALTER ROLE {role} BYPASSRLS"),
            "no policy binds the application's role",
            format!("ALTER ROLE {role} NOBYPASSRLS"),
        ),
    ]
}

#[tokio::test]
async fn a_tenant_without_an_access_row_is_drift_and_what_its_client_sees_beside_that_is_named() {
    let application = Application::new("").await;
    let (target, acme) = (&application.target, tenant("acme"));
    application.fill(&acme, 5).await;
    // As in a database that has just become a target, and as after its row was deleted.
    for generation in [0, 1] {
        if generation > 0 {
            bring(target, &acme, Desired::Suspended, generation).await;
            application.admin.execute(DELETE_ROW, &[&"acme"]).await.unwrap();
        }
        let seen = target.observe(&acme).await.unwrap();
        // What its client gets was tried. Since nothing there tells a late, older change from the newest, it is drift.
        let tried = (Some(Desired::Suspended), 0, Verification::Effect);
        assert_eq!((seen.state, seen.generation, seen.verification), tried);
        assert!(seen.amiss.as_deref().is_some_and(|why| why.starts_with(NO_ROW)), "{seen:?}");
        for (change, named, back) in by_hand(&application.role) {
            application.admin.batch_execute(&change).await.unwrap();
            let seen = target.observe(&acme).await.unwrap();
            assert_eq!(seen.state, Some(Desired::ReadOnly), "{change}");
            assert!(seen.amiss.is_some_and(|why| why.contains(named)), "{change}");
            application.admin.batch_execute(&back).await.unwrap();
        }
    }
    assert_eq!(bring(target, &acme, Desired::Suspended, 2).await, Some(Desired::Suspended));
    assert_eq!(target.observe(&acme).await.unwrap().amiss, None);
}

#[tokio::test]
async fn a_tenant_without_an_access_row_is_purged_as_any_other_and_unknown_once_nothing_of_it_is_left() {
    let application = Application::new("").await;
    let (target, acme) = (&application.target, tenant("acme"));
    application.fill(&acme, 5).await;
    assert_ne!(target.observe(&acme).await.unwrap().state, Some(Desired::Deleted));
    assert_eq!(bring(target, &acme, Desired::Deleted, 1).await, Some(Desired::Deleted));
    assert_eq!(application.count(&acme).await, 0);
    application.admin.execute(DELETE_ROW, &[&"acme"]).await.unwrap();
    assert_eq!(target.observe(&acme).await, Ok(Observed::UNKNOWN_TENANT));
}

fn orders(found: &v1::VerifyTenantResponse) -> &v1::TargetCheck {
    found.targets.iter().find(|check| check.target == "orders").unwrap()
}

#[tokio::test]
async fn verify_writes_the_access_row_of_a_suspended_tenant_and_says_what_its_client_sees() {
    let (application, mut replica) = served("repair").await;
    suspend(&mut replica).await;
    for (change, named, back) in by_hand(&application.role) {
        application.admin.execute(DELETE_ROW, &[&"finance"]).await.unwrap();
        application.admin.batch_execute(&change).await.unwrap();
        let found = verify(&mut replica).await;
        let check = orders(&found);
        assert_eq!(check.result(), v1::CheckResult::Drifted, "{change}: {check:?}");
        assert!(check.error.contains(named), "{change}: {check:?}");
        let repair = found.operation.unwrap();
        assert_eq!(repair.state(), v1::OperationState::NeedsOperator, "{change}: {repair:?}");
        application.admin.batch_execute(&back).await.unwrap();
        let retry = v1::RetryTargetRequest {
            operation_id: repair.operation_id,
            target: "orders".into(),
            wait: Some(prost_types::Duration { seconds: 10, nanos: 0 }),
            ..Default::default()
        };
        let ended = replica.lifecycle.retry_target(retry).await.unwrap().into_inner();
        assert_eq!(ended.state(), v1::OperationState::Succeeded, "{change}: {ended:?}");
    }
    application.admin.execute(DELETE_ROW, &[&"finance"]).await.unwrap();
    let found = verify(&mut replica).await;
    assert_eq!(orders(&found).result(), v1::CheckResult::Drifted, "{found:?}");
    assert!(orders(&found).error.starts_with(NO_ROW), "{found:?}");
    assert_eq!(found.operation.unwrap().state(), v1::OperationState::Succeeded);
    let written = "SELECT count(*) FROM tenancy.access WHERE tenant_id = 'finance' AND state = 'SUSPENDED'";
    let written: i64 = application.admin.query_one(written, &[]).await.unwrap().get(0);
    assert_eq!(written, 1);
    assert_eq!(orders(&verify(&mut replica).await).result(), v1::CheckResult::AsDesired);
    let mut client = application.client().await;
    assert_eq!(tries(&mut client, &tenant("finance")).await, (0, false));
    replica.stop().await;
}

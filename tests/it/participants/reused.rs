//! An id that is used again where the tenant before it was not purged: its rows are nobody else's.

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::FailureKind;
use tenantry::proto::v1;

use super::postgres::{Application, tries};
use super::{bring, tenant, told, until};
use crate::lifecycle::schedule::{PURGE_NOW, delete};
use crate::support::{Replica, Setup, sql};

const TEN_SECONDS: Option<prost_types::Duration> = Some(prost_types::Duration { seconds: 10, nanos: 0 });

impl Application {
    async fn forget(&self, tenant_id: &str, uid: uuid::Uuid) -> Result<i64, tokio_postgres::Error> {
        let row = self.admin.query_one("SELECT tenancy.forget($1, $2)", &[&tenant_id, &uid]).await?;
        Ok(row.get(0))
    }
}

#[tokio::test]
async fn nobody_is_let_in_to_the_rows_of_the_tenant_that_had_the_id_before() {
    for left_in in [Desired::Active, Desired::Suspended, Desired::Archived] {
        let application = Application::new("").await;
        let (target, mut client) = (application.target.clone(), application.client().await);
        let (former, neighbour) = (tenant("acme"), tenant("acme-2"));
        for tenant in [&former, &neighbour] {
            application.fill(tenant, 50).await;
            bring(&target, tenant, Desired::Active, 1).await;
        }
        bring(&target, &former, left_in, 2).await;
        // As after a purge that was skipped, or a restore of a registry from before the tenant was made.
        let again = tenant("acme");
        let before = tries(&mut client, &former).await;
        for (state, generation) in [(Desired::Active, 1), (Desired::Suspended, 2), (Desired::Deleted, 3)] {
            let (kind, words) = told(target.apply(&again, state, generation).await);
            assert_eq!(kind, FailureKind::Permanent, "{left_in} {state}: {words}");
            let how = format!("SELECT tenancy.forget('acme', '{}')", former.uid);
            assert!(words.contains(&how) && words.contains(left_in.as_str()), "{left_in} {state}: {words}");
        }
        let seen = target.observe(&again).await.unwrap();
        let met = if left_in == Desired::Active { Desired::Active } else { Desired::Suspended };
        assert_eq!((seen.state, seen.generation), (Some(met), 0), "what a client of the id meets");
        assert!(seen.amiss.is_some_and(|why| why.contains(&former.uid.to_string())), "{left_in}");
        assert_eq!(tries(&mut client, &again).await, before, "nothing was changed");
        application.forget("acme", again.uid).await.expect_err("that one has nothing here");
        assert!(application.forget("acme", former.uid).await.unwrap() > 50);
        assert_eq!((application.count(&former).await, tries(&mut client, &neighbour).await), (0, (50, true)));
        assert_eq!(bring(&target, &again, Desired::Active, 4).await, Some(Desired::Active));
        let (kind, words) = told(target.apply(&former, Desired::Active, 9).await);
        assert_eq!(kind, FailureKind::Permanent);
        assert!(words.ends_with(&format!("for another tenant with this id: uid {}", again.uid)), "{words}");
    }
}

/// As a registry asks that was restored from before the new tenant was made.
#[tokio::test]
async fn nothing_that_is_asked_for_a_purged_tenant_reaches_the_new_one_of_its_id() {
    let application = Application::new("").await;
    let (target, mut client) = (application.target.clone(), application.client().await);
    let former = tenant("acme");
    bring(&target, &former, Desired::Active, 1).await;
    bring(&target, &former, Desired::Deleted, 3).await;
    let later = tenant("acme");
    bring(&target, &later, Desired::Active, 1).await;
    application.fill(&later, 50).await;
    let before = (tries(&mut client, &later).await, application.count(&later).await);
    for (state, generation) in [(Desired::Deleted, 3)].into_iter().chain(Desired::ALL.into_iter().zip(4..)) {
        let (kind, words) = told(target.apply(&former, state, generation).await);
        assert_eq!(kind, FailureKind::Permanent, "{state}: {words}");
        assert!(words.contains(&later.uid.to_string()), "{state}: {words}");
        let after = (tries(&mut client, &later).await, application.count(&later).await);
        assert_eq!(after, before, "{state}");
    }
    let seen = target.observe(&former).await.unwrap();
    assert_eq!((seen.state, seen.generation), (Some(Desired::Suspended), 0), "the other's access is its own");
    assert!(seen.amiss.is_some_and(|why| why.contains(&later.uid.to_string())));
}

#[tokio::test]
async fn rows_that_came_back_after_a_purge_are_nobodys_either() {
    let application = Application::new("").await;
    let (target, former) = (application.target.clone(), tenant("acme"));
    bring(&target, &former, Desired::Deleted, 1).await;
    application.fill(&former, 5).await;
    let again = tenant("acme");
    let (kind, words) = told(target.apply(&again, Desired::Active, 1).await);
    assert_eq!((kind, words.contains("(DELETED)")), (FailureKind::Permanent, true), "{words}");
    application.forget("acme", former.uid).await.unwrap();
    assert_eq!(bring(&target, &again, Desired::Active, 1).await, Some(Desired::Active));
    // What this database has never heard of, an application had before it had us.
    let old_customer = tenant("older-than-the-registry");
    application.fill(&old_customer, 5).await;
    assert_eq!(bring(&target, &old_customer, Desired::Active, 1).await, Some(Desired::Active));
}

#[tokio::test]
async fn rows_are_handed_over_to_the_same_customers_new_tenant_as_the_manual_says() {
    let application = Application::new("").await;
    let (target, former, mut client) =
        (application.target.clone(), tenant("acme"), application.client().await);
    application.fill(&former, 50).await;
    bring(&target, &former, Desired::Active, 7).await;
    let again = tenant("acme");
    assert_eq!(told(target.apply(&again, Desired::Active, 1).await).0, FailureKind::Permanent);
    let hand_over = "UPDATE tenancy.access SET uid = $1, state = 'SUSPENDED', generation = 0
        WHERE tenant_id = 'acme' AND uid = $2";
    assert_eq!(application.admin.execute(hand_over, &[&again.uid, &former.uid]).await.unwrap(), 1);
    assert_eq!(bring(&target, &again, Desired::Active, 1).await, Some(Desired::Active));
    assert_eq!(tries(&mut client, &again).await, (50, true));
}

/// The tenant `finance`, deleted and due to be purged while the application's database is paused; its purge goes on without.
async fn purged_without_the_database(application: &Application) -> (Replica, v1::Tenant, v1::Operation) {
    let (url, role) = (&application.url, &application.role);
    let targets = format!(
        "orders = {{ kind = \"postgres\", url = \"{url}\", rights_age = \"0s\", role = \"{role}\" }}"
    );
    let settings = vec![("cascade.targets", targets), ("cascade.apply_deadline", "10s".to_owned())];
    let mut replica = Replica::start(&Setup { settings, ..Setup::default() }).await;
    let former = replica.tenant("finance").await;
    application.fill(&tenant("finance"), 50).await;
    delete(&mut replica, "finance").await;
    let pause =
        v1::PauseTargetRequest { target: "orders".into(), reason: "upgrade".into(), ..Default::default() };
    replica.lifecycle.pause_target(pause).await.unwrap();
    sql(&replica.database_url, PURGE_NOW).await;
    let list = v1::ListOperationsRequest { filter: "verb = PURGE".into(), ..Default::default() };
    let mut purge = None;
    until("the purge begins", async || {
        let listed = replica.lifecycle.list_operations(list.clone()).await.unwrap().into_inner();
        purge = listed.operations.into_iter().next();
        purge.is_some()
    })
    .await;
    let skip = v1::SkipTargetRequest {
        operation_id: purge.unwrap().operation_id,
        target: "orders".into(),
        reason: "in a hurry".into(),
        ..Default::default()
    };
    let skipped = replica.lifecycle.skip_target(skip).await.unwrap().into_inner();
    let resume = v1::ResumeTargetRequest { target: "orders".into(), ..Default::default() };
    replica.lifecycle.resume_target(resume).await.unwrap();
    (replica, former, skipped)
}

#[tokio::test]
async fn a_new_tenant_sees_nothing_of_one_whose_purge_was_skipped() {
    let application = Application::new("").await;
    let (mut replica, former, skipped) = purged_without_the_database(&application).await;
    let stays = |operation: &v1::Operation| {
        let error = &operation.error;
        error.contains(&format!("orders has of the tenant with uid {} stays", former.uid))
    };
    assert!(stays(&skipped), "{skipped:?}");
    let get = v1::GetOperationRequest { operation_id: skipped.operation_id.clone() };
    let mut receipt = skipped;
    until("it is purged", async || {
        receipt = replica.lifecycle.get_operation(get.clone()).await.unwrap().into_inner();
        receipt.state() == v1::OperationState::Succeeded
    })
    .await;
    assert!(stays(&receipt), "{receipt:?}");
    let created = replica.create("finance").await.unwrap();
    assert_ne!(created.uid, former.uid);
    let get = v1::GetOperationRequest { operation_id: created.operation_id.clone() };
    let mut provisioning = None;
    until("it needs an operator", async || {
        let now = replica.lifecycle.get_operation(get.clone()).await.unwrap().into_inner();
        let waits = now.state() == v1::OperationState::NeedsOperator;
        provisioning = Some(now);
        waits
    })
    .await;
    let provisioning = provisioning.unwrap();
    assert!(
        provisioning.error.contains(&format!("tenancy.forget('finance', '{}')", former.uid)),
        "{provisioning:?}"
    );
    let mut client = application.client().await;
    assert_eq!(tries(&mut client, &tenant("finance")).await, (0, false), "nobody sees the rows");
    application.forget("finance", former.uid.parse().unwrap()).await.unwrap();
    let retry = v1::RetryTargetRequest {
        operation_id: provisioning.operation_id,
        target: "orders".into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    let ended = replica.lifecycle.retry_target(retry).await.unwrap().into_inner();
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    assert_eq!(replica.settled("finance").await.status(), v1::TenantStatus::Active);
    assert_eq!(application.count(&tenant("finance")).await, 0);
    replica.stop().await;
}

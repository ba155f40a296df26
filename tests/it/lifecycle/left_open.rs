//! Tenants that a move to less access on many is meant for, and that cannot take it where they are.

use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Fault, Stub};
use tenantry::proto::v1;

use super::many::{bulk, bulk_ended, make};
use super::{TEN_SECONDS, suspend};
use crate::command_line::tenantry;
use crate::support::{Replica, Setup};

const REFUSAL: &str = "c1: a tenant that is MIGRATING cannot take SuspendTenant: FinishMigration moves it to SUSPENDED \
                       (`tenantry tenant finish-migration ID --suspended`)";

/// `par`, below it `c1`, which migrates, and `c2`, and below `c1` `g1`.
async fn family() -> (Replica, Stub) {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let settings = vec![("cascade.apply_deadline", "20s".to_owned())];
    let setup = Setup { stubs: vec![("cache", stub.clone())], settings, ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    make(&mut replica, &["par"], "").await;
    make(&mut replica, &["c1", "c2"], "par").await;
    make(&mut replica, &["g1"], "c1").await;
    let start = v1::StartMigrationRequest {
        tenant_id: "c1".into(),
        to_region: "us-2".into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    replica.lifecycle.start_migration(start).await.unwrap();
    assert_eq!(replica.settled("c1").await.status(), v1::TenantStatus::Migrating);
    (replica, stub)
}

#[tokio::test]
async fn a_suspension_that_children_follow_fails_where_one_that_migrates_stays_readable() {
    let (mut replica, _stub) = family().await;
    let asked = v1::SuspendTenantRequest { children: v1::ChildrenPolicy::Follow.into(), ..suspend("par") };
    let operation = replica.lifecycle.suspend_tenant(asked).await.unwrap().into_inner();
    assert_eq!(operation.state(), v1::OperationState::Succeeded, "{operation:?}");
    let id = operation.children_bulk_operation_id;
    let followed = v1::BulkOperation { bulk_operation_id: id, ..Default::default() };
    let followed = bulk_ended(&mut replica, &followed).await;
    assert_eq!(
        (followed.state(), followed.total, followed.succeeded, followed.failed),
        (v1::BulkOperationState::Failed, 3, 2, 1),
        "{followed:?}"
    );
    assert!(followed.error.starts_with(REFUSAL), "{followed:?}");
    for tenant_id in ["par", "c2", "g1"] {
        assert_eq!(replica.get(tenant_id).await.status(), v1::TenantStatus::Suspended, "{tenant_id}");
    }
    // The way out that it names.
    let server = format!("http://{}", replica.server.grpc);
    let finish = ["tenant", "finish-migration", "c1", "--suspended", "--server", &server];
    let (code, said) = tenantry(&finish).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(replica.settled("c1").await.status(), v1::TenantStatus::Suspended);
    replica.stop().await;
}

#[tokio::test]
async fn commands_on_many_end_with_7_and_say_who_stays_readable_each_time_they_are_asked() {
    let (replica, _stub) = family().await;
    let server = format!("http://{}", replica.server.grpc);
    let filter = r#"tenant_id = "c*""#;
    let start = |verb| ["bulk", "start", verb, "--filter", filter, "--server", &server];
    for (total, verb) in [(2, "suspend"), (1, "suspend")] {
        let (code, said) = tenantry(&start(verb)).await;
        assert_eq!(code, Some(7), "{said}");
        assert!(said.contains(&format!("1 of {total} tenants were not moved: {REFUSAL}")), "{said}");
    }
    let (code, said) =
        tenantry(&["tenant", "suspend", "par", "--children", "follow", "--server", &server]).await;
    assert_eq!(code, Some(7), "{said}");
    assert!(said.contains(&format!("1 of 2 tenants were not moved: {REFUSAL}")), "{said}");
    // Whoever is locked out is not meant by a suspension, and who does not migrate not by the end of a migration.
    let (code, said) = tenantry(&start("finish-migration")).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 of 1 done"), "{said}");
    // A deletion is meant for whoever is there, and each has its own way to it.
    let (code, said) = tenantry(&start("delete")).await;
    assert_eq!(code, Some(7), "{said}");
    for why in ["c1: a tenant that is ACTIVE cannot take", "c2: a tenant that is SUSPENDED cannot take"] {
        assert!(said.contains(why), "{said}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn a_plan_says_of_each_that_cannot_follow_why_apart_from_those_that_can() {
    let (replica, _stub) = family().await;
    let server = format!("http://{}", replica.server.grpc);
    let plan = ["tenant", "suspend", "par", "--children", "follow", "--validate-only", "--server", &server];
    let (code, said) = tenantry(&plan).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("\ntenants below that cannot follow:\n  {REFUSAL}")), "{said}");
    assert!(said.ends_with("\ntenants below that follow: 2 (c2, g1)\n"), "{said}");
    replica.stop().await;
}

#[tokio::test]
async fn one_whose_migration_is_about_to_end_in_a_suspension_is_waited_for() {
    let (mut replica, stub) = family().await;
    let c1 = replica.get("c1").await;
    stub.set_fault(&c1.uid, Some(Fault::Late(Duration::from_secs(1))));
    let finish = v1::FinishMigrationRequest {
        tenant_id: "c1".into(),
        to_status: v1::TenantStatus::Suspended.into(),
        ..Default::default()
    };
    replica.lifecycle.finish_migration(finish).await.unwrap();
    let request = bulk(r#"tenant_id = "c*""#, v1::OperationVerb::Suspend);
    let started = replica.lifecycle.start_bulk_operation(request).await.unwrap().into_inner();
    assert_eq!((started.total, started.failed), (2, 0), "{started:?}");
    let ended = bulk_ended(&mut replica, &started).await;
    assert_eq!((ended.state(), ended.succeeded), (v1::BulkOperationState::Succeeded, 2), "{ended:?}");
    assert_eq!(stub.held(&c1.uid).unwrap().state, Desired::Suspended);
    replica.stop().await;
}

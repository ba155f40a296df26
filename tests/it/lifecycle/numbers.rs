//! Generations that cannot be: of a target that answers nonsense, and of a registry that was changed by hand.

use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Held, Stub};
use tenantry::proto::v1;
use tonic::Code;

use super::{TEN_SECONDS, suspend};
use crate::participants::until;
use crate::support::{Replica, Setup, reason, sql};

const A_SECOND: Option<prost_types::Duration> = Some(prost_types::Duration { seconds: 1, nanos: 0 });

/// A server with two stub targets that is patient with them, and the tenant `finance`.
async fn patient() -> (Replica, Stub, Stub, v1::Tenant) {
    let cache = Stub::start(Duration::ZERO).await.unwrap();
    let index = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup {
        stubs: vec![("cache", cache.clone()), ("vector-db", index.clone())],
        settings: vec![("cascade.max_attempts", "1000".to_owned())],
        ..Setup::default()
    };
    let mut replica = Replica::start(&setup).await;
    let tenant = replica.tenant("finance").await;
    (replica, cache, index, tenant)
}

fn to_platinum() -> v1::ChangeTierRequest {
    v1::ChangeTierRequest {
        tenant_id: "finance".into(),
        tier: "platinum".into(),
        wait: A_SECOND,
        ..Default::default()
    }
}

fn step<'a>(operation: &'a v1::Operation, target: &str) -> &'a v1::TargetStep {
    operation.targets.iter().find(|step| step.target == target).unwrap()
}

async fn a_target_answers(number: u64) {
    let (mut replica, cache, index, tenant) = patient().await;
    cache.put(&tenant.uid, Held { state: Desired::Active, generation: number });
    let changing = replica.lifecycle.change_tier(to_platinum()).await.unwrap().into_inner();
    assert_eq!((changing.state(), changing.generation), (v1::OperationState::Running, 2), "{changing:?}");
    let said = &step(&changing, "cache").last_error;
    assert!(said.contains(&number.to_string()) && said.contains("too high to be true"), "{said}");
    // Neither is it taken for drift.
    let look =
        v1::VerifyTenantRequest { tenant_id: "finance".into(), validate_only: true, ..Default::default() };
    let looked = replica.lifecycle.verify_tenant(look).await.unwrap().into_inner();
    let check = looked.targets.iter().find(|check| check.target == "cache").unwrap();
    assert_eq!(check.result(), v1::CheckResult::Unknown, "{check:?}");
    assert!(check.error.contains(&number.to_string()), "{check:?}");
    // The tenant is locked out everywhere else.
    let asked = v1::SuspendTenantRequest { wait: A_SECOND, ..suspend("finance") };
    let suspending = replica.lifecycle.suspend_tenant(asked).await.unwrap().into_inner();
    assert_eq!((suspending.state(), suspending.generation), (v1::OperationState::Running, 3));
    assert_eq!(index.held(&tenant.uid), Some(Held { state: Desired::Suspended, generation: 3 }));
    assert_eq!(replica.get("finance").await.access(), v1::TenantAccess::None);
    let said = &step(&suspending, "cache").last_error;
    assert!(said.contains(&number.to_string()), "{said}");
    // And there too, once it is mended.
    cache.put(&tenant.uid, Held { state: Desired::Active, generation: 1 });
    let ended = replica.settled("finance").await;
    assert_eq!((ended.status(), ended.access()), (v1::TenantStatus::Suspended, v1::TenantAccess::None));
    assert_eq!(cache.held(&tenant.uid), Some(Held { state: Desired::Suspended, generation: 3 }));
    replica.stop().await;
}

#[tokio::test]
async fn a_target_that_answers_the_last_number_but_one_spoils_nothing() {
    Box::pin(a_target_answers((1 << 63) - 2)).await;
}

#[tokio::test]
async fn a_target_that_answers_the_last_number_spoils_nothing() {
    Box::pin(a_target_answers((1 << 63) - 1)).await;
}

#[tokio::test]
async fn no_operation_goes_far_beyond_a_target_without_an_operator() {
    let (mut replica, cache, index, tenant) = patient().await;
    cache.put(&tenant.uid, Held { state: Desired::Active, generation: 2_000_000 });
    let waiting = replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap().into_inner();
    assert_eq!((waiting.state(), waiting.generation), (v1::OperationState::NeedsOperator, 2), "{waiting:?}");
    let cached = step(&waiting, "cache");
    assert_eq!(cached.ahead_generation, 2_000_000);
    assert!(cached.last_error.contains("further ahead than a restore of it explains"), "{cached:?}");
    assert_eq!(index.held(&tenant.uid), Some(Held { state: Desired::Suspended, generation: 2 }));
    let adopt = v1::RetryTargetRequest {
        operation_id: waiting.operation_id.clone(),
        target: "cache".into(),
        adopt: true,
        reason: "another registry was here".into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    let ended = replica.lifecycle.retry_target(adopt).await.unwrap().into_inner();
    assert_eq!((ended.state(), ended.generation), (v1::OperationState::Succeeded, 2_000_001), "{ended:?}");
    replica.stop().await;
}

#[tokio::test]
async fn a_tenant_whose_generation_was_set_to_the_last_is_refused_in_words() {
    let mut replica = Replica::start(&Setup::default()).await;
    let url = replica.database_url.clone();
    for tenant_id in ["ours", "the-database-s"] {
        replica.tenant(tenant_id).await;
    }
    replica.stop().await;
    for (tenant_id, last) in [("ours", (1_i64 << 53) - 1), ("the-database-s", i64::MAX)] {
        sql(&url, &format!("UPDATE tenant SET generation = {last} WHERE tenant_id = '{tenant_id}'")).await;
    }
    let mut replica = Replica::on(&url, &Setup::default()).await;
    for tenant_id in ["ours", "the-database-s"] {
        let error = replica.lifecycle.suspend_tenant(suspend(tenant_id)).await.unwrap_err();
        assert_eq!((error.code(), reason(&error).as_str()), (Code::FailedPrecondition, "ILLEGAL_TRANSITION"));
        assert!(error.message().contains("an operator has to correct it"), "{error:?}");
    }
    // As docs/OPERATIONS.md says.
    replica.stop().await;
    sql(&url, "UPDATE tenant SET generation = 1 WHERE tenant_id = 'ours'").await;
    let mut replica = Replica::on(&url, &Setup::default()).await;
    let ended = replica.lifecycle.suspend_tenant(suspend("ours")).await.unwrap().into_inner();
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    replica.stop().await;
}

/// Has the database refuse operations in some states, as it refuses a number that a column cannot hold.
async fn refuse(url: &str, states: &str) {
    sql(
        url,
        &format!(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 RAISE EXCEPTION 'value is out of range' USING ERRCODE = '22003'; END $$;
             CREATE TRIGGER refuse BEFORE UPDATE ON operation FOR EACH ROW WHEN (NEW.state IN ({states}))
                 EXECUTE FUNCTION refuse();"
        ),
    )
    .await;
}

#[tokio::test]
async fn what_the_database_refuses_for_good_is_put_before_an_operator() {
    let mut replica = Replica::start(&Setup::default()).await;
    replica.tenant("finance").await;
    let url = replica.database_url.clone();
    refuse(&url, "'SUCCEEDED'").await;
    let stuck = replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap().into_inner();
    assert_eq!(stuck.state(), v1::OperationState::NeedsOperator, "{stuck:?}");
    assert!(stuck.error.starts_with("postgres: the database refuses what came of it"), "{stuck:?}");
    sql(&url, "DROP TRIGGER refuse ON operation").await;
    let retry = v1::RetryTargetRequest {
        operation_id: stuck.operation_id,
        target: "postgres".into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    let ended = replica.lifecycle.retry_target(retry).await.unwrap().into_inner();
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    replica.stop().await;
}

#[tokio::test]
async fn where_not_even_that_can_be_written_what_operators_do_counts() {
    let mut replica = Replica::start(&Setup::default()).await;
    replica.tenant("finance").await;
    let url = replica.database_url.clone();
    refuse(&url, "'SUCCEEDED', 'NEEDS_OPERATOR'").await;
    let asked = v1::SuspendTenantRequest { wait: None, ..suspend("finance") };
    let open = replica.lifecycle.suspend_tenant(asked).await.unwrap().into_inner();
    // Long enough to be given up, and more than once.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let abort = v1::AbortOperationRequest {
        operation_id: open.operation_id.clone(),
        reason: "it does not end".into(),
        wait: TEN_SECONDS,
        ..Default::default()
    };
    let aborted = replica.lifecycle.abort_operation(abort).await.unwrap().into_inner();
    assert_eq!(aborted.state(), v1::OperationState::Cancelled, "{aborted:?}");
    until("the tenant is let in again", async || {
        replica.get("finance").await.status() == v1::TenantStatus::Active
    })
    .await;
    replica.stop().await;
}

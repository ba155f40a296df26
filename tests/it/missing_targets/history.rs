//! What a tenant's older operations say, those too that are not in memory: which targets it may still be in.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::Stub;
use tenantry::proto::v1;

use super::{WAIT, missing, suspend, targets};
use crate::lifecycle::schedule::{PURGE_NOW, delete};
use crate::participants::until;
use crate::support::{Replica, Setup, program, sql};

/// A replica that lacks `cache`, with as few operations in memory as can be.
fn lacking() -> Setup {
    Setup { settings: vec![("view.ended_operations", "100".to_owned())], ..Setup::default() }
}

/// The same, where `cache` was taken away on purpose.
fn without() -> Setup {
    let mut setup = lacking();
    setup.settings.push(("cascade.retired_targets", "cache".to_owned()));
    setup
}

/// A database in which these tenants are in `cache`.
async fn in_cache(stub: &Stub, tenant_ids: &[&str]) -> String {
    let mut whole = Replica::start(&Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() }).await;
    for tenant_id in tenant_ids {
        whole.tenant(tenant_id).await;
    }
    let url = whole.database_url.clone();
    whole.stop().await;
    url
}

/// Has every operation before forgotten, by so many that reach `postgres` alone.
async fn forget(url: &str) {
    let mut replica = Replica::on(url, &without()).await;
    for _ in 0..105 {
        let request = v1::ChangeTierRequest {
            tenant_id: "zed".into(),
            tier: "gold".into(),
            wait: WAIT,
            ..Default::default()
        };
        let done = replica.lifecycle.change_tier(request).await.unwrap().into_inner();
        assert_eq!((done.state(), targets(&done)), (v1::OperationState::Succeeded, vec!["postgres"]));
    }
    replica.stop().await;
}

/// The receipt of the newest purge of `finance`, which is due now.
async fn purged(replica: &mut Replica) -> v1::Operation {
    sql(&replica.database_url, PURGE_NOW).await;
    let get = || v1::GetTenantRequest { tenant_id: "finance".into() };
    until("it is purged", async || replica.tenants.get_tenant(get()).await.is_err()).await;
    let request = v1::ListOperationsRequest {
        tenant_id: "finance".into(),
        filter: "verb = PURGE".into(),
        ..Default::default()
    };
    let receipts = replica.lifecycle.list_operations(request).await.unwrap().into_inner().operations;
    assert_eq!(receipts[0].state(), v1::OperationState::Succeeded, "{receipts:?}");
    receipts.into_iter().next().unwrap()
}

#[tokio::test]
async fn a_tenant_whose_operations_are_not_in_memory_is_not_called_suspended_without_a_target_of_others() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let url = in_cache(&stub, &["finance", "zed"]).await;
    forget(&url).await;

    let mut fewer = Replica::on(&url, &lacking()).await;
    assert_eq!(missing(&fewer).await, "tenantry_targets_missing 1");
    let look =
        v1::VerifyTenantRequest { tenant_id: "finance".into(), validate_only: true, ..Default::default() };
    let found = fewer.lifecycle.verify_tenant(look).await.unwrap().into_inner();
    let seen: Vec<_> = found.targets.iter().map(|it| (it.target.as_str(), it.result())).collect();
    assert_eq!(seen, [("cache", v1::CheckResult::Unknown), ("postgres", v1::CheckResult::AsDesired)]);
    let plan =
        v1::SuspendTenantRequest { tenant_id: "finance".into(), validate_only: true, ..Default::default() };
    let plan = fewer.lifecycle.suspend_tenant(plan).await.unwrap().into_inner();
    assert_eq!(targets(&plan), ["cache", "postgres"]);
    let stuck = suspend(&mut fewer).await;
    assert_eq!(stuck.state(), v1::OperationState::NeedsOperator, "{stuck:?}");
    assert_eq!(stuck.targets[0].last_error, "this target is not in the server's configuration");
    assert_eq!(fewer.get("finance").await.status(), v1::TenantStatus::Active);
    let request = v1::ChangeTierRequest {
        tenant_id: "zed".into(),
        tier: "silver".into(),
        wait: WAIT,
        ..Default::default()
    };
    let changing = fewer.lifecycle.change_tier(request).await.unwrap().into_inner();
    assert_eq!(targets(&changing), ["cache", "postgres"], "{changing:?}");
    assert!(changing.finish_time.is_none(), "{changing:?}");
    // Who is made now is to be everywhere, too.
    let made = fewer.create("hr").await.unwrap();
    let request = v1::GetOperationRequest { operation_id: made.operation_id };
    let making = fewer.lifecycle.get_operation(request).await.unwrap().into_inner();
    assert_eq!(targets(&making), ["cache", "postgres"]);
    fewer.stop().await;
}

#[tokio::test]
async fn operations_of_before_an_upgrade_count() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let url = in_cache(&stub, &["finance", "zed"]).await;
    forget(&url).await;
    sql(
        &url,
        "DROP TABLE target_reached; ALTER TABLE tenant DROP COLUMN undecided; DELETE FROM schema_migration WHERE number >= 13",
    )
    .await;
    let mut fewer = Replica::on(&url, &lacking()).await;
    let stuck = suspend(&mut fewer).await;
    assert_eq!(stuck.state(), v1::OperationState::NeedsOperator, "{stuck:?}");
    assert_eq!(targets(&stuck), ["cache", "postgres"]);
    fewer.stop().await;
}

#[tokio::test]
async fn a_receipt_names_a_retired_target_that_keeps_the_tenant_and_not_for_the_next_of_the_same_id() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let url = in_cache(&stub, &["finance", "zed"]).await;
    forget(&url).await;
    let mut fewer = Replica::on(&url, &without()).await;
    let former = delete(&mut fewer, "finance").await;
    let receipt = purged(&mut fewer).await;
    assert_eq!(targets(&receipt), ["cache", "postgres"]);
    let cache = &receipt.targets[0];
    assert_eq!((cache.state(), cache.skip_reason.as_str()), (v1::TargetState::Skipped, "it is retired"));
    assert_eq!(receipt.targets[1].state(), v1::TargetState::Verified);
    assert!(receipt.error.contains("cache") && receipt.error.contains(&former.uid), "{receipt:?}");
    assert_eq!(stub.held(&former.uid).unwrap().state, Desired::Active);

    fewer.tenant("finance").await;
    delete(&mut fewer, "finance").await;
    let receipt = purged(&mut fewer).await;
    assert_eq!((targets(&receipt), receipt.error.as_str()), (vec!["postgres"], ""));
    fewer.stop().await;
}

#[tokio::test]
async fn a_receipt_names_a_target_that_was_skipped_before_and_is_not_in_the_configuration() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let url = in_cache(&stub, &["finance"]).await;
    let mut fewer = Replica::on(&url, &lacking()).await;
    let stuck = suspend(&mut fewer).await;
    let request = v1::SkipTargetRequest {
        operation_id: stuck.operation_id,
        target: "cache".into(),
        reason: "sold".into(),
        ..Default::default()
    };
    fewer.lifecycle.skip_target(request).await.unwrap();
    let suspended = fewer.settled("finance").await;
    let archive = v1::ArchiveTenantRequest { tenant_id: "finance".into(), wait: WAIT, ..Default::default() };
    let archived = fewer.lifecycle.archive_tenant(archive).await.unwrap().into_inner();
    assert_eq!(targets(&archived), ["postgres"], "it is not missed again");
    let request = v1::DeleteTenantRequest { tenant_id: "finance".into(), wait: WAIT, ..Default::default() };
    fewer.lifecycle.delete_tenant(request).await.unwrap();
    let receipt = purged(&mut fewer).await;
    assert_eq!(targets(&receipt), ["cache", "postgres"]);
    let cache = &receipt.targets[0];
    assert_eq!(
        (cache.state(), cache.skip_reason.as_str()),
        (v1::TargetState::Skipped, "it was skipped before")
    );
    assert!(receipt.error.contains("cache") && receipt.error.contains(&suspended.uid), "{receipt:?}");
    fewer.stop().await;
}

#[tokio::test]
async fn the_newest_operation_is_the_one_that_began_last_not_the_one_that_was_asked_for_last() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let url = in_cache(&stub, &["finance"]).await;
    let mut whole = Replica::on(&url, &setup).await;
    let at = Some(prost_types::Timestamp::from(std::time::SystemTime::now() + Duration::from_hours(1)));
    let request = v1::SuspendTenantRequest { tenant_id: "finance".into(), at, ..Default::default() };
    let scheduled = whole.lifecycle.suspend_tenant(request).await.unwrap().into_inner();
    whole.stop().await;

    // An operation after it that went on without the target.
    let mut fewer = Replica::on(&url, &lacking()).await;
    let request = v1::ChangeTierRequest {
        tenant_id: "finance".into(),
        tier: "silver".into(),
        wait: WAIT,
        ..Default::default()
    };
    let changing = fewer.lifecycle.change_tier(request).await.unwrap().into_inner();
    let skip = v1::SkipTargetRequest {
        operation_id: changing.operation_id,
        target: "cache".into(),
        reason: "later".into(),
        ..Default::default()
    };
    fewer.lifecycle.skip_target(skip).await.unwrap();
    fewer.settled("finance").await;
    fewer.stop().await;

    let mut whole = Replica::on(&url, &setup).await;
    let due = format!(
        "WITH head AS (UPDATE log_head SET revision = revision + 1 RETURNING revision)
         UPDATE operation SET schedule_time = now(), revision = head.revision FROM head
         WHERE operation_id = '{}'",
        scheduled.operation_id
    );
    sql(&url, &due).await;
    until("it is suspended", async || whole.get("finance").await.status() == v1::TenantStatus::Suspended)
        .await;
    whole.settled("finance").await;
    whole.stop().await;

    let mut fewer = Replica::on(&url, &lacking()).await;
    let request =
        v1::ActivateTenantRequest { tenant_id: "finance".into(), validate_only: true, ..Default::default() };
    let plan = fewer.lifecycle.activate_tenant(request).await.unwrap().into_inner();
    assert_eq!(targets(&plan), ["cache", "postgres"]);
    fewer.stop().await;
}

#[tokio::test]
async fn a_target_that_was_skipped_in_a_repair_is_not_given_up() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let url = in_cache(&stub, &["finance"]).await;
    let mut fewer = Replica::on(&url, &lacking()).await;
    sql(&url, "UPDATE tenancy.access SET state = 'SUSPENDED'").await;
    let verify = v1::VerifyTenantRequest { tenant_id: "finance".into(), wait: WAIT, ..Default::default() };
    let found = fewer.lifecycle.verify_tenant(verify).await.unwrap().into_inner();
    let repair = found.operation.unwrap();
    assert_eq!(
        (repair.state(), targets(&repair)),
        (v1::OperationState::NeedsOperator, vec!["cache", "postgres"])
    );
    let request = v1::SkipTargetRequest {
        operation_id: repair.operation_id,
        target: "cache".into(),
        reason: "not now".into(),
        ..Default::default()
    };
    fewer.lifecycle.skip_target(request).await.unwrap();
    fewer.settled("finance").await;
    let plan =
        v1::SuspendTenantRequest { tenant_id: "finance".into(), validate_only: true, ..Default::default() };
    let plan = fewer.lifecycle.suspend_tenant(plan).await.unwrap().into_inner();
    assert_eq!(targets(&plan), ["cache", "postgres"]);
    fewer.stop().await;
}

#[tokio::test]
async fn a_retired_name_that_no_operation_reached_is_told_with_those_that_there_are() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let url = in_cache(&stub, &["finance"]).await;
    let mut child = Command::new(program())
        .args(["serve", "--insecure-no-auth", "--database-url", &url, "--retired-targets", "cahce"])
        .args(["--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"])
        .args(["--participants", "postgres=postgres"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let told = tokio::task::spawn_blocking(move || {
        log.lines().map_while(Result::ok).find(|line| line.contains("cahce") && line.contains("WARN"))
    });
    let told = tokio::time::timeout(Duration::from_secs(20), told).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let told = told.expect("it is told in time").unwrap().expect("it is told");
    assert!(told.contains("cache, postgres"), "{told}");
}

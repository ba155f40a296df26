//! Tiers that somebody needs: they stay, and a tenant whose tier is gone all the same is told so.

use std::time::Duration;

use tenantry::participants::stub::{Fault, Stub};
use tenantry::proto::v1;
use tonic_types::StatusExt as _;

use super::TEN_SECONDS;
use crate::support::{Replica, Setup, new_tenant, reason, sql, tier};

fn delete(tier_id: &str) -> v1::DeleteTierRequest {
    v1::DeleteTierRequest { tier_id: tier_id.into(), ..Default::default() }
}

fn change(tenant_id: &str, tier: &str) -> v1::ChangeTierRequest {
    v1::ChangeTierRequest { tenant_id: tenant_id.into(), tier: tier.into(), ..Default::default() }
}

async fn with_basic(stub: &Stub) -> (Replica, v1::Tenant) {
    let setup = Setup { stubs: vec![("object-store", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let request = v1::CreateTierRequest { tier: Some(tier("basic", 0)), ..Default::default() };
    replica.tiers.create_tier(request).await.unwrap();
    let tenant = v1::Tenant { tier: "basic".into(), ..new_tenant("finance") };
    let request = v1::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
    replica.tenants.create_tenant(request).await.unwrap();
    let tenant = replica.settled("finance").await;
    (replica, tenant)
}

#[tokio::test]
async fn a_tier_stays_while_an_open_change_of_tier_comes_from_it_and_an_abort_leads_back_to_it() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let (mut replica, tenant) = with_basic(&stub).await;
    stub.set_fault(&tenant.uid, Some(Fault::Hanging));
    let open = replica.lifecycle.change_tier(change("finance", "silver")).await.unwrap().into_inner();
    let refused = replica.tiers.delete_tier(delete("basic")).await.unwrap_err();
    assert_eq!(reason(&refused), "TIER_IN_USE", "{refused:?}");
    let info = refused.get_details_error_info().unwrap();
    assert_eq!(info.metadata["operation_id"], open.operation_id);
    assert_eq!((info.metadata["tenants"].as_str(), info.metadata["operations"].as_str()), ("0", "1"));
    assert!(refused.message().contains("1 operation leads to it or comes from it"), "{}", refused.message());
    stub.set_fault(&tenant.uid, None);
    let abort = v1::AbortOperationRequest {
        operation_id: open.operation_id,
        wait: TEN_SECONDS,
        ..Default::default()
    };
    replica.lifecycle.abort_operation(abort).await.unwrap();
    let back = replica.settled("finance").await;
    assert_eq!((back.tier.as_str(), back.status()), ("basic", v1::TenantStatus::Active));
    let suspended = replica.lifecycle.suspend_tenant(super::suspend("finance")).await.unwrap().into_inner();
    assert_eq!(suspended.state(), v1::OperationState::Succeeded, "{suspended:?}");
    // Nothing comes from it any more once the change has ended.
    let mut there = change("finance", "silver");
    there.wait = TEN_SECONDS;
    replica.lifecycle.change_tier(there).await.unwrap();
    replica.settled("finance").await;
    replica.tiers.delete_tier(delete("basic")).await.unwrap();
    replica.stop().await;
}

#[tokio::test]
async fn a_tier_stays_while_a_scheduled_change_or_a_bulk_operation_leads_to_it() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let (mut replica, tenant) = with_basic(&stub).await;
    let later = super::schedule::in_seconds(3_600);
    let scheduled = v1::ChangeTierRequest { at: Some(later), ..change("finance", "platinum") };
    let scheduled = replica.lifecycle.change_tier(scheduled).await.unwrap().into_inner();
    let refused = replica.tiers.delete_tier(delete("platinum")).await.unwrap_err();
    assert_eq!(reason(&refused), "TIER_IN_USE", "{refused:?}");
    assert!(refused.message().contains(&scheduled.operation_id), "{}", refused.message());
    let abort = v1::AbortOperationRequest { operation_id: scheduled.operation_id, ..Default::default() };
    replica.lifecycle.abort_operation(abort).await.unwrap();
    // A bulk operation that waits for the tenant's own operation.
    stub.set_fault(&tenant.uid, Some(Fault::Hanging));
    let start = v1::StartMigrationRequest { tenant_id: "finance".into(), ..Default::default() };
    replica.lifecycle.start_migration(start).await.unwrap();
    let bulk = v1::StartBulkOperationRequest {
        verb: v1::OperationVerb::ChangeTier.into(),
        tier: "platinum".into(),
        filter: "tenant_id = \"finance\"".into(),
        ..Default::default()
    };
    let bulk = replica.lifecycle.start_bulk_operation(bulk).await.unwrap().into_inner();
    let refused = replica.tiers.delete_tier(delete("platinum")).await.unwrap_err();
    assert_eq!(reason(&refused), "TIER_IN_USE", "{refused:?}");
    assert!(refused.message().contains(&bulk.bulk_operation_id), "{}", refused.message());
    let abort =
        v1::AbortBulkOperationRequest { bulk_operation_id: bulk.bulk_operation_id, ..Default::default() };
    replica.lifecycle.abort_bulk_operation(abort).await.unwrap();
    replica.tiers.delete_tier(delete("platinum")).await.unwrap();
    replica.stop().await;
}

#[tokio::test]
async fn the_statement_refuses_to_delete_a_tier_that_another_replica_has_begun_to_need() {
    use tenantry::domain::flag::removal::TierRemoval;
    use tenantry::domain::ids::{RequestId, TierId};
    use tenantry::store::log::{Context, Idempotency, Outcome};
    use tenantry::store::{tiers, writer::Submitted};
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let (mut replica, tenant) = with_basic(&stub).await;
    stub.set_fault(&tenant.uid, Some(Fault::Hanging));
    // As a replica decides that has not seen the change yet.
    let before = replica.server.registry.view.snapshot().unwrap();
    let later = super::schedule::in_seconds(3_600);
    replica.lifecycle.change_tier(change("finance", "silver")).await.unwrap();
    let scheduled = v1::ChangeTierRequest { at: Some(later), ..change("finance", "gold") };
    replica.lifecycle.change_tier(scheduled).await.unwrap();
    for (tier_id, stays) in [("basic", true), ("silver", true), ("gold", true), ("platinum", false)] {
        let request_id = RequestId::from_uuid(uuid::Uuid::now_v7());
        let idempotency = Idempotency { request_id, digest: [0; 32] };
        let context = Context { actor: "ada".into(), now: jiff::Timestamp::now(), idempotency };
        let tier_id = TierId::parse(tier_id).unwrap();
        let seen = before.tiers[&tier_id].revision;
        let change = tiers::tier_delete(&tier_id, seen, &TierRemoval::default(), &context);
        let submitted = replica.server.registry.writer.submit(change).await.unwrap();
        let refused = matches!(submitted, Submitted::Done(Outcome::Conflict));
        assert_eq!(refused, stays, "{tier_id}: {submitted:?}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn a_verb_on_a_tenant_whose_tier_is_missing_says_so_and_a_bulk_operation_fails_with_it() {
    let mut replica = Replica::start(&Setup::default()).await;
    replica.tenant("finance").await;
    // As a version before this rule left it, or somebody's hand.
    sql(&replica.database_url, "DELETE FROM tier WHERE tier_id = 'gold'").await;
    let mut fresh = Replica::on(&replica.database_url, &Setup::default()).await;
    replica.stop().await;
    let refused = fresh.lifecycle.suspend_tenant(super::suspend("finance")).await.unwrap_err();
    assert_eq!(reason(&refused), "TIER_NOT_FOUND", "{refused:?}");
    let bulk = v1::StartBulkOperationRequest {
        verb: v1::OperationVerb::Suspend.into(),
        filter: "tenant_id = \"finance\"".into(),
        ..Default::default()
    };
    let bulk = fresh.lifecycle.start_bulk_operation(bulk).await.unwrap().into_inner();
    let get = v1::GetBulkOperationRequest { bulk_operation_id: bulk.bulk_operation_id };
    let mut ended = fresh.lifecycle.get_bulk_operation(get.clone()).await.unwrap().into_inner();
    for _ in 0..500 {
        if ended.finish_time.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        ended = fresh.lifecycle.get_bulk_operation(get.clone()).await.unwrap().into_inner();
    }
    assert_eq!(ended.failed, 1, "{ended:?}");
    assert!(ended.error.contains("which does not exist"), "{ended:?}");
    // The way out: another tier. There is no way back to the one that is gone.
    let mut out = change("finance", "silver");
    out.wait = TEN_SECONDS;
    let moved = fresh.lifecycle.change_tier(out).await.unwrap().into_inner();
    assert_eq!(moved.state(), v1::OperationState::Succeeded, "{moved:?}");
    let suspended = fresh.lifecycle.suspend_tenant(super::suspend("finance")).await.unwrap().into_inner();
    assert_eq!(suspended.state(), v1::OperationState::Succeeded, "{suspended:?}");
    fresh.stop().await;
}

#[tokio::test]
async fn a_tier_that_only_deleted_tenants_hold_says_who_and_until_when() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    replica.tenant("finance").await;
    let refused = replica.tiers.delete_tier(delete("gold")).await.unwrap_err();
    assert!(refused.message().contains("1 tenant is on it"), "{}", refused.message());
    replica.lifecycle.suspend_tenant(super::suspend("finance")).await.unwrap();
    let tenant_id = || "finance".to_owned();
    let request = v1::ArchiveTenantRequest { tenant_id: tenant_id(), ..Default::default() };
    replica.lifecycle.archive_tenant(request).await.unwrap();
    let request = v1::DeleteTenantRequest { tenant_id: tenant_id(), ..Default::default() };
    replica.lifecycle.delete_tenant(request).await.unwrap();
    let refused = replica.tiers.delete_tier(delete("gold")).await.unwrap_err();
    assert_eq!(reason(&refused), "TIER_IN_USE");
    assert!(
        refused.message().contains("1 deleted tenant holds it until it is purged"),
        "{}",
        refused.message()
    );
    let info = refused.get_details_error_info().unwrap();
    assert_eq!((info.metadata["tenants"].as_str(), info.metadata["deleted_tenants"].as_str()), ("1", "1"));
    replica.stop().await;
}

#[tokio::test]
async fn the_deletion_of_a_tier_tells_which_flags_lose_their_default_before_and_after() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    for flag_key in ["search", "export", "beta"] {
        let flag = v1::Flag {
            flag_key: flag_key.into(),
            r#type: v1::FlagType::Boolean.into(),
            ..Default::default()
        };
        let request = v1::CreateFlagRequest { flag: Some(flag), ..Default::default() };
        replica.flags.create_flag(request).await.unwrap();
        if flag_key != "beta" {
            let request = v1::SetTierDefaultRequest {
                flag_key: flag_key.into(),
                tier_id: "silver".into(),
                variant: "on".into(),
                ..Default::default()
            };
            replica.flags.set_tier_default(request).await.unwrap();
        }
    }
    let told =
        v1::DeleteTierResponse { flag_keys: vec!["export".into(), "search".into()], flag_keys_total: 2 };
    let request_id = uuid::Uuid::now_v7().to_string();
    let plan = v1::DeleteTierRequest { validate_only: true, ..delete("silver") };
    assert_eq!(replica.tiers.delete_tier(plan).await.unwrap().into_inner(), told);
    for _ in 0..2 {
        let really = v1::DeleteTierRequest { request_id: request_id.clone(), ..delete("silver") };
        assert_eq!(replica.tiers.delete_tier(really).await.unwrap().into_inner(), told);
    }
    let nothing = replica.tiers.delete_tier(delete("platinum")).await.unwrap().into_inner();
    assert_eq!(nothing, v1::DeleteTierResponse::default());
    replica.stop().await;
}

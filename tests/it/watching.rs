//! `WatchTenants` with a filter, and what counts as a change of a tenant.

use std::time::Duration;

use tenantry::proto::v1;
use tenantry::proto::v1::watch_tenants_response::ChangeType;
use tokio::time::timeout;
use tonic::Streaming;

use crate::support::{Replica, Setup, new_tenant};

const TEN_SECONDS: Option<prost_types::Duration> = Some(prost_types::Duration { seconds: 10, nanos: 0 });

/// Somebody who watches.
struct Watcher(Streaming<v1::WatchTenantsResponse>);

impl Watcher {
    /// From a revision on, or from now on.
    async fn start(replica: &mut Replica, start_revision: i64, filter: &str) -> Self {
        let request =
            v1::WatchTenantsRequest { start_revision, filter: filter.to_owned(), ..Default::default() };
        Self(replica.tenants.watch_tenants(request).await.unwrap().into_inner())
    }

    async fn next(&mut self) -> v1::WatchTenantsResponse {
        let told = timeout(Duration::from_secs(5), self.0.message()).await.expect("something is told");
        told.unwrap().expect("the stream goes on")
    }

    /// What is told next, and of whom.
    async fn told(&mut self) -> (ChangeType, String) {
        let told = self.next().await;
        (told.r#type(), told.tenant.unwrap().tenant_id)
    }
}

async fn replica() -> Replica {
    Replica::start(&Setup { no_targets: true, ..Setup::default() }).await
}

async fn make(replica: &mut Replica, tenant: v1::Tenant) -> v1::Tenant {
    let request = v1::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
    replica.tenants.create_tenant(request).await.unwrap().into_inner()
}

async fn update(replica: &mut Replica, tenant: v1::Tenant, path: &str) -> v1::Tenant {
    let request = v1::UpdateTenantRequest {
        tenant: Some(tenant),
        update_mask: Some(prost_types::FieldMask { paths: vec![path.to_owned()] }),
        ..Default::default()
    };
    replica.tenants.update_tenant(request).await.unwrap().into_inner()
}

async fn move_to(replica: &mut Replica, tenant_id: &str, unit: &str) -> v1::Tenant {
    let tenant = v1::Tenant { business_unit: unit.into(), ..new_tenant(tenant_id) };
    update(replica, tenant, "business_unit").await
}

async fn suspend(replica: &mut Replica, tenant_id: &str) {
    let request =
        v1::SuspendTenantRequest { tenant_id: tenant_id.into(), wait: TEN_SECONDS, ..Default::default() };
    replica.lifecycle.suspend_tenant(request).await.unwrap();
}

async fn set_gold(replica: &mut Replica, tier: v1::Tier, path: &str) -> v1::Tier {
    let request = v1::UpdateTierRequest {
        tier: Some(v1::Tier { tier_id: "gold".into(), ..tier }),
        update_mask: Some(prost_types::FieldMask { paths: vec![path.to_owned()] }),
        ..Default::default()
    };
    replica.tiers.update_tier(request).await.unwrap().into_inner()
}

/// The tenants that a filter lists, and the revision at which.
async fn listed(replica: &mut Replica, filter: &str, order_by: &str) -> (Vec<String>, i64) {
    let request = v1::ListTenantsRequest {
        filter: filter.to_owned(),
        order_by: order_by.to_owned(),
        ..Default::default()
    };
    let page = replica.tenants.list_tenants(request).await.unwrap();
    let token = page.metadata().get("tenantry-revision").unwrap().to_str().unwrap().to_owned();
    let revision = i64::from_str_radix(token.split_once('-').unwrap().1, 16).unwrap();
    (page.into_inner().tenants.into_iter().map(|tenant| tenant.tenant_id).collect(), revision)
}

#[tokio::test]
async fn a_list_that_is_watched_on_hears_of_a_tenant_that_left_the_filter() {
    let mut replica = replica().await;
    for id in ["rep1", "rep2", "rep3"] {
        replica.tenant(id).await;
    }
    let (found, revision) = listed(&mut replica, "status = ACTIVE", "").await;
    assert_eq!(found, ["rep1", "rep2", "rep3"]);
    suspend(&mut replica, "rep3").await;
    let mut watcher = Watcher::start(&mut replica, revision, "status = ACTIVE").await;
    assert_eq!(watcher.told().await, (ChangeType::Removed, "rep3".to_owned()));
    // From here on it knows who matches: what never did is not told, and what stops to is told once.
    update(&mut replica, v1::Tenant { owner: "ada".into(), ..new_tenant("rep3") }, "owner").await;
    suspend(&mut replica, "rep2").await;
    assert_eq!(watcher.told().await, (ChangeType::Removed, "rep2".to_owned()));
    update(&mut replica, v1::Tenant { owner: "ada".into(), ..new_tenant("rep2") }, "owner").await;
    update(&mut replica, v1::Tenant { owner: "ada".into(), ..new_tenant("rep1") }, "owner").await;
    assert_eq!(watcher.told().await, (ChangeType::Changed, "rep1".to_owned()));
    drop(watcher);
    replica.stop().await;
}

#[tokio::test]
async fn a_watch_from_now_on_hears_of_a_tenant_that_leaves_the_filter() {
    let mut replica = replica().await;
    for (id, unit) in [("a", "eu-1"), ("b", "us-1")] {
        make(&mut replica, v1::Tenant { business_unit: unit.into(), ..new_tenant(id) }).await;
    }
    let mut watcher = Watcher::start(&mut replica, 0, r#"business_unit = "eu-1""#).await;
    move_to(&mut replica, "b", "us-2").await;
    let moved = move_to(&mut replica, "a", "us-1").await;
    let told = watcher.next().await;
    assert_eq!((told.r#type(), told.revision), (ChangeType::Removed, moved.revision));
    assert_eq!(told.tenant, Some(moved));
    move_to(&mut replica, "b", "eu-1").await;
    assert_eq!(watcher.told().await, (ChangeType::Changed, "b".to_owned()));
    drop(watcher);
    replica.stop().await;
}

#[tokio::test]
async fn a_change_of_a_tier_is_told_of_each_of_its_tenants() {
    let mut replica = replica().await;
    for (id, tier) in [("a", "gold"), ("b", "gold"), ("c", "silver")] {
        make(&mut replica, v1::Tenant { tier: tier.into(), ..new_tenant(id) }).await;
    }
    let before = replica.get("c").await.revision;
    let mut watcher = Watcher::start(&mut replica, 0, r#"tier = "gold""#).await;
    let limit = v1::Limit { bound: Some(v1::limit::Bound::Value(7)) };
    let limits = [("storage_gb".to_owned(), limit)].into();
    let tier = set_gold(&mut replica, v1::Tier { limits, ..Default::default() }, "limits").await;
    let (first, second) = (watcher.next().await, watcher.next().await);
    // Up to the tier's revision all is told with the last of them: who resumes in between hears of the rest.
    assert_eq!((first.revision, second.revision), (before, tier.revision));
    for (told, id) in [(&first, "a"), (&second, "b")] {
        let tenant = told.tenant.as_ref().unwrap();
        assert_eq!((told.r#type(), tenant.tenant_id.as_str()), (ChangeType::Changed, id));
        assert_eq!(tenant.limits[0].limit, Some(limit));
    }
    let mut resumed = Watcher::start(&mut replica, first.revision, "").await;
    assert_eq!(resumed.told().await, (ChangeType::Changed, "a".to_owned()));
    assert_eq!(resumed.told().await, (ChangeType::Changed, "b".to_owned()));
    let mut resumed = Watcher::start(&mut replica, second.revision, "").await;
    replica.tenant("d").await;
    assert_eq!(resumed.told().await, (ChangeType::Changed, "d".to_owned()));
    drop((watcher, resumed));
    replica.stop().await;
}

#[tokio::test]
async fn filters_and_orders_see_what_a_tenant_has_from_its_tier() {
    let mut replica = replica().await;
    make(&mut replica, new_tenant("acme")).await;
    make(&mut replica, v1::Tenant { support_level: "phone".into(), ..new_tenant("own") }).await;
    let support_level = "business-hours".to_owned();
    let mut watcher = Watcher::start(&mut replica, 0, r#"support_level = "24/7""#).await;
    set_gold(&mut replica, v1::Tier { support_level, ..Default::default() }, "support_level").await;
    assert_eq!(watcher.told().await, (ChangeType::Removed, "acme".to_owned()));
    assert_eq!(replica.get("acme").await.support_level, "business-hours");
    for (filter, found) in [
        (r#"support_level = "business-hours""#, vec!["acme"]),
        (r#"support_level = "phone""#, vec!["own"]),
        (r#"support_level = """#, vec![]),
        ("support_level:*", vec!["acme", "own"]),
    ] {
        assert_eq!(listed(&mut replica, filter, "").await.0, found, "{filter}");
    }
    assert_eq!(listed(&mut replica, "", "support_level desc").await.0, ["own", "acme"]);
    let bulk = v1::StartBulkOperationRequest {
        filter: r#"support_level = "business-hours""#.into(),
        verb: v1::OperationVerb::Suspend.into(),
        validate_only: true,
        ..Default::default()
    };
    let planned = replica.lifecycle.start_bulk_operation(bulk).await.unwrap().into_inner();
    assert_eq!(planned.total, 1);
    drop(watcher);
    replica.stop().await;
}

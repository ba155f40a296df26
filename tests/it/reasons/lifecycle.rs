//! Reasons of the lifecycle.

use tenantry::domain::error::Reason;
use tenantry::participants::stub::Fault;
use tenantry::proto::v1;
use tonic::Status;

use super::{TEN_SECONDS, World};
use crate::support::{Replica, Setup, new_tenant, sql};

impl World {
    pub(super) async fn provoke_in_lifecycle(&mut self, reason: Reason) -> Status {
        match reason {
            Reason::TargetNotFound => {
                let request = v1::PauseTargetRequest {
                    target: "nothing".into(),
                    reason: "a test".into(),
                    ..Default::default()
                };
                self.replica.lifecycle.pause_target(request).await.unwrap_err()
            }
            Reason::BulkOperationNotFound => {
                let bulk_operation_id = uuid::Uuid::now_v7().to_string();
                let request = v1::GetBulkOperationRequest { bulk_operation_id };
                self.replica.lifecycle.get_bulk_operation(request).await.unwrap_err()
            }
            Reason::ResourceNameTaken => {
                let named = |tenant_id: &str| {
                    let names = v1::ResourceNames { cache_prefix: "eu:".into(), ..Default::default() };
                    v1::Tenant { resource_names: Some(names), ..new_tenant(tenant_id) }
                };
                self.create(named("named"), "").await.unwrap();
                self.create(named("namesake"), "").await.unwrap_err()
            }
            Reason::OperationEnded => {
                let request =
                    v1::ListOperationsRequest { filter: "open = false".into(), ..Default::default() };
                let list = self.replica.lifecycle.list_operations(request).await.unwrap().into_inner();
                self.abort(&list.operations[0].operation_id).await
            }
            Reason::PointOfNoReturn => self.abort_too_late().await,
            Reason::TargetNotWaiting => self.retry_before_it_begins().await,
            Reason::RetentionNotOver => self.delete_what_must_be_kept().await,
            Reason::ChildrenInTheWay => self.suspend_above_an_active_child().await,
            Reason::TooManyTenants => suspend_everybody().await,
            Reason::UseChangeTier => {
                let changed = v1::Tenant { tier: "silver".into(), ..new_tenant("finance") };
                self.update(changed, "tier").await.unwrap_err()
            }
            Reason::UseStartMigration => {
                let placed = |region: &str| v1::Tenant { region: region.into(), ..new_tenant("placed") };
                self.create(placed("eu-1"), "").await.unwrap();
                self.replica.settled("placed").await;
                self.update(placed("us-1"), "region").await.unwrap_err()
            }
            _ => unreachable!("{reason:?} has no provocation"),
        }
    }

    async fn abort(&mut self, operation_id: &str) -> Status {
        let request = v1::AbortOperationRequest { operation_id: operation_id.into(), ..Default::default() };
        self.replica.lifecycle.abort_operation(request).await.unwrap_err()
    }

    async fn abort_too_late(&mut self) -> Status {
        let tenant = self.replica.tenant("mover").await;
        let start = v1::StartMigrationRequest {
            tenant_id: "mover".into(),
            to_region: "elsewhere".into(),
            wait: TEN_SECONDS,
            ..Default::default()
        };
        self.replica.lifecycle.start_migration(start).await.unwrap();
        self.cache.set_fault(&tenant.uid, Some(Fault::Hanging));
        let finish = v1::FinishMigrationRequest { tenant_id: "mover".into(), ..Default::default() };
        let finishing = self.replica.lifecycle.finish_migration(finish).await.unwrap().into_inner();
        let error = self.abort(&finishing.operation_id).await;
        self.cache.set_fault(&tenant.uid, None);
        error
    }

    async fn retry_before_it_begins(&mut self) -> Status {
        self.replica.tenant("later").await;
        let at = std::time::SystemTime::now() + std::time::Duration::from_hours(1);
        let request =
            v1::SuspendTenantRequest { tenant_id: "later".into(), at: Some(at.into()), ..Default::default() };
        let scheduled = self.replica.lifecycle.suspend_tenant(request).await.unwrap().into_inner();
        let request = v1::RetryTargetRequest {
            operation_id: scheduled.operation_id,
            target: "cache".into(),
            ..Default::default()
        };
        self.replica.lifecycle.retry_target(request).await.unwrap_err()
    }

    async fn delete_what_must_be_kept(&mut self) -> Status {
        self.replica.tenant("kept").await;
        let tenant_id = || "kept".to_owned();
        let request =
            v1::SuspendTenantRequest { tenant_id: tenant_id(), wait: TEN_SECONDS, ..Default::default() };
        self.replica.lifecycle.suspend_tenant(request).await.unwrap();
        let request = v1::ArchiveTenantRequest {
            tenant_id: tenant_id(),
            wait: TEN_SECONDS,
            retention: Some(prost_types::Duration { seconds: 3_600, nanos: 0 }),
            ..Default::default()
        };
        self.replica.lifecycle.archive_tenant(request).await.unwrap();
        let request = v1::DeleteTenantRequest { tenant_id: tenant_id(), ..Default::default() };
        self.replica.lifecycle.delete_tenant(request).await.unwrap_err()
    }

    async fn suspend_above_an_active_child(&mut self) -> Status {
        self.replica.tenant("holding").await;
        let child = v1::Tenant { parent: "holding".into(), ..new_tenant("daughter") };
        self.create(child, "").await.unwrap();
        self.replica.settled("daughter").await;
        let request = v1::SuspendTenantRequest {
            tenant_id: "holding".into(),
            children: v1::ChildrenPolicy::Block.into(),
            ..Default::default()
        };
        self.replica.lifecycle.suspend_tenant(request).await.unwrap_err()
    }
}

/// More tenants than one bulk operation takes.
async fn suspend_everybody() -> Status {
    let setup = Setup { no_targets: true, ..Setup::default() };
    let mut first = Replica::start(&setup).await;
    first.tenant("finance").await;
    let url = first.database_url.clone();
    first.stop().await;
    let copies = "INSERT INTO tenant SELECT copy.* FROM tenant t, generate_series(1, 100001) number,
        jsonb_populate_record(t, jsonb_build_object('tenant_id', 't' || number, 'uid', gen_random_uuid())) copy
        WHERE t.tenant_id = 'finance'";
    sql(&url, copies).await;
    let mut many = Replica::on(&url, &setup).await;
    let request = v1::StartBulkOperationRequest {
        filter: "tenant_id:*".into(),
        verb: v1::OperationVerb::Suspend.into(),
        ..Default::default()
    };
    let error = many.lifecycle.start_bulk_operation(request).await.unwrap_err();
    many.stop().await;
    error
}

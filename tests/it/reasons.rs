//! Every reason of the catalogue, provoked by a caller. A new reason does not compile until its provocation is here.

mod flags;
mod lifecycle;

use std::time::Duration;

use tenantry::domain::error::{Code, Reason};
use tenantry::participants::stub::{Fault, Stub};
use tenantry::proto::v1;
use tonic::transport::Endpoint;
use tonic::{Request, Status};

use crate::support::proxy::{Flow, Proxy};
use crate::support::{Replica, Setup, fields, new_tenant, reason, tier};

const TEN_SECONDS: Option<prost_types::Duration> = Some(prost_types::Duration { seconds: 10, nanos: 0 });

/// A server whose database is behind a wire, with `finance` of tier gold and the flag `search`.
struct World {
    replica: Replica,
    /// Another replica on the same database.
    other: Replica,
    proxy: Proxy,
    cache: Stub,
}

impl World {
    async fn make() -> Self {
        let cache = Stub::start(Duration::from_millis(1)).await.unwrap();
        let setup = |cache: &Stub| Setup {
            stubs: vec![("cache", cache.clone())],
            settings: vec![("cascade.max_attempts", "1000".into())],
            no_targets: true,
            ..Setup::default()
        };
        let other = Replica::start(&setup(&cache)).await;
        let (proxy, url) = Proxy::start(&other.database_url).await;
        let mut replica = Replica::on(&url, &setup(&cache)).await;
        replica.tenant("finance").await;
        let flag = v1::Flag {
            flag_key: "search".into(),
            r#type: v1::FlagType::Boolean.into(),
            ..Default::default()
        };
        let request = v1::CreateFlagRequest { flag: Some(flag), ..Default::default() };
        replica.flags.create_flag(request).await.unwrap();
        Self { replica, other, proxy, cache }
    }

    async fn sql(&self, statements: &str) {
        let (client, connection) =
            tokio_postgres::connect(&self.other.database_url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(statements).await.unwrap();
    }

    async fn list(&mut self, request: v1::ListTenantsRequest) -> Status {
        self.replica.tenants.list_tenants(request).await.unwrap_err()
    }

    async fn create(&mut self, tenant: v1::Tenant, request_id: &str) -> Result<v1::Tenant, Status> {
        let request_id = request_id.to_owned();
        let request = v1::CreateTenantRequest { tenant: Some(tenant), request_id, ..Default::default() };
        self.replica.tenants.create_tenant(request).await.map(tonic::Response::into_inner)
    }

    async fn update(&mut self, tenant: v1::Tenant, path: &str) -> Result<v1::Tenant, Status> {
        let request = v1::UpdateTenantRequest {
            tenant: Some(tenant),
            update_mask: Some(prost_types::FieldMask { paths: vec![path.to_owned()] }),
            ..Default::default()
        };
        self.replica.tenants.update_tenant(request).await.map(tonic::Response::into_inner)
    }

    async fn watch(&mut self, start_revision: i64) -> Status {
        let request = v1::WatchTenantsRequest { start_revision, ..Default::default() };
        match self.replica.tenants.watch_tenants(request).await {
            Err(status) => status,
            Ok(answer) => answer.into_inner().message().await.unwrap_err(),
        }
    }

    async fn tier_default(&mut self, flag_key: &str, variant: &str) -> Result<(), Status> {
        let request = v1::SetTierDefaultRequest {
            flag_key: flag_key.into(),
            tier_id: "gold".into(),
            variant: variant.into(),
            ..Default::default()
        };
        self.replica.flags.set_tier_default(request).await.map(drop)
    }

    async fn provoke(&mut self, reason: Reason) -> Option<Status> {
        Some(match reason {
            Reason::InvalidField => self.create(new_tenant("No"), "").await.unwrap_err(),
            Reason::InvalidFilter => {
                self.list(v1::ListTenantsRequest { filter: "status =".into(), ..Default::default() }).await
            }
            Reason::InvalidOrder => {
                self.list(v1::ListTenantsRequest { order_by: "tier up".into(), ..Default::default() }).await
            }
            Reason::InvalidPageToken => {
                self.list(v1::ListTenantsRequest { page_token: "x".into(), ..Default::default() }).await
            }
            Reason::InvalidRevision => self.watch(1 << 40).await,
            Reason::RequestIdReused => {
                let id = uuid::Uuid::now_v7().to_string();
                self.create(new_tenant("once"), &id).await.unwrap();
                self.create(new_tenant("twice"), &id).await.unwrap_err()
            }
            Reason::TenantNotFound => {
                let request = v1::GetTenantRequest { tenant_id: "nobody".into() };
                self.replica.tenants.get_tenant(request).await.unwrap_err()
            }
            Reason::TierNotFound => {
                let request = v1::GetTierRequest { tier_id: "nothing".into() };
                self.replica.tiers.get_tier(request).await.unwrap_err()
            }
            Reason::FlagNotFound => self.tier_default("nothing", "on").await.unwrap_err(),
            Reason::VariantNotFound => self.tier_default("search", "maybe").await.unwrap_err(),
            Reason::OperationNotFound => {
                let operation_id = uuid::Uuid::now_v7().to_string();
                let request = v1::GetOperationRequest { operation_id };
                self.replica.lifecycle.get_operation(request).await.unwrap_err()
            }
            Reason::ParentNotFound => {
                let orphan = v1::Tenant { parent: "nobody".into(), ..new_tenant("orphan") };
                self.create(orphan, "").await.unwrap_err()
            }
            Reason::TenantExists => self.create(new_tenant("finance"), "").await.unwrap_err(),
            Reason::TierExists => {
                let request = v1::CreateTierRequest { tier: Some(tier("gold", 1)), ..Default::default() };
                self.replica.tiers.create_tier(request).await.unwrap_err()
            }
            Reason::FlagExists => {
                let flag = v1::Flag { flag_key: "search".into(), r#type: 1, ..Default::default() };
                let request = v1::CreateFlagRequest { flag: Some(flag), ..Default::default() };
                self.replica.flags.create_flag(request).await.unwrap_err()
            }
            Reason::SegmentNotFound
            | Reason::SegmentExists
            | Reason::SegmentInUse
            | Reason::DependencyCycle
            | Reason::DependentsWouldBreak
            | Reason::TooManyFlags => flags::provoke(&mut self.replica.flags, reason).await,
            _ => return self.provoke_by_state(reason).await,
        })
    }

    /// Those that need something to be there first.
    async fn provoke_by_state(&mut self, reason: Reason) -> Option<Status> {
        Some(match reason {
            Reason::ParentCycle => {
                self.create(new_tenant("above"), "").await.unwrap();
                let below = v1::Tenant { parent: "above".into(), ..new_tenant("below") };
                self.create(below, "").await.unwrap();
                let above = v1::Tenant { parent: "below".into(), ..new_tenant("above") };
                self.update(above, "parent").await.unwrap_err()
            }
            Reason::TierInUse => {
                let request = v1::DeleteTierRequest { tier_id: "gold".into(), ..Default::default() };
                self.replica.tiers.delete_tier(request).await.unwrap_err()
            }
            Reason::VariantInUse => self.take_a_variant_in_use().await,
            Reason::IllegalTransition => {
                let request = v1::DeleteTenantRequest { tenant_id: "finance".into(), ..Default::default() };
                self.replica.lifecycle.delete_tenant(request).await.unwrap_err()
            }
            Reason::PurgeTimePassed => self.undelete_too_late().await,
            Reason::EpochMismatch => {
                let mut request = Request::new(v1::GetTenantRequest { tenant_id: "finance".into() });
                request.metadata_mut().insert("tenantry-min-revision", "0000000000000007-1".parse().unwrap());
                self.replica.tenants.get_tenant(request).await.unwrap_err()
            }
            Reason::EtagMismatch => {
                let stale = v1::Tenant { etag: "stale".into(), ..new_tenant("finance") };
                self.update(stale, "owner").await.unwrap_err()
            }
            Reason::ConcurrentChange => self.lose_every_race().await,
            Reason::OperationInProgress => self.suspend_while_archiving().await,
            Reason::RevisionCompacted => {
                self.sql("UPDATE log_head SET compacted_revision = 4").await;
                self.create(new_tenant("newest"), "").await.unwrap();
                self.watch(2).await
            }
            Reason::SlowReader => self.read_nothing().await,
            Reason::DatabaseUnavailable => {
                self.proxy.flow(Flow::Frozen);
                let error = self.create(new_tenant("frozen"), "").await.unwrap_err();
                self.proxy.flow(Flow::Open);
                error
            }
            Reason::ViewNotReady => {
                self.proxy.flow(Flow::FollowerHeld);
                let made = self.other.create("ahead").await.unwrap();
                let seen = self.replica.server.registry.view.snapshot().unwrap();
                let token = format!("{:016x}-{:x}", seen.epoch.as_u64_pair().0, made.revision);
                let mut request = Request::new(v1::GetTenantRequest { tenant_id: "ahead".into() });
                request.metadata_mut().insert("tenantry-min-revision", token.parse().unwrap());
                let error = self.replica.tenants.get_tenant(request).await.unwrap_err();
                self.proxy.flow(Flow::Open);
                error
            }
            // By a server that goes down: `edge::drain`. By a bug of ours: `database_faults`, the poison change.
            // With broken flags, on ports of OpenFeature's: `openfeature::wire`. With broken rows: `unreadable`.
            Reason::ShuttingDown
            | Reason::Bug
            | Reason::TypeMismatch
            | Reason::ParseError
            | Reason::RowUnreadable
            | Reason::General => return None,
            _ => self.provoke_in_lifecycle(reason).await,
        })
    }

    async fn take_a_variant_in_use(&mut self) -> Status {
        self.tier_default("search", "on").await.unwrap();
        let off = prost_types::Value { kind: Some(prost_types::value::Kind::BoolValue(false)) };
        let flag = v1::Flag {
            flag_key: "search".into(),
            variants: [("off".to_owned(), off)].into(),
            default_variant: "off".into(),
            ..Default::default()
        };
        let request = v1::UpdateFlagRequest {
            flag: Some(flag),
            update_mask: Some(prost_types::FieldMask { paths: vec!["variants".into()] }),
            ..Default::default()
        };
        self.replica.flags.update_flag(request).await.unwrap_err()
    }

    async fn undelete_too_late(&mut self) -> Status {
        let tenant_id = || "late".to_owned();
        self.replica.tenant("late").await;
        let lifecycle = &mut self.replica.lifecycle;
        let request =
            v1::SuspendTenantRequest { tenant_id: tenant_id(), wait: TEN_SECONDS, ..Default::default() };
        lifecycle.suspend_tenant(request).await.unwrap();
        let request =
            v1::ArchiveTenantRequest { tenant_id: tenant_id(), wait: TEN_SECONDS, ..Default::default() };
        lifecycle.archive_tenant(request).await.unwrap();
        let request =
            v1::DeleteTenantRequest { tenant_id: tenant_id(), wait: TEN_SECONDS, ..Default::default() };
        lifecycle.delete_tenant(request).await.unwrap();
        // Between the purge time and the purge: the purge itself is kept from beginning.
        self.sql(
            "UPDATE tenant SET purge_time = now() - interval '1 second' WHERE tenant_id = 'late'; \
             CREATE FUNCTION stay() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; \
             CREATE TRIGGER stay BEFORE UPDATE ON tenant FOR EACH ROW WHEN (OLD.tenant_id = 'late') \
             EXECUTE FUNCTION stay()",
        )
        .await;
        // A replica that starts now reads it so.
        let mut fresh =
            Replica::on(&self.other.database_url, &Setup { no_targets: true, ..Setup::default() }).await;
        let request = v1::UndeleteTenantRequest { tenant_id: tenant_id(), ..Default::default() };
        let error = fresh.lifecycle.undelete_tenant(request).await.unwrap_err();
        fresh.stop().await;
        error
    }

    /// As if others were faster at every attempt: the database finds no row to change.
    async fn lose_every_race(&mut self) -> Status {
        self.replica.tenant("contended").await;
        self.sql(
            "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; \
             CREATE TRIGGER lose BEFORE UPDATE ON tenant FOR EACH ROW WHEN (OLD.tenant_id = 'contended') \
             EXECUTE FUNCTION lose()",
        )
        .await;
        let changed = v1::Tenant { owner: "me".into(), ..new_tenant("contended") };
        self.update(changed, "owner").await.unwrap_err()
    }

    async fn suspend_while_archiving(&mut self) -> Status {
        let tenant = self.replica.tenant("busy").await;
        self.cache.set_fault(&tenant.uid, Some(Fault::Hanging));
        let request = v1::StartMigrationRequest { tenant_id: "busy".into(), ..Default::default() };
        self.replica.lifecycle.start_migration(request).await.unwrap();
        let request = v1::StartMigrationRequest { tenant_id: "busy".into(), ..Default::default() };
        let error = self.replica.lifecycle.start_migration(request).await.unwrap_err();
        self.cache.set_fault(&tenant.uid, None);
        self.replica.settled("busy").await;
        error
    }

    async fn read_nothing(&self) -> Status {
        let settings = vec![("view.slow_reader_after", "1s".into())];
        let mut many = Replica::start(&Setup { settings, no_targets: true, ..Setup::default() }).await;
        let requests = (0..1_000)
            .map(|number| v1::CreateTenantRequest {
                tenant: Some(new_tenant(&format!("many{number}"))),
                ..Default::default()
            })
            .collect();
        let request = v1::BatchCreateTenantsRequest { requests };
        many.tenants.batch_create_tenants(request).await.unwrap();
        // A narrow window, so that little is on its way.
        let channel = Endpoint::from_shared(format!("http://{}", many.server.grpc)).unwrap();
        let channel = channel.initial_stream_window_size(65_535).connect().await.unwrap();
        let mut tenants = v1::tenant_registry_client::TenantRegistryClient::new(channel);
        let request = v1::WatchTenantsRequest { initial_snapshot: true, ..Default::default() };
        let mut watch = tenants.watch_tenants(request).await.unwrap().into_inner();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        loop {
            if let Err(status) = watch.message().await {
                return status;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reason_can_be_met_and_comes_with_its_code() {
    let mut world = World::make().await;
    for reason_ in Reason::ALL.iter().copied() {
        let name = reason_.as_str();
        let Some(status) = world.provoke(reason_).await else {
            let elsewhere = [
                Reason::ShuttingDown,
                Reason::Bug,
                Reason::TypeMismatch,
                Reason::ParseError,
                Reason::RowUnreadable,
                Reason::General,
            ];
            assert!(elsewhere.contains(&reason_), "{name} is provoked by a caller");
            continue;
        };
        assert_eq!(reason(&status), name, "{status:?}");
        assert_eq!(format!("{:?}", status.code()), format!("{:?}", reason_.code()), "{name}");
        assert!(!status.message().is_empty(), "{name} says something to people");
        let names_fields = reason_.code() == Code::InvalidArgument || reason_ == Reason::ResourceNameTaken;
        assert_eq!(!fields(&status).is_empty(), names_fields, "{name}: {status:?}");
    }
    world.replica.stop().await;
    world.other.stop().await;
}

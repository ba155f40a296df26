//! The verbs, the targets, and what must be true of a tenant at any moment.

use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::Stub;
use tenantry::proto::v1;

use crate::support::{Replica, new_tenant};

pub(super) const TARGETS: [&str; 4] = ["cache", "monitoring", "object-store", "vector-db"];

pub(super) async fn stubs(latency: Duration) -> Vec<(&'static str, Stub)> {
    let mut stubs = Vec::new();
    for name in TARGETS {
        stubs.push((name, Stub::start(latency).await.unwrap()));
    }
    stubs
}

/// The verbs, and the states around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Suspend,
    Activate,
    StartMigration,
    FinishMigration,
    Archive,
    Delete,
    Undelete,
    ChangeTier,
    /// Asked for by making the tenant.
    Provision,
    /// Asked for by the registry itself, when the purge time has passed.
    Purge,
    /// Asked for by whoever finds drift.
    Repair,
}

pub(super) const VERBS: [Verb; 11] = [
    Verb::Suspend,
    Verb::Activate,
    Verb::StartMigration,
    Verb::FinishMigration,
    Verb::Archive,
    Verb::Delete,
    Verb::Undelete,
    Verb::ChangeTier,
    Verb::Provision,
    Verb::Purge,
    Verb::Repair,
];

impl Verb {
    /// The verbs that lead an active tenant to where this one starts.
    pub(super) fn before(self) -> &'static [Self] {
        match self {
            Self::Suspend | Self::StartMigration | Self::ChangeTier | Self::Provision | Self::Repair => &[],
            Self::Activate | Self::Archive => &[Self::Suspend],
            Self::FinishMigration => &[Self::StartMigration],
            Self::Delete => &[Self::Suspend, Self::Archive],
            Self::Undelete | Self::Purge => &[Self::Suspend, Self::Archive, Self::Delete],
        }
    }

    pub(super) fn from(self) -> (v1::TenantStatus, Desired) {
        match self {
            Self::Provision => (v1::TenantStatus::Provisioning, Desired::Suspended),
            Self::Suspend | Self::StartMigration | Self::ChangeTier | Self::Repair => {
                (v1::TenantStatus::Active, Desired::Active)
            }
            Self::Activate | Self::Archive => (v1::TenantStatus::Suspended, Desired::Suspended),
            Self::FinishMigration => (v1::TenantStatus::Migrating, Desired::ReadOnly),
            Self::Delete => (v1::TenantStatus::Archived, Desired::Archived),
            Self::Undelete | Self::Purge => (v1::TenantStatus::Deleted, Desired::Archived),
        }
    }

    pub(super) fn to(self) -> (v1::TenantStatus, Desired) {
        match self {
            Self::Suspend => (v1::TenantStatus::Suspended, Desired::Suspended),
            Self::Activate | Self::FinishMigration | Self::ChangeTier | Self::Provision | Self::Repair => {
                (v1::TenantStatus::Active, Desired::Active)
            }
            Self::StartMigration => (v1::TenantStatus::Migrating, Desired::ReadOnly),
            Self::Archive | Self::Undelete => (v1::TenantStatus::Archived, Desired::Archived),
            Self::Delete => (v1::TenantStatus::Deleted, Desired::Archived),
            Self::Purge => (v1::TenantStatus::Deleted, Desired::Deleted),
        }
    }

    /// Whether the registry denies from the start.
    pub(super) fn locks(self) -> bool {
        matches!(self, Self::Suspend | Self::Archive | Self::Delete)
    }

    pub(super) fn opens(self) -> bool {
        matches!(self, Self::Activate | Self::FinishMigration | Self::Undelete | Self::Provision)
    }

    /// Asks for it, again while the server says that it may be asked again.
    pub(super) async fn ask(
        self,
        clients: &mut Clients,
        tenant_id: &str,
        seconds: i64,
    ) -> Result<v1::Operation, tonic::Status> {
        let request_id = uuid::Uuid::now_v7().to_string();
        for _ in 0..PATIENCE {
            match self.ask_as(clients, tenant_id, seconds, &request_id).await {
                Err(status) if status.code() == tonic::Code::Unavailable => tokio::time::sleep(PAUSE).await,
                answer => return answer,
            }
        }
        panic!("unavailable for longer than anybody waits");
    }

    /// Asks for it once, under a request id.
    pub(super) async fn ask_as(
        self,
        replica: &mut Clients,
        tenant_id: &str,
        seconds: i64,
        request_id: &str,
    ) -> Result<v1::Operation, tonic::Status> {
        let request_id = request_id.to_owned();
        let wait = Some(prost_types::Duration { seconds, nanos: 0 });
        let tenant_id = tenant_id.to_owned();
        let client = &mut replica.lifecycle;
        macro_rules! ask {
            ($method:ident, $request:ident $(, $field:ident)?) => {
                client.$method(v1::$request { tenant_id, wait, request_id, $($field,)? ..Default::default() }).await
            };
        }
        let tier = "platinum".to_owned();
        let answer = match self {
            Self::Suspend => ask!(suspend_tenant, SuspendTenantRequest),
            Self::Activate => ask!(activate_tenant, ActivateTenantRequest),
            Self::StartMigration => ask!(start_migration, StartMigrationRequest),
            Self::FinishMigration => ask!(finish_migration, FinishMigrationRequest),
            Self::Archive => ask!(archive_tenant, ArchiveTenantRequest),
            Self::Delete => ask!(delete_tenant, DeleteTenantRequest),
            Self::Undelete => ask!(undelete_tenant, UndeleteTenantRequest),
            Self::ChangeTier => ask!(change_tier, ChangeTierRequest, tier),
            Self::Provision | Self::Purge | Self::Repair => panic!("{self:?} is not asked for by a verb"),
        };
        answer.map(tonic::Response::into_inner)
    }
}

/// Clients that a task can take with it.
#[derive(Clone)]
pub(super) struct Clients {
    pub(super) tenants: v1::tenant_registry_client::TenantRegistryClient<tonic::transport::Channel>,
    pub(super) lifecycle: v1::lifecycle_client::LifecycleClient<tonic::transport::Channel>,
}

impl Clients {
    pub(super) fn over(channel: tonic::transport::Channel) -> Self {
        Self {
            tenants: v1::tenant_registry_client::TenantRegistryClient::new(channel.clone()),
            lifecycle: v1::lifecycle_client::LifecycleClient::new(channel),
        }
    }

    pub(super) fn of(replica: &Replica) -> Self {
        Self { tenants: replica.tenants.clone(), lifecycle: replica.lifecycle.clone() }
    }

    pub(super) async fn get(&mut self, tenant_id: &str) -> v1::Tenant {
        self.find(tenant_id).await.unwrap_or_else(|| panic!("there is no tenant {tenant_id}"))
    }

    pub(super) async fn operation(&mut self, operation_id: &str) -> v1::Operation {
        let client = self.lifecycle.clone();
        patiently(|| {
            let mut request =
                tonic::Request::new(v1::GetOperationRequest { operation_id: operation_id.to_owned() });
            // It may have been opened on another replica.
            request.metadata_mut().insert("tenantry-consistency", "latest".parse().unwrap());
            let mut client = client.clone();
            async move { client.get_operation(request).await }
        })
        .await
    }

    /// Waits until the engine has nothing more to do.
    pub(super) async fn ended(&mut self, operation_id: &str) -> v1::Operation {
        for _ in 0..6_000 {
            let operation = self.operation(operation_id).await;
            if !matches!(operation.state(), v1::OperationState::Running | v1::OperationState::Reverting) {
                return operation;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the operation does not end: {:?}", self.operation(operation_id).await);
    }

    /// A tenant, or `None` where there is none of that id.
    pub(super) async fn find(&mut self, tenant_id: &str) -> Option<v1::Tenant> {
        let client = self.tenants.clone();
        patiently(|| {
            let mut request = tonic::Request::new(v1::GetTenantRequest { tenant_id: tenant_id.to_owned() });
            request.metadata_mut().insert("tenantry-consistency", "latest".parse().unwrap());
            let mut client = client.clone();
            async move {
                match client.get_tenant(request).await {
                    Ok(found) => Ok(tonic::Response::new(Some(found.into_inner()))),
                    Err(status) if status.code() == tonic::Code::NotFound => Ok(tonic::Response::new(None)),
                    Err(status) => Err(status),
                }
            }
        })
        .await
    }

    /// Makes a tenant; answers it as it was when its provisioning had begun.
    pub(super) async fn create(&mut self, tenant_id: &str) -> v1::Tenant {
        let request = v1::CreateTenantRequest {
            tenant: Some(new_tenant(tenant_id)),
            request_id: uuid::Uuid::now_v7().to_string(),
            ..Default::default()
        };
        let tenants = self.tenants.clone();
        patiently(|| {
            let (mut tenants, request) = (tenants.clone(), request.clone());
            async move { tenants.create_tenant(request).await }
        })
        .await
    }

    /// A tenant that is where the verb starts.
    pub(super) async fn tenant_before(&mut self, tenant_id: &str, verb: Verb) -> v1::Tenant {
        let made = self.create(tenant_id).await;
        self.ended(&made.operation_id).await;
        for step in verb.before() {
            let operation = step.ask(self, tenant_id, 20).await.unwrap();
            assert_eq!(operation.state(), v1::OperationState::Succeeded, "{operation:?}");
        }
        self.get(tenant_id).await
    }
}

/// So often is asked again, and after what pause: on a machine under load, a change or a read of the newest state can take
/// longer than the server waits.
const PATIENCE: usize = 40;
const PAUSE: Duration = Duration::from_millis(250);

/// Asks again while the server says that it may be asked again.
pub(super) async fn patiently<T, F>(ask: impl Fn() -> F) -> T
where
    F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
{
    for _ in 0..PATIENCE {
        match ask().await {
            Err(status) if status.code() == tonic::Code::Unavailable => tokio::time::sleep(PAUSE).await,
            answer => return answer.unwrap().into_inner(),
        }
    }
    panic!("unavailable for longer than anybody waits");
}

/// Nothing that a tenant is said to be may be untrue in a target, and no effect may be there twice.
pub(super) fn assert_true(tenant: &v1::Tenant, stubs: &[(&str, Stub)], context: &str) {
    for (name, stub) in stubs {
        let held = stub.held(&tenant.uid);
        let lets_in = held.is_some_and(|held| matches!(held.state, Desired::Active | Desired::ReadOnly));
        let locked = matches!(
            tenant.status(),
            v1::TenantStatus::Suspended | v1::TenantStatus::Archived | v1::TenantStatus::Deleted
        );
        // On the way up it is still said to be locked while targets open one by one: then an operation says so.
        if locked && tenant.pending_status() == v1::TenantStatus::Unspecified {
            assert!(!lets_in, "{context}: {name} lets in a tenant that is {:?}: {held:?}", tenant.status());
        }
        let effects = stub.effects(&tenant.uid);
        for pair in effects.windows(2) {
            assert!(
                pair[0].generation < pair[1].generation,
                "{context}: {name} did something twice: {effects:?}"
            );
        }
    }
}

//! What is promised, seen from outside: after `SuspendTenant` has answered, each system's ordinary client with the tenant's
//! own credentials is refused, and after `ActivateTenant` it is served again, with its data.

use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use tenantry::app::dev_servers::alertmanager::{self, Alertmanager};
use tenantry::app::dev_servers::redis::Redis;
use tenantry::participants::TenantRef;
use tenantry::proto::v1;
use tokio_postgres::Client;
use uuid::Uuid;

use super::postgres::{Application, tries};
use super::{blocking, redis as cache, tenant};
use crate::support::{Replica, Setup};

const HALF_A_MINUTE: Option<prost_types::Duration> = Some(prost_types::Duration { seconds: 30, nanos: 0 });

/// The real systems, and a server that drives them.
struct Platform {
    application: Application,
    redis: Redis,
    alertmanager: Alertmanager,
    replica: Replica,
}

/// One tenant's clients, connected since before anything happened.
struct Clients {
    tenant: TenantRef,
    database: Client,
    cache: MultiplexedConnection,
}

/// What the clients of a tenant met.
#[derive(Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // Each is what one client saw.
struct Met {
    rows: i64,
    may_write: bool,
    cache_reads: bool,
    cache_logs_in: bool,
    pages_people: bool,
}

const SERVED: Met =
    Met { rows: 10, may_write: true, cache_reads: true, cache_logs_in: true, pages_people: true };
const REFUSED: Met =
    Met { rows: 0, may_write: false, cache_reads: false, cache_logs_in: false, pages_people: false };

impl Platform {
    async fn start() -> Self {
        let application = Application::new("").await;
        let (redis, alertmanager) = blocking(|| {
            let options = alertmanager::Options::default();
            (
                Redis::start().expect("Redis starts"),
                Alertmanager::start(&options).expect("Alertmanager starts"),
            )
        })
        .await;
        let targets = format!(
            "orders = {{ kind = \"postgres\", url = \"{}\", role = \"{}\", deadline = \"20s\" }}\n\
             cache = {{ kind = \"redis\", url = \"{}\", users = \"acl\", deadline = \"20s\" }}\n\
             monitoring = {{ kind = \"alertmanager\", url = \"{}\", deadline = \"20s\" }}\n",
            application.url,
            application.role,
            redis.url(),
            alertmanager.endpoint(),
        );
        let setup = Setup { settings: vec![("cascade.targets", targets)], ..Setup::default() };
        Self { application, redis, alertmanager, replica: Replica::start(&setup).await }
    }

    /// Makes a tenant with data and credentials in every system.
    async fn tenant(&mut self, tenant_id: &str) -> Clients {
        let made = self.replica.tenant(tenant_id).await;
        let uid = Uuid::parse_str(&made.uid).unwrap();
        let names = made.resource_names.unwrap();
        let mut tenant = tenant(tenant_id);
        tenant.uid = uid;
        tenant.names.cache_prefix = names.cache_prefix;
        tenant.names.monitoring_label = names.monitoring_label;
        self.application.fill(&tenant, SERVED.rows).await;
        let mut admin = cache::connect(&self.redis.url()).await.unwrap();
        cache::enrol(&mut admin, &tenant).await;
        let database = self.application.client().await;
        let cache = cache::client(&self.redis.url(), &tenant).await.unwrap();
        Clients { tenant, database, cache }
    }

    async fn met(&self, clients: &mut Clients) -> Met {
        let (rows, may_write) = tries(&mut clients.database, &clients.tenant).await;
        let key = format!("{}greeting", clients.tenant.names.cache_prefix);
        // A client that was cut off connects again, where it may.
        let again = cache::client(&self.redis.url(), &clients.tenant).await;
        let cache_logs_in = again.is_ok();
        if let Ok(connection) = again {
            clients.cache = connection;
        }
        let cached: redis::RedisResult<()> = clients.cache.set(&key, "hello").await;
        let read: redis::RedisResult<String> = clients.cache.get(&key).await;
        let cache_reads = cached.is_ok() && read.is_ok();
        Met { rows, may_write, cache_reads, cache_logs_in, pages_people: self.pages(&clients.tenant).await }
    }

    /// Whether Alertmanager would tell somebody of an alert of the tenant that is raised now.
    async fn pages(&self, tenant: &TenantRef) -> bool {
        let (base, label) = (self.alertmanager.endpoint(), &tenant.names.monitoring_label);
        let alert = json!([{ "labels": { "alertname": "Slow", "tenant": label } }]);
        let http = reqwest::Client::new();
        let raised = http.post(format!("{base}/api/v2/alerts")).json(&alert).send().await.unwrap();
        assert!(raised.status().is_success());
        let filter = format!("tenant=\"{label}\"");
        let seen =
            http.get(format!("{base}/api/v2/alerts")).query(&[("filter", filter)]).send().await.unwrap();
        let seen: Vec<Value> = seen.json().await.unwrap();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0]["status"]["state"] != "suppressed"
    }
}

async fn suspend(replica: &Replica, tenant_id: &str) {
    let request = v1::SuspendTenantRequest {
        tenant_id: tenant_id.to_owned(),
        wait: HALF_A_MINUTE,
        ..Default::default()
    };
    assert_succeeded(&replica.lifecycle.clone().suspend_tenant(request).await.unwrap().into_inner());
}

async fn activate(replica: &Replica, tenant_id: &str) {
    let request = v1::ActivateTenantRequest {
        tenant_id: tenant_id.to_owned(),
        wait: HALF_A_MINUTE,
        ..Default::default()
    };
    assert_succeeded(&replica.lifecycle.clone().activate_tenant(request).await.unwrap().into_inner());
}

fn assert_succeeded(operation: &v1::Operation) {
    assert_eq!(operation.state(), v1::OperationState::Succeeded, "{operation:?}");
    let targets: Vec<&str> = operation.targets.iter().map(|step| step.target.as_str()).collect();
    assert_eq!(targets, ["cache", "monitoring", "orders", "postgres"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspended_means_refused_everywhere_and_activated_served_again_with_the_data() {
    let mut platform = Platform::start().await;
    // One name is the beginning of the other.
    let mut finance = platform.tenant("finance").await;
    let mut neighbour = platform.tenant("finance-2").await;
    for clients in [&mut finance, &mut neighbour] {
        assert_eq!(platform.met(clients).await, SERVED);
    }
    for round in 1..=2 {
        suspend(&platform.replica, "finance").await;
        assert_eq!(platform.met(&mut finance).await, REFUSED, "round {round}");
        assert_eq!(platform.met(&mut neighbour).await, SERVED, "round {round}: the neighbour");
        activate(&platform.replica, "finance").await;
        assert_eq!(platform.met(&mut finance).await, SERVED, "round {round}");
        assert_eq!(platform.met(&mut neighbour).await, SERVED, "round {round}: the neighbour");
    }
    let both = ["finance", "finance-2"];
    let replica = &platform.replica;
    tokio::join!(suspend(replica, both[0]), suspend(replica, both[1]));
    for clients in [&mut finance, &mut neighbour] {
        assert_eq!(platform.met(clients).await, REFUSED, "both at the same moment");
    }
    tokio::join!(activate(replica, both[0]), suspend_again_is_refused(replica, both[1]));
    assert_eq!(platform.met(&mut finance).await, SERVED);
    assert_eq!(platform.met(&mut neighbour).await, REFUSED, "the other one stays out");
    activate(replica, both[1]).await;
    assert_eq!(platform.met(&mut neighbour).await, SERVED);
    platform.replica.stop().await;
}

/// A verb that changes nothing, at the same moment as one that does.
async fn suspend_again_is_refused(replica: &Replica, tenant_id: &str) {
    let request = v1::SuspendTenantRequest { tenant_id: tenant_id.to_owned(), ..Default::default() };
    let refused = replica.lifecycle.clone().suspend_tenant(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
}

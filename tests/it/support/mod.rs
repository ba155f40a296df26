//! What the tests stand on: one PostgreSQL for the whole run, a database and a server for each test, stub targets.

pub(crate) mod programs;
pub(crate) mod proxy;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use tenantry::app::dev_postgres::{Options, PrivatePostgres};
use tenantry::app::server::{self, Server};
use tenantry::config::targets::{Remote, Target};
use tenantry::config::{Config, Flags};
use tenantry::participants::stub::Stub;
use tenantry::proto::v1;
use tenantry::proto::v1::feature_flags_client::FeatureFlagsClient;
use tenantry::proto::v1::lifecycle_client::LifecycleClient;
use tenantry::proto::v1::tenant_health_client::TenantHealthClient;
use tenantry::proto::v1::tenant_registry_client::TenantRegistryClient;
use tenantry::proto::v1::tiers_client::TiersClient;
use tonic::transport::Channel;

/// The URL of this run's PostgreSQL. Its server ends with the process.
fn postgres() -> String {
    static POSTGRES: OnceLock<(String, Mutex<PrivatePostgres>)> = OnceLock::new();
    let (url, _) = POSTGRES.get_or_init(|| {
        let mut options = Options::ephemeral();
        for (name, value) in [("max_connections", "400"), ("max_prepared_transactions", "20")] {
            options.settings.push((name.to_owned(), value.to_owned()));
        }
        let postgres = PrivatePostgres::start(&options).expect("PostgreSQL starts");
        (postgres.url(), Mutex::new(postgres))
    });
    url.clone()
}

/// The URL of a new, empty database.
pub(crate) async fn empty_database() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let url = tokio::task::spawn_blocking(postgres).await.unwrap();
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let (client, connection) =
        tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("PostgreSQL answers");
    let driving = tokio::spawn(connection);
    client.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a database is made");
    drop(client);
    driving.await.unwrap().unwrap();
    let (server, _) = url.rsplit_once('/').expect("the URL names a database");
    format!("{server}/{name}")
}

/// How a test's server is made.
#[derive(Default)]
pub(crate) struct Setup {
    /// Stub targets by name, beside `postgres`.
    pub stubs: Vec<(&'static str, Stub)>,
    /// Targets by name, and where each is served.
    pub services: Vec<(&'static str, String)>,
    /// Settings laid over those of tests, by key as in the configuration file.
    pub settings: Vec<(&'static str, String)>,
    /// Without any target: tenants are ACTIVE at once.
    pub no_targets: bool,
}

/// The configuration of a replica on a database.
pub(crate) fn config(database_url: &str, setup: &Setup) -> Config {
    let mut flags = Flags::default();
    for (key, value) in [
        ("server.grpc_listen", "127.0.0.1:0"),
        ("server.http_listen", "127.0.0.1:0"),
        ("server.insecure_no_auth", "true"),
        ("server.threads", "1"),
        ("server.drain_timeout", "2s"),
        ("cascade.lease", "1s"),
        ("cascade.apply_deadline", "500ms"),
        ("cascade.max_attempts", "4"),
        ("cascade.circuit_cooldown", "50ms"),
        // A test that wants the verifier says so.
        ("cascade.verify_rate", "0"),
        ("database.url", database_url),
    ] {
        flags.values.insert(key, value.to_owned());
    }
    for (key, value) in &setup.settings {
        flags.values.insert(key, value.clone());
    }
    let mut config = Config::load(&flags, |_| None).expect("the configuration is valid").config;
    if setup.no_targets {
        config.cascade.targets.clear();
    }
    let stubs = setup.stubs.iter().map(|(name, stub)| (*name, stub.endpoint()));
    for (name, endpoint) in stubs.chain(setup.services.clone()) {
        let remote = Remote::at(&endpoint).expect("a target has an endpoint");
        config.cascade.targets.insert(name.to_owned(), Target::Remote(remote));
    }
    config
}

/// A server under test, with a client of each of its services.
pub(crate) struct Replica {
    /// The server.
    pub server: Server,
    /// A connection to it.
    pub channel: Channel,
    /// Of `TenantRegistry`.
    pub tenants: TenantRegistryClient<Channel>,
    /// Of `Tiers`.
    pub tiers: TiersClient<Channel>,
    /// Of `FeatureFlags`.
    pub flags: FeatureFlagsClient<Channel>,
    /// Of `Lifecycle`.
    pub lifecycle: LifecycleClient<Channel>,
    /// Of `TenantHealth`.
    pub health: TenantHealthClient<Channel>,
    /// Where its data is.
    pub database_url: String,
}

impl Replica {
    /// A server on a database of its own, with the tiers of the `gcc` catalogue.
    pub(crate) async fn start(setup: &Setup) -> Self {
        let url = empty_database().await;
        let mut replica = Self::on(&url, setup).await;
        replica.seed_tiers().await;
        replica
    }

    /// Another server on a database that there is.
    pub(crate) async fn on(database_url: &str, setup: &Setup) -> Self {
        logs();
        let config = config(database_url, setup);
        let database = server::prepare(&config, true).await.expect("the database is ready");
        let server = Server::start(&config, database).await.expect("the server starts");
        server.registry.view.loaded().await;
        let channel = Channel::from_shared(format!("http://{}", server.grpc))
            .unwrap()
            .connect()
            .await
            .expect("it answers");
        Self {
            tenants: TenantRegistryClient::new(channel.clone()).max_decoding_message_size(64 << 20),
            tiers: TiersClient::new(channel.clone()),
            flags: FeatureFlagsClient::new(channel.clone()),
            lifecycle: LifecycleClient::new(channel.clone()),
            health: TenantHealthClient::new(channel.clone()),
            channel,
            server,
            database_url: database_url.to_owned(),
        }
    }

    pub(crate) async fn seed_tiers(&mut self) {
        for (rank, tier_id) in ["silver", "gold", "platinum"].into_iter().enumerate() {
            self.tiers
                .create_tier(v1::CreateTierRequest { tier: Some(tier(tier_id, rank)), ..Default::default() })
                .await
                .unwrap();
        }
    }

    /// Makes a tenant of tier gold and waits until it is ACTIVE.
    pub(crate) async fn tenant(&mut self, tenant_id: &str) -> v1::Tenant {
        let made = self.create(tenant_id).await.expect("the tenant is made");
        self.settled(&made.tenant_id).await
    }

    /// Asks for a tenant of tier gold.
    pub(crate) async fn create(&mut self, tenant_id: &str) -> Result<v1::Tenant, tonic::Status> {
        let tenant = Some(new_tenant(tenant_id));
        let request = v1::CreateTenantRequest { tenant, ..Default::default() };
        self.tenants.create_tenant(request).await.map(tonic::Response::into_inner)
    }

    /// Reads a tenant.
    pub(crate) async fn get(&mut self, tenant_id: &str) -> v1::Tenant {
        let request = v1::GetTenantRequest { tenant_id: tenant_id.to_owned() };
        self.tenants.get_tenant(request).await.expect("the tenant is there").into_inner()
    }

    /// Waits until no operation of the tenant is open.
    pub(crate) async fn settled(&mut self, tenant_id: &str) -> v1::Tenant {
        for _ in 0..2_000 {
            let tenant = self.get(tenant_id).await;
            if tenant.operation_id.is_empty() {
                return tenant;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the operation of {tenant_id} does not end: {:?}", self.get(tenant_id).await);
    }

    /// Whether what its view took in by itself is what another server reads from the tables.
    pub(crate) async fn holds_what_the_tables_say(&self, setup: &Setup) {
        let fresh = Self::on(&self.database_url, setup).await;
        let wanted = fresh.server.registry.view.snapshot().unwrap();
        let taken =
            self.server.registry.view.at_least(wanted.revision, Duration::from_secs(5)).await.unwrap();
        assert_eq!(taken.revision, wanted.revision, "nothing changes meanwhile");
        assert_eq!(taken.tenants.len(), wanted.tenants.len());
        // As text: 0 and -0 are equal, and yet two answers.
        for (id, record) in &wanted.tenants {
            assert_eq!(format!("{:?}", taken.tenants[id]), format!("{record:?}"));
        }
        for operation in wanted.operations.values() {
            let own = taken.operations.get(&operation.operation_id);
            assert_eq!(format!("{own:?}"), format!("{:?}", Some(operation)));
        }
        fresh.stop().await;
    }

    /// Stops the server in order.
    pub(crate) async fn stop(self) {
        drop((self.channel, self.tenants, self.tiers, self.flags, self.lifecycle, self.health));
        self.server.stop().await;
    }
}

/// Shows the server's log with a failed test where `TEST_LOG` names a level.
fn logs() {
    if let Ok(filter) = std::env::var("TEST_LOG") {
        // Another test was first.
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    }
}

/// A tier as a caller asks for it.
pub(crate) fn tier(tier_id: &str, rank: usize) -> v1::Tier {
    let limit = v1::Limit { bound: Some(v1::limit::Bound::Value(100)) };
    v1::Tier {
        tier_id: tier_id.to_owned(),
        display_name: tier_id.to_owned(),
        rank: i32::try_from(rank).unwrap(),
        sla_target: 0.999,
        support_level: "24/7".to_owned(),
        limits: [("storage_gb".to_owned(), limit)].into(),
        ..Default::default()
    }
}

/// A tenant as a caller asks for it.
pub(crate) fn new_tenant(tenant_id: &str) -> v1::Tenant {
    v1::Tenant {
        tenant_id: tenant_id.to_owned(),
        display_name: "A tenant".to_owned(),
        tier: "gold".to_owned(),
        ..Default::default()
    }
}

/// The reason of an error, as machines read it.
pub(crate) fn reason(status: &tonic::Status) -> String {
    use tonic_types::StatusExt as _;
    status.get_details_error_info().map_or_else(|| format!("no reason: {status:?}"), |info| info.reason)
}

/// The fields at fault, as machines read them.
pub(crate) fn fields(status: &tonic::Status) -> Vec<String> {
    use tonic_types::StatusExt as _;
    let violations =
        status.get_details_bad_request().map(|request| request.field_violations).unwrap_or_default();
    violations.into_iter().map(|violation| violation.field).collect()
}

/// The program as built for this run.
pub(crate) fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_tenantry"))
}

/// What the server tells Prometheus.
pub(crate) async fn metrics(replica: &Replica) -> String {
    page(replica, "/metrics").await
}

/// A page beside the calls, with its head.
pub(crate) async fn page(replica: &Replica, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(replica.server.http).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// The services that a listener tells of by reflection, sorted.
pub(crate) async fn listed_services(channel: Channel) -> Vec<String> {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_request::MessageRequest};
    let list = MessageRequest::ListServices(String::new());
    let ask = ServerReflectionRequest { message_request: Some(list), ..Default::default() };
    let mut client = ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(tokio_stream::iter([ask])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(listed) = answer else { panic!("{answer:?}") };
    let mut listed: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
    listed.sort_unstable();
    listed
}

/// Runs statements in a test's database, as somebody does who reaches past the server.
pub(crate) async fn sql(database_url: &str, statements: &str) {
    let (client, connection) = tokio_postgres::connect(database_url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(statements).await.unwrap();
}

/// The kinds of all events so far, in order.
pub(crate) async fn event_kinds(database_url: &str) -> Vec<String> {
    let (client, connection) = tokio_postgres::connect(database_url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let rows = client.query("SELECT kind FROM log ORDER BY revision", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

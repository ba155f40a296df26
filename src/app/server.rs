//! A server that runs: listeners bound, parts started, probes told the truth, an orderly end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::registry::{self, WiringError};
use crate::config::Config;
use crate::grpc::edge;
use crate::http::{self, Readiness};
use crate::services::Registry;
use crate::store::connect::Database;
use crate::store::{self, migrate};

/// How often the probes' answer is looked at again.
const HEALTH_INTERVAL: Duration = Duration::from_millis(250);

/// Why a server does not start: one sentence each.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The parts do not fit together.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// A port cannot be had.
    #[error("{flag} {address} cannot be used: {why}.")]
    Listen {
        /// The flag that says where.
        flag: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        why: &'static str,
    },
    /// The database does not answer.
    #[error("The database at {url} cannot be reached: {why}.")]
    Unreachable {
        /// Without the password.
        url: String,
        /// What happened.
        why: String,
    },
    /// The schema is of another version.
    #[error("The database has schema version {found}, this program needs {needed}: {advice}.")]
    Schema {
        /// The version found.
        found: i32,
        /// The version needed.
        needed: i32,
        /// What to do.
        advice: &'static str,
    },
    /// The schema could not be brought up to date.
    #[error("The database's schema could not be brought up to date: {0}.")]
    Migrate(String),
}

/// A running server.
pub struct Server {
    /// The use cases, for whoever is in the same process.
    pub registry: Registry,
    /// Where gRPC is served.
    pub grpc: SocketAddr,
    /// Where HTTP is served.
    pub http: SocketAddr,
    drain: CancellationToken,
    stop: CancellationToken,
    serving: Vec<JoinHandle<()>>,
}

/// Connects, and checks that the schema is this program's; brings it there first if `migrate_first`.
pub async fn prepare(config: &Config, migrate_first: bool) -> Result<Database, StartError> {
    let url = config.database.required_url().map_err(WiringError::from)?;
    let database = Database::new(&config.database).map_err(WiringError::from)?;
    let unreachable = |error: store::Error| StartError::Unreachable {
        url: url.masked(),
        why: error.to_string().trim_start_matches("the database cannot be reached: ").to_owned(),
    };
    let mut client = database.dedicated(|| {}).await.map_err(unreachable)?;
    if migrate_first {
        let report =
            migrate::migrate(&mut client).await.map_err(|error| StartError::Migrate(error.to_string()))?;
        if report.from != report.to {
            tracing::info!(from = report.from, to = report.to, "the schema was brought up to date");
        }
    }
    let found = migrate::version(&client).await.map_err(unreachable)?;
    let needed = migrate::newest();
    if found == needed {
        return Ok(database);
    }
    let advice =
        if found < needed { "run `tenantry migrate` first" } else { "use the newer program that made it" };
    Err(StartError::Schema { found, needed, advice })
}

impl Server {
    /// Binds the listeners, starts the parts and serves.
    pub async fn start(config: &Config, database: Database) -> Result<Self, StartError> {
        let grpc_listener = bind("--grpc-listen", config.server.grpc_listen).await?;
        let http_listener = bind("--http-listen", config.server.http_listen).await?;
        let address = |listener: &TcpListener, asked| listener.local_addr().unwrap_or(asked);
        let grpc = address(&grpc_listener, config.server.grpc_listen);
        let http = address(&http_listener, config.server.http_listen);
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let registry = registry::start(config, database, stop.clone())?;
        let metrics = edge::Metrics::new();
        let health = edge::Health::new();
        let routes = edge::with_health_and_reflection(
            crate::grpc::routes(registry.clone(), config.server.decode_limit_bytes),
            &health,
        );
        let serving_grpc = edge::serve(grpc_listener, routes, limits(config), metrics.clone(), drain.clone());
        let readiness = readiness(&registry, &drain);
        let app = http::router(Arc::clone(&readiness), metrics.registry());
        let serving_http = tokio::spawn(http::serve(http_listener, app, stop.clone()));
        let telling = tokio::spawn(tell_health(health, readiness, drain.clone()));
        Ok(Self { registry, grpc, http, drain, stop, serving: vec![serving_grpc, serving_http, telling] })
    }

    /// Ends in order: probes say no, open calls get `patience` to end, then the parts stop.
    pub async fn stop(self, patience: Duration) {
        self.drain.cancel();
        let mut serving = self.serving.into_iter();
        if let Some(grpc) = serving.next()
            && tokio::time::timeout(patience, grpc).await.is_err()
        {
            tracing::warn!("open calls were cut off at the end of the drain time");
        }
        self.stop.cancel();
        self.registry.engine.stopped().await;
        for task in serving {
            // Ends with `stop`; a panic in it was logged.
            let _ = task.await;
        }
    }
}

fn limits(config: &Config) -> edge::Limits {
    edge::Limits {
        connections_max: config.server.max_connections,
        connections_per_ip_max: config.server.max_connections_per_ip,
        deadline: config.server.unary_deadline,
        threads: config.server.threads,
    }
}

async fn bind(flag: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::AddrInUse => "another process is listening there",
            std::io::ErrorKind::PermissionDenied => "this user may not listen there",
            std::io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
            _ => "the system refused it",
        };
        StartError::Listen { flag, address, why }
    })
}

fn readiness(registry: &Registry, drain: &CancellationToken) -> Arc<dyn Fn() -> Readiness + Send + Sync> {
    let (view, drain) = (Arc::clone(&registry.view), drain.clone());
    Arc::new(move || Readiness {
        view_loaded: view.is_loaded(),
        draining: drain.is_cancelled(),
        database_silent_seconds: view.silence().as_secs(),
        stale: view.stale_for().is_some(),
    })
}

async fn tell_health(
    health: edge::Health,
    readiness: Arc<dyn Fn() -> Readiness + Send + Sync>,
    drain: CancellationToken,
) {
    let mut told = None;
    loop {
        let serving = readiness().is_ready();
        if told != Some(serving) {
            health.set_all(serving).await;
            told = Some(serving);
        }
        tokio::select! {
            () = tokio::time::sleep(HEALTH_INTERVAL) => {}
            () = drain.cancelled() => break,
        }
    }
    health.set_all(false).await;
}

//! A server that runs: listeners bound, parts started, probes told the truth, an orderly end.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use prometheus::Registry as Prometheus;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::openfeature::{self, Protocols};
use super::places;
use super::registry;
use super::targets::WiringError;
use crate::cli::class;
use crate::config::Config;
use crate::config::database::Url;
use crate::config::server::CorsOrigins;
use crate::domain::ids::{FlagKey, TenantId};
use crate::grpc;
use crate::grpc::edge::health::Health;
use crate::grpc::edge::{self, Limits, Listener, Methods, Metrics, NoSuchPage, Origins, Wiring, reflection};
use crate::grpc::{Handler, Straight};
use crate::http::{self, Check, Readiness};
use crate::services::Registry;
use crate::services::feature_flags;
use crate::services::lifecycle::{self, WAIT_MAX};
use crate::services::openfeature::OpenFeature;
use crate::store::connect::Database;
use crate::store::target_places::Moved;
use crate::store::{self, clock, migrate};
use crate::view::View;

/// How often the probes' answer is looked at again.
const HEALTH_INTERVAL: Duration = Duration::from_millis(250);

/// For how long the database may not answer, beyond two looks at it, before the probes say so.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// The verbs that can wait for an operation's end, and what that takes at most.
const WAITING: [&str; 12] = [
    "SuspendTenant",
    "ActivateTenant",
    "StartMigration",
    "FinishMigration",
    "ArchiveTenant",
    "DeleteTenant",
    "UndeleteTenant",
    "ChangeTier",
    "VerifyTenant",
    "RetryTarget",
    "SkipTarget",
    "AbortOperation",
];
const WAITING_DEADLINE: Duration = WAIT_MAX.saturating_add(Duration::from_secs(5));

/// The methods that take many things at once.
const BATCHES: [&str; 3] = [
    "/tenantry.v1.TenantRegistry/BatchCreateTenants",
    "/tenantry.v1.FeatureFlags/ApplyFlags",
    "/tenantry.v1.FeatureFlags/ImportFlags",
];

/// The methods that bring in up to all the flags that there can be.
const APPLYING: [&str; 2] = ["/tenantry.v1.FeatureFlags/ApplyFlags", "/tenantry.v1.FeatureFlags/ImportFlags"];
/// As long as the largest set may take on a busy machine; its caller may ask for less.
const APPLYING_DEADLINE: Duration = Duration::from_mins(1);

/// Why a server does not start: one sentence each.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The parts do not fit together.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// A port cannot be had.
    #[error("`--{flag} {address}` cannot be used: {why}.")]
    Listen {
        /// The flag that says where.
        flag: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        why: &'static str,
        /// The exit code of that.
        exit_code: u8,
    },
    /// The database does not answer.
    #[error("The database at {url} cannot be reached: {why}.")]
    Unreachable {
        /// Without the password.
        url: String,
        /// What happened.
        why: String,
    },
    /// The database answers, and its role may not do what is needed.
    #[error(
        "The database at {url} refuses its role what Tenantry needs: {why}. Give `{role}` the right, or name another role."
    )]
    Forbidden {
        /// Without the password.
        url: String,
        /// What the database said.
        why: String,
        /// Who is refused.
        role: String,
    },
    /// The database answers, and takes no writes.
    #[error("The database at {url} is read-only, and Tenantry writes to it: {why}.")]
    ReadOnly {
        /// Without the password.
        url: String,
        /// What happened.
        why: String,
    },
    /// The schema is of another version.
    #[error("The database has schema version {found}, and this program needs {needed}: {advice}.")]
    Schema {
        /// The version found.
        found: i32,
        /// The version needed.
        needed: i32,
        /// What to do.
        advice: &'static str,
    },
    /// The schema is not Tenantry's, or could not be brought up to date.
    #[error("The database's schema cannot be used or brought up to date: {0}.")]
    Migrate(store::Error),
    /// A target would look for tenants' things where they are not.
    #[error(
        "The target `{}` has tenants' things in `{}`, and its settings say `{}`, where a suspension or a purge would miss them: set \
         them back, or move the things while no server runs and set `moved_from = '{}'` beside them (docs/OPERATIONS.md, \
         \"Another place\").",
        .0.target, .0.from, .0.to, .0.from
    )]
    Place(Moved),
    /// A part of the server could not be made.
    #[error("The server cannot be set up: {0}.")]
    SetUp(String),
}

impl StartError {
    /// The exit code of its class.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Wiring(WiringError::Metrics(_)) | Self::SetUp(_) => class::INTERNAL,
            Self::Wiring(_) | Self::Place(_) => class::ARGUMENTS,
            Self::Listen { exit_code, .. } => *exit_code,
            Self::Unreachable { .. }
            | Self::ReadOnly { .. }
            | Self::Migrate(store::Error::Unreachable(_) | store::Error::ReadOnly(_)) => class::NOT_IN_TIME,
            Self::Forbidden { .. } => class::NOT_ALLOWED,
            Self::Schema { .. } | Self::Migrate(_) => class::CONFLICT,
        }
    }

    /// Why the database did not do what is needed to start.
    pub(super) fn of(error: store::Error, database: &Url) -> Self {
        let url = database.masked();
        match error {
            store::Error::Forbidden(why) => {
                let role = database.config().get_user().unwrap_or("its role").to_owned();
                Self::Forbidden { url, why, role }
            }
            store::Error::ReadOnly(why) => Self::ReadOnly { url, why },
            error => Self::Unreachable { url, why: why_unreached(&error.to_string()) },
        }
    }
}

/// A running server.
pub struct Server {
    /// The use cases, for whoever is in the same process.
    pub registry: Registry,
    /// Where gRPC is served.
    pub grpc: SocketAddr,
    /// Where HTTP is served.
    pub http: SocketAddr,
    /// Where OpenFeature's protocols are served.
    pub openfeature: openfeature::Addresses,
    drain: CancellationToken,
    stop: CancellationToken,
    serving: edge::Server,
    telling: JoinHandle<()>,
}

/// Connects, and checks that the schema is this program's; brings it there first if `migrate_first`.
pub async fn prepare(config: &Config, migrate_first: bool) -> Result<Database, StartError> {
    let url = config.database.required_url().map_err(WiringError::from)?;
    let database = Database::new(&config.database).map_err(WiringError::from)?;
    let failed = |error: store::Error| StartError::of(error, url);
    let mut client = database.dedicated(|_| {}).await.map_err(failed)?;
    if migrate_first {
        let report = migrate::migrate(&mut client).await.map_err(|error| match error {
            store::Error::Forbidden(_) => failed(error),
            error => StartError::Migrate(error),
        })?;
        if report.from != report.to {
            tracing::info!(from = report.from, to = report.to, "the schema was brought up to date");
        }
    }
    let found = migrate::version(&client).await.map_err(|error| match error {
        store::Error::Foreign(_) | store::Error::Encoding(_) => StartError::Migrate(error),
        error => failed(error),
    })?;
    let needed = migrate::newest();
    if found == needed {
        clock::follow(&client).await.map_err(failed)?;
        return Ok(database);
    }
    let advice =
        if found < needed { "run `tenantry migrate` first" } else { "use the newer program that made it" };
    Err(StartError::Schema { found, needed, advice })
}

fn why_unreached(error: &str) -> String {
    let mut why = error.trim_start_matches("the database cannot be reached: ").to_owned();
    if why.contains("UnknownIssuer") {
        why.push_str("; name the authority of its certificate with `--database-ca-file`");
    }
    why
}

/// The methods that are served, with what some of them take on beyond the others.
fn methods(config: &Config) -> Result<Methods, StartError> {
    let mut methods = Methods::of(reflection::DESCRIPTOR_SETS).map_err(set_up)?;
    let known = |is_known: bool, method: &str| {
        if is_known { Ok(()) } else { Err(set_up(format!("there is no method {method}"))) }
    };
    for method in WAITING {
        known(methods.set_deadline(&format!("/tenantry.v1.Lifecycle/{method}"), WAITING_DEADLINE), method)?;
    }
    for method in BATCHES {
        known(methods.set_message_bytes_max(method, grpc::BATCH_REQUEST_MAX), method)?;
    }
    let applying = APPLYING_DEADLINE.max(limits(config).unary_deadline);
    for method in APPLYING {
        known(methods.set_bounds(method, grpc::APPLY_BOUNDS), method)?;
        known(methods.set_deadline(method, applying), method)?;
    }
    Ok(methods)
}

impl Server {
    /// Binds the listeners, starts the parts and serves.
    pub async fn start(config: &Config, database: Database) -> Result<Self, StartError> {
        let grpc_listener = bind("grpc-listen", config.server.grpc_listen)?;
        let http_listener = bind("http-listen", config.server.http_listen)?;
        places::check(config, &database, config.database.required_url().map_err(WiringError::from)?).await?;
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let registry = registry::start(config, database, &drain, &stop)?;
        let prometheus = Prometheus::new();
        let metrics = Metrics::register(&prometheus).map_err(set_up)?;
        registry.evaluations.register(&prometheus, is_there(&registry.view)).map_err(set_up)?;
        feature_flags::register_metrics(&prometheus, &registry.view).map_err(set_up)?;
        crate::view::register_metrics(&prometheus, &registry.view).map_err(set_up)?;
        registry.engine.register(&prometheus).map_err(set_up)?;
        lifecycle::register_metrics(&prometheus, &registry).map_err(set_up)?;
        let feature = OpenFeature::start(registry.clone(), drain.clone());
        feature.register_metrics(&prometheus).map_err(set_up)?;
        let methods = methods(config)?;
        let plan = openfeature::Plan::of(config);
        let others = [plan.grpc.packages(), plan.http.packages()].concat();
        let (health, handler, routes) =
            routes(&registry, &methods, &others, config.server.decode_limit_bytes).await?;
        let pages =
            http::router(checks(&registry.view, config.view.poll_interval, &drain), prometheus, NoSuchPage);
        let services = methods.services();
        let main = Main { grpc: grpc_listener, http: http_listener, handler, routes, pages, services };
        let listeners = listeners(config, main, &plan, &feature)?;
        let (drain_too, stop_too) = (drain.clone(), stop.clone());
        let wiring = Wiring { limits: limits(config), methods, metrics, drain: drain_too, stop: stop_too };
        let serving = edge::serve(listeners, wiring).map_err(set_up)?;
        let &[grpc, http, ref own @ ..] = serving.addresses() else {
            return Err(set_up("a listener is missing"));
        };
        let openfeature = plan.addresses(grpc, http, own);
        let telling = tokio::spawn(tell_health(health, Arc::clone(&registry.view), drain.clone()));
        Ok(Self { registry, grpc, http, openfeature, drain, stop, serving, telling })
    }

    /// Ends in order: probes say no, open calls get their time to end, then the parts stop.
    pub async fn stop(mut self) {
        self.drain.cancel();
        // It ends with the drain; had it panicked, that was logged.
        let _ = self.telling.await;
        let cut = self.serving.drained().await.aborted_connections;
        if cut > 0 {
            tracing::warn!(connections = cut, "open calls were cut off at the end of the drain time");
        }
        self.stop.cancel();
        self.registry.engine.stopped().await;
        self.serving.stopped().await;
    }
}

async fn routes(
    registry: &Registry,
    methods: &Methods,
    others: &[&str],
    request_max: usize,
) -> Result<(Health, Handler, Routes), StartError> {
    let of = |packages: &[&str]| -> Vec<String> {
        let is_of = |name: &String| packages.iter().any(|package| name.starts_with(package));
        methods.services().into_iter().filter(is_of).collect()
    };
    let (health, health_service) = edge::health::health(of(&["tenantry.v1."])).await;
    let served = of(&[&["tenantry.v1.", "grpc."], others].concat());
    let handler = Handler::new(registry.clone());
    let routes = grpc::routes(&handler, request_max)
        .add_service(health_service)
        .add_service(reflection::v1(&served).map_err(set_up)?)
        .add_service(reflection::v1alpha(&served).map_err(set_up)?);
    Ok((health, handler, routes))
}

/// What the listeners that are always there are made of.
struct Main {
    grpc: TcpListener,
    http: TcpListener,
    handler: Handler,
    routes: Routes,
    pages: Router,
    /// Of every contract.
    services: Vec<String>,
}

/// Every listener: that of gRPC, that of HTTP, then OpenFeature's own.
fn listeners(
    config: &Config,
    main: Main,
    plan: &openfeature::Plan,
    feature: &OpenFeature,
) -> Result<Vec<Listener<Straight<Routes>>>, StartError> {
    let request_max = config.server.decode_limit_bytes;
    let on_grpc = plan.grpc.add_to(main.routes.clone(), feature, request_max);
    let on_http = plan.http.add_to(main.routes, feature, request_max);
    let pages = match plan.http.pages(feature) {
        Some(ofrep) => main.pages.merge(ofrep),
        None => main.pages,
    };
    let straight = |protocols: Protocols, routes: Routes| {
        Straight::new(Some(main.handler.clone()), protocols.flagd(feature), routes.prepare())
    };
    let mut grpc = listener(config, "gRPC", main.grpc, straight(plan.grpc, on_grpc));
    if let Some(ofrep) = plan.grpc.pages(feature) {
        grpc = grpc.with_pages(openfeature::alone(ofrep));
    }
    let http = listener(config, "HTTP", main.http, straight(plan.http, on_http))
        .with_pages(pages)
        .outlasting_the_drain();
    let mut all = vec![grpc, http];
    for own in plan.listen(feature, request_max, &main.services)? {
        let routes = Straight::new(None, own.flagd, own.routes.prepare());
        let listener = listener(config, "OpenFeature", own.socket, routes);
        all.push(match own.pages {
            Some(pages) => listener.with_pages(pages),
            None => listener,
        });
    }
    Ok(all)
}

/// A listener for whoever the configuration lets in.
fn listener(
    config: &Config,
    name: &'static str,
    socket: TcpListener,
    routes: Straight<Routes>,
) -> Listener<Straight<Routes>> {
    let server = &config.server;
    let origins = match &server.cors_origins {
        CorsOrigins::Any => Origins::any(),
        CorsOrigins::Listed { loopback: true, origins } => Origins::loopback().and(origins.clone()),
        CorsOrigins::Listed { loopback: false, origins } => Origins::default().and(origins.clone()),
    };
    let listener = Listener::new(name, socket, routes).for_origins(origins);
    if server.insecure_no_auth { listener.for_this_machine() } else { listener }
}

#[allow(clippy::needless_pass_by_value)] // The shape that map_err wants.
pub(super) fn set_up(error: impl std::fmt::Display) -> StartError {
    StartError::SetUp(error.to_string())
}

/// Whether there is a flag, and a tenant where one is given. All is, while the view is not ready.
fn is_there(view: &Arc<View>) -> impl Fn(&FlagKey, Option<&TenantId>) -> bool + Send + Sync + 'static {
    let view = Arc::clone(view);
    move |flag, tenant| {
        view.snapshot().map_or(true, |snapshot| match tenant {
            Some(tenant) => snapshot.tenant(tenant).is_some(),
            None => snapshot.flags.flag(flag.as_str()).is_some(),
        })
    }
}

fn limits(config: &Config) -> Limits {
    let server = &config.server;
    Limits {
        threads: server.threads,
        connections_max: server.max_connections,
        connections_per_peer_max: server.max_connections_per_ip,
        streams_open_max: server.max_streams,
        // Room for unary calls beside all streams.
        streams_per_connection_max: u32::try_from(server.max_streams + 1_000).unwrap_or(u32::MAX),
        message_bytes_max: server.decode_limit_bytes,
        unary_deadline: server.unary_deadline,
        drain_timeout: server.drain_timeout,
        ..Limits::default()
    }
}

/// Says whether the ports can be had, before anything is made that nobody needs if they cannot.
pub(super) fn check_ports(config: &Config) -> Result<(), StartError> {
    bind("grpc-listen", config.server.grpc_listen)?;
    bind("http-listen", config.server.http_listen)?;
    openfeature::Plan::of(config).check()
}

pub(super) fn bind(flag: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|error| {
        let (why, exit_code) = match error.kind() {
            ErrorKind::AddrInUse => ("somebody is listening there already", class::CONFLICT),
            ErrorKind::PermissionDenied => ("this user may not listen there", class::NOT_ALLOWED),
            ErrorKind::AddrNotAvailable => ("this machine does not have that address", class::ARGUMENTS),
            _ => ("the system refused it", class::INTERNAL),
        };
        StartError::Listen { flag, address, why, exit_code }
    })
}

/// What readiness rests on. A stale view still answers reads, and says so: taking every replica out at once when the
/// database is gone would turn failed writes into a failed platform.
fn checks(view: &Arc<View>, poll_interval: Duration, drain: &CancellationToken) -> Vec<Check> {
    let (loaded, silent, drain) = (Arc::clone(view), Arc::clone(view), drain.clone());
    let view = Check {
        name: "view",
        ask: Arc::new(move || match loaded.snapshot() {
            Ok(snapshot) => Readiness::Ready(format!("at revision {}", snapshot.revision)),
            Err(_) => Readiness::NotReady("still loading".to_owned()),
        }),
    };
    let database = Check {
        name: "database",
        ask: Arc::new(move || {
            let silence = silent.silence();
            // Nothing is followed where nothing could be written: a standby may lag.
            let what = if silent.is_read_only() { "read-only; writes fail; " } else { "" };
            if let Some(stale) = silent.stale_for() {
                Readiness::Degraded(format!("{what}silent for {} s; reads are stale", stale.as_secs()))
            } else if silent.is_read_only() {
                Readiness::Degraded("read-only; writes fail, reads go on".to_owned())
            } else if silence > poll_interval * 2 + SILENCE_MAX {
                let seconds = silence.as_secs();
                Readiness::Degraded(format!("silent for {seconds} s; writes fail, reads go on from memory"))
            } else {
                Readiness::Ready(String::new())
            }
        }),
    };
    let draining = Check {
        name: "draining",
        ask: Arc::new(move || {
            if drain.is_cancelled() {
                Readiness::NotReady("going down".to_owned())
            } else {
                Readiness::Ready(String::new())
            }
        }),
    };
    vec![view, database, draining]
}

async fn tell_health(health: Health, view: Arc<View>, drain: CancellationToken) {
    let mut told = None;
    loop {
        let serving = view.is_loaded();
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

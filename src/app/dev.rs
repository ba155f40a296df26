//! `tenantry dev`: a private PostgreSQL, a tier catalogue, stub participants and the server, in one process.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::dev_postgres::{self, Options, PrivatePostgres};
use super::serve::StopSignal;
use super::server::{self, Server};
use crate::cli;
use crate::config::dev::SeedCatalogue;
use crate::config::server::CorsOrigins;
use crate::config::targets::{Remote, Target};
use crate::config::{Config, database, process_environment};
use crate::domain::error::{Code, Error};
use crate::domain::tier::catalogue;
use crate::participants::stub::Stub;
use crate::services::{Command, Registry};
use crate::store::error::without_number;

/// What the stubs stand for. Each has the port after the one before.
pub const STUBS: [&str; 4] = ["cache", "monitoring", "object-store", "vector-db"];
/// How long a stub takes for a change: about what the real systems do.
const STUB_LATENCY: Duration = Duration::from_millis(20);
/// How often is looked whether the private PostgreSQL is there.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_millis(500);
/// How long the view may take to load before the catalogue goes in.
const LOAD_MAX: Duration = Duration::from_mins(1);

/// Runs until SIGTERM or SIGINT.
pub async fn dev(mut config: Config) -> Result<ExitCode, super::Error> {
    config.server.insecure_no_auth = true;
    config.openfeature.take_usual_ports();
    config.server.check_exposure(false)?;
    config.openfeature.check_exposure(false)?;
    if config.server.cors_origins.is_empty() {
        // What a developer serves on this machine may call; a page from elsewhere must not, since nobody has to show
        // who they are.
        config.server.cors_origins = CorsOrigins::Listed { loopback: true, origins: Vec::new() };
    }
    server::check_ports(&config)?;
    check_own_ports(&config)?;
    let data_dir = dev_postgres::data_dir(&config.dev);
    let options = Options { port: config.dev.postgres_port, ..Options::kept_in(data_dir) };
    let postgres = Arc::new(blocking(move || PrivatePostgres::start(&options)).await??);
    let keeping = tokio::spawn(keep_alive(Arc::clone(&postgres)));
    let ran = run(&mut config, &postgres).await;
    keeping.abort();
    blocking(move || postgres.stop()).await??;
    ran
}

/// Starts the private PostgreSQL again whenever it ends by itself: somebody killed it, or the kernel did for want of memory.
async fn keep_alive(postgres: Arc<PrivatePostgres>) {
    let mut pause = KEEP_ALIVE_INTERVAL;
    loop {
        tokio::time::sleep(pause).await;
        pause = KEEP_ALIVE_INTERVAL;
        let ended = Arc::clone(&postgres);
        match blocking(move || ended.revive()).await {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => tracing::warn!("the private PostgreSQL had ended; it was started again"),
            Ok(Err(error)) => {
                tracing::error!(error = %error, "the private PostgreSQL has ended and does not start again");
                pause = KEEP_ALIVE_INTERVAL * 20;
            }
            Err(error) => tracing::error!(error = %error, "the private PostgreSQL cannot be looked after"),
        }
    }
}

async fn run(config: &mut Config, postgres: &PrivatePostgres) -> Result<ExitCode, super::Error> {
    let mut stop = StopSignal::listen()?;
    let (server, stubs) = tokio::select! {
        started = start(config, postgres) => started?,
        () = stop.told() => return Ok(ExitCode::SUCCESS),
    };
    greet(&server, postgres, &stubs)?;
    stop.told().await;
    tracing::info!("going down: open calls get time to end");
    server.stop().await;
    for (_, stub) in &stubs {
        stub.stop();
    }
    Ok(ExitCode::SUCCESS)
}

type Stubs = Vec<(&'static str, Stub)>;

async fn start(config: &mut Config, postgres: &PrivatePostgres) -> Result<(Server, Stubs), super::Error> {
    config.database.url = database::Url::parse(&postgres.url()).ok();
    let stubs = start_stubs(config, postgres.data_dir()).await?;
    let database = server::prepare(config, true).await?;
    let server = Server::start(config, database).await?;
    seed(&server.registry, config.dev.seed_catalogue).await?;
    Ok((server, stubs))
}

/// Says whether the ports of the private PostgreSQL and of the stubs can be had, before anything is made. Where there is a
/// data directory, a server that a killed predecessor left may hold the former: the start ends it.
fn check_own_ports(config: &Config) -> Result<(), super::Error> {
    if let Some(port) = config.dev.postgres_port.filter(|_| !config.dev.data_dir.exists()) {
        dev_postgres::check_port(port)?;
    }
    for (name, port) in stubs_to_start(config) {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| no_stub(name, port, &error))?;
    }
    Ok(())
}

/// The systems that the configuration does not already have, each with its stub's port.
fn stubs_to_start(config: &Config) -> Vec<(&'static str, u16)> {
    let port = |index| config.dev.stub_port.map_or(0, |first| first + index);
    let stubs = (0..).zip(STUBS).map(|(index, name)| (name, port(index)));
    stubs.filter(|(name, _)| !config.cascade.targets.contains_key(*name)).collect()
}

fn no_stub(name: &str, port: u16, error: &std::io::Error) -> super::Error {
    super::Error::Conflict(format!(
        "The stub participant `{name}` cannot start on 127.0.0.1:{port}: {}; `--dev-stub-port 0` takes free ports",
        without_number(error).to_lowercase()
    ))
}

/// Starts a stub for each system that the configuration does not already have. They keep their state beside the
/// database, which remembers what it asked of them.
async fn start_stubs(config: &mut Config, data_dir: &Path) -> Result<Stubs, super::Error> {
    let mut stubs = Stubs::new();
    for (name, port) in stubs_to_start(config) {
        let file = data_dir.join(format!("stub-{name}.jsonl"));
        let started = Stub::start_kept(STUB_LATENCY, port, &file).await;
        let stub = started.map_err(|error| no_stub(name, port, &error))?;
        let place = Remote::at(&stub.endpoint()).map(Target::Remote);
        config.cascade.targets.extend(place.map(|target| (name.to_owned(), target)));
        stubs.push((name, stub));
    }
    Ok(stubs)
}

/// Makes the tiers of a catalogue that are not there yet; what is there stays as it is.
pub(super) async fn seed(registry: &Registry, which: SeedCatalogue) -> Result<(), super::Error> {
    let text = match which {
        SeedCatalogue::Gcc => catalogue::GCC,
        SeedCatalogue::Saas => catalogue::SAAS,
        SeedCatalogue::None => return Ok(()),
    };
    let loaded = tokio::time::timeout(LOAD_MAX, registry.view.loaded()).await;
    loaded.map_err(|_| super::Error::Failed("the database did not answer in time".to_owned()))?;
    let tiers = catalogue::parse(text).map_err(|error| super::Error::Failed(error.to_string()))?;
    for tier in tiers {
        let command = Command {
            actor: "tenantry-dev".to_owned(),
            request_id: None,
            digest: [0; 32],
            validate_only: false,
        };
        match registry.create_tier(tier, &command).await {
            Err(Error { reason, .. }) if reason.code() == Code::AlreadyExists => {}
            made => drop(made?),
        }
    }
    Ok(())
}

fn greet(server: &Server, postgres: &PrivatePostgres, stubs: &[(&str, Stub)]) -> Result<(), std::io::Error> {
    let (grpc, http) = (server.grpc, server.http);
    // A stub with where it is: `tenantry stub` takes the address too.
    let address = |name: &str| {
        let stub = stubs.iter().find(|(stub, _)| *stub == name);
        stub.map_or_else(|| name.to_owned(), |(_, stub)| format!("{name} (stub, {})", stub.endpoint()))
    };
    let targets = server.registry.targets.iter().map(|target| address(target.as_str()));
    let participants = targets.collect::<Vec<_>>().join(", ");
    let openfeature = server.openfeature;
    // As it was called, so that the line can be copied.
    let tenantry = std::env::args().next().unwrap_or_else(|| "tenantry".to_owned());
    let there = server_flag(grpc, process_environment("TENANTRY_SERVER").as_deref());
    let mut out = cli::standard_output();
    writeln!(
        out,
        "\n  Tenantry is serving.\n\
         \x20   gRPC          {grpc}   (reflection is on; \x1b[31mno authentication: for this machine only\x1b[0m)\n\
         \x20   HTTP          http://{http}/readyz, /metrics, and every call by curl or from a browser\n\
         \x20   OpenFeature   {openfeature}\n\
         \x20   PostgreSQL    port {port}, data in {data}\n\
         \x20   targets       {participants}\n\
         \x20 Try:\n\
         \x20   {tenantry} demo{there}\n\
         \x20   {tenantry} tenant create acme --display-name \"Acme\" --tier gold{there}\n\
         \x20   curl -d '{{\"tenantId\":\"acme\"}}' -H 'content-type: application/json' {http}/tenantry.v1.TenantRegistry/GetTenant\n\
         \x20   grpcurl -plaintext -d '{{\"tenant_id\":\"acme\"}}' {grpc} tenantry.v1.TenantRegistry/GetTenant\n",
        port = postgres.port(),
        data = postgres.data_dir().display(),
    )?;
    out.flush()
}

/// What client commands need to find the server; `told` is where they go without it.
fn server_flag(grpc: SocketAddr, told: Option<&str>) -> String {
    let here = format!("http://{grpc}");
    let there = told.filter(|server| !server.is_empty()).unwrap_or(cli::SERVER);
    if there.trim_end_matches('/') == here { String::new() } else { format!(" --server {here}") }
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, super::Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| super::Error::Failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::server_flag;

    #[test]
    fn commands_say_where_the_server_is_unless_they_find_it_by_themselves() {
        for (grpc, told, flag) in [
            ("127.0.0.1:50051", None, ""),
            ("127.0.0.1:50051", Some(""), ""),
            ("127.0.0.1:50051", Some("http://127.0.0.1:50051/"), ""),
            ("127.0.0.1:50051", Some("https://elsewhere"), " --server http://127.0.0.1:50051"),
            ("127.0.0.1:53051", None, " --server http://127.0.0.1:53051"),
            ("127.0.0.1:53051", Some("http://127.0.0.1:53051"), ""),
            ("[::1]:50051", None, " --server http://[::1]:50051"),
        ] {
            assert_eq!(server_flag(grpc.parse().unwrap(), told), flag, "{grpc} {told:?}");
        }
    }
}

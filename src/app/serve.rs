//! `tenantry serve`, `tenantry migrate`.

use std::io::Write as _;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use super::server::{self, Server};
use crate::cli;
use crate::config::Config;
use crate::store::migrate;

/// Serves until SIGTERM or SIGINT.
pub async fn serve(config: &Config) -> Result<ExitCode, super::Error> {
    // There is no authenticator yet; the check is where it will be.
    config.server.check_exposure(false)?;
    config.openfeature.check_exposure(false)?;
    let database = server::prepare(config, false).await?;
    let server = Server::start(config, database).await?;
    tracing::info!(grpc = %server.grpc, http = %server.http, "serving");
    stop_signal().await?;
    tracing::info!("going down: open calls get time to end");
    server.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Brings the schema up to this program's version.
pub async fn migrate(config: &Config) -> Result<ExitCode, super::Error> {
    server::prepare(config, true).await?;
    writeln!(cli::standard_output(), "The schema is at version {}.", migrate::newest())?;
    Ok(ExitCode::SUCCESS)
}

/// Waits to be told to stop.
pub(super) async fn stop_signal() -> Result<(), std::io::Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

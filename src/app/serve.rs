//! `tenantry serve`, `tenantry migrate`, `tenantry restored`.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_postgres::Client;

use super::server::{self, Server};
use crate::cli;
use crate::config::Config;
use crate::store::{migrate, restored as restore};

/// Serves until SIGTERM or SIGINT.
pub async fn serve(config: &Config) -> Result<ExitCode, super::Error> {
    // There is no authenticator yet; the check is where it will be.
    config.server.check_exposure(false)?;
    config.openfeature.check_exposure(false)?;
    let database = server::prepare(config, false).await?;
    let mut stop = StopSignal::listen()?;
    let server = tokio::select! {
        started = Server::start(config, database) => started?,
        () = stop.told() => return Ok(ExitCode::SUCCESS),
    };
    tracing::info!(grpc = %server.grpc, http = %server.http, "serving");
    stop.told().await;
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

/// Has the registry know that its database was restored from a backup.
pub async fn restored(config: &Config) -> Result<ExitCode, super::Error> {
    let failed = |error: crate::store::Error| super::Error::Failed(format!("Nothing was noted: {error}"));
    let database = server::prepare(config, false).await?;
    let client = database.dedicated(|_| {}).await.map_err(failed)?;
    refuse_if_served(&client).await?;
    let restore::Noted { tenants, operations, scheduled, bulks } =
        restore::note(&client).await.map_err(failed)?;
    writeln!(
        cli::standard_output(),
        "Noted: every target of {tenants} tenants, with {operations} open operations, is looked at before anything is asked of it. \
         {scheduled} scheduled operations have FAILED and {bulks} bulk operations begin no more tenants: ask for them again where \
         they still hold. Nothing is purged within seven days but what a purge had begun with. Start the replicas."
    )?;
    Ok(ExitCode::SUCCESS)
}

/// How long a connection that was closed may still be seen.
const CLOSING: Duration = Duration::from_secs(2);

async fn refuse_if_served(client: &Client) -> Result<(), super::Error> {
    let failed = |error: crate::store::Error| super::Error::Failed(format!("Nothing was noted: {error}"));
    let began = Instant::now();
    loop {
        let restore::Served { lease_until, connections } = restore::served(client).await.map_err(failed)?;
        if let Some(until) = lease_until {
            return Err(super::Error::Conflict(format!(
                "A replica serves on this database, or did when the backup was made: it holds a lease until {until:.0}. Stop every \
                 replica, and try again then"
            )));
        }
        if connections == 0 {
            return Ok(());
        }
        if began.elapsed() > CLOSING {
            return Err(super::Error::Conflict(format!(
                "A replica serves on this database: it has {connections} connections to it. Stop every replica, and try again then"
            )));
        }
        tokio::time::sleep(CLOSING / 10).await;
    }
}

/// SIGTERM and SIGINT, from when it was made on: what comes before it is waited for is kept.
pub(super) struct StopSignal {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignal {
    /// To be made before anybody can hear that the server is there: who stops it then must not kill it.
    pub(super) fn listen() -> Result<Self, std::io::Error> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt })
    }

    /// Waits to be told to stop.
    pub(super) async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

//! The composition root: commands, wiring, shutdown.

pub mod args;
pub mod config_command;
pub mod dev;
pub mod dev_postgres;
pub mod dev_servers;
pub mod openfeature;
mod places;
pub mod real_demo;
pub mod registry;
pub mod serve;
pub mod server;
pub mod targets;
pub mod telemetry;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::CommandFactory as _;

use self::args::{Args, Command};
use crate::cli::{self, class};
use crate::config::telemetry::LogFormat;
use crate::config::{self, Config, Flags, process_environment};
use crate::domain;
use crate::domain::error::Code;

/// Why a command failed: one sentence for the person who typed it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The server did not start.
    #[error(transparent)]
    Start(#[from] server::StartError),
    /// Logs and traces.
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    /// The private PostgreSQL.
    #[error(transparent)]
    Postgres(#[from] dev_postgres::Error),
    /// A use case.
    #[error("{0}.")]
    Domain(#[from] domain::error::Error),
    /// The system.
    #[error("The system refused it: {0}.")]
    Io(#[from] io::Error),
    /// Something is in the way.
    #[error("{0}.")]
    Conflict(String),
    /// Anything else.
    #[error("{0}.")]
    Failed(String),
}

impl Error {
    /// The exit code of its class, as the client commands have them.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Telemetry(telemetry::Error::Filter(_) | telemetry::Error::Exporter { .. }) => {
                class::ARGUMENTS
            }
            Self::Start(error) => error.exit_code(),
            Self::Postgres(error) => error.exit_code(),
            Self::Domain(error) => match error.reason.code() {
                Code::InvalidArgument => class::ARGUMENTS,
                Code::Unavailable => class::NOT_IN_TIME,
                _ => class::INTERNAL,
            },
            Self::Conflict(_) => class::CONFLICT,
            Self::Telemetry(telemetry::Error::AlreadyStarted) | Self::Io(_) | Self::Failed(_) => {
                class::INTERNAL
            }
        }
    }
}

/// Runs the program; answers its exit code.
pub fn main() -> ExitCode {
    let (args, options) = Args::read().unwrap_or_else(|error| error.exit());
    run(args, &options).unwrap_or_else(|error| {
        if let Error::Io(error) = &error
            && cli::is_reader_gone(error)
        {
            return ExitCode::SUCCESS;
        }
        // Nothing can be done about a standard error that is gone.
        let _ = writeln!(anstream::stderr(), "tenantry: {error}");
        ExitCode::from(error.exit_code())
    })
}

fn run(args: Args, options: &[String]) -> Result<ExitCode, Error> {
    let connection = args.connection;
    match args.command {
        Command::Serve(settings) => {
            with_config(&settings.flags, |config| async move { serve::serve(&config).await })
        }
        Command::Dev(settings) => with_config(&settings.flags, dev::dev),
        Command::Migrate(settings) => {
            with_config(&settings.flags, |config| async move { serve::migrate(&config).await })
        }
        Command::Restored(settings) => {
            with_config(&settings.flags, |config| async move { serve::restored(&config).await })
        }
        Command::Config(settings) => {
            tell_of_mistyped_variables();
            config_command::run(&settings.flags, &mut cli::standard_output())??;
            Ok(ExitCode::SUCCESS)
        }
        Command::Demo { real: false, take_over } => {
            tell_of_mistyped_variables();
            Ok(cli::play_demo(&connection, take_over))
        }
        Command::Demo { real: true, .. } => on_runtime(real_demo::run(&mut cli::standard_output())),
        Command::Client(command) => {
            tell_of_mistyped_variables();
            Ok(cli::run(command, &connection, options))
        }
        Command::Completions { shell } => {
            // Into memory first: the generator panics where its reader has gone away (`| head`).
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "tenantry", &mut script);
            let _ = io::stdout().write_all(&script);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Loads the configuration, starts logs and traces, and runs a command on the work-stealing runtime.
fn with_config<F>(flags: &Flags, command: impl FnOnce(Config) -> F) -> Result<ExitCode, Error>
where
    F: Future<Output = Result<ExitCode, Error>>,
{
    let config = Config::load(flags, process_environment)?.config;
    on_runtime(async {
        let telemetry = telemetry::start(&telemetry_options(&config.telemetry))?;
        for sentence in mistyped_variables() {
            tracing::warn!("{sentence}");
        }
        let ended = command(config).await;
        telemetry.flush().await;
        ended
    })
}

/// What people are told of variables that look like settings and are none.
fn mistyped_variables() -> impl Iterator<Item = String> {
    config::unknown_variables(config::process_variables()).into_iter().map(|name| {
        let name = name.escape_debug();
        format!(
            "the environment variable {name} is no setting: `tenantry config` lists those of servers, and commands \
             read TENANTRY_SERVER and TENANTRY_CA_FILE"
        )
    })
}

/// Tells the user of a client command, which keeps no log.
fn tell_of_mistyped_variables() {
    mistyped_variables().for_each(|sentence| cli::warn(&sentence));
}

fn on_runtime(work: impl Future<Output = Result<ExitCode, Error>>) -> Result<ExitCode, Error> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

fn telemetry_options(settings: &config::Telemetry) -> telemetry::Options {
    telemetry::Options {
        format: match settings.log_format {
            LogFormat::Auto => telemetry::Format::Auto,
            LogFormat::Pretty => telemetry::Format::Pretty,
            LogFormat::Json => telemetry::Format::Json,
        },
        filter: settings.log_filter.clone(),
        otlp_endpoint: settings.otlp_endpoint.clone(),
        sample_ratio: 1.0,
    }
}

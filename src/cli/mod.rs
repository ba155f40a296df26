//! The command line: a client of the public API, nothing private.
//!
//! Requests and answers are the API's own messages in their JSON form, found by name in the descriptors. What a script
//! reads with `-o json` is therefore what the API says, but that numbers of 64 bits are numbers, where the API's JSON has
//! them in quotes.

mod bulk;
mod client;
mod contract;
pub mod demo;
mod escape;
mod exit;
mod flag;
mod health;
mod moves;
mod number;
mod operation;
mod output;
mod phrases;
mod plan;
mod progress;
mod stub;
mod target;
mod tenant;
mod tier;
mod typed;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

pub use self::client::Client;
pub use self::exit::{Failure, class};
pub use self::output::{Format, is_reader_gone, standard_output, warn};

/// Where a server is looked for if nobody says where it is.
pub const SERVER: &str = "http://127.0.0.1:50051";

/// Exit codes, for `--help`.
pub const EXIT_CODES: &str = "Exit codes: 0 done · 1 internal error · 2 invalid arguments · 3 not found · 4 conflict or \
     illegal state · 5 not allowed · 6 not reached, or not done, in time · 7 the operation did not succeed · 8 there are differences (--exit-code)";

/// What every client command takes.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// The server; with TLS where it begins with https.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "TENANTRY_SERVER",
        default_value = SERVER
    )]
    pub server: String,
    /// Trust the authorities in this PEM file, and not the system's; for https.
    #[arg(long, global = true, value_name = "FILE", env = "TENANTRY_CA_FILE")]
    pub ca_file: Option<PathBuf>,
    /// What to print: a table for people, or JSON or YAML for scripts.
    #[arg(long, short, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// Longest time the command may take, in seconds. Not given: 30 for each call, and as long as it takes for what is
    /// followed to its end.
    #[arg(long, global = true, value_name = "SECONDS", value_parser = number::seconds)]
    pub timeout: Option<Duration>,
    /// A UUID that makes the change safe to repeat for 24 hours.
    #[arg(long, global = true, value_name = "UUID")]
    pub request_id: Option<String>,
}

/// Every client command.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Make, read, change and move tenants.
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// Make, read and change tiers; import a catalogue.
    #[command(subcommand)]
    Tier(tier::Command),
    /// Make, change and evaluate feature flags.
    #[command(subcommand)]
    Flag(flag::Command),
    /// Follow changes of tenants' states.
    #[command(subcommand)]
    Operation(operation::Command),
    /// Ask a verb of many tenants at once, and follow what becomes of them.
    #[command(subcommand)]
    Bulk(bulk::Command),
    /// See the target systems; pause one, or have it used again.
    #[command(subcommand)]
    Target(target::Command),
    /// Report and read tenants' health.
    #[command(subcommand)]
    Health(health::Command),
    /// See what the stub participants of `tenantry dev` hold, and make them misbehave.
    #[command(subcommand)]
    Stub(stub::Command),
    /// Count tenants by status, tier, region and business unit.
    Stats,
}

/// Plays the demo against a server, to its exit code; with `take_over` also with things that it did not make.
pub fn play_demo(connection: &Connection, take_over: bool) -> ExitCode {
    exit::finish(with_client(connection, async |client| {
        demo::run(&client, &mut output::stdout(), take_over).await
    }))
}

fn with_client(
    connection: &Connection,
    command: impl AsyncFnOnce(Client) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (server, ca_file) = (&connection.server, connection.ca_file.as_deref());
        let client = Client::connect(server, ca_file, connection.timeout).await?;
        command(client).await
    })
}

/// Runs a client command to its exit code; `options` are those that it can be given, by which what is refused is told.
pub fn run(command: Command, connection: &Connection, options: &[String]) -> ExitCode {
    // A stub is a server of its own, somewhere else.
    let server = match &command {
        Command::Stub(command) => command.server(),
        _ => Ok(connection.server.clone()),
    };
    let connection = match server {
        Ok(server) => &Connection { server, ..connection.clone() },
        Err(failure) => return exit::finish(Err(failure)),
    };
    let ran = with_client(connection, async |client| {
        let context = Context { client, connection };
        match command {
            Command::Tenant(command) => tenant::run(command, &context).await,
            Command::Tier(command) => tier::run(command, &context).await,
            Command::Flag(command) => flag::run(command, &context).await,
            Command::Operation(command) => operation::run(command, &context).await,
            Command::Bulk(command) => bulk::run(command, &context).await,
            Command::Target(command) => target::run(command, &context).await,
            Command::Health(command) => health::run(command, &context).await,
            Command::Stub(command) => stub::run(command, &context).await,
            Command::Stats => health::stats(&context).await,
        }
    });
    exit::finish(ran.map_err(|failure| {
        let sentence = typed::typed(failure.message(), options);
        failure.reworded(sentence)
    }))
}

/// What a command runs with.
pub(crate) struct Context<'a> {
    client: Client,
    connection: &'a Connection,
}

impl Context<'_> {
    /// Calls a changing method, with the request id where one was given.
    async fn change(
        &self,
        method: &str,
        mut request: serde_json::Value,
    ) -> Result<serde_json::Value, Failure> {
        if let Some(request_id) = &self.connection.request_id {
            request["requestId"] = request_id.as_str().into();
        }
        self.client.call(method, request).await
    }
}

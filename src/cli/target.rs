//! `tenantry target …`

use clap::Subcommand;
use serde_json::json;

use super::output::{Column, show, show_list};
use super::{Context, Failure};

/// Commands about the systems that follow tenants' states.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// List them: whether each is tried, and how many operations wait for it.
    List,
    /// Take one out of use for every tenant: operations that need it wait.
    Pause {
        /// Which.
        target: String,
        /// Why, for people and for the log.
        #[arg(long)]
        reason: String,
    },
    /// Have a paused one used again.
    Resume {
        /// Which.
        target: String,
        /// Why, for people and for the log.
        #[arg(long)]
        reason: Option<String>,
    },
}

const COLUMNS: [Column; 8] = [
    ("TARGET", "target"),
    ("PAUSED", "paused"),
    ("CIRCUIT", "circuit"),
    ("IN FLIGHT", "inFlight"),
    ("WAITING", "waitingOperations"),
    ("FAILING", "failingOperations"),
    ("LAST ERROR AT", "lastErrorTime"),
    ("LAST ERROR", "lastError"),
];

pub(super) async fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    let output = context.connection.output;
    match command {
        Command::List => {
            let response = context.client.call("Lifecycle/ListTargets", json!({ "pageSize": 1_000 })).await?;
            show_list(output, &response, "targets", &COLUMNS)
        }
        Command::Pause { target, reason } => {
            let request = json!({ "target": target, "reason": reason });
            show(output, &context.change("Lifecycle/PauseTarget", request).await?)
        }
        Command::Resume { target, reason } => {
            let request = json!({ "target": target, "reason": reason.unwrap_or_default() });
            show(output, &context.change("Lifecycle/ResumeTarget", request).await?)
        }
    }
}

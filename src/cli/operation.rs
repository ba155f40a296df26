//! `tenantry operation …`

use clap::Subcommand;
use serde_json::json;

use super::output::{Column, Format, show, show_list};
use super::{Context, Failure, progress};

/// Commands about changes of tenants' states.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Show an operation.
    Get {
        /// Which.
        operation_id: String,
    },
    /// List operations, newest first.
    List {
        /// Only this tenant's.
        #[arg(long)]
        tenant: Option<String>,
        /// Only in this state, for example `needs_operator`.
        #[arg(long)]
        state: Option<String>,
        /// How many, 1 to 1,000.
        #[arg(long, default_value_t = 50)]
        page_size: u32,
        /// Where the page before ended.
        #[arg(long)]
        page_token: Option<String>,
    },
    /// Follow an operation to its end.
    Watch {
        /// Which.
        operation_id: String,
    },
}

const COLUMNS: [Column; 6] = [
    ("ID", "operationId"),
    ("TENANT", "tenantId"),
    ("VERB", "verb"),
    ("STATE", "state"),
    ("BEGUN", "createTime"),
    ("ERROR", "error"),
];

pub(super) async fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    let (client, output) = (&context.client, context.connection.output);
    match command {
        Command::Get { operation_id } => show(
            output,
            &client.call("Lifecycle/GetOperation", json!({ "operationId": operation_id })).await?,
        ),
        Command::List { tenant, state, page_size, page_token } => {
            let state = state.map_or_else(
                || "OPERATION_STATE_UNSPECIFIED".to_owned(),
                |state| format!("OPERATION_STATE_{}", state.to_uppercase().replace('-', "_")),
            );
            let request = json!({
                "tenantId": tenant.unwrap_or_default(),
                "state": state,
                "pageSize": page_size,
                "pageToken": page_token.unwrap_or_default(),
            });
            show_list(
                output,
                &client.call("Lifecycle/ListOperations", request).await?,
                "operations",
                &COLUMNS,
            )
        }
        Command::Watch { operation_id } => {
            let ended = progress::follow(client, &operation_id, output != Format::Table).await?;
            if output != Format::Table {
                show(output, &ended)?;
            }
            progress::verdict(&ended)
        }
    }
}

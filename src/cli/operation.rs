//! `tenantry operation …`

use clap::Subcommand;
use serde_json::{Value, json};

use super::contract::enum_value;
use super::output::{Column, Format, show_list, show_with_parts, text};
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
        /// Only in this state, for example `needs-operator`.
        #[arg(long, value_parser = |word: &str| enum_value("OperationState", word))]
        state: Option<String>,
        /// For example `stuck = true`, or `open = true AND failing_target:"cache"`.
        #[arg(long)]
        filter: Option<String>,
        /// How many, 1 to 1,000.
        #[arg(long, default_value_t = 50)]
        page_size: u32,
        /// Where the page before ended.
        #[arg(long)]
        page_token: Option<String>,
    },
    /// Follow an operation to its end, every target of it.
    Watch {
        /// Which.
        operation_id: String,
    },
    /// Have a target of an open operation tried again at once. What has FAILED is asked for anew: by the same verb, and
    /// after a failed provisioning by `tenant activate`.
    Retry {
        /// Which operation.
        operation_id: String,
        /// Which target.
        target: String,
        /// The operation counts although the target, or another one of the tenant, holds a newer generation, as after a restore of the
        /// registry.
        #[arg(long, requires = "reason")]
        adopt: bool,
        /// Why it is to count there, for people and for the log: only with --adopt, which needs it.
        #[arg(long, requires = "adopt")]
        reason: Option<String>,
        /// Check all, change nothing: show how it would be.
        #[arg(long)]
        validate_only: bool,
        /// Do not wait for the end.
        #[arg(long)]
        no_wait: bool,
    },
    /// Have an open operation go on without a target.
    Skip {
        /// Which operation.
        operation_id: String,
        /// Which target.
        target: String,
        /// Why, for people and for the log.
        #[arg(long)]
        reason: String,
        /// Check all, change nothing: show how it would be.
        #[arg(long)]
        validate_only: bool,
        /// Do not wait for the end.
        #[arg(long)]
        no_wait: bool,
    },
    /// Take an operation back: a scheduled one never begins, an open one brings every target back.
    Abort {
        /// Which operation.
        operation_id: String,
        /// Why, for people and for the log.
        #[arg(long)]
        reason: Option<String>,
        /// Check all, change nothing: show how it would be.
        #[arg(long)]
        validate_only: bool,
        /// Do not wait for the end.
        #[arg(long)]
        no_wait: bool,
    },
}

const COLUMNS: [Column; 7] = [
    ("ID", "operationId"),
    ("TENANT", "tenantId"),
    ("VERB", "verb"),
    ("STATE", "state"),
    ("ASKED FOR", "createTime"),
    ("SCHEDULED FOR", "scheduleTime"),
    ("ERROR", "error"),
];

/// What is shown of each target.
const TARGETS: [Column; 11] = [
    ("TARGET", "target"),
    ("TO", "desired"),
    ("STATE", "state"),
    ("SEEN", "observed"),
    ("KNOWN BY", "verification"),
    ("SEEN AT", "verifyTime"),
    ("ATTEMPTS", "attempts"),
    ("NEXT ATTEMPT", "nextAttemptTime"),
    ("WAITS FOR", "hold"),
    ("SKIPPED", "skipReason"),
    ("LAST ERROR", "lastError"),
];

/// Writes an operation.
pub(super) fn show_operation(output: Format, operation: &Value) -> Result<(), Failure> {
    show_with_parts(output, operation, "targets", &TARGETS)
}

/// As much of an error as a row of a list has room for; `operation get` shows all of it.
const ERROR_SHOWN_MAX: usize = 100;

/// Puts what a target said last into the column of an operation that goes on trying, and leaves of a long error its beginning.
fn tell_what_holds_up(response: &mut Value) {
    for operation in response["operations"].as_array_mut().into_iter().flatten() {
        let targets = operation["targets"].as_array();
        let retrying = targets.into_iter().flatten().find(|step| step["state"] == "TARGET_STATE_RETRYING");
        if let (true, Some(step)) = (text(&operation["error"]).is_empty(), retrying) {
            operation["error"] = format!("{}: {}", text(&step["target"]), text(&step["lastError"])).into();
        }
        let error = text(&operation["error"]);
        if error.chars().count() > ERROR_SHOWN_MAX {
            let shown: String = error.chars().take(ERROR_SHOWN_MAX - 1).collect();
            operation["error"] = format!("{}…", shown.trim_end()).into();
        }
    }
}

pub(super) async fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    let (client, output) = (&context.client, context.connection.output);
    match command {
        Command::Get { operation_id } => show_operation(
            output,
            &client.call("Lifecycle/GetOperation", json!({ "operationId": operation_id })).await?,
        ),
        Command::List { tenant, state, filter, page_size, page_token } => {
            let state = state.unwrap_or_else(|| "OPERATION_STATE_UNSPECIFIED".to_owned());
            let request = json!({
                "tenantId": tenant.unwrap_or_default(),
                "state": state,
                "filter": filter.unwrap_or_default(),
                "pageSize": page_size,
                "pageToken": page_token.unwrap_or_default(),
            });
            let mut response = client.call("Lifecycle/ListOperations", request).await?;
            if output == Format::Table {
                tell_what_holds_up(&mut response);
            }
            show_list(output, &response, "operations", &COLUMNS)
        }
        Command::Watch { operation_id } => {
            let ended = progress::follow_to_end(client, &operation_id, output != Format::Table).await?;
            if output != Format::Table {
                show_operation(output, &ended)?;
            }
            progress::verdict(&ended)
        }
        Command::Retry { operation_id, target, adopt, reason, validate_only, no_wait } => {
            let request = json!({
                "operationId": operation_id,
                "target": target,
                "adopt": adopt,
                "reason": reason.unwrap_or_default(),
                "validateOnly": validate_only,
            });
            intervene(context, "RetryTarget", request, no_wait).await
        }
        Command::Skip { operation_id, target, reason, validate_only, no_wait } => {
            let request = json!({
                "operationId": operation_id,
                "target": target,
                "reason": reason,
                "validateOnly": validate_only,
            });
            intervene(context, "SkipTarget", request, no_wait).await
        }
        Command::Abort { operation_id, reason, validate_only, no_wait } => {
            let request = json!({
                "operationId": operation_id,
                "reason": reason.unwrap_or_default(),
                "validateOnly": validate_only,
            });
            intervene(context, "AbortOperation", request, no_wait).await
        }
    }
}

/// Intervenes in an operation and, unless told not to, follows it from there to its end.
async fn intervene(
    context: &Context<'_>,
    method: &str,
    request: Value,
    no_wait: bool,
) -> Result<(), Failure> {
    let output = context.connection.output;
    let aborted = text(&request["operationId"]);
    let only_shown = request["validateOnly"] == true;
    let operation = context.change(&format!("Lifecycle/{method}"), request).await?;
    if only_shown {
        return show_operation(output, &operation);
    }
    let id = operation["operationId"].as_str().unwrap_or_default();
    let ended = if no_wait {
        operation.clone()
    } else {
        progress::follow(&context.client, id, output != Format::Table).await?
    };
    show_operation(output, &ended)?;
    if method == "AbortOperation" {
        super::moves::tell_what_was_scheduled(context, &ended, &aborted).await?;
    }
    if no_wait {
        return Ok(());
    }
    if let Some(why) = progress::held_up(&ended) {
        return Err(Failure::unsuccessful(format!("this is recorded; {why}")));
    }
    match ended["state"].as_str() {
        // What was asked for.
        Some("OPERATION_STATE_CANCELLED") if method == "AbortOperation" => Ok(()),
        _ => progress::verdict(&ended),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_a_list_has_the_beginning_of_a_long_error_and_the_whole_of_a_short_one() {
        let long = "cache failed ".repeat(40);
        let retrying = json!({ "target": "cache", "state": "TARGET_STATE_RETRYING", "lastError": long });
        let mut response = json!({ "operations": [
            { "error": "brief", "targets": [] },
            { "error": long, "targets": [] },
            { "error": "", "targets": [retrying] },
        ] });
        tell_what_holds_up(&mut response);
        let shown: Vec<String> =
            response["operations"].as_array().unwrap().iter().map(|row| text(&row["error"])).collect();
        assert_eq!(shown[0], "brief");
        assert!(shown[1].starts_with("cache failed cache") && shown[1].ends_with('…'), "{}", shown[1]);
        assert!(shown[2].starts_with("cache: cache failed") && shown[2].ends_with('…'), "{}", shown[2]);
        assert!(shown.iter().all(|error| error.chars().count() <= ERROR_SHOWN_MAX), "{shown:?}");
    }
}

//! `tenantry bulk …`

use std::collections::HashSet;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, value_parser};
use serde_json::{Value, json};

use super::contract::enum_name;
use super::output::{Column, Format, print, show, show_list, text};
use super::{Context, Failure};

/// Commands about verbs on many tenants.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Ask a verb of the tenants that match a filter and can take it, and follow it to the end. Suspend, archive and delete fail (7)
    /// where one that matches has more access and cannot take it, or is there already and scheduled to be let in again.
    Start(Start),
    /// Show a bulk operation. Its tenants: `tenantry operation list --filter 'bulk_id = "…"'`.
    Get {
        /// Which.
        bulk_operation_id: String,
    },
    /// List bulk operations, newest first.
    List {
        /// How many, 1 to 1,000.
        #[arg(long, default_value_t = 50)]
        page_size: u32,
        /// Where the page before ended.
        #[arg(long)]
        page_token: Option<String>,
    },
    /// Follow a bulk operation to its end.
    Watch {
        /// Which.
        bulk_operation_id: String,
    },
    /// Begin no more tenants; those under way go on to their end.
    Abort {
        /// Which.
        bulk_operation_id: String,
    },
}

/// A verb on many tenants.
#[derive(Debug, Clone, Args)]
pub struct Start {
    /// One of activate, suspend, start-migration, finish-migration, archive, delete, undelete, change-tier, repair.
    #[arg(value_parser = verb)]
    verb: String,
    /// Which tenants, for example `tier = "gold" AND region = "eu-*"`.
    #[arg(long)]
    filter: String,
    /// Why, for people and for the log.
    #[arg(long)]
    reason: Option<String>,
    /// Operations at once, 1 to 1,000.
    #[arg(long, default_value_t = 20, value_parser = value_parser!(u32).range(1..=1_000))]
    concurrent_max: u32,
    /// For change-tier: the new tier.
    #[arg(long)]
    tier: Option<String>,
    /// For start-migration: the region to move to.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    to_region: Option<String>,
    /// For start-migration: the part of the region.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    to_cell: Option<String>,
    /// For finish-migration: stay locked out instead of being let in.
    #[arg(long)]
    suspended: bool,
    /// Only say how many tenants there are.
    #[arg(long)]
    validate_only: bool,
    /// Do not wait for the end.
    #[arg(long)]
    no_wait: bool,
}

/// What can be asked of many tenants.
const VERBS: [&str; 9] = [
    "activate",
    "suspend",
    "start-migration",
    "finish-migration",
    "archive",
    "delete",
    "undelete",
    "change-tier",
    "repair",
];

/// A verb as requests have it.
fn verb(text: &str) -> Result<String, String> {
    let verb = text.to_lowercase().replace('_', "-");
    if VERBS.contains(&verb.as_str()) {
        return Ok(verb.to_uppercase().replace('-', "_"));
    }
    Err(format!("must be one of {}", VERBS.join(", ")))
}

/// At most so many tenants are told of that something lets in later.
const LATER_TOLD: usize = 5;
const COLUMNS: [Column; 10] = [
    ("ID", "bulkOperationId"),
    ("VERB", "verb"),
    ("STATE", "state"),
    ("TOTAL", "total"),
    ("WAITING", "waiting"),
    ("RUNNING", "running"),
    ("NEED AN OPERATOR", "needsOperator"),
    ("SUCCEEDED", "succeeded"),
    ("FAILED", "failed"),
    ("OVERRULED", "overruled"),
];

pub(super) async fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    let output = context.connection.output;
    match command {
        Command::Start(given) => start(context, given).await,
        Command::Get { bulk_operation_id } => {
            let request = json!({ "bulkOperationId": bulk_operation_id });
            show(output, &context.client.call("Lifecycle/GetBulkOperation", request).await?)
        }
        Command::List { page_size, page_token } => {
            let request = json!({ "pageSize": page_size, "pageToken": page_token.unwrap_or_default() });
            let response = context.client.call("Lifecycle/ListBulkOperations", request).await?;
            show_list(output, &response, "bulkOperations", &COLUMNS)
        }
        Command::Watch { bulk_operation_id } => follow_and_show(context, &bulk_operation_id).await,
        Command::Abort { bulk_operation_id } => {
            let request = json!({ "bulkOperationId": bulk_operation_id });
            show(output, &context.change("Lifecycle/AbortBulkOperation", request).await?)
        }
    }
}

async fn start(context: &Context<'_>, given: Start) -> Result<(), Failure> {
    let verb = given.verb;
    let request = json!({
        "filter": given.filter,
        "verb": format!("OPERATION_VERB_{verb}"),
        "reason": given.reason.unwrap_or_default(),
        "concurrentMax": given.concurrent_max,
        "tier": given.tier.unwrap_or_default(),
        "toRegion": given.to_region.unwrap_or_default(),
        "toCell": given.to_cell.unwrap_or_default(),
        "toStatus": if given.suspended { "TENANT_STATUS_SUSPENDED" } else { "TENANT_STATUS_UNSPECIFIED" },
        "validateOnly": given.validate_only,
    });
    let bulk = context.change("Lifecycle/StartBulkOperation", request).await?;
    let Some(id) = bulk["bulkOperationId"].as_str().filter(|_| !given.no_wait && !given.validate_only) else {
        return show(context.connection.output, &bulk);
    };
    if bulk["total"] == 0 && context.connection.output == Format::Table {
        return print("no tenant that matches can take it: nothing was done\n");
    }
    follow_and_show(context, id).await
}

async fn follow_and_show(context: &Context<'_>, bulk_operation_id: &str) -> Result<(), Failure> {
    let output = context.connection.output;
    let last = follow(context, bulk_operation_id).await?;
    if output != Format::Table {
        show(output, &last)?;
    }
    tell_who_is_let_in_later(context, &last).await?;
    verdict(&last)
}

/// Says which tenants of a bulk suspension are let in later: what was scheduled before stays scheduled.
pub(super) async fn tell_who_is_let_in_later(context: &Context<'_>, bulk: &Value) -> Result<(), Failure> {
    if context.connection.output != Format::Table || bulk["verb"] != "OPERATION_VERB_SUSPEND" {
        return Ok(());
    }
    let list = async |request| {
        // What was asked for is done, whatever comes of this.
        let listed = context.client.list("Lifecycle/ListOperations", request, "operations").await;
        listed.ok().and_then(|mut listed| listed["operations"].as_array_mut().map(std::mem::take))
    };
    let scheduled = json!({ "state": "OPERATION_STATE_SCHEDULED", "filter": "verb = ACTIVATE" });
    let mut later = list(scheduled).await.unwrap_or_default();
    if later.is_empty() {
        return Ok(());
    }
    let members = json!({ "filter": format!("bulk_id = \"{}\"", text(&bulk["bulkOperationId"])) });
    let members = list(members).await.unwrap_or_default();
    let members: HashSet<&str> = members.iter().filter_map(|member| member["tenantId"].as_str()).collect();
    later.retain(|operation| operation["tenantId"].as_str().is_some_and(|id| members.contains(id)));
    let mut told: Vec<String> = later.iter().take(LATER_TOLD).map(let_in).collect();
    if later.len() > LATER_TOLD {
        let more = later.len() - LATER_TOLD;
        told.push(format!("and {more} more: tenantry operation list --state scheduled"));
    }
    let are = if later.len() == 1 { "is" } else { "are" };
    if told.is_empty() {
        return Ok(());
    }
    print(&format!("note: {} of its tenants {are} let in later: {}\n", later.len(), told.join(", ")))
}

/// `acme at 2026-12-01T03:00:00Z (tenantry operation abort …)`
fn let_in(operation: &Value) -> String {
    format!(
        "{} at {} (tenantry operation abort {})",
        text(&operation["tenantId"]),
        text(&operation["scheduleTime"]),
        text(&operation["operationId"])
    )
}

/// Tells how many of the tenants are done, until all are, or until all that are not need an operator.
pub(super) async fn follow(context: &Context<'_>, bulk_operation_id: &str) -> Result<Value, Failure> {
    let output = context.connection.output;
    let request = json!({ "bulkOperationId": bulk_operation_id });
    let mut watch = context.client.watch("Lifecycle/WatchBulkOperation", request).await?;
    let mut is_told = false;
    let mut last = Value::Null;
    let goes_on = format!("it goes on by itself: tenantry bulk watch {bulk_operation_id}");
    while let Some(bulk) = watch.next().await.map_err(|failure| failure.unless_seen(&goes_on))? {
        if output == Format::Table {
            print(&format!("  {}\n", line(&bulk)))?;
            if !is_told && bulk["needsOperator"] != 0 {
                print(&format!("  which need an operator: {}\n", members(bulk_operation_id)))?;
                is_told = true;
            }
        }
        last = bulk;
        if needs_somebody(&last) {
            break;
        }
    }
    Ok(last)
}

/// Where the tenants of a bulk operation are listed.
fn members(bulk_operation_id: &str) -> String {
    format!("tenantry operation list --filter 'bulk_id = \"{bulk_operation_id}\"'")
}

/// Says how a bulk operation ended, or stopped; anything but that all were moved is a failure.
pub(super) fn verdict(last: &Value) -> Result<(), Failure> {
    let bulk_operation_id = text(&last["bulkOperationId"]);
    if needs_somebody(last) {
        return Err(Failure::unsuccessful(format!(
            "bulk operation {bulk_operation_id} does not go on by itself: {} of {} tenants need an operator: {}{}{}",
            text(&last["needsOperator"]),
            text(&last["total"]),
            text(&last["error"]),
            if text(&last["error"]).is_empty() { "" } else { "; those that have begun: " },
            members(&bulk_operation_id)
        )));
    }
    if last["state"] == "BULK_OPERATION_STATE_SUCCEEDED" {
        return Ok(());
    }
    let state = enum_name(last["state"].as_str().unwrap_or_default()).to_owned();
    Err(Failure::unsuccessful(format!(
        "bulk operation {bulk_operation_id} is {state}: {} of {} tenants were not moved: {}",
        text(&last["failed"]),
        text(&last["total"]),
        text(&last["error"])
    )))
}

/// Nothing moves until somebody does something.
fn needs_somebody(bulk: &Value) -> bool {
    bulk["needsOperator"] != 0 && bulk["running"] == 0 && bulk["waiting"] == 0
}

fn line(bulk: &Value) -> String {
    let count = |name: &str| text(&bulk[name]);
    format!(
        "{} {}: {} of {} done, {} failed{}, {} running, {} wait, {} need an operator{}{}",
        text(&bulk["verb"]),
        text(&bulk["state"]),
        count("succeeded"),
        count("total"),
        count("failed"),
        if bulk["overruled"] == 0 { String::new() } else { format!(" ({} overruled)", count("overruled")) },
        count("running"),
        count("waiting"),
        count("needsOperator"),
        if bulk["error"].as_str().unwrap_or_default().is_empty() { "" } else { "; " },
        count("error")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_is_one_that_can_be_asked_of_many_however_it_is_written() {
        assert_eq!(verb("CHANGE_TIER").as_deref(), Ok("CHANGE_TIER"));
        assert!(verb("purge").unwrap_err().contains("must be one of activate, suspend, "));
    }
}

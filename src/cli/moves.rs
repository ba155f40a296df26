//! Moves of tenants: what all have in common, and what only some have.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum, value_parser};
use serde_json::{Value, json};

use super::number::time;
use super::operation::show_operation;
use super::output::{Format, print, show, text};
use super::tenant::get;
use super::{Context, Failure, progress};

/// Longest retention or time to undelete, in days: what the contract takes.
const DAYS_MAX: i64 = 36_525;

/// A move of a tenant.
#[derive(Debug, Clone, Args)]
pub struct Move {
    /// Which tenant.
    tenant_id: String,
    /// Why, for people and for the log.
    #[arg(long)]
    reason: Option<String>,
    /// Refuse if the tenant changed since.
    #[arg(long)]
    etag: Option<String>,
    /// Check all, change nothing: show what would change in each target.
    #[arg(long)]
    validate_only: bool,
    /// Do not wait for the end.
    #[arg(long)]
    no_wait: bool,
    /// When to begin, for example 2026-12-01T03:00:00Z; at once where not given.
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<String>,
    /// What becomes of the tenants below it.
    #[arg(long, value_enum)]
    children: Option<Children>,
}

/// What becomes of the tenants below one that moves.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Children {
    /// They stay as they are.
    Ignore,
    /// Refuse while one of them has more access.
    Block,
    /// The same is asked of each of them.
    Follow,
}

/// Letting in.
#[derive(Debug, Clone, Args)]
pub struct Activate {
    #[command(flatten)]
    to: Move,
    /// A target to go without, for one that refuses the tenant for good; needs --reason. May be given again.
    #[arg(long, value_name = "TARGET", requires = "reason")]
    skip: Vec<String>,
}

/// The begin of a migration.
#[derive(Debug, Clone, Args)]
pub struct Start {
    #[command(flatten)]
    to: Move,
    /// The region it moves to.
    #[arg(long, visible_alias = "region", value_parser = NonEmptyStringValueParser::new())]
    to_region: Option<String>,
    /// The part of the region it moves to.
    #[arg(long, visible_alias = "cell", value_parser = NonEmptyStringValueParser::new())]
    to_cell: Option<String>,
}

/// The end of a migration.
#[derive(Debug, Clone, Args)]
pub struct Finish {
    #[command(flatten)]
    to: Move,
    /// Stay locked out instead of being let in.
    #[arg(long)]
    suspended: bool,
}

/// Keeping for retention.
#[derive(Debug, Clone, Args)]
pub struct Archive {
    #[command(flatten)]
    to: Move,
    /// For how many days deletion is refused; of a tenant that is archived already, from now on.
    #[arg(long, value_name = "DAYS", value_parser = value_parser!(u32).range(..=DAYS_MAX))]
    retention_days: Option<u32>,
    /// The retention of an archived tenant may end before the one in force.
    #[arg(long, requires = "retention_days")]
    shorten_retention: bool,
}

/// Deletion.
#[derive(Debug, Clone, Args)]
pub struct Delete {
    #[command(flatten)]
    to: Move,
    /// For how many days it can be undeleted before its data is removed for good, 0 for none; 30 where not given.
    #[arg(long, value_name = "DAYS", value_parser = value_parser!(u32).range(..=DAYS_MAX))]
    undelete_days: Option<u32>,
}

/// A change of tier.
#[derive(Debug, Clone, Args)]
pub struct Tier {
    #[command(flatten)]
    to: Move,
    /// The new tier.
    #[arg(long)]
    tier: String,
}

/// At most so many scheduled moves are told of.
const SCHEDULED_TOLD: u32 = 5;
/// Among so many of the newest operations of a tenant is looked for the one that moved it.
const MOVES_SEEN: u32 = 50;
pub(super) async fn activate(context: &Context<'_>, activate: Activate) -> Result<(), Failure> {
    let tenant_id = activate.to.tenant_id.clone();
    let note = async || {
        let tenant = get(context, &tenant_id).await.unwrap_or_default();
        tell_of_parent(context, &tenant).await
    };
    start_and(context, "ActivateTenant", activate.to, json!({ "skipTargets": activate.skip }), note).await
}

pub(super) async fn start_migration(context: &Context<'_>, start: Start) -> Result<(), Failure> {
    let place = json!({
        "toRegion": start.to_region.unwrap_or_default(),
        "toCell": start.to_cell.unwrap_or_default(),
    });
    if context.connection.output == Format::Table && place["toRegion"] != "" {
        tell_where_its_data_must_stay(context, &start.to.tenant_id).await?;
    }
    self::start(context, "StartMigration", start.to, place).await
}

/// Reminds whoever moves a tenant to another region of where its data must stay: the registry cannot tell which regions that allows.
async fn tell_where_its_data_must_stay(context: &Context<'_>, tenant_id: &str) -> Result<(), Failure> {
    // A tenant that cannot be read is for the call that moves it to tell of.
    let Ok(tenant) = get(context, tenant_id).await else { return Ok(()) };
    let residency = text(&tenant["dataResidency"]);
    if residency.is_empty() {
        return Ok(());
    }
    super::output::print(&format!(
        "note: its data must stay in {residency} (data residency); whether that allows the new region is not checked\n"
    ))
}

pub(super) async fn finish_migration(context: &Context<'_>, finish: Finish) -> Result<(), Failure> {
    let end = if finish.suspended { "TENANT_STATUS_SUSPENDED" } else { "TENANT_STATUS_ACTIVE" };
    start(context, "FinishMigration", finish.to, json!({ "toStatus": end })).await
}

pub(super) async fn delete(context: &Context<'_>, delete: Delete) -> Result<(), Failure> {
    let (tenant_id, days) = (delete.to.tenant_id.clone(), delete.undelete_days);
    let note = async || tell_what_becomes_of_data(context, &tenant_id, days).await;
    start_and(context, "DeleteTenant", delete.to, json!({ "undeletePeriod": days.map(seconds_of) }), note)
        .await
}

/// Says when the data of a tenant that is being deleted goes: a purge waits for as long as others name the tenant as their parent.
async fn tell_what_becomes_of_data(
    context: &Context<'_>,
    tenant_id: &str,
    days: Option<u32>,
) -> Result<(), Failure> {
    let filter = format!("parent = \"{tenant_id}\"");
    let children = json!({ "filter": filter, "showDeleted": true, "pageSize": 1 });
    let listed = context.client.call("TenantRegistry/ListTenants", children).await;
    // Where that cannot be told, what is said is true with and without children.
    let held = listed.map_or(true, |listed| listed["totalSize"] != 0);
    let once = if held { " as soon as no other tenant names it as its parent" } else { "" };
    print(&match (days, held) {
        (Some(0), true) => {
            format!("once it is DELETED, nothing brings it back; its data is removed for good{once}\n")
        }
        (Some(0), false) => {
            "once it is DELETED, its data is removed for good at once: nothing brings it back\n".to_owned()
        }
        (days, _) => format!(
            "it can be undeleted for {} days, then its data is removed for good{once}\n",
            days.unwrap_or(30)
        ),
    })
}

/// Says of a tenant that is let in where its parent is not: it does not follow that by itself.
pub(super) async fn tell_of_parent(context: &Context<'_>, tenant: &Value) -> Result<(), Failure> {
    let parent = text(&tenant["parent"]);
    if parent.is_empty() {
        return Ok(());
    }
    // What was asked for is done, whatever comes of this.
    let Ok(above) = get(context, &parent).await else { return Ok(()) };
    match text(&above["status"]).as_str() {
        "ACTIVE" => Ok(()),
        status => print(&format!("note: its parent {parent} is {status}\n")),
    }
}

/// Days as JSON has a duration.
fn seconds_of(days: u32) -> String {
    format!("{}s", u64::from(days) * 24 * 3_600)
}

pub(super) async fn archive(context: &Context<'_>, archive: Archive) -> Result<(), Failure> {
    let retention = archive.retention_days.map(seconds_of);
    let kept = json!({ "retention": retention, "shortenRetention": archive.shorten_retention });
    start(context, "ArchiveTenant", archive.to, kept).await
}

pub(super) async fn change_tier(context: &Context<'_>, tier: Tier) -> Result<(), Failure> {
    if tier.to.children.is_some() {
        return Err(Failure::usage("--children is not for a change of tier"));
    }
    start(context, "ChangeTier", tier.to, json!({ "tier": tier.tier })).await
}

/// Asks for a move and, unless told not to, follows it to its end.
pub(super) async fn start(
    context: &Context<'_>,
    method: &str,
    to: Move,
    extra: Value,
) -> Result<(), Failure> {
    start_and(context, method, to, extra, async || Ok(())).await
}

/// As [`start`]; people are told a `note` once the move is accepted.
async fn start_and(
    context: &Context<'_>,
    method: &str,
    to: Move,
    extra: Value,
    note: impl AsyncFnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let output = context.connection.output;
    let mut request = json!({
        "tenantId": to.tenant_id,
        "reason": to.reason.unwrap_or_default(),
        "etag": to.etag.unwrap_or_default(),
        "validateOnly": to.validate_only,
        "at": to.at,
    });
    if let Some(children) = to.children {
        request["children"] = format!("CHILDREN_POLICY_{children:?}").to_uppercase().into();
    }
    for (name, value) in extra.as_object().into_iter().flatten() {
        request[name] = value.clone();
    }
    let operation = context.change(&format!("Lifecycle/{method}"), request).await?;
    if output == Format::Table {
        note().await?;
    }
    if to.validate_only && output == Format::Table {
        return super::plan::show(&operation);
    }
    let follow = !to.no_wait && !to.validate_only && operation["state"] != "OPERATION_STATE_SCHEDULED";
    let Some(id) = operation["operationId"].as_str().filter(|_| follow) else {
        show_operation(output, &operation)?;
        return if to.validate_only { Ok(()) } else { tell_what_is_scheduled(context, &operation).await };
    };
    let finished = text(&operation["finishTime"]);
    let is_told = output == Format::Table && context.connection.request_id.is_some();
    // What has no targets has ended when it is first answered.
    if is_told && !finished.is_empty() && !text(&operation["targets"]).is_empty() {
        print(&format!(
            "operation {id} was asked for before under this request id, and ended at {finished}:\n"
        ))?;
    }
    let ended = progress::follow(&context.client, id, output != Format::Table).await?;
    if output == Format::Table {
        let tenant = get(context, &to.tenant_id).await?;
        let since = moved_on_by(context, &tenant, &ended).await;
        print(&format!("{}{}\n", standing(&tenant, &ended), since.unwrap_or_default()))?;
        tell_what_is_scheduled(context, &ended).await?;
    } else {
        show(output, &ended)?;
    }
    let Some(children) = ended["childrenBulkOperationId"].as_str().filter(|id| !id.is_empty()) else {
        return progress::verdict(&ended);
    };
    if output == Format::Table {
        super::output::print(&format!("its children follow, as bulk operation {children}\n"))?;
    }
    let followed = super::bulk::follow(context, children).await?;
    super::bulk::tell_who_is_let_in_later(context, &followed).await?;
    progress::verdict(&ended).and(super::bulk::verdict(&followed))
}

/// Says which end of a migration was taken back with the operation that was `aborted`, and what is still scheduled.
pub(super) async fn tell_what_was_scheduled(
    context: &Context<'_>,
    operation: &Value,
    aborted: &str,
) -> Result<(), Failure> {
    if context.connection.output != Format::Table {
        return Ok(());
    }
    let request = json!({
        "tenantId": operation["tenantId"],
        "state": "OPERATION_STATE_CANCELLED",
        "pageSize": SCHEDULED_TOLD,
    });
    // What was asked for is done, whatever comes of this.
    let listed = context.client.call("Lifecycle/ListOperations", request).await.unwrap_or_default();
    let with_it = listed["operations"].as_array().into_iter().flatten().filter(|other| {
        other["operationId"] != aborted
            && text(&other["abortReason"]).contains(&format!("(operation {aborted})"))
    });
    for other in with_it {
        super::output::print(&format!(
            "note: {} was scheduled for {}; it was taken back as well\n",
            text(&other["verb"]),
            text(&other["scheduleTime"])
        ))?;
    }
    tell_what_is_scheduled(context, operation).await
}

/// Says which moves of the tenant begin later, but for the operation itself: what was just asked for does not take them back.
pub(super) async fn tell_what_is_scheduled(context: &Context<'_>, operation: &Value) -> Result<(), Failure> {
    if context.connection.output != Format::Table {
        return Ok(());
    }
    let request = json!({
        "tenantId": operation["tenantId"],
        "state": "OPERATION_STATE_SCHEDULED",
        "pageSize": SCHEDULED_TOLD,
    });
    // What was asked for is done, whatever comes of this.
    let Ok(listed) = context.client.call("Lifecycle/ListOperations", request).await else { return Ok(()) };
    let others = listed["operations"].as_array().into_iter().flatten();
    for other in others.filter(|other| other["operationId"] != operation["operationId"]) {
        let (id, verb) = (text(&other["operationId"]), text(&other["verb"]));
        super::output::print(&format!(
            "note: {verb} is scheduled for {}; take it back: tenantry operation abort {id}\n",
            text(&other["scheduleTime"])
        ))?;
    }
    Ok(())
}

/// That a tenant is elsewhere by now than where an operation has led it, and by which other: a repeated request is answered with
/// what it began, however long ago.
async fn moved_on_by(context: &Context<'_>, tenant: &Value, ended: &Value) -> Option<String> {
    let is_of_tier = ended["verb"] == "OPERATION_VERB_CHANGE_TIER";
    let (leads_to, is) = if is_of_tier { ("tier", "tier") } else { ("toStatus", "status") };
    let leads_here = |operation: &Value| operation[leads_to] == tenant[is];
    let is_led = !matches!(text(&tenant["pendingStatus"]).as_str(), "" | "UNSPECIFIED");
    let is_left = is_led && !is_of_tier && tenant["pendingStatus"] != ended["toStatus"];
    if ended["state"] != "OPERATION_STATE_SUCCEEDED" || leads_here(ended) && !is_left {
        return None;
    }
    let request = json!({ "tenantId": tenant["tenantId"], "pageSize": MOVES_SEEN });
    // What was asked for is done, whatever comes of this.
    let listed = context.client.call("Lifecycle/ListOperations", request).await.unwrap_or_default();
    let by = listed["operations"].as_array().into_iter().flatten().find(|other| {
        if is_left {
            return other["operationId"] == tenant["operationId"];
        }
        // These leave a tenant in the status that it is in.
        let stays =
            ["OPERATION_VERB_REPAIR", "OPERATION_VERB_CHANGE_TIER"].iter().any(|verb| other["verb"] == *verb);
        other["state"] == "OPERATION_STATE_SUCCEEDED" && leads_here(other) && (is_of_tier || !stays)
    });
    let by = by.map(|by| format!(": operation {} ({})", text(&by["operationId"]), text(&by["verb"])));
    Some(format!("; the tenant has moved on since{}", by.unwrap_or_default()))
}

/// Where a tenant is after an operation that ended, or that waits for somebody.
fn standing(tenant: &Value, operation: &Value) -> String {
    let (id, state) = (text(&tenant["tenantId"]), text(&operation["state"]).to_lowercase());
    let ending = format!("(operation {} {state})", text(&operation["operationId"]));
    let pending = text(&tenant["pendingStatus"]);
    if operation["verb"] == "OPERATION_VERB_CHANGE_TIER" {
        let on = format!("{id} is on tier {}", text(&tenant["tier"]));
        if tenant["operationId"] != operation["operationId"] {
            return format!("{on}, and {} {ending}", text(&tenant["status"]));
        }
        let waits = progress::stuck(operation).join(", ");
        return format!("{on}, but its limits are not true yet in {waits} {ending}");
    }
    if tenant["operationId"] != operation["operationId"]
        || pending.is_empty()
        || pending.contains("UNSPECIFIED")
    {
        let kept = match text(&tenant["retainTime"]) {
            until if until.is_empty() || operation["verb"] != "OPERATION_VERB_ARCHIVE" => String::new(),
            until => format!(", its data kept until {until}"),
        };
        return format!("{id} is {}{kept} {ending}", text(&tenant["status"]));
    }
    format!(
        "{id} is not {pending} yet: waiting for {}; it has access {} meanwhile {ending}",
        progress::stuck(operation).join(", "),
        text(&tenant["access"])
    )
}

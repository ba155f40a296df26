//! `tenantry tenant …`

mod update;

use std::io::Write as _;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use self::update::Pairs;
use super::escape::harmless;
use super::moves::{self, Activate, Archive, Delete, Finish, Move, Start, Tier};
use super::number::finite;
use super::output::{Column, Format, json_escaped, print, rows_table, show, show_list, stdout, text};
use super::{Context, Failure, progress, verify};

/// Commands about tenants.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Make a tenant, and wait until its resources are made.
    Create {
        /// Its id: a-z, 0-9 and hyphens, a letter first.
        tenant_id: String,
        /// Its attributes.
        #[command(flatten)]
        fields: Box<Fields>,
        /// Check all, change nothing.
        #[arg(long)]
        validate_only: bool,
        /// Do not wait until it is ACTIVE.
        #[arg(long)]
        no_wait: bool,
    },
    /// Make tenants from a file with one JSON tenant a line.
    Import {
        /// The file; `-` reads standard input.
        file: String,
    },
    /// Show a tenant.
    Get {
        /// Which.
        tenant_id: String,
    },
    /// List tenants.
    List(List),
    /// Change what is given, and nothing else.
    Update {
        /// Which.
        tenant_id: String,
        /// The new values.
        #[command(flatten)]
        fields: Box<Fields>,
        /// What becomes of labels and annotations.
        #[command(flatten)]
        pairs: Box<Pairs>,
        /// Refuse if it changed since.
        #[arg(long)]
        etag: Option<String>,
    },
    /// Lock a tenant out.
    Suspend(Move),
    /// Let a tenant in.
    Activate(Activate),
    /// Make a tenant read-only while its data moves, to another region or cell where one is named.
    StartMigration(Start),
    /// End a migration: the point of no return where the tenant moves to another place.
    FinishMigration(Finish),
    /// Keep a suspended tenant for retention. It can never be activated again: from ARCHIVED only deletion leads on, and an undelete
    /// leads back to ARCHIVED.
    Archive(Archive),
    /// Delete an archived tenant; it can be undeleted for a time, then its data is removed for good.
    Delete(Delete),
    /// Take a deletion back.
    Undelete(Move),
    /// Put a tenant on another tier; its limits are made true in every target.
    ChangeTier(Tier),
    /// Look whether every target is as the registry says; what drifted is repaired or reported.
    Verify(verify::Verify),
    /// Show which moves a tenant can make.
    Transitions {
        /// Which.
        tenant_id: String,
    },
    /// Show changes as they happen.
    Watch {
        /// Only tenants that match, for example `tier = "gold"`.
        #[arg(long)]
        filter: Option<String>,
        /// All tenants as they are now first.
        #[arg(long)]
        initial: bool,
        /// Resume after this revision.
        #[arg(long)]
        after: Option<u64>,
    },
}

/// Which tenants to list.
#[derive(Debug, Clone, Args)]
pub struct List {
    /// For example `status = ACTIVE AND health_score < 80`.
    #[arg(long)]
    filter: Option<String>,
    /// For example `health_score, create_time desc`.
    #[arg(long)]
    order_by: Option<String>,
    /// Deleted ones too.
    #[arg(long)]
    show_deleted: bool,
    /// How many, 1 to 1,000.
    #[arg(long, default_value_t = 50)]
    page_size: u32,
    /// Where the page before ended.
    #[arg(long)]
    page_token: Option<String>,
}

/// How a tenant is kept apart.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Isolation {
    /// Shared, separated by policy.
    Pool,
    /// Some resources of its own.
    Bridge,
    /// All resources of its own.
    Silo,
}

/// How sensitive its data is.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Classification {
    /// Anyone may see it.
    Public,
    /// For the company.
    Internal,
    /// For named groups.
    Confidential,
    /// For named people.
    Restricted,
}

/// Attributes of a tenant.
#[derive(Debug, Clone, Default, Args)]
pub struct Fields {
    /// Its name for people.
    #[arg(long)]
    display_name: Option<String>,
    /// Free text.
    #[arg(long)]
    description: Option<String>,
    /// The tenant above it.
    #[arg(long)]
    parent: Option<String>,
    /// The business unit that owns it.
    #[arg(long)]
    business_unit: Option<String>,
    /// Where its cost is booked.
    #[arg(long)]
    cost_center: Option<String>,
    /// Who answers for it.
    #[arg(long)]
    owner: Option<String>,
    /// Whom to tell; may be given several times.
    #[arg(long = "contact", value_name = "EMAIL")]
    contacts: Vec<String>,
    /// Its tier.
    #[arg(long)]
    tier: Option<String>,
    /// Its own limit in place of the tier's: METRIC=NUMBER or METRIC=unlimited; may be given several times.
    #[arg(long = "limit", value_name = "METRIC=LIMIT")]
    limits: Vec<String>,
    /// Availability aimed at, 0 to 1.
    #[arg(long, value_parser = finite)]
    sla_target: Option<f64>,
    /// For example 24/7.
    #[arg(long)]
    support_level: Option<String>,
    /// How it is kept apart.
    #[arg(long, value_enum)]
    isolation: Option<Isolation>,
    /// Where it runs; once that is said of a tenant in use, start-migration changes it.
    #[arg(long)]
    region: Option<String>,
    /// Where its data must stay.
    #[arg(long)]
    data_residency: Option<String>,
    /// For example GDPR; may be given several times.
    #[arg(long = "compliance", value_name = "FRAMEWORK")]
    compliance: Vec<String>,
    /// How sensitive its data is.
    #[arg(long, value_enum)]
    classification: Option<Classification>,
    /// Where its encryption key is.
    #[arg(long)]
    encryption_key_ref: Option<String>,
    /// For example Asia/Kolkata.
    #[arg(long)]
    time_zone: Option<String>,
    /// For example INR.
    #[arg(long)]
    currency: Option<String>,
    /// Budget a month, in the tenant's currency.
    #[arg(long)]
    monthly_budget: Option<u64>,
    /// KEY=VALUE; may be given several times. An update adds it to the others, in place of one with its key.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// KEY=VALUE; may be given several times. An update adds it to the others, in place of one with its key.
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    annotations: Vec<String>,
}

const COLUMNS: [Column; 7] = [
    ("ID", "tenantId"),
    ("NAME", "displayName"),
    ("STATUS", "status"),
    ("TIER", "tier"),
    ("HEALTH", "healthScore"),
    ("REGION", "region"),
    ("OWNER", "owner"),
];

impl Fields {
    /// What was given, by the names of the contract.
    fn given(self) -> Result<Map<String, Value>, Failure> {
        let mut given = Map::new();
        let mut text = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                given.insert(name.to_owned(), value.into());
            }
        };
        text("display_name", self.display_name);
        text("description", self.description);
        text("parent", self.parent);
        text("business_unit", self.business_unit);
        text("cost_center", self.cost_center);
        text("owner", self.owner);
        text("tier", self.tier);
        text("support_level", self.support_level);
        text("region", self.region);
        text("data_residency", self.data_residency);
        text("encryption_key_ref", self.encryption_key_ref);
        text("time_zone", self.time_zone);
        text("currency_code", self.currency);
        text(
            "isolation_model",
            self.isolation.map(|model| format!("ISOLATION_MODEL_{model:?}").to_uppercase()),
        );
        text(
            "data_classification",
            self.classification.map(|class| format!("DATA_CLASSIFICATION_{class:?}").to_uppercase()),
        );
        if !self.contacts.is_empty() {
            given.insert(
                "contacts".into(),
                self.contacts.into_iter().map(|email| json!({ "email": email })).collect(),
            );
        }
        if !self.compliance.is_empty() {
            given.insert("compliance_frameworks".into(), self.compliance.into());
        }
        if let Some(target) = self.sla_target {
            given.insert("sla_target".into(), target.into());
        }
        if let Some(units) = self.monthly_budget {
            given.insert("monthly_budget".into(), json!({ "units": units.to_string() }));
        }
        if !self.limits.is_empty() {
            given.insert("limit_overrides".into(), super::tier::limits(&self.limits)?);
        }
        for (name, pairs) in [("labels", self.labels), ("annotations", self.annotations)] {
            if !pairs.is_empty() {
                given.insert(name.into(), pairs_of(&pairs)?);
            }
        }
        Ok(given)
    }
}

/// `KEY=VALUE` pairs as a map.
pub(super) fn pairs_of(pairs: &[String]) -> Result<Value, Failure> {
    let mut map = Map::new();
    for pair in pairs {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("{pair} must have the form KEY=VALUE")))?;
        if map.insert(key.to_owned(), value.into()).is_some() {
            return Err(Failure::usage(format!("{key} is given twice")));
        }
    }
    Ok(Value::Object(map))
}

pub(super) async fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    let output = context.connection.output;
    match command {
        Command::Create { tenant_id, fields, validate_only, no_wait } => {
            create(context, tenant_id, *fields, validate_only, no_wait).await
        }
        Command::Import { file } => import(context, &file).await,
        Command::Get { tenant_id } => {
            let tenant = get(context, &tenant_id).await?;
            show(output, &tenant)?;
            moves::tell_what_is_scheduled(context, &json!({ "tenantId": tenant["tenantId"] })).await
        }
        Command::List(list) => {
            let request = json!({
                "filter": list.filter.unwrap_or_default(),
                "orderBy": list.order_by.unwrap_or_default(),
                "showDeleted": list.show_deleted,
                "pageSize": list.page_size,
                "pageToken": list.page_token.unwrap_or_default(),
            });
            show_list(
                output,
                &context.client.call("TenantRegistry/ListTenants", request).await?,
                "tenants",
                &COLUMNS,
            )
        }
        Command::Update { tenant_id, fields, pairs, etag } => {
            show(output, &update::run(context, &tenant_id, fields.given()?, &pairs, etag).await?)
        }
        Command::Suspend(to) => moves::start(context, "SuspendTenant", to, json!({})).await,
        Command::Activate(activate) => moves::activate(context, activate).await,
        Command::StartMigration(start) => moves::start_migration(context, start).await,
        Command::FinishMigration(finish) => moves::finish_migration(context, finish).await,
        Command::Archive(archive) => moves::archive(context, archive).await,
        Command::Delete(delete) => moves::delete(context, delete).await,
        Command::Undelete(to) => moves::start(context, "UndeleteTenant", to, json!({})).await,
        Command::ChangeTier(tier) => moves::change_tier(context, tier).await,
        Command::Verify(verify) => verify::verify(context, verify).await,
        Command::Transitions { tenant_id } => {
            let response =
                context.client.call("Lifecycle/ListTransitions", json!({ "tenantId": tenant_id })).await?;
            show_list(output, &response, "transitions", &[("TO", "to"), ("METHOD", "method")])
        }
        Command::Watch { filter, initial, after } => watch(context, filter, initial, after).await,
    }
}

pub(super) async fn get(context: &Context<'_>, tenant_id: &str) -> Result<Value, Failure> {
    context.client.call("TenantRegistry/GetTenant", json!({ "tenantId": tenant_id })).await
}

async fn create(
    context: &Context<'_>,
    tenant_id: String,
    fields: Fields,
    validate_only: bool,
    no_wait: bool,
) -> Result<(), Failure> {
    let output = context.connection.output;
    let mut tenant = fields.given()?;
    if !tenant.contains_key("display_name") {
        tenant.insert("display_name".into(), tenant_id.as_str().into());
    }
    tenant.insert("tenant_id".into(), tenant_id.as_str().into());
    let request = json!({ "tenant": tenant, "validateOnly": validate_only });
    let made = context.change("TenantRegistry/CreateTenant", request).await?;
    if output == Format::Table {
        moves::tell_of_parent(context, &made).await?;
    }
    let Some(operation_id) =
        made["operationId"].as_str().filter(|id| !id.is_empty() && !validate_only && !no_wait)
    else {
        return show(output, &made);
    };
    let ended = progress::follow(&context.client, operation_id, output != Format::Table).await?;
    show(output, &get(context, &tenant_id).await?)?;
    progress::verdict(&ended)
}

async fn import(context: &Context<'_>, file: &str) -> Result<(), Failure> {
    let text = if file == "-" {
        std::io::read_to_string(std::io::stdin())?
    } else {
        std::fs::read_to_string(file)
            .map_err(|error| Failure::usage(format!("{file} cannot be read: {error}")))?
    };
    let mut requests = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let tenant: Value = serde_json::from_str(line).map_err(|error| {
            let (line, column) = (index + 1, error.column());
            Failure::usage(format!("line {line} is not JSON: it cannot be read at column {column}"))
        })?;
        let request = json!({ "tenant": tenant });
        super::Client::check("TenantRegistry/CreateTenant", request.clone()).map_err(|failure| {
            let sentence = format!("line {}: {}", index + 1, failure.message());
            failure.reworded(sentence)
        })?;
        requests.push(request);
    }
    let (mut made, mut provisioning, mut failed) = (0, 0, 0);
    for batch in requests.chunks(1_000) {
        let response =
            context.client.call("TenantRegistry/BatchCreateTenants", json!({ "requests": batch })).await?;
        for (request, result) in batch.iter().zip(response["results"].as_array().into_iter().flatten()) {
            if let Some(message) = result["error"]["message"].as_str() {
                failed += 1;
                let tenant_id = text_of(&request["tenant"]["tenantId"], &request["tenant"]["tenant_id"]);
                // Whether or not anybody reads it: the rest is still to be made.
                print(&format!("{tenant_id}: {}\n", harmless(message)))?;
            } else {
                made += 1;
                provisioning += usize::from(result["tenant"]["status"] == "TENANT_STATUS_PROVISIONING");
            }
        }
    }
    print(&format!("{made} tenants made, {failed} refused\n"))?;
    if provisioning > 0 {
        let them = "tenantry tenant list --filter 'status = PROVISIONING'";
        print(&format!(
            "{provisioning} of them are still to be made in the targets, which goes on by itself: {them}\n"
        ))?;
    }
    if failed > 0 { Err(Failure::unsuccessful(format!("{failed} tenants were refused"))) } else { Ok(()) }
}

fn text_of(camel: &Value, snake: &Value) -> String {
    if camel.is_null() { text(snake) } else { text(camel) }
}

async fn watch(
    context: &Context<'_>,
    filter: Option<String>,
    initial: bool,
    after: Option<u64>,
) -> Result<(), Failure> {
    let request = json!({
        "filter": filter.unwrap_or_default(),
        "initialSnapshot": initial,
        "startRevision": after.unwrap_or_default().to_string(),
    });
    let mut watch = context.client.watch("TenantRegistry/WatchTenants", request).await?;
    while let Some(told) = watch.next().await? {
        if context.connection.output != Format::Table {
            writeln!(stdout(), "{}", json_escaped(&told.to_string()))?;
            continue;
        }
        let what = text(&told["type"]);
        let revision = text(&told["revision"]);
        if told["tenant"].is_null() {
            writeln!(stdout(), "{revision:>8} {what}")?;
        } else {
            let row = rows_table(std::slice::from_ref(&told["tenant"]), &COLUMNS[..5]).to_string();
            let row = row.lines().nth(1).unwrap_or_default().trim().to_owned();
            writeln!(stdout(), "{revision:>8} {what:8} {row}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "tenant_tests.rs"]
mod tests;

//! `tenantry flag …`

mod apply;
mod delete;
mod document;
mod file;
mod read;
mod repeated;
mod rollout;
mod segment;
mod set;
mod value;
mod yaml;

use clap::builder::NonEmptyStringValueParser;
use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use self::read::show_flag;
use super::number::time;
use super::output::{print, text, warn};
use super::{Context, Failure, Format};

/// Commands about feature flags.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Make a flag. A boolean one has the variants on and off, and is off unless said otherwise. What has no option here
    /// (rules, schedule, prerequisites, conflicts, labels, metadata, …) is said in a file: `flag apply`.
    Create {
        /// Its key.
        flag_key: String,
        /// The type of its values.
        #[arg(long = "type", value_enum, default_value_t = Type::Boolean)]
        flag_type: Type,
        /// What it is for.
        #[arg(long)]
        description: Option<String>,
        /// NAME=JSON; may be given several times.
        #[arg(long = "variant", value_name = "NAME=JSON")]
        variants: Vec<String>,
        /// The variant where nothing else decides.
        #[arg(long)]
        default: Option<String>,
        /// The variant for tenants that are not active.
        #[arg(long)]
        safe: Option<String>,
        /// What it is for.
        #[arg(long, value_enum, default_value_t = Kind::Release)]
        kind: Kind,
        /// The flag of the kind kill-switch that turns it off.
        #[arg(long)]
        kill_switch: Option<String>,
        /// Who answers for it.
        #[arg(long)]
        owner: Option<String>,
        /// When it expires, RFC 3339; 90 days from now where not given. A kill switch never does.
        #[arg(long, value_name = "TIME", value_parser = time)]
        expires: Option<String>,
        /// Only show what it would look like, and whom it would affect.
        #[arg(long)]
        dry_run: bool,
    },
    /// Show a flag.
    Get {
        /// Which.
        flag_key: String,
    },
    /// List flags.
    List {
        /// AIP-160, for example `kind = RELEASE AND labels.team = "search"`.
        #[arg(long)]
        filter: Option<String>,
        /// Fields, for example `expire_time`.
        #[arg(long)]
        order_by: Option<String>,
        /// The next page's token.
        #[arg(long)]
        page_token: Option<String>,
    },
    /// List flags that should go: expired, old, or about to expire.
    Stale,
    /// List the flags that hang on a flag.
    Dependents {
        /// Which.
        flag_key: String,
    },
    /// Take a flag out of use and keep it for the record, after showing whom that affects; `update --state enabled` brings it back.
    Archive(delete::Removal),
    /// Give everybody a share, now and later: `rollout search on=10,off=90 --then "2026-12-01T00:00:00Z on=50,off=50"`.
    Rollout {
        /// Which flag.
        flag_key: String,
        /// VARIANT=WEIGHT, separated by commas.
        #[arg(value_name = "VARIANT=WEIGHT,…")]
        shares: Option<String>,
        /// Instead of shares: the rollout ends, and the default variant counts.
        #[arg(long, conflicts_with = "shares")]
        end: bool,
        /// Later shares; may be given several times.
        #[arg(long = "then", value_name = "TIME SHARES", requires = "shares", conflicts_with = "end")]
        later: Vec<String>,
        /// The attribute that decides: the tenant's id where not given, so that a tenant's users see the same.
        #[arg(
            long,
            value_name = "ATTRIBUTE",
            requires = "shares",
            conflicts_with = "end",
            value_parser = NonEmptyStringValueParser::new()
        )]
        bucket_by: Option<String>,
        /// Only show what it would look like, and whom it would affect.
        #[arg(long)]
        dry_run: bool,
    },
    /// Bring flags, segments and tier defaults to what files say, all at once, after showing what changes.
    Apply(apply::Apply),
    /// Bring a flag set to what a file of another system says, all at once, after showing what changes.
    Import(file::Import),
    /// Write flags and segments as a file that `apply` takes, or a flag set as a file of another system.
    Export(file::Export),
    /// Make, read, change and delete segments: conditions that rules of many flags share.
    #[command(subcommand)]
    Segment(segment::Command),
    /// Change what is given, and nothing else. What has no option here is said in a file: `flag export` and `flag apply`.
    Update {
        /// Which.
        flag_key: String,
        /// What it is for.
        #[arg(long)]
        description: Option<String>,
        /// NAME=JSON; may be given several times. Replaces all variants.
        #[arg(long = "variant", value_name = "NAME=JSON")]
        variants: Vec<String>,
        /// The variant where nothing else decides.
        #[arg(long)]
        default: Option<String>,
        /// enabled, disabled or archived.
        #[arg(long, value_parser = |word: &str| super::contract::enum_value("FlagState", word))]
        state: Option<String>,
        /// The flag of the kind kill-switch that turns it off.
        #[arg(long)]
        kill_switch: Option<String>,
        /// When it expires, RFC 3339. Later than before is an extension, which the log keeps as such.
        #[arg(long, value_name = "TIME", value_parser = time)]
        expires: Option<String>,
        /// Why it is extended; kept with that alone.
        #[arg(long, requires = "expires")]
        reason: Option<String>,
        /// Even if flags that hang on it would break.
        #[arg(long)]
        force: bool,
        /// Only show what it would look like, and whom it would affect.
        #[arg(long)]
        dry_run: bool,
    },
    /// Delete a flag with its tier defaults and overrides, after showing them.
    Delete(delete::Removal),
    /// Set what a tier sees: a variant or a share of several; `unset-tier` takes it back.
    SetTier(value::SetTier),
    /// Set what a tenant sees: a variant or a share of several; `unset-tenant` takes it back.
    SetTenant(value::SetTenant),
    /// Take back what a tier sees of its own: the flag's default counts for it again.
    UnsetTier(value::UnsetTier),
    /// Take back what a tenant sees of its own: its tier's or the flag's default counts for it again.
    UnsetTenant(value::UnsetTenant),
    /// List what tenants see of their own.
    Overrides {
        /// Only of this flag.
        #[arg(long)]
        flag: Option<String>,
        /// Only of this tenant.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Say what a tenant sees: of the flags named, or of all.
    Evaluate {
        /// Which tenant.
        tenant_id: String,
        /// Which flags.
        flag_keys: Vec<String>,
        /// Attributes for rules, as JSON.
        #[arg(long, value_name = "JSON")]
        context: Option<String>,
    },
    /// Say why a tenant sees what it sees.
    Explain {
        /// Which tenant.
        tenant_id: String,
        /// Which flag.
        flag_key: String,
        /// Attributes for rules, as JSON.
        #[arg(long, value_name = "JSON")]
        context: Option<String>,
    },
}

/// What a flag is for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Kind {
    /// A feature on its way to everybody.
    Release,
    /// A comparison of variants.
    Experiment,
    /// A setting that operators turn.
    Operational,
    /// Turns other flags off while it is true.
    KillSwitch,
    /// Who may do what.
    Permission,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Release => "FLAG_KIND_RELEASE",
            Self::Experiment => "FLAG_KIND_EXPERIMENT",
            Self::Operational => "FLAG_KIND_OPERATIONAL",
            Self::KillSwitch => "FLAG_KIND_KILL_SWITCH",
            Self::Permission => "FLAG_KIND_PERMISSION",
        }
    }
}

/// The type of a flag's values.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Type {
    /// true or false.
    Boolean,
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Double,
    /// A JSON object.
    Object,
}

/// `NAME=JSON` pairs; what is no JSON is text.
fn variants(pairs: &[String]) -> Result<Value, Failure> {
    let mut variants = Map::new();
    for pair in pairs {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("{pair} must have the form NAME=JSON")))?;
        variants.insert(name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into()));
    }
    Ok(Value::Object(variants))
}

fn upper(prefix: &str, word: &str) -> Value {
    format!("{prefix}{}", word.to_uppercase()).into()
}

/// The fields that were given.
fn given<const N: usize>(fields: [(&str, Option<Value>); N]) -> Map<String, Value> {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

pub(super) async fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    let output = context.connection.output;
    match command {
        create @ Command::Create { .. } => {
            show_flag(output, &context.change("FeatureFlags/CreateFlag", creation(create)?).await?)
        }
        update @ Command::Update { .. } => self::update(update_of(update)?, context).await,
        Command::Rollout { flag_key, shares, end, later, bucket_by, dry_run } => {
            let mut flag = json!({ "flagKey": flag_key });
            if let Some(shares) = shares {
                flag["defaultRollout"] = rollout::rollout(&shares, &later, bucket_by.as_deref())?;
            } else if !end {
                return Err(Failure::usage(format!(
                    "give shares such as on=10,off=90; to end the rollout: `tenantry flag rollout {flag_key} --end`"
                )));
            }
            let request = json!({ "flag": flag, "updateMask": "defaultRollout", "validateOnly": dry_run });
            show_flag(output, &context.change("FeatureFlags/UpdateFlag", request).await?)
        }
        Command::Archive(archive) => delete::archive(archive, context).await,
        Command::Delete(delete) => delete::delete(delete, context).await,
        Command::Segment(command) => segment::run(command, context).await,
        Command::SetTier(set) => value::set_tier(set, context).await,
        Command::SetTenant(set) => value::set_tenant(set, context).await,
        Command::UnsetTier(unset) => value::unset_tier(unset, context).await,
        Command::UnsetTenant(unset) => value::unset_tenant(unset, context).await,
        Command::Import(import) => file::import(import, context).await,
        Command::Export(export) => file::export(export, context).await,
        Command::Apply(apply) => apply::run(apply, context).await,
        reading => read::run(reading, context).await,
    }
}

fn creation(command: Command) -> Result<Value, Failure> {
    let Command::Create {
        flag_key,
        flag_type,
        description,
        variants: pairs,
        default,
        safe,
        kind,
        kill_switch,
        owner,
        expires,
        dry_run,
    } = command
    else {
        return Err(Failure::internal(&"no creation"));
    };
    let mut flag = given([
        ("description", description.map(Value::from)),
        ("defaultVariant", default.map(Value::from)),
        ("safeVariant", safe.map(Value::from)),
        ("killSwitch", kill_switch.map(Value::from)),
        ("owner", owner.map(Value::from)),
        ("expireTime", expires.map(Value::from)),
    ]);
    flag.insert("flagKey".into(), flag_key.into());
    flag.insert("type".into(), upper("FLAG_TYPE_", &format!("{flag_type:?}")));
    flag.insert("kind".into(), kind.name().into());
    flag.insert("variants".into(), variants(&pairs)?);
    Ok(json!({ "flag": flag, "validateOnly": dry_run }))
}

/// Changes a flag, and says what of that was no change.
async fn update(request: Value, context: &Context<'_>) -> Result<(), Failure> {
    let format = context.connection.output;
    let named = json!({ "flagKey": request["flag"]["flagKey"] });
    // A flag that cannot be read is for the call that changes it to tell of.
    let before = context.client.call("FeatureFlags/GetFlag", named).await.unwrap_or_default();
    let is_tried = request["validateOnly"] == true;
    let reason = request["reason"].clone();
    let updated = context.change("FeatureFlags/UpdateFlag", request).await?;
    let newest = updated["extensions"].as_array().and_then(|all| all.last());
    if reason != "" && !is_tried && newest.is_none_or(|extension| extension["reason"] != reason) {
        warn(
            "--reason is not kept: it is kept with a later --expires, and the flag expires no later than before",
        );
    }
    if format == Format::Table && !is_tried && updated["etag"] == before["etag"] {
        let flag_key = text(&updated["flagKey"]);
        return print(&format!("nothing changed: flag {flag_key} is so already\n"));
    }
    show_flag(format, &updated)
}

fn update_of(command: Command) -> Result<Value, Failure> {
    let Command::Update {
        flag_key,
        description,
        variants: pairs,
        default,
        state,
        kill_switch,
        expires,
        reason,
        force,
        dry_run,
    } = command
    else {
        return Err(Failure::internal(&"no update"));
    };
    let variants = if pairs.is_empty() { None } else { Some(variants(&pairs)?) };
    let mut flag = given([
        ("description", description.map(Value::from)),
        ("variants", variants),
        ("defaultVariant", default.map(Value::from)),
        ("state", state.map(Value::from)),
        ("killSwitch", kill_switch.map(Value::from)),
        ("expireTime", expires.map(Value::from)),
    ]);
    if flag.is_empty() {
        return Err(Failure::usage("give at least one attribute to change"));
    }
    let mask = flag.keys().cloned().collect::<Vec<_>>().join(",");
    flag.insert("flagKey".into(), flag_key.into());
    let reason = reason.unwrap_or_default();
    Ok(json!({
        "flag": flag, "updateMask": mask, "force": force, "validateOnly": dry_run, "reason": reason,
    }))
}

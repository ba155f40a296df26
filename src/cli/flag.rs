//! `tenantry flag …`

use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::output::{Column, print, show, show_list};
use super::{Context, Failure};

/// Commands about feature flags.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Make a flag. A boolean one has the variants on and off, and is off unless said otherwise.
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
    },
    /// Show a flag.
    Get {
        /// Which.
        flag_key: String,
    },
    /// List flags.
    List,
    /// Change what is given, and nothing else.
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
        #[arg(long)]
        state: Option<String>,
    },
    /// Delete a flag with its defaults and overrides.
    Delete {
        /// Which.
        flag_key: String,
    },
    /// Set what a tier sees; without a variant, take it back.
    SetTier {
        /// Which flag.
        flag_key: String,
        /// Which tier.
        tier_id: String,
        /// Which variant.
        variant: Option<String>,
    },
    /// Set what a tenant sees; without a variant, take it back.
    SetTenant {
        /// Which flag.
        flag_key: String,
        /// Which tenant.
        tenant_id: String,
        /// Which variant.
        variant: Option<String>,
        /// Why, for people.
        #[arg(long)]
        reason: Option<String>,
        /// RFC 3339; from then on it no longer counts.
        #[arg(long)]
        expires: Option<String>,
    },
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
    },
    /// Say why a tenant sees what it sees.
    Explain {
        /// Which tenant.
        tenant_id: String,
        /// Which flag.
        flag_key: String,
    },
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

const COLUMNS: [Column; 5] = [
    ("KEY", "flagKey"),
    ("TYPE", "type"),
    ("STATE", "state"),
    ("DEFAULT", "defaultVariant"),
    ("TIERS", "tierDefaults"),
];
const EVALUATED: [Column; 5] = [
    ("FLAG", "flagKey"),
    ("VALUE", "value"),
    ("VARIANT", "variant"),
    ("REASON", "reason"),
    ("DECIDED BY", "layer"),
];
const OVERRIDES: [Column; 5] = [
    ("FLAG", "flagKey"),
    ("TENANT", "tenantId"),
    ("VARIANT", "variant"),
    ("EXPIRES", "expireTime"),
    ("REASON", "reason"),
];

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

pub(super) async fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    match command {
        Command::Create { flag_key, flag_type, description, variants: pairs, default, safe } => {
            let flag = json!({
                "flagKey": flag_key,
                "type": upper("FLAG_TYPE_", &format!("{flag_type:?}")),
                "description": description.unwrap_or_default(),
                "variants": variants(&pairs)?,
                "defaultVariant": default.unwrap_or_default(),
                "safeVariant": safe.unwrap_or_default(),
            });
            show(
                context.connection.output,
                &context.change("FeatureFlags/CreateFlag", json!({ "flag": flag })).await?,
            )
        }
        Command::Update { flag_key, description, variants: pairs, default, state } => {
            let variants = if pairs.is_empty() { None } else { Some(variants(&pairs)?) };
            let given = [
                ("description", description.map(Value::from)),
                ("variants", variants),
                ("defaultVariant", default.map(Value::from)),
                ("state", state.map(|state| upper("FLAG_STATE_", &state))),
            ];
            let mut flag: Map<String, Value> =
                given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
            if flag.is_empty() {
                return Err(Failure::usage("give at least one attribute to change"));
            }
            let mask = flag.keys().cloned().collect::<Vec<_>>().join(",");
            flag.insert("flagKey".into(), flag_key.into());
            let request = json!({ "flag": flag, "updateMask": mask });
            show(context.connection.output, &context.change("FeatureFlags/UpdateFlag", request).await?)
        }
        Command::Delete { flag_key } => {
            context.change("FeatureFlags/DeleteFlag", json!({ "flagKey": flag_key })).await?;
            print(&format!("flag {flag_key} is deleted\n"))
        }
        Command::SetTier { flag_key, tier_id, variant } => {
            let request =
                json!({ "flagKey": flag_key, "tierId": tier_id, "variant": variant.unwrap_or_default() });
            show(context.connection.output, &context.change("FeatureFlags/SetTierDefault", request).await?)
        }
        Command::SetTenant { flag_key, tenant_id, variant, reason, expires } => {
            let mut request = json!({
                "flagKey": flag_key,
                "tenantId": tenant_id,
                "variant": variant.unwrap_or_default(),
                "reason": reason.unwrap_or_default(),
            });
            if let Some(expires) = expires {
                request["expireTime"] = expires.into();
            }
            show(context.connection.output, &context.change("FeatureFlags/SetTenantOverride", request).await?)
        }
        reading => read(reading, context).await,
    }
}

async fn read(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    let (client, output) = (&context.client, context.connection.output);
    match command {
        Command::Get { flag_key } => {
            show(output, &client.call("FeatureFlags/GetFlag", json!({ "flagKey": flag_key })).await?)
        }
        Command::Overrides { flag, tenant } => {
            let request = json!({
                "flagKey": flag.unwrap_or_default(),
                "tenantId": tenant.unwrap_or_default(),
                "pageSize": 1000,
            });
            let response = client.call("FeatureFlags/ListTenantOverrides", request).await?;
            show_list(output, &response, "overrides", &OVERRIDES)
        }
        Command::Evaluate { tenant_id, flag_keys } => {
            let request = json!({ "tenantId": tenant_id, "flagKeys": flag_keys });
            show_list(output, &client.call("FeatureFlags/EvaluateFlags", request).await?, "flags", &EVALUATED)
        }
        Command::Explain { tenant_id, flag_key } => {
            let request = json!({ "tenantId": tenant_id, "flagKey": flag_key });
            let columns =
                [("LAYER", "layer"), ("DECIDES", "decided"), ("VARIANT", "variant"), ("WHY", "detail")];
            show_list(output, &client.call("FeatureFlags/ExplainFlag", request).await?, "layers", &columns)
        }
        _ => {
            let response = client.call("FeatureFlags/ListFlags", json!({ "pageSize": 1000 })).await?;
            show_list(output, &response, "flags", &COLUMNS)
        }
    }
}

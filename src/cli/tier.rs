//! `tenantry tier …`

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::number::finite;
use super::output::{Column, print, show, show_list};
use super::{Context, Failure, class};

/// The catalogues that ship with the program.
const GCC: &str = include_str!("../../catalogues/gcc.toml");
const SAAS: &str = include_str!("../../catalogues/saas.toml");

/// Commands about tiers.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Make a tier.
    Create(Box<Fields>),
    /// Show a tier.
    Get {
        /// Which.
        tier_id: String,
    },
    /// List tiers.
    List,
    /// Change what is given, and nothing else.
    Update {
        /// The new values.
        #[command(flatten)]
        fields: Box<Fields>,
        /// Refuse if it changed since.
        #[arg(long)]
        etag: Option<String>,
    },
    /// Delete a tier that has no tenants.
    Delete {
        /// Which.
        tier_id: String,
    },
    /// Make the tiers of a catalogue: `gcc`, `saas`, or a TOML file. Tiers that are there stay as they are.
    Import {
        /// Which.
        catalogue: String,
    },
}

/// Attributes of a tier.
#[derive(Debug, Clone, Args)]
pub struct Fields {
    /// Its id.
    tier_id: String,
    /// Its name for people.
    #[arg(long)]
    display_name: Option<String>,
    /// Free text.
    #[arg(long)]
    description: Option<String>,
    /// Higher is more.
    #[arg(long)]
    rank: Option<i32>,
    /// METRIC=NUMBER or METRIC=unlimited; may be given several times. An update replaces all limits.
    #[arg(long = "limit", value_name = "METRIC=LIMIT")]
    limits: Vec<String>,
    /// Availability aimed at, 0 to 1; a new tier needs it.
    #[arg(long, value_parser = finite)]
    sla_target: Option<f64>,
    /// For example 24/7.
    #[arg(long)]
    support_level: Option<String>,
    /// How long others may keep what they read: critical, standard or relaxed.
    #[arg(long)]
    cache_ttl_class: Option<String>,
}

const COLUMNS: [Column; 6] = [
    ("ID", "tierId"),
    ("NAME", "displayName"),
    ("RANK", "rank"),
    ("SLA", "slaTarget"),
    ("SUPPORT", "supportLevel"),
    ("LIMITS", "limits"),
];

/// `METRIC=LIMIT` pairs as the contract has them.
pub(super) fn limits(pairs: &[String]) -> Result<Value, Failure> {
    let mut limits = Map::new();
    for pair in pairs {
        let limit = pair.split_once('=').and_then(|(metric, limit)| {
            let limit = match limit {
                "unlimited" => json!({ "unlimited": true }),
                number => json!({ "value": number.parse::<u64>().ok()?.to_string() }),
            };
            Some((metric.to_owned(), limit))
        });
        let (metric, limit) = limit.ok_or_else(|| {
            Failure::usage(format!("{pair} must have the form METRIC=NUMBER or METRIC=unlimited"))
        })?;
        limits.insert(metric, limit);
    }
    Ok(Value::Object(limits))
}

impl Fields {
    fn given(self) -> Result<Map<String, Value>, Failure> {
        let class = self.cache_ttl_class.map(|class| format!("CACHE_TTL_CLASS_{}", class.to_uppercase()));
        let limits = if self.limits.is_empty() { None } else { Some(limits(&self.limits)?) };
        let given = [
            ("displayName", self.display_name.map(Value::from)),
            ("description", self.description.map(Value::from)),
            ("rank", self.rank.map(Value::from)),
            ("limits", limits),
            ("slaTarget", self.sla_target.map(Value::from)),
            ("supportLevel", self.support_level.map(Value::from)),
            ("cacheTtlClass", class.map(Value::from)),
        ];
        Ok(given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
    }
}

pub(super) async fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    let output = context.connection.output;
    match command {
        Command::Create(fields) => {
            let tier_id = fields.tier_id.clone();
            let mut tier = fields.given()?;
            if !tier.contains_key("slaTarget") {
                return Err(Failure::usage("a tier needs --sla-target, for example 0.999"));
            }
            if !tier.contains_key("displayName") {
                tier.insert("displayName".into(), tier_id.as_str().into());
            }
            tier.insert("tierId".into(), tier_id.into());
            show(output, &context.change("Tiers/CreateTier", json!({ "tier": tier })).await?)
        }
        Command::Get { tier_id } => {
            show(output, &context.client.call("Tiers/GetTier", json!({ "tierId": tier_id })).await?)
        }
        Command::List => {
            let response = context.client.call("Tiers/ListTiers", json!({ "pageSize": 1000 })).await?;
            show_list(output, &response, "tiers", &COLUMNS)
        }
        Command::Update { fields, etag } => {
            let tier_id = fields.tier_id.clone();
            let mut tier = fields.given()?;
            if tier.is_empty() {
                return Err(Failure::usage("give at least one attribute to change"));
            }
            let mask = tier.keys().cloned().collect::<Vec<_>>().join(",");
            tier.insert("tierId".into(), tier_id.into());
            tier.insert("etag".into(), etag.unwrap_or_default().into());
            let request = json!({ "tier": tier, "updateMask": mask });
            show(output, &context.change("Tiers/UpdateTier", request).await?)
        }
        Command::Delete { tier_id } => {
            context.change("Tiers/DeleteTier", json!({ "tierId": tier_id })).await?;
            print(&format!("tier {tier_id} is deleted\n"))
        }
        Command::Import { catalogue } => import(context, &catalogue).await,
    }
}

async fn import(context: &Context<'_>, which: &str) -> Result<(), Failure> {
    let file;
    let text = match which {
        "gcc" => GCC,
        "saas" => SAAS,
        path => {
            file = std::fs::read_to_string(path).map_err(|error| {
                Failure::usage(format!("{path} is no catalogue (gcc, saas) and cannot be read: {error}"))
            })?;
            &file
        }
    };
    for tier in catalogue(text)? {
        let id = tier["tierId"].as_str().unwrap_or_default().to_owned();
        match context.client.call("Tiers/CreateTier", json!({ "tier": tier })).await {
            Ok(_) => print(&format!("tier {id} is made\n"))?,
            Err(failure) if failure.code() == class::CONFLICT => {
                print(&format!("tier {id} is there already, and stays as it is\n"))?;
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

/// The tiers of a catalogue as the contract has them.
pub(super) fn catalogue(text: &str) -> Result<Vec<Value>, Failure> {
    let broken = |why: &dyn std::fmt::Display| Failure::usage(format!("the catalogue cannot be read: {why}"));
    let parsed: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let offset = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
        broken(&format!("it is not valid TOML at line {line}"))
    })?;
    let tiers =
        parsed.get("tier").and_then(toml::Value::as_array).ok_or_else(|| broken(&"it has no [[tier]]"))?;
    tiers
        .iter()
        .map(|tier| {
            // JSON has no other numbers, and would leave such a one out.
            let is_number =
                |value: &toml::Value| value.is_integer() || value.as_float().is_some_and(f64::is_finite);
            if !tier.get("sla_target").is_some_and(is_number) {
                return Err(broken(&"each tier needs an sla_target, for example 0.999"));
            }
            let mut tier = serde_json::to_value(tier).map_err(|error| broken(&error))?;
            let fields = tier.as_object_mut().ok_or_else(|| broken(&"a tier is a table"))?;
            if let Some(id) = fields.remove("id") {
                fields.insert("tier_id".into(), id);
            }
            if let Some(class) = fields.get("cache_ttl_class").and_then(Value::as_str) {
                let class = format!("CACHE_TTL_CLASS_{}", class.to_uppercase());
                fields.insert("cache_ttl_class".into(), class.into());
            }
            let limits = fields.get("limits").and_then(Value::as_object).cloned().unwrap_or_default();
            let limits: Map<String, Value> = limits
                .into_iter()
                .map(|(metric, limit)| match limit {
                    Value::Number(number) => (metric, json!({ "value": number.to_string() })),
                    _ => (metric, json!({ "unlimited": true })),
                })
                .collect();
            fields.insert("limits".into(), limits.into());
            let id = fields["tier_id"].clone();
            fields.insert("tierId".into(), id);
            fields.remove("tier_id");
            Ok(tier)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_catalogues_are_requests() {
        for (text, count) in [(GCC, 3), (SAAS, 4)] {
            let tiers = catalogue(text).unwrap();
            assert_eq!(tiers.len(), count);
            assert!(
                tiers.iter().all(|tier| tier["limits"].as_object().is_some_and(|limits| !limits.is_empty()))
            );
        }
    }

    #[test]
    fn a_catalogue_says_which_availability_each_tier_aims_at() {
        for (text, is_one) in [
            ("[[tier]]\nid = 'a'\nsla_target = 0.99", true),
            ("[[tier]]\nid = 'a'\nsla_target = 1", true),
            ("[[tier]]\nid = 'a'", false),
            ("[[tier]]\nid = 'a'\nsla_target = nan", false),
            ("[[tier]]\nid = 'a'\nsla_target = '0.99'", false),
            ("[[tier", false),
        ] {
            let read = catalogue(text);
            assert_eq!(read.is_ok(), is_one, "{text}");
            assert!(read.map_or_else(|failure| !failure.message().contains('\n'), |_| true), "{text}");
        }
    }

    #[test]
    fn limits_are_numbers_or_unlimited() {
        let limits = limits(&["users=10".into(), "storage=unlimited".into()]).unwrap();
        assert_eq!(limits, json!({ "users": { "value": "10" }, "storage": { "unlimited": true } }));
        assert!(super::limits(&["users=-1".into()]).is_err());
    }
}

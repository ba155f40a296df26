//! `tenantry tier …`

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::contract::enum_value;
use super::escape::harmless;
use super::number::finite;
use super::output::{Column, Format, print, show, show_list, text};
use super::{Context, Failure, class};

/// The catalogues that ship with the program.
const GCC: &str = include_str!("../../catalogues/gcc.toml");
const SAAS: &str = include_str!("../../catalogues/saas.toml");

/// Flags that are named of those that lose their default for a tier.
const NAMED_MAX: usize = 20;

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
    /// Delete a tier that nobody uses; says which flags lose their default for it.
    Delete {
        /// Which.
        tier_id: String,
        /// Only say what would go.
        #[arg(long)]
        dry_run: bool,
    },
    /// Make the tiers of a catalogue: `gcc`, `saas`, or a TOML file. Tiers that are there stay as they are; where they differ
    /// from the file, it says in what.
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
    #[arg(long, value_parser = |word: &str| enum_value("CacheTtlClass", word))]
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
        let class = self.cache_ttl_class;
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
        Command::Delete { tier_id, dry_run } => {
            let request = json!({ "tierId": tier_id, "validateOnly": dry_run });
            // What is only tried keeps no answer.
            let gone = if dry_run {
                context.client.call("Tiers/DeleteTier", request).await?
            } else {
                context.change("Tiers/DeleteTier", request).await?
            };
            if output != Format::Table {
                return show(output, &gone);
            }
            let done = if dry_run { "could be deleted" } else { "is deleted" };
            print(&format!("tier {} {done}{}\n", harmless(&tier_id), going_with(&gone)))
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
                let there = context.client.call("Tiers/GetTier", json!({ "tierId": id })).await?;
                let differs = match differences(&tier, &there) {
                    differences if differences.is_empty() => "as in the catalogue".to_owned(),
                    differences => {
                        format!(
                            "it differs from the catalogue, and stays as it is: {}",
                            differences.join("; ")
                        )
                    }
                };
                print(&format!("tier {id} is there already, {differs}\n"))?;
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

/// What goes with a tier, for people: nothing where nothing does.
fn going_with(gone: &Value) -> String {
    let total = gone["flagKeysTotal"].as_u64().unwrap_or_default();
    if total == 0 {
        return String::new();
    }
    let named: Vec<_> = gone["flagKeys"].as_array().into_iter().flatten().take(NAMED_MAX).map(text).collect();
    let rest = usize::try_from(total).unwrap_or(usize::MAX).saturating_sub(named.len());
    let others = if rest == 0 { String::new() } else { format!(", and {rest} others") };
    let defaults = if total == 1 {
        "the default of 1 flag".to_owned()
    } else {
        format!("the defaults of {total} flags")
    };
    format!(", and with it {defaults}: {}{others}", named.join(", "))
}

/// In what a tier differs from a catalogue's: each as `rank is 5, not 3`.
pub(super) fn differences(catalogue: &Value, there: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |name: &str, wanted: String, is: String| {
        if wanted != is {
            found.push(format!("{name} is {is}, not {wanted}"));
        }
    };
    for (name, given, shown) in [
        ("display_name", "display_name", "displayName"),
        ("description", "description", "description"),
        ("support_level", "support_level", "supportLevel"),
    ] {
        compare(name, format!("{:?}", text(&catalogue[given])), format!("{:?}", text(&there[shown])));
    }
    let number = |value: &Value| value.as_f64().unwrap_or_default().to_string();
    compare("rank", number(&catalogue["rank"]), number(&there["rank"]));
    compare("sla_target", number(&catalogue["sla_target"]), number(&there["slaTarget"]));
    let class = |value: &Value| {
        let class =
            value.as_str().unwrap_or("STANDARD").trim_start_matches("CACHE_TTL_CLASS_").to_lowercase();
        if class == "unspecified" { "standard".to_owned() } else { class }
    };
    compare("cache_ttl_class", class(&catalogue["cache_ttl_class"]), class(&there["cacheTtlClass"]));
    let none = Map::new();
    let wanted = catalogue["limits"].as_object().unwrap_or(&none);
    let is = there["limits"].as_object().unwrap_or(&none);
    let metrics: BTreeSet<_> = wanted.keys().chain(is.keys()).collect();
    for metric in metrics {
        compare(&format!("limits.{}", harmless(metric)), limit(wanted.get(metric)), limit(is.get(metric)));
    }
    found
}

/// A limit, for people.
fn limit(limit: Option<&Value>) -> String {
    match limit.map(|limit| &limit["value"]) {
        None => "absent".to_owned(),
        Some(Value::String(number)) => number.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(_) => "unlimited".to_owned(),
    }
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
    fn what_differs_from_a_catalogue_is_told_and_what_is_not_said_counts_as_the_default() {
        let tier = &catalogue(
            "[[tier]]\nid = 'a'\ndisplay_name = 'A'\nrank = 2\nsla_target = 1\nlimits = { users = 5, gb = 'unlimited' }",
        )
        .unwrap()[0];
        let mut there = json!({
            "tierId": "a", "displayName": "A", "description": "", "rank": 2, "slaTarget": 1.0, "supportLevel": "",
            "cacheTtlClass": "CACHE_TTL_CLASS_STANDARD",
            "limits": { "users": { "value": 5 }, "gb": { "unlimited": true } },
        });
        assert_eq!(differences(tier, &there), [""; 0]);
        there["rank"] = 7.into();
        there["displayName"] = "B".into();
        there["limits"] = json!({ "users": { "value": 6 }, "more": { "value": 1 } });
        assert_eq!(
            differences(tier, &there),
            [
                "display_name is \"B\", not \"A\"",
                "rank is 7, not 2",
                "limits.gb is absent, not unlimited",
                "limits.more is 1, not absent",
                "limits.users is 6, not 5",
            ]
        );
    }

    #[test]
    fn what_goes_with_a_tier_is_counted_and_named() {
        assert_eq!(going_with(&json!({ "flagKeys": [], "flagKeysTotal": 0 })), "");
        let one = json!({ "flagKeys": ["search"], "flagKeysTotal": 1 });
        assert_eq!(going_with(&one), ", and with it the default of 1 flag: search");
        let keys: Vec<_> = (0..100).map(|number| format!("f{number}")).collect();
        let many = going_with(&json!({ "flagKeys": keys, "flagKeysTotal": 123 }));
        assert!(many.starts_with(", and with it the defaults of 123 flags: f0, f1, "), "{many}");
        assert!(many.ends_with("f19, and 103 others"), "{many}");
    }

    #[test]
    fn limits_are_numbers_or_unlimited() {
        let limits = limits(&["users=10".into(), "storage=unlimited".into()]).unwrap();
        assert_eq!(limits, json!({ "users": { "value": "10" }, "storage": { "unlimited": true } }));
        assert!(super::limits(&["users=-1".into()]).is_err());
    }
}

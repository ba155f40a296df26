//! Catalogues: the tiers a new registry starts with, as a TOML file.
//!
//! ```toml
//! [[tier]]
//! id = "gold"
//! display_name = "Gold"
//! rank = 20
//! sla_target = 0.999
//! limits = { users = 50, storage_bytes = "unlimited" }
//! ```

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{CacheTtlClass, Limit, Limits, NewTier};
use crate::domain::ids::{MetricName, TierId};
use crate::domain::text::quote;

/// The catalogue for a company's own business units: platinum, gold, silver.
pub const GCC: &str = include_str!("../../../catalogues/gcc.toml");
/// The catalogue for a product with customers: free, starter, professional, enterprise.
pub const SAAS: &str = include_str!("../../../catalogues/saas.toml");

/// Longest catalogue, in bytes.
pub const LENGTH_MAX: usize = 1 << 20;

/// Why a catalogue was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More than 1 MiB.
    #[error("the catalogue has {0} bytes; at most 1048576 are read")]
    TooLong(usize),
    /// No TOML.
    #[error("the catalogue is not valid TOML at line {line}, column {column}")]
    Syntax {
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
    },
    /// It names no tier.
    #[error("the catalogue has no [[tier]]")]
    Empty,
    /// Something outside the tiers that nothing would read.
    #[error("the catalogue has {quoted} at its top; only [[tier]] is read")]
    UnknownKey {
        /// The key, quoted.
        quoted: String,
    },
    /// A tier is wrong.
    #[error("tier {tier} of the catalogue: {field} {why}")]
    Tier {
        /// The tier's id, or its number from 1 where the id itself is wrong.
        tier: String,
        /// The field, for example `limits.users`.
        field: String,
        /// The end of a sentence that starts with the field.
        why: String,
    },
}

/// Reads a catalogue. Every tier must be sound and no id may come twice; the order is kept.
pub fn parse(text: &str) -> Result<Vec<NewTier>, Error> {
    if text.len() > LENGTH_MAX {
        return Err(Error::TooLong(text.len()));
    }
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        // Only the place is taken from the parser: its words are not ours.
        let (line, column) = place(text, error.span().map_or(0, |span| span.start));
        Error::Syntax { line, column }
    })?;
    if let Some(key) = table.keys().find(|key| *key != "tier") {
        return Err(Error::UnknownKey { quoted: quote(key) });
    }
    let entries = match table.get("tier") {
        Some(toml::Value::Array(entries)) if !entries.is_empty() => entries,
        _ => return Err(Error::Empty),
    };
    let mut seen = BTreeSet::new();
    let mut tiers = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let tier = read_tier(index, entry)?;
        if !seen.insert(tier.id.clone()) {
            return Err(wrong(tier.id.as_str(), "id", "is used by an earlier tier"));
        }
        if let Some(violation) = tier.violations().into_iter().next() {
            return Err(wrong(tier.id.as_str(), violation.field, violation.why));
        }
        tiers.push(tier);
    }
    Ok(tiers)
}

/// Line and column of a byte offset, both from 1.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn wrong(tier: &str, field: impl Into<String>, why: impl Into<String>) -> Error {
    Error::Tier { tier: tier.to_owned(), field: field.into(), why: why.into() }
}

const FIELDS: [&str; 8] =
    ["id", "display_name", "description", "rank", "limits", "sla_target", "support_level", "cache_ttl_class"];

fn read_tier(index: usize, entry: &toml::Value) -> Result<NewTier, Error> {
    let number = (index + 1).to_string();
    let Some(table) = entry.as_table() else { return Err(wrong(&number, "tier", "must be a table")) };
    let id = match table.get("id") {
        Some(toml::Value::String(id)) => {
            TierId::parse(id).map_err(|invalid| wrong(&number, "id", format!("is refused: {invalid}")))?
        }
        _ => return Err(wrong(&number, "id", "must be given, as text")),
    };
    if let Some(key) = table.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        return Err(wrong(
            id.as_str(),
            quote(key),
            format!("is no field of a tier; the fields are {}", FIELDS.join(", ")),
        ));
    }
    let reader = Reader { tier: id.as_str(), table };
    Ok(NewTier {
        display_name: reader.text("display_name")?.unwrap_or(id.as_str()).to_owned(),
        description: reader.text("description")?.unwrap_or_default().to_owned(),
        rank: reader.rank()?,
        limits: reader.limits()?,
        sla_target: reader.sla_target()?,
        support_level: reader.text("support_level")?.unwrap_or_default().to_owned(),
        cache_ttl_class: reader.cache_ttl_class()?,
        id,
    })
}

struct Reader<'a> {
    tier: &'a str,
    table: &'a toml::Table,
}

impl<'a> Reader<'a> {
    fn text(&self, field: &str) -> Result<Option<&'a str>, Error> {
        match self.table.get(field) {
            None => Ok(None),
            Some(toml::Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(self.tier, field, "must be text")),
        }
    }

    fn rank(&self) -> Result<i32, Error> {
        self.table
            .get("rank")
            .and_then(toml::Value::as_integer)
            .and_then(|rank| i32::try_from(rank).ok())
            .ok_or_else(|| wrong(self.tier, "rank", "must be given, as a whole number of 32 bits"))
    }

    fn sla_target(&self) -> Result<f64, Error> {
        match self.table.get("sla_target") {
            Some(toml::Value::Float(target)) => Ok(*target),
            Some(toml::Value::Integer(0)) => Ok(0.0),
            Some(toml::Value::Integer(1)) => Ok(1.0),
            _ => Err(wrong(
                self.tier,
                "sla_target",
                "must be given, as a number from 0 to 1, for example 0.999",
            )),
        }
    }

    fn limits(&self) -> Result<Limits, Error> {
        let Some(limits) = self.table.get("limits") else { return Ok(Limits::new()) };
        let Some(limits) = limits.as_table() else {
            return Err(wrong(self.tier, "limits", "must be a table of metrics, for example { users = 50 }"));
        };
        let mut read = Limits::new();
        for (metric, bound) in limits {
            let metric = MetricName::parse(metric)
                .map_err(|invalid| wrong(self.tier, "limits", format!("is refused: {invalid}")))?;
            let limit = Limit::deserialize(bound.clone()).map_err(|_| {
                wrong(
                    self.tier,
                    format!("limits.{metric}"),
                    "must be a whole number of 0 or more, or the word \"unlimited\"",
                )
            })?;
            read.insert(metric, limit);
        }
        Ok(read)
    }

    fn cache_ttl_class(&self) -> Result<CacheTtlClass, Error> {
        let Some(word) = self.text("cache_ttl_class")? else { return Ok(CacheTtlClass::default()) };
        [CacheTtlClass::Critical, CacheTtlClass::Standard, CacheTtlClass::Relaxed]
            .into_iter()
            .find(|class| class.as_str().eq_ignore_ascii_case(word))
            .ok_or_else(|| wrong(self.tier, "cache_ttl_class", "must be critical, standard or relaxed"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(tiers: &[NewTier]) -> Vec<String> {
        tiers
            .iter()
            .map(|tier| {
                let limits: Vec<_> =
                    tier.limits.iter().map(|(metric, limit)| format!("{metric}={limit}")).collect();
                format!(
                    "{} {} {} {} {}",
                    tier.id,
                    tier.rank,
                    tier.sla_target,
                    tier.support_level,
                    limits.join(",")
                )
            })
            .collect()
    }

    #[test]
    fn the_gcc_catalogue_has_platinum_gold_and_silver() {
        assert_eq!(
            shown(&parse(GCC).unwrap()),
            [
                "platinum 30 0.9999 24/7 documents=50000,queries=10000,users=100",
                "gold 20 0.999 business-hours documents=8000,queries=3000,users=50",
                "silver 10 0.99 email-only documents=2000,queries=500,users=20",
            ]
        );
    }

    #[test]
    fn the_saas_catalogue_has_the_four_plans() {
        let gb = 1_000_000_000_u64;
        let limits: Vec<_> = parse(SAAS)
            .unwrap()
            .into_iter()
            .map(|tier| {
                let bound = |metric: &str| tier.limits[metric].bound().unwrap();
                (tier.id.to_string(), bound("events"), bound("participants"), bound("storage_bytes") / gb)
            })
            .collect();
        assert_eq!(
            limits,
            [
                ("free".to_owned(), 1, 50, 1),
                ("starter".to_owned(), 5, 200, 5),
                ("professional".to_owned(), 20, 1000, 25),
                ("enterprise".to_owned(), 100, 5000, 100),
            ]
        );
        let ranks: Vec<_> = parse(SAAS).unwrap().iter().map(|tier| tier.rank).collect();
        assert!(ranks.is_sorted() && ranks.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn unlimited_is_a_word() {
        let tiers =
            parse("[[tier]]\nid='a'\nrank=1\nsla_target=1\nlimits={users='unlimited', events=0}").unwrap();
        assert_eq!(tiers[0].limits["users"], Limit::Unlimited);
        assert_eq!(tiers[0].limits["events"], Limit::At(0));
        assert_eq!(tiers[0].display_name, "a", "the id where no name is given");
    }

    #[test]
    fn what_is_wrong_is_said_with_the_tier_and_the_field() {
        let base = "[[tier]]\nid='a'\nrank=1\nsla_target=0.9\n";
        for (text, sentence) in [
            ("", "the catalogue has no [[tier]]"),
            ("tier = []", "the catalogue has no [[tier]]"),
            ("[[tier]]\nid = \"", "the catalogue is not valid TOML at line 2, column 7"),
            ("x = 1", "the catalogue has \"x\" at its top; only [[tier]] is read"),
            ("[[tier]]\nrank = 1", "tier 1 of the catalogue: id must be given, as text"),
            (&format!("{base}{base}"), "tier a of the catalogue: id is used by an earlier tier"),
            (
                &format!("{base}name='x'"),
                "tier a of the catalogue: \"name\" is no field of a tier; the fields are id, display_name, description, rank, limits, sla_target, support_level, cache_ttl_class",
            ),
            (
                &format!("{base}limits={{users=-1}}"),
                "tier a of the catalogue: limits.users must be a whole number of 0 or more, or the word \"unlimited\"",
            ),
            (
                &format!("{base}display_name=''"),
                "tier a of the catalogue: display_name must not be empty or blank",
            ),
            (
                &format!("{base}cache_ttl_class='long'"),
                "tier a of the catalogue: cache_ttl_class must be critical, standard or relaxed",
            ),
            (
                "[[tier]]\nid='a'\nrank=1\nsla_target=99",
                "tier a of the catalogue: sla_target must be given, as a number from 0 to 1, for example 0.999",
            ),
            (
                "[[tier]]\nid='a'\nrank=1\nsla_target=nan",
                "tier a of the catalogue: sla_target must be a number from 0 to 1, for example 0.999",
            ),
            (
                "[[tier]]\nid='a'\nrank=99999999999\nsla_target=1",
                "tier a of the catalogue: rank must be given, as a whole number of 32 bits",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), sentence);
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in any::<String>(), cut in 0_usize..400) {
            let _ = parse(&text);
            let _ = parse(GCC.get(..cut).unwrap_or(GCC));
        }
    }
}

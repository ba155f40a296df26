//! Tiers: what tenants of a kind may use, and the tiers a new registry starts with.

pub mod catalogue;
mod settings;
mod users;

pub use self::settings::TierField;
pub use self::users::TierUsers;

use std::collections::BTreeMap;
use std::collections::btree_map::Iter;
use std::fmt;
use std::iter::Peekable;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ids::{MetricName, Revision, TierId};
use super::text;
use super::violation::Violation;

/// Longest description, in characters.
pub const DESCRIPTION_MAX: usize = 4_000;
/// Longest support level, in characters.
pub const SUPPORT_LEVEL_MAX: usize = 64;
/// Most limits of one tier or one tenant.
pub const LIMITS_MAX: usize = 64;

/// Limits by metric.
pub type Limits = BTreeMap<MetricName, Limit>;

/// An upper bound of a metric. Not having a limit for a metric and having `Unlimited` allow the same; the latter
/// says that someone meant it, and as an override it lifts the tier's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// No bound.
    Unlimited,
    /// At most this many, in the metric's unit. 0 is zero: nothing is allowed.
    At(u64),
}

impl Limit {
    /// Whether `used` stays within the limit.
    pub const fn allows(self, used: u64) -> bool {
        match self {
            Self::Unlimited => true,
            Self::At(bound) => used <= bound,
        }
    }

    /// The number, if there is one.
    pub const fn bound(self) -> Option<u64> {
        match self {
            Self::Unlimited => None,
            Self::At(bound) => Some(bound),
        }
    }
}

/// By generosity: every number is below unlimited.
impl Ord for Limit {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // `None` (unlimited) must come last, and Option orders it first.
        (self.bound().is_none(), self.bound()).cmp(&(other.bound().is_none(), other.bound()))
    }
}

impl PartialOrd for Limit {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.pad("unlimited"),
            Self::At(bound) => bound.fmt(f),
        }
    }
}

/// A number or the word `unlimited`, in files, in the log and in the database alike.
impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unlimited => serializer.serialize_str("unlimited"),
            Self::At(bound) => serializer.serialize_u64(*bound),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Limit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of 0 or more, or the word \"unlimited\"")
            }

            fn visit_u64<E: serde::de::Error>(self, bound: u64) -> Result<Limit, E> {
                Ok(Limit::At(bound))
            }

            fn visit_i64<E: serde::de::Error>(self, bound: i64) -> Result<Limit, E> {
                u64::try_from(bound)
                    .map(Limit::At)
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(bound), &self))
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Limit, E> {
                if word == "unlimited" {
                    Ok(Limit::Unlimited)
                } else {
                    Err(E::invalid_value(serde::de::Unexpected::Str(word), &self))
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// How long others may keep what they read of a tier's tenants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CacheTtlClass {
    /// One minute.
    Critical,
    /// Five minutes.
    #[default]
    Standard,
    /// Fifteen minutes.
    Relaxed,
}

impl CacheTtlClass {
    /// The time.
    pub const fn ttl(self) -> Duration {
        match self {
            Self::Critical => Duration::from_mins(1),
            Self::Standard => Duration::from_mins(5),
            Self::Relaxed => Duration::from_mins(15),
        }
    }

    /// The name in the contract, for example `STANDARD`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "CRITICAL",
            Self::Standard => "STANDARD",
            Self::Relaxed => "RELAXED",
        }
    }
}

/// A tier as someone asks for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTier {
    /// Chosen by the caller, immutable.
    pub id: TierId,
    /// For people, 1 to 200 characters.
    pub display_name: String,
    /// Free text, up to 4,000 characters.
    #[serde(default)]
    pub description: String,
    /// Higher is more; two tiers may share a rank.
    pub rank: i32,
    /// Limits by metric, at most 64.
    #[serde(default)]
    pub limits: Limits,
    /// Availability aimed at, 0 to 1.
    pub sla_target: f64,
    /// For example `24/7`, up to 64 characters.
    #[serde(default)]
    pub support_level: String,
    /// How long others may keep what they read of its tenants.
    #[serde(default)]
    pub cache_ttl_class: CacheTtlClass,
}

impl NewTier {
    /// What is wrong with the tier; empty when it can be made.
    pub fn violations(&self) -> Vec<Violation> {
        let checks = [
            ("display_name", text::display_name(&self.display_name)),
            ("description", text::free(&self.description, DESCRIPTION_MAX)),
            ("support_level", text::one_line(&self.support_level, SUPPORT_LEVEL_MAX)),
        ];
        let mut found: Vec<Violation> = checks
            .into_iter()
            .filter_map(|(field, check)| check.err().map(|invalid| Violation::new(field, invalid.why)))
            .collect();
        // Also refuses NaN, which no range contains.
        if !(0.0..=1.0).contains(&self.sla_target) {
            found.push(Violation::new("sla_target", "must be a number from 0 to 1, for example 0.999"));
        }
        if self.limits.len() > LIMITS_MAX {
            found.push(Violation::new("limits", format!("must have at most {LIMITS_MAX} entries")));
        }
        found
    }

    /// The tier as first stored.
    pub fn into_tier(self, revision: Revision, now: Timestamp) -> Tier {
        Tier {
            id: self.id,
            display_name: self.display_name,
            description: self.description,
            rank: self.rank,
            limits: self.limits,
            sla_target: self.sla_target,
            support_level: self.support_level,
            cache_ttl_class: self.cache_ttl_class,
            version: 1,
            revision,
            create_time: now,
            update_time: now,
        }
    }
}

/// A tier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tier {
    /// Chosen by the caller, immutable.
    #[serde(rename = "tier_id")]
    pub id: TierId,
    /// For people, 1 to 200 characters.
    pub display_name: String,
    /// Free text, up to 4,000 characters.
    pub description: String,
    /// Higher is more; two tiers may share a rank.
    pub rank: i32,
    /// Limits by metric, at most 64.
    pub limits: Limits,
    /// Availability aimed at, 0 to 1.
    pub sla_target: f64,
    /// For example `24/7`, up to 64 characters.
    pub support_level: String,
    /// How long others may keep what they read of its tenants.
    pub cache_ttl_class: CacheTtlClass,
    /// How often it was written, from 1.
    pub version: u64,
    /// The revision of its last change.
    pub revision: Revision,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it was last changed.
    pub update_time: Timestamp,
}

/// Who set a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitSource {
    /// The tenant's tier.
    Tier,
    /// The tenant's own override.
    Override,
}

/// A limit in force, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectiveLimit<'a> {
    /// What is limited.
    pub metric: &'a MetricName,
    /// The bound in force.
    pub limit: Limit,
    /// Who set it.
    pub source: LimitSource,
}

/// The limits in force for a tenant, by metric: an override takes the place of the tier's limit, higher or lower.
pub fn effective_limits<'a>(
    tier: &'a Limits,
    overrides: &'a Limits,
) -> impl Iterator<Item = EffectiveLimit<'a>> {
    EffectiveLimits { tier: tier.iter().peekable(), overrides: overrides.iter().peekable() }
}

/// The limit in force for one metric, if any.
pub fn effective_limit<'a>(
    tier: &'a Limits,
    overrides: &'a Limits,
    metric: &str,
) -> Option<EffectiveLimit<'a>> {
    let find = |limits: &'a Limits, source| {
        limits.get_key_value(metric).map(|(metric, limit)| EffectiveLimit { metric, limit: *limit, source })
    };
    find(overrides, LimitSource::Override).or_else(|| find(tier, LimitSource::Tier))
}

/// The support level in force for a tenant: its own, or else its tier's.
pub fn effective_support_level<'a>(own: &'a str, tier: impl FnOnce() -> Option<&'a Tier>) -> &'a str {
    if own.is_empty() { tier().map_or("", |tier| &tier.support_level) } else { own }
}

/// Merges two sorted maps as it goes, so that showing a tenant allocates nothing.
struct EffectiveLimits<'a> {
    tier: Peekable<Iter<'a, MetricName, Limit>>,
    overrides: Peekable<Iter<'a, MetricName, Limit>>,
}

impl<'a> Iterator for EffectiveLimits<'a> {
    type Item = EffectiveLimit<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let from_tier = match (self.tier.peek(), self.overrides.peek()) {
            (None, None) => return None,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some((tier, _)), Some((own, _))) => {
                if tier == own {
                    self.tier.next();
                    false
                } else {
                    tier < own
                }
            }
        };
        let (entries, source) = if from_tier {
            (&mut self.tier, LimitSource::Tier)
        } else {
            (&mut self.overrides, LimitSource::Override)
        };
        entries.next().map(|(metric, limit)| EffectiveLimit { metric, limit: *limit, source })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits<const N: usize>(entries: [(&str, Limit); N]) -> Limits {
        entries.into_iter().map(|(metric, limit)| (MetricName::parse(metric).unwrap(), limit)).collect()
    }

    fn gold() -> NewTier {
        NewTier {
            id: TierId::parse("gold").unwrap(),
            display_name: "Gold".into(),
            description: String::new(),
            rank: 20,
            limits: limits([("users", Limit::At(50))]),
            sla_target: 0.999,
            support_level: "business-hours".into(),
            cache_ttl_class: CacheTtlClass::Standard,
        }
    }

    #[test]
    fn an_override_takes_the_place_of_the_tier_s_limit_and_says_so() {
        let tier =
            limits([("documents", Limit::At(8000)), ("queries", Limit::At(3000)), ("users", Limit::At(50))]);
        let own = limits([("events", Limit::At(0)), ("queries", Limit::Unlimited)]);
        let effective: Vec<_> =
            effective_limits(&tier, &own).map(|e| (e.metric.as_str(), e.limit, e.source)).collect();
        assert_eq!(
            effective,
            [
                ("documents", Limit::At(8000), LimitSource::Tier),
                ("events", Limit::At(0), LimitSource::Override),
                ("queries", Limit::Unlimited, LimitSource::Override),
                ("users", Limit::At(50), LimitSource::Tier),
            ]
        );
    }

    #[test]
    fn a_limit_of_zero_allows_nothing_and_unlimited_everything() {
        assert!(Limit::At(0).allows(0));
        assert!(!Limit::At(0).allows(1));
        assert!(Limit::Unlimited.allows(u64::MAX));
        assert!(Limit::At(u64::MAX) < Limit::Unlimited);
        assert!(Limit::At(0) < Limit::At(1));
    }

    #[test]
    fn limits_are_written_as_a_number_or_the_word_unlimited() {
        for (limit, json) in [
            (Limit::At(0), "0"),
            (Limit::At(u64::MAX), "18446744073709551615"),
            (Limit::Unlimited, "\"unlimited\""),
        ] {
            assert_eq!(serde_json::to_string(&limit).unwrap(), json);
            assert_eq!(serde_json::from_str::<Limit>(json).unwrap(), limit);
        }
        for bad in ["-1", "1.5", "\"many\"", "null", "true"] {
            assert!(serde_json::from_str::<Limit>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_sound_tier_has_no_violations_and_starts_at_version_1() {
        assert_eq!(gold().violations(), []);
        let now = Timestamp::UNIX_EPOCH;
        let tier = gold().into_tier(Revision(7), now);
        assert_eq!(
            (tier.version, tier.revision, tier.create_time, tier.update_time),
            (1, Revision(7), now, now)
        );
    }

    #[test]
    fn every_field_that_is_wrong_is_named_at_once() {
        let tier = NewTier {
            display_name: " ".into(),
            description: "x".repeat(4001),
            support_level: "a\nb".into(),
            sla_target: f64::NAN,
            limits: (0..65).map(|i| (MetricName::parse(&format!("m{i}")).unwrap(), Limit::At(1))).collect(),
            ..gold()
        };
        let fields: Vec<_> = tier.violations().into_iter().map(|v| v.field).collect();
        assert_eq!(fields, ["display_name", "description", "support_level", "sla_target", "limits"]);
        for sla_target in [-0.1, 1.0001, f64::INFINITY] {
            assert_eq!(NewTier { sla_target, ..gold() }.violations().len(), 1);
        }
    }

    fn some_limits() -> impl Strategy<Value = Limits> {
        let limit = prop_oneof![Just(Limit::Unlimited), any::<u64>().prop_map(Limit::At)];
        prop::collection::btree_map(
            "[a-d]{1,2}".prop_map(|name| MetricName::parse(&name).unwrap()),
            limit,
            0..12,
        )
    }

    proptest! {
        #[test]
        fn effective_limits_are_the_union_sorted_with_overrides_winning(tier in some_limits(), own in some_limits()) {
            let merged: Vec<_> = effective_limits(&tier, &own).collect();
            let mut expected = tier.clone();
            expected.extend(own.clone());
            prop_assert_eq!(merged.iter().map(|e| (e.metric.clone(), e.limit)).collect::<Vec<_>>(), expected.into_iter().collect::<Vec<_>>());
            for e in merged {
                prop_assert_eq!(e.source == LimitSource::Override, own.contains_key(e.metric));
                prop_assert_eq!(effective_limit(&tier, &own, e.metric.as_str()), Some(e));
            }
        }
    }
}

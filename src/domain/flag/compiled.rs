//! One flag, prepared once so that answering is cheap.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::choice::{Choice, Split};
use super::evaluate::Query;
use super::settings::{Flag, Kind, Settings};
use super::size::Size;
use super::targeting::{Body, TargetingRule};
use super::value::Value;
use super::words::Layer;
use crate::domain::ids::{Revision, VariantName};
use crate::domain::rule::{self, Path, Prepared, Rule, Segments};

/// A variant with its value.
pub(super) type Given = (VariantName, Value);

/// A flag and what follows from it alone.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) flag: Arc<Flag>,
    pub(super) default: Option<Given>,
    pub(super) safe: Option<Given>,
    pub(super) off: Option<Given>,
    pub(super) expired: Option<Given>,
    /// When it ends by itself, where that changes its answers.
    pub(super) ends: Option<Timestamp>,
    /// The flag's, at hand.
    pub(super) revision: Revision,
    pub(super) rules: Box<[CompiledRule]>,
    pub(super) default_split: Option<Box<ReadySplit>>,
    /// The segments that its rules name, whether or not they are there.
    named: BTreeSet<String>,
    /// The layers that can say anything, in order.
    pub(super) layers: Box<[Layer]>,
    /// Whether those of an active tenant are the override, the rules and the defaults alone.
    pub(super) is_simple: bool,
    /// Whether its answers hang on other flags.
    pub(super) hangs_on_others: bool,
    /// What it has of a set of flags.
    pub(super) size: Size,
    /// Whether nothing but a tier default or an override can make tenants, contexts or moments differ.
    pub(super) is_constant: bool,
}

/// A rule whose test is compiled, or why it could not be: a flag taken from elsewhere may be broken, and then answers
/// with an error where the rule's turn comes.
#[derive(Debug)]
pub(super) struct CompiledRule {
    pub(super) id: Box<str>,
    pub(super) test: Result<Rule, Box<rule::Error>>,
    /// What it gives where its test holds; nothing for one whose test names the variant itself.
    pub(super) serve: Option<Ready>,
}

impl CompiledRule {
    fn new(rule: &TargetingRule, test: &Json, segments: &Segments, settings: &Settings) -> Self {
        Self {
            id: rule.id.as_str().into(),
            test: Rule::compile_foreign(test, segments, settings.hash_version).map_err(Box::new),
            serve: served(rule).map(|choice| Ready::new(choice, settings)),
        }
    }
}

/// A variant's name, and its value where the flag has it.
pub(super) type Named = (VariantName, Option<Value>);

/// What a layer gives, with its values looked up.
#[derive(Debug)]
pub(super) enum Ready {
    Variant(Named),
    Split(Box<ReadySplit>),
}

impl Ready {
    fn new(choice: &Choice, settings: &Settings) -> Self {
        match choice {
            Choice::Variant(variant) => Self::Variant(named(variant, settings)),
            Choice::Rollout(split) => Self::Split(Box::new(ReadySplit::new(split, settings))),
        }
    }
}

/// A rollout, with its values looked up.
#[derive(Debug)]
pub(super) struct ReadySplit {
    /// Whether it is a share of tenants.
    pub(super) is_of_tenants: bool,
    pub(super) bucket_by: Path,
    pub(super) shares: Prepared<Named>,
}

impl ReadySplit {
    fn new(split: &Split, settings: &Settings) -> Self {
        Self {
            is_of_tenants: !split.asks_callers(),
            bucket_by: Path::parse(&split.bucket_by),
            shares: Prepared::new(&split.rollout, settings.hash_version, |variant| named(variant, settings)),
        }
    }
}

fn named(variant: &VariantName, settings: &Settings) -> Named {
    (variant.clone(), settings.variants.get(variant).cloned())
}

impl Compiled {
    pub(super) fn new(flag: Arc<Flag>, segments: &Segments) -> Self {
        let settings = &flag.settings;
        let given = |variant: Option<&VariantName>| {
            let (name, value) = settings.variants.get_key_value(variant?)?;
            Some((name.clone(), value.clone()))
        };
        let safe = given(settings.safe_answer()).or_else(|| given(settings.default_variant.as_ref()));
        let tests: Vec<_> = settings.rules.iter().map(TargetingRule::source).collect();
        let layers = layers(settings);
        let rare = |layer: &Layer| {
            matches!(
                layer,
                Layer::KillSwitch | Layer::Expired | Layer::Schedule | Layer::Prerequisite | Layer::Conflict
            )
        };
        let is_enabled = settings.state == super::FlagState::Enabled;
        let expired = given(settings.expired_variant.as_ref());
        Self {
            default: given(settings.default_variant.as_ref()),
            off: given(settings.off_answer()),
            ends: settings.expire_time.filter(|_| expired.is_some()),
            revision: flag.revision,
            expired,
            named: named_segments(&tests),
            rules: settings
                .rules
                .iter()
                .zip(&tests)
                .map(|(rule, test)| CompiledRule::new(rule, test, segments, settings))
                .collect(),
            size: Size::new(settings, &tests, segments),
            default_split: settings
                .default_rollout
                .as_ref()
                .map(|split| Box::new(ReadySplit::new(split, settings))),
            hangs_on_others: settings.needs().next().is_some() || !settings.conflict_groups.is_empty(),
            is_simple: is_enabled && !layers.iter().any(rare),
            is_constant: is_enabled
                && layers.len() == ALWAYS_ASKED
                && settings.default_rollout.is_none()
                && (settings.kind == Kind::KillSwitch
                    || safe.as_ref().map(|(variant, _)| variant) == settings.default_variant.as_ref()),
            layers,
            safe,
            flag,
        }
    }

    /// Whether it is answered as for an active tenant, whatever the query's is: so is a kill switch, and with it all that it
    /// hangs on. Else a suspension would end an emergency.
    pub(super) fn is_as_for_active(&self, query: &Query<'_>) -> bool {
        self.flag.settings.kind == Kind::KillSwitch && !query.is_active()
    }

    /// Whether the flag names itself what is safe.
    pub(super) fn names_safe(&self) -> bool {
        self.flag.settings.safe_variant.is_some() || self.flag.settings.expired_variant.is_some()
    }

    /// Whether it matters for a tenant that is not active if it would be off for an active one.
    pub(super) fn may_stay_off(&self) -> bool {
        let (off, safe) = (self.off.as_ref(), self.safe.as_ref());
        !self.names_safe() && off.map(|(variant, _)| variant) != safe.map(|(variant, _)| variant)
    }

    /// The layers that are asked after one.
    pub(super) fn layers_below(&self, layer: Layer) -> &[Layer] {
        let asked = self.layers.iter().take_while(|it| **it <= layer).count();
        self.layers.get(asked..).unwrap_or_default()
    }

    /// Whether one of its rules uses a segment.
    pub(super) fn uses(&self, segment: &str) -> bool {
        self.named.contains(segment) || self.segments().any(|name| name == segment)
    }

    /// Whether a change of any segment can change its rules: the segments that they name may name others.
    pub(super) fn names_segments(&self) -> bool {
        !self.named.is_empty()
    }

    /// The segments that its rules use, directly or through others.
    pub(super) fn segments(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter_map(|rule| rule.test.as_ref().ok()).flat_map(Rule::segments)
    }

    /// Whether a rule of it looks at the time.
    pub(super) fn reads_time(&self) -> bool {
        self.rules.iter().filter_map(|rule| rule.test.as_ref().ok()).any(Rule::reads_time)
    }

    /// What the patterns in its rules take in memory, in bytes.
    pub(super) fn pattern_bytes(&self) -> usize {
        self.rules.iter().filter_map(|rule| rule.test.as_ref().ok()).map(Rule::pattern_bytes).sum()
    }

    /// Whether an answer can hang on what is in the context.
    pub(super) fn reads_context(&self) -> bool {
        !self.flag.settings.rules.is_empty() || self.flag.settings.default_rollout.is_some()
    }

    /// The moments at which its answers can change.
    pub(super) fn moments(&self) -> impl Iterator<Item = Timestamp> {
        let settings = &self.flag.settings;
        let expiry = settings.expire_time.filter(|_| self.expired.is_some());
        let windows =
            settings.schedule.iter().flat_map(|window| [window.start_time, window.end_time]).flatten();
        let steps = settings.default_rollout.iter().flat_map(|split| &split.rollout.steps);
        expiry
            .into_iter()
            .chain(windows)
            .chain(steps.map(|step| step.start_time))
            .chain(settings.rules.iter().flat_map(TargetingRule::moments))
    }
}

/// How many layers every flag has.
const ALWAYS_ASKED: usize = 5;

fn named_segments(tests: &[Json]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut waiting: Vec<&Json> = tests.iter().collect();
    while let Some(source) = waiting.pop() {
        match source {
            Json::Array(items) => waiting.extend(items),
            Json::Object(map) => {
                let name = map.get("$ref").and_then(Json::as_str);
                names.extend(name.map(str::to_owned));
                waiting.extend(map.values());
            }
            _ => {}
        }
    }
    names
}

fn layers(settings: &Settings) -> Box<[Layer]> {
    let can_speak = |layer: &Layer| match layer {
        Layer::UnknownFlag => false,
        Layer::KillSwitch => settings.kill_switch.is_some(),
        Layer::Expired => settings.expire_time.is_some() && settings.expired_variant.is_some(),
        Layer::Schedule => !settings.schedule.is_empty(),
        Layer::Prerequisite => !settings.prerequisites.is_empty(),
        Layer::Conflict => !settings.conflict_groups.is_empty(),
        Layer::TargetingRule => !settings.rules.is_empty(),
        Layer::Disabled
        | Layer::SafeDefault
        | Layer::TenantOverride
        | Layer::TierDefault
        | Layer::GlobalDefault => true,
    };
    Layer::OF_FLAG.into_iter().filter(can_speak).collect()
}

/// What a rule gives where its test holds; nothing for one whose test names the variant itself.
pub(super) const fn served(rule: &TargetingRule) -> Option<&Choice> {
    match &rule.body {
        Body::Logic(_) => None,
        Body::Match { serve, .. } => Some(serve),
    }
}

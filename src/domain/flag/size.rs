//! How large the set of all flags is that in-process providers get.
//!
//! Sizes are those of flags as they lie, counted when a flag is compiled, so a change is told of what it makes without a set
//! being made, which differs by some per cent.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::CompiledFlags;
use super::choice::{Choice, Split};
use super::compiled::{Compiled, served};
use super::flag_set::LEVELS_MAX;
use super::settings::{FlagState, Settings};
use super::value::Value;
use crate::domain::ids::{FlagKey, VariantName};
use crate::domain::rule::limit::NODES_MAX;
use crate::domain::rule::{Segments, text_length, written_length, written_nodes};

/// Largest message that gRPC clients take unless they are told otherwise.
pub const CLIENT_BYTES_MAX: usize = 4 << 20;
/// From here on people are told: 80 % of it.
const WARN_BYTES: usize = CLIENT_BYTES_MAX / 5 * 4;
/// What stands around a flag's key, variants, default and rule, with its revision.
const FRAME_BYTES: usize = 100;
/// What stands around a rule's test and what it gives.
const RULE_BYTES: usize = 14;
/// What stands around a share's key, and around each of its weights.
const SHARE_BYTES: usize = 70;
const WEIGHT_BYTES: usize = 8;
/// What stands around a flag's rule in that of another, and of how many values that is.
const GUARD_BYTES: usize = 45;
const GUARD_NODES: usize = 12;
const MIB: usize = 1 << 20;

/// About how many bytes of a set a flag has.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    /// All of it, but for what it hangs on.
    pub(super) whole: usize,
    /// Its rule, and of how many values that is.
    rule: usize,
    pub(super) nodes: usize,
}

impl Size {
    /// Of a flag whose rules have these tests.
    pub(super) fn new(settings: &Settings, tests: &[Json], segments: &Segments) -> Self {
        let variants = settings.variants.iter();
        let variants: usize =
            variants.map(|(name, value)| name.as_str().len() + 4 + value_length(value)).sum();
        let metadata = settings.metadata.iter();
        let metadata: usize = metadata
            .map(|(name, value)| text_length(name) + 2 + written_length(value, Segments::none()))
            .sum();
        let default = settings.default_variant.as_ref().map_or(0, |name| name.as_str().len());
        let names = settings.key.as_str().len() + settings.flag_set.len() + default;
        let rule =
            if settings.state == FlagState::Enabled { rule_length(settings, tests, segments) } else { 0 };
        let nodes = tests.iter().map(|test| written_nodes(test, segments)).fold(0, usize::saturating_add);
        Self { whole: FRAME_BYTES + names + variants + metadata + rule, rule, nodes }
    }
}

/// A flag's rule with what it hangs on in it.
#[derive(Debug, Clone, Copy, Default)]
struct Written {
    bytes: usize,
    nodes: usize,
    /// How many flags are worked into each other in it.
    levels: usize,
}

impl Written {
    /// With another within it.
    const fn with(self, other: Self) -> Self {
        if other.bytes == 0 {
            return self;
        }
        Self {
            bytes: self.bytes.saturating_add(other.bytes).saturating_add(GUARD_BYTES),
            nodes: self.nodes.saturating_add(other.nodes).saturating_add(GUARD_NODES),
            levels: if self.levels > other.levels { self.levels } else { other.levels },
        }
    }

    /// As it is handed out: none where it would be larger than a rule may be.
    fn handed_out(self) -> Option<Self> {
        let fits = self.levels < LEVELS_MAX && self.nodes <= NODES_MAX;
        fits.then_some(if self.bytes == 0 { self } else { Self { levels: self.levels + 1, ..self } })
    }
}

/// A flag of which the size is known.
#[derive(Debug, Clone, Copy, Default)]
struct Counted<'a> {
    /// Its rule as it is handed out.
    whole: Written,
    /// The same where the flag is looked at by itself, as those see it that it excludes.
    alone: Option<Written>,
    /// What it gives where it has no rule.
    given: Option<&'a VariantName>,
}

/// How large the rules of flags are that hang on each other, each counted once.
struct Sizes<'a> {
    flags: &'a CompiledFlags,
    found: HashMap<&'a str, Counted<'a>>,
}

impl<'a> Sizes<'a> {
    /// Of a flag, after those that it hangs on. No recursion: a chain may be as long as there are flags.
    fn of(&mut self, key: &'a FlagKey) -> Written {
        let flags = self.flags;
        let mut waiting = vec![key];
        while let Some(key) = waiting.last().copied() {
            let compiled = flags.compiled(key.as_str()).filter(|_| !self.found.contains_key(key.as_str()));
            let Some(compiled) = compiled else {
                waiting.pop();
                continue;
            };
            let is_found = |key: &FlagKey| self.found.contains_key(key.as_str());
            if let Some(needed) = flags.next_below(compiled, waiting.len(), is_found) {
                waiting.push(needed);
                continue;
            }
            let found = self.find(compiled);
            self.found.insert(key.as_str(), found);
            waiting.pop();
        }
        self.found.get(key.as_str()).map(|counted| counted.whole).unwrap_or_default()
    }

    fn find(&self, compiled: &'a Compiled) -> Counted<'a> {
        let settings = &compiled.flag.settings;
        let none = Written::default();
        if settings.state != FlagState::Enabled {
            return Counted { whole: none, alone: Some(none), given: None };
        }
        if self.is_off(settings) {
            return Counted { whole: none, alone: Some(none), given: settings.off_answer() };
        }
        let found = |key: &FlagKey| self.found.get(key.as_str());
        let own = Written { bytes: compiled.size.rule, nodes: compiled.size.nodes, levels: 0 };
        let needed = settings.needs().filter_map(found);
        let needing = needed.fold(own, |written, needed| written.with(needed.whole));
        let alone = if settings.conflict_groups.len() == 1 { needing.handed_out() } else { None };
        let all = settings.conflict_groups.iter().fold(needing, |written, group| {
            let rivals = || self.flags.rivals_in(settings, group).filter_map(found);
            let are_alone = rivals().all(|rival| rival.alone.is_some());
            rivals().fold(written, |written, rival| {
                written.with(rival.alone.filter(|_| are_alone).unwrap_or(rival.whole))
            })
        });
        let given = settings.default_variant.as_ref();
        Counted { whole: all.handed_out().unwrap_or_default(), alone, given }
    }

    /// Whether it is off by a flag that gives everybody the same, so that nothing is left of its rule.
    fn is_off(&self, settings: &Settings) -> bool {
        let given = |key: &FlagKey| match self.found.get(key.as_str()) {
            Some(counted) if counted.whole.bytes > 0 => None,
            counted => Some(counted.and_then(|counted| counted.given)),
        };
        let is_false = |switch: &FlagKey, name: Option<&VariantName>| {
            let value = self.flags.flag(switch.as_str()).zip(name);
            value.and_then(|(flag, name)| flag.settings.variants.get(name)?.as_bool()) == Some(false)
        };
        let switch = settings.kill_switch.as_ref();
        switch.is_some_and(|switch| given(switch).is_some_and(|name| !is_false(switch, name)))
            || settings.prerequisites.iter().any(|needed| {
                let given = given(&needed.flag_key);
                given.is_some_and(|name| !name.is_some_and(|name| needed.variants.contains(name)))
            })
    }
}

fn value_length(value: &Value) -> usize {
    match value {
        Value::String(text) => text_length(text),
        Value::Json(json) => written_length(json, Segments::none()),
        Value::Object(map) => {
            let members = map.iter();
            members.map(|(name, value)| text_length(name) + 2 + written_length(value, Segments::none())).sum()
        }
        other => written_length(&other.to_json(), Segments::none()),
    }
}

fn rule_length(settings: &Settings, tests: &[Json], segments: &Segments) -> usize {
    let gives = settings.rules.iter().map(|rule| match served(rule) {
        None => 0,
        Some(Choice::Variant(variant)) => variant.as_str().len() + RULE_BYTES,
        Some(Choice::Rollout(split)) => share_length(split) + RULE_BYTES,
    });
    let tests = tests.iter().map(|test| written_length(test, segments));
    tests
        .chain(gives)
        .chain(settings.default_rollout.as_ref().map(share_length))
        .fold(0, usize::saturating_add)
}

fn share_length(split: &Split) -> usize {
    let weights = split.rollout.weights.iter();
    let weights: usize = weights.map(|weight| weight.variant.as_str().len() + WEIGHT_BYTES).sum();
    SHARE_BYTES + split.rollout.seed.len() + 2 * split.bucket_by.len() + weights
}

impl CompiledFlags {
    /// About how many bytes the set of all flags has that an in-process provider gets who selects no tenant. That of a tenant
    /// is smaller where rules read what the registry knows, which is decided in it; else it is about as large.
    pub fn set_bytes(&self) -> usize {
        let mut sizes = Sizes { flags: self, found: HashMap::new() };
        self.entries
            .iter()
            .filter_map(|(key, entry)| Some((key, entry.compiled.as_deref()?)))
            .filter(|(_, compiled)| compiled.hangs_on_others)
            .fold(self.flags_bytes, |bytes, (key, compiled)| {
                bytes.saturating_sub(compiled.size.rule).saturating_add(sizes.of(key).bytes)
            })
    }

    /// What people should hear of the size of the set of all flags: that in-process clients do not take it, or soon will not.
    pub fn set_warning(&self) -> Option<String> {
        let bytes = self.set_bytes();
        if bytes < WARN_BYTES {
            return None;
        }
        let tenths = bytes.saturating_mul(10).saturating_add(MIB / 2) / MIB;
        let (place, beyond) = if bytes > CLIENT_BYTES_MAX { ("over", "") } else { ("near", "beyond that, ") };
        Some(format!(
            "the set of all flags has about {}.{} MiB, {place} the 4 MiB that gRPC clients take unless told otherwise: \
             {beyond}in-process providers that select all flags get none, nor what changes later; let each select a flag set, \
             or its tenant (flagSetId=TENANT) if it is tenants that rules list, evaluate over RPC, or raise its largest message",
            tenths / 10,
            tenths % 10,
        ))
    }
}

#[cfg(test)]
#[path = "size_tests.rs"]
mod tests;

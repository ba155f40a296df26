//! How large the set of all flags is that in-process providers get.
//!
//! Sizes are those of flags as they lie, counted when a flag is compiled, so a change is told of what it makes without a set
//! being made, which differs by some per cent.

use serde_json::Value as Json;

use super::CompiledFlags;
use super::choice::{Choice, Split};
use super::compiled::served;
use super::settings::{FlagState, Settings};
use super::value::Value;
use crate::domain::ids::FlagKey;
use crate::domain::rule::{Segments, text_length, written_length};

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
const MIB: usize = 1 << 20;

/// About how many bytes of a set a flag has.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    /// All of it.
    pub(super) whole: usize,
    /// Its rule, which is written into those of the flags that hang on it.
    rule: usize,
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
        Self { whole: FRAME_BYTES + names + variants + metadata + rule, rule }
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
    /// is smaller, but for the names of what it has: what the registry knows is decided in it.
    pub fn set_bytes(&self) -> usize {
        let needed = self.dependents.iter().map(|(key, who)| self.rule_bytes(key).saturating_mul(who.len()));
        let groups = self.groups.values().flat_map(|members| {
            let below = (0..members.len()).rev();
            members.iter().zip(below).map(|((_, key), below)| self.rule_bytes(key).saturating_mul(below))
        });
        needed.chain(groups).fold(self.flags_bytes, usize::saturating_add)
    }

    fn rule_bytes(&self, key: &FlagKey) -> usize {
        self.compiled(key.as_str()).map_or(0, |compiled| compiled.size.rule)
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
             {beyond}in-process providers that select all flags get none, nor what changes later; let each select its tenant \
             (flagSetId=TENANT) or a flag set, evaluate over RPC, or raise its largest message",
            tenths / 10,
            tenths % 10,
        ))
    }
}

#[cfg(test)]
#[path = "size_tests.rs"]
mod tests;

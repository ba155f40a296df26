//! What decides: rules, rollouts, schedules, and what a flag names of others.

use std::collections::BTreeSet;

use super::is_storable;
use crate::domain::flag::{Body, Choice, Flag, Settings, Split, TargetingRule, Variants};
use crate::domain::ids::VariantName;
use crate::domain::rule::{self, Condition, ErrorKind, Rule, Segments};
use crate::domain::text::{self, quote};
use crate::domain::violation::Violation;

/// Most rules of one flag.
const RULES_MAX: usize = 100;
/// Longest rule id, in characters.
const RULE_ID_MAX: usize = 64;
/// Longest description of a rule, in characters.
const RULE_DESCRIPTION_MAX: usize = 500;
/// Largest test of a rule or a segment, in bytes of its JSON text: a list of some thousand tenants.
pub const LOGIC_MAX: usize = 128 << 10;
/// Largest rules of one flag taken together: 10,000 flags with 1 % of them this large are 25 MiB.
const RULES_BYTES_MAX: usize = 256 << 10;
/// Most conditions of one rule.
const CONDITIONS_MAX: usize = 64;
/// Most windows of a schedule.
const WINDOWS_MAX: usize = 32;
/// Most flags that one flag needs directly.
const PREREQUISITES_MAX: usize = 32;
/// Most groups of one flag.
const GROUPS_MAX: usize = 8;
/// Longest attribute name, in characters.
const ATTRIBUTE_MAX: usize = 128;

pub(super) fn rules(settings: &Settings, found: &mut Vec<Violation>) {
    if settings.rules.len() > RULES_MAX {
        found.push(Violation::new("rules", format!("must have at most {RULES_MAX} entries")));
        return;
    }
    let mut ids = BTreeSet::new();
    let mut bytes = 0;
    for (place, rule) in settings.rules.iter().enumerate() {
        let field = format!("rules[{place}]");
        found.extend(rule_texts(rule, &field));
        if !ids.insert(rule.id.as_str()) {
            found.push(Violation::new(format!("{field}.id"), format!("{} is used twice", quote(&rule.id))));
        }
        bytes += body(rule, &field, &settings.variants, found);
    }
    if bytes > RULES_BYTES_MAX {
        found.push(Violation::new("rules", format!("must have at most {RULES_BYTES_MAX} bytes as JSON")));
    }
}

/// What is wrong with a rule's id and description; an empty id is named after its place.
pub fn rule_texts(rule: &TargetingRule, field: &str) -> Vec<Violation> {
    let checks = [
        ("id", text::one_line(&rule.id, RULE_ID_MAX)),
        ("description", text::free(&rule.description, RULE_DESCRIPTION_MAX)),
    ];
    let wrong = |(name, check): (&str, Result<(), text::Invalid>)| {
        Some(Violation::new(format!("{field}.{name}"), check.err()?.why))
    };
    checks.into_iter().filter_map(wrong).collect()
}

fn body(rule: &TargetingRule, field: &str, variants: &Variants, found: &mut Vec<Violation>) -> usize {
    match &rule.body {
        Body::Logic(source) => match is_storable(source, LOGIC_MAX) {
            Ok(bytes) => bytes,
            Err(why) => {
                found.push(Violation::new(format!("{field}.logic"), why));
                0
            }
        },
        Body::Match { conditions: all, serve } => {
            choice(serve, &format!("{field}."), variants, found);
            conditions(all, &format!("{field}.conditions"), found)
        }
    }
}

/// Checks conditions; answers how many bytes their values have as JSON.
pub fn conditions(conditions: &[Condition], field: &str, found: &mut Vec<Violation>) -> usize {
    if conditions.len() > CONDITIONS_MAX {
        found.push(Violation::new(field, format!("must have at most {CONDITIONS_MAX} entries")));
        return 0;
    }
    let mut bytes = 0;
    for (place, condition) in conditions.iter().enumerate() {
        let field = format!("{field}[{place}]");
        if let Err(invalid) = text::one_line(&condition.attribute, ATTRIBUTE_MAX) {
            found.push(Violation::new(format!("{field}.attribute"), invalid.why));
        }
        found.extend(condition.validate(&field));
        for value in &condition.values {
            match is_storable(value, LOGIC_MAX) {
                Ok(size) => bytes += size,
                Err(why) => found.push(Violation::new(format!("{field}.values"), why)),
            }
        }
    }
    bytes
}

/// Checks what a layer gives; `prefix` stands before `variant` or `rollout`.
pub fn choice(choice: &Choice, prefix: &str, variants: &Variants, found: &mut Vec<Violation>) {
    let field = match choice {
        Choice::Variant(_) => format!("{prefix}variant"),
        Choice::Rollout(own) => {
            let field = format!("{prefix}rollout");
            split(own, &field, found);
            field
        }
    };
    for variant in choice.variants() {
        known(variant, &field, variants, found);
    }
}

fn known(variant: &VariantName, field: &str, variants: &Variants, found: &mut Vec<Violation>) {
    if !variants.contains_key(variant) {
        let why = format!("must name the flag's variants; {} is not one", quote(variant.as_str()));
        found.push(Violation::new(field, why));
    }
}

/// Checks a rollout, but for its variants.
pub fn split(split: &Split, field: &str, found: &mut Vec<Violation>) {
    found.extend(split.rollout.validate(field));
    let mut line = |name: &str, value: &str| {
        if value.trim().is_empty() {
            found.push(Violation::new(format!("{field}.{name}"), "must not be empty"));
        } else if let Err(invalid) = text::one_line(value, ATTRIBUTE_MAX) {
            found.push(Violation::new(format!("{field}.{name}"), invalid.why));
        }
    };
    line("bucket_by", &split.bucket_by);
    line("seed", &split.rollout.seed);
}

pub(super) fn default_rollout(settings: &Settings, found: &mut Vec<Violation>) {
    let Some(rollout) = &settings.default_rollout else { return };
    split(rollout, "default_rollout", found);
    let mut names: Vec<_> = rollout.rollout.variants().collect();
    names.sort_unstable();
    names.dedup();
    for variant in names {
        known(variant, "default_rollout", &settings.variants, found);
    }
}

pub(super) fn schedule(settings: &Settings, found: &mut Vec<Violation>) {
    if settings.schedule.len() > WINDOWS_MAX {
        found.push(Violation::new("schedule", format!("must have at most {WINDOWS_MAX} entries")));
    }
    for (place, window) in settings.schedule.iter().enumerate().take(WINDOWS_MAX) {
        let why = match (window.start_time, window.end_time) {
            (None, None) => "must have a start or an end",
            (Some(start), Some(end)) if start >= end => "must end after it starts",
            _ => continue,
        };
        found.push(Violation::new(format!("schedule[{place}]"), why));
    }
}

pub(super) fn relations(settings: &Settings, found: &mut Vec<Violation>) {
    if settings.kill_switch.as_ref() == Some(&settings.key) {
        found.push(Violation::new("kill_switch", "must be another flag"));
    }
    if settings.prerequisites.len() > PREREQUISITES_MAX {
        found.push(Violation::new("prerequisites", format!("must have at most {PREREQUISITES_MAX} entries")));
    }
    for (place, needed) in settings.prerequisites.iter().enumerate().take(PREREQUISITES_MAX) {
        let field = format!("prerequisites[{place}]");
        if needed.flag_key == settings.key {
            found.push(Violation::new(format!("{field}.flag_key"), "must be another flag"));
        }
        if needed.variants.is_empty() {
            found.push(Violation::new(format!("{field}.variants"), "must have at least one entry"));
        }
    }
    if settings.conflict_groups.len() > GROUPS_MAX {
        found.push(Violation::new("conflict_groups", format!("must have at most {GROUPS_MAX} entries")));
    }
}

/// What the rule language has to say against a flag's rules, given the segments that they see. Of a flag of a flagd file
/// only what could never be evaluated here, though flagd would: a mistake in a rule is an answer.
pub fn compiles(flag: &Flag, segments: &Segments) -> Vec<Violation> {
    let settings = &flag.settings;
    let mut found = Vec::new();
    for (place, rule) in settings.rules.iter().enumerate() {
        let field = match &rule.body {
            Body::Logic(_) => format!("rules[{place}].logic"),
            Body::Match { .. } => format!("rules[{place}].conditions"),
        };
        let error = if flag.origin.is_none() {
            Rule::compile(&rule.source(), segments, settings.hash_version).err()
        } else {
            let compiled = Rule::compile_foreign(&rule.source(), segments, settings.hash_version);
            compiled.err().filter(|error| matches!(error.kind, ErrorKind::Depth | ErrorKind::Size))
        };
        found.extend(error.map(|error| Violation::new(field, format!("cannot be used: {error}"))));
    }
    found
}

/// The rules of a flag made here that can only fail where their turn comes, whoever asks.
pub fn certain_failures(settings: &Settings) -> Vec<Violation> {
    let mut found = Vec::new();
    for (place, targeting) in settings.rules.iter().enumerate() {
        let Body::Logic(source) = &targeting.body else { continue };
        let is_variant = |name: &str| settings.variants.contains_key(name);
        if let Err(error) = rule::check_rule(source, settings.hash_version, &is_variant) {
            found.push(Violation::new(format!("rules[{place}].logic"), format!("can only fail: {error}")));
        }
    }
    found
}

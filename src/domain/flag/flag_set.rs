//! A tenant's flags in flagd's terms: everything the registry knows is decided, what hangs on a client's own attributes
//! is left as a rule.
//!
//! An in-process provider evaluates these. It must see nothing of other tenants, and knows neither tiers nor overrides
//! nor prerequisites, so all of that is worked in here.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::ask::{Case, Verdict};
use super::choice::{BUCKET_BY, Choice, Split};
use super::compile::CompiledFlags;
use super::compiled::{Compiled, served};
use super::evaluate::{Evaluation, Memo, Query};
use super::fold::Fold;
use super::settings::{Flag, FlagState};
use super::targeting::TargetingRule;
use super::words::Layer;
use crate::domain::ids::{FlagKey, VariantName};
use crate::domain::rule::limit::{DEPTH_MAX, NODES_MAX};
use crate::domain::rule::{Rollout, Weight};

/// How many flags that hang on each other are worked into one rule. One that hangs on so many is answered as for a client
/// without attributes, as is one whose rule would be larger or deeper than a rule may be: that would overrun the
/// providers' parsers.
const LEVELS_MAX: usize = 8;

/// A flag as an in-process provider needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved<'a> {
    /// The flag.
    pub flag: &'a Flag,
    /// Whether it is in use.
    pub is_enabled: bool,
    /// What is given where the rule says nothing.
    pub default: Option<&'a VariantName>,
    /// What is left to decide, in flagd's JSONLogic.
    pub targeting: Option<Json>,
}

impl Resolved<'_> {
    /// Whether its rule is no larger and no deeper than one may be where it is made: what takes ours takes it.
    fn is_within_limits(&self) -> bool {
        let mut left = NODES_MAX;
        let mut waiting: Vec<(&Json, usize)> = self.targeting.iter().map(|rule| (rule, 1)).collect();
        while let Some((part, depth)) = waiting.pop() {
            let Some(fewer) = left.checked_sub(1).filter(|_| depth <= DEPTH_MAX) else { return false };
            left = fewer;
            match part {
                Json::Array(items) => waiting.extend(items.iter().map(|item| (item, depth + 1))),
                Json::Object(map) => waiting.extend(map.values().map(|value| (value, depth + 1))),
                _ => {}
            }
        }
        true
    }
}

/// A step of a flag's answer.
enum Part {
    /// Where this holds, that is given, whatever follows.
    Guard(Json, Option<String>),
    /// The variant's name, or null for the next step.
    Try(Json),
}

/// What a layer means for those after it.
enum Walk<'a> {
    /// They have their turn.
    GoesOn,
    /// Nothing after it can matter; that is given at the end.
    Ends(Option<&'a VariantName>),
}

/// Another flag that a flag hangs on.
struct Test<'a> {
    other: &'a FlagKey,
    /// The variants of it that count.
    names: Vec<String>,
    /// Whether the flag is off where the other has one of these, or where it has none of them.
    off_if_in: bool,
    /// What is given then.
    off: Option<String>,
}

/// One resolution of a whole set.
struct Resolver<'a, 'q> {
    flags: &'a CompiledFlags,
    query: &'q Query<'q>,
    /// The attributes whose values are known, or known not to be there.
    known: &'q [&'q str],
    memo: Memo<'a>,
    /// Each flag once, after all that it hangs on: so what is found does not depend on who is asked for first.
    found: HashMap<&'a str, Found<'a>>,
}

/// A flag that was resolved.
struct Found<'a> {
    resolved: Resolved<'a>,
    /// How many flags are worked into each other in its rule; 0 where no attribute of a client's counts.
    levels: usize,
}

impl CompiledFlags {
    /// Every flag for the query's tenant. The attributes `known` have the values of the query's context, or none; all
    /// others are the client's.
    pub fn resolved<'a>(&'a self, query: &Query<'_>, known: &[&str]) -> Vec<Resolved<'a>> {
        Resolver::new(self, query, known).resolve_all()
    }
}

impl<'a, 'q> Resolver<'a, 'q> {
    fn new(flags: &'a CompiledFlags, query: &'q Query<'q>, known: &'q [&'q str]) -> Self {
        Self { flags, query, known, memo: Memo::new(), found: HashMap::new() }
    }

    fn resolve_all(&mut self) -> Vec<Resolved<'a>> {
        let flags = self.flags;
        for flag in flags.flags() {
            self.resolve(flag.key());
        }
        let found = flags.flags().filter_map(|flag| self.found.remove(flag.key().as_str()));
        found.map(|found| found.resolved).collect()
    }

    /// Resolves a flag after those that it hangs on. No recursion: a chain may be as long as there are flags.
    fn resolve(&mut self, key: &'a FlagKey) {
        let flags = self.flags;
        let mut waiting = vec![key];
        while let Some(key) = waiting.last().copied() {
            let compiled = flags.compiled(key.as_str()).filter(|_| !self.found.contains_key(key.as_str()));
            let Some(compiled) = compiled else {
                waiting.pop();
                continue;
            };
            let is_open = |needed: &&FlagKey| {
                !self.found.contains_key(needed.as_str()) && flags.compiled(needed.as_str()).is_some()
            };
            // Circles are refused where flags are changed. Should there be one all the same, it ends here.
            let needed = flags.hangs_on(compiled).find(is_open).filter(|_| waiting.len() <= flags.len());
            if let Some(needed) = needed {
                waiting.push(needed);
                continue;
            }
            let found = self.find(key, compiled);
            self.found.insert(key.as_str(), found);
            waiting.pop();
        }
    }

    fn find(&mut self, key: &'a FlagKey, compiled: &'a Compiled) -> Found<'a> {
        let flag = &*compiled.flag;
        if flag.settings.state != FlagState::Enabled {
            let resolved = Resolved { flag, is_enabled: false, default: None, targeting: None };
            return Found { resolved, levels: 0 };
        }
        let needed = self.flags.hangs_on(compiled).filter_map(|needed| self.found.get(needed.as_str()));
        let below = needed.map(|found| found.levels).max().unwrap_or(0);
        let is_left = below < LEVELS_MAX && (below > 0 || !self.is_fixed(key, compiled));
        let worked = is_left.then(|| self.worked_in(key, compiled));
        match worked.filter(Resolved::is_within_limits) {
            None => Found { resolved: self.answered(flag), levels: 0 },
            Some(resolved) => {
                let levels = if resolved.targeting.is_some() { below + 1 } else { 0 };
                Found { resolved, levels }
            }
        }
    }

    /// As for a client without attributes of its own.
    fn answered(&mut self, flag: &'a Flag) -> Resolved<'a> {
        let default = self.flags.evaluate_after(&mut self.memo, self.query, flag.key().as_str());
        Resolved { flag, is_enabled: true, default: default.variant, targeting: broken(&default) }
    }

    /// With the layers that hang on the client as a rule.
    fn worked_in(&self, key: &'a FlagKey, compiled: &'a Compiled) -> Resolved<'a> {
        let mut parts = Vec::new();
        let mut default = None;
        for layer in &compiled.layers {
            if let Walk::Ends(end) = self.walk(key, *layer, &mut parts) {
                default = end;
                break;
            }
        }
        Resolved { flag: &compiled.flag, is_enabled: true, default, targeting: join(parts) }
    }

    /// Whether nothing of a client's can change the answer, but for what the flag hangs on.
    fn is_fixed(&self, key: &'a FlagKey, compiled: &Compiled) -> bool {
        let knows = |name: &str| self.known.contains(&name);
        let splits = self.flags.choices_for(self.query, key.as_str());
        let rules = &compiled.flag.settings.rules;
        splits.into_iter().all(|split| self.knows_share(split))
            && rules.iter().zip(&compiled.rules).all(|(rule, compiled)| {
                let serve = served(rule).and_then(Choice::rollout);
                serve.is_none_or(|split| self.knows_share(split))
                    && compiled
                        .test
                        .as_ref()
                        .is_ok_and(|test| !test.reads_time() && test.attributes().all(knows))
            })
    }

    /// Whether no attribute of a client's decides about a share: what everybody gets hangs on none.
    fn knows_share(&self, split: &Split) -> bool {
        self.known.contains(&split.bucket_by.as_str())
            || (split.bucket_by == BUCKET_BY && self.query.tenant.is_some())
            || split.rollout.select(None, self.query.now).is_some()
    }

    /// One layer: the parts it adds, and the variant at the end if nothing after it can matter.
    fn walk(&self, key: &'a FlagKey, layer: Layer, parts: &mut Vec<Part>) -> Walk<'a> {
        let flags = self.flags;
        let Some(compiled) = flags.compiled(key.as_str()) else { return Walk::GoesOn };
        let settings = &compiled.flag.settings;
        let off = compiled.off.as_ref().map(|(variant, _)| variant.to_string());
        match layer {
            Layer::KillSwitch => {
                let Some(other) = settings.kill_switch.as_ref() else { return Walk::GoesOn };
                // Whatever else it gives, nothing included, it does not say that it is off.
                let names = flags.variants_where(other, |value, _| value.as_bool() == Some(false));
                self.guard(parts, Test { other, names, off_if_in: false, off });
            }
            Layer::Prerequisite => {
                for needed in &settings.prerequisites {
                    let names = needed.variants.iter().map(ToString::to_string).collect();
                    let test = Test { other: &needed.flag_key, names, off_if_in: false, off: off.clone() };
                    self.guard(parts, test);
                }
            }
            Layer::Conflict => {
                for other in flags.rivals_above(settings) {
                    let of_rival = flags.compiled(other.as_str()).and_then(|rival| rival.off.as_ref());
                    let is_on = |name: &VariantName| of_rival.is_none_or(|(off, _)| off != name);
                    let names = flags.variants_where(other, |_, name| is_on(name));
                    self.guard(parts, Test { other, names, off_if_in: true, off: off.clone() });
                }
            }
            Layer::TargetingRule => {
                for (rule, compiled_rule) in settings.rules.iter().zip(&compiled.rules) {
                    let fold = Fold {
                        segments: flags.evaluators_of(&compiled.flag),
                        known: self.known,
                        context: self.query.context,
                        now: self.query.now,
                        flag_key: key.as_str(),
                        hash: settings.hash_version,
                    };
                    match &compiled_rule.test {
                        Ok(_) => parts.push(Part::Try(self.rule(rule, &fold))),
                        // It answers PARSE_ERROR there as it does here, and shows nothing of what it was.
                        Err(_) => parts.push(Part::Try(unreadable())),
                    }
                }
            }
            other => return self.ask(key, other, parts),
        }
        match parts.last() {
            // A guard that always holds ends it.
            Some(Part::Guard(Json::Bool(true), _)) => {
                parts.pop();
                Walk::Ends(compiled.off.as_ref().map(|(variant, _)| variant))
            }
            _ => Walk::GoesOn,
        }
    }

    /// A layer that hangs on no other flag: its answer, or the share that it gives by a client's attribute.
    fn ask(&self, key: &'a FlagKey, layer: Layer, parts: &mut Vec<Part>) -> Walk<'a> {
        let Some(case) = self.flags.case(self.query, &self.memo, key.as_str()) else { return Walk::GoesOn };
        if let Some(split) = case.split_of(layer).filter(|split| !self.knows_share(split)) {
            parts.push(Part::Try(share(split, self.query.now)));
            return match layer {
                Layer::GlobalDefault => {
                    Walk::Ends(case.compiled.default.as_ref().map(|(variant, _)| variant))
                }
                _ => Walk::GoesOn,
            };
        }
        let say = case.ask(layer);
        match say.verdict {
            Verdict::Answers(_) => Walk::Ends(say.variant),
            Verdict::Passes(_) => Walk::GoesOn,
        }
    }

    /// Adds the test of another flag.
    fn guard(&self, parts: &mut Vec<Part>, test: Test<'a>) {
        let Test { other, names, off_if_in, off } = test;
        // What always holds or never does needs no test, and ends the walk or is left out.
        if matches!(parts.last(), Some(Part::Guard(Json::Bool(true), _))) {
            return;
        }
        let found = self.found.get(other.as_str()).map(|found| &found.resolved);
        let default = found.and_then(|found| found.default).map(VariantName::as_str);
        let is_in = |variant: &str| names.iter().any(|name| name == variant);
        match found.and_then(|found| found.targeting.as_ref()) {
            // A broken flag has no variant, whoever asks.
            Some(rule) if *rule != unreadable() => {
                let is_in = json!({"in": [or_else(rule.clone(), json!(default.unwrap_or_default())), names]});
                parts.push(Part::Guard(if off_if_in { is_in } else { json!({"!": [is_in]}) }, off));
            }
            broken => {
                let variant = default.filter(|_| broken.is_none());
                if variant.is_some_and(is_in) == off_if_in {
                    parts.push(Part::Guard(Json::Bool(true), off));
                }
            }
        }
    }

    fn rule(&self, rule: &TargetingRule, fold: &Fold<'_>) -> Json {
        let Some(choice) = served(rule) else { return fold.value(&rule.source()) };
        let given = match choice {
            Choice::Variant(variant) => json!(variant.as_str()),
            Choice::Rollout(split) if self.knows_share(split) => {
                let key = self.query.key_of(split);
                let variant = split.rollout.select(key.as_deref(), self.query.now);
                variant.map_or(Json::Null, |variant| json!(variant.as_str()))
            }
            Choice::Rollout(split) => share(split, self.query.now),
        };
        match fold.condition(&rule.source()) {
            Json::Bool(true) => given,
            Json::Bool(false) => Json::Null,
            condition => json!({"if": [condition, given, null]}),
        }
    }
}

/// An operator that there is not: flagd's evaluators answer PARSE_ERROR for this flag alone. With a reference to a
/// segment that is not there, some would refuse the whole set.
fn unreadable() -> Json {
    json!({"broken_rule": []})
}

fn broken(evaluation: &Evaluation<'_>) -> Option<Json> {
    evaluation.error.map(|_| unreadable())
}

/// A share by an attribute of the client's, as it is now.
fn share(split: &Split, now: jiff::Timestamp) -> Json {
    let rollout = Rollout {
        weights: weights_at(&split.rollout, now).to_vec(),
        steps: Vec::new(),
        ..split.rollout.clone()
    };
    let mut source = rollout.to_json();
    rename_attribute(&mut source, "targetingKey", &split.bucket_by);
    json!({"if": [{"var": split.bucket_by}, source, null]})
}

fn weights_at(rollout: &Rollout, now: jiff::Timestamp) -> &[Weight] {
    let begun = rollout.steps.iter().filter(|step| step.start_time <= now);
    begun.max_by_key(|step| step.start_time).map_or(&rollout.weights, |step| &step.weights)
}

fn rename_attribute(source: &mut Json, from: &str, to: &str) {
    match source {
        Json::Object(map) => {
            if map.get("var").is_some_and(|name| name == from) {
                map.insert("var".to_owned(), json!(to));
                return;
            }
            map.values_mut().for_each(|value| rename_attribute(value, from, to));
        }
        Json::Array(items) => items.iter_mut().for_each(|item| rename_attribute(item, from, to)),
        _ => {}
    }
}

/// The steps as one rule; none where nothing is left to decide.
fn join(parts: Vec<Part>) -> Option<Json> {
    parts.into_iter().rev().fold(None, |next, part| match part {
        Part::Try(Json::Null) => next,
        Part::Try(rule) => Some(match next {
            None => rule,
            Some(next) => or_else(rule, next),
        }),
        Part::Guard(condition, off) => Some(json!({"if": [condition, off, next.unwrap_or(Json::Null)]})),
    })
}

/// A rule, or another where it says null.
fn or_else(rule: Json, next: Json) -> Json {
    match rule {
        Json::String(_) => rule,
        // The usual shape needs no second look at its own result.
        Json::Object(ref map) if map.len() == 1 && is_plain_if(map.get("if")) => {
            let mut branches = rule["if"].as_array().cloned().unwrap_or_default();
            branches.truncate(2);
            branches.push(next);
            json!({"if": branches})
        }
        rule => json!({"if": [{"!==": [rule.clone(), null]}, rule, next]}),
    }
}

/// `[condition, "variant"]`, maybe with a null at the end.
fn is_plain_if(branches: Option<&Json>) -> bool {
    matches!(
        branches.and_then(Json::as_array).map(Vec::as_slice),
        Some([_, Json::String(_)] | [_, Json::String(_), Json::Null])
    )
}

impl CompiledFlags {
    /// The variants of a flag that pass a test.
    fn variants_where(
        &self,
        key: &FlagKey,
        test: impl Fn(&super::Value, &VariantName) -> bool,
    ) -> Vec<String> {
        let variants = self.flag(key.as_str()).into_iter().flat_map(|flag| &flag.settings.variants);
        variants.filter(|(name, value)| test(value, name)).map(|(name, _)| name.to_string()).collect()
    }

    /// The shares that can decide about a tenant's answer, but for those of rules.
    fn choices_for<'a>(&'a self, query: &Query<'_>, key: &str) -> Vec<&'a Split> {
        let memo = Memo::new();
        let Some(case) = self.case(query, &memo, key) else { return Vec::new() };
        [Layer::TenantOverride, Layer::TierDefault, Layer::GlobalDefault]
            .into_iter()
            .filter_map(|layer| case.split_of(layer))
            .collect()
    }
}

impl<'a> Case<'a, '_> {
    /// The share that a layer gives.
    fn split_of(&self, layer: Layer) -> Option<&'a Split> {
        match layer {
            Layer::TenantOverride => {
                let own = self.own.filter(|own| own.expire_time.is_none_or(|end| self.query.now < end));
                own.and_then(|own| own.choice.rollout())
            }
            Layer::TierDefault => {
                let tier = self.query.tenant.and_then(|tenant| self.entry.tier_defaults.get(tenant.tier));
                tier.and_then(|default| default.choice.rollout())
            }
            Layer::GlobalDefault => self.compiled.flag.settings.default_rollout.as_ref(),
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "flag_set_tests.rs"]
mod tests;

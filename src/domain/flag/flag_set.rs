//! A tenant's flags in flagd's terms: everything the registry knows is decided, what hangs on a client's own attributes
//! is left as a rule.
//!
//! An in-process provider evaluates these. It must see nothing of other tenants, and knows neither tiers nor overrides
//! nor prerequisites, so all of that is worked in here.

mod elsewhere;
mod guard;
mod in_process;
mod named;
mod shapes;

use std::cell::Cell;
use std::collections::HashMap;

use serde_json::{Value as Json, json};

use self::elsewhere::said_elsewhere;
use self::guard::{Test, guard};
pub use self::in_process::InProcess;
pub(super) use self::shapes::unreadable;
use self::shapes::{Part, broken, join, share};

use super::ask::{Case, Verdict};
use super::choice::{Choice, Split};
use super::compile::CompiledFlags;
use super::compiled::{Compiled, served};
use super::evaluate::{Memo, Query};
use super::fold::Fold;
use super::settings::{Flag, FlagState, Kind, Settings};
use super::targeting::TargetingRule;
use super::words::Layer;
use crate::domain::ids::{FlagKey, GroupName, VariantName};
use crate::domain::rule::Path;
use crate::domain::rule::limit::{DEPTH_MAX, NODES_MAX};

/// How many flags that hang on each other are worked into one rule. One that hangs on so many is answered as for a client
/// without attributes, as is one whose rule would be larger or deeper than a rule may be: that would overrun the
/// providers' parsers.
pub(super) const LEVELS_MAX: usize = 8;
/// The attributes that every tenant has.
pub(super) const ALWAYS_THERE: [&str; 3] = ["tenantId", "tier", "status"];

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
    /// Whether it, or a flag that it hangs on, is answered as for a client without attributes, since the rule would be
    /// larger than one may be or could show what it says of other tenants; and off where that other one turns it off or on. So a
    /// client's attributes do not have the effect that they should have.
    pub is_cut: bool,
}

impl Resolved<'_> {
    fn may_be_shown(&self) -> bool {
        !self.is_cut && self.is_within_limits()
    }

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

/// What a layer means for those after it.
enum Walk<'a> {
    /// They have their turn.
    GoesOn,
    /// Nothing after it can matter; that is given at the end.
    Ends(Option<&'a VariantName>),
}

/// Whether those that exclude a flag are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rivals {
    Regarded,
    Ignored,
}

/// One resolution of a whole set.
struct Resolver<'a, 'q> {
    flags: &'a CompiledFlags,
    query: &'q Query<'q>,
    /// Whether the rule at hand may not be handed out: it could show what it says of other tenants, or providers would make
    /// another thing of it.
    is_unfit: Cell<bool>,
    memo: Memo<'a>,
    /// Each flag once, after all that it hangs on: so what is found does not depend on who is asked for first.
    found: HashMap<&'a str, Found<'a>>,
    /// Where the tenant is not active: kill switches, and what they hang on, as if it were.
    as_active: Option<Box<Self>>,
}

/// A flag that was resolved.
#[derive(Clone)]
struct Found<'a> {
    resolved: Resolved<'a>,
    /// How many flags are worked into each other in its rule; 0 where no attribute of a client's counts.
    levels: usize,
    /// The same as if it excluded nobody and nobody it, where it is in one group.
    ///
    /// Of flags that are in one group and no other, one is on if and only if one would be so by itself: the first of
    /// those excludes the rest, and nothing excludes it. So a rule needs what each of those above says by itself, not
    /// all that these rest on in turn, which doubles with each.
    alone: Option<(Resolved<'a>, usize)>,
}

impl CompiledFlags {
    /// Every flag for the query's tenant. The attributes in the query's context are known; all others are the client's.
    pub fn resolved<'a>(&'a self, query: &Query<'_>) -> Vec<Resolved<'a>> {
        self.resolved_of(query, self.flags().map(|flag| flag.key()))
    }

    /// The same of some flags, in that order. Of the others only those are looked at that these hang on.
    pub fn resolved_of<'a, 'k>(
        &'a self,
        query: &Query<'_>,
        keys: impl IntoIterator<Item = &'k FlagKey>,
    ) -> Vec<Resolved<'a>> {
        let active = query.as_active();
        let mut resolver = Resolver::new(self, query);
        if !query.is_active() {
            resolver.as_active = Some(Box::new(Resolver::new(self, &active)));
        }
        let wanted: Vec<&'a FlagKey> =
            keys.into_iter().filter_map(|key| self.flag(key.as_str()).map(|flag| flag.key())).collect();
        resolver.resolve_all(&wanted)
    }
}

impl<'a, 'q> Resolver<'a, 'q> {
    fn new(flags: &'a CompiledFlags, query: &'q Query<'q>) -> Self {
        let (memo, found) = (Memo::new(), HashMap::new());
        Self { flags, query, is_unfit: Cell::new(false), memo, found, as_active: None }
    }

    fn resolve_all(&mut self, wanted: &[&'a FlagKey]) -> Vec<Resolved<'a>> {
        for key in wanted {
            self.resolve(key);
        }
        let found = wanted.iter().filter_map(|key| self.found.remove(key.as_str()));
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
            if let Some(active) = self.as_active.as_mut().filter(|_| compiled.is_as_for_active(self.query)) {
                active.resolve(key);
                self.found
                    .extend(active.found.get_key_value(key.as_str()).map(|(key, it)| (*key, it.clone())));
                waiting.pop();
                continue;
            }
            let is_found = |key: &FlagKey| self.found.contains_key(key.as_str());
            if let Some(needed) = flags.next_below(compiled, waiting.len(), is_found) {
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
            let resolved =
                Resolved { flag, is_enabled: false, default: None, targeting: None, is_cut: false };
            return Found { resolved, levels: 0, alone: None };
        }
        let needed = flag.settings.needs().filter_map(|needed| self.found.get(needed.as_str()));
        let (mut below, mut is_cut) = (0, false);
        for found in needed {
            below = below.max(found.levels);
            is_cut |= found.resolved.is_cut;
        }
        if is_cut {
            return Found { resolved: self.cut(compiled), levels: 0, alone: None };
        }
        let is_fixed = self.is_fixed(key, compiled);
        let alone = (flag.settings.conflict_groups.len() == 1 && below < LEVELS_MAX).then(|| {
            let alone = self.worked_in(key, compiled, Rivals::Ignored);
            let depends = alone.targeting.is_some() && (below > 0 || !is_fixed);
            (alone, if depends { below + 1 } else { 0 })
        });
        let alone = alone.filter(|(alone, _)| alone.may_be_shown());
        let alone = alone.map(|(alone, levels)| (Resolved { is_cut, ..alone }, levels));
        for (rival, levels) in self.rivals(&flag.settings) {
            below = below.max(levels);
            is_cut |= rival.is_cut;
        }
        if below == 0 && is_fixed {
            return Found { resolved: self.answered(flag, is_cut), levels: 0, alone };
        }
        let worked = (below < LEVELS_MAX).then(|| self.worked_in(key, compiled, Rivals::Regarded));
        match worked.filter(Resolved::may_be_shown) {
            None => Found { resolved: self.cut(compiled), levels: 0, alone },
            Some(resolved) => {
                let levels = if resolved.targeting.is_some() { below + 1 } else { 0 };
                Found { resolved: Resolved { is_cut, ..resolved }, levels, alone }
            }
        }
    }

    /// Those that exclude a flag where they are on, each as it counts in the flag's rule, with its levels.
    fn rivals<'s>(
        &'s self,
        settings: &'a Settings,
    ) -> impl Iterator<Item = (&'s Resolved<'a>, usize)> + use<'s, 'a, 'q> {
        settings.conflict_groups.iter().flat_map(move |group| self.rivals_in(settings, group))
    }

    fn rivals_in<'s>(
        &'s self,
        settings: &'a Settings,
        group: &'a GroupName,
    ) -> Vec<(&'s Resolved<'a>, usize)> {
        let above = self.flags.rivals_in(settings, group);
        let found: Vec<_> = above.filter_map(|rival| self.found.get(rival.as_str())).collect();
        // A disabled one is off however it is looked at.
        let by_itself = |found: &&'s Found<'a>| match &found.alone {
            Some((alone, levels)) => Some((alone, *levels)),
            None => (!found.resolved.is_enabled).then_some((&found.resolved, 0)),
        };
        // For a tenant that is not active a switch counts as if it were: what excludes the switch need not exclude what is below it.
        let is_mixed = !self.query.is_active()
            && found.iter().any(|found| found.resolved.flag.settings.kind == Kind::KillSwitch);
        let by_themselves: Option<Vec<_>> =
            if is_mixed { None } else { found.iter().map(by_itself).collect() };
        by_themselves.unwrap_or_else(|| found.iter().map(|found| (&found.resolved, found.levels)).collect())
    }

    /// As for a client without attributes of its own.
    fn answered(&mut self, flag: &'a Flag, is_cut: bool) -> Resolved<'a> {
        let default = self.flags.evaluate_after(&mut self.memo, self.query, flag.key().as_str());
        Resolved { flag, is_enabled: true, default: default.variant, targeting: broken(&default), is_cut }
    }

    /// With the layers that hang on the client as a rule; cut where that may not be handed out.
    fn worked_in(&self, key: &'a FlagKey, compiled: &'a Compiled, rivals: Rivals) -> Resolved<'a> {
        self.is_unfit.set(false);
        let is_regarded = |layer: &&Layer| **layer != Layer::Conflict || rivals == Rivals::Regarded;
        let resolved = self.walked(key, compiled, compiled.layers.iter().filter(is_regarded));
        Resolved { is_cut: self.is_unfit.get(), ..resolved }
    }

    /// What some layers say, one after the other.
    fn walked<'l>(
        &self,
        key: &'a FlagKey,
        compiled: &'a Compiled,
        layers: impl Iterator<Item = &'l Layer>,
    ) -> Resolved<'a> {
        let (mut parts, mut default) = (Vec::new(), None);
        for layer in layers {
            if let Walk::Ends(end) = self.walk(key, *layer, &mut parts) {
                default = end;
                break;
            }
        }
        if parts.iter().any(|part| matches!(part, Part::Guard(_, None))) {
            // A guard that gives nothing must not come to the default either: that is given by the rule, where none holds.
            parts.extend(default.take().map(|end: &VariantName| Part::Try(json!(end.as_str()))));
        }
        Resolved { flag: &compiled.flag, is_enabled: true, default, targeting: join(parts), is_cut: false }
    }

    /// Whether nothing of a client's can change the answer, but for what the flag hangs on.
    fn is_fixed(&self, key: &'a FlagKey, compiled: &Compiled) -> bool {
        let knows = |name: &str| self.query.context.has(name);
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
        Path::parse(&split.bucket_by).first().is_some_and(|name| self.query.context.has(name))
            || (!split.asks_callers() && self.query.tenant.is_some())
            || split.rollout.is_for_all(self.query.now)
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
                guard(parts, off, self.test(self.resolved(other), names, false));
            }
            Layer::Prerequisite => {
                for needed in &settings.prerequisites {
                    let other = &needed.flag_key;
                    let names = flags.variants_where(other, |_, name| needed.variants.contains(name));
                    guard(parts, off.clone(), self.test(self.resolved(other), names, false));
                }
            }
            Layer::Conflict => {
                let tests = self.rivals(settings).filter_map(|(rival, _)| {
                    let other = rival.flag.key();
                    let of_rival = flags.compiled(other.as_str()).and_then(|rival| rival.off.as_ref());
                    let is_on = |name: &VariantName| of_rival.is_none_or(|(off, _)| off != name);
                    let names = flags.variants_where(other, |_, name| is_on(name));
                    self.test(Some(rival), names, true)
                });
                guard(parts, off, tests);
            }
            Layer::TargetingRule => {
                for (rule, compiled_rule) in settings.rules.iter().zip(&compiled.rules) {
                    let fold = Fold {
                        segments: flags.evaluators_of(&compiled.flag),
                        shows_others: &self.is_unfit,
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
            Layer::SafeDefault if self.may_stay_off(compiled) => {
                let active = self.walked(key, compiled, compiled.layers_below(Layer::SafeDefault).iter());
                // What is no variant is an error, and turns nothing on; nothing at all is not off where something is.
                let names = flags.variants_where(key, |_, name| off.as_deref() != Some(name.as_str()));
                let other = off.as_ref().and(names.first()).cloned();
                let default = active.default.map(VariantName::as_str).or(other.as_deref());
                guard(parts, off, self.fitting(Test::new(active.targeting.as_ref(), default, names, false)));
                if !matches!(parts.last(), Some(Part::Guard(Json::Bool(true), _))) {
                    return Walk::Ends(compiled.safe.as_ref().map(|(variant, _)| variant));
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

    /// Whether the tenant is not active, and what would be off for it if it were stays off.
    fn may_stay_off(&self, compiled: &Compiled) -> bool {
        !self.query.is_active() && !compiled.is_as_for_active(self.query) && compiled.may_stay_off()
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

    /// A test of another flag.
    fn test(&self, other: Option<&Resolved<'a>>, names: Vec<String>, off_if_in: bool) -> Option<Test> {
        let said = |other: &Resolved<'a>, rule| {
            said_elsewhere(rule, other.flag.key(), other.flag.settings.hash_version)
        };
        let rule = other.and_then(|other| Some(said(other, other.targeting.as_ref()?)));
        let default = other.and_then(|other| other.default).map(VariantName::as_str);
        self.fitting(match rule {
            Some(None) => None,
            rule => Test::new(rule.flatten().as_ref(), default, names, off_if_in),
        })
    }

    /// What cannot be put is not handed out, nor what it stands in.
    fn fitting(&self, test: Option<Test>) -> Option<Test> {
        self.is_unfit.set(self.is_unfit.get() || test.is_none());
        test
    }

    fn resolved(&self, key: &FlagKey) -> Option<&Resolved<'a>> {
        self.found.get(key.as_str()).map(|found| &found.resolved)
    }

    fn rule(&self, rule: &TargetingRule, fold: &Fold<'_>) -> Json {
        let Some(choice) = served(rule) else { return fold.value(&rule.source()) };
        let given = match choice {
            Choice::Variant(variant) => json!(variant.as_str()),
            Choice::Rollout(split) if self.knows_share(split) => {
                let key = self.query.key_of(split);
                let variant = split.rollout.select(fold.hash, key.as_deref(), self.query.now);
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

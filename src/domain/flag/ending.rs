//! Whether a change ends or weakens an emergency, told by what is answered: whatever it changes, a kill switch that is
//! thrown goes on turning off what it turns off, and what is turned off goes on giving what it gives.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::choice::Split;
use super::flag_set::ALWAYS_THERE;
use super::impact::{Subject, changed_through_others};
use super::{Body, CompiledFlags, Evaluation, Flag, FlagField, Kind, Layer, Query, Settings, Value};
use crate::domain::ids::{FlagKey, TenantId};
use crate::domain::rule::Context;

/// After how many steps of evaluation nobody else is looked at: about two seconds of work.
const STEPS_MAX: usize = 4_000_000;
/// What has no say in what a flag gives.
const FREE: [FlagField; 5] =
    [FlagField::Description, FlagField::Owner, FlagField::Labels, FlagField::FlagSet, FlagField::Metadata];

/// An emergency that a change would end or weaken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The kill switch that is thrown.
    pub switch: FlagKey,
    /// What would be answered otherwise: that switch, or a flag that it guards.
    pub flag: FlagKey,
    /// For whom, and when.
    pub whom: Whom,
}

/// For whom something would be answered otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// For this tenant, at this moment.
    Tenant(TenantId, Timestamp),
    /// For a caller without a tenant, at this moment.
    NoTenant(Timestamp),
    /// It hangs on attributes that callers give, or there is too much to look at.
    Unknown,
}

/// What a change of flags reaches.
pub struct Reach<'a> {
    before: &'a CompiledFlags,
    after: &'a CompiledFlags,
    /// The flags whose answers it can change.
    affected: BTreeSet<FlagKey>,
    /// Those of them that it changes themselves, or by what their rules use.
    decisive: BTreeSet<FlagKey>,
}

impl<'a> Reach<'a> {
    /// What a change of `changed` reaches.
    pub fn of(before: &'a CompiledFlags, after: &'a CompiledFlags, changed: &BTreeSet<FlagKey>) -> Self {
        let mut decisive = changed_through_others(before, after);
        decisive.extend(changed.iter().filter(|key| decides_otherwise(before, after, key.as_str())).cloned());
        let mut affected = before.affected_by(decisive.iter().cloned());
        affected.extend(after.affected_by(decisive.iter().cloned()));
        Self { before, after, affected, decisive }
    }

    /// Whether it reaches a kill switch, or what one guards, however that stands.
    pub fn reaches_switch(&self) -> bool {
        let concerns =
            |flag: &Flag| flag.settings.kind == Kind::KillSwitch || flag.settings.kill_switch.is_some();
        self.affected.iter().any(|key| self.before.flag(key.as_str()).is_some_and(|flag| concerns(flag)))
    }

    /// The first emergency that it would end or weaken, of the switches that are meant.
    pub fn ending<'t>(
        &self,
        is_meant: impl Fn(&Flag) -> bool,
        tenants: impl Iterator<Item = Subject<'t>>,
        now: Timestamp,
    ) -> Option<Ending> {
        let watched = self.watched(is_meant);
        if watched.is_empty() {
            return None;
        }
        let unknown = |(switch, flag): &(FlagKey, FlagKey)| Ending {
            switch: switch.clone(),
            flag: flag.clone(),
            whom: Whom::Unknown,
        };
        let moments = self.moments(&watched, now);
        let nobody = Context::default();
        let mut steps = 0;
        let mut look = |subject: Option<&Subject<'_>>| {
            for moment in &moments {
                let (tenant, context) =
                    (subject.map(|it| it.facts), subject.map_or(&nobody, |it| &it.context));
                let query = Query { tenant, context, now: *moment };
                let (mut was, mut is) = (self.before.answers(&query), self.after.answers(&query));
                for (switch, flag) in &watched {
                    if is_other(switch == flag, &was.of(flag.as_str()), &is.of(flag.as_str())) {
                        let whom = subject.map_or(Whom::NoTenant(*moment), |subject| {
                            Whom::Tenant(subject.facts.tenant_id.clone(), *moment)
                        });
                        return Some(Ending { switch: switch.clone(), flag: flag.clone(), whom });
                    }
                }
                steps += 1 + was.steps() + is.steps();
            }
            (steps > STEPS_MAX).then(|| unknown(&watched[0]))
        };
        if let Some(found) = look(None) {
            return Some(found);
        }
        for subject in tenants {
            if let Some(found) = look(Some(&subject)) {
                return Some(found);
            }
        }
        let is_open = |(switch, flag): &&(FlagKey, FlagKey)| {
            !self.stays_off(switch, flag) && self.hangs_on_callers(flag)
        };
        watched.iter().find(is_open).map(unknown)
    }

    /// Whether a flag goes on giving what it gives where its switch is true, whoever asks: what the switch rests on is as it was, and
    /// so are the guard and what it gives. All other layers come after it.
    fn stays_off(&self, switch: &FlagKey, flag: &FlagKey) -> bool {
        let guard = |flags: &CompiledFlags| {
            let compiled = flags.compiled(flag.as_str())?;
            let settings = &compiled.flag.settings;
            Some((settings.kill_switch.clone(), settings.state, compiled.off.clone()))
        };
        let was = guard(self.before);
        switch != flag
            && was.is_some()
            && was == guard(self.after)
            && !self.rests_on(switch).iter().any(|key| self.decisive.contains(key))
    }

    /// Each switch that is meant and reached, with itself and with the flags that it guards.
    fn watched(&self, is_meant: impl Fn(&Flag) -> bool) -> Vec<(FlagKey, FlagKey)> {
        let reached = self.affected.iter().filter_map(|key| self.before.flag(key.as_str()));
        let pair = |flag: &std::sync::Arc<Flag>| {
            let itself = is_meant(flag).then(|| (flag.key().clone(), flag.key().clone()));
            let guard = flag.settings.kill_switch.as_ref();
            let guard = guard.and_then(|key| self.before.flag(key.as_str())).filter(|guard| is_meant(guard));
            itself.into_iter().chain(guard.map(|guard| (guard.key().clone(), flag.key().clone())))
        };
        reached.flat_map(pair).collect()
    }

    /// Now, and when anything changes by time alone of what these rest on.
    fn moments(&self, watched: &[(FlagKey, FlagKey)], now: Timestamp) -> BTreeSet<Timestamp> {
        let keys: BTreeSet<_> = watched.iter().flat_map(|(_, flag)| self.rests_on(flag)).collect();
        let of = |flags: &CompiledFlags| {
            let later = flags.moments.between(now, Timestamp::MAX);
            let is_of = |flags: &imbl::OrdMap<FlagKey, u32>| flags.keys().any(|key| keys.contains(key));
            later.filter(|(_, flags)| is_of(flags)).map(|(moment, _)| *moment).collect::<Vec<_>>()
        };
        [now].into_iter().chain(of(self.before)).chain(of(self.after)).collect()
    }

    /// A flag and what its answer follows from, before and after.
    fn rests_on(&self, flag: &FlagKey) -> BTreeSet<FlagKey> {
        let mut found = BTreeSet::new();
        for flags in [self.before, self.after] {
            let mut waiting = vec![flag.clone()];
            let mut seen = BTreeSet::new();
            while let Some(key) = waiting.pop() {
                if let Some(compiled) = flags.compiled(key.as_str()).filter(|_| !seen.contains(&key)) {
                    waiting.extend(flags.hangs_on(compiled).cloned());
                }
                seen.insert(key);
            }
            found.extend(seen);
        }
        found
    }

    /// Whether what is changed of what a flag rests on is for callers to say.
    fn hangs_on_callers(&self, flag: &FlagKey) -> bool {
        let keys = self.rests_on(flag);
        let of = |flags: &CompiledFlags| {
            keys.iter().filter_map(|key| flags.flag(key.as_str())).any(|flag| asks_callers(&flag.settings))
        };
        keys.iter().any(|key| self.decisive.contains(key)) && (of(self.before) || of(self.after))
    }
}

/// A switch that no longer turns off, or a flag that was turned off and gives something else.
fn is_other(is_switch: bool, was: &Evaluation<'_>, is: &Evaluation<'_>) -> bool {
    let is_false = |found: &Evaluation<'_>| found.value == Some(&Value::Boolean(false));
    if is_switch {
        return !is_false(was) && is_false(is);
    }
    was.layer == Layer::KillSwitch && (was.variant, was.value) != (is.variant, is.value)
}

fn decides_otherwise(before: &CompiledFlags, after: &CompiledFlags, key: &str) -> bool {
    let (Some(old), Some(new)) = (before.flag(key), after.flag(key)) else { return true };
    let decides = FlagField::ALL.iter().filter(|field| !FREE.contains(field));
    decides.into_iter().any(|field| !old.settings.same(*field, &new.settings))
        || old.settings.flag_type != new.settings.flag_type
        || old.origin.is_some() != new.origin.is_some()
        || !before.tier_defaults(key).eq(after.tier_defaults(key))
}

/// Whether what a caller says of itself has a say in what a flag gives.
pub(super) fn asks_callers(settings: &Settings) -> bool {
    settings.default_rollout.as_ref().is_some_and(Split::asks_callers)
        || settings.rules.iter().any(|rule| match &rule.body {
            Body::Logic(_) => true,
            Body::Match { conditions, serve } => {
                let is_known = |attribute: &str| ALWAYS_THERE.contains(&attribute);
                serve.asks_callers() || conditions.iter().any(|condition| !is_known(&condition.attribute))
            }
        })
}

#[cfg(test)]
#[path = "ending_tests.rs"]
mod tests;

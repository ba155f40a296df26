//! What flags mean to each other: what is missing, what goes in a circle, whom a change would break.
//!
//! A change is judged by the flags as they would be after it, which are cheap to make.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use super::choice::Split;
use super::settings::{FlagState, Kind, Settings};
use super::{CompiledFlags, FlagType};
use crate::domain::ids::{FlagKey, GroupName, VariantName};

/// Most flags of one group: each asks all above it.
pub const GROUP_MAX: usize = 100;
/// Most flags there can be: a bulk answer of them has about 1 MiB.
pub const FLAGS_MAX: usize = 10_000;

/// What a flag names that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing<'a> {
    /// The kill switch.
    Switch(&'a FlagKey),
    /// A flag that is a prerequisite.
    Flag(&'a FlagKey),
    /// A variant of a flag.
    Variant(&'a FlagKey, &'a VariantName),
    /// The kill switch is there, but is no boolean flag of that kind.
    KillSwitch(&'a FlagKey),
    /// The group has no room.
    Room(&'a GroupName),
}

/// How a flag hangs on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation<'a> {
    /// The other is its kill switch.
    KillSwitch,
    /// It needs a variant of the other.
    Prerequisite,
    /// The other excludes it, in this group.
    Group(&'a GroupName),
}

/// Why a flag that needs another would no longer work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The flag that would no longer work.
    pub dependent: FlagKey,
    /// The flag that it needs.
    pub needed: FlagKey,
    /// The end of a sentence that starts with the needed flag.
    pub why: &'static str,
}

impl CompiledFlags {
    /// Those that exclude a flag where they are on.
    pub(super) fn rivals_above<'a>(&'a self, settings: &'a Settings) -> impl Iterator<Item = &'a FlagKey> {
        settings.conflict_groups.iter().flat_map(move |group| self.rivals_in(settings, group))
    }

    /// The same, of one of its groups.
    pub(super) fn rivals_in<'a>(
        &'a self,
        settings: &'a Settings,
        group: &'a GroupName,
    ) -> impl Iterator<Item = &'a FlagKey> {
        let place = (Reverse(settings.priority), &settings.key);
        let above = self.members(group).take_while(move |(priority, key)| (*priority, key) < place);
        above.map(|(_, key)| key)
    }

    /// All that a flag of this set names that is not in it.
    pub fn missing<'a>(&'a self, settings: &'a Settings) -> Vec<Missing<'a>> {
        let mut missing = Vec::new();
        if let Some(switch) = &settings.kill_switch {
            match self.flag(switch.as_str()) {
                None => missing.push(Missing::Switch(switch)),
                Some(found) if !is_kill_switch(&found.settings) => missing.push(Missing::KillSwitch(switch)),
                Some(_) => {}
            }
        }
        for needed in &settings.prerequisites {
            let Some(found) = self.flag(needed.flag_key.as_str()) else {
                missing.push(Missing::Flag(&needed.flag_key));
                continue;
            };
            let gone = needed.variants.iter().filter(|name| !found.settings.variants.contains_key(*name));
            missing.extend(gone.map(|variant| Missing::Variant(&needed.flag_key, variant)));
        }
        let full = settings.conflict_groups.iter().filter(|group| self.group_size(group) > GROUP_MAX);
        missing.extend(full.map(Missing::Room));
        missing
    }

    /// A circle that one of these flags is part of or leads to: its members in order, the first again at the end.
    pub fn circle<'a>(&'a self, from: impl IntoIterator<Item = &'a FlagKey>) -> Option<Vec<FlagKey>> {
        // Of a flag that is being looked at, how many of those it hangs on have been; `None` once all have.
        let mut seen: HashMap<&str, Option<usize>> = HashMap::new();
        for start in from {
            let mut path: Vec<&'a FlagKey> = Vec::new();
            let mut next = Some(start);
            while let Some(key) = next.take() {
                match seen.get(key.as_str()) {
                    None => {
                        seen.insert(key.as_str(), Some(0));
                        path.push(key);
                    }
                    Some(None) => {}
                    Some(Some(_)) => {
                        let first = path.iter().position(|on_path| *on_path == key).unwrap_or_default();
                        let circle = path[first..].iter().copied().chain([key]);
                        return Some(circle.cloned().collect());
                    }
                }
                next = self.step(&mut seen, &mut path);
            }
        }
        None
    }

    /// How a flag hangs on another; none where it does not. A flag that does so in several ways has to lose each of them.
    pub fn relation<'a>(&'a self, flag: &FlagKey, other: &FlagKey) -> Option<Relation<'a>> {
        let settings = &self.flag(flag.as_str())?.settings;
        if settings.kill_switch.as_ref() == Some(other) {
            return Some(Relation::KillSwitch);
        }
        if settings.prerequisites.iter().any(|needed| needed.flag_key == *other) {
            return Some(Relation::Prerequisite);
        }
        let mut groups = settings.conflict_groups.iter();
        groups.find(|group| self.rivals_in(settings, group).any(|rival| rival == other)).map(Relation::Group)
    }

    /// The next flag to look at: one that the last of the path hangs on, or else, of those before it.
    fn step<'a>(
        &'a self,
        seen: &mut HashMap<&str, Option<usize>>,
        path: &mut Vec<&'a FlagKey>,
    ) -> Option<&'a FlagKey> {
        while let Some(last) = path.last() {
            let looked = seen.get_mut(last.as_str())?;
            let compiled = self.compiled(last.as_str());
            let needed =
                compiled.and_then(|compiled| self.hangs_on(compiled).nth(looked.unwrap_or_default()));
            if needed.is_some() {
                *looked = looked.map(|count| count + 1);
                return needed;
            }
            *looked = None;
            path.pop();
        }
        None
    }

    /// The flags whose answers a change of these flags can change: themselves, those that need them, and those that
    /// they exclude, and so on.
    pub fn affected_by(&self, changed: impl IntoIterator<Item = FlagKey>) -> BTreeSet<FlagKey> {
        let mut affected: BTreeSet<FlagKey> = BTreeSet::new();
        let mut waiting: Vec<FlagKey> = changed.into_iter().collect();
        while let Some(key) = waiting.pop() {
            if affected.contains(&key) {
                continue;
            }
            waiting.extend(self.dependents(key.as_str()).cloned());
            if let Some(flag) = self.flag(key.as_str()) {
                for group in &flag.settings.conflict_groups {
                    waiting.extend(self.members(group).map(|(_, member)| member.clone()));
                }
            }
            affected.insert(key);
        }
        affected
    }

    /// The flags of which a caller's own attributes may decide what a tenant gets, by a rule or as the key of a share, and those
    /// that hang on them.
    pub fn asking_callers(&self, tenant: &str) -> BTreeSet<FlagKey> {
        let by_itself = self.flags().filter(|flag| {
            let settings = &flag.settings;
            !settings.rules.is_empty()
                || settings.default_rollout.as_ref().is_some_and(Split::asks_callers)
                || self.tier_defaults(flag.key().as_str()).any(|default| default.choice.asks_callers())
        });
        let own = self.overrides_of_tenant(tenant).filter(|own| own.choice.asks_callers());
        let all: BTreeSet<_> =
            by_itself.map(|flag| flag.key().clone()).chain(own.map(|own| own.flag.clone())).collect();
        self.affected_by(all)
    }

    /// Those that need one of the changed flags and would no longer get what they need; those that did not get it
    /// before either are not told.
    pub fn broken_by(&self, after: &Self, changed: &BTreeSet<FlagKey>) -> Vec<Broken> {
        let mut broken = Vec::new();
        for needed in changed {
            for dependent in after.dependents(needed.as_str()) {
                if changed.contains(dependent) && self.flag(dependent.as_str()).is_none() {
                    continue;
                }
                if let Some(why) = after.breakage(dependent, needed)
                    && self.breakage(dependent, needed).is_none()
                {
                    broken.push(Broken { dependent: dependent.clone(), needed: needed.clone(), why });
                }
            }
        }
        broken
    }

    fn breakage(&self, dependent: &FlagKey, needed: &FlagKey) -> Option<&'static str> {
        let settings = &self.flag(dependent.as_str())?.settings;
        let Some(found) = self.flag(needed.as_str()).map(|flag| &flag.settings) else {
            return Some("would be gone and leave it off");
        };
        if found.state != FlagState::Enabled {
            return Some("would not be in use and leave it off");
        }
        if settings.kill_switch.as_ref() == Some(needed) && !is_kill_switch(found) {
            return Some("would be no kill switch");
        }
        let mut prerequisites = settings.prerequisites.iter().filter(|other| other.flag_key == *needed);
        let lacks =
            prerequisites.any(|other| other.variants.iter().all(|name| !found.variants.contains_key(name)));
        lacks.then_some("would not have the variant that is needed")
    }
}

fn is_kill_switch(settings: &Settings) -> bool {
    settings.kind == Kind::KillSwitch && settings.flag_type == FlagType::Boolean
}

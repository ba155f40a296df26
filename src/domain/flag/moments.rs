//! When answers change by time alone: expiries, schedule windows, steps of rollouts, ends of overrides.
//!
//! What a rule makes of the clock (`$flagd.timestamp`) cannot be told in advance and is not among them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use imbl::OrdMap;
use jiff::Timestamp;

use super::CompiledFlags;
use crate::domain::ids::{FlagKey, TenantId, TierId};

/// Every moment of every flag, counted: several overrides of a flag may end at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Moments(OrdMap<Timestamp, OrdMap<FlagKey, u32>>);

impl Moments {
    pub(super) fn add(&mut self, flag: &FlagKey, moments: impl Iterator<Item = Timestamp>) {
        for moment in moments {
            *self.0.entry(moment).or_default().entry(flag.clone()).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, flag: &FlagKey, moments: impl Iterator<Item = Timestamp>) {
        for moment in moments {
            let Some(flags) = self.0.get_mut(&moment) else { continue };
            match flags.get_mut(flag) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(flags.remove(flag)),
            }
            if flags.is_empty() {
                self.0.remove(&moment);
            }
        }
    }

    /// What changes after `from`, up to and including `until`.
    pub(super) fn between(
        &self,
        from: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = (&Timestamp, &OrdMap<FlagKey, u32>)> {
        // A range must not end before it begins.
        self.0.range((Bound::Excluded(from), Bound::Included(until.max(from))))
    }
}

/// The tiers and the tenants that something concerns.
type Whose = (BTreeSet<TierId>, BTreeSet<TenantId>);

impl CompiledFlags {
    /// The first moment after `now` at which an answer can change although nobody changes anything.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.moments.between(now, Timestamp::MAX).next().map(|(moment, _)| *moment)
    }

    /// The last moment up to `now` at which an answer can have changed although nobody changed anything.
    pub fn last_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.moments.0.range(..=now).next_back().map(|(moment, _)| *moment)
    }

    /// The flags that have moments of their own after `from`, up to and including `until`, and whose answers those change:
    /// everybody's, or those of tiers and of tenants.
    pub fn changed_by_time_alone(
        &self,
        from: Timestamp,
        until: Timestamp,
    ) -> BTreeMap<FlagKey, Option<Whose>> {
        let keys: BTreeSet<_> =
            self.moments.between(from, until).flat_map(|(_, flags)| flags.keys()).collect();
        let is_now = |moment: Timestamp| from < moment && moment <= until;
        let whose = |key: &FlagKey| {
            let is_own = self.compiled(key.as_str()).is_none_or(|flag| flag.moments().any(is_now));
            let tiers =
                self.tier_defaults(key.as_str()).filter(|default| default.choice.moments().any(is_now));
            let own = self.overrides_of_flag(key.as_str());
            let own = own.filter(|own| own.expire_time.into_iter().chain(own.choice.moments()).any(is_now));
            (!is_own).then(|| {
                (
                    tiers.map(|default| default.tier.clone()).collect(),
                    own.map(|own| own.tenant.clone()).collect(),
                )
            })
        };
        keys.into_iter().map(|key| (key.clone(), whose(key))).collect()
    }

    /// The flags whose answers can have changed by time alone after `from`, up to and including `until`; also those
    /// that hang on them.
    pub fn changed_by_time(&self, from: Timestamp, until: Timestamp) -> BTreeSet<FlagKey> {
        let changed = self.moments.between(from, until).flat_map(|(_, flags)| flags.keys().cloned());
        self.affected_by(changed)
    }
}

//! Targets that nobody could look at. After a restore of the registry's database such a target may hold what the registry has
//! forgotten, under a number that the registry has reached again meanwhile. So a number alone does not tell whose a state is: what
//! the registry has asked for since it last saw the target does.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Operation, Step, TargetState};
use crate::domain::ids::TargetName;
use crate::domain::lifecycle::{Access, Desired, Verb};

/// What may be seen of a target, once it is looked at, without anybody else having told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unseen {
    /// The first generation that was asked for since it was last seen.
    pub since: u64,
    /// The states that were asked for since, whether or not that ever reached it.
    pub asked: BTreeSet<Desired>,
    /// The first generation that was given out since the registry was restored, where it was: nothing is asked of the target, not even
    /// to deny, before it is looked at, so what it holds of that one or a newer one nobody here has asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<u64>,
}

impl Unseen {
    /// A target of which one state was asked.
    pub fn of_one(since: u64, asked: Desired) -> Self {
        Self { since, asked: BTreeSet::from([asked]), restored: None }
    }

    /// Whether somebody else told a target what it holds.
    pub fn is_by_others(&self, generation: u64, state: Option<Desired>) -> bool {
        let is_forgotten = self.restored.is_some_and(|restored| generation >= restored);
        let is_asked = |state| self.asked.contains(&state);
        state.is_some_and(|state| is_forgotten || (generation >= self.since && !is_asked(state)))
    }
}

impl Operation {
    /// Whether a target is looked at before anything is asked of it: before it lets the tenant in, or after a restore of the registry.
    /// A new tenant is in none yet.
    pub fn looks_first(&self, step: &Step) -> bool {
        let gives = step.desired.access() != Access::None && self.verb != Verb::Provision;
        gives || self.known_unseen(step).is_some_and(|unseen| unseen.restored.is_some())
    }

    /// What a step's target may be seen to hold.
    pub fn may_hold(&self, step: &Step) -> Unseen {
        let only = |since| Unseen::of_one(since, step.desired);
        if let Some(ahead) = self.undecided().find(|ahead| ahead.target == step.target) {
            // Nothing was asked of it since. What has nothing of the tenant holds no number to go by.
            let restored = ahead.observed.is_none().then_some(ahead.generation);
            return Unseen { restored, ..only(ahead.generation) };
        }
        let begun = self.details.begun.unwrap_or(self.generation);
        let mut unseen = self.known_unseen(step).unwrap_or_else(|| only(begun));
        let gone_beyond = self.adopted(&step.target).map(|ahead| ahead.generation.saturating_add(1));
        let decided = gone_beyond.max().unwrap_or_default();
        unseen.since = unseen.since.max(decided);
        unseen.restored = unseen.restored.map(|restored| restored.max(decided));
        unseen.asked.insert(step.desired);
        unseen
    }

    /// What is kept of a target that could not be looked at before this operation, or its way back, began.
    pub(super) fn known_unseen(&self, step: &Step) -> Option<Unseen> {
        let kept = self.details.unseen.get(&step.target).cloned();
        match self.details.restored {
            Some(since) if !is_seen(step) => {
                let kept = kept.unwrap_or_else(|| Unseen::of_one(since, step.desired));
                // Of two restores the first counts: nothing was asked since.
                Some(Unseen {
                    restored: Some(kept.restored.map_or(since, |restored| restored.min(since))),
                    ..kept
                })
            }
            _ => kept,
        }
    }

    /// The targets that nobody has looked at, as far as this operation got. One that was read back holds what was asked for by this
    /// operation or before it, whatever state that was.
    pub(super) fn left_unseen(&self) -> BTreeMap<TargetName, Unseen> {
        let mut unseen = self.details.unseen.clone();
        for step in &self.steps {
            if is_seen(step) {
                unseen.remove(&step.target);
            } else {
                unseen.insert(step.target.clone(), self.may_hold(step));
            }
        }
        unseen
    }

    /// Notes which targets nobody has looked at, before all steps start over, or some are left out.
    pub(super) fn keep_unseen(&mut self) {
        self.details.unseen = self.left_unseen();
        self.details.restored = None;
    }

    /// The same where all targets are about to be brought back. Where one of them was ahead, the others were told things, too, that
    /// the registry has forgotten: of those that did not take the change, nothing is believed to be what it asked for.
    pub(super) fn keep_unseen_on_the_way_back(&mut self) {
        self.keep_unseen();
        if self.details.ahead.is_empty() {
            return;
        }
        let since = self.details.begun.unwrap_or(self.generation);
        for step in self.steps.iter().filter(|step| !step.state.is_done()) {
            let unseen = Unseen { since, asked: BTreeSet::new(), restored: None };
            self.details
                .unseen
                .entry(step.target.clone())
                .and_modify(|kept| kept.asked.clear())
                .or_insert(unseen);
        }
    }

    /// Takes note that a target was looked at, and held nothing that was not asked for: what it may be asked for from now on is ours.
    pub fn was_looked_at(&mut self, target: &TargetName) {
        let is_kept = self.details.restored.is_some() || self.details.unseen.contains_key(target);
        if is_kept && self.steps.iter().any(|step| step.target == *target) {
            self.keep_unseen();
            self.details.unseen.remove(target);
        }
    }
}

fn is_seen(step: &Step) -> bool {
    step.state == TargetState::Verified || step.observed.is_some()
}

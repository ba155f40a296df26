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
}

impl Unseen {
    /// Whether somebody else told a target what it holds.
    pub fn is_by_others(&self, generation: u64, state: Option<Desired>) -> bool {
        generation >= self.since && state.is_some_and(|state| !self.asked.contains(&state))
    }
}

impl Operation {
    /// Whether a target is looked at before it is asked to let the tenant in. A new tenant is in none yet.
    pub fn looks_first(&self, step: &Step) -> bool {
        step.desired.access() != Access::None && self.verb != Verb::Provision
    }

    /// What a step's target may be seen to hold.
    pub fn may_hold(&self, step: &Step) -> Unseen {
        if let Some(ahead) = self.waits_behind(&step.target) {
            // Nothing was asked of it since.
            return Unseen { since: ahead, asked: BTreeSet::from([step.desired]) };
        }
        let begun = self.details.begun.unwrap_or(self.generation);
        let known = self.details.unseen.get(&step.target).cloned();
        let mut unseen = known.unwrap_or_else(|| Unseen { since: begun, asked: BTreeSet::new() });
        unseen.since = self
            .adopted(&step.target)
            .fold(unseen.since, |since, ahead| since.max(ahead.generation.saturating_add(1)));
        unseen.asked.insert(step.desired);
        unseen
    }

    /// The targets that nobody has looked at, as far as this operation got. One that was read back holds what was asked for by this
    /// operation or before it, whatever state that was.
    pub(super) fn left_unseen(&self) -> BTreeMap<TargetName, Unseen> {
        let mut unseen = self.details.unseen.clone();
        for step in &self.steps {
            if step.state == TargetState::Verified || step.observed.is_some() {
                unseen.remove(&step.target);
            } else {
                unseen.insert(step.target.clone(), self.may_hold(step));
            }
        }
        unseen
    }

    /// The same where all targets are about to be brought back. Where one of them was ahead, the others were told things, too, that
    /// the registry has forgotten: of those that did not take the change, nothing is believed to be what it asked for.
    pub(super) fn unseen_on_the_way_back(&self) -> BTreeMap<TargetName, Unseen> {
        let mut unseen = self.left_unseen();
        if !self.details.ahead.is_empty() {
            let since = self.details.begun.unwrap_or(self.generation);
            for step in self.steps.iter().filter(|step| !step.state.is_done()) {
                unseen.insert(step.target.clone(), Unseen { since, asked: BTreeSet::new() });
            }
        }
        unseen
    }
}

//! Steps that are asked for nothing yet, because another target of the tenant may know better. After a restore of the registry's database
//! one target may hold a suspension that the registry has forgotten, and its neighbour, which was down or paused then, has never
//! heard of it. What the one knows keeps the other from letting the tenant in.

use jiff::Timestamp;

use super::{Ahead, ERROR_MAX, Operation, Step, TargetState, Unseen, gives_no_more};
use crate::domain::ids::TargetName;
use crate::domain::lifecycle::{Access, Desired, Verb};

/// What is said first of a target that waits for others.
const NOT_YET: &str = "is not asked yet";

/// Why a target is asked for nothing yet: what it waits for, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Waits<'a> {
    /// They hold less access, under a generation that the registry has not asked for, and nobody has decided which counts.
    Undecided(Vec<&'a TargetName>),
    /// Nobody has looked at them since the registry was restored.
    Unseen(Vec<&'a TargetName>),
}

impl Operation {
    /// Whether a target is to be given access, and another one may know that the tenant is to have none.
    pub fn is_held_back(&self, step: &Step) -> bool {
        self.waits(step).is_some()
    }

    /// Whether a target that is held back was looked at already, so that there is nothing to do there for now. One that waits for a
    /// decision itself is looked at whenever somebody asks for it.
    pub fn is_idle(&self, step: &Step) -> bool {
        self.is_held_back(step) && !self.is_unlooked(step) && self.waits_behind(&step.target).is_none()
    }

    /// Whether a target may have nothing of the tenant. In a registry that was restored that is what a purge leaves which it has
    /// forgotten; a new tenant is in none yet.
    pub fn may_be_missing(&self, step: &Step) -> bool {
        if step.desired == Desired::Deleted || self.verb == Verb::Provision {
            return true;
        }
        let waits = self.undecided().any(|held| held.target == step.target && held.observed.is_none());
        let since = self.known_unseen(step).and_then(|unseen| unseen.restored);
        !waits
            && since.is_none_or(|since| {
                self.adopted(&step.target).any(|held| held.observed.is_none() && held.generation >= since)
            })
    }

    /// Whether it met a target that somebody else had told something: it counts there all the same, or was asked for and has passed by
    /// what is gone. Repairs pass by that round after round, which tells nobody anything.
    pub fn went_beyond(&self) -> bool {
        let passed_by = |target: &TargetName| {
            self.steps.iter().any(|step| step.target == *target && step.state == TargetState::Skipped)
        };
        let is_gone = |held: &Ahead| held.observed.is_none_or(|state| state == Desired::Deleted);
        let is_left_out = |held: &Ahead| self.verb.closes() && is_gone(held) && passed_by(&held.target);
        self.details.ahead.iter().any(|held| held.adoption.is_some() || is_left_out(held))
    }

    /// Has a target that has nothing of the tenant wait for an operator. It holds no number, so it gets one.
    pub(super) fn found_missing(&mut self, target: &TargetName, now: Timestamp) {
        let step = self.steps.iter().find(|step| step.target == *target);
        let since = step.and_then(|step| self.known_unseen(step)).and_then(|unseen| unseen.restored);
        let generation = self.generation.max(since.unwrap_or_default());
        self.found_ahead(target, generation, None, now);
    }

    /// Has an operator say that a target that is held back is given access all the same.
    pub(super) fn find_held_back(&mut self, target: &TargetName) {
        let observed = self.steps.iter().find(|step| step.target == *target).and_then(|step| step.observed);
        let generation = self.generation;
        self.details.ahead.push(Ahead { target: target.clone(), generation, observed, adoption: None });
    }

    /// Says of each target that only waits for others what it waits for. What does not answer says so itself.
    pub(super) fn tell_held_back(&mut self) {
        let told: Vec<_> = self.steps.iter().map(|step| self.told(step)).collect();
        for (step, told) in self.steps.iter_mut().zip(told) {
            match told {
                Some(told) => step.last_error = told,
                None if step.last_error.starts_with(NOT_YET) => step.last_error.clear(),
                None => {}
            }
        }
    }

    fn told(&self, step: &Step) -> Option<String> {
        self.waits(step).filter(|_| self.is_idle(step)).map(|waits| waits.told(step))
    }

    fn waits(&self, step: &Step) -> Option<Waits<'_>> {
        let details = &self.details;
        let is_plain = details.ahead.is_empty() && details.unseen.is_empty() && details.restored.is_none();
        if is_plain || !step.state.is_tried() || !gives(step) || step.was_verified() || self.is_decided(step)
        {
            return None;
        }
        // Who skips a target goes on without what it knows; and one that was read back holds what was asked for.
        let others = || {
            let is_other = |other: &&Step| other.target != step.target && !other.state.is_done();
            self.steps.iter().filter(is_other)
        };
        let knows_better = |other: &&Step| {
            let mut held = self.undecided().filter(|held| held.target == other.target);
            held.any(|held| !gives_no_more(step.desired, held.observed))
        };
        let undecided: Vec<_> = others().filter(knows_better).map(|other| &other.target).collect();
        if !undecided.is_empty() {
            return Some(Waits::Undecided(undecided));
        }
        let unseen: Vec<_> =
            others().filter(|other| self.is_unlooked(other)).map(|other| &other.target).collect();
        (!unseen.is_empty()).then_some(Waits::Unseen(unseen))
    }

    /// Whether an operator has said that this operation counts at a target.
    fn is_decided(&self, step: &Step) -> bool {
        self.adopted(&step.target).any(|held| !held.is_adopted_by_itself())
    }

    /// Whether nobody has looked at a target since the registry was restored.
    pub(super) fn is_unlooked(&self, step: &Step) -> bool {
        self.known_unseen(step).is_some_and(|Unseen { restored, .. }| restored.is_some())
    }
}

impl Waits<'_> {
    fn told(&self, step: &Step) -> String {
        let named = |targets: &[&TargetName]| {
            let names: Vec<&str> = targets.iter().map(|target| target.as_str()).collect();
            names.join(", ")
        };
        let adopt = format!("retry this one with `adopt` to make it {} all the same", step.desired);
        let told = match self {
            Self::Undecided(others) => format!(
                "{NOT_YET}: first decide what counts at {}, which may have been to lock the tenant out; or {adopt}",
                named(others)
            ),
            Self::Unseen(others) => format!(
                "{NOT_YET}: the registry was restored, and nobody could look at {} since; goes on by itself after that, or {adopt}",
                named(others)
            ),
        };
        told.chars().take(ERROR_MAX).collect()
    }
}

fn gives(step: &Step) -> bool {
    step.desired.access() != Access::None
}

//! How old what was seen of a target may be: an operation does not end on it when it is too old, is listed as stuck when
//! nothing new comes, and takes up what a verifier finds drifted meanwhile.

use jiff::{SignedDuration, Timestamp};

use super::intervene::{Drift, drifted};
use super::{ERROR_MAX, Operation, State, Step, TargetState, generation_after};
use crate::domain::ids::TargetName;
use crate::domain::lifecycle::{Verb, desired_by};

/// An operation ends on no reading that is older; each is taken again first.
pub const READING_AGE_MAX: SignedDuration = SignedDuration::from_secs(10);
/// An operation in which no target was brought to its state, or nearer to it, for so long is stuck, whatever the reason.
const STUCK_AFTER: SignedDuration = SignedDuration::from_secs(10);
/// From how many failed attempts in a row on an operation counts as stuck: about 6 s of trying.
const STUCK_ATTEMPTS: u32 = 6;
/// From how many failed attempts in a row on a target keeps failing.
const KEEPS_FAILING_ATTEMPTS: u32 = 2;

impl Step {
    /// Whether what was seen of the target is too old to rely on. A time that is as far ahead was written by a replica
    /// with another clock, and says nothing.
    fn is_stale(&self, now: Timestamp, age_max: SignedDuration) -> bool {
        self.state == TargetState::Verified
            && self.verify_time.is_none_or(|time| now.duration_since(time).abs() > age_max)
    }

    /// Whether the target was in the desired state when it was last seen, and only has to be looked at again. It is asked
    /// to change only if it is not.
    pub const fn was_verified(&self) -> bool {
        self.verify_time.is_some()
    }

    /// When it last got on: was seen in the desired state, or did a part of a long work.
    fn got_on(&self) -> Option<Timestamp> {
        self.verify_time.max(self.next_attempt_time.filter(|_| self.has_done_a_part()))
    }

    /// Whether it did a part of a long work, after which it goes on at once and no attempt counts.
    fn has_done_a_part(&self) -> bool {
        self.state == TargetState::Retrying && self.attempts == 0
    }

    /// Whether something went wrong when it was last tried.
    pub fn fails(&self) -> bool {
        !self.last_error.is_empty() && !self.has_done_a_part()
    }

    /// Whether it has failed more than once in a row, and so mostly pauses between attempts.
    pub const fn keeps_failing(&self) -> bool {
        self.attempts >= KEEPS_FAILING_ATTEMPTS
    }
}

impl Operation {
    /// Has every target looked at again whose reading is older than `age_max`. Answers whether there is any.
    pub(super) fn take_again(&mut self, now: Timestamp, age_max: SignedDuration) -> bool {
        let mut any = false;
        for step in self.steps.iter_mut().filter(|step| step.is_stale(now, age_max)) {
            step.state = TargetState::Pending;
            step.attempts = 0;
            step.next_attempt_time = None;
            any = true;
        }
        any
    }

    /// Which of `all` targets nobody has looked at for a while although the operation is open: what it is done with, and
    /// beside a repair that only reports, whatever had not drifted when it began.
    pub fn left_alone(&self, all: &[TargetName], now: Timestamp) -> Vec<TargetName> {
        let left_alone = |target: &&TargetName| {
            let step = self.steps.iter().find(|step| step.target == **target);
            step.map_or(self.verb == Verb::Repair, |step| step.is_stale(now, READING_AGE_MAX))
        };
        let all = all.iter().filter(|_| self.state.is_open());
        all.filter(left_alone).cloned().collect()
    }

    /// The targets for which a repair waits for an operator; none of any other operation, which somebody asked for.
    pub fn unrepaired(&self) -> Vec<TargetName> {
        let waits = self.verb == Verb::Repair && self.state == State::NeedsOperator;
        let left = self.steps.iter().filter(|step| waits && !step.state.is_done());
        left.map(|step| step.target.clone()).collect()
    }

    /// Takes up what a verifier found while the operation is open: what drifted after it was verified goes back to work,
    /// under a new generation, since a target does nothing for one that it has applied. A repair takes up other targets
    /// too; where it only reports (`acts` is false), they wait for an operator. Answers which it takes up.
    pub fn take_up(&mut self, drifts: &[Drift], acts: bool, now: Timestamp) -> Vec<TargetName> {
        let mut taken = Vec::new();
        if !self.state.is_open() {
            return taken;
        }
        let acts = acts || self.verb != Verb::Repair;
        for drift in drifts {
            let Some(step) = self.step_for(&drift.target) else { continue };
            step.start_over(step.desired);
            step.observed = drift.observed;
            step.last_error = drifted(drift, step.desired);
            if !acts {
                step.state = TargetState::NeedsOperator;
            }
            taken.push(drift.target.clone());
        }
        if taken.is_empty() {
            return taken;
        }
        if self.verb == Verb::Repair {
            self.tell_found();
        }
        if acts {
            self.generation = generation_after(self.generation);
            self.drive_on(now);
        }
        for drift in drifts.iter().filter(|drift| taken.contains(&drift.target)) {
            if let Some(generation) = drift.ahead {
                self.found_ahead(&drift.target, generation, drift.observed, now);
            }
        }
        self.update_time = now;
        self.settle(now);
        taken
    }

    /// The step that takes up a drift of a target: one that was done, or in a repair a new one.
    fn step_for(&mut self, target: &TargetName) -> Option<&mut Step> {
        let place = match self.steps.binary_search_by(|step| step.target.cmp(target)) {
            Ok(place) => place,
            Err(place) if self.verb == Verb::Repair => {
                let desired = desired_by(self.verb, self.to_status);
                self.steps.insert(
                    place,
                    Step { state: TargetState::Verified, ..Step::pending(target.clone(), desired) },
                );
                place
            }
            Err(_) => return None,
        };
        self.steps.get_mut(place).filter(|step| step.state == TargetState::Verified)
    }

    fn tell_found(&mut self) {
        let open = self.steps.iter().filter(|step| !step.state.is_done());
        let found: Vec<&str> = open.map(|step| step.target.as_str()).collect();
        self.error = format!("drift was found in {}", found.join(", ")).chars().take(ERROR_MAX).collect();
    }

    /// Whether somebody should look: automatic retries have stopped, a target has failed several times in a row, or for
    /// a while no target was brought to its state or nearer to it, whatever holds it up; or its time to begin is over.
    pub fn is_stuck(&self, now: Timestamp) -> bool {
        match self.state {
            State::NeedsOperator => return true,
            State::Scheduled => return self.is_due_for(STUCK_AFTER, now),
            _ => {}
        }
        let fails = |step: &Step| step.state == TargetState::Retrying && step.attempts >= STUCK_ATTEMPTS;
        let got_on = self.steps.iter().filter_map(Step::got_on).max();
        let since = [Some(self.create_time), self.schedule_time, got_on].into_iter().flatten().max();
        self.state.is_driven()
            && (self.steps.iter().any(fails)
                || since.is_some_and(|since| now.duration_since(since) > STUCK_AFTER))
    }

    /// Whether the time to begin came longer ago than `late`, and it has not begun.
    pub fn is_due_for(&self, late: SignedDuration, now: Timestamp) -> bool {
        self.state == State::Scheduled
            && self.schedule_time.is_some_and(|time| now.duration_since(time) > late)
    }

    /// Whether it has done all that it can for now: it is under way, and each target that is not done is `held_up`.
    pub fn only_waits(&self, held_up: impl Fn(&Step) -> bool) -> bool {
        let mut tried = self.steps.iter().filter(|step| step.state.is_tried()).peekable();
        self.state.is_driven()
            && tried.peek().is_some()
            && tried.all(|step| self.is_idle(step) || held_up(step))
    }
}

//! What follows from what the engine saw.

use jiff::{SignedDuration, Timestamp};

use super::intervene::{Drift, drifted};
use super::{
    Attempt, ERROR_MAX, Operation, Outcome, Patience, READING_AGE_MAX, State, Step, TargetState,
    generation_after,
};
use crate::domain::ids::{OperationId, TargetName};
use crate::domain::lifecycle::{Desired, Toward, Verb, Verification, desired, toward};

/// The pause before a target goes on with what it could not finish in one attempt, or asks again whether it can.
const GO_ON_PAUSE: SignedDuration = SignedDuration::from_millis(100);

/// What is said of a target of which the database takes nothing.
const UNWRITTEN: &str = "the database refuses what came of it, which the log tells: retry it, or skip it";

impl Step {
    /// Takes note of what was seen; answers whether that is what was wanted. What is said beside it stays to be read.
    fn is_met(
        &mut self,
        observed: Desired,
        verification: Verification,
        said: String,
        now: Timestamp,
    ) -> bool {
        self.observed = Some(observed);
        if observed != self.desired {
            return false;
        }
        self.state = TargetState::Verified;
        self.verify_time = Some(now);
        self.verification = Some(verification);
        self.last_error = said;
        true
    }

    /// Was asked for nothing, so many attempts counted.
    fn looked_at(&mut self, attempts: u32, observed: Option<Desired>) {
        self.state = TargetState::Pending;
        self.attempts = attempts;
        self.observed = observed;
    }

    /// Is tried again at once, so many attempts counted.
    fn go_on(&mut self, attempts: u32, why: String, now: Timestamp) {
        self.state = TargetState::Retrying;
        self.attempts = attempts;
        self.last_error = why;
        self.next_attempt_time = now.checked_add(GO_ON_PAUSE).ok();
    }
}

impl Operation {
    /// Steps that the engine should try at `now`. A time further away than the longest pause was written by a replica
    /// whose clock is ahead: it counts as due.
    pub fn due(&self, now: Timestamp) -> impl Iterator<Item = &Step> {
        let driven = self.state.is_driven();
        self.steps.iter().filter(move |step| {
            let is_tried = driven && step.state.is_tried() && !self.is_idle(step);
            is_tried && step.next_attempt_time.is_none_or(|time| is_due(time, now))
        })
    }

    /// When the next step that is not `held` falls due; `None` if there is none to try.
    pub fn next_due(&self, held: impl Fn(&Step) -> bool) -> Option<Timestamp> {
        if !self.state.is_driven() {
            return None;
        }
        self.steps
            .iter()
            .filter(|step| step.state.is_tried() && !held(step) && !self.is_idle(step))
            .map(|step| step.next_attempt_time.unwrap_or(Timestamp::UNIX_EPOCH))
            .min()
    }

    /// Takes what was seen of one target in one attempt at `generation`. Results of an older generation are ignored,
    /// and so are those of a target that is no longer tried. Call [`settle`](Self::settle) once all results at hand
    /// are in.
    pub fn record(&mut self, attempt: Attempt, pace: Patience, now: Timestamp) {
        let Attempt { target, generation, outcome } = attempt;
        if generation != self.generation || !self.state.is_driven() {
            return;
        }
        let attempts_max = match self.state {
            State::Reverting => pace.attempts_max.saturating_mul(2),
            _ => pace.attempts_max,
        };
        let tried = |step: &&mut Step| step.target == target && step.state.is_tried();
        let Some(step) = self.steps.iter_mut().find(tried) else { return };
        self.update_time = now;
        step.next_attempt_time = None;
        let before = step.attempts;
        step.attempts = before.saturating_add(1);
        let error = match outcome {
            Outcome::Observed(observed, verification) => {
                if step.is_met(observed, verification, String::new(), now) {
                    return;
                }
                format!("took the change, but was read back in state {observed}")
            }
            Outcome::Unproven(observed, why) => {
                if step.is_met(observed, Verification::PolicyOnly, why.clone(), now) {
                    return;
                }
                format!("took the change, but was read back in state {observed}: {why}")
            }
            Outcome::Amiss(observed, why) => {
                step.observed = Some(observed);
                format!("took the change, but was read back in state {observed}: {why}")
            }
            Outcome::Ahead(generation, observed) => {
                return self.found_ahead(&target, generation, observed, now);
            }
            Outcome::Missing => return self.found_missing(&target, now),
            Outcome::LookedAt(observed) => {
                step.looked_at(before, observed);
                return self.holds_nothing_unasked(&target);
            }
            Outcome::Permanent(error) => {
                step.state = TargetState::Failed;
                step.last_error = error;
                return;
            }
            // It got somewhere: what is large takes many goes, and what failed before is made up for.
            Outcome::Unfinished(progress) => return step.go_on(0, progress, now),
            // That it was tried at all tells it from one that got somewhere.
            Outcome::Waiting(why) => return step.go_on(before.max(1), why, now),
            Outcome::Retryable(error) => error,
            Outcome::Drifted(observed, why) => {
                step.start_over(step.desired);
                step.observed = observed;
                step.last_error = drifted(&Drift { target, observed, why, ahead: None }, step.desired);
                // A target does nothing for a generation that it has applied.
                self.generation = generation_after(self.generation);
                return;
            }
        };
        step.last_error = error;
        if step.attempts >= attempts_max {
            step.state = TargetState::NeedsOperator;
        } else {
            step.state = TargetState::Retrying;
            step.next_attempt_time = now.checked_add(backoff(step.attempts)).ok();
        }
    }

    /// Draws the conclusion once all results at hand are recorded: ends the operation, turns it back, or leaves it
    /// running.
    ///
    /// Towards less access nothing turns back: the registry denies already, and a target that refuses must be seen to
    /// by an operator. Towards more access a permanent refusal brings every target back to the state before; it is
    /// decided when every target has been tried, so that nothing hides behind the first failure.
    ///
    /// It ends on nothing that was seen long ago: where a target waited for others, it is looked at once more first.
    pub fn settle(&mut self, now: Timestamp) {
        self.settle_within(now, READING_AGE_MAX);
    }

    /// As [`settle`](Self::settle), with another limit to the age of what was seen. Answers whether anything is to be
    /// looked at again.
    pub fn settle_within(&mut self, now: Timestamp, age_max: SignedDuration) -> bool {
        if !self.state.is_driven() {
            return false;
        }
        if self.steps.iter().all(|step| step.state.is_done()) {
            if self.take_again(now, age_max) {
                self.update_time = now;
                return true;
            }
            self.state = match (self.backward, self.abort_reason.is_empty()) {
                (false, _) => State::Succeeded,
                (true, true) => State::Failed,
                (true, false) => State::Cancelled,
            };
            if self.state == State::Succeeded && self.verb != Verb::Repair {
                self.error.clear();
            }
            if let Some(left) = self.left_behind() {
                self.error = left;
            }
            self.finish_time = Some(now);
            self.update_time = now;
            return false;
        }
        self.tell_held_back();
        // What is held back can only wait, too.
        let states: Vec<TargetState> = self.steps.iter().map(|step| self.standing(step)).collect();
        let any = |wanted: TargetState| states.contains(&wanted);
        if any(TargetState::Pending) || !(any(TargetState::Failed) || any(TargetState::NeedsOperator)) {
            return false;
        }
        self.error = self.failure();
        self.update_time = now;
        // A target that holds a newer generation refuses nothing: an operator has to say which counts.
        let refuses = |step: &Step| match step.state {
            TargetState::Failed => true,
            TargetState::NeedsOperator => self.waits_behind(&step.target).is_none(),
            _ => false,
        };
        if self.state == State::Running && self.turns_back() && self.steps.iter().any(refuses) {
            self.turn_back(now);
        } else if !any(TargetState::Retrying) {
            self.state = State::NeedsOperator;
        }
        false
    }

    /// Where a target stands as far as others are concerned.
    fn standing(&self, step: &Step) -> TargetState {
        if self.is_idle(step) { TargetState::NeedsOperator } else { step.state }
    }

    /// Whether a target that refuses for good brings all of them back.
    fn turns_back(&self) -> bool {
        toward(self.from_status, self.to_status) == Toward::MoreAccess && !self.is_forward_only()
    }

    /// Every target is to be brought to the state before, under a new generation.
    pub(super) fn turn_back(&mut self, now: Timestamp) {
        self.keep_unseen_on_the_way_back();
        self.backward = true;
        self.state = State::Reverting;
        self.start_over(desired(self.from_status), now);
    }

    /// Every target is to be brought to a state, under a new generation. What is known of those that nobody has looked at is to be kept
    /// before.
    pub(super) fn start_over(&mut self, desired: Desired, now: Timestamp) {
        self.generation = generation_after(self.generation);
        self.details.begun = Some(self.generation);
        self.steps.iter_mut().for_each(|step| step.start_over(desired));
        self.reconsider_those_ahead(desired, now);
    }

    fn failure(&self) -> String {
        let failures: Vec<String> = self
            .steps
            .iter()
            .filter(|step| matches!(self.standing(step), TargetState::Failed | TargetState::NeedsOperator))
            .map(|step| format!("{}: {}", step.target, step.last_error))
            .collect();
        failures.join("; ").chars().take(ERROR_MAX * 2).collect()
    }

    /// Stops in front of an operator because the database refuses what came of these targets; of none, where only the end is
    /// to be written. Answers whether there is a target that can be retried then.
    pub fn stop_unwritten(&mut self, targets: &[TargetName], now: Timestamp) -> bool {
        let mut any = false;
        for step in &mut self.steps {
            let concerned = match targets {
                [] => step.state == TargetState::Verified,
                targets => step.state.is_tried() && targets.contains(&step.target),
            };
            if concerned {
                step.state = TargetState::NeedsOperator;
                step.next_attempt_time = None;
                UNWRITTEN.clone_into(&mut step.last_error);
                any = true;
            }
        }
        if any {
            self.state = State::NeedsOperator;
            self.error = self.failure();
            self.update_time = now;
        }
        any
    }

    /// Ends an operation that another takes over from.
    pub fn supersede(&mut self, by: OperationId, now: Timestamp) {
        self.state = State::Superseded;
        self.error = format!("operation {by} took over");
        self.finish_time = Some(now);
        self.update_time = now;
        for step in &mut self.steps {
            step.next_attempt_time = None;
        }
    }
}

fn is_due(time: Timestamp, now: Timestamp) -> bool {
    time <= now || time.duration_since(now) > SignedDuration::from_millis(BACKOFF_MAX_MS)
}

/// The longest pause between two attempts, in milliseconds.
const BACKOFF_MAX_MS: i64 = 30_000;

/// The pause after so many attempts: 100 ms, doubling, at most 30 s. The engine adds jitter by its own timer.
pub fn backoff(attempts: u32) -> SignedDuration {
    let doublings = attempts.saturating_sub(1).min(9);
    SignedDuration::from_millis((100_i64 << doublings).min(BACKOFF_MAX_MS))
}

//! What an operator can do to an operation: have a target tried again, go on without it, take all of it back; and what
//! a verifier does who found a target in another state than it should be in.

use jiff::Timestamp;

use super::{Adoption, ERROR_MAX, Operation, State, Step, TargetState};
use crate::domain::ids::TargetName;
use crate::domain::lifecycle::{Desired, Verb, desired_by};

/// Why an operator's request does not fit the operation as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has ended.
    #[error("the operation has ended")]
    Ended,
    /// It has not begun.
    #[error("the operation has not begun yet")]
    NotBegun,
    /// It has no step for that target.
    #[error("the operation does not reach a target of that name")]
    NoSuchTarget,
    /// The target is where it should be.
    #[error("the target is done: nothing more is asked of it")]
    TargetDone,
    /// It is on its way back already.
    #[error("the operation is being taken back already")]
    TurnedBack,
    /// It is not known to hold a newer generation.
    #[error(
        "the target is not known to hold a newer generation, nor to wait for what is decided of another: retry it without \
         adopting one"
    )]
    NotAhead,
    /// There is no way back.
    #[error("the operation is past the point of no return; it can only be brought to its end")]
    PointOfNoReturn,
}

/// A target that was found in another state than the registry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Which target.
    pub target: TargetName,
    /// What it was seen in; `None` where it does not know the tenant.
    pub observed: Option<Desired>,
    /// What else is wrong there, for people; empty where nothing is.
    pub why: String,
    /// The newer generation that it holds than the registry has asked for.
    pub ahead: Option<u64>,
}

impl Operation {
    /// Has a target tried again from the first attempt on, at once. A provisioning that is stuck on its way back is
    /// tried again as a whole, forward: the tenant is to be what it was made for, and there is no state before to keep. A
    /// target that holds a newer generation takes the change only with an `adoption`.
    ///
    /// # Errors
    ///
    /// Where the operation is not open, or the target is done, or is to be adopted and holds no newer generation.
    pub fn retry_target(
        &mut self,
        target: &TargetName,
        adoption: Option<Adoption>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let begins_again = self.verb == Verb::Provision && self.backward && self.abort_reason.is_empty();
        let is_ahead = self.waits_behind(target).is_some();
        let is_held_back = self.steps.iter().any(|step| step.target == *target && self.is_held_back(step));
        self.open_step(target)?;
        if adoption.is_some() && !is_ahead {
            if !is_held_back {
                return Err(Refusal::NotAhead);
            }
            self.find_held_back(target);
        }
        let step = self.open_step(target)?;
        step.start_over(step.desired);
        if let Some(adoption) = adoption {
            self.adopt(target, adoption);
        }
        if begins_again {
            self.begin_again(now);
        }
        self.drive_on(now);
        // It may still wait for what is decided of another.
        self.settle(now);
        Ok(())
    }

    /// Goes on without a target, whatever state it is in.
    ///
    /// # Errors
    ///
    /// Where the operation is not open, or the target is done.
    pub fn skip_target(
        &mut self,
        target: &TargetName,
        reason: String,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let step = self.open_step(target)?;
        step.state = TargetState::Skipped;
        step.skip_reason = reason;
        step.next_attempt_time = None;
        let tried = self.steps.iter().any(|step| step.state.is_tried());
        if tried || self.steps.iter().all(|step| step.state.is_done()) {
            self.drive_on(now);
        }
        self.update_time = now;
        // With the end of a purge the tenant goes: that is for whoever drives it.
        if self.verb == Verb::Purge {
            self.error = self.left_behind().unwrap_or_default();
        } else {
            self.settle(now);
        }
        Ok(())
    }

    /// What a purge leaves, for people: of a target that it goes on without, nothing was removed. `None` where it leaves none.
    pub(super) fn left_behind(&self) -> Option<String> {
        let skipped: Vec<&str> = self
            .steps
            .iter()
            .filter(|step| self.verb == Verb::Purge && step.state == TargetState::Skipped)
            .map(|step| step.target.as_str())
            .collect();
        let (targets, uid) = (skipped.join(", "), self.tenant_uid);
        let words = format!(
            "skipped: what {targets} has of the tenant with uid {uid} stays there; remove it before the id is used again"
        );
        (!skipped.is_empty()).then(|| words.chars().take(ERROR_MAX * 2).collect())
    }

    /// Takes the operation back: one that has not begun never begins; one that is open brings every target to the
    /// state before.
    ///
    /// # Errors
    ///
    /// Where it has ended, is being taken back, or is past the point of no return.
    pub fn abort(&mut self, reason: String, now: Timestamp) -> Result<(), Refusal> {
        match self.state {
            State::Scheduled => {
                self.state = State::Cancelled;
                self.finish_time = Some(now);
            }
            state if state.is_open() && self.verb == Verb::Repair => {
                // Both ends are the same: there is nothing to bring back.
                self.state = State::Cancelled;
                self.finish_time = Some(now);
            }
            state if !state.is_open() => return Err(Refusal::Ended),
            _ if self.backward => return Err(Refusal::TurnedBack),
            _ if self.is_forward_only() => return Err(Refusal::PointOfNoReturn),
            _ => {
                self.error.clear();
                self.turn_back(now);
            }
        }
        self.abort_reason = reason;
        self.update_time = now;
        self.settle(now);
        Ok(())
    }

    /// What was found, in a repair that is to begin: which targets drifted. Those that are as they should be are made
    /// true again as well, since the new generation is for all.
    pub fn found(&mut self, drifts: &[Drift], now: Timestamp) {
        for drift in drifts {
            if let Some(step) = self.steps.iter_mut().find(|step| step.target == drift.target) {
                step.observed = drift.observed;
                step.last_error = drifted(drift, step.desired);
            }
        }
        let found: Vec<String> = drifts.iter().map(|drift| drift.target.to_string()).collect();
        self.error = format!("drift was found in {}", found.join(", ")).chars().take(ERROR_MAX).collect();
        for drift in drifts {
            // It may have gone beyond that already, by what was known before.
            if let Some(generation) =
                drift.ahead.filter(|held| *held >= self.generation || !self.has_adopted(&drift.target))
            {
                self.found_ahead(&drift.target, generation, drift.observed, now);
            }
        }
        // Of those that wait for a decision, what that is about says more.
        self.meet_those_ahead(now);
    }

    /// Only reports what was found: nothing is tried until an operator says so. Then those are looked at first that nobody has
    /// looked at since the registry was restored.
    pub fn report_only(&mut self, drifts: &[Drift], now: Timestamp) {
        let unlooked: Vec<TargetName> =
            self.steps.iter().filter(|step| self.is_unlooked(step)).map(|step| step.target.clone()).collect();
        self.keep_unseen();
        let drifted = |step: &Step| drifts.iter().any(|drift| drift.target == step.target);
        self.steps.retain(|step| drifted(step) || unlooked.contains(&step.target));
        for step in self.steps.iter_mut().filter(|step| !step.state.is_done() && drifted(step)) {
            step.state = TargetState::NeedsOperator;
        }
        if self.steps.iter().any(|step| step.state.is_done())
            && self.steps.iter().all(|step| step.state.is_done())
        {
            // It passes all of them by: there is nothing to decide.
            return self.settle(now);
        }
        self.state = State::NeedsOperator;
        self.update_time = now;
    }

    fn open_step(&mut self, target: &TargetName) -> Result<&mut Step, Refusal> {
        match self.state {
            State::Scheduled => return Err(Refusal::NotBegun),
            state if !state.is_open() => return Err(Refusal::Ended),
            _ => {}
        }
        let step = self.steps.iter_mut().find(|step| step.target == *target).ok_or(Refusal::NoSuchTarget)?;
        if step.state.is_done() { Err(Refusal::TargetDone) } else { Ok(step) }
    }

    /// Every target is to be brought forward once more, under a new generation.
    fn begin_again(&mut self, now: Timestamp) {
        self.keep_unseen();
        self.backward = false;
        self.start_over(desired_by(self.verb, self.to_status), now);
    }

    /// From waiting for an operator to being driven, in the direction it had.
    pub(super) fn drive_on(&mut self, now: Timestamp) {
        self.state = if self.backward { State::Reverting } else { State::Running };
        if !self.backward && self.verb != Verb::Repair {
            self.error.clear();
        }
        self.update_time = now;
    }
}

pub(super) fn drifted(drift: &Drift, desired: Desired) -> String {
    let why = if drift.why.is_empty() { String::new() } else { format!(": {}", drift.why) };
    match drift.observed {
        Some(observed) if observed == desired => {
            format!("was found in state {observed}, but not as it should be{why}")
        }
        Some(observed) => format!("was found in state {observed}, not {desired}{why}"),
        None => format!("does not know the tenant, which should be {desired} there"),
    }
}

//! A change of a tenant's state under way: what each target is to be brought to, and how an operation ends.
//!
//! Pure: the cascade engine tells what it saw, this says what follows from it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ids::{OperationId, Revision, TargetName, TenantId};
use super::lifecycle::{Desired, IllegalTransition, Status, Toward, Verb, desired, toward, transition};

/// Longest error text of a target, in characters.
pub const ERROR_MAX: usize = 300;

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// Targets are being brought to the new state.
    Running,
    /// Every target was seen in the new state.
    Succeeded,
    /// A target refused for good; all are being brought back.
    Reverting,
    /// Brought back: the tenant is in the state it was in before.
    Failed,
    /// Automatic retries have stopped; the tenant's access stays at the stricter of both states.
    NeedsOperator,
    /// A later operation took over.
    Superseded,
}

impl State {
    /// Every state, in the order of the contract.
    pub const ALL: [Self; 6] = [
        Self::Running,
        Self::Succeeded,
        Self::Reverting,
        Self::Failed,
        Self::NeedsOperator,
        Self::Superseded,
    ];

    /// The name in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Reverting => "REVERTING",
            Self::Failed => "FAILED",
            Self::NeedsOperator => "NEEDS_OPERATOR",
            Self::Superseded => "SUPERSEDED",
        }
    }

    /// Whether the tenant's state is still under way: the tenant has no other open operation.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Running | Self::Reverting | Self::NeedsOperator)
    }

    /// Whether the engine has work to do.
    pub const fn is_driven(self) -> bool {
        matches!(self, Self::Running | Self::Reverting)
    }
}

/// Where a target stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TargetState {
    /// Not tried yet.
    Pending,
    /// Seen in the desired state.
    Verified,
    /// Failed, will be tried again.
    Retrying,
    /// Refused for good.
    Failed,
    /// Automatic retries have stopped.
    NeedsOperator,
}

impl TargetState {
    /// The name in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Verified => "VERIFIED",
            Self::Retrying => "RETRYING",
            Self::Failed => "FAILED",
            Self::NeedsOperator => "NEEDS_OPERATOR",
        }
    }
}

/// What became of one target system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The target's name.
    pub target: TargetName,
    /// The state it is brought to.
    pub desired: Desired,
    /// Where it stands.
    pub state: TargetState,
    /// What it was last seen in.
    pub observed: Option<Desired>,
    /// How often it was tried.
    pub attempts: u32,
    /// What went wrong last, for people.
    pub last_error: String,
    /// When it is tried next.
    pub next_attempt_time: Option<Timestamp>,
    /// When it was seen in the desired state.
    pub verify_time: Option<Timestamp>,
}

impl Step {
    const fn pending(target: TargetName, desired: Desired) -> Self {
        Self {
            target,
            desired,
            state: TargetState::Pending,
            observed: None,
            attempts: 0,
            last_error: String::new(),
            next_attempt_time: None,
            verify_time: None,
        }
    }
}

/// A change of a tenant's state, as stored: the serialised names are the columns' names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Made by the server (`UUIDv7`).
    pub operation_id: OperationId,
    /// Which tenant.
    pub tenant_id: TenantId,
    /// The tenant's uid: an id can be used again after purge, a uid never.
    pub tenant_uid: Uuid,
    /// What was asked for.
    #[serde(with = "verb_name")]
    pub verb: Verb,
    /// The tenant's confirmed status before.
    pub from_status: Status,
    /// The status it makes true.
    pub to_status: Status,
    /// Where it stands.
    pub state: State,
    /// Why, as given by the caller.
    pub reason: String,
    /// Who asked.
    pub actor: String,
    /// Of the desired state; a target never goes back to an older one.
    pub generation: u64,
    /// What became of each target, by name.
    pub steps: Vec<Step>,
    /// What went wrong, for people.
    pub error: String,
    /// When it was asked for.
    pub create_time: Timestamp,
    /// When it last changed.
    pub update_time: Timestamp,
    /// When it ended.
    pub finish_time: Option<Timestamp>,
    /// The revision of its last change; set by the log.
    #[serde(default)]
    pub revision: Revision,
}

/// A verb as one word, so that it fits a column: both ends of a migration have a name of their own.
mod verb_name {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::domain::lifecycle::{MigrationEnd, Verb};

    fn name(verb: Verb) -> &'static str {
        match verb {
            Verb::FinishMigration { to: MigrationEnd::Suspended } => "FINISH_MIGRATION_SUSPENDED",
            verb => verb.as_str(),
        }
    }

    #[allow(clippy::trivially_copy_pass_by_ref)] // The shape that serde calls.
    pub(super) fn serialize<S: Serializer>(verb: &Verb, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name(*verb))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Verb, D::Error> {
        let word = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Verb::ALL
            .into_iter()
            .find(|verb| name(*verb) == word)
            .ok_or_else(|| serde::de::Error::custom("not the name of a verb"))
    }
}

/// What the engine saw of a target after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was read back in this state, which may or may not be the desired one.
    Observed(Desired),
    /// It could not be told, or not done this time.
    Retryable(String),
    /// It refused for good.
    Permanent(String),
    /// A part of long work is done, and more is left: no failure, so it does not count against the patience.
    Unfinished(String),
}

/// One attempt of one target, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Which target.
    pub target: TargetName,
    /// Of which desired state.
    pub generation: u64,
    /// What was seen.
    pub outcome: Outcome,
}

/// How often and how long the engine tries.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Attempts per target forward; reverting gets twice as many.
    pub attempts_max: u32,
}

/// Who asks for an operation, and why.
#[derive(Debug, Clone)]
pub struct Request {
    /// The new operation's id.
    pub operation_id: OperationId,
    /// What is asked for.
    pub verb: Verb,
    /// In the caller's words.
    pub reason: String,
    /// Who.
    pub actor: String,
}

impl Operation {
    /// An operation that takes a tenant from its confirmed status to where the verb leads, over `targets`.
    ///
    /// # Errors
    ///
    /// Where the state machine has no such move.
    pub fn start(
        tenant: &super::tenant::Tenant,
        request: Request,
        targets: &[TargetName],
        generation: u64,
        now: Timestamp,
    ) -> Result<Self, IllegalTransition> {
        let to_status = transition(tenant.status, request.verb)?;
        let steps = targets.iter().map(|target| Step::pending(target.clone(), desired(to_status))).collect();
        Ok(Self {
            operation_id: request.operation_id,
            tenant_id: tenant.tenant_id.clone(),
            tenant_uid: tenant.uid,
            verb: request.verb,
            from_status: tenant.status,
            to_status,
            state: State::Running,
            reason: request.reason,
            actor: request.actor,
            generation,
            steps,
            error: String::new(),
            create_time: now,
            update_time: now,
            finish_time: None,
            revision: Revision::ZERO,
        })
    }

    /// An operation that takes the tenant back to its confirmed status while `open` was leading away from it.
    /// `None` unless the verb leads there: only a reversal may take over.
    pub fn reversal(open: &Self, request: Request, now: Timestamp) -> Option<Self> {
        // The verb must be legal from where the open operation leads, as if that had been reached.
        let to_status = transition(open.to_status, request.verb).ok()?;
        if to_status != open.from_status {
            return None;
        }
        Some(Self::anew(open, request, to_status, now))
    }

    /// The same verb once more, where automatic retries have stopped: every target starts afresh under a new
    /// generation. `None` in any other case.
    pub fn again(open: &Self, request: Request, now: Timestamp) -> Option<Self> {
        if open.state != State::NeedsOperator || open.verb != request.verb {
            return None;
        }
        Some(Self::anew(open, request, open.to_status, now))
    }

    fn anew(open: &Self, request: Request, to_status: Status, now: Timestamp) -> Self {
        let steps =
            open.steps.iter().map(|step| Step::pending(step.target.clone(), desired(to_status))).collect();
        Self {
            operation_id: request.operation_id,
            verb: request.verb,
            to_status,
            state: State::Running,
            reason: request.reason,
            actor: request.actor,
            generation: open.generation + 1,
            steps,
            error: String::new(),
            create_time: now,
            update_time: now,
            finish_time: None,
            revision: Revision::ZERO,
            ..open.clone()
        }
    }

    /// Adds targets that were not there when the operation it took over from began.
    pub fn aim_at(&mut self, targets: &[TargetName]) {
        for target in targets {
            if let Err(place) = self.steps.binary_search_by(|step| step.target.cmp(target)) {
                self.steps.insert(place, Step::pending(target.clone(), desired(self.to_status)));
            }
        }
    }

    /// The status the targets are being brought to right now: while reverting, the one before.
    pub const fn heading(&self) -> Status {
        match self.state {
            State::Reverting | State::Failed => self.from_status,
            _ => self.to_status,
        }
    }

    /// The status the tenant has confirmed once this operation ended; `None` while it has not, or if it never will.
    pub const fn confirmed(&self) -> Option<Status> {
        match self.state {
            State::Succeeded => Some(self.to_status),
            State::Failed => Some(self.from_status),
            _ => None,
        }
    }

    /// Steps that the engine should try at `now`.
    pub fn due(&self, now: Timestamp) -> impl Iterator<Item = &Step> {
        let driven = self.state.is_driven();
        self.steps.iter().filter(move |step| {
            driven
                && matches!(step.state, TargetState::Pending | TargetState::Retrying)
                && step.next_attempt_time.is_none_or(|time| time <= now)
        })
    }

    /// When the next step falls due; `None` if there is none to try.
    pub fn next_due(&self) -> Option<Timestamp> {
        if !self.state.is_driven() {
            return None;
        }
        self.steps
            .iter()
            .filter(|step| matches!(step.state, TargetState::Pending | TargetState::Retrying))
            .map(|step| step.next_attempt_time.unwrap_or(Timestamp::UNIX_EPOCH))
            .min()
    }

    /// Takes what was seen of one target in one attempt at `generation`. Results of an older generation are ignored.
    /// Call [`settle`](Self::settle) once all results at hand are in.
    pub fn record(&mut self, attempt: Attempt, pace: Patience, now: Timestamp) {
        let Attempt { target, generation, outcome } = attempt;
        if generation != self.generation || !self.state.is_driven() {
            return;
        }
        let attempts_max = match self.state {
            State::Reverting => pace.attempts_max.saturating_mul(2),
            _ => pace.attempts_max,
        };
        let Some(step) = self.steps.iter_mut().find(|step| step.target == target) else { return };
        step.attempts = step.attempts.saturating_add(1);
        step.next_attempt_time = None;
        self.update_time = now;
        let error = match outcome {
            Outcome::Observed(observed) => {
                step.observed = Some(observed);
                if observed == step.desired {
                    step.state = TargetState::Verified;
                    step.verify_time = Some(now);
                    step.last_error.clear();
                    return;
                }
                format!("took the change, but was read back in state {observed}")
            }
            Outcome::Permanent(error) => {
                step.state = TargetState::Failed;
                step.last_error = error;
                return;
            }
            Outcome::Unfinished(progress) => {
                step.attempts -= 1;
                step.state = TargetState::Retrying;
                step.last_error = progress;
                step.next_attempt_time = now.checked_add(backoff(0)).ok();
                return;
            }
            Outcome::Retryable(error) => error,
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
    pub fn settle(&mut self, now: Timestamp) {
        if !self.state.is_driven() {
            return;
        }
        let any = |states: &[TargetState]| self.steps.iter().any(|step| states.contains(&step.state));
        if !any(&[
            TargetState::Pending,
            TargetState::Retrying,
            TargetState::Failed,
            TargetState::NeedsOperator,
        ]) {
            self.state = if self.state == State::Reverting { State::Failed } else { State::Succeeded };
            self.finish_time = Some(now);
            self.update_time = now;
            return;
        }
        if any(&[TargetState::Pending]) || !any(&[TargetState::Failed, TargetState::NeedsOperator]) {
            return;
        }
        self.error = self.failure();
        self.update_time = now;
        if self.state == State::Running && toward(self.from_status, self.to_status) == Toward::MoreAccess {
            self.state = State::Reverting;
            self.generation += 1;
            let back = desired(self.from_status);
            for step in &mut self.steps {
                let last_error = std::mem::take(&mut step.last_error);
                *step = Step { last_error, ..Step::pending(step.target.clone(), back) };
            }
        } else if !any(&[TargetState::Retrying]) {
            self.state = State::NeedsOperator;
        }
    }

    fn failure(&self) -> String {
        let failures: Vec<String> = self
            .steps
            .iter()
            .filter(|step| matches!(step.state, TargetState::Failed | TargetState::NeedsOperator))
            .map(|step| format!("{}: {}", step.target, step.last_error))
            .collect();
        failures.join("; ").chars().take(ERROR_MAX * 2).collect()
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

/// The pause after so many attempts: 100 ms, doubling, at most 30 s. The engine adds jitter by its own timer.
pub fn backoff(attempts: u32) -> jiff::SignedDuration {
    let doublings = attempts.saturating_sub(1).min(9);
    jiff::SignedDuration::from_millis((100_i64 << doublings).min(30_000))
}

#[cfg(test)]
#[path = "operation_tests.rs"]
mod tests;

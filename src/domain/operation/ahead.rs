//! Targets that hold a newer generation than the operation asks for. That is so after a restore of the registry's database:
//! what they were told since the backup, the registry has forgotten, and it may have been to lock the tenant out.
//!
//! So an operation goes beyond such a generation by itself only where it gives the tenant no more access than the target
//! grants now, and once for each target: two registries that know the same target must not outbid each other for ever; and
//! not far, since the number is for all targets, and a high one that is wrong in one place would spoil it for all.
//! Whatever gives more, or is further away, waits for an operator.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::generation::{BELIEVED_MAX, is_explained};
use super::{Operation, Step, TargetState, Unseen, generation_after};
use crate::domain::ids::TargetName;
use crate::domain::lifecycle::{Access, Desired, Status, Verb};

/// Who goes beyond a newer generation where nobody has to be asked.
const BY_ITSELF: &str = "tenantry";

/// A target that was seen to hold a newer generation than the operation's, or the same one of another state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ahead {
    /// Which target.
    pub target: TargetName,
    /// What it holds.
    pub generation: u64,
    /// The state that it was seen in.
    pub observed: Option<Desired>,
    /// By whom the operation counts all the same; `None` while an operator has to say so.
    #[serde(default)]
    pub adoption: Option<Adoption>,
}

impl Ahead {
    pub(super) fn is_adopted_by_itself(&self) -> bool {
        self.adoption.as_ref().is_some_and(|adoption| adoption.actor == BY_ITSELF)
    }
}

/// What is not decided of targets that hold, or may hold, a newer generation. It outlives the operation that found them, however that
/// ended: the registry's own generation has reached theirs by then, so nothing else tells them from any other drift, which is
/// repaired without asking.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undecided {
    /// Those that were seen to.
    #[serde(default)]
    ahead: Vec<Ahead>,
    /// Those that could not be looked at.
    #[serde(default)]
    unseen: BTreeMap<TargetName, Unseen>,
    /// The first generation that is given out since the registry was restored, where no other target was looked at since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restored: Option<u64>,
}

impl Undecided {
    /// Whether a target is still to be looked at since the registry was restored.
    pub fn is_restored(&self) -> bool {
        self.restored.is_some() || self.unseen.values().any(|unseen| unseen.restored.is_some())
    }

    /// Whether what a target is seen to hold was not asked for, or is what nobody has decided on.
    pub fn is_ahead(&self, target: &TargetName, generation: u64, state: Option<Desired>) -> bool {
        let held = self.ahead.iter().find(|ahead| ahead.target == *target).map(|ahead| ahead.generation);
        let unseen = self.unseen.get(target);
        held.is_some_and(|held| generation >= held)
            || unseen.is_some_and(|unseen| unseen.is_by_others(generation, state))
    }
}

/// Why an operation counts at a target that holds a newer generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adoption {
    /// Who said so.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When.
    pub time: Timestamp,
}

impl Operation {
    /// The newer generation of a target that waits for an operator to say that this operation counts there.
    pub fn waits_behind(&self, target: &TargetName) -> Option<u64> {
        self.undecided().find(|ahead| ahead.target == *target).map(|ahead| ahead.generation)
    }

    /// The targets that are ahead, and for which nobody has decided yet.
    pub(super) fn undecided(&self) -> impl Iterator<Item = &Ahead> {
        // Replicas of a version before believed every number.
        self.details.ahead.iter().filter(|ahead| ahead.adoption.is_none() && ahead.generation <= BELIEVED_MAX)
    }

    /// What is still to be decided once it has ended. A target that was seen as it should be is done with.
    pub fn left_undecided(&self) -> Option<Undecided> {
        let is_met = |target: &TargetName| {
            self.steps.iter().any(|step| step.target == *target && step.state == TargetState::Verified)
        };
        let ahead: Vec<Ahead> = self.undecided().filter(|ahead| !is_met(&ahead.target)).cloned().collect();
        let unseen = self.left_unseen();
        // What asks nothing of any target has looked at none.
        let restored = self.details.restored.filter(|_| self.steps.is_empty());
        let left = Undecided { ahead, unseen, restored };
        (left != Undecided::default()).then_some(left)
    }

    /// Has what was not asked for wait once the operation turns: where it went beyond a newer generation by itself, since it gave no
    /// more access, what it is to bring about now may give more than the target granted.
    pub(super) fn reconsider_those_ahead(&mut self, desired: Desired, now: Timestamp) {
        for ahead in &mut self.details.ahead {
            if ahead.is_adopted_by_itself() && !gives_no_more(desired, ahead.observed) {
                ahead.adoption = None;
            }
        }
        self.meet_those_ahead(now);
    }

    /// Whether it counts at a target that held a newer generation.
    pub(super) fn has_adopted(&self, target: &TargetName) -> bool {
        self.adopted(target).next().is_some()
    }

    /// The newer generations of a target that it went beyond.
    pub(super) fn adopted(&self, target: &TargetName) -> impl Iterator<Item = &Ahead> {
        self.details.ahead.iter().filter(move |ahead| ahead.target == *target && ahead.adoption.is_some())
    }

    /// Takes note that a target that was to be decided on holds nothing any more that was not asked for.
    pub(super) fn holds_nothing_unasked(&mut self, target: &TargetName) {
        self.details.ahead.retain(|known| known.target != *target || known.adoption.is_some());
    }

    /// Takes note that a target holds a newer generation, and goes beyond it or has the target wait.
    pub(super) fn found_ahead(
        &mut self,
        target: &TargetName,
        generation: u64,
        observed: Option<Desired>,
        now: Timestamp,
    ) {
        self.holds_nothing_unasked(target);
        self.details.ahead.push(Ahead { target: target.clone(), generation, observed, adoption: None });
        self.meet_those_ahead(now);
    }

    /// Goes beyond the newer generations that nobody has decided on where that gives no more access, and has the other
    /// targets wait. To be called whenever steps get another desired state.
    pub(super) fn meet_those_ahead(&mut self, now: Timestamp) {
        let waiting: Vec<Ahead> = self.undecided().cloned().collect();
        let passes_by = self.passes_by_what_is_gone();
        for Ahead { target, generation, observed, .. } in waiting {
            let once = self.has_adopted(&target);
            // One that is skipped is left alone, whatever becomes of others.
            let is_asked = |step: &&mut Step| step.target == target && step.state != TargetState::Skipped;
            let Some(step) = self.steps.iter_mut().find(is_asked) else { continue };
            step.observed = observed;
            let held = observed.map_or_else(String::new, |state| format!(" ({state})"));
            let is_gone = match observed {
                // It holds no number that tells.
                None => self.from_status == Status::Deleted,
                Some(state) => state == Desired::Deleted,
            };
            if passes_by && is_gone {
                step.state = TargetState::Skipped;
                step.next_attempt_time = None;
                step.skip_reason = match observed {
                    None => "has nothing of the tenant any more".to_owned(),
                    Some(_) => {
                        format!(
                            "holds a newer generation, {generation}{held}: nothing of the tenant is left there"
                        )
                    }
                };
                continue;
            }
            let is_far = !is_explained(generation, self.generation);
            // A repair is nobody's decision: what was closed further since the backup is not to be undone by it.
            let undoes = self.verb == Verb::Repair && observed.is_none_or(|held| held > step.desired);
            if !once && !is_far && !undoes && gives_no_more(step.desired, observed) {
                step.start_over(step.desired);
                step.observed = observed;
                step.last_error = format!("held a newer generation, {generation}{held}");
                let reason = format!("gives no more access than the target grants{held}");
                self.adopt(&target, Adoption { actor: BY_ITSELF.to_owned(), reason, time: now });
                continue;
            }
            step.state = TargetState::NeedsOperator;
            step.next_attempt_time = None;
            if observed.is_none() {
                step.last_error = format!(
                    "has nothing of the tenant, as after a purge that the registry has forgotten: to make the target {} all \
                     the same, retry it with `adopt`",
                    step.desired
                );
                continue;
            }
            let what =
                if generation > self.generation { "a newer generation," } else { "another generation," };
            let why = if is_far {
                "and further ahead than a restore of it explains"
            } else {
                "as after a restore of it, or a change by hand"
            };
            step.last_error = format!(
                "holds {what} {generation}{held}, that the registry has not asked for, {why}: to make the target {} all \
                 the same, retry it with `adopt`",
                step.desired
            );
        }
    }

    /// Whether it goes on without targets that have removed what they had of the tenant. None can be brought to less than that, and
    /// none gives access: so the registry follows, which has forgotten the removal, and once it has the tenant DELETED its purge
    /// is in nobody's way. What was not asked for, and what leads back, waits for an operator, who has lost data.
    fn passes_by_what_is_gone(&self) -> bool {
        let follows =
            self.verb.closes() || (self.verb == Verb::Repair && self.from_status == Status::Deleted);
        follows && !self.backward
    }

    /// Has the operation count at a target that waits because it holds a newer generation. The new generation is for all
    /// targets.
    pub(super) fn adopt(&mut self, target: &TargetName, adoption: Adoption) {
        let mut waiting = self.details.ahead.iter_mut().filter(|ahead| ahead.adoption.is_none());
        if let Some(ahead) = waiting.find(|ahead| ahead.target == *target) {
            self.generation = self.generation.max(generation_after(ahead.generation));
            ahead.adoption = Some(adoption);
        }
    }

    /// Knows what the operation that it takes over from went beyond by itself: a way back from here may give more than that granted.
    pub(super) fn inherit_adopted(&mut self, open: &Self) {
        self.details
            .ahead
            .extend(open.details.ahead.iter().filter(|ahead| ahead.is_adopted_by_itself()).cloned());
    }

    /// Knows what was not decided on before it, of targets that are ahead or could not be looked at. To be called when it begins.
    pub fn inherit_undecided(&mut self, undecided: Option<&Undecided>, now: Timestamp) {
        let Undecided { ahead, unseen, restored } = undecided.cloned().unwrap_or_default();
        (self.details.ahead, self.details.unseen, self.details.restored) = (ahead, unseen, restored);
        self.details.begun = Some(self.generation);
        self.meet_those_ahead(now);
    }
}

/// Whether a state lets nobody do more than a target does that was seen in another. To remove data is never less: nothing
/// brings it back.
pub(super) fn gives_no_more(desired: Desired, held: Option<Desired>) -> bool {
    match (desired, held) {
        (Desired::Deleted, held) => held == Some(Desired::Deleted),
        (_, Some(Desired::Deleted)) => false,
        (desired, held) => desired.access() <= held.map_or(Access::None, Desired::access),
    }
}

//! Targets that hold a newer generation than the operation asks for. That is so after a restore of the registry's database:
//! what they were told since the backup, the registry has forgotten, and it may have been to lock the tenant out.
//!
//! So an operation goes beyond such a generation by itself only where it gives the tenant no more access than the target
//! grants now, and once for each target: two registries that know the same target must not outbid each other for ever.
//! Whatever gives more waits for an operator.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Operation, TargetState};
use crate::domain::ids::TargetName;
use crate::domain::lifecycle::Desired;

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
        let mut waiting = self.details.ahead.iter().filter(|ahead| ahead.adoption.is_none());
        waiting.find(|ahead| ahead.target == *target).map(|ahead| ahead.generation)
    }

    /// Takes note that a target holds a newer generation, and goes beyond it or has the target wait.
    pub(super) fn found_ahead(
        &mut self,
        target: &TargetName,
        generation: u64,
        observed: Option<Desired>,
        now: Timestamp,
    ) {
        self.details.ahead.retain(|known| known.target != *target || known.adoption.is_some());
        self.details.ahead.push(Ahead { target: target.clone(), generation, observed, adoption: None });
        self.meet_those_ahead(now);
    }

    /// Goes beyond the newer generations that nobody has decided on where that gives no more access, and has the other
    /// targets wait. To be called whenever steps get another desired state.
    pub(super) fn meet_those_ahead(&mut self, now: Timestamp) {
        let waiting: Vec<Ahead> =
            self.details.ahead.iter().filter(|ahead| ahead.adoption.is_none()).cloned().collect();
        for Ahead { target, generation, observed, .. } in waiting {
            let known = &self.details.ahead;
            let once = known.iter().any(|ahead| ahead.target == target && ahead.adoption.is_some());
            let Some(step) = self.steps.iter_mut().find(|step| step.target == target) else { continue };
            step.observed = observed;
            let held = observed.map_or_else(String::new, |state| format!(" ({state})"));
            if !once && gives_no_more(step.desired, observed) {
                step.start_over(step.desired);
                step.observed = observed;
                step.last_error = format!("held a newer generation, {generation}{held}");
                let reason = "gives no more access than the target grants".to_owned();
                self.adopt(&target, Adoption { actor: BY_ITSELF.to_owned(), reason, time: now });
                continue;
            }
            step.state = TargetState::NeedsOperator;
            step.next_attempt_time = None;
            step.last_error = format!(
                "holds a newer generation, {generation}{held}, as after a restore of the registry: to make it {} all the \
                 same, retry it with `adopt`",
                step.desired
            );
        }
    }

    /// Has the operation count at a target that waits because it holds a newer generation. The new generation is for all
    /// targets.
    pub(super) fn adopt(&mut self, target: &TargetName, adoption: Adoption) {
        let mut waiting = self.details.ahead.iter_mut().filter(|ahead| ahead.adoption.is_none());
        if let Some(ahead) = waiting.find(|ahead| ahead.target == *target) {
            self.generation = self.generation.max(ahead.generation + 1);
            ahead.adoption = Some(adoption);
        }
    }

    /// Of the operation that it takes over from: what is known of targets that are ahead and was not decided on.
    pub(super) fn inherit_those_ahead(&mut self, open: &Self, now: Timestamp) {
        let undecided = open.details.ahead.iter().filter(|ahead| ahead.adoption.is_none());
        self.details.ahead = undecided.cloned().collect();
        self.meet_those_ahead(now);
    }
}

/// Whether a state lets nobody do more than a target does that was seen in another. To remove data is never less: nothing
/// brings it back.
fn gives_no_more(desired: Desired, held: Option<Desired>) -> bool {
    match (desired, held) {
        (Desired::Deleted, held) => held == Some(Desired::Deleted),
        (_, Some(Desired::Deleted)) => false,
        (desired, held) => {
            desired.access() <= held.map_or(crate::domain::lifecycle::Access::None, Desired::access)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{OperationId, TenantId, TierId};
    use crate::domain::lifecycle::{Status, Verb};
    use crate::domain::operation::{Attempt, Details, Outcome, Patience, Refusal, Request, State};
    use crate::domain::tenant::{Profile, Tenant};
    use uuid::Uuid;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn request(verb: Verb) -> Request {
        let operation_id = OperationId::from_uuid(Uuid::from_u128((7 << 76) | (2 << 62)));
        Request {
            operation_id,
            verb,
            reason: String::new(),
            actor: "ada".into(),
            details: Details::default(),
            bulk_id: None,
        }
    }

    fn cache() -> TargetName {
        TargetName::parse("cache").unwrap()
    }

    /// An operation of generation 2 on one target.
    fn started(from: Status, verb: Verb) -> Operation {
        let profile = Profile::minimal("Finance", TierId::parse("gold").unwrap());
        let mut tenant = Tenant::provisioning(
            TenantId::parse("finance").unwrap(),
            Uuid::from_u128(7),
            profile,
            "ada".into(),
            NOW,
        );
        tenant.status = from;
        Operation::start(&tenant, request(verb), &[cache()], 2, NOW).unwrap()
    }

    /// The target turns out to hold a generation in a state; answers whether the operation goes on by itself.
    fn meets(operation: &mut Operation, generation: u64, held: Desired) -> bool {
        let outcome = Outcome::Ahead(generation, Some(held));
        let attempt = Attempt { target: cache(), generation: operation.generation, outcome };
        operation.record(attempt, Patience { attempts_max: 3 }, NOW);
        operation.settle(NOW);
        operation.state.is_driven()
    }

    fn said() -> Adoption {
        Adoption { actor: "ada".into(), reason: "it has paid".into(), time: NOW }
    }

    #[test]
    fn what_gives_no_more_access_goes_beyond_by_itself_and_only_once_for_a_target() {
        let mut operation = started(Status::Active, Verb::Suspend);
        assert!(meets(&mut operation, 9, Desired::Active));
        assert_eq!(operation.generation, 10);
        // Another registry outbids it: they must not go on like that.
        assert!(!meets(&mut operation, 11, Desired::Active));
        assert_eq!((operation.state, operation.waits_behind(&cache())), (State::NeedsOperator, Some(11)));
        operation.retry_target(&cache(), Some(said()), NOW).unwrap();
        assert_eq!((operation.state, operation.generation), (State::Running, 12));
    }

    #[test]
    fn what_gives_more_access_waits_and_is_neither_done_nor_turned_back_by_itself() {
        for (from, verb, held) in [
            (Status::Suspended, Verb::Activate, Desired::Suspended),
            (Status::Active, Verb::StartMigration, Desired::Archived),
            (Status::Active, Verb::Repair, Desired::ReadOnly),
            // Data that is gone does not come back, and what may be wanted must not go.
            (Status::Active, Verb::Suspend, Desired::Deleted),
            (Status::Deleted, Verb::Purge, Desired::Active),
        ] {
            let mut operation = started(from, verb);
            assert!(!meets(&mut operation, 2, held), "{verb}");
            assert_eq!(
                (operation.state, operation.backward, operation.generation),
                (State::NeedsOperator, false, 2)
            );
            assert!(operation.error.contains("holds a newer generation, 2 ("), "{}", operation.error);
            operation.retry_target(&cache(), Some(said()), NOW).unwrap();
            assert_eq!((operation.state, operation.generation), (State::Running, 3), "{verb}");
            assert_eq!(operation.details.ahead[0].adoption, Some(said()));
            let again = operation.retry_target(&cache(), Some(said()), NOW);
            assert_eq!(again, Err(Refusal::NotAhead), "{verb}");
        }
    }

    #[test]
    fn whoever_takes_over_or_turns_back_knows_what_was_not_decided() {
        let mut waiting = started(Status::Active, Verb::Repair);
        assert!(!meets(&mut waiting, 9, Desired::Suspended));
        let tier = Operation::in_place_of_repair(&waiting, request(Verb::ChangeTier), NOW).unwrap();
        assert_eq!((tier.generation, tier.waits_behind(&cache())), (3, Some(9)));
        assert_eq!(tier.steps[0].state, TargetState::NeedsOperator);
        let denial = Operation::in_place_of_repair(&waiting, request(Verb::Suspend), NOW).unwrap();
        assert_eq!((denial.generation, denial.waits_behind(&cache())), (10, None));
        let mut activation = started(Status::Suspended, Verb::Activate);
        assert!(!meets(&mut activation, 9, Desired::Suspended));
        activation.abort("a mistake".into(), NOW).unwrap();
        assert_eq!((activation.state, activation.generation), (State::Reverting, 10));
    }
}

//! A tenant whose operation is open and waits for a target: what becomes of what drifted meanwhile at the others.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::background_command;
use super::intervene::intervening;
use super::operations::operation_at_hand;
use crate::config::cascade::Drift as Policy;
use crate::domain::error::Error;
use crate::domain::operation::{Drift, Operation, TargetState};
use crate::services::Registry;
use crate::services::change::Decision;

impl Registry {
    /// Has an open operation that is still as it was `seen` take up what drifted at targets that it was done with.
    pub(super) async fn take_up(&self, seen: &Arc<Operation>, drifts: &[Drift]) -> Result<(), Error> {
        let acts = self.settings.drift == Policy::Repair;
        // By the last decision, which is the one that was made.
        let taken = Mutex::new(Vec::new());
        let taken = || taken.lock().unwrap_or_else(PoisonError::into_inner);
        self.change(&background_command(), |snapshot, context| {
            let operation = operation_at_hand(snapshot, seen.operation_id)?;
            // What was brought to its state, or asked for, since it was looked at did not drift.
            let same = |drift: &&Drift| {
                operation.generation == seen.generation
                    && verified(&operation, drift) == verified(seen, drift)
            };
            let drifts: Vec<Drift> = drifts.iter().filter(same).cloned().collect();
            let mut next = (*operation).clone();
            *taken() = next.take_up(&drifts, acts, context.now);
            if taken().is_empty() {
                return Ok(Decision::Nothing((*operation).clone()));
            }
            let change = intervening(snapshot, &operation, &next, context);
            Ok(Decision::Make(Box::new(change), next))
        })
        .await?;
        self.engine.count_drifts(taken().iter());
        // Nobody may hold its lease any more.
        self.engine.sweep();
        Ok(())
    }
}

/// When a target was seen in the state it was brought to, if it is done and not skipped.
fn verified(operation: &Operation, drift: &Drift) -> Option<Timestamp> {
    let step = operation.steps.iter().find(|step| step.target == drift.target)?;
    step.verify_time.filter(|_| step.state == TargetState::Verified)
}

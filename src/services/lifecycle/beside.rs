//! A tenant whose operation is open and waits for a target: what the verifier looks at meanwhile at the others, and what
//! becomes of what drifted there.

use std::sync::Arc;

use jiff::Timestamp;

use super::background_command;
use super::intervene::intervening;
use super::operations::operation_at_hand;
use super::verifier::LOOK_AGAIN;
use super::verify::Check;
use crate::config::cascade::Drift as Policy;
use crate::domain::error::Error;
use crate::domain::ids::TargetName;
use crate::domain::operation::{Drift, Operation, TargetState};
use crate::services::change::Decision;
use crate::services::{Registry, now};
use crate::view::{Record, Snapshot};

impl Registry {
    /// Looks at those targets of a tenant that its open operation is done with, and has it take up what drifted.
    pub(super) async fn look_beside_operation(&self, record: &Record) {
        let Ok(snapshot) = self.view.snapshot() else { return };
        let Some(open) = record.tenant.operation_id.and_then(|id| snapshot.operations.get(&id)) else {
            return;
        };
        let wanted = open.left_alone(&self.targets, now());
        if wanted.is_empty() {
            return;
        }
        let mut drifts = self.drifts(&snapshot, record, &wanted).await;
        if !drifts.is_empty() {
            tokio::time::sleep(LOOK_AGAIN).await;
            drifts = self.drifts(&snapshot, record, &wanted).await;
        }
        self.engine.count_verified();
        if drifts.is_empty() {
            return;
        }
        let targets: Vec<&str> = drifts.iter().map(|drift| drift.target.as_str()).collect();
        tracing::warn!(
            tenant_id = %record.tenant.tenant_id, operation_id = %open.operation_id, targets = targets.join(","),
            "drift was found beside an open operation"
        );
        if let Err(error) = self.take_up(open, &drifts).await {
            tracing::warn!(error = %error, "drift could not be taken up");
        }
    }

    async fn drifts(&self, snapshot: &Snapshot, record: &Record, wanted: &[TargetName]) -> Vec<Drift> {
        let checks = self.check_some(snapshot, record, |target| wanted.contains(target)).await;
        checks.iter().filter_map(Check::drift).collect()
    }

    async fn take_up(&self, seen: &Arc<Operation>, drifts: &[Drift]) -> Result<(), Error> {
        let acts = self.settings.drift == Policy::Repair;
        self.change(&background_command(), |snapshot, context| {
            let operation = operation_at_hand(snapshot, seen.operation_id)?;
            // What was brought to its state, or asked for, since it was looked at did not drift.
            let same = |drift: &&Drift| verified(&operation, drift) == verified(seen, drift);
            let drifts: Vec<Drift> = drifts.iter().filter(same).cloned().collect();
            let mut next = (*operation).clone();
            if operation.generation != seen.generation || !next.take_up(&drifts, acts, context.now) {
                return Ok(Decision::Nothing((*operation).clone()));
            }
            let change = intervening(snapshot, &operation, &next, context);
            Ok(Decision::Make(Box::new(change), next))
        })
        .await?;
        self.engine.count_drifts(drifts.iter().map(|drift| &drift.target));
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

//! Looking at a tenant's targets: what a plan would change there (`validate_only`), and whether they are as the
//! registry says (`verify_tenant`).

use std::sync::Arc;
use std::time::Duration;

use super::missing::NOT_HERE;
use super::older_bulks::{InOlderBulks, Known};
use super::settled::Looked;
use super::start::Decided;
use crate::cascade::{Class, Look};
use crate::config::cascade::Drift as Policy;
use crate::domain::error::{Error, Reason};
use crate::domain::ids::{OperationId, TargetName, TenantId};
use crate::domain::lifecycle::{Desired, Status, Verb, desired, transition};
use crate::domain::operation::{Details, Drift, Operation, Request, State, Step, Undecided};
use crate::participants::{Observed, TenantRef};
use crate::services::change::Decision;
use crate::services::tenant_registry::get_tenant;
use crate::services::{Command, Registry, new_id};
use crate::store::log::Context;
use crate::view::{Record, Snapshot};

/// A tenant's targets are to be looked at.
#[derive(Debug, Clone)]
pub struct VerifyTenant {
    /// Which tenant.
    pub tenant_id: TenantId,
    /// What becomes of a target that drifted; as configured where not said.
    pub policy: Option<Policy>,
    /// How long to wait for a repair's end.
    pub wait: Duration,
}

/// What was found of a tenant.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Each target.
    pub checks: Vec<Check>,
    /// The operation that repairs or reports what drifted.
    pub operation: Option<Operation>,
}

/// What was found of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Which target.
    pub target: TargetName,
    /// The state it should be in.
    pub desired: Desired,
    /// The generation of that.
    pub generation: u64,
    /// Whether it holds a newer one, whatever state that is of, or something else that the registry has not asked for, or that nobody
    /// has decided on: the registry was restored from an older state, or another registry uses the target.
    pub is_ahead: bool,
    /// What it was seen in, or why that cannot be told: it could not be asked, or is being changed.
    pub found: Result<Observed, String>,
    /// Whether it was asked and did not tell: not where it was left alone, or is being changed.
    pub failed: bool,
}

impl Check {
    /// Whether it is in another state than it should be in.
    pub fn drifted(&self) -> bool {
        // What has never heard of a tenant has nothing of it.
        let gone = |state: Option<Desired>| state.is_none() && self.desired == Desired::Deleted;
        let is_elsewhere = |seen: &Observed| seen.state != Some(self.desired) && !gone(seen.state);
        self.found.as_ref().is_ok_and(|seen| is_elsewhere(seen) || seen.amiss.is_some() || self.is_ahead)
    }

    /// What was found, where it drifted.
    fn drift(&self) -> Option<Drift> {
        let seen = self.found.as_ref().ok().filter(|_| self.drifted())?;
        let why = seen.amiss.clone().unwrap_or_default();
        let ahead = self.is_ahead.then_some(seen.generation);
        Some(Drift { target: self.target.clone(), observed: seen.state, why, ahead })
    }

    /// The same, unless it is only on its way: an open operation has asked for what was seen, or is about to. Whether it holds what
    /// that asked for, and not yet wrote down, or what somebody else asked for, the operation finds out.
    fn on_its_way(mut self, open: &Operation) -> Self {
        let is_tried = |step: &Step| step.state.is_tried() && !open.is_held_back(step);
        let steps = || open.steps.iter().filter(|step| step.target == self.target);
        let is_newer = self.found.as_ref().is_ok_and(|seen| seen.generation > open.generation);
        if self.drifted() && open.state.is_driven() && steps().any(is_tried) && !is_newer {
            let seen = self.found.as_ref().ok().and_then(|seen| seen.state);
            let seen =
                seen.map_or_else(|| "does not know the tenant".to_owned(), |state| format!("is {state}"));
            let Self { desired, .. } = self;
            let why = format!("{seen}, and operation {} is bringing it to {desired}", open.operation_id);
            self.found = Err(why);
            self.is_ahead = false;
        }
        self
    }
}

impl Registry {
    /// Fills in what the targets of a plan are in now. Answers which of them could not be asked, and why.
    pub async fn preview(&self, plan: &mut Operation) -> Vec<(TargetName, String)> {
        let Ok(snapshot) = self.view.snapshot() else { return Vec::new() };
        let Some(record) = snapshot.tenant(&plan.tenant_id) else { return Vec::new() };
        let mut unknown = Vec::new();
        for Look { target, found, .. } in
            self.engine.look(&reference(&snapshot, record), record.tenant.generation).await
        {
            match found {
                Ok(seen) => {
                    if let Some(step) = plan.steps.iter_mut().find(|step| step.target == target) {
                        step.observed = seen.state;
                        // What it would stumble over is known beforehand.
                        step.last_error = seen.amiss.or(seen.unproven).unwrap_or_default();
                    }
                }
                Err(why) => unknown.push((target, why)),
            }
        }
        let missing = plan.steps.iter().filter(|step| !self.targets.contains(&step.target));
        unknown.extend(missing.map(|step| (step.target.clone(), NOT_HERE.to_owned())));
        unknown
    }

    /// Looks at every target of a tenant, and has what drifted repaired or reported.
    pub async fn verify_tenant(&self, asked: &VerifyTenant, command: &Command) -> Result<Verified, Error> {
        let snapshot = self.view.snapshot()?;
        let record = get_tenant(&snapshot, &asked.tenant_id)?;
        if let Some(operation) = self.answered(command).await? {
            let checks = self.look_until_settled(&asked.tenant_id, |_| true).await?.checks;
            let operation = self.wait_for_end(operation, asked.wait).await;
            return Ok(Verified { checks, operation: Some(operation) });
        }
        if command.validate_only {
            // A look is no change: whatever is under way, and whatever state the tenant is in.
            let checks = self.look_until_settled(&asked.tenant_id, |_| true).await?.checks;
            return Ok(Verified { checks, operation: None });
        }
        if let Some(open) = record.tenant.operation_id {
            return Err(Error::new(
                Reason::OperationInProgress,
                format!(
                    "operation {open} of this tenant is open: only look (validate_only), or wait for its end"
                ),
            )
            .with("operation_id", open));
        }
        transition(record.tenant.status, Verb::Repair)?;
        let Looked { record, checks, .. } = self.look_until_settled(&asked.tenant_id, |_| true).await?;
        let drifts = drifts(&checks);
        if drifts.is_empty() {
            self.note_as_desired(&record, &checks, command).await?;
            return Ok(Verified { checks, operation: None });
        }
        let policy = asked.policy.unwrap_or(self.settings.drift);
        let operation = self.open_repair(&record, &drifts, policy, command).await?;
        let operation = self.wait_for_end(operation, asked.wait).await;
        Ok(Verified { checks, operation: Some(operation) })
    }

    /// What those targets of a tenant that are `wanted` are in, beside what they should be in: while an operation is open, what
    /// that brings them to. One that the tenant is in and this replica does not have cannot be told.
    pub(super) async fn check_some(
        &self,
        snapshot: &Snapshot,
        record: &Record,
        wanted: impl Fn(&TargetName) -> bool,
    ) -> Vec<Check> {
        let open = snapshot.open_operation(&record.tenant.tenant_id);
        let settled = desired(record.tenant.status);
        let step = |target: &TargetName| open?.steps.iter().find(|step| step.target == *target);
        let tenant = open.map_or_else(
            || reference(snapshot, record),
            |operation| crate::cascade::tenant_ref(operation, record, snapshot),
        );
        let generation = open.map_or(record.tenant.generation, |operation| operation.generation);
        let undecided = match open {
            Some(operation) => operation.left_undecided(),
            None => record.tenant.undecided.as_deref().cloned(),
        };
        let is_ahead = |target: &TargetName, seen: &Observed| {
            let is_ahead =
                |undecided: &Undecided| undecided.is_ahead(target, seen.generation, seen.was_asked());
            seen.generation > generation || undecided.as_ref().is_some_and(is_ahead)
        };
        let check = |look: Look| Check {
            is_ahead: look.found.as_ref().is_ok_and(|seen| is_ahead(&look.target, seen)),
            desired: step(&look.target).map_or(settled, |step| step.desired),
            generation,
            target: look.target,
            found: look.found,
            failed: look.failed,
        };
        let check = |look: Look| match open {
            Some(open) => check(look).on_its_way(open),
            None => check(look),
        };
        let missing = self.missing_of(snapshot, &record.tenant, &wanted).await;
        let not_here = |target| Look { target, found: Err(NOT_HERE.to_owned()), failed: false };
        let mut looks = self.engine.look_at_some(&tenant, generation, &wanted).await;
        looks.extend(missing.into_iter().map(not_here));
        looks.sort_by(|a, b| a.target.cmp(&b.target));
        looks.into_iter().map(check).collect()
    }

    /// Takes note, of a tenant of a registry that was restored, that every target was looked at since and is as it should be: nothing
    /// was forgotten, and from here on the tenant is like any other.
    pub(super) async fn note_as_desired(
        &self,
        seen: &Record,
        checks: &[Check],
        command: &Command,
    ) -> Result<(), Error> {
        let is_marked = seen.tenant.undecided.as_ref().is_some_and(|undecided| undecided.is_restored());
        if !is_marked || seen.tenant.operation_id.is_some() || checks.iter().any(|check| check.found.is_err())
        {
            return Ok(());
        }
        let operation_id = OperationId::from_uuid(new_id());
        let decide = |snapshot: &Snapshot, context: &Context| {
            let record = unmoved(snapshot, seen)?;
            let request = repair(
                operation_id,
                "every target was looked at after the restore, and is as it should be",
                context,
            );
            let mut tenant = record.tenant.clone();
            let operation = Operation::confirm(&tenant, request, context.now);
            tenant.follow(&operation, context.now);
            let decided = Decided { tenant, operation, superseded: None, children: None };
            let change = self.opening(record, &decided, false, context);
            Ok(Decision::Make(Box::new(change), decided.operation))
        };
        self.change(command, decide).await.map(drop)
    }

    /// Opens the operation that repairs or reports what drifted of a tenant that is still as it was looked at.
    pub(super) async fn open_repair(
        &self,
        seen: &Record,
        drifts: &[Drift],
        policy: Policy,
        command: &Command,
    ) -> Result<Operation, Error> {
        let operation_id = OperationId::from_uuid(new_id());
        let elsewhere = self.elsewhere(&seen.tenant.tenant_id, Verb::Repair).await?;
        let decide = |snapshot: &Snapshot, context: &Context| {
            let record = unmoved(snapshot, seen)?;
            let request = repair(operation_id, "drift was found", context);
            let known = Known { snapshot, waiting: &InOlderBulks::default(), elsewhere: &elsewhere };
            let mut decided = self.decide(known, record, request, context)?;
            decided.operation.found(drifts, context.now);
            match policy {
                Policy::Repair => decided.operation.settle(context.now),
                Policy::Report => decided.operation.report_only(drifts, context.now),
            }
            // It may have gone beyond what a target holds.
            decided.tenant.follow(&decided.operation, context.now);
            let change = self.opening(record, &decided, false, context);
            Ok(Decision::Make(Box::new(change), decided.operation))
        };
        let operation = self.change(command, decide).await?;
        self.engine.count_drifts(drifts.iter().map(|drift| &drift.target));
        if operation.state == State::Running {
            self.engine.started(operation.operation_id, Class::First);
        }
        Ok(operation)
    }
}

/// What drifted.
pub(super) fn drifts(checks: &[Check]) -> Vec<Drift> {
    checks.iter().filter_map(Check::drift).collect()
}

fn repair(operation_id: OperationId, reason: &str, context: &Context) -> Request {
    Request {
        operation_id,
        verb: Verb::Repair,
        reason: reason.to_owned(),
        actor: context.actor.clone(),
        details: Details::default(),
        bulk_id: None,
    }
}

/// The tenant, of whose targets nothing was asked since they were looked at.
fn unmoved<'a>(snapshot: &'a Snapshot, seen: &Record) -> Result<&'a Arc<Record>, Error> {
    let record = get_tenant(snapshot, &seen.tenant.tenant_id)?;
    let (tenant, before) = (&record.tenant, &seen.tenant);
    if tenant.uid == before.uid
        && tenant.generation == before.generation
        && tenant.operation_id.is_none()
        && tenant.status == before.status
    {
        return Ok(record);
    }
    Err(Error::new(
        Reason::ConcurrentChange,
        "the tenant moved while its targets were looked at; verify it again",
    )
    .retry_after(Duration::from_secs(1)))
}

fn reference(snapshot: &Snapshot, record: &Record) -> TenantRef {
    TenantRef::of(&record.tenant, snapshot.tier_of(record).map(|tier| &**tier))
}

/// Whether the verifier has anything to say about a tenant in a status.
pub(super) fn can_drift(status: Status) -> bool {
    transition(status, Verb::Repair).is_ok()
}

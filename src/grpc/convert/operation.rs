//! Operations, and what is seen of their targets.

use super::tenant::encode_status;
use super::timestamp;
use crate::domain::bulk::Item;
use crate::domain::error::Error;
use crate::domain::ids::TargetName;
use crate::domain::lifecycle::{Desired, MigrationEnd, Status, Verb, Verification};
use crate::domain::operation::{Ahead, Operation, State, Step, TargetState};
use crate::proto::v1;
use crate::services::lifecycle::{Check, Hold};

/// Tenants that follow and that a plan names.
const FOLLOWERS_MAX: usize = 100;

/// Encodes an operation, with the targets at which nothing is tried right now.
pub(in crate::grpc) fn encode(operation: &Operation, holds: &[(TargetName, Hold)]) -> v1::Operation {
    let details = &operation.details;
    let place = details.place.as_ref().map(|change| &change.to).or(details.wish.to.as_ref());
    let tier = details.tier.as_ref().map(|change| &change.to).or(details.wish.tier.as_ref());
    let id = |id: Option<crate::domain::ids::OperationId>| id.map(|id| id.to_string()).unwrap_or_default();
    v1::Operation {
        operation_id: operation.operation_id.to_string(),
        tenant_id: operation.tenant_id.to_string(),
        verb: encode_verb(operation.verb).into(),
        from_status: encode_status(operation.from_status).into(),
        to_status: encode_status(operation.to_status).into(),
        state: encode_state(operation.state).into(),
        reason: operation.reason.clone(),
        actor: operation.actor.clone(),
        generation: generation(operation.generation),
        targets: operation.steps.iter().map(|step| encode_step(operation, step, holds)).collect(),
        error: operation.error.clone(),
        create_time: Some(timestamp(operation.create_time)),
        update_time: Some(timestamp(operation.update_time)),
        finish_time: operation.finish_time.map(timestamp),
        revision: operation.revision.as_i64(),
        schedule_time: operation.schedule_time.map(timestamp),
        abort_reason: operation.abort_reason.clone(),
        backward: operation.backward,
        tier: tier.map(ToString::to_string).unwrap_or_default(),
        to_region: place.map(|place| place.region.to_string()).unwrap_or_default(),
        to_cell: place.map(|place| place.cell.to_string()).unwrap_or_default(),
        bulk_operation_id: id(operation.bulk_id),
        children_bulk_operation_id: id(details.children_bulk),
        adoptions: details.ahead.iter().filter_map(encode_adoption).collect(),
        // Of plans only.
        follower_count: 0,
        followers: Vec::new(),
    }
}

/// Encodes a plan: what would become of each target, where it could be asked, and who would follow.
pub(in crate::grpc) fn encode_plan(
    plan: &Operation,
    unknown: &[(TargetName, String)],
    followers: &[Item],
) -> v1::Operation {
    let mut message = encode(plan, &[]);
    for (step, planned) in plan.steps.iter().zip(&mut message.targets) {
        if step.state == TargetState::Skipped {
            planned.planned_change = v1::PlannedChange::None.into();
            continue;
        }
        let change = match unknown.iter().find(|(target, _)| *target == step.target) {
            Some((_, why)) => {
                planned.last_error.clone_from(why);
                v1::PlannedChange::Unknown
            }
            // Its limits are made true there, whatever state the tenant is in.
            None if plan.verb == Verb::ChangeTier => v1::PlannedChange::Apply,
            None if step.observed == Some(step.desired) => v1::PlannedChange::None,
            None => v1::PlannedChange::Apply,
        };
        planned.planned_change = change.into();
    }
    message.follower_count = super::count(followers.len());
    let (able, unable): (Vec<_>, Vec<_>) = followers.iter().partition(|item| item.error.is_empty());
    message.followers = unable.into_iter().chain(able).take(FOLLOWERS_MAX).map(encode_follower).collect();
    message
}

fn encode_follower(item: &Item) -> v1::Follower {
    v1::Follower { tenant_id: item.tenant_id.to_string(), error: item.error.clone() }
}

fn encode_adoption(ahead: &Ahead) -> Option<v1::Adoption> {
    let adoption = ahead.adoption.as_ref()?;
    Some(v1::Adoption {
        target: ahead.target.to_string(),
        generation: generation(ahead.generation),
        actor: adoption.actor.clone(),
        reason: adoption.reason.clone(),
        time: Some(timestamp(adoption.time)),
    })
}

fn generation(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn encode_step(operation: &Operation, step: &Step, holds: &[(TargetName, Hold)]) -> v1::TargetStep {
    let (hold, failed) = match holds.iter().find(|(target, _)| *target == step.target) {
        Some((_, Hold::Paused)) => (v1::TargetHold::Paused, ""),
        Some((_, Hold::CircuitOpen(failed))) => (v1::TargetHold::CircuitOpen, failed.as_str()),
        None => (v1::TargetHold::Unspecified, ""),
    };
    // One that others found failing may never have been tried for this tenant.
    let last_error = if step.last_error.is_empty() { failed } else { &step.last_error };
    v1::TargetStep {
        target: step.target.to_string(),
        desired: encode_desired(step.desired).into(),
        state: match step.state {
            TargetState::Pending => v1::TargetState::Pending,
            TargetState::Verified => v1::TargetState::Verified,
            TargetState::Retrying => v1::TargetState::Retrying,
            TargetState::Failed => v1::TargetState::Failed,
            TargetState::NeedsOperator => v1::TargetState::NeedsOperator,
            TargetState::Skipped => v1::TargetState::Skipped,
        }
        .into(),
        observed: step.observed.map_or(0, |desired| encode_desired(desired).into()),
        attempts: i32::try_from(step.attempts).unwrap_or(i32::MAX),
        last_error: last_error.to_owned(),
        next_attempt_time: step.next_attempt_time.map(timestamp),
        verify_time: step.verify_time.map(timestamp),
        verification: match step.verification {
            Some(Verification::Effect) => v1::Verification::Effect,
            Some(Verification::PolicyOnly) => v1::Verification::PolicyOnly,
            None => v1::Verification::Unspecified,
        }
        .into(),
        skip_reason: step.skip_reason.clone(),
        hold: hold.into(),
        planned_change: 0,
        ahead_generation: operation.waits_behind(&step.target).map_or(0, generation),
    }
}

/// Encodes what a look at one target found.
pub(in crate::grpc) fn encode_check(check: &Check) -> v1::TargetCheck {
    let seen = check.found.as_ref().ok();
    let result = match seen {
        Some(_) if check.is_ahead => v1::CheckResult::Ahead,
        Some(_) if check.drifted() => v1::CheckResult::Drifted,
        Some(_) => v1::CheckResult::AsDesired,
        None => v1::CheckResult::Unknown,
    };
    let said = seen.and_then(|seen| seen.amiss.clone().or_else(|| seen.unproven.clone())).unwrap_or_default();
    v1::TargetCheck {
        target: check.target.to_string(),
        desired: encode_desired(check.desired).into(),
        observed: seen.and_then(|seen| seen.state).map_or(0, |state| encode_desired(state).into()),
        result: result.into(),
        error: check.found.as_ref().err().cloned().unwrap_or(said),
        desired_generation: generation(check.generation),
        applied_generation: seen.map_or(0, |seen| generation(seen.generation)),
    }
}

pub(super) const fn encode_verb(verb: Verb) -> v1::OperationVerb {
    match verb {
        Verb::Provision => v1::OperationVerb::Provision,
        Verb::Activate => v1::OperationVerb::Activate,
        Verb::Suspend => v1::OperationVerb::Suspend,
        Verb::StartMigration => v1::OperationVerb::StartMigration,
        Verb::FinishMigration { .. } => v1::OperationVerb::FinishMigration,
        Verb::Archive => v1::OperationVerb::Archive,
        Verb::Delete => v1::OperationVerb::Delete,
        Verb::Undelete => v1::OperationVerb::Undelete,
        Verb::Purge => v1::OperationVerb::Purge,
        Verb::Repair => v1::OperationVerb::Repair,
        Verb::ChangeTier => v1::OperationVerb::ChangeTier,
    }
}

const fn encode_state(state: State) -> v1::OperationState {
    match state {
        State::Running => v1::OperationState::Running,
        State::Succeeded => v1::OperationState::Succeeded,
        State::Reverting => v1::OperationState::Reverting,
        State::Failed => v1::OperationState::Failed,
        State::NeedsOperator => v1::OperationState::NeedsOperator,
        State::Superseded => v1::OperationState::Superseded,
        State::Scheduled => v1::OperationState::Scheduled,
        State::Cancelled => v1::OperationState::Cancelled,
    }
}

const fn encode_desired(desired: Desired) -> v1::DesiredState {
    match desired {
        Desired::Active => v1::DesiredState::Active,
        Desired::ReadOnly => v1::DesiredState::ReadOnly,
        Desired::Suspended => v1::DesiredState::Suspended,
        Desired::Archived => v1::DesiredState::Archived,
        Desired::Deleted => v1::DesiredState::Deleted,
    }
}

/// Decodes a state to filter by; `None` where it is not said.
pub(in crate::grpc) fn decode_state(field: &str, number: i32) -> Result<Option<State>, Error> {
    if number == 0 {
        return Ok(None);
    }
    State::ALL
        .into_iter()
        .find(|state| encode_state(*state) as i32 == number)
        .map(Some)
        .ok_or_else(|| Error::field(field, format!("{number} is not a number of OperationState")))
}

/// Decodes where a migration ends; ACTIVE where it is not said.
pub(in crate::grpc) fn decode_migration_end(number: i32) -> Result<MigrationEnd, Error> {
    match super::tenant::decode_status("to_status", number)? {
        None | Some(Status::Active) => Ok(MigrationEnd::Active),
        Some(Status::Suspended) => Ok(MigrationEnd::Suspended),
        Some(_) => Err(Error::field("to_status", "must be ACTIVE or SUSPENDED")),
    }
}

//! Operations.

use super::tenant::encode_status;
use super::timestamp;
use crate::domain::error::Error;
use crate::domain::lifecycle::{Desired, Verb};
use crate::domain::operation::{Operation, State, Step, TargetState};
use crate::proto::v1;

pub(in crate::grpc) fn encode(operation: &Operation) -> v1::Operation {
    v1::Operation {
        operation_id: operation.operation_id.to_string(),
        tenant_id: operation.tenant_id.to_string(),
        verb: encode_verb(operation.verb).into(),
        from_status: encode_status(operation.from_status).into(),
        to_status: encode_status(operation.to_status).into(),
        state: encode_state(operation.state).into(),
        reason: operation.reason.clone(),
        actor: operation.actor.clone(),
        generation: i64::try_from(operation.generation).unwrap_or(i64::MAX),
        targets: operation.steps.iter().map(encode_step).collect(),
        error: operation.error.clone(),
        create_time: Some(timestamp(operation.create_time)),
        update_time: Some(timestamp(operation.update_time)),
        finish_time: operation.finish_time.map(timestamp),
        revision: operation.revision.as_i64(),
    }
}

fn encode_step(step: &Step) -> v1::TargetStep {
    v1::TargetStep {
        target: step.target.to_string(),
        desired: encode_desired(step.desired).into(),
        state: match step.state {
            TargetState::Pending => v1::TargetState::Pending,
            TargetState::Verified => v1::TargetState::Verified,
            TargetState::Retrying => v1::TargetState::Retrying,
            TargetState::Failed => v1::TargetState::Failed,
            TargetState::NeedsOperator => v1::TargetState::NeedsOperator,
        }
        .into(),
        observed: step.observed.map_or(0, |desired| encode_desired(desired).into()),
        attempts: i32::try_from(step.attempts).unwrap_or(i32::MAX),
        last_error: step.last_error.clone(),
        next_attempt_time: step.next_attempt_time.map(timestamp),
        verify_time: step.verify_time.map(timestamp),
    }
}

const fn encode_verb(verb: Verb) -> v1::OperationVerb {
    match verb {
        Verb::Provision => v1::OperationVerb::Provision,
        Verb::Activate => v1::OperationVerb::Activate,
        Verb::Suspend => v1::OperationVerb::Suspend,
        Verb::StartMigration => v1::OperationVerb::StartMigration,
        Verb::FinishMigration { .. } => v1::OperationVerb::FinishMigration,
        Verb::Archive => v1::OperationVerb::Archive,
        Verb::Delete => v1::OperationVerb::Delete,
        Verb::Undelete => v1::OperationVerb::Undelete,
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

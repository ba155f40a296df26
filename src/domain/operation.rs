//! A change of a tenant's state under way: what each target is to be brought to, and how an operation ends.
//!
//! Pure: the cascade engine tells what it saw, this says what follows from it.

mod ahead;
mod begin;
mod generation;
mod held_back;
mod intervene;
mod progress;
mod reading;
mod step;
mod unseen;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::ahead::gives_no_more;
pub use self::ahead::{Adoption, Ahead, Undecided};
pub use self::begin::Request;
pub use self::generation::{GENERATION_MAX, after as generation_after, is_believable, is_explained};
pub use self::intervene::{Drift, Refusal};
pub use self::progress::backoff;
pub use self::reading::READING_AGE_MAX;
pub use self::step::{Step, TargetState};
pub use self::unseen::Unseen;
use super::column::null_as_default;
use super::ids::{OperationId, Revision, TargetName, TenantId, TierId};
use super::lifecycle::{Desired, Status, Verb, Verification};

/// Longest error text of a target, in characters.
pub const ERROR_MAX: usize = 1_000;

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// Targets are being brought to the new state.
    Running,
    /// Every target was seen in the new state.
    Succeeded,
    /// A target refused for good, or somebody took it back; all are being brought back.
    Reverting,
    /// Brought back: the tenant is in the state it was in before. Or it could not begin when its time came.
    Failed,
    /// Automatic retries have stopped; the tenant's access stays at the stricter of both states.
    NeedsOperator,
    /// A later operation took over.
    Superseded,
    /// It begins later.
    Scheduled,
    /// Taken back on request: it never began, or every target was brought back.
    Cancelled,
}

impl State {
    /// Every state, in the order of the contract.
    pub const ALL: [Self; 8] = [
        Self::Running,
        Self::Succeeded,
        Self::Reverting,
        Self::Failed,
        Self::NeedsOperator,
        Self::Superseded,
        Self::Scheduled,
        Self::Cancelled,
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
            Self::Scheduled => "SCHEDULED",
            Self::Cancelled => "CANCELLED",
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

/// What becomes of the tenants below one that moves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Children {
    /// They stay as they are.
    #[default]
    Ignore,
    /// Nothing moves while one of them has more access than the state that is asked for.
    Block,
    /// The same is asked of each of them that can take it.
    Follow,
}

/// What is asked for beside the verb, whatever the tenant is like when it begins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Of a change of tier: the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<TierId>,
    /// Of a migration: where to; empty parts stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Place>,
    /// Of archiving: for how many seconds the data must be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_seconds: Option<i64>,
    /// Of archiving what is archived: the data may be kept for less long than before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shortens: bool,
    /// Of a deletion: for how many seconds it can be taken back before the data is purged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undelete_seconds: Option<i64>,
    /// What becomes of the tenants below it.
    #[serde(default)]
    pub children: Children,
    /// Targets that it goes without from the start on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<TargetName>,
}

/// What a verb needs to know beside the tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// As asked for.
    #[serde(default)]
    pub wish: Wish,
    /// The bulk operation of the tenants that follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub children_bulk: Option<OperationId>,
    /// Of a change of tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<TierChange>,
    /// Of a migration to another place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<PlaceChange>,
    /// Targets that were seen to hold a newer generation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ahead: Vec<Ahead>,
    /// The generation that it began with, or its way back did; `None` where it was not noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<u64>,
    /// Targets that nobody could look at before it, or before its way back, began.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unseen: BTreeMap<TargetName, Unseen>,
    /// The first generation that was given out since the registry was restored, where none of the targets beside those was seen since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<u64>,
}

/// From which tier to which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierChange {
    /// The tier before.
    pub from: TierId,
    /// The tier that is made true.
    pub to: TierId,
}

/// Where a tenant runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// For example `eu-west-1`; empty for not said.
    pub region: Box<str>,
    /// The part of the region, for example `cell-7`; empty for not said.
    #[serde(default)]
    pub cell: Box<str>,
}

/// From where to where a tenant's data moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceChange {
    /// Where it runs until the move is finished.
    pub from: Place,
    /// Where it runs from then on.
    pub to: Place,
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
    /// Whether the targets are being brought, or were brought, back to the state before.
    #[serde(default, deserialize_with = "null_as_default")]
    pub backward: bool,
    /// Why somebody took it back; empty where nobody did.
    #[serde(default, deserialize_with = "null_as_default")]
    pub abort_reason: String,
    /// When it begins, or was to begin; `None` where it began when it was asked for.
    #[serde(default)]
    pub schedule_time: Option<Timestamp>,
    /// What the verb needs to know beside the tenant.
    #[serde(default, deserialize_with = "null_as_default")]
    pub details: Details,
    /// The bulk operation that it is part of.
    #[serde(default)]
    pub bulk_id: Option<OperationId>,
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
pub(super) mod verb_name {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::domain::lifecycle::{MigrationEnd, Verb};

    fn name(verb: Verb) -> &'static str {
        match verb {
            Verb::FinishMigration { to: MigrationEnd::Suspended } => "FINISH_MIGRATION_SUSPENDED",
            verb => verb.as_str(),
        }
    }

    #[allow(clippy::trivially_copy_pass_by_ref)] // The shape that serde calls.
    pub(in crate::domain) fn serialize<S: Serializer>(verb: &Verb, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name(*verb))
    }

    pub(in crate::domain) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Verb, D::Error> {
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
    Observed(Desired, Verification),
    /// It was read back in this state as far as that is stored; and why no more than that is known, for people.
    Unproven(Desired, String),
    /// It was read back in this state, and something else is wrong there, for people.
    Amiss(Desired, String),
    /// It had been seen in the desired state, and is in another one by now; `None` where it does not know the tenant. And
    /// what else is wrong there, for people.
    Drifted(Option<Desired>, String),
    /// It holds a newer generation than was asked for, or the same one of another state, and is in this state.
    Ahead(u64, Option<Desired>),
    /// It has nothing of the tenant, in a registry that was restored, and is to give it access.
    Missing,
    /// It was looked at, and asked for nothing: another target may know better.
    LookedAt(Option<Desired>),
    /// It got on, within a bounded batch, and has more to do: no failure, and none before it counts any more.
    Unfinished(String),
    /// It did not get on, and for a reason that was known or is nobody's fault: no attempt that counts.
    Waiting(String),
    /// It could not be told, or not done this time.
    Retryable(String),
    /// It refused for good.
    Permanent(String),
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

impl Operation {
    /// The status the targets are being brought to right now: on the way back, the one before.
    pub const fn heading(&self) -> Status {
        if self.backward { self.from_status } else { self.to_status }
    }

    /// The status the tenant has confirmed once this operation ended; `None` while it has not, or if it never will.
    pub const fn confirmed(&self) -> Option<Status> {
        match self.state {
            State::Succeeded => Some(self.to_status),
            State::Failed | State::Cancelled => Some(self.from_status),
            _ => None,
        }
    }

    /// Whether there is no way back: data is being removed, or a tenant was let in at its new place.
    pub fn is_forward_only(&self) -> bool {
        match self.verb {
            Verb::Purge => true,
            Verb::FinishMigration { .. } => {
                self.details.place.as_ref().is_some_and(|place| place.from != place.to)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
#[path = "operation_tests.rs"]
mod tests;

//! What becomes of one target system in an operation.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::column::null_as_default;
use crate::domain::ids::TargetName;
use crate::domain::lifecycle::{Desired, Verification};

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
    /// The operation goes on without it: an operator said so, or there is nothing left of the tenant; or it is a purge, and does
    /// not ask it.
    Skipped,
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
            Self::Skipped => "SKIPPED",
        }
    }

    /// Whether the engine tries it.
    pub const fn is_tried(self) -> bool {
        matches!(self, Self::Pending | Self::Retrying)
    }

    /// Whether nothing more is asked of the target.
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Verified | Self::Skipped)
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
    /// How often it was tried since it last got on.
    pub attempts: u32,
    /// What went wrong last, for people.
    pub last_error: String,
    /// When it is tried next.
    pub next_attempt_time: Option<Timestamp>,
    /// When it was seen in the desired state.
    pub verify_time: Option<Timestamp>,
    /// How that is known.
    #[serde(default)]
    pub verification: Option<Verification>,
    /// Why it is skipped, or why a purge does not ask it; empty where it is not.
    #[serde(default, deserialize_with = "null_as_default")]
    pub skip_reason: String,
}

impl Step {
    /// A target that is to be brought to a state and has not been tried.
    pub(crate) const fn pending(target: TargetName, desired: Desired) -> Self {
        Self {
            target,
            desired,
            state: TargetState::Pending,
            observed: None,
            attempts: 0,
            last_error: String::new(),
            next_attempt_time: None,
            verify_time: None,
            verification: None,
            skip_reason: String::new(),
        }
    }

    /// As if it had not been tried, but for what went wrong last.
    pub(super) fn start_over(&mut self, desired: Desired) {
        let last_error = std::mem::take(&mut self.last_error);
        *self = Self { last_error, ..Self::pending(self.target.clone(), desired) };
    }
}

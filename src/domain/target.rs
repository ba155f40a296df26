//! A target system as operators see it: whether it is tried at all.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::{Revision, TargetName};

/// What operators said of a target system, for every tenant. As stored: the serialised names are the columns' names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetControl {
    /// Which target.
    pub target: TargetName,
    /// Nothing is tried there: operations that need it wait, and the verifier passes it by.
    pub paused: bool,
    /// Why, in the words of whoever said so last.
    pub reason: String,
    /// Who said so last.
    pub actor: String,
    /// When.
    pub update_time: Timestamp,
    /// The revision of that; set by the log.
    #[serde(default)]
    pub revision: Revision,
}

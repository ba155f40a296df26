//! Targeting rules of a flag.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::choice::Choice;
use crate::domain::rule::Condition;

/// A rule: the first of a flag's rules that says something decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetingRule {
    /// Names the rule in answers and in the log; unique within the flag, 1 to 64 characters.
    pub id: String,
    /// What it is for, up to 500 characters.
    pub description: String,
    /// What it says.
    #[serde(flatten)]
    pub body: Body,
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// flagd's `JSONLogic`: its result names the variant, and null leaves the decision to what comes after.
    Logic(Value),
    /// Where all of these hold, that is given. No conditions: always.
    Match {
        /// What has to hold.
        conditions: Vec<Condition>,
        /// What is given.
        serve: Choice,
    },
}

impl TargetingRule {
    /// The rule's test in the rule language.
    pub fn source(&self) -> Value {
        match &self.body {
            Body::Logic(source) => source.clone(),
            Body::Match { conditions, .. } => Condition::all_to_json(conditions),
        }
    }

    /// The moments at which it gives something else.
    pub(super) fn moments(&self) -> impl Iterator<Item = Timestamp> {
        let serve = match &self.body {
            Body::Logic(_) => None,
            Body::Match { serve, .. } => Some(serve),
        };
        serve.into_iter().flat_map(Choice::moments)
    }
}

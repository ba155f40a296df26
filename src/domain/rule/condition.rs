//! Structured conditions: sugar for the rule language.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::violation::Violation;

/// How an attribute is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Operator {
    /// Is one of the values, of the same type.
    In,
    /// Is none of the values.
    NotIn,
    /// Is a number or text below the one value.
    LessThan,
    /// Is at most the one value.
    AtMost,
    /// Is above the one value.
    GreaterThan,
    /// Is at least the one value.
    AtLeast,
    /// Starts with one of the values.
    StartsWith,
    /// Ends with one of the values.
    EndsWith,
    /// Contains one of the values, as a part of a text or an item of a list.
    Contains,
    /// Matches the one value, a regular expression. Ours, not flagd's: such a rule cannot be exported to flagd.
    Matches,
    /// Is a version equal to the one value.
    VersionEqual,
    /// Is a version below the one value.
    VersionLessThan,
    /// Is a version of at most the one value.
    VersionAtMost,
    /// Is a version above the one value.
    VersionGreaterThan,
    /// Is a version of at least the one value.
    VersionAtLeast,
    /// Is a version with the same major number (`^`).
    VersionSameMajor,
    /// Is a version with the same major and minor number (`~`).
    VersionSameMinor,
    /// Is there and not null.
    Present,
    /// Is missing or null.
    Absent,
    /// One of the segments named by the values matches; needs no attribute.
    InSegment,
    /// None of the segments named by the values matches; needs no attribute.
    NotInSegment,
}

/// One comparison of one attribute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// The attribute's path, for example `tier` or `user.email`.
    pub attribute: String,
    /// How to compare.
    pub operator: Operator,
    /// What to compare with; none for `Present` and `Absent`.
    pub values: Vec<Value>,
}

impl Condition {
    /// What is wrong with it; empty when it can be used. `field` is its path in the request.
    pub fn validate(&self, field: &str) -> Vec<Violation> {
        let _ = field;
        Vec::new()
    }

    /// The same in the rule language: an expression that is true or false.
    pub fn to_json(&self) -> Value {
        Value::Null
    }

    /// All of the conditions, as one expression; true for none.
    pub fn all_to_json(conditions: &[Self]) -> Value {
        let _ = conditions;
        Value::Null
    }

    /// The conditions that an expression is made of, where it is one that [`Self::all_to_json`] makes.
    pub fn all_from_json(source: &Value) -> Option<Vec<Self>> {
        let _ = source;
        None
    }
}

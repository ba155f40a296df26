//! Structured conditions: sugar for the rule language.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::compile::{MATCHES, REFERENCE, referred};
use super::pattern::Pattern;
use super::{Error, HashVersion, Rule, Segments};
use crate::domain::text;
use crate::domain::violation::Violation;

/// Longest path of an attribute, in characters.
pub(super) const ATTRIBUTE_MAX: usize = 200;
/// Most values of one condition.
pub(super) const VALUES_MAX: usize = 5_000;
/// Longest text among the values, in bytes.
pub(super) const VALUE_TEXT_MAX: usize = 1_000;

/// How an attribute is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Operator {
    /// Is one of the values.
    In,
    /// Is none of the values; also where it is missing.
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

/// What an operator needs.
enum Form {
    /// No values.
    None,
    /// One text or number.
    Bound,
    /// One or more texts, numbers or booleans.
    Any,
    /// One or more texts.
    Texts,
    /// One text.
    Text,
    /// Names of segments, without an attribute.
    Segments,
}

impl Operator {
    /// Every operator.
    pub const ALL: &'static [Self] = &[
        Self::In,
        Self::NotIn,
        Self::LessThan,
        Self::AtMost,
        Self::GreaterThan,
        Self::AtLeast,
        Self::StartsWith,
        Self::EndsWith,
        Self::Contains,
        Self::Matches,
        Self::VersionEqual,
        Self::VersionLessThan,
        Self::VersionAtMost,
        Self::VersionGreaterThan,
        Self::VersionAtLeast,
        Self::VersionSameMajor,
        Self::VersionSameMinor,
        Self::Present,
        Self::Absent,
        Self::InSegment,
        Self::NotInSegment,
    ];

    const fn form(self) -> Form {
        match self {
            Self::Present | Self::Absent => Form::None,
            Self::In | Self::NotIn | Self::Contains => Form::Any,
            Self::LessThan | Self::AtMost | Self::GreaterThan | Self::AtLeast => Form::Bound,
            Self::StartsWith | Self::EndsWith => Form::Texts,
            Self::InSegment | Self::NotInSegment => Form::Segments,
            _ => Form::Text,
        }
    }

    /// The word of `sem_ver`, or the comparison of the rule language.
    const fn word(self) -> Option<&'static str> {
        Some(match self {
            Self::VersionEqual => "=",
            Self::LessThan | Self::VersionLessThan => "<",
            Self::AtMost | Self::VersionAtMost => "<=",
            Self::GreaterThan | Self::VersionGreaterThan => ">",
            Self::AtLeast | Self::VersionAtLeast => ">=",
            Self::VersionSameMajor => "^",
            Self::VersionSameMinor => "~",
            _ => return None,
        })
    }

    const fn is_version(self) -> bool {
        !matches!(self, Self::LessThan | Self::AtMost | Self::GreaterThan | Self::AtLeast)
            && self.word().is_some()
    }

    fn of_word(word: &str, is_version: bool) -> Option<Self> {
        Self::ALL.iter().copied().find(|own| own.word() == Some(word) && own.is_version() == is_version)
    }
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
    /// What is wrong with it; empty when it can be used. Whether its segments exist is not looked at. `field` is its
    /// path in the request.
    pub fn validate(&self, field: &str) -> Vec<Violation> {
        let mut found: Vec<Violation> = Vec::new();
        let attribute = self.check_attribute();
        found.extend(attribute.err().map(|why| Violation::new(format!("{field}.attribute"), why)));
        let values = self.check_values();
        found.extend(values.err().map(|why| Violation::new(format!("{field}.values"), why)));
        if found.is_empty() {
            let language = self.check_language();
            found.extend(language.err().map(|error| Violation::new(format!("{field}.values"), error.why)));
        }
        found
    }

    /// What the rule language has to say. What a pattern comes to counts together with the rule's others.
    fn check_language(&self) -> Result<(), Error> {
        match (self.operator, self.values.first().and_then(Value::as_str)) {
            (Operator::Matches, Some(pattern)) => Pattern::check(pattern),
            _ if matches!(self.operator.form(), Form::Segments) => Ok(()),
            _ => Rule::compile(&self.to_json(), &Segments::new(), HashVersion::default()).map(drop),
        }
    }

    fn check_attribute(&self) -> Result<(), String> {
        match self.operator.form() {
            Form::Segments if self.attribute.is_empty() => Ok(()),
            Form::Segments => Err("must be empty where segments are named".to_owned()),
            _ if self.attribute.split('.').any(str::is_empty) => {
                Err("must be a path such as tier or user.email".to_owned())
            }
            _ => text::one_line(&self.attribute, ATTRIBUTE_MAX).map_err(|invalid| invalid.why),
        }
    }

    fn check_values(&self) -> Result<(), String> {
        let count = self.values.len();
        let (counts, is_right, wanted): (_, fn(&Value) -> bool, _) = match self.operator.form() {
            Form::None => (0..=0, |_| false, "nothing"),
            Form::Bound => (1..=1, |value| value.is_string() || value.is_number(), "one text or number"),
            Form::Any => (
                1..=VALUES_MAX,
                |value| value.is_string() || value.is_number() || value.is_boolean(),
                "texts, numbers or booleans",
            ),
            Form::Texts => (1..=VALUES_MAX, Value::is_string, "texts"),
            Form::Text => (1..=1, Value::is_string, "one text"),
            Form::Segments => (1..=VALUES_MAX, Value::is_string, "names of segments"),
        };
        if count > VALUES_MAX {
            return Err(format!("must have at most {VALUES_MAX} entries"));
        }
        if !counts.contains(&count) || !self.values.iter().all(is_right) {
            return Err(format!("must be {wanted} for this operator"));
        }
        let is_long = |value: &Value| value.as_str().is_some_and(|text| text.len() > VALUE_TEXT_MAX);
        if self.values.iter().any(is_long) {
            return Err(format!("must be texts of at most {VALUE_TEXT_MAX} bytes"));
        }
        Ok(())
    }

    /// The same in the rule language: an expression that is true or false.
    pub fn to_json(&self) -> Value {
        let var = json!({"var": self.attribute});
        let first = || self.values.first().cloned().unwrap_or_default();
        let each = |make: &dyn Fn(&Value) -> Value| match &*self.values {
            [only] => make(only),
            values => json!({"or": values.iter().map(make).collect::<Vec<_>>()}),
        };
        match (self.operator, &*self.values) {
            (Operator::In, [only]) => json!({"===": [var, only]}),
            (Operator::In, values) => json!({"in": [var, values]}),
            (Operator::NotIn, [only]) => json!({"!==": [var, only]}),
            (Operator::NotIn, values) => json!({"!": [{"in": [var, values]}]}),
            (Operator::StartsWith, _) => each(&|value| json!({"starts_with": [var, value]})),
            (Operator::EndsWith, _) => each(&|value| json!({"ends_with": [var, value]})),
            (Operator::Contains, _) => each(&|value| json!({"in": [value, var]})),
            (Operator::Matches, _) => json!({MATCHES: [var, first()]}),
            (Operator::Present, _) => json!({"!==": [var, null]}),
            (Operator::Absent, _) => json!({"===": [var, null]}),
            (Operator::InSegment, _) => each(&|name| json!({REFERENCE: name})),
            (Operator::NotInSegment, _) => json!({"!": [each(&|name| json!({REFERENCE: name}))]}),
            (operator, _) => match operator.word() {
                Some(word) if operator.is_version() => json!({"sem_ver": [var, word, first()]}),
                // Where the attribute is missing, the rule language compares 0.
                Some(word) => json!({"and": [{"!==": [var, null]}, {word: [var, first()]}]}),
                None => Value::Null,
            },
        }
    }

    /// All of the conditions, as one expression; true for none.
    pub fn all_to_json(conditions: &[Self]) -> Value {
        match conditions {
            [] => Value::Bool(true),
            [only] => only.to_json(),
            many => json!({"and": many.iter().map(Self::to_json).collect::<Vec<_>>()}),
        }
    }

    /// The conditions that an expression is made of, where it is exactly one that [`Self::all_to_json`] makes: whoever sends them
    /// back is to have changed nothing.
    pub fn all_from_json(source: &Value) -> Option<Vec<Self>> {
        if *source == Value::Bool(true) {
            return Some(Vec::new());
        }
        let found = match (Self::from_json(source), operation(source)) {
            (Some(only), _) => vec![only],
            (_, Some(("and", parts))) => parts.iter().map(Self::from_json).collect::<Option<_>>()?,
            _ => return None,
        };
        (Self::all_to_json(&found) == *source).then_some(found)
    }

    fn from_json(source: &Value) -> Option<Self> {
        let found = match operation(source) {
            None => Self::segment(source)?,
            Some((word, args)) => Self::of_operation(word, args)?,
        };
        // Only what is written back as it was read.
        (found.to_json() == *source).then_some(found)
    }

    fn of_operation(word: &str, args: &[Value]) -> Option<Self> {
        let condition = |attribute: &Value, operator, values: &[Value]| {
            Some(Self { attribute: variable(attribute)?.to_owned(), operator, values: values.to_vec() })
        };
        match (word, args) {
            ("===", [var, Value::Null]) => condition(var, Operator::Absent, &[]),
            ("!==", [var, Value::Null]) => condition(var, Operator::Present, &[]),
            ("===", [var, value]) => condition(var, Operator::In, std::slice::from_ref(value)),
            ("!==", [var, value]) => condition(var, Operator::NotIn, std::slice::from_ref(value)),
            ("in", [var, Value::Array(values)]) => condition(var, Operator::In, values),
            ("in", [value, var]) => condition(var, Operator::Contains, std::slice::from_ref(value)),
            ("starts_with", [var, value]) => {
                condition(var, Operator::StartsWith, std::slice::from_ref(value))
            }
            ("ends_with", [var, value]) => condition(var, Operator::EndsWith, std::slice::from_ref(value)),
            (MATCHES, [var, value]) => condition(var, Operator::Matches, std::slice::from_ref(value)),
            ("sem_ver", [var, Value::String(word), value]) => {
                condition(var, Operator::of_word(word, true)?, std::slice::from_ref(value))
            }
            ("and", [_, compared]) => match operation(compared)? {
                (word, [var, value]) => {
                    condition(var, Operator::of_word(word, false)?, std::slice::from_ref(value))
                }
                _ => None,
            },
            ("!", [inner]) => {
                let inner = Self::from_json(inner)?;
                let operator = match inner.operator {
                    Operator::In => Operator::NotIn,
                    Operator::InSegment => Operator::NotInSegment,
                    _ => return None,
                };
                Some(Self { operator, ..inner })
            }
            ("or", parts) => {
                let mut parts = parts.iter().map(Self::from_json);
                let mut all = parts.next()??;
                for part in parts {
                    all.values.extend(part?.values);
                }
                Some(all)
            }
            _ => None,
        }
    }

    fn segment(source: &Value) -> Option<Self> {
        let name = referred(source)?;
        Some(Self { attribute: String::new(), operator: Operator::InSegment, values: vec![json!(name)] })
    }
}

/// The operator and its list of arguments.
fn operation(source: &Value) -> Option<(&str, &[Value])> {
    let map = source.as_object().filter(|map| map.len() == 1)?;
    let (word, args) = map.iter().next()?;
    Some((word, args.as_array()?))
}

fn variable(source: &Value) -> Option<&str> {
    let map = source.as_object().filter(|map| map.len() == 1)?;
    map.get("var")?.as_str()
}

#[cfg(test)]
#[path = "condition_tests.rs"]
mod tests;

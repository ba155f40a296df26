//! The values that expressions are evaluated to, and how they turn into each other.

use std::fmt::Write as _;
use std::rc::Rc;

use serde_json::Value;

use super::context::Context;

/// A value. What comes from the rule or the context is borrowed; only texts and lists that a rule puts together are
/// allocated, and cloning one of those copies a pointer.
#[derive(Debug, Clone, Default)]
pub(super) enum Datum<'a> {
    #[default]
    Null,
    Bool(bool),
    Number(f64),
    Text(&'a str),
    /// Put together by `cat`, `substr` and the like.
    Made(Rc<str>),
    /// An array or an object of the rule's or the context's; never anything else.
    Json(&'a Value),
    /// Put together by `map`, `merge` and the like.
    List(Rc<List<'a>>),
    /// All attributes.
    Whole(&'a Context),
}

/// A list that a rule put together.
#[derive(Debug)]
pub(super) struct List<'a> {
    pub(super) items: Vec<Datum<'a>>,
    /// How many lists are inside each other, this one counted.
    pub(super) depth: usize,
}

impl<'a> Datum<'a> {
    pub(super) fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(bool) => Self::Bool(*bool),
            // Numbers are doubles, as in flagd and JavaScript. serde_json's are always finite.
            Value::Number(number) => number.as_f64().map_or(Self::Null, Self::Number),
            Value::String(text) => Self::Text(text),
            Value::Array(_) | Value::Object(_) => Self::Json(value),
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Made(text) => Some(text),
            _ => None,
        }
    }

    pub(super) const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The number of a list's items; none for anything else.
    pub(super) fn len(&self) -> Option<usize> {
        match self {
            Self::Json(Value::Array(items)) => Some(items.len()),
            Self::List(list) => Some(list.items.len()),
            _ => None,
        }
    }

    /// An item of a list; null past its end and for anything else.
    pub(super) fn item(&self, index: usize) -> Self {
        match self {
            Self::Json(Value::Array(items)) => items.get(index).map_or(Self::Null, Self::of),
            Self::List(list) => list.items.get(index).cloned().unwrap_or_default(),
            _ => Self::Null,
        }
    }

    /// A list's items; nothing for anything else.
    pub(super) fn items(&self) -> impl Iterator<Item = Self> {
        (0..self.len().unwrap_or(0)).map(|index| self.item(index))
    }

    /// Lists inside each other; objects and arrays of the context count once, since they are bounded on their own.
    pub(super) fn depth(&self) -> usize {
        match self {
            Self::List(list) => list.depth,
            Self::Json(_) | Self::Whole(_) => 1,
            _ => 0,
        }
    }

    /// What is not zero, empty, false or null. An empty object is empty, as flagd has it.
    pub(super) fn is_truthy(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(bool) => *bool,
            Self::Number(number) => *number != 0.0 && !number.is_nan(),
            Self::Text(_) | Self::Made(_) => self.text().is_some_and(|text| !text.is_empty()),
            Self::Json(Value::Object(map)) => !map.is_empty(),
            // What flagd adds is always in it.
            Self::Whole(_) => true,
            Self::Json(_) | Self::List(_) => self.len() != Some(0),
        }
    }

    /// As comparisons see it: null is 0, booleans are 0 and 1, texts are read; NaN for what is no number.
    pub(super) fn to_loose_number(&self) -> f64 {
        match self {
            Self::Null => 0.0,
            Self::Bool(bool) => f64::from(u8::from(*bool)),
            Self::Number(number) => *number,
            Self::Json(_) | Self::List(_) | Self::Whole(_) => f64::NAN,
            Self::Text(_) | Self::Made(_) => match self.text().unwrap_or_default().trim() {
                "" => 0.0,
                text => text.parse().unwrap_or(f64::NAN),
            },
        }
    }

    /// As arithmetic sees it: a text that is no number counts as 0; what is neither number nor text is an error.
    pub(super) fn to_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(_) | Self::Made(_) => Some(self.text()?.parse().unwrap_or(0.0)),
            _ => None,
        }
    }

    /// Appends it as `cat` does: null is nothing, a list is its items with commas between. False for an object.
    pub(super) fn write(&self, into: &mut String) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(bool) => write!(into, "{bool}").is_ok(),
            Self::Number(number) => write_number(*number, into),
            Self::Text(_) | Self::Made(_) => {
                into.push_str(self.text().unwrap_or_default());
                true
            }
            Self::Json(Value::Object(_)) | Self::Whole(_) => false,
            Self::Json(_) | Self::List(_) => self.items().enumerate().all(|(index, item)| {
                if index > 0 {
                    into.push(',');
                }
                item.write(into)
            }),
        }
    }

    /// As JSON text without quotes: how flagd reads a variant's name from a result that is no text.
    pub(super) fn write_bare_json(&self, into: &mut String) {
        match self {
            Self::Null => into.push_str("null"),
            Self::Number(number) => write_json_number(*number, into),
            Self::Json(Value::Object(_)) | Self::Whole(_) => {
                into.push_str(&self.to_json().unwrap_or_default().to_string().replace('"', ""));
            }
            Self::Json(_) | Self::List(_) => {
                into.push('[');
                for (index, item) in self.items().enumerate() {
                    if index > 0 {
                        into.push(',');
                    }
                    item.write_bare_json(into);
                }
                into.push(']');
            }
            _ => {
                self.write(into);
            }
        }
    }

    /// `==`: null equals only null, texts are compared as texts, all else as numbers.
    pub(super) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, other) | (other, Self::Null) => other.is_null(),
            _ => match (self.text(), other.text()) {
                (Some(a), Some(b)) => a == b,
                // Equality of numbers is what the language asks for.
                #[allow(clippy::float_cmp)]
                _ => self.to_loose_number() == other.to_loose_number(),
            },
        }
    }

    /// `===`: of the same type and equal; lists and objects never are.
    pub(super) fn equals_strictly(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            #[allow(clippy::float_cmp)]
            (Self::Number(a), Self::Number(b)) => a == b,
            _ => matches!((self.text(), other.text()), (Some(a), Some(b)) if a == b),
        }
    }

    /// `<`: texts by their bytes, all else as numbers.
    pub(super) fn is_less(&self, other: &Self) -> bool {
        match (self.text(), other.text()) {
            (Some(a), Some(b)) => a < b,
            _ => self.to_loose_number() < other.to_loose_number(),
        }
    }

    /// A copy that borrows nothing, for the constants of a compiled rule.
    pub(super) fn to_json(&self) -> Option<Value> {
        Some(match self {
            Self::Null => Value::Null,
            Self::Bool(bool) => Value::Bool(*bool),
            Self::Number(number) => Value::Number(serde_json::Number::from_f64(*number)?),
            Self::Text(_) | Self::Made(_) => Value::String(self.text()?.to_owned()),
            Self::Json(value) => (*value).clone(),
            Self::Whole(context) => Value::Object(context.to_map()),
            Self::List(list) => {
                Value::Array(list.items.iter().map(Self::to_json).collect::<Option<Vec<_>>>()?)
            }
        })
    }
}

/// As Go writes a number in JSON: with an exponent where it is very large or very small.
fn write_json_number(number: f64, into: &mut String) {
    let size = number.abs();
    if number == 0.0 || !number.is_finite() || (1e-6..1e21).contains(&size) {
        write_number(number, into);
        return;
    }
    let text = format!("{number:e}");
    into.push_str(&if size < 1.0 { text } else { text.replace('e', "e+") });
}

/// The shortest decimal text that reads back as the number, never with an exponent.
fn write_number(number: f64, into: &mut String) -> bool {
    if number.is_infinite() {
        into.push_str(if number > 0.0 { "+Inf" } else { "-Inf" });
        return true;
    }
    write!(into, "{number}").is_ok()
}

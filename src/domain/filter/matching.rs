//! A checked filter and how a row passes it.

use std::cmp::Ordering;

use jiff::Timestamp;

use super::{FieldId, FieldValue, Record};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Not(Box<Expr>),
    Test(Test),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Test {
    pub(super) field: FieldId,
    pub(super) condition: Condition,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    /// The field is set: text that is not empty, a map or list with something in it.
    Present,
    Text(Pattern),
    NotText(Pattern),
    TextOrder(Bounds, String),
    /// Contains, whatever the case.
    Contains(String),
    Enum(&'static str),
    NotEnum(&'static str),
    Number(Bounds, f64),
    Time(Bounds, Timestamp),
    Boolean(bool),
    EntryPresent(String),
    Entry(String, Pattern),
    NotEntry(String, Pattern),
    Item(Pattern),
}

/// Which outcomes of comparing a row's value with the filter's pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) less: bool,
    pub(super) equal: bool,
    pub(super) greater: bool,
}

impl Bounds {
    fn pass(self, ordering: Ordering) -> bool {
        match ordering {
            Ordering::Less => self.less,
            Ordering::Equal => self.equal,
            Ordering::Greater => self.greater,
        }
    }

    /// Something that is not there is unequal to everything and neither above nor below it.
    const fn pass_absent(self) -> bool {
        self.less && self.greater
    }
}

/// Text to compare with, with `*` at either end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    /// A lone `*`: anything but nothing.
    Something,
    Exact(String),
    Prefix(String),
    Suffix(String),
    Inside(String),
}

impl Pattern {
    fn fits(&self, text: &str) -> bool {
        match self {
            Self::Something => !text.is_empty(),
            Self::Exact(exact) => text == exact,
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
            Self::Inside(inside) => text.contains(inside.as_str()),
        }
    }
}

impl Expr {
    /// Recursion is bounded by the parser's limit on nesting.
    pub(super) fn matches<R: Record>(&self, record: &R) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.matches(record)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(record)),
            Self::Not(part) => !part.matches(record),
            Self::Test(test) => test.matches(record),
        }
    }
}

impl Test {
    fn matches<R: Record>(&self, record: &R) -> bool {
        let id = self.field;
        match &self.condition {
            Condition::Present => match record.field(id) {
                FieldValue::Absent => record.has_any(id),
                FieldValue::Text(text) => !text.is_empty(),
                _ => true,
            },
            Condition::Text(pattern) => pattern.fits(text(record.field(id))),
            Condition::NotText(pattern) => !pattern.fits(text(record.field(id))),
            Condition::TextOrder(bounds, than) => bounds.pass(text(record.field(id)).cmp(than)),
            Condition::Contains(part) => contains_ignoring_case(text(record.field(id)), part),
            Condition::Enum(name) => text(record.field(id)) == *name,
            Condition::NotEnum(name) => text(record.field(id)) != *name,
            Condition::Number(bounds, than) => match record.field(id) {
                FieldValue::Number(number) => number.partial_cmp(than).is_some_and(|o| bounds.pass(o)),
                _ => bounds.pass_absent(),
            },
            Condition::Time(bounds, than) => match record.field(id) {
                FieldValue::Time(time) => bounds.pass(time.cmp(than)),
                _ => bounds.pass_absent(),
            },
            Condition::Boolean(expected) => record.field(id) == FieldValue::Boolean(*expected),
            Condition::EntryPresent(key) => record.entry(id, key).is_some(),
            Condition::Entry(key, pattern) => record.entry(id, key).is_some_and(|value| pattern.fits(value)),
            Condition::NotEntry(key, pattern) => {
                !record.entry(id, key).is_some_and(|value| pattern.fits(value))
            }
            Condition::Item(pattern) => record.any_item(id, &mut |item| pattern.fits(item)),
        }
    }
}

/// An unset text is the empty text, as on the wire.
fn text(value: FieldValue<'_>) -> &str {
    match value {
        FieldValue::Text(text) => text,
        _ => "",
    }
}

/// Whether `text` contains `part` when neither's case counts; `part` is in lower case already.
fn contains_ignoring_case(text: &str, part: &str) -> bool {
    let starts_here = |rest: &str| {
        let mut lower = rest.chars().flat_map(char::to_lowercase);
        part.chars().all(|c| lower.next() == Some(c))
    };
    part.is_empty() || text.char_indices().any(|(at, _)| starts_here(&text[at..]))
}

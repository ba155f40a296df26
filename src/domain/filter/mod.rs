//! Filters and orders over lists: the parts of AIP-160 and AIP-132 that lists of ours need.
//!
//! ```text
//! status = ACTIVE AND tier = "gold" AND health_score < 80
//! (region = "eu-*" OR data_residency = "EU") labels.team:* -labels.env = "test"
//! ```
//!
//! `OR` binds tighter than `AND`, as AIP-160 has it, and two terms with only a space between them are both needed.
//! A filter is checked against a [`Schema`] once; matching a row then allocates nothing.

mod check;
pub mod flag;
mod lexer;
mod matching;
pub mod operation;
mod order;
mod parser;
pub mod tenant;

use std::cmp::Ordering;

use jiff::Timestamp;

use self::matching::Expr;
pub use self::order::{FIELDS_MAX, OrderBy, OrderKey};

/// Longest filter or order, in bytes.
pub const LENGTH_MAX: usize = 4096;
/// Deepest nesting of parentheses.
pub const DEPTH_MAX: usize = 32;
/// Most comparisons in one filter.
pub const TERMS_MAX: usize = 128;

/// A field's place in its schema.
pub type FieldId = usize;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// Text; an unset field is the empty text.
    Text,
    /// One of these names, which are in upper case.
    Enum(&'static [&'static str]),
    /// A number.
    Number,
    /// A moment.
    Time,
    /// true or false.
    Boolean,
    /// Texts by key, such as labels.
    Map,
    /// Any number of texts.
    List,
}

/// One field of a schema.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The name in the contract.
    pub name: &'static str,
    /// What it holds.
    pub field_type: FieldType,
    /// Whether lists can be ordered by it; never maps and lists.
    pub orderable: bool,
}

/// The fields a filter and an order can name; a field's id is its index.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// All fields.
    pub fields: &'static [Field],
    /// The field no two rows share, orderable; every order ends with it.
    pub unique: FieldId,
}

impl Schema {
    fn find(&self, name: &str) -> Option<(FieldId, &'static Field)> {
        self.fields.iter().enumerate().find(|(_, field)| field.name == name)
    }
}

/// The fields of a kind of record: an enum of them, and `SCHEMA` in the same order.
macro_rules! record_fields {
    ($(#[$of:meta])* $name:ident, $unique:ident; $($(#[$doc:meta])* $variant:ident $field:literal $type:expr, $orderable:literal;)*) => {
        $(#[$of])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// Every field, in the schema's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The field's place in [`SCHEMA`].
            pub const fn id(self) -> $crate::domain::filter::FieldId {
                self as $crate::domain::filter::FieldId
            }

            /// The field at a place of [`SCHEMA`].
            pub fn from_id(id: $crate::domain::filter::FieldId) -> Option<Self> {
                Self::ALL.get(id).copied()
            }
        }

        /// Every field.
        pub static SCHEMA: $crate::domain::filter::Schema = $crate::domain::filter::Schema {
            fields: &[$($crate::domain::filter::Field { name: $field, field_type: $type, orderable: $orderable },)*],
            unique: $name::$unique as $crate::domain::filter::FieldId,
        };
    };
}
use record_fields;

/// A row's value of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FieldValue<'a> {
    /// Not set.
    Absent,
    /// Text, or an enum's name in upper case.
    Text(&'a str),
    /// A number.
    Number(f64),
    /// A moment.
    Time(Timestamp),
    /// true or false.
    Boolean(bool),
}

impl FieldValue<'_> {
    /// The order of lists: unset first, then by value. Values of one field have one type, so the order between types
    /// only has to be some order.
    pub fn compare(&self, other: &FieldValue<'_>) -> Ordering {
        match (self, other) {
            (Self::Text(a), FieldValue::Text(b)) => a.cmp(b),
            (Self::Number(a), FieldValue::Number(b)) => a.total_cmp(b),
            (Self::Time(a), FieldValue::Time(b)) => a.cmp(b),
            (Self::Boolean(a), FieldValue::Boolean(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Absent => 0,
            Self::Text(_) => 1,
            Self::Number(_) => 2,
            Self::Time(_) => 3,
            Self::Boolean(_) => 4,
        }
    }
}

/// A row that can be filtered and ordered.
pub trait Record {
    /// The value of a field that is neither map nor list.
    fn field(&self, id: FieldId) -> FieldValue<'_>;

    /// The value of a map's key; `None` where the key is missing.
    fn entry(&self, id: FieldId, key: &str) -> Option<&str>;

    /// Whether a map or list has anything in it.
    fn has_any(&self, id: FieldId) -> bool;

    /// Whether one of a list's items passes the test.
    fn any_item(&self, id: FieldId, test: &mut dyn FnMut(&str) -> bool) -> bool;
}

/// Why a filter or an order was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why} (at character {position})")]
pub struct Error {
    /// Where, in characters from 1.
    pub position: usize,
    /// A sentence for people, without full stop.
    pub why: String,
}

/// A checked filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    expression: Option<Expr>,
}

impl Filter {
    /// Matches every row, as does the empty text.
    pub const ALL: Self = Self { expression: None };

    /// Reads a filter and checks it against the schema.
    pub fn parse(text: &str, schema: &Schema) -> Result<Self, Error> {
        let tokens = lexer::tokens(text)?;
        let tree = parser::parse(text, &tokens)?;
        let expression = tree.map(|tree| check::expression(text, tree, schema)).transpose()?;
        Ok(Self { expression })
    }

    /// Whether a row passes.
    pub fn matches(&self, record: &impl Record) -> bool {
        self.expression.as_ref().is_none_or(|expression| expression.matches(record))
    }

    /// Whether every row passes without being looked at.
    pub const fn is_all(&self) -> bool {
        self.expression.is_none()
    }
}

/// An error at a byte offset of the text.
fn error(text: &str, offset: usize, why: impl Into<String>) -> Error {
    Error { position: text.get(..offset).unwrap_or(text).chars().count() + 1, why: why.into() }
}

#[cfg(test)]
mod tests;

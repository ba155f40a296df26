//! The order of a list: `field [asc|desc], …`, always ending with the unique field.

use std::cmp::Ordering;

use super::{Error, FieldId, FieldValue, LENGTH_MAX, Record, Schema, error};
use crate::domain::text::quote;

/// Most fields in one order, besides the unique one.
pub const FIELDS_MAX: usize = 4;

/// One field of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderKey {
    /// Which field.
    pub field: FieldId,
    /// Largest first.
    pub descending: bool,
}

/// A checked order. No two rows are equal under it, because it ends with the unique field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBy {
    keys: Vec<OrderKey>,
}

impl OrderBy {
    /// Reads an order and checks it against the schema; the empty text orders by the unique field alone.
    pub fn parse(text: &str, schema: &Schema) -> Result<Self, Error> {
        if text.len() > LENGTH_MAX {
            return Err(error(
                text,
                0,
                format!("the text has {} bytes; at most {LENGTH_MAX} are read", text.len()),
            ));
        }
        let mut keys: Vec<OrderKey> = Vec::new();
        let mut at = 0;
        if !text.trim().is_empty() {
            for part in text.split(',') {
                let start = at + (part.len() - part.trim_start().len());
                let key = order_key(text, part, start, schema)?;
                if keys.iter().any(|earlier| earlier.field == key.field) {
                    return Err(error(
                        text,
                        start,
                        format!("{} is named twice", schema.fields[key.field].name),
                    ));
                }
                if keys.len() == FIELDS_MAX {
                    return Err(error(text, start, format!("there are more than {FIELDS_MAX} fields")));
                }
                keys.push(key);
                at += part.len() + 1;
            }
        }
        // Nothing after the unique field can matter: no two rows tie there.
        match keys.iter().position(|key| key.field == schema.unique) {
            Some(unique) => keys.truncate(unique + 1),
            None => keys.push(OrderKey { field: schema.unique, descending: false }),
        }
        Ok(Self { keys })
    }

    /// The fields, the unique one last.
    pub fn keys(&self) -> &[OrderKey] {
        &self.keys
    }

    /// Compares two rows.
    pub fn compare<R: Record>(&self, a: &R, b: &R) -> Ordering {
        self.fold(|index| {
            let field = self.keys[index].field;
            a.field(field).compare(&b.field(field))
        })
    }

    /// Compares a row with the values of another, one for each of [`OrderBy::keys`]: where a page goes on.
    pub fn compare_to<'v, R: Record>(
        &self,
        record: &R,
        values: impl IntoIterator<Item = FieldValue<'v>>,
    ) -> Ordering {
        let mut values = values.into_iter();
        self.fold(|index| {
            let than = values.next().unwrap_or(FieldValue::Absent);
            record.field(self.keys[index].field).compare(&than)
        })
    }

    fn fold(&self, mut compare: impl FnMut(usize) -> Ordering) -> Ordering {
        for (index, key) in self.keys.iter().enumerate() {
            let ordering = compare(index);
            if ordering != Ordering::Equal {
                return if key.descending { ordering.reverse() } else { ordering };
            }
        }
        Ordering::Equal
    }
}

fn order_key(text: &str, part: &str, start: usize, schema: &Schema) -> Result<OrderKey, Error> {
    let mut words = part.split_whitespace();
    let Some(name) = words.next() else {
        return Err(error(text, start, "a field's name is missing"));
    };
    let field = orderable(text, name, start, schema)?;
    let descending = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("asc") => false,
        Some(word) if word.eq_ignore_ascii_case("desc") => true,
        Some(word) => {
            return Err(error(
                text,
                start,
                format!("{name} is followed by asc or desc, not by {}", quote(word)),
            ));
        }
    };
    match words.next() {
        None => Ok(OrderKey { field, descending }),
        Some(word) => Err(error(text, start, format!("a comma is missing before {}", quote(word)))),
    }
}

/// The field of a name, or an error that lists the fields that have an order.
fn orderable(text: &str, name: &str, at: usize, schema: &Schema) -> Result<FieldId, Error> {
    let why = match schema.find(name) {
        Some((field, definition)) if definition.orderable => return Ok(field),
        Some(_) => format!("there is no order by {name}"),
        None => format!("there is no field {}", quote(name)),
    };
    let fields = schema.fields.iter().filter(|field| field.orderable);
    let names: Vec<&str> = fields.map(|field| field.name).collect();
    Err(error(text, at, format!("{why}; order by {}", names.join(", "))))
}

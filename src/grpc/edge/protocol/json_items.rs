//! What a JSON text becomes when it is decoded, judged before anybody does.
//!
//! Decoding it takes a map for each message, whose values are larger than the fields of what is decoded from protobuf: as
//! many items weigh several times as much.

use std::cell::Cell;

use prost_reflect::{Kind, MessageDescriptor};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::super::items::{Bounds, SUSPICIOUS_BYTES, TooMany};

/// What a message takes: itself, and a piece of a map with places for eleven fields.
const MESSAGE_BYTES: usize = 800;
/// What a value takes in a list or a map.
const VALUE_BYTES: usize = 80;

/// Weighs a JSON text. One that cannot be read passes: whoever decodes it says where it breaks off.
pub(super) fn check(descriptor: &MessageDescriptor, text: &[u8], bounds: Bounds) -> Result<(), TooMany> {
    if text.len() <= SUSPICIOUS_BYTES {
        return Ok(());
    }
    let left = Cell::new(Some(bounds.bytes_max));
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let weighed = Weighing { kind: Some(Kind::Message(descriptor.clone())), left: &left }
        .deserialize(&mut deserializer);
    match (weighed, left.get()) {
        (Err(_), None) => Err(TooMany { field: "request".to_owned(), bounds }),
        _ => Ok(()),
    }
}

/// A value of a kind; of none where the contract does not know the field.
struct Weighing<'a> {
    kind: Option<Kind>,
    /// Nothing once it is used up.
    left: &'a Cell<Option<usize>>,
}

impl Weighing<'_> {
    fn take<E: serde::de::Error>(&self, bytes: usize) -> Result<(), E> {
        let left = self.left.get().and_then(|left| left.checked_sub(bytes));
        self.left.set(left);
        left.map(drop).ok_or_else(|| E::custom("too much"))
    }

    /// What is free to be any JSON has a message for every value.
    fn is_free(&self) -> bool {
        matches!(&self.kind, Some(Kind::Message(message)) if message.package_name() == "google.protobuf")
    }

    fn value<E: serde::de::Error>(&self, text: usize) -> Result<(), E> {
        self.take(VALUE_BYTES + text + if self.is_free() { MESSAGE_BYTES } else { 0 })
    }

    fn within(&self, kind: Option<Kind>) -> Self {
        Self { kind, left: self.left }
    }

    /// The kind of a member's values, be it a field's or an entry's.
    fn member(&self, name: &str) -> Option<Kind> {
        let Some(Kind::Message(message)) = &self.kind else { return None };
        if self.is_free() {
            return self.kind.clone();
        }
        if message.is_map_entry() {
            return Some(message.map_entry_value_field().kind());
        }
        let field = message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name))?;
        Some(field.kind())
    }
}

impl<'de> DeserializeSeed<'de> for Weighing<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Weighing<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        self.value(0)
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        self.value(0)
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        self.value(0)
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        self.value(0)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.value(0)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.value(text.len())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.value(0)?;
        while items.next_element_seed(self.within(self.kind.clone()))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.take(MESSAGE_BYTES)?;
        while let Some(name) = members.next_key::<std::borrow::Cow<'_, str>>()? {
            self.take(name.len())?;
            members.next_value_seed(self.within(self.member(&name)))?;
        }
        if self.left.get().is_none() { Err(A::Error::custom("too much")) } else { Ok(()) }
    }
}

#[cfg(test)]
#[path = "json_items_tests.rs"]
mod tests;

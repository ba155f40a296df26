//! What is wrong with a JSON text that is no such message: which field it is, and what that takes instead.
//!
//! The text is read once more for this, so those who send good JSON do not pay for it. Nothing of it is shown but the way to
//! the field.

use prost_reflect::{
    DeserializeOptions, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor,
};
use serde_json::{Deserializer, Map, Value};
use serde_path_to_error::{Segment, Track};
use tonic::Status;

use super::super::status::malformed_json;
use crate::domain::{json_fault, nearest::nearest};

/// Most values of an enum that are named.
const NAMED_MAX: usize = 20;
/// What our own words need of a package whose messages have a JSON of their own.
const WELL_KNOWN: &str = "google.protobuf";

/// What the contract has at a place.
enum Expected {
    List(Kind),
    Map(Kind),
    One(Kind),
}

/// Says why a text is no such message.
pub(super) fn explain(descriptor: &MessageDescriptor, text: &[u8], options: &DeserializeOptions) -> Status {
    let message = descriptor.full_name();
    let given: Value = match serde_json::from_slice(text) {
        Ok(given) => given,
        Err(error) => return malformed_json(message, "", &json_fault::cause(&error)),
    };
    let mut track = Track::new();
    let mut deserializer = Deserializer::from_slice(text);
    let tracked = serde_path_to_error::Deserializer::new(&mut deserializer, &mut track);
    let fault = DynamicMessage::deserialize_with_options(descriptor.clone(), tracked, options).err();
    let (line, column) = fault.map_or((0, 0), |fault| (fault.line(), fault.column()));
    let see = format!("see line {line}, column {column}");
    let path = track.path();
    let way = path.to_string();
    let way = if path.iter().next().is_none() { "" } else { &*way };
    match find(descriptor, &given, path.iter()).and_then(|(expected, given)| why(&expected, given)) {
        Some((None, why)) => malformed_json(message, way, &format!("{why}; {see}")),
        Some((Some(name), why)) => {
            let dot = if way.is_empty() { "" } else { "." };
            malformed_json(message, &format!("{way}{dot}{name}"), &format!("{why}; {see}"))
        }
        None => malformed_json(message, way, &format!("cannot be read; {see}")),
    }
}

/// What the contract has at the end of a way, and what was given there.
fn find<'a, 'p>(
    descriptor: &MessageDescriptor,
    given: &'a Value,
    mut way: impl Iterator<Item = &'p Segment>,
) -> Option<(Expected, &'a Value)> {
    let start = (Expected::One(Kind::Message(descriptor.clone())), given);
    way.try_fold(start, |(expected, given), segment| match (expected, segment) {
        (Expected::List(kind), Segment::Seq { index }) => Some((Expected::One(kind), given.get(index)?)),
        (Expected::Map(kind), Segment::Map { key }) => Some((Expected::One(kind), given.get(key)?)),
        (Expected::One(Kind::Message(message)), Segment::Map { key })
            if message.package_name() != WELL_KNOWN =>
        {
            Some((of_field(&field(&message, key)?), given.get(key)?))
        }
        _ => None,
    })
}

fn field(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name))
}

fn of_field(field: &FieldDescriptor) -> Expected {
    match field.kind() {
        kind if field.is_list() => Expected::List(kind),
        Kind::Message(entry) if field.is_map() => Expected::Map(entry.map_entry_value_field().kind()),
        kind => Expected::One(kind),
    }
}

/// The end of a sentence that starts with the place, or with a name in it; nothing where what was given looks right.
fn why(expected: &Expected, given: &Value) -> Option<(Option<String>, String)> {
    let why = match expected {
        Expected::List(_) if !given.is_array() => "must be a list".to_owned(),
        Expected::Map(_) if !given.is_object() => "must be an object".to_owned(),
        Expected::List(_) | Expected::Map(_) => return None,
        Expected::One(Kind::Message(message)) if message.package_name() != WELL_KNOWN => match given {
            Value::Object(members) => return within(message, members),
            _ => "must be an object".to_owned(),
        },
        Expected::One(kind) => takes(kind)?,
    };
    Some((None, why))
}

/// What is wrong between the members of an object.
fn within(message: &MessageDescriptor, members: &Map<String, Value>) -> Option<(Option<String>, String)> {
    if let Some(name) = members.keys().find(|name| field(message, name).is_none()) {
        let fields: Vec<_> = message.fields().collect();
        let known = fields.iter().map(FieldDescriptor::json_name);
        // Of a short name few letters say what was meant.
        let far = (name.chars().take(12).count() / 3).max(1);
        let hint = nearest(name, known, far)
            .map_or_else(String::new, |known| format!("; \"{known}\" is the nearest one"));
        return Some((Some(name.clone()), format!("is no field of {}{hint}", message.full_name())));
    }
    message.oneofs().find_map(|oneof| {
        let fields: Vec<_> = oneof.fields().collect();
        let names = || fields.iter().map(FieldDescriptor::json_name);
        let is_given = |field: &&FieldDescriptor| {
            [field.json_name(), field.name()].iter().any(|name| members.get(*name).is_some())
        };
        let is_several = fields.iter().filter(is_given).count() > 1;
        is_several
            .then(|| (None, format!("must have only one of {}", names().collect::<Vec<_>>().join(", "))))
    })
}

/// What a value of a kind is, as JSON.
fn takes(kind: &Kind) -> Option<String> {
    Some(match kind {
        Kind::Double | Kind::Float => "must be a number".to_owned(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => whole(i32::MIN, i32::MAX),
        Kind::Uint32 | Kind::Fixed32 => whole(u32::MIN, u32::MAX),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => whole(i64::MIN, i64::MAX),
        Kind::Uint64 | Kind::Fixed64 => whole(u64::MIN, u64::MAX),
        Kind::Bool => "must be true or false, without quotes".to_owned(),
        // A rule, for one, is an object that goes there as text.
        Kind::String => {
            r#"must be text, in quotes; JSON that belongs there is written as a text, such as "{\"var\":\"a\"}""#
                .to_owned()
        }
        Kind::Bytes => "must be base64, in quotes".to_owned(),
        Kind::Enum(names) => one_of(names),
        Kind::Message(message) => return well_known(message),
    })
}

fn whole<N: std::fmt::Display>(min: N, max: N) -> String {
    format!("must be a whole number from {min} to {max}")
}

fn one_of(names: &EnumDescriptor) -> String {
    let mut known: Vec<_> = names.values().map(|value| value.name().to_owned()).collect();
    // That stands for a field that is not there.
    known.retain(|name| !name.ends_with("_UNSPECIFIED"));
    if known.len() > NAMED_MAX {
        known.truncate(NAMED_MAX);
        known.push("…".to_owned());
    }
    format!("must be one of {}", known.join(", "))
}

/// The same of protobuf's own messages.
fn well_known(message: &MessageDescriptor) -> Option<String> {
    Some(match message.name() {
        "Timestamp" => r#"must be a time, such as "2026-01-01T00:00:00Z""#.to_owned(),
        "Duration" => r#"must be seconds with an s behind them, such as "3.5s""#.to_owned(),
        "FieldMask" => {
            r#"must be a text with names of fields in lowerCamelCase and commas between, such as "description,defaultVariant""#
                .to_owned()
        }
        "Struct" | "Any" | "Empty" => "must be an object".to_owned(),
        "ListValue" => "must be a list".to_owned(),
        "Value" => return None,
        _ => return takes(&message.get_field_by_name("value")?.kind()),
    })
}

#[cfg(test)]
#[path = "json_fault_tests.rs"]
mod tests;

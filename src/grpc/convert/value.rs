//! `google.protobuf.Value` and JSON.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::{Map, Number, Value as Json};

/// Deepest nesting that is read.
const DEPTH_MAX: usize = 32;
/// The largest whole number that nothing else is rounded to: the wire has doubles only, and 2^53 may have been 2^53 + 1.
pub(super) const EXACT_MAX: i64 = (1 << 53) - 1;

/// Whether a number is what its sender wrote, where that was whole.
pub(super) fn is_exact(value: &Value) -> bool {
    #[allow(clippy::cast_precision_loss)] // 2^53 - 1 has a double of its own.
    const MAX: f64 = EXACT_MAX as f64;
    !matches!(value.kind, Some(Kind::NumberValue(number)) if number.abs() > MAX)
}

pub(in crate::grpc) fn encode(json: Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(value),
        // The wire has doubles only: beyond 2^53 whole numbers lose their last digits there.
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text),
        Json::Array(items) => Kind::ListValue(ListValue { values: items.into_iter().map(encode).collect() }),
        Json::Object(map) => Kind::StructValue(Struct {
            fields: map.into_iter().map(|(key, value)| (key, encode(value))).collect(),
        }),
    };
    Value { kind: Some(kind) }
}

pub(in crate::grpc) fn decode(value: Value) -> Result<Json, &'static str> {
    decode_at(value, 0)
}

/// Decodes the fields of a struct; the error names the field at fault first.
pub(in crate::grpc) fn decode_struct(message: Struct) -> Result<Map<String, Json>, (String, &'static str)> {
    let mut map = Map::new();
    for (key, value) in message.fields {
        let decoded = decode_at(value, 1).map_err(|why| (key.clone(), why))?;
        map.insert(key, decoded);
    }
    Ok(map)
}

fn decode_at(value: Value, depth: usize) -> Result<Json, &'static str> {
    if depth > DEPTH_MAX {
        return Err("must not be nested deeper than 32 levels");
    }
    Ok(match value.kind.ok_or("must have a value")? {
        Kind::NullValue(_) => Json::Null,
        Kind::BoolValue(value) => Json::Bool(value),
        Kind::NumberValue(number) => {
            Json::Number(whole_or_float(number).ok_or("must not be infinite or not a number")?)
        }
        Kind::StringValue(text) => Json::String(text),
        Kind::ListValue(list) => Json::Array(
            list.values.into_iter().map(|item| decode_at(item, depth + 1)).collect::<Result<_, _>>()?,
        ),
        Kind::StructValue(fields) => {
            let mut map = Map::new();
            for (key, value) in fields.fields {
                map.insert(key, decode_at(value, depth + 1)?);
            }
            Json::Object(map)
        }
    })
}

/// A number as JSON; a whole one that a double holds exactly is whole in JSON too.
fn whole_or_float(number: f64) -> Option<Number> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[allow(clippy::cast_possible_truncation)] // Whole and within 2^53.
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return Some(Number::from(number as i64));
    }
    Number::from_f64(number)
}

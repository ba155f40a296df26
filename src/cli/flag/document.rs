//! `tenantry flag export --format tenantry`: flags and segments as a file that `flag apply` takes.
//!
//! Which fields there are is the contract's to say: whatever a caller may set is written, so that a new field is, too.
//! What tiers get stands with the flag, as [`super::set`] reads it.

use std::collections::BTreeMap;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use crate::cli::output::{show_data, warn};
use crate::cli::{Context, Failure, contract};

/// What answers alone have, but files too.
const OF_TIERS: [&str; 2] = ["tierDefaults", "tierRollouts"];
/// Largest whole number of which doubles leave out none.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Writes every flag that is ours, or those of one flag set, and all segments. Without their expiry, an older document
/// does not take back an extension.
pub(super) async fn export(
    flag_set: Option<&str>,
    with_expiry: bool,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let mut listed = context.client.list("FeatureFlags/ListFlags", json!({}), "flags").await?;
    for flag in listed["flags"].as_array_mut().into_iter().flatten().filter(|_| !with_expiry) {
        flag["expireTime"].take();
    }
    let flags = listed["flags"].as_array().into_iter().flatten();
    let wanted = flags.filter(|flag| flag_set.is_none_or(|set| flag["flagSet"] == set));
    let (ours, imported): (Vec<_>, Vec<_>) = wanted.partition(|flag| flag["origin"].is_null());
    let segments = context.client.list("FeatureFlags/ListSegments", json!({}), "segments").await?;
    let document = json!({
        "flags": by_key(ours, "Flag", "flagKey"),
        "segments": by_key(segments["segments"].as_array().into_iter().flatten(), "Segment", "segmentName"),
    });
    show_data(context.connection.output, &document)?;
    tell_of_imported(&imported);
    Ok(())
}

/// Flags of a file of another system mean what they mean with that file alone.
fn tell_of_imported(imported: &[&Value]) {
    let mut files = BTreeMap::<&str, usize>::new();
    for flag in imported {
        *files.entry(flag["origin"]["file"].as_str().unwrap_or_default()).or_default() += 1;
    }
    for (file, flags) in files {
        let set = if file.is_empty() { String::new() } else { format!(" --flag-set {file}") };
        warn(&format!(
            "imported flags are left out ({flags} of them): `tenantry flag export --format flagd{set}` writes them"
        ));
    }
}

/// Things under their keys.
fn by_key<'a>(things: impl IntoIterator<Item = &'a Value>, message: &str, key: &str) -> Value {
    let Some(message) = contract::pool().get_message_by_name(&format!("tenantry.v1.{message}")) else {
        return Value::Null;
    };
    let entry = |thing: &Value| {
        let mut entry = settable(&message, thing);
        entry.remove(key);
        // Answers have both ways to say the same.
        if entry.contains_key("conditions") {
            entry.remove("logic");
        }
        (thing[key].as_str().unwrap_or_default().to_owned(), entry.into())
    };
    Value::Object(things.into_iter().map(entry).collect())
}

/// What a caller may set of a message, and has.
fn settable(message: &MessageDescriptor, answer: &Value) -> Map<String, Value> {
    let is_written = |field: &FieldDescriptor| {
        let value = &answer[field.json_name()];
        let is_set = is_set(value) || contract::is_required(field) && !value.is_null();
        is_set && (!contract::is_output_only(field) || OF_TIERS.contains(&field.json_name()))
    };
    let fields = message.fields().filter(is_written);
    fields.map(|field| (field.json_name().to_owned(), all_of(&field, &answer[field.json_name()]))).collect()
}

/// Whether a value says more than that nothing was said.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is_true) => *is_true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty() && !text.ends_with("_UNSPECIFIED"),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

fn all_of(field: &FieldDescriptor, value: &Value) -> Value {
    match (value, field.kind()) {
        (Value::Array(items), kind) if field.is_list() => {
            items.iter().map(|item| one(field, &kind, item)).collect()
        }
        (Value::Object(entries), Kind::Message(entry)) if field.is_map() => {
            let kind = entry.map_entry_value_field().kind();
            let entries = entries.iter().map(|(key, value)| (key.clone(), one(field, &kind, value)));
            Value::Object(entries.collect())
        }
        (value, kind) => one(field, &kind, value),
    }
}

fn one(field: &FieldDescriptor, kind: &Kind, value: &Value) -> Value {
    match (kind, value) {
        (Kind::Message(message), _) if message.package_name() == "google.protobuf" => whole(value),
        (Kind::Message(message), _) => settable(message, value).into(),
        (Kind::Enum(_), Value::String(name)) => contract::enum_name(name).to_lowercase().into(),
        (_, Value::String(logic)) if field.name() == "logic" => match serde_json::from_str(logic) {
            // A bare text would be read as JSON's text.
            Ok(Value::String(_)) | Err(_) => value.clone(),
            Ok(logic) => logic,
        },
        _ => value.clone(),
    }
}

/// The same with whole numbers as such, which the wire has as doubles.
pub(super) fn whole(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(whole).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), whole(value))).collect())
        }
        Value::Number(number) => match number.as_f64() {
            // The least digit of these is 1, so the conversion takes nothing away; and 0 has no sign.
            #[allow(clippy::cast_possible_truncation)]
            Some(double)
                if double.fract() == 0.0 && double.abs() < EXACT_MAX && !is_negative_zero(double) =>
            {
                (double as i64).into()
            }
            _ => value.clone(),
        },
        other => other.clone(),
    }
}

fn is_negative_zero(double: f64) -> bool {
    double == 0.0 && double.is_sign_negative()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_alone_have_is_left_out_and_what_has_to_be_there_stays() {
        let flag = json!({
            "flagKey": "search", "type": "FLAG_TYPE_INTEGER", "kind": "FLAG_KIND_UNSPECIFIED", "description": "", "priority": 0,
            "variants": {"none": 0.0, "half": 0.5, "many": 5.0}, "etag": "7", "revision": 7, "warnings": ["old"],
            "tierDefaults": {"gold": "many"}, "expireTime": "2027-01-01T00:00:00Z", "schedule": [], "metadata": {},
            "tierRollouts": {"free": {"weights": [{"variant": "none", "weight": 0}], "steps": [], "seed": ""}},
            "rules": [{"id": "a", "logic": "{\"var\":\"x\"}", "conditions": []}, {"id": "b", "logic": "\"on\""}],
        });
        let expected = json!({"search": {
            "type": "integer", "variants": {"none": 0, "half": 0.5, "many": 5}, "tierDefaults": {"gold": "many"},
            "expireTime": "2027-01-01T00:00:00Z", "tierRollouts": {"free": {"weights": [{"variant": "none", "weight": 0}]}},
            "rules": [{"id": "a", "logic": {"var": "x"}}, {"id": "b", "logic": "\"on\""}],
        }});
        assert_eq!(by_key([&flag], "Flag", "flagKey"), expected);
        let segment = json!({
            "segmentName": "eu", "logic": "{}", "usedBy": ["search"],
            "conditions": [{"attribute": "a", "operator": "CONDITION_OPERATOR_AT_LEAST", "values": [3.0]}],
        });
        let expected =
            json!({"eu": {"conditions": [{"attribute": "a", "operator": "at_least", "values": [3]}]}});
        assert_eq!(by_key([&segment], "Segment", "segmentName"), expected);
        assert_eq!(whole(&json!(-0.0)).to_string(), "-0.0");
        assert_eq!(whole(&json!(1e17)), json!(1e17));
    }
}

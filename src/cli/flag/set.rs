//! Sets of flags in files, so that flags can live in Git.
//!
//! A file is what `ApplyFlags` takes, in JSON or YAML, with three reliefs: `flags` and `segments` may be maps by key, enum
//! values may be written short (`boolean`, `kill switch`), and `logic` may be written as what it is instead of as text.
//! What tiers get stands with the flag: `tierDefaults: {gold: on}`, `tierRollouts: {gold: {weights: …}}`.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::cli::Failure;

/// Fields that hold an enum's value, and what stands before each in the contract.
const ENUMS: [(&str, &str); 5] = [
    ("type", "FLAG_TYPE_"),
    ("kind", "FLAG_KIND_"),
    ("state", "FLAG_STATE_"),
    ("hashVersion", "HASH_VERSION_"),
    ("operator", "CONDITION_OPERATOR_"),
];
/// Fields whose contents are the owner's: nothing in them is read as ours.
const FREE: [&str; 5] = ["metadata", "variants", "values", "labels", "tierDefaults"];

/// Reads a file, or every file of a folder that ends in .yaml, .yml or .json, as one set.
pub(super) fn read(place: &Path) -> Result<Value, Failure> {
    let mut set = json!({ "flags": [], "segments": [], "tierDefaults": [] });
    for file in files(place)? {
        let text = std::fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
        let part = parse(&text).map_err(|why| unreadable(&file, &why))?;
        for (field, entries) in part {
            if let Some(all) = set[field.as_str()].as_array_mut() {
                all.extend(entries);
            }
        }
    }
    Ok(set)
}

fn files(place: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !place.is_dir() {
        return Ok(vec![place.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(place).map_err(|error| unreadable(place, &error))? {
        let path = entry.map_err(|error| unreadable(place, &error))?.path();
        let is_set =
            path.extension().is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|it| ending == *it));
        if is_set {
            found.push(path);
        }
    }
    if found.is_empty() {
        return Err(unreadable(place, &"there is no .yaml, .yml or .json file in it"));
    }
    found.sort_unstable();
    Ok(found)
}

fn unreadable(place: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::usage(format!("{} cannot be used: {why}", place.display()))
}

/// The flags and segments of one file.
fn parse(text: &str) -> Result<Vec<(String, Vec<Value>)>, String> {
    // JSON is almost YAML: a YAML parser refuses some of its escapes.
    let file: Value = match serde_json::from_str(text) {
        Ok(file) => file,
        Err(_) => serde_norway::from_str(text).map_err(|error| error.to_string())?,
    };
    let Value::Object(file) = file else {
        return Err("it must have `flags` or `segments`".to_owned());
    };
    let keys = [("flags", "flagKey"), ("segments", "segmentName")];
    let mut parts = Vec::new();
    let mut tiers = Vec::new();
    for (field, entries) in file {
        let known = keys.iter().find(|(name, _)| *name == field);
        let Some((_, key)) = known else {
            return Err(format!("it has `{field}`; it can have `flags` and `segments`"));
        };
        let mut entries: Vec<_> = listed(entries, key)?.into_iter().map(written_out).collect();
        for entry in &mut entries {
            tiers.extend(tiers_of(entry));
        }
        parts.push((field, entries));
    }
    parts.push(("tierDefaults".to_owned(), tiers));
    Ok(parts)
}

/// Takes what tiers get out of a flag.
fn tiers_of(flag: &mut Value) -> Vec<Value> {
    let Some(flag) = flag.as_object_mut() else { return Vec::new() };
    let mut tiers = Vec::new();
    for (inside, field) in [("tierDefaults", "variant"), ("tierRollouts", "rollout")] {
        let Some(Value::Object(by_tier)) = flag.remove(inside) else { continue };
        let key = flag.get("flagKey").cloned().unwrap_or_default();
        for (tier, given) in by_tier {
            tiers.push(json!({ "flagKey": key, "tierId": tier, field: given }));
        }
    }
    tiers
}

/// Entries as a list; of a map, each with its key inside.
fn listed(entries: Value, key: &str) -> Result<Vec<Value>, String> {
    match entries {
        Value::Null => Ok(Vec::new()),
        Value::Array(entries) => Ok(entries),
        Value::Object(map) => map
            .into_iter()
            .map(|(name, entry)| match entry {
                Value::Object(mut entry) => {
                    entry.insert(key.to_owned(), name.into());
                    Ok(Value::Object(entry))
                }
                _ => Err(format!("`{name}` must be a map")),
            })
            .collect(),
        _ => Err("`flags` and `segments` must be lists or maps".to_owned()),
    }
}

/// Everything as the contract has it.
fn written_out(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(written_out).collect(),
        Value::Object(map) => {
            let entries = map.into_iter().map(|(field, value)| {
                let value = written_out_field(&field, value);
                (field, value)
            });
            Value::Object(entries.collect::<Map<_, _>>())
        }
        other => other,
    }
}

fn written_out_field(field: &str, value: Value) -> Value {
    if FREE.contains(&field) {
        return value;
    }
    let prefix = ENUMS.iter().find(|(name, _)| *name == field).map(|(_, prefix)| prefix);
    match (prefix, value) {
        (Some(prefix), Value::String(word)) => {
            let word = word.to_uppercase().replace([' ', '-'], "_");
            if word.starts_with(prefix) { word.into() } else { format!("{prefix}{word}").into() }
        }
        (_, Value::String(text)) => text.into(),
        (_, logic) if field == "logic" => logic.to_string().into(),
        (_, other) => written_out(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_be_written_short() {
        let text = "
flags:
  search:
    type: boolean
    kind: kill-switch
    labels: {type: free}
    tierDefaults: {gold: 'on'}
    rules:
      - conditions: [{attribute: region, operator: in, values: [eu]}]
        variant: 'on'
      - logic: {if: [{in: [a, [a, b]]}, 'on', null]}
segments: []
";
        let parts = parse(text).unwrap();
        let flag = &parts.iter().find(|(field, _)| field == "flags").unwrap().1[0];
        assert_eq!(flag["flagKey"], "search");
        assert_eq!(flag["type"], "FLAG_TYPE_BOOLEAN");
        assert_eq!(flag["kind"], "FLAG_KIND_KILL_SWITCH");
        assert_eq!(flag["labels"]["type"], "free", "what is the owner's stays");
        let tiers = &parts.iter().find(|(field, _)| field == "tierDefaults").unwrap().1;
        assert_eq!(tiers[0], json!({"flagKey": "search", "tierId": "gold", "variant": "on"}));
        assert_eq!(flag["rules"][0]["conditions"][0]["operator"], "CONDITION_OPERATOR_IN");
        assert_eq!(flag["rules"][1]["logic"], r#"{"if":[{"in":["a",["a","b"]]},"on",null]}"#);
    }

    #[test]
    fn a_file_written_out_stays_as_it_is() {
        let text = r#"{"flags": [{"flagKey": "a", "type": "FLAG_TYPE_STRING", "rules": [{"logic": "{}"}]}]}"#;
        let parts = parse(text).unwrap();
        assert_eq!(parts[0].1[0]["type"], "FLAG_TYPE_STRING");
        assert_eq!(parts[0].1[0]["rules"][0]["logic"], "{}");
    }

    #[test]
    fn what_is_no_set_is_refused_with_what_it_could_be() {
        assert!(parse("[]").unwrap_err().contains("flags"));
        assert!(parse("tiers: {}").unwrap_err().contains("tiers"));
        assert!(parse("flags: {search: on}").unwrap_err().contains("search"));
        assert!(parse("flags: [").is_err());
    }
}

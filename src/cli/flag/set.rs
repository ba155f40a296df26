//! Sets of flags in files, so that flags can live in Git.
//!
//! A file is what `ApplyFlags` takes, in JSON or YAML, with three reliefs: `flags` and `segments` may be maps by key, enum
//! values may be written short (`boolean`, `kill switch`), and `logic` may be written as what it is instead of as text.
//! What tiers get stands with the flag: `tierDefaults: {gold: on}`, `tierRollouts: {gold: {weights: …}}`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use prost_reflect::EnumDescriptor;
use serde_json::{Map, Value, json};

use super::{repeated, yaml};
use crate::cli::escape::harmless;
use crate::cli::{Failure, contract};

/// Fields that hold an enum's value, which enum, and what stands before each value in the contract.
const ENUMS: [(&str, &str, &str); 5] = [
    ("type", "FlagType", "FLAG_TYPE_"),
    ("kind", "FlagKind", "FLAG_KIND_"),
    ("state", "FlagState", "FLAG_STATE_"),
    ("hashVersion", "HashVersion", "HASH_VERSION_"),
    ("operator", "ConditionOperator", "CONDITION_OPERATOR_"),
];
/// Fields whose contents are the owner's: nothing in them is read as ours.
const FREE: [&str; 5] = ["metadata", "variants", "values", "labels", "tierDefaults"];

/// What stands for the standard input.
const STDIN: &str = "-";

/// One set out of one or several files: the entries of each field, each with the file it is from.
#[derive(Debug, Default)]
pub(super) struct Set(BTreeMap<String, Vec<(Value, PathBuf)>>);

impl Set {
    /// What `ApplyFlags` takes.
    pub(super) fn request(&self) -> Value {
        let values =
            |entries: &Vec<(Value, PathBuf)>| entries.iter().map(|(entry, _)| entry.clone()).collect();
        Value::Object(self.0.iter().map(|(field, entries)| (field.clone(), values(entries))).collect())
    }

    /// A failure with the places of entries, which the server counts, as people know them: by key and file.
    pub(super) fn named(&self, failure: Failure) -> Failure {
        let mut message = failure.message().to_owned();
        let mut files = BTreeSet::new();
        for (field, told, key) in [
            ("flags", "flags", "flagKey"),
            ("segments", "segments", "segmentName"),
            ("tierDefaults", "tier_defaults", "flagKey"),
        ] {
            for (place, (entry, file)) in self.0.get(field).into_iter().flatten().enumerate() {
                let counted = format!("{told}[{place}]");
                if message.contains(&counted) {
                    let key = harmless(entry[key].as_str().unwrap_or_default());
                    message = message.replace(&counted, &format!("{told}.{key}"));
                    files.insert(harmless(&file.display().to_string()));
                }
            }
        }
        if files.is_empty() {
            return failure;
        }
        let files = files.into_iter().collect::<Vec<_>>().join(", ");
        failure.reworded(format!("{files}: {message}"))
    }
}

/// Reads files, of a folder every one that ends in .yaml, .yml or .json, as one set.
pub(super) fn read(places: &[PathBuf]) -> Result<Set, Failure> {
    let mut set = Set::default();
    for place in places {
        for file in files(place)? {
            let text = if file == Path::new(STDIN) {
                std::io::read_to_string(std::io::stdin())
            } else {
                std::fs::read_to_string(&file)
            };
            let text = text.map_err(|error| unreadable(&file, &error))?;
            for (field, entries) in parse(&text).map_err(|why| unreadable(&file, &why))? {
                let entries = entries.into_iter().map(|entry| (entry, file.clone()));
                set.0.entry(field).or_default().extend(entries);
            }
        }
    }
    Ok(set)
}

fn files(place: &Path) -> Result<Vec<PathBuf>, Failure> {
    if place == Path::new(STDIN) || !place.is_dir() {
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

pub(super) fn unreadable(place: &Path, why: &dyn std::fmt::Display) -> Failure {
    let why = why.to_string();
    // What the system says ends with a number of its own.
    let why = why.split(" (os error").next().unwrap_or_default();
    Failure::usage(format!("{} cannot be used: {why}", place.display()))
}

/// The flags and segments of one file.
fn parse(text: &str) -> Result<Vec<(String, Vec<Value>)>, String> {
    // JSON is almost YAML: a YAML parser refuses some of its escapes.
    let file = match repeated::json(text) {
        Ok(file) => file,
        Err(_) => yaml::read(text)?,
    };
    if file.is_more {
        return Err("it has several documents; each must be a file of its own".to_owned());
    }
    if let Some(place) = file.repeated.first() {
        return Err(format!("the key {place} is there twice"));
    }
    let Value::Object(file) = file.value else {
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
        let mut written = Vec::new();
        for entry in listed(entries, key)? {
            let name = harmless(entry[key].as_str().unwrap_or_default());
            let mut entry = written_out(entry).map_err(|why| format!("{field}: \"{name}\": {why}"))?;
            tiers.extend(tiers_of(&mut entry));
            written.push(entry);
        }
        parts.push((field, written));
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
pub(super) fn written_out(value: Value) -> Result<Value, String> {
    match value {
        Value::Array(items) => items.into_iter().map(written_out).collect(),
        Value::Object(map) => {
            let entries = map.into_iter().map(|(field, value)| {
                let value = written_out_field(&field, value)?;
                Ok((field, value))
            });
            Ok(Value::Object(entries.collect::<Result<Map<_, _>, String>>()?))
        }
        other => Ok(other),
    }
}

fn written_out_field(field: &str, value: Value) -> Result<Value, String> {
    if FREE.contains(&field) {
        return Ok(value);
    }
    let of_enum = ENUMS.iter().find(|(name, ..)| *name == field);
    match (of_enum, value) {
        (Some((_, name, prefix)), Value::String(word)) => {
            let upper = word.to_uppercase().replace([' ', '-'], "_");
            let full = if upper.starts_with(prefix) { upper } else { format!("{prefix}{upper}") };
            let known = enum_values(name);
            if known.contains(&full) {
                return Ok(full.into());
            }
            let short = known.iter().filter_map(|known| known.strip_prefix(prefix));
            let short: Vec<_> = short.filter(|name| *name != "UNSPECIFIED").map(str::to_lowercase).collect();
            Err(format!("{field} cannot be \"{}\"; it can be {}", harmless(&word), short.join(", ")))
        }
        (_, Value::String(text)) => Ok(text.into()),
        (_, logic) if field == "logic" => Ok(logic.to_string().into()),
        (_, other) => written_out(other),
    }
}

/// The values of an enum of the contract, in its order.
fn enum_values(name: &str) -> &'static [String] {
    static VALUES: LazyLock<HashMap<&str, Vec<String>>> = LazyLock::new(|| {
        let values = ENUMS.map(|(_, name, _)| {
            let known = contract::pool().get_enum_by_name(&format!("tenantry.v1.{name}"));
            (name, known.iter().flat_map(EnumDescriptor::values).map(|it| it.name().to_owned()).collect())
        });
        HashMap::from(values)
    });
    VALUES.get(name).map_or(&[], Vec::as_slice)
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

    #[test]
    fn a_value_that_no_enum_has_is_refused_with_its_flag_and_what_it_could_be() {
        let why = parse("flags: {search: {kind: killswitch}}").unwrap_err();
        let kinds = "release, experiment, operational, kill_switch, permission";
        assert_eq!(why, format!("flags: \"search\": kind cannot be \"killswitch\"; it can be {kinds}"));
        let why = parse(r#"{"flags": [{"flagKey": "a", "rules": [{"conditions": [{"operator": "is"}]}]}]}"#);
        assert!(
            why.unwrap_err().starts_with("flags: \"a\": operator cannot be \"is\"; it can be in, not_in, ")
        );
        for (_, name, prefix) in ENUMS {
            let known = enum_values(name);
            assert!(
                known.len() > 1 && known.iter().all(|value| value.starts_with(prefix)),
                "{name}: {known:?}"
            );
        }
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused_by_name() {
        let yaml = "flags:\n  a: {type: boolean}\n  b: {}\n  a: {type: string}\n";
        assert_eq!(parse(yaml).unwrap_err(), "the key flags.a is there twice");
        let json = r#"{"flags": {"a": {"variants": {"on": true, "on": false}}}}"#;
        assert_eq!(parse(json).unwrap_err(), "the key flags.a.variants.on is there twice");
    }
}

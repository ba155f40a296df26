//! Sets of flags in files, so that flags can live in Git.
//!
//! A file is what `ApplyFlags` takes, in JSON or YAML, with three reliefs: `flags` and `segments` may be maps by key, enum
//! values may be written short (`boolean`, `kill switch`), and `logic` may be written as what it is instead of as text.
//! What tiers get stands with the flag: `tierDefaults: {gold: on}`, `tierRollouts: {gold: {weights: …}}`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use prost_reflect::{DynamicMessage, EnumDescriptor};
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

/// Largest file, in bytes: as much as a request may have. Read as a whole it takes fifty times that.
const BYTES_MAX: u64 = 16 << 20;
/// How many folders may be within each other. A link to one above has no end.
const FOLDERS_MAX: usize = 32;
/// What a tier gets of a flag, in the contract.
const OF_TIER: &str = "ApplyFlagsRequest.TierSetting";
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

/// Reads files, of a folder and those in it every one that ends in .yaml, .yml or .json, as one set.
pub(super) fn read(places: &[PathBuf]) -> Result<Set, Failure> {
    let mut set = Set::default();
    for place in places {
        for file in files(place)? {
            let text = contents(&file)?;
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
    find(place, FOLDERS_MAX, &mut found)?;
    if found.is_empty() {
        return Err(unreadable(place, &"there is no .yaml, .yml or .json file in it"));
    }
    found.sort_unstable();
    Ok(found)
}

/// The files of a folder and of those in it. Names that begin with a dot are not of the set: editors and version control
/// put their own things there.
fn find(folder: &Path, left: usize, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let Some(left) = left.checked_sub(1) else {
        return Err(unreadable(folder, &format!("it is below more than {FOLDERS_MAX} folders")));
    };
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if path.is_dir() {
            find(&path, left, found)?;
        } else if path
            .extension()
            .is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|it| ending == *it))
        {
            found.push(path);
        }
    }
    Ok(())
}

/// The text of a file, or of the standard input. What no request could carry is not read.
pub(super) fn contents(file: &Path) -> Result<String, Failure> {
    let read = |input: &mut dyn io::Read| {
        let mut text = String::new();
        input.take(BYTES_MAX + 1).read_to_string(&mut text).map(|_| text)
    };
    let text = if file == Path::new(STDIN) {
        read(&mut io::stdin().lock())
    } else {
        std::fs::File::open(file).and_then(|mut file| read(&mut file))
    };
    // A character may be cut in two where it ends.
    let is_large = |text: &String| text.len() as u64 > BYTES_MAX;
    let size = || std::fs::metadata(file).map_or(0, |about| about.len());
    if text.as_ref().is_ok_and(is_large) || (file != Path::new(STDIN) && size() > BYTES_MAX) {
        return Err(unreadable(file, &format!("it has more than {} MiB", BYTES_MAX >> 20)));
    }
    text.map_err(|error| unreadable(file, &error))
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
    let keys = [("flags", "flagKey", "Flag"), ("segments", "segmentName", "Segment")];
    let mut parts = Vec::new();
    let mut tiers = Vec::new();
    for (field, entries) in file {
        let known = keys.iter().find(|(name, ..)| *name == field);
        let Some((_, key, kind)) = known else {
            return Err(format!("it has `{field}`; it can have `flags` and `segments`"));
        };
        let mut written = Vec::new();
        for entry in listed(entries, key)? {
            let name = harmless(entry[key].as_str().unwrap_or_default());
            let mut entry = written_out(entry).map_err(|why| format!("{field}: \"{name}\": {why}"))?;
            let of_flag = tiers_of(&mut entry);
            let checked = check(kind, &entry);
            let checked = checked.and_then(|()| of_flag.iter().try_for_each(|tier| check(OF_TIER, tier)));
            checked.map_err(|why| format!("{field}: \"{name}\": {why}"))?;
            tiers.extend(of_flag);
            written.push(entry);
        }
        parts.push((field, written));
    }
    parts.push(("tierDefaults".to_owned(), tiers));
    Ok(parts)
}

/// Refuses what the message of the contract does not have: there the entry's name is known, and in a request it is not.
fn check(message: &str, entry: &Value) -> Result<(), String> {
    let Some(message) = contract::pool().get_message_by_name(&format!("tenantry.v1.{message}")) else {
        return Ok(());
    };
    DynamicMessage::deserialize(message, entry).map(drop).map_err(|error| harmless(&error.to_string()))
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
    fn a_member_that_there_is_not_is_refused_with_its_flag() {
        let why = parse("flags: {fine: {}, search: {type: boolean, tierDefault: {gold: on}}}").unwrap_err();
        assert!(why.starts_with("flags: \"search\": ") && why.contains("tierDefault"), "{why}");
        let why = parse("flags: {search: {tierRollouts: {gold: {weight: []}}}}").unwrap_err();
        assert!(why.starts_with("flags: \"search\": ") && why.contains("weight"), "{why}");
        let why = parse("segments: {europe: {condition: []}}").unwrap_err();
        assert!(why.starts_with("segments: \"europe\": ") && why.contains("condition"), "{why}");
    }

    #[test]
    fn a_folder_is_read_with_those_in_it_and_without_what_is_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        for inside in ["deep/er", ".git"] {
            std::fs::create_dir_all(place(inside)).unwrap();
        }
        for name in
            ["b.yaml", "deep/a.yml", "deep/er/c.json", ".#b.yaml", "deep/.hidden.yaml", ".git/d.yaml", "e.md"]
        {
            std::fs::write(place(name), "flags: {}").unwrap();
        }
        assert_eq!(files(folder.path()).unwrap(), ["b.yaml", "deep/a.yml", "deep/er/c.json"].map(place));
    }

    #[test]
    fn a_file_that_no_request_could_carry_is_refused_with_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let large = folder.path().join("large.json");
        std::fs::File::create(&large).unwrap().set_len(BYTES_MAX + 1).unwrap();
        let why = contents(&large).unwrap_err();
        assert!(
            why.message().ends_with("large.json cannot be used: it has more than 16 MiB"),
            "{}",
            why.message()
        );
        std::fs::File::create(&large).unwrap().set_len(BYTES_MAX).unwrap();
        assert!(contents(&large).is_ok());
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused_by_name() {
        let yaml = "flags:\n  a: {type: boolean}\n  b: {}\n  a: {type: string}\n";
        assert_eq!(parse(yaml).unwrap_err(), "the key flags.a is there twice");
        let json = r#"{"flags": {"a": {"variants": {"on": true, "on": false}}}}"#;
        assert_eq!(parse(json).unwrap_err(), "the key flags.a.variants.on is there twice");
    }
}

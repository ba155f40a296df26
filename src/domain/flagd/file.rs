//! A file, and what it says of its flags.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::json_text::{compact, object, quoted};
use crate::domain::json_fault;
use crate::domain::selector::can_name;
use crate::domain::text::quote;

/// The member that names the flag set.
const FLAG_SET_ID: &str = "flagSetId";

/// A flag file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct File {
    /// The flags by key.
    pub flags: BTreeMap<String, Entry>,
    /// Everything else.
    pub head: Head,
}

/// What a file says beside its flags. Values are JSON text without white space.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The segments, `$evaluators`, by name.
    pub evaluators: BTreeMap<String, String>,
    /// Every other member but `flags`: `metadata`, those that flagd does not look at, and either of the two where it is
    /// null or empty.
    pub members: BTreeMap<String, String>,
    /// The entries in order, where the flags are a list.
    pub list: Option<Vec<Slot>>,
    /// A flag without a name, in an object: flagd reads past it.
    pub unnamed: Option<String>,
}

/// An entry of a list of flags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slot {
    /// The flag of this key.
    Flag(String),
    /// What flagd reads past: one without a key, and all but the last with the same.
    Unseen(String),
}

/// A flag of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// As it stands in the file, without white space.
    pub text: String,
    /// What it says; where it cannot be read, the end of a sentence that starts with the flag's key.
    pub flag: Result<Flag, String>,
}

/// What a flag's definition says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Flag {
    /// Whether `state` says `DISABLED`; flagd takes every other state for enabled.
    pub is_disabled: bool,
    /// Values by name. They need not have one type.
    pub variants: Map<String, Value>,
    /// What all get that no rule decides for; none where the file says null, an empty name or nothing.
    pub default_variant: Option<String>,
    /// The rule; none where the file says nothing or an empty object.
    pub targeting: Option<Value>,
    /// What is said of the flag.
    pub metadata: Map<String, Value>,
}

/// Why a file was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} {why}")]
pub struct FileError {
    /// Which member; `file` for the whole.
    pub path: String,
    /// The end of a sentence that starts with the path.
    pub why: String,
}

fn fail<T>(path: impl Into<String>, why: impl Into<String>) -> Result<T, FileError> {
    Err(FileError { path: path.into(), why: why.into() })
}

type Members = BTreeMap<String, Box<RawValue>>;

/// The members of an object; none of null.
fn members(path: &str, raw: &RawValue) -> Result<Members, FileError> {
    let found = serde_json::from_str::<Option<Members>>(raw.get());
    found.map(Option::unwrap_or_default).or_else(|_| fail(path, "must be an object"))
}

impl File {
    /// Reads the JSON text of a file. Refused are what is no JSON object, a file without `flags`, and members of the
    /// file that have the wrong type; a flag that is wrong is an [`Entry`] that says why.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let mut left: Members = match serde_json::from_str(text) {
            Ok(left) => left,
            Err(error) if error.is_data() => return fail("file", "must be a JSON object"),
            Err(error) => {
                return fail("file", format!("must be JSON; {}", json_fault::cause(&error)));
            }
        };
        let mut file = Self::default();
        match left.get("flags") {
            None => return fail("flags", "must be there"),
            Some(flags) if flags.get().starts_with('[') => file.take_list(flags)?,
            Some(flags) => {
                let found = members("flags", flags).or_else(|_| fail("flags", "must be an object or a list"));
                file.take_map(found?)?;
            }
        }
        if left.get("flags").is_some_and(|flags| flags.get() != "null") {
            left.remove("flags");
        }
        if let Some(evaluators) = left.get("$evaluators") {
            let found = members("$evaluators", evaluators)?;
            if !found.is_empty() {
                left.remove("$evaluators");
            }
            for (name, source) in found {
                value(&format!("$evaluators[{}]", quote(&name)), &source)?;
                file.head.evaluators.insert(name, compact(source.get()));
            }
        }
        if let Some(metadata) = left.get("metadata") {
            members("metadata", metadata)?;
            value("metadata", metadata)?;
        }
        file.head.members = left.into_iter().map(|(name, raw)| (name, compact(raw.get()))).collect();
        file.check_sets()?;
        Ok(file)
    }

    fn take_map(&mut self, flags: Members) -> Result<(), FileError> {
        for (key, raw) in flags {
            if key.is_empty() {
                self.head.unnamed = Some(compact(raw.get()));
            } else {
                let entry = Entry::of(&format!("flags[{}]", quote(&key)), &raw)?;
                self.flags.insert(key, entry);
            }
        }
        Ok(())
    }

    /// The flags of a list, each of which says its key. flagd takes the last of those with the same one.
    fn take_list(&mut self, list: &RawValue) -> Result<(), FileError> {
        let Ok(list) = serde_json::from_str::<Vec<Box<RawValue>>>(list.get()) else {
            return fail("flags", "must be an object or a list");
        };
        let mut slots = Vec::new();
        for (place, raw) in list.iter().enumerate() {
            let path = format!("flags[{place}]");
            let key = match value(&path, raw)? {
                Value::Null => None,
                Value::Object(map) => match map.get("key") {
                    None | Some(Value::Null) => None,
                    Some(Value::String(key)) => Some(key.clone()).filter(|key| !key.is_empty()),
                    Some(_) => return fail(format!("{path}.key"), "must be a string"),
                },
                _ => return fail(path, "must be an object"),
            };
            let Some(key) = key else {
                slots.push(Slot::Unseen(compact(raw.get())));
                continue;
            };
            let entry = Entry::of(&path, raw)?;
            if let Some(before) = self.flags.insert(key.clone(), entry) {
                if before.own_set() != self.flags[&key].own_set() {
                    let why = format!("has the key {} in two flag sets; here a key is one flag", quote(&key));
                    return fail(path, why);
                }
                let is_it = |slot: &&mut Slot| matches!(slot, Slot::Flag(named) if *named == key);
                if let Some(earlier) = slots.iter_mut().rfind(is_it) {
                    *earlier = Slot::Unseen(before.text);
                }
            }
            slots.push(Slot::Flag(key));
        }
        self.head.list = Some(slots);
        Ok(())
    }

    /// Sets are named by text: what flagd would take for none is none.
    fn check_sets(&self) -> Result<(), FileError> {
        can_name(&self.head.flag_set()).or_else(|why| fail("metadata.flagSetId", why))?;
        self.flags.iter().try_for_each(|(key, entry)| {
            let named = can_name(&entry.own_set().unwrap_or_default());
            named.or_else(|why| fail(format!("flags[{}].metadata.flagSetId", quote(key)), why))
        })
    }
}

/// A value, where it can be read: not nested without end, no number that no computer holds.
fn value(path: &str, raw: &RawValue) -> Result<Value, FileError> {
    let why = "cannot be read: it is nested too deep, or has a number that is too large";
    serde_json::from_str(raw.get()).or_else(|_| fail(path, why))
}

impl Head {
    /// The flag set that the file's flags are in where they name none themselves; empty for the default one.
    pub fn flag_set(&self) -> String {
        match self.metadata().get(FLAG_SET_ID) {
            Some(Value::String(set)) => set.clone(),
            _ => String::new(),
        }
    }

    /// What is said of all flags.
    pub fn metadata(&self) -> Map<String, Value> {
        let text = self.members.get("metadata");
        let read = text.and_then(|text| serde_json::from_str::<Option<_>>(text).ok()).flatten();
        read.unwrap_or_default()
    }

    /// The segments.
    pub fn segments(&self) -> impl Iterator<Item = (String, Value)> {
        // It was read once when it came in.
        self.evaluators
            .iter()
            .filter_map(|(name, source)| Some((name.clone(), serde_json::from_str(source).ok()?)))
    }

    /// The file's JSON with these flags. What was read gives an equal file again.
    pub fn write(&self, flags: &BTreeMap<&str, String>) -> String {
        let mut parts: BTreeMap<&str, String> =
            self.members.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
        if !self.evaluators.is_empty() {
            let evaluators = self.evaluators.iter().map(|(name, text)| (name.as_str(), text.as_str()));
            parts.insert("$evaluators", object(evaluators));
        }
        let written = match &self.list {
            None => {
                let unnamed = self.unnamed.iter().map(|text| ("", text.as_str()));
                object(unnamed.chain(flags.iter().map(|(key, text)| (*key, text.as_str()))))
            }
            Some(slots) => list(slots, flags),
        };
        // A file whose flags are null has none.
        if !(flags.is_empty() && parts.contains_key("flags")) {
            parts.insert("flags", written);
        }
        object(parts.iter().map(|(name, text)| (*name, text.as_str())))
    }

    /// The head after another file of the same name was taken without removing what it does not name.
    #[must_use]
    pub fn with(&self, newer: &Self) -> Self {
        let mut both = newer.clone();
        for (name, source) in &self.evaluators {
            both.evaluators.entry(name.clone()).or_insert_with(|| source.clone());
        }
        if !both.evaluators.is_empty() {
            both.members.remove("$evaluators");
        }
        both
    }
}

/// The flags as a list: those in order that were in it, then the others by key.
fn list(slots: &[Slot], flags: &BTreeMap<&str, String>) -> String {
    let mut left = flags.clone();
    let mut entries = Vec::new();
    for slot in slots {
        match slot {
            Slot::Unseen(text) => entries.push(text.clone()),
            Slot::Flag(key) => {
                entries.extend(left.remove(key.as_str()).map(|text| with_key(key, &text)));
            }
        }
    }
    entries.extend(left.iter().map(|(key, text)| with_key(key, text)));
    format!("[{}]", entries.join(","))
}

/// A flag's definition with its key in it.
fn with_key(key: &str, text: &str) -> String {
    let Ok(Some(Value::Object(map))) = serde_json::from_str(text) else {
        return format!("{{\"key\":{}}}", quoted(key));
    };
    if map.get("key").is_some_and(|named| named == key) {
        return text.to_owned();
    }
    let mut members: Members = serde_json::from_str(text).unwrap_or_default();
    members.remove("key");
    let key = quoted(key);
    object(
        std::iter::once(("key", key.as_str()))
            .chain(members.iter().map(|(name, raw)| (name.as_str(), raw.get()))),
    )
}

impl Entry {
    fn of(path: &str, raw: &RawValue) -> Result<Self, FileError> {
        let source = value(path, raw)?;
        Ok(Self { text: compact(raw.get()), flag: Flag::of(&source) })
    }

    /// Reads a definition that was read before.
    pub fn again(text: &str) -> Self {
        let source = serde_json::from_str(text).unwrap_or_default();
        Self { text: text.to_owned(), flag: Flag::of(&source) }
    }

    /// The flag set that the flag names itself.
    pub fn own_set(&self) -> Option<String> {
        match self.flag.as_ref().ok()?.metadata.get(FLAG_SET_ID) {
            Some(Value::String(set)) => Some(set.clone()),
            _ => None,
        }
    }

    /// Members that say nothing to flagd.
    pub fn others(&self) -> Map<String, Value> {
        let known = ["state", "variants", "defaultvariant", "targeting", "metadata", "key"];
        let source: Value = serde_json::from_str(&self.text).unwrap_or_default();
        let Value::Object(map) = source else { return Map::new() };
        map.into_iter().filter(|(name, _)| !known.contains(&name.to_lowercase().as_str())).collect()
    }
}

/// A member, in any case: flagd does not distinguish, and prefers its own spelling.
fn member<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let any_case = || map.iter().rfind(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    map.get(name).or_else(any_case)
}

impl Flag {
    /// flagd takes null, of the flag and of every member, for nothing said.
    fn of(source: &Value) -> Result<Self, String> {
        let nothing = Map::new();
        let map = match source {
            Value::Null => &nothing,
            Value::Object(map) => map,
            _ => return Err("must be an object".to_owned()),
        };
        let object = |name: &str| match member(map, name) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(inner)) => Ok(inner.clone()),
            Some(_) => Err(format!("has {name}, which must be an object")),
        };
        let text = |name: &str| match member(map, name) {
            None | Some(Value::Null) => Ok(""),
            Some(Value::String(text)) => Ok(text.as_str()),
            Some(_) => Err(format!("has a {name} that is no text")),
        };
        let (variants, metadata) = (object("variants")?, object("metadata")?);
        let is_disabled = text("state")? == "DISABLED";
        let default_variant = match text("defaultVariant")? {
            "" => None,
            name if variants.contains_key(name) => Some(name.to_owned()),
            name => {
                return Err(format!(
                    "has the default variant {}, which is none of its variants",
                    quote(name)
                ));
            }
        };
        let is_rule = |rule: &&Value| !rule.as_object().is_some_and(Map::is_empty);
        let targeting = member(map, "targeting").filter(is_rule).cloned();
        Ok(Self { is_disabled, variants, default_variant, targeting, metadata })
    }
}

//! flagd's flag files: read any that flagd takes, and write the same again.
//!
//! Nothing is judged here but the shape. A flag whose shape is wrong is kept as it is and said to be broken, so that it
//! alone answers with an error; its rule is compiled by whoever evaluates it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::text::quote;

/// A flag file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct File {
    /// The flags by key.
    pub flags: BTreeMap<String, Entry>,
    /// The segments, `$evaluators`, by name.
    pub evaluators: Map<String, Value>,
    /// What is said of all flags, for example `flagSetId` and `version`.
    pub metadata: Map<String, Value>,
    /// Members that flagd does not look at, for example `$schema`.
    pub rest: Map<String, Value>,
}

/// A flag of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// One that can be read.
    Flag(Flag),
    /// One that cannot: flagd's answer is the error `PARSE_ERROR`.
    Broken {
        /// As it stands in the file.
        source: Value,
        /// The end of a sentence that starts with the flag's key, for example `has no variants`.
        why: String,
    },
}

/// A flag that can be read.
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
    /// Every other member, and those above that say nothing or say it in other words: `state` where it is none of
    /// flagd's two, and whatever is null or empty.
    pub rest: Map<String, Value>,
}

/// Why a file was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} {why}")]
pub struct FileError {
    /// Which member; `file` for the whole.
    pub path: &'static str,
    /// The end of a sentence that starts with the path.
    pub why: String,
}

fn fail<T>(path: &'static str, why: impl Into<String>) -> Result<T, FileError> {
    Err(FileError { path, why: why.into() })
}

impl File {
    /// Reads the JSON text of a file. Refused are what is no JSON object, a file without `flags`, and members of the
    /// file that have the wrong type; a flag that is wrong is an [`Entry::Broken`].
    pub fn parse(text: &str) -> Result<Self, FileError> {
        match serde_json::from_str(text) {
            Ok(value) => Self::from_json(value),
            Err(error) => fail("file", format!("must be JSON; {error}")),
        }
    }

    /// The same of a value, for files in YAML.
    pub fn from_json(file: Value) -> Result<Self, FileError> {
        let Value::Object(mut file) = file else { return fail("file", "must be a JSON object") };
        let flags = match file.remove("flags") {
            Some(Value::Object(flags)) => {
                flags.into_iter().map(|(key, flag)| (key, Entry::of(flag))).collect()
            }
            Some(Value::Array(flags)) => listed(flags)?,
            Some(_) => return fail("flags", "must be an object or a list"),
            None => return fail("flags", "must be there"),
        };
        let mut object = |name| take(&mut file, name).or_else(|why| fail(name, why));
        let (evaluators, metadata) = (object("$evaluators")?, object("metadata")?);
        Ok(Self { flags, evaluators, metadata, rest: file })
    }

    /// The file's JSON. What was read gives an equal file again; `flags` is always an object.
    pub fn to_json(&self) -> Value {
        let mut file = self.rest.clone();
        let flags = self.flags.iter().map(|(key, entry)| (key.clone(), entry.to_json())).collect();
        file.insert("flags".to_owned(), Value::Object(flags));
        for (name, map) in [("$evaluators", &self.evaluators), ("metadata", &self.metadata)] {
            if !map.is_empty() {
                file.insert(name.to_owned(), Value::Object(map.clone()));
            }
        }
        Value::Object(file)
    }
}

/// Takes the members of an inner object; one that is empty or null stays where it is.
fn take(map: &mut Map<String, Value>, name: &str) -> Result<Map<String, Value>, &'static str> {
    match map.get_mut(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(inner)) => {
            let inner = std::mem::take(inner);
            if !inner.is_empty() {
                map.remove(name);
            }
            Ok(inner)
        }
        Some(_) => Err("must be an object"),
    }
}

/// The flags of a list, each of which says its key. flagd takes the last of those with the same one.
fn listed(flags: Vec<Value>) -> Result<BTreeMap<String, Entry>, FileError> {
    let mut found = BTreeMap::new();
    for (index, flag) in flags.into_iter().enumerate() {
        match flag {
            Value::Object(mut map) => match map.remove("key") {
                Some(Value::String(key)) => found.insert(key, Entry::of(Value::Object(map))),
                _ => {
                    return fail("flags", format!("must say the key of each flag; that at {index} does not"));
                }
            },
            _ => return fail("flags", format!("must be a list of objects; that at {index} is none")),
        };
    }
    Ok(found)
}

impl Entry {
    fn of(source: Value) -> Self {
        match Flag::of(&source) {
            Ok(flag) => Self::Flag(flag),
            Err(why) => Self::Broken { source, why },
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Flag(flag) => flag.to_json(),
            Self::Broken { source, .. } => source.clone(),
        }
    }
}

impl Flag {
    fn of(source: &Value) -> Result<Self, String> {
        let mut rest = source.as_object().ok_or("must be an object")?.clone();
        let mut object = |name| take(&mut rest, name).map_err(|why| format!("has {name}, which {why}"));
        let (variants, metadata) = (object("variants")?, object("metadata")?);
        let is_disabled = match rest.get("state") {
            None => false,
            Some(Value::String(state)) => state == "DISABLED",
            Some(_) => return Err("has a state that is no text".to_owned()),
        };
        if matches!(rest.get("state").and_then(Value::as_str), Some("DISABLED" | "ENABLED")) {
            rest.remove("state");
        } else {
            rest.entry("state").or_insert(Value::Null);
        }
        let default_variant = match rest.get("defaultVariant") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) if name.is_empty() => None,
            Some(Value::String(name)) if !variants.contains_key(name) => {
                return Err(format!(
                    "has the default variant {}, which is none of its variants",
                    quote(name)
                ));
            }
            Some(Value::String(_)) => {
                rest.remove("defaultVariant").and_then(|name| Some(name.as_str()?.to_owned()))
            }
            Some(_) => return Err("has a default variant that is no text".to_owned()),
        };
        let targeting = match rest.get("targeting") {
            Some(Value::Object(map)) if map.is_empty() => None,
            _ => rest.remove("targeting"),
        };
        Ok(Self { is_disabled, variants, default_variant, targeting, metadata, rest })
    }

    fn to_json(&self) -> Value {
        let mut flag = self.rest.clone();
        match flag.get("state") {
            Some(Value::Null) => {
                flag.remove("state");
            }
            Some(_) => {}
            None => {
                let state = if self.is_disabled { "DISABLED" } else { "ENABLED" };
                flag.insert("state".to_owned(), state.into());
            }
        }
        if !self.variants.is_empty() {
            flag.insert("variants".to_owned(), Value::Object(self.variants.clone()));
        }
        if let Some(name) = &self.default_variant {
            flag.insert("defaultVariant".to_owned(), name.as_str().into());
        }
        if let Some(targeting) = &self.targeting {
            flag.insert("targeting".to_owned(), targeting.clone());
        }
        if !self.metadata.is_empty() {
            flag.insert("metadata".to_owned(), Value::Object(self.metadata.clone()));
        }
        Value::Object(flag)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(file: &Value) -> File {
        File::parse(&file.to_string()).unwrap()
    }

    fn sample() -> Value {
        json!({
            "$schema": "https://flagd.dev/schema/v0/flags.json",
            "metadata": {"flagSetId": "shop", "version": "7"},
            "$evaluators": {"staff": {"ends_with": [{"var": "email"}, "@us.example"]}},
            "flags": {
                "plain": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off"},
                "off": {"state": "DISABLED", "variants": {"on": true}, "defaultVariant": "on"},
                "mixed": {"state": "ENABLED", "variants": {"a": 1, "b": "x", "c": {"d": [null]}, "e": 1.5}},
                "null-default": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": null},
                "empty-default": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": ""},
                "ruled": {"state": "ENABLED", "variants": {"a": 1}, "targeting": {"if": [{"$ref": "staff"}, "a"]}},
                "no-rule": {"state": "ENABLED", "variants": {"a": 1}, "targeting": {}},
                "described": {"state": "ENABLED", "variants": {"a": 1}, "metadata": {"owner": "x"}, "future": [1]},
                "stateless": {"variants": {"a": 1}},
                "strange": {"state": "PAUSED", "variants": {"a": 1}},
                "empty": {"state": "ENABLED", "variants": {}, "metadata": {}},
                "null": {"state": "ENABLED", "variants": null, "metadata": null, "targeting": null},
            },
        })
    }

    #[test]
    fn a_file_is_written_as_it_was_read() {
        let file = sample();
        assert_eq!(read(&file).to_json(), file);
        assert_eq!(read(&read(&file).to_json()), read(&file));
    }

    #[test]
    fn flags_are_read_as_flagd_reads_them() {
        let file = read(&sample());
        let flag = |key: &str| match &file.flags[key] {
            Entry::Flag(flag) => flag.clone(),
            Entry::Broken { why, .. } => panic!("{key} {why}"),
        };
        assert!(flag("off").is_disabled && !flag("plain").is_disabled);
        assert!(!flag("stateless").is_disabled && !flag("strange").is_disabled);
        assert_eq!(flag("plain").default_variant.as_deref(), Some("off"));
        assert_eq!(
            [flag("null-default").default_variant, flag("empty-default").default_variant],
            [None, None]
        );
        assert_eq!(flag("no-rule").targeting, None);
        assert_eq!(flag("ruled").targeting, Some(json!({"if": [{"$ref": "staff"}, "a"]})));
        assert_eq!(file.metadata["flagSetId"], "shop");
    }

    #[test]
    fn a_broken_flag_spoils_no_other_and_is_written_as_it_stands() {
        let file = json!({"flags": {
            "good": {"state": "ENABLED", "variants": {"a": 1}},
            "number": 5,
            "variants": {"variants": [1]},
            "default": {"variants": {"a": 1}, "defaultVariant": "b"},
            "default-type": {"variants": {"a": 1}, "defaultVariant": 1},
            "state": {"state": true, "variants": {"a": 1}},
            "metadata": {"metadata": "x", "variants": {"a": 1}},
        }});
        let read = read(&file);
        for (key, entry) in &read.flags {
            assert_eq!(matches!(entry, Entry::Broken { .. }), key != "good", "{key}");
        }
        assert_eq!(read.to_json(), file);
    }

    #[test]
    fn a_list_of_flags_is_read_like_an_object() {
        let flag = json!({"state": "ENABLED", "variants": {"a": 1}});
        let mut named = flag.clone();
        named["key"] = json!("f");
        assert_eq!(read(&json!({"flags": [named]})), read(&json!({"flags": {"f": flag}})));
    }

    #[test]
    fn what_is_no_flag_file_is_refused_with_its_place() {
        for (text, path) in [
            ("", "file"),
            ("[]", "file"),
            ("{", "file"),
            ("{}", "flags"),
            (r#"{"flags": 1}"#, "flags"),
            (r#"{"flags": [{}]}"#, "flags"),
            (r#"{"flags": [1]}"#, "flags"),
            (r#"{"flags": {}, "metadata": 1}"#, "metadata"),
            (r#"{"flags": {}, "$evaluators": []}"#, "$evaluators"),
        ] {
            assert_eq!(File::parse(text).unwrap_err().path, path, "{text}");
        }
    }
}

//! The attributes of one evaluation.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use serde_json::{Map, Value};

use super::datum::Datum;
use super::path::{Path, TARGETING_KEY, name_hash};
use crate::domain::text::quote;

/// Largest context, in bytes of its names and texts, with 8 for every other value: what a request may carry.
pub const CONTEXT_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting inside an attribute; an attribute that is neither list nor object has depth 1.
pub const CONTEXT_DEPTH_MAX: usize = 32;
/// Most values in a context, at all depths: ten times what the largest contexts seen in the field have.
pub const CONTEXT_VALUES_MAX: usize = 10_000;

/// Up to this many names are compared one after the other, which the processor does four or more at a time; a search
/// by halves costs more until there are this many.
const SCANNED_MAX: usize = 32;

/// Why a context was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} {why}")]
pub struct ContextError {
    /// Which attribute, for example `user.roles[3]`; `context` for the whole.
    pub path: String,
    /// The end of a sentence that starts with the path, for example `is nested too deeply`.
    pub why: String,
}

/// The attributes of one evaluation, checked for depth and size.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Context {
    /// Of the attributes at the same index, in rising order.
    hashes: Vec<u64>,
    attributes: Vec<(String, Value)>,
    size: Size,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Size {
    values: usize,
    bytes: usize,
}

impl Context {
    /// Takes attributes. Refused are more than 1 MiB, more than 10,000 values and nesting deeper than 32.
    pub fn new(attributes: Map<String, Value>) -> Result<Self, ContextError> {
        let mut size = Size::default();
        for (name, value) in &attributes {
            size.bytes += name.len();
            measure(value, CONTEXT_DEPTH_MAX, &mut size).map_err(|trail| trail.named(name))?;
        }
        Self::of(attributes, size)
    }

    fn of(attributes: impl IntoIterator<Item = (String, Value)>, size: Size) -> Result<Self, ContextError> {
        let whole = |why: String| Err(ContextError { path: "context".to_owned(), why });
        if size.bytes > CONTEXT_BYTES_MAX {
            return whole(format!("has {} bytes; at most {CONTEXT_BYTES_MAX} are allowed", size.bytes));
        }
        if size.values > CONTEXT_VALUES_MAX {
            return whole(format!("has {} values; at most {CONTEXT_VALUES_MAX} are allowed", size.values));
        }
        let mut ordered: Vec<(u64, (String, Value))> =
            attributes.into_iter().map(|attribute| (name_hash(&attribute.0), attribute)).collect();
        ordered.sort_unstable_by(|(a, (a_name, _)), (b, (b_name, _))| (a, a_name).cmp(&(b, b_name)));
        let (hashes, attributes) = ordered.into_iter().unzip();
        Ok(Self { hashes, attributes, size })
    }

    /// The attribute `targetingKey`, where it is a string.
    pub fn targeting_key(&self) -> Option<&str> {
        self.top(name_hash(TARGETING_KEY), TARGETING_KEY)?.as_str()
    }

    /// The value at a path such as `user.roles.0`, read as `var` reads it; none for null.
    pub fn get(&self, path: &str) -> Option<&Value> {
        let mut parts = path.split('.').filter(|part| !part.is_empty());
        let first = parts.next()?;
        let top = self.top(name_hash(first), first)?;
        parts
            .try_fold(top, |value, part| match value {
                Value::Object(map) => map.get(part),
                Value::Array(items) => items.get(part.parse::<usize>().ok()?),
                _ => None,
            })
            .filter(|value| !value.is_null())
    }

    /// The same for a path that was taken apart before.
    pub(super) fn at(&self, path: &Path) -> Datum<'_> {
        let Some(first) = path.first() else { return Datum::Null };
        self.top(path.hash, first).map_or(Datum::Null, |top| path.inside(Datum::of(top)))
    }

    /// The attribute of this name, whose hash is given.
    pub(super) fn top(&self, hash: u64, name: &str) -> Option<&Value> {
        let first = if self.hashes.len() <= SCANNED_MAX {
            self.hashes.iter().position(|own| *own == hash)?
        } else {
            let below = |own: &(String, Value)| (name_hash(&own.0), own.0.as_str()) < (hash, name);
            let start = self.hashes.partition_point(|own| *own < hash);
            let end = self.hashes.partition_point(|own| *own <= hash);
            start + self.attributes.get(start..end)?.partition_point(below)
        };
        let mut same = self.attributes.get(first..)?.iter();
        same.by_ref().take(SCANNED_MAX).find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// This context with the attributes of `overlay` laid over it: where both have one, that of `overlay` stands.
    /// The overlay is the server's own, so what both have together is not measured again.
    #[must_use]
    pub fn with_overlay(&self, overlay: &Self) -> Self {
        let mut merged: BTreeMap<&str, &Value> = self.iter().collect();
        merged.extend(overlay.iter());
        let mut ordered: Vec<(u64, (String, Value))> = merged
            .into_iter()
            .map(|(name, value)| (name_hash(name), (name.to_owned(), value.clone())))
            .collect();
        ordered.sort_by_key(|(hash, _)| *hash);
        let (hashes, attributes) = ordered.into_iter().unzip();
        let size = Size {
            values: self.size.values + overlay.size.values,
            bytes: self.size.bytes + overlay.size.bytes,
        };
        Self { hashes, attributes, size }
    }

    /// The attributes, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.attributes.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The attributes as a JSON object.
    pub fn to_map(&self) -> Map<String, Value> {
        self.attributes.iter().cloned().collect()
    }

    /// A fingerprint of all attributes with their types, whatever their order: contexts with the same fingerprint
    /// are the same (the first half of a SHA-256; nobody can make two contexts that share one). The same across
    /// processes and releases.
    pub fn hash(&self) -> u128 {
        let mut names: Vec<&(String, Value)> = self.attributes.iter().collect();
        names.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut bytes = Vec::with_capacity(self.size.bytes + 16 * self.size.values);
        for (name, value) in names {
            fingerprint_text(name, &mut bytes);
            fingerprint(value, &mut bytes);
        }
        let digest = digest::digest(&digest::SHA256, &bytes);
        let half = digest.as_ref().first_chunk().copied().unwrap_or_default();
        u128::from_be_bytes(half)
    }
}

/// Writes a value so that no two different ones look the same: a letter for its type, then its length, then itself.
fn fingerprint(value: &Value, into: &mut Vec<u8>) {
    match value {
        Value::Null => into.push(b'n'),
        Value::Bool(bool) => into.push(if *bool { b't' } else { b'f' }),
        Value::Number(number) => {
            into.push(b'd');
            into.extend(number.as_f64().unwrap_or_default().to_bits().to_le_bytes());
        }
        Value::String(text) => fingerprint_text(text, into),
        Value::Array(items) => {
            into.push(b'a');
            into.extend(items.len().to_le_bytes());
            for item in items {
                fingerprint(item, into);
            }
        }
        Value::Object(map) => {
            into.push(b'o');
            into.extend(map.len().to_le_bytes());
            let mut names: Vec<&String> = map.keys().collect();
            names.sort_unstable();
            for name in names {
                fingerprint_text(name, into);
                fingerprint(&map[name], into);
            }
        }
    }
}

fn fingerprint_text(text: &str, into: &mut Vec<u8>) {
    into.push(b's');
    into.extend(text.len().to_le_bytes());
    into.extend(text.as_bytes());
}

/// A value that nests too deeply, with the way to it from the inside out.
struct TooDeep(Vec<String>);

impl TooDeep {
    fn inside(mut self, step: impl FnOnce() -> String) -> Self {
        self.0.push(step());
        self
    }

    /// The error, with the first steps of the way: the rest would be longer than anybody reads.
    fn named(self, attribute: &str) -> ContextError {
        let steps: String = self.0.into_iter().rev().take(4).collect();
        ContextError {
            path: format!("{}{steps}", plain(attribute)),
            why: format!("is nested too deeply; at most {CONTEXT_DEPTH_MAX} levels are allowed"),
        }
    }
}

/// The name itself where it can stand in a path, else quoted and cut.
fn plain(name: &str) -> String {
    let is_plain = name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-$".contains(&b));
    if is_plain { name.to_owned() } else { quote(name) }
}

fn measure(value: &Value, depth: usize, size: &mut Size) -> Result<(), TooDeep> {
    if depth == 0 {
        return Err(TooDeep(Vec::new()));
    }
    size.values += 1;
    size.bytes += match value {
        Value::String(text) => text.len(),
        _ => 8,
    };
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                measure(item, depth - 1, size).map_err(|deep| deep.inside(|| format!("[{index}]")))?;
            }
        }
        Value::Object(map) => {
            for (name, child) in map {
                size.bytes += name.len();
                measure(child, depth - 1, size)
                    .map_err(|deep| deep.inside(|| format!(".{}", plain(name))))?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    Ok(())
}

//! The attributes of one evaluation.

use aws_lc_rs::digest;
use serde_json::{Map, Value};

use super::datum::Datum;
use super::path::{Path, TARGETING_KEY, name_hash};
use super::word::Word;
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
    /// Of the attributes' names at the same index, in rising order.
    hashes: Vec<u64>,
    /// By hash and name.
    attributes: Vec<Attribute>,
    /// Where among them `targetingKey` is.
    targeting_key: Option<usize>,
    size: Size,
}

/// One attribute.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attribute {
    name: Word,
    pub(super) value: Value,
    /// [`name_hash`] of the value where it is a text, taken once for all the rules that compare it; else 0.
    pub(super) text_hash: u64,
}

impl Attribute {
    fn new(name: &str, value: Value) -> Self {
        let text_hash = value.as_str().map_or(0, name_hash);
        Self { name: Word::new(name), value, text_hash }
    }
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
        let mut ordered: Vec<(u64, Attribute)> = attributes
            .into_iter()
            .map(|(name, value)| (name_hash(&name), Attribute::new(&name, value)))
            .collect();
        ordered
            .sort_unstable_by(|(a, one), (b, other)| (a, one.name.as_str()).cmp(&(b, other.name.as_str())));
        let (hashes, attributes) = ordered.into_iter().unzip();
        Ok(Self::ordered(hashes, attributes, size))
    }

    fn ordered(hashes: Vec<u64>, attributes: Vec<Attribute>, size: Size) -> Self {
        let targeting_key = attributes.iter().position(|own| own.name.is(TARGETING_KEY));
        Self { hashes, attributes, targeting_key, size }
    }

    /// The attribute `targetingKey`, where it is a string.
    pub fn targeting_key(&self) -> Option<&str> {
        self.attributes.get(self.targeting_key?)?.value.as_str()
    }

    /// The value at a path such as `user.roles.0`, read as `var` reads it; none for null.
    pub fn get(&self, path: &str) -> Option<&Value> {
        self.value(&Path::parse(path))
    }

    /// The same for a path that was taken apart before.
    pub fn value(&self, path: &Path) -> Option<&Value> {
        let top = &self.named(path)?.value;
        path.rest()
            .iter()
            .try_fold(top, |value, part| match value {
                Value::Object(map) => map.get(&**part),
                Value::Array(items) => items.get(part.parse::<usize>().ok()?),
                _ => None,
            })
            .filter(|value| !value.is_null())
    }

    /// Whether there is an attribute of this name, null counted.
    pub fn has(&self, name: &str) -> bool {
        self.top(name_hash(name), name).is_some()
    }

    /// The same as rules see it.
    pub(super) fn at(&self, path: &Path) -> Datum<'_> {
        self.named(path).map_or(Datum::Null, |top| path.inside(Datum::of(&top.value)))
    }

    /// The attribute that a path begins with.
    pub(super) fn named(&self, path: &Path) -> Option<&Attribute> {
        if self.hashes.len() > SCANNED_MAX {
            return self.searched(path.hash, path.first()?);
        }
        if path.is_everything() {
            return None;
        }
        let first = self.hashes.iter().position(|own| *own == path.hash)?;
        self.attributes.get(first..)?.iter().find(|own| path.starts_with(&own.name))
    }

    /// The value of the attribute of this name, whose hash is given.
    pub(super) fn top(&self, hash: u64, name: &str) -> Option<&Value> {
        self.searched(hash, name).map(|found| &found.value)
    }

    fn searched(&self, hash: u64, name: &str) -> Option<&Attribute> {
        let start = self.hashes.partition_point(|own| *own < hash);
        let end = self.hashes.partition_point(|own| *own <= hash);
        let same = self.attributes.get(start..end)?;
        let index = same.binary_search_by(|own| own.name.as_str().cmp(name)).ok()?;
        same.get(index)
    }

    /// This context with the attributes of `overlay` laid over it: where both have one, that of `overlay` stands.
    /// The overlay is the server's own, so what both have together is not measured again.
    #[must_use]
    pub fn with_overlay(&self, overlay: &Self) -> Self {
        let count = self.hashes.len() + overlay.hashes.len();
        let (mut hashes, mut attributes) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut lower = self.hashes.iter().zip(&self.attributes).peekable();
        for (hash, own) in overlay.hashes.iter().zip(&overlay.attributes) {
            let place = (*hash, own.name.as_str());
            while let Some((hash, kept)) = lower.next_if(|(hash, kept)| (**hash, kept.name.as_str()) < place)
            {
                hashes.push(*hash);
                attributes.push(kept.clone());
            }
            lower.next_if(|(hash, hidden)| (**hash, hidden.name.as_str()) == place);
            hashes.push(*hash);
            attributes.push(own.clone());
        }
        for (hash, kept) in lower {
            hashes.push(*hash);
            attributes.push(kept.clone());
        }
        let size = Size {
            values: self.size.values + overlay.size.values,
            bytes: self.size.bytes + overlay.size.bytes,
        };
        Self::ordered(hashes, attributes, size)
    }

    /// The attributes, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.attributes.iter().map(|own| (own.name.as_str(), &own.value))
    }

    /// The attributes as a JSON object.
    pub fn to_map(&self) -> Map<String, Value> {
        self.attributes.iter().map(|own| (own.name.as_str().to_owned(), own.value.clone())).collect()
    }

    /// A fingerprint of all attributes with their types, whatever their order: contexts with the same fingerprint
    /// are the same (the first half of a SHA-256; nobody can make two contexts that share one). The same across
    /// processes and releases.
    pub fn hash(&self) -> u128 {
        let mut ordered: Vec<&Attribute> = self.attributes.iter().collect();
        ordered.sort_unstable_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
        let mut bytes = Vec::with_capacity(self.size.bytes + 16 * self.size.values);
        for own in ordered {
            fingerprint_text(own.name.as_str(), &mut bytes);
            fingerprint(&own.value, &mut bytes);
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

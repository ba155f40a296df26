//! Paths of attributes such as `user.roles.0`.

use super::datum::Datum;
use super::word::Word;

/// The attribute that flagd sets; a client's of the same name is hidden.
pub(super) const FLAGD: &str = "$flagd";
/// Who is asked for.
pub const TARGETING_KEY: &str = "targetingKey";

/// A path, taken apart once. Empty parts count for nothing, so `a..b` is `a.b`.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    /// [`name_hash`] of the first part.
    pub(super) hash: u64,
    /// Whether the first part is [`FLAGD`].
    pub(super) is_flagd: bool,
    /// Empty for the path of everything.
    first: Word,
    rest: Box<[Box<str>]>,
}

impl Path {
    /// Takes a path apart.
    pub fn parse(path: &str) -> Self {
        let mut parts = path.split('.').filter(|part| !part.is_empty());
        let first = parts.next().unwrap_or_default();
        let rest = parts.map(Box::from).collect();
        Self { hash: name_hash(first), is_flagd: first == FLAGD, first: Word::new(first), rest }
    }

    /// Whether it is nothing but the name of an attribute.
    pub(super) fn is_name(&self) -> bool {
        self.rest.is_empty() && !self.is_flagd && !self.is_everything()
    }

    /// Whether it is the path of everything.
    pub(super) fn is_everything(&self) -> bool {
        self.first.is_empty()
    }

    /// Whether its first part is this name.
    pub(super) fn starts_with(&self, name: &Word) -> bool {
        self.first == *name
    }

    /// The name of the top-level attribute; none for the path of everything.
    pub fn first(&self) -> Option<&str> {
        (!self.is_everything()).then(|| self.first.as_str())
    }

    /// What is inside `top`, the value at the path's first part; null where there is nothing.
    pub(super) fn inside<'a>(&self, top: Datum<'a>) -> Datum<'a> {
        self.rest.iter().fold(top, |value, part| step(&value, part))
    }

    /// The value at the whole path, starting at `data`.
    pub(super) fn follow<'a>(&self, data: &Datum<'a>) -> Datum<'a> {
        match self.first() {
            None => data.clone(),
            Some(first) => self.inside(step(data, first)),
        }
    }

    /// The parts after the first.
    pub(super) fn rest(&self) -> &[Box<str>] {
        &self.rest
    }
}

/// One member of an object or one item of a list; null where there is none.
fn step<'a>(value: &Datum<'a>, part: &str) -> Datum<'a> {
    match value {
        Datum::Json(serde_json::Value::Object(map)) => map.get(part).map_or(Datum::Null, Datum::of),
        Datum::Whole(context) => context.top(name_hash(part), part).map_or(Datum::Null, Datum::of),
        Datum::Json(_) | Datum::List(_) if part.bytes().all(|b| b.is_ascii_digit()) => {
            part.parse().map_or(Datum::Null, |index| value.item(index))
        }
        _ => Datum::Null,
    }
}

/// Spreads names over 64 bits. Names with the same hash are told apart by comparing them, so a client that provokes
/// collisions gains nothing.
pub(super) fn name_hash(name: &str) -> u64 {
    // The multiplier of Knuth's hashing: 2^64 divided by the golden ratio, odd.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(SPREAD);
    let mut chunks = name.as_bytes().chunks_exact(8);
    let mut hash = name.len() as u64;
    for chunk in &mut chunks {
        hash = mix(hash, chunk.try_into().map_or(0, u64::from_le_bytes));
    }
    let tail = chunks.remainder().iter().fold(0, |word, byte| (word << 8) | u64::from(*byte));
    let hash = mix(hash, tail);
    hash ^ (hash >> 32)
}

//! A constant list of texts, arranged for searching.

use std::sync::Arc;

use serde_json::Value;

use super::path::name_hash;
use super::word::Word;

/// Texts to search.
#[derive(Debug, Clone)]
pub(super) enum Texts {
    /// One, as most rules by tier have it: kept in place, so that no further step in memory is taken.
    One {
        hash: u64,
        text: Word,
    },
    Many(Table),
}

/// Texts in a table by their hashes, at most half full, so that a text that is not among them is mostly known not to be
/// after one look.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// A power of two of them. 0 where nothing is, else the upper half of a text's hash and its index, counted from 1.
    slots: Arc<[u64]>,
    texts: Arc<[Box<str>]>,
}

const INDEX: u64 = 0xffff_ffff;

impl Texts {
    /// None where one of the items is no text.
    pub(super) fn of(items: &[Value]) -> Option<Self> {
        match items {
            [Value::String(text)] => Some(Self::One { hash: name_hash(text), text: Word::new(text) }),
            _ => Table::of(items).map(Self::Many),
        }
    }

    /// Whether a text, whose hash is given, is one of them.
    pub(super) fn contains(&self, hash: u64, text: &str) -> bool {
        match self {
            Self::One { hash: own_hash, text: own } => *own_hash == hash && own.is(text),
            Self::Many(table) => table.contains(hash, text),
        }
    }
}

impl Table {
    fn of(items: &[Value]) -> Option<Self> {
        let texts: Arc<[Box<str>]> =
            items.iter().map(|item| item.as_str().map(Box::from)).collect::<Option<_>>()?;
        let mut slots = vec![0; (2 * texts.len()).next_power_of_two()];
        for (text, index) in texts.iter().zip(1_u64..) {
            let hash = name_hash(text);
            // A text that is there again has its place already: a thousand of one would else be looked past again and again.
            let is_this = |slot: u64| (slot ^ hash) & !INDEX == 0 && at(&texts, slot) == Some(&**text);
            let place = places(hash, slots.len())
                .find(|place| slots.get(*place).is_some_and(|slot| *slot == 0 || is_this(*slot)));
            if let Some(slot) = place.and_then(|place| slots.get_mut(place)).filter(|slot| **slot == 0) {
                *slot = hash & !INDEX | index & INDEX;
            }
        }
        Some(Self { slots: slots.into(), texts })
    }

    fn contains(&self, hash: u64, text: &str) -> bool {
        for place in places(hash, self.slots.len()) {
            let slot = self.slots.get(place).copied().unwrap_or_default();
            if slot == 0 {
                break;
            }
            if (slot ^ hash) & !INDEX == 0 && at(&self.texts, slot) == Some(text) {
                return true;
            }
        }
        false
    }
}

/// The text that a slot is about.
fn at(texts: &[Box<str>], slot: u64) -> Option<&str> {
    let index = usize::try_from(slot & INDEX).unwrap_or_default();
    texts.get(index.wrapping_sub(1)).map(AsRef::as_ref)
}

/// Where to look for a hash, one place after the other, each once.
fn places(hash: u64, count: usize) -> impl Iterator<Item = usize> {
    let mask = count.wrapping_sub(1);
    // Only the lower bits count.
    #[allow(clippy::cast_possible_truncation)]
    let first = hash as usize;
    (0..count).map(move |step| first.wrapping_add(step) & mask)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_with_something_else_than_texts_is_none_of_ours() {
        assert!(Texts::of(&[json!("a"), json!(1)]).is_none());
        assert!(Texts::of(&[json!(1)]).is_none());
        assert!(!Texts::of(&[]).unwrap().contains(name_hash("a"), "a"));
    }

    /// A list of 10,000 times the same took 10,000 looks for each.
    #[test]
    fn a_text_that_is_listed_again_takes_one_place() {
        let Some(Texts::Many(table)) = Texts::of(&vec![json!("a"); 10_000]) else { panic!() };
        assert_eq!(table.slots.iter().filter(|slot| **slot != 0).count(), 1);
        assert!(table.contains(name_hash("a"), "a") && !table.contains(name_hash("b"), "b"));
    }

    proptest! {
        #[test]
        fn what_is_listed_is_found_and_nothing_else(
            listed in prop::collection::vec("[a-c]{0,3}", 0..40), other in "[a-c]{0,3}", hash: u64,
        ) {
            let items: Vec<_> = listed.iter().map(|text| json!(text)).collect();
            let texts = Texts::of(&items).unwrap();
            for text in &listed {
                prop_assert!(texts.contains(name_hash(text), text));
            }
            prop_assert_eq!(texts.contains(name_hash(&other), &other), listed.contains(&other));
            // Where hashes collide the texts decide.
            prop_assert!(!texts.contains(hash, "never"));
        }
    }
}

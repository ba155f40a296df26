//! Texts that many tenants have in common, kept once.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Texts that are kept for sharing at most: a few MB. A platform has some dozen regions, owners and tiers; what is
/// different for each tenant gains nothing from being here.
const TEXTS_MAX: usize = 1 << 16;

/// Gives out one copy of equal texts.
#[derive(Debug, Default)]
pub struct Texts {
    known: HashSet<Arc<str>>,
}

impl Texts {
    /// Puts the common copy of a text in its place.
    pub fn share(&mut self, text: &mut Arc<str>) {
        if let Some(known) = self.known.get(text) {
            text.clone_from(known);
        } else if self.known.len() < TEXTS_MAX {
            self.known.insert(Arc::clone(text));
        }
    }
}

/// A small map from text to text, in the order of its keys. A tree would take ten times the memory for the few entries
/// that tenants have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextMap(Box<[(Arc<str>, Arc<str>)]>);

impl TextMap {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Arc<str>> {
        let place = self.0.binary_search_by(|(known, _)| (**known).cmp(key)).ok()?;
        Some(&self.0[place].1)
    }

    /// Keys and values, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Shares keys and values.
    pub(super) fn share(&mut self, texts: &mut Texts) {
        for (key, value) in &mut self.0 {
            texts.share(key);
            texts.share(value);
        }
    }
}

impl<K: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(K, V)> for TextMap {
    /// Of entries with one key the last stays.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut entries: Vec<_> =
            entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        entries.reverse();
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        entries.dedup_by(|(one, _), (other, _)| one == other);
        Self(entries.into())
    }
}

impl Serialize for TextMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for TextMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = std::collections::BTreeMap::<Arc<str>, Arc<str>>::deserialize(deserializer)?;
        Ok(entries.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_become_one() {
        let mut texts = Texts::default();
        let (mut one, mut other): (Arc<str>, Arc<str>) = ("eu-west-1".into(), "eu-west-1".into());
        texts.share(&mut one);
        texts.share(&mut other);
        assert!(Arc::ptr_eq(&one, &other));
        assert_eq!(&*other, "eu-west-1");
    }

    #[test]
    fn only_so_many_texts_are_kept_and_the_others_are_still_right() {
        let mut texts = Texts::default();
        for number in 0..=TEXTS_MAX {
            let mut text: Arc<str> = number.to_string().into();
            texts.share(&mut text);
            assert_eq!(*text, number.to_string());
        }
        assert_eq!(texts.known.len(), TEXTS_MAX);
    }

    #[test]
    fn a_map_is_in_the_order_of_its_keys_and_the_last_of_equal_keys_stays() {
        let map: TextMap = [("team", "blue"), ("env", "test"), ("env", "prod")].into_iter().collect();
        let entries: Vec<_> = map.iter().map(|(key, value)| (&**key, &**value)).collect();
        assert_eq!(entries, [("env", "prod"), ("team", "blue")]);
        assert_eq!(map.get("env").map(|value| &**value), Some("prod"));
        assert_eq!(map.get("nobody"), None);
        let json = serde_json::to_string(&map).unwrap();
        assert_eq!(json, r#"{"env":"prod","team":"blue"}"#);
        assert_eq!(serde_json::from_str::<TextMap>(&json).unwrap(), map);
        assert!(TextMap::default().is_empty() && !map.is_empty());
    }
}

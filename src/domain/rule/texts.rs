//! A constant list of texts, arranged for searching.

use serde_json::Value;

use super::path::name_hash;

/// Texts in the order of their hashes.
#[derive(Debug)]
pub(super) struct Texts {
    hashes: Box<[u64]>,
    texts: Box<[Box<str>]>,
}

impl Texts {
    /// None where one of the items is no text.
    pub(super) fn of(items: &[Value]) -> Option<Self> {
        let mut ordered: Vec<(u64, Box<str>)> = items
            .iter()
            .map(|item| item.as_str().map(|text| (name_hash(text), text.into())))
            .collect::<Option<_>>()?;
        ordered.sort_unstable();
        ordered.dedup();
        let (hashes, texts): (Vec<_>, Vec<_>) = ordered.into_iter().unzip();
        Some(Self { hashes: hashes.into(), texts: texts.into() })
    }

    pub(super) fn contains(&self, text: &str) -> bool {
        let hash = name_hash(text);
        let start = self.hashes.partition_point(|own| *own < hash);
        let same = self.hashes.iter().skip(start).take_while(|own| **own == hash).count();
        self.texts.get(start..start + same).is_some_and(|texts| texts.iter().any(|own| &**own == text))
    }
}

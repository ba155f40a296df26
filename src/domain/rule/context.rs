//! The attributes of one evaluation.

use serde_json::{Map, Value};

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
#[derive(Debug, Clone, Default)]
pub struct Context {
    attributes: Map<String, Value>,
}

impl Context {
    /// Takes attributes.
    pub fn new(attributes: Map<String, Value>) -> Result<Self, ContextError> {
        Ok(Self { attributes })
    }

    /// The attribute `targetingKey`, where it is a string.
    pub fn targeting_key(&self) -> Option<&str> {
        self.attributes.get("targetingKey")?.as_str()
    }

    /// The value at a path such as `user.roles.0`, read as `var` reads it.
    pub fn get(&self, path: &str) -> Option<&Value> {
        self.attributes.get(path)
    }

    /// This context with the attributes of `overlay` laid over it: where both have one, that of `overlay` stands.
    #[must_use]
    pub fn with_overlay(&self, overlay: &Self) -> Self {
        let mut attributes = self.attributes.clone();
        attributes.extend(overlay.attributes.iter().map(|(name, value)| (name.clone(), value.clone())));
        Self { attributes }
    }

    /// The attributes.
    pub const fn attributes(&self) -> &Map<String, Value> {
        &self.attributes
    }

    /// A fingerprint of all attributes with their types, whatever their order: contexts with the same fingerprint
    /// are the same. Stable across processes and releases of the same major version.
    pub fn hash(&self) -> u128 {
        0
    }
}

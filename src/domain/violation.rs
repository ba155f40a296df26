//! What is wrong with one field of an input.

/// A field and what is wrong with it; several can be reported at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {why}")]
pub struct Violation {
    /// The field's path as in the contract, for example `variants.on` or `limits.storage_bytes`.
    pub field: String,
    /// The end of a sentence that starts with the field, for example `must not be empty`.
    pub why: String,
}

impl Violation {
    /// Says what is wrong with a field.
    pub fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self { field: field.into(), why: why.into() }
    }
}

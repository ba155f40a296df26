//! How feature flags are evaluated.

use std::collections::BTreeMap;

use super::{
    Error,
    setting::{Kind, Setting, setting},
    values::Values,
};

/// What every evaluation sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// Attribute names to values, laid over what callers say and over the tenant's own.
    pub context: BTreeMap<String, String>,
}

pub(super) const SETTINGS: &[Setting] = &[setting(
    "flags.context",
    "flags-context",
    Some(""),
    Kind::Map,
    "Attributes that every evaluation of a flag sees, whatever a caller says: NAME=VALUE, for example the region.",
)];

impl Evaluation {
    pub(super) fn read(values: &Values) -> Result<Self, Error> {
        Ok(Self { context: values.map("flags.context")? })
    }
}

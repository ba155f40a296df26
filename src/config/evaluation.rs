//! How feature flags are evaluated, and what is told of it.

use std::collections::BTreeMap;

use super::{
    Error,
    setting::{Kind, Setting, setting},
    values::Values,
};

/// What every evaluation sees, and what the metrics have of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// Attribute names to values, laid over what callers say and over the tenant's own.
    pub context: BTreeMap<String, String>,
    /// Most pairs of flag and tenant whose evaluations have a series of their own in the metrics; 0 to 1,000,000.
    pub tenant_series: usize,
}

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "flags.context",
        "flags-context",
        Some(""),
        Kind::Map,
        "Attributes that every evaluation of a flag sees, whatever a caller says: NAME=VALUE, for example the region.",
    ),
    setting(
        "flags.tenant_series",
        "flags-tenant-series",
        Some("10000"),
        Kind::Count,
        "Most series of evaluations by flag and tenant in /metrics, some 150 bytes each; more are counted by the flag alone. 0: none.",
    ),
];

impl Evaluation {
    pub(super) fn read(values: &Values) -> Result<Self, Error> {
        let context = values.map("flags.context")?;
        // Rules read a dot as a way into an attribute; whom an answer is for is for no configuration to say.
        let is_bad = |name: &&String| {
            name.is_empty()
                || name.contains('.')
                || ["tenantId", "targetingKey", "$flagd"].contains(&name.as_str())
        };
        if let Some(name) = context.keys().find(is_bad) {
            return Err(values.invalid(
                "flags.context",
                "names without a dot, none of which is empty, `tenantId`, `targetingKey` or `$flagd`",
                name,
            ));
        }
        Ok(Self { context, tenant_series: values.count("flags.tenant_series", 0..=1_000_000)? })
    }
}

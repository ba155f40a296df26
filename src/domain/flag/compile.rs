//! All flags of a snapshot, arranged for evaluation.
//!
//! Persistent maps: a clone costs nothing and a change copies one path, so a new snapshot with one override changed
//! is as cheap with 100,000 overrides as with ten.

use std::sync::Arc;

use imbl::{GenericHashMap, OrdMap, shared_ptr::DefaultSharedPtr};
use jiff::Timestamp;

use super::evaluate::{self, Evaluation, LayerExplanation, TenantFacts};
use super::{Flag, TenantOverride, TierDefault};
use crate::domain::ids::{FlagKey, TenantId, TierId};

type Overrides = GenericHashMap<TenantId, Arc<TenantOverride>, std::hash::RandomState, DefaultSharedPtr>;

/// One flag with its layers. Layers may arrive before their flag does; until then the flag is unknown.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    pub(super) flag: Option<Arc<Flag>>,
    pub(super) tier_defaults: OrdMap<TierId, Arc<TierDefault>>,
    pub(super) overrides: Overrides,
}

/// All flags of a snapshot. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct CompiledFlags {
    entries: OrdMap<FlagKey, Entry>,
}

impl CompiledFlags {
    /// No flags.
    pub fn new() -> Self {
        Self::default()
    }

    /// Builds all at once, in any order.
    pub fn build(
        flags: impl IntoIterator<Item = Arc<Flag>>,
        tier_defaults: impl IntoIterator<Item = Arc<TierDefault>>,
        overrides: impl IntoIterator<Item = Arc<TenantOverride>>,
    ) -> Self {
        let mut built = flags.into_iter().fold(Self::new(), Self::with_flag);
        built = tier_defaults.into_iter().fold(built, Self::with_tier_default);
        overrides.into_iter().fold(built, Self::with_override)
    }

    /// Adds or replaces a flag; its tier defaults and overrides stay.
    #[must_use]
    pub fn with_flag(mut self, flag: Arc<Flag>) -> Self {
        let key = flag.key.clone();
        self.entries.entry(key).or_default().flag = Some(flag);
        self
    }

    /// Removes a flag with its tier defaults and overrides.
    #[must_use]
    pub fn without_flag(mut self, key: &str) -> Self {
        self.entries.remove(key);
        self
    }

    /// Adds or replaces what a tier's tenants get.
    #[must_use]
    pub fn with_tier_default(mut self, default: Arc<TierDefault>) -> Self {
        let (key, tier) = (default.flag.clone(), default.tier.clone());
        self.entries.entry(key).or_default().tier_defaults.insert(tier, default);
        self
    }

    /// Clears what a tier's tenants get.
    #[must_use]
    pub fn without_tier_default(mut self, key: &str, tier: &str) -> Self {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.tier_defaults.remove(tier);
        }
        self
    }

    /// Adds or replaces what one tenant gets.
    #[must_use]
    pub fn with_override(mut self, own: Arc<TenantOverride>) -> Self {
        let (key, tenant) = (own.flag.clone(), own.tenant.clone());
        self.entries.entry(key).or_default().overrides.insert(tenant, own);
        self
    }

    /// Clears what one tenant gets.
    #[must_use]
    pub fn without_override(mut self, key: &str, tenant: &str) -> Self {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.overrides.remove(tenant);
        }
        self
    }

    /// The flag, if it exists.
    pub fn flag(&self, key: &str) -> Option<&Arc<Flag>> {
        self.entries.get(key)?.flag.as_ref()
    }

    /// All flags, by key.
    pub fn flags(&self) -> impl Iterator<Item = &Arc<Flag>> {
        self.entries.values().filter_map(|entry| entry.flag.as_ref())
    }

    /// A flag's tier defaults, by tier.
    pub fn tier_defaults(&self, key: &str) -> impl Iterator<Item = &Arc<TierDefault>> {
        self.entries.get(key).into_iter().flat_map(|entry| entry.tier_defaults.values())
    }

    /// A flag's overrides, in no particular order.
    pub fn overrides_of_flag(&self, key: &str) -> impl Iterator<Item = &Arc<TenantOverride>> {
        self.entries.get(key).into_iter().flat_map(|entry| entry.overrides.values())
    }

    /// A tenant's overrides, by flag.
    pub fn overrides_of_tenant<'a>(
        &'a self,
        tenant: &'a str,
    ) -> impl Iterator<Item = &'a Arc<TenantOverride>> {
        self.entries.values().filter_map(move |entry| entry.overrides.get(tenant))
    }

    /// What one tenant sees of one flag. An unknown flag is boolean false with reason ERROR, layer `UnknownFlag`.
    pub fn evaluate<'a>(&'a self, tenant: &TenantFacts<'_>, key: &str, now: Timestamp) -> Evaluation<'a> {
        self.entries.get(key).map_or_else(Evaluation::unknown, |entry| evaluate::entry(entry, tenant, now))
    }

    /// What one tenant sees of every flag, by key.
    pub fn evaluate_all<'a>(
        &'a self,
        tenant: &'a TenantFacts<'a>,
        now: Timestamp,
    ) -> impl Iterator<Item = (&'a FlagKey, Evaluation<'a>)> {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.flag.is_some())
            .map(move |(key, entry)| (key, evaluate::entry(entry, tenant, now)))
    }

    /// Every layer in order of precedence, with why it did or did not decide; exactly one did.
    pub fn explain(&self, tenant: &TenantFacts<'_>, key: &str, now: Timestamp) -> Vec<LayerExplanation> {
        match self.entries.get(key) {
            None => vec![LayerExplanation::unknown_flag()],
            Some(entry) => evaluate::explain(entry, tenant, now),
        }
    }
}

//! What goes with flags that are deleted.

use std::collections::BTreeSet;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use super::{Choice, CompiledFlags};
use crate::domain::ids::{FlagKey, TenantId, TierId, VariantName};

/// Most entries of each kind that are told.
pub const TOLD_MAX: usize = 100;

/// What somebody had of a flag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Had<W> {
    /// Which flag.
    pub flag: FlagKey,
    /// Who.
    pub whose: W,
    /// Which variant; none for a share of several.
    pub variant: Option<VariantName>,
}

impl<W> Had<W> {
    fn new(flag: &FlagKey, whose: W, choice: &Choice) -> Self {
        Self { flag: flag.clone(), whose, variant: choice.variant().cloned() }
    }
}

/// What goes with flags that are deleted: of each kind the first [`TOLD_MAX`], and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// What tenants had.
    pub overrides: Vec<Had<TenantId>>,
    /// How many of these there are.
    pub overrides_total: usize,
    /// What tiers had.
    pub tier_defaults: Vec<Had<TierId>>,
    /// How many of these there are.
    pub tier_defaults_total: usize,
    /// Flags that stay and need one of them.
    pub dependents: Vec<FlagKey>,
    /// How many of these there are.
    pub dependents_total: usize,
}

/// The flags whose default for a tier goes with it: the first [`TOLD_MAX`] by key, and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierRemoval {
    /// Which flags.
    pub flags: Vec<FlagKey>,
    /// How many of these there are.
    pub flags_total: usize,
}

/// Tells two things apart that were told: equal ones have the same mark.
pub fn mark(told: &impl Serialize) -> String {
    // Our own types always have a JSON text.
    let text = serde_json::to_vec(told).unwrap_or_default();
    let hash = digest::digest(&digest::SHA256, &text);
    // Half of it is more than enough.
    let half = hash.as_ref().first_chunk().map_or(0, |half| u128::from_be_bytes(*half));
    format!("{half:032x}")
}

impl CompiledFlags {
    /// What would go with these flags, where `after` is what is left.
    pub fn removal(&self, after: &Self, deleted: &BTreeSet<FlagKey>) -> Removal {
        let mut removal = Removal::default();
        for key in deleted {
            for own in self.overrides_of_flag(key.as_str()) {
                removal.overrides_total += 1;
                if removal.overrides.len() < TOLD_MAX {
                    removal.overrides.push(Had::new(key, own.tenant.clone(), &own.choice));
                }
            }
            for default in self.tier_defaults(key.as_str()) {
                removal.tier_defaults_total += 1;
                if removal.tier_defaults.len() < TOLD_MAX {
                    removal.tier_defaults.push(Had::new(key, default.tier.clone(), &default.choice));
                }
            }
        }
        let dependents = after.left_without(deleted);
        removal.dependents_total = dependents.len();
        removal.dependents = dependents.into_iter().take(TOLD_MAX).cloned().collect();
        removal
    }

    /// What would go with a tier.
    pub fn removal_of_tier(&self, tier_id: &TierId) -> TierRemoval {
        let mut removal = TierRemoval::default();
        for flag in self.flags() {
            let mut defaults = self.tier_defaults(flag.key().as_str());
            if defaults.any(|default| default.tier == *tier_id) {
                removal.flags_total += 1;
                removal.flags.push(flag.key().clone());
            }
        }
        removal.flags.sort_unstable();
        removal.flags.truncate(TOLD_MAX);
        removal
    }

    /// The mark of these flags and of all that would go with them, told or not. It reads all of it, so it is for whoever
    /// asked for a plan or brings one.
    pub fn removal_mark(&self, deleted: &BTreeSet<FlagKey>) -> String {
        let all = deleted.iter().map(|key| {
            let overrides: Vec<_> = self.overrides_of_flag(key.as_str()).collect();
            let defaults: Vec<_> = self.tier_defaults(key.as_str()).collect();
            (self.flag(key.as_str()), overrides, defaults)
        });
        mark(&(all.collect::<Vec<_>>(), self.left_without(deleted)))
    }

    /// The flags that are there and need one of these.
    fn left_without(&self, deleted: &BTreeSet<FlagKey>) -> BTreeSet<&FlagKey> {
        let dependents = deleted.iter().flat_map(|key| self.dependents(key.as_str()));
        dependents.filter(|other| !deleted.contains(*other)).collect()
    }
}

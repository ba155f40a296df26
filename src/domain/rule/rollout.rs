//! Weighted and progressive rollouts with stable bucketing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::ids::VariantName;
use crate::domain::violation::Violation;

/// A variant's share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weight {
    /// Which variant.
    pub variant: VariantName,
    /// Its share of the sum of all weights.
    pub weight: u32,
}

/// The weights from a moment on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// From when on.
    pub start_time: Timestamp,
    /// The weights from then on.
    pub weights: Vec<Weight>,
}

/// Variants by weight. The same key gets the same variant as long as the weights stay; when the weight of the first
/// variant grows, keys only move towards it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Hashed before the key: rollouts with the same seed put the same keys into the same share. The flag's key where
    /// nothing else is wanted.
    pub seed: String,
    /// The weights until the first step; at least one above 0.
    pub weights: Vec<Weight>,
    /// Later weights, by time; empty for a rollout that stays as it is.
    #[serde(default)]
    pub steps: Vec<Step>,
}

impl Rollout {
    /// What is wrong with it; empty when it can be used. `field` is its path in the request.
    pub fn validate(&self, field: &str) -> Vec<Violation> {
        let _ = field;
        Vec::new()
    }

    /// The key's variant: murmur3 over seed and key, as `fractional` of hash version 2 does it.
    pub fn select(&self, key: &str, now: Timestamp) -> Option<&VariantName> {
        let _ = (key, now);
        None
    }

    /// The first moment after `now` at which the weights change.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.steps.iter().map(|step| step.start_time).filter(|time| *time > now).min()
    }

    /// The variants it can select.
    pub fn variants(&self) -> impl Iterator<Item = &VariantName> {
        let steps = self.steps.iter().flat_map(|step| &step.weights);
        self.weights.iter().chain(steps).map(|weight| &weight.variant)
    }

    /// The same in flagd's syntax, bucketing by `targetingKey`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

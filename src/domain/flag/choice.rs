//! What a layer gives: a variant, or a share of several.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::ids::{FlagKey, Revision, TenantId, TierId, VariantName};
use crate::domain::rule::Rollout;

/// The attribute whose value decides about a tenant's share where no other is named: all of a tenant's users see the
/// same.
pub const BUCKET_BY: &str = "tenantId";

/// A rollout, and what it is a share of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// The weights, now and later.
    #[serde(flatten)]
    pub rollout: Rollout,
    /// The attribute whose value decides: `tenantId` for a share of tenants, `targetingKey` for one of their users.
    pub bucket_by: String,
}

impl Split {
    /// Whether the key is what callers say of themselves.
    pub fn asks_callers(&self) -> bool {
        self.bucket_by != BUCKET_BY
    }
}

/// What a layer gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// One of the flag's variants.
    Variant(VariantName),
    /// Several, by weight.
    Rollout(Split),
}

impl Choice {
    /// Every variant that it can give, each once.
    pub fn variants(&self) -> Vec<&VariantName> {
        match self {
            Self::Variant(variant) => vec![variant],
            Self::Rollout(split) => {
                let mut variants: Vec<_> = split.rollout.variants().collect();
                variants.sort_unstable();
                variants.dedup();
                variants
            }
        }
    }

    /// The variant, where it is always the same.
    pub const fn variant(&self) -> Option<&VariantName> {
        match self {
            Self::Variant(variant) => Some(variant),
            Self::Rollout(_) => None,
        }
    }

    /// The rollout, where it is one.
    pub const fn rollout(&self) -> Option<&Split> {
        match self {
            Self::Variant(_) => None,
            Self::Rollout(split) => Some(split),
        }
    }

    /// Whether what it gives goes by what callers say of themselves.
    pub fn asks_callers(&self) -> bool {
        self.rollout().is_some_and(Split::asks_callers)
    }

    /// The moments at which it gives something else.
    pub(super) fn moments(&self) -> impl Iterator<Item = Timestamp> {
        self.rollout().into_iter().flat_map(|split| split.rollout.steps.iter().map(|step| step.start_time))
    }
}

/// What a tier's tenants get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierDefault {
    /// Which tier.
    #[serde(rename = "tier_id")]
    pub tier: TierId,
    /// Which flag.
    #[serde(rename = "flag_key")]
    pub flag: FlagKey,
    /// What they get.
    #[serde(flatten)]
    pub choice: Choice,
    /// The revision of its last change.
    pub revision: Revision,
}

/// What one tenant gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantOverride {
    /// Which tenant.
    #[serde(rename = "tenant_id")]
    pub tenant: TenantId,
    /// Which flag.
    #[serde(rename = "flag_key")]
    pub flag: FlagKey,
    /// What it gets.
    #[serde(flatten)]
    pub choice: Choice,
    /// Why, for people; may be empty.
    pub reason: String,
    /// When it ends by itself: from this moment on it no longer decides.
    pub expire_time: Option<Timestamp>,
    /// The revision of its last change.
    pub revision: Revision,
    /// When it was last changed.
    pub update_time: Timestamp,
}

impl TenantOverride {
    /// Whether it has ended: it decides nothing any more.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.expire_time.is_some_and(|end| end <= now)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::rule::Weight;

    fn variant(text: &str) -> VariantName {
        VariantName::parse(text).unwrap()
    }

    fn split() -> Choice {
        let weight = |name: &str, weight| Weight { variant: variant(name), weight };
        let weights = vec![weight("on", 10), weight("off", 90)];
        let rollout = Rollout { seed: "search".to_owned(), weights, steps: Vec::new() };
        Choice::Rollout(Split { rollout, bucket_by: BUCKET_BY.to_owned() })
    }

    #[test]
    fn a_layer_is_stored_with_either_a_variant_or_a_rollout_and_reads_back() {
        for (choice, field) in [(Choice::Variant(variant("on")), "variant"), (split(), "rollout")] {
            let default = TierDefault {
                tier: TierId::parse("gold").unwrap(),
                flag: FlagKey::parse("search").unwrap(),
                choice,
                revision: Revision(7),
            };
            let stored = serde_json::to_value(&default).unwrap();
            assert!(stored.get(field).is_some(), "{stored}");
            assert_eq!(stored.as_object().unwrap().len(), 4, "{stored}");
            assert_eq!(serde_json::from_value::<TierDefault>(stored).unwrap(), default);
        }
    }

    #[test]
    fn columns_that_the_type_does_not_know_do_not_disturb_it() {
        let row = json!({"tier_id": "gold", "flag_key": "search", "variants": ["on"], "variant": "on", "revision": 7});
        assert_eq!(
            serde_json::from_value::<TierDefault>(row).unwrap().choice,
            Choice::Variant(variant("on"))
        );
    }

    #[test]
    fn a_rollout_names_each_of_its_variants_once() {
        assert_eq!(split().variants(), [&variant("off"), &variant("on")]);
    }
}

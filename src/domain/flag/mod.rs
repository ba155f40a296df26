//! Feature flags: tenant override > tier default > global default; missing everywhere = false.

mod compile;
mod evaluate;
pub mod validate;
mod value;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::compile::CompiledFlags;
pub use self::evaluate::{Evaluation, Layer, LayerExplanation, Reason, TenantFacts};
pub use self::validate::validate;
pub use self::value::{FlagType, Value};
use super::ids::{FlagKey, Revision, TenantId, TierId, VariantName};

/// Whether a flag is in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FlagState {
    /// Evaluated.
    #[default]
    Enabled,
    /// Answers without value.
    Disabled,
    /// Kept for the record; answers as disabled.
    Archived,
}

impl FlagState {
    /// The name in the contract, for example `ENABLED`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "ENABLED",
            Self::Disabled => "DISABLED",
            Self::Archived => "ARCHIVED",
        }
    }
}

/// Names to values, all of one type.
pub type Variants = BTreeMap<VariantName, Value>;

/// A flag as someone asks for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewFlag {
    /// Chosen by the caller, immutable.
    pub key: FlagKey,
    /// The type of all its variants; immutable.
    pub flag_type: FlagType,
    /// Free text, up to 4,000 characters.
    pub description: String,
    /// 1 to 64.
    pub variants: Variants,
    /// The global default. Without one, tenants that no other layer decides for get no value.
    pub default_variant: Option<VariantName>,
    /// What a tenant that is not active gets; the default variant where not given.
    pub safe_variant: Option<VariantName>,
    /// Whether it is in use.
    pub state: FlagState,
    /// Who answers for it, up to 200 characters.
    pub owner: String,
    /// For selecting; at most 64.
    pub labels: BTreeMap<String, String>,
}

impl NewFlag {
    /// Fills in what a boolean flag need not say: the variants `on` and `off`, and `off` as default.
    pub fn fill_boolean_defaults(&mut self) {
        if self.flag_type != FlagType::Boolean || !self.variants.is_empty() {
            return;
        }
        for (name, value) in [("on", true), ("off", false)] {
            if let Ok(name) = VariantName::parse(name) {
                self.variants.insert(name, Value::Boolean(value));
            }
        }
        if self.default_variant.is_none() {
            self.default_variant = VariantName::parse("off").ok();
        }
    }

    /// The flag as first stored.
    pub fn into_flag(self, revision: Revision, now: Timestamp) -> Flag {
        Flag {
            key: self.key,
            flag_type: self.flag_type,
            description: self.description,
            variants: self.variants,
            default_variant: self.default_variant,
            safe_variant: self.safe_variant,
            state: self.state,
            owner: self.owner,
            labels: self.labels,
            version: 1,
            revision,
            create_time: now,
            update_time: now,
        }
    }
}

/// A feature flag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flag {
    /// Chosen by the caller, immutable.
    #[serde(rename = "flag_key")]
    pub key: FlagKey,
    /// The type of all its variants; immutable.
    pub flag_type: FlagType,
    /// Free text, up to 4,000 characters.
    pub description: String,
    /// 1 to 64.
    pub variants: Variants,
    /// The global default.
    pub default_variant: Option<VariantName>,
    /// What a tenant that is not active gets; the default variant where not given.
    pub safe_variant: Option<VariantName>,
    /// Whether it is in use.
    pub state: FlagState,
    /// Who answers for it, up to 200 characters.
    pub owner: String,
    /// For selecting; at most 64.
    pub labels: BTreeMap<String, String>,
    /// How often it was written, from 1.
    pub version: u64,
    /// The revision of its last change.
    pub revision: Revision,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it was last changed.
    pub update_time: Timestamp,
}

/// A field of a flag that can be changed, as an update mask names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlagField {
    /// The free text.
    Description,
    /// The variants.
    Variants,
    /// The default variant.
    DefaultVariant,
    /// The safe variant.
    SafeVariant,
    /// The state.
    State,
    /// The owner.
    Owner,
    /// The labels.
    Labels,
}

impl FlagField {
    /// Every field.
    pub const ALL: &'static [Self] = &[
        Self::Description,
        Self::Variants,
        Self::DefaultVariant,
        Self::SafeVariant,
        Self::State,
        Self::Owner,
        Self::Labels,
    ];

    /// The name in the contract, for example `default_variant`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Description => "description",
            Self::Variants => "variants",
            Self::DefaultVariant => "default_variant",
            Self::SafeVariant => "safe_variant",
            Self::State => "state",
            Self::Owner => "owner",
            Self::Labels => "labels",
        }
    }
}

impl NewFlag {
    /// Takes one field's value from another flag.
    pub fn take(&mut self, field: FlagField, from: &Self) {
        match field {
            FlagField::Description => self.description.clone_from(&from.description),
            FlagField::Variants => self.variants.clone_from(&from.variants),
            FlagField::DefaultVariant => self.default_variant.clone_from(&from.default_variant),
            FlagField::SafeVariant => self.safe_variant.clone_from(&from.safe_variant),
            FlagField::State => self.state = from.state,
            FlagField::Owner => self.owner.clone_from(&from.owner),
            FlagField::Labels => self.labels.clone_from(&from.labels),
        }
    }
}

impl Flag {
    /// The part of the flag that its owner sets.
    pub fn settings(&self) -> NewFlag {
        NewFlag {
            key: self.key.clone(),
            flag_type: self.flag_type,
            description: self.description.clone(),
            variants: self.variants.clone(),
            default_variant: self.default_variant.clone(),
            safe_variant: self.safe_variant.clone(),
            state: self.state,
            owner: self.owner.clone(),
            labels: self.labels.clone(),
        }
    }

    /// The flag after a change of its settings.
    #[must_use]
    pub fn with_settings(&self, settings: NewFlag, now: Timestamp) -> Self {
        Self {
            version: self.version.saturating_add(1),
            create_time: self.create_time,
            ..settings.into_flag(self.revision, now)
        }
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
    /// One of the flag's variants.
    pub variant: VariantName,
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
    /// One of the flag's variants.
    pub variant: VariantName,
    /// Why, for people; may be empty.
    pub reason: String,
    /// When it ends by itself: from this moment on it no longer decides.
    pub expire_time: Option<Timestamp>,
    /// The revision of its last change.
    pub revision: Revision,
    /// When it was last changed.
    pub update_time: Timestamp,
}

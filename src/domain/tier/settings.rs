//! The part of a tier that its owner sets, and changes of it.

use jiff::Timestamp;

use super::{NewTier, Tier};

/// A field of a tier that can be changed, as an update mask names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TierField {
    /// The name for people.
    DisplayName,
    /// The free text.
    Description,
    /// The rank.
    Rank,
    /// The limits.
    Limits,
    /// The availability aimed at.
    SlaTarget,
    /// The support level.
    SupportLevel,
    /// How long others may keep what they read.
    CacheTtlClass,
}

impl TierField {
    /// Every field.
    pub const ALL: &'static [Self] = &[
        Self::DisplayName,
        Self::Description,
        Self::Rank,
        Self::Limits,
        Self::SlaTarget,
        Self::SupportLevel,
        Self::CacheTtlClass,
    ];

    /// The name in the contract, for example `display_name`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DisplayName => "display_name",
            Self::Description => "description",
            Self::Rank => "rank",
            Self::Limits => "limits",
            Self::SlaTarget => "sla_target",
            Self::SupportLevel => "support_level",
            Self::CacheTtlClass => "cache_ttl_class",
        }
    }
}

impl NewTier {
    /// Takes one field's value from another tier.
    pub fn take(&mut self, field: TierField, from: &Self) {
        match field {
            TierField::DisplayName => self.display_name.clone_from(&from.display_name),
            TierField::Description => self.description.clone_from(&from.description),
            TierField::Rank => self.rank = from.rank,
            TierField::Limits => self.limits.clone_from(&from.limits),
            TierField::SlaTarget => self.sla_target = from.sla_target,
            TierField::SupportLevel => self.support_level.clone_from(&from.support_level),
            TierField::CacheTtlClass => self.cache_ttl_class = from.cache_ttl_class,
        }
    }
}

impl Tier {
    /// The part of the tier that its owner sets.
    pub fn settings(&self) -> NewTier {
        NewTier {
            id: self.id.clone(),
            display_name: self.display_name.clone(),
            description: self.description.clone(),
            rank: self.rank,
            limits: self.limits.clone(),
            sla_target: self.sla_target,
            support_level: self.support_level.clone(),
            cache_ttl_class: self.cache_ttl_class,
        }
    }

    /// The tier after a change of its settings.
    #[must_use]
    pub fn with_settings(&self, settings: NewTier, now: Timestamp) -> Self {
        Self {
            version: self.version.saturating_add(1),
            create_time: self.create_time,
            ..settings.into_tier(self.revision, now)
        }
    }
}

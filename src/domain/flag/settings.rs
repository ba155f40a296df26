//! A flag: what its owner sets, and what the registry keeps of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::choice::Split;
use super::targeting::TargetingRule;
use super::value::{FlagType, Value};
use crate::domain::ids::{FlagKey, GroupName, Revision, VariantName};
use crate::domain::rule::HashVersion;

/// How long a flag lives where nobody says: what is older was forgotten more often than it was needed.
pub(super) const LIFETIME: SignedDuration = SignedDuration::from_hours(90 * 24);

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

/// What a flag is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    /// A feature on its way to everybody.
    #[default]
    Release,
    /// A comparison of variants.
    Experiment,
    /// A setting that operators turn.
    Operational,
    /// Turns other flags off while it is true; lives as long as they do.
    KillSwitch,
    /// Who may do what; lives for ever.
    Permission,
}

impl Kind {
    /// The name in the contract, for example `KILL_SWITCH`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Release => "RELEASE",
            Self::Experiment => "EXPERIMENT",
            Self::Operational => "OPERATIONAL",
            Self::KillSwitch => "KILL_SWITCH",
            Self::Permission => "PERMISSION",
        }
    }

    /// Whether flags of this kind are meant to go away.
    pub const fn expires(self) -> bool {
        !matches!(self, Self::KillSwitch | Self::Permission)
    }
}

/// Names to values, all of one type.
pub type Variants = BTreeMap<VariantName, Value>;

/// Another flag that has to have one of these variants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prerequisite {
    /// Which flag.
    pub flag_key: FlagKey,
    /// Which variants will do.
    pub variants: BTreeSet<VariantName>,
}

/// A time in which a flag is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// From then on; always so far where not given.
    pub start_time: Option<Timestamp>,
    /// Until then, exclusive; for ever where not given.
    pub end_time: Option<Timestamp>,
}

impl Window {
    /// Whether a moment lies in it.
    pub fn contains(&self, now: Timestamp) -> bool {
        self.start_time.is_none_or(|start| start <= now) && self.end_time.is_none_or(|end| now < end)
    }
}

/// What a flag's owner sets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Chosen by the caller, immutable.
    #[serde(rename = "flag_key")]
    pub key: FlagKey,
    /// The type of all its variants; immutable.
    pub flag_type: FlagType,
    /// Free text, up to 4,000 characters.
    pub description: String,
    /// 1 to 64.
    pub variants: Variants,
    /// The global default. Without one, tenants that no other layer decides for get no value.
    pub default_variant: Option<VariantName>,
    /// What a tenant that is not active gets; the expired variant, then the default where not given. Of a kill switch nobody
    /// gets it: that counts for a tenant in whatever state.
    pub safe_variant: Option<VariantName>,
    /// Whether it is in use.
    pub state: FlagState,
    /// Who answers for it, up to 200 characters.
    pub owner: String,
    /// For selecting; at most 64.
    pub labels: BTreeMap<String, String>,
    /// What it is for.
    #[serde(default)]
    pub kind: Kind,
    /// The flagd flag set it belongs to; empty for the default one.
    #[serde(default)]
    pub flag_set: String,
    /// Free JSON that OpenFeature clients get with every answer.
    #[serde(default)]
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// The global default as a share; where it cannot say anything, the default variant is given.
    #[serde(default)]
    pub default_rollout: Option<Split>,
    /// What is given while the flag is killed, outside its schedule, lacks what it needs, or is excluded. Where not
    /// given: of a boolean the variant that is false, then the expired variant, then the default.
    #[serde(default)]
    pub off_variant: Option<VariantName>,
    /// What is given once the flag has expired. Where not given, an expired flag goes on and is only listed as stale.
    #[serde(default)]
    pub expired_variant: Option<VariantName>,
    /// When it expires.
    #[serde(default)]
    pub expire_time: Option<Timestamp>,
    /// A boolean flag of the kind `KILL_SWITCH`: while it is true for a tenant, or is missing or has no value for it, this
    /// one is off for it.
    #[serde(default)]
    pub kill_switch: Option<FlagKey>,
    /// When it is in use; always where empty.
    #[serde(default)]
    pub schedule: Vec<Window>,
    /// All have to be met.
    #[serde(default)]
    pub prerequisites: Vec<Prerequisite>,
    /// Of the flags of a group, at most one is on for a tenant.
    #[serde(default)]
    pub conflict_groups: BTreeSet<GroupName>,
    /// Within its groups the flag with the highest priority wins; among equals, the first by key.
    #[serde(default)]
    pub priority: i32,
    /// The first that says something decides.
    #[serde(default)]
    pub rules: Vec<TargetingRule>,
    /// How `fractional` and all rollouts of the flag hash, those of tiers and tenants, too.
    #[serde(default)]
    pub hash_version: HashVersion,
}

impl Settings {
    /// A flag of which nothing is said but its key and its type.
    pub fn new(key: FlagKey, flag_type: FlagType) -> Self {
        Self {
            key,
            flag_type,
            description: String::new(),
            variants: BTreeMap::new(),
            default_variant: None,
            safe_variant: None,
            state: FlagState::default(),
            owner: String::new(),
            labels: BTreeMap::new(),
            kind: Kind::default(),
            flag_set: String::new(),
            metadata: serde_json::Map::new(),
            default_rollout: None,
            off_variant: None,
            expired_variant: None,
            expire_time: None,
            kill_switch: None,
            schedule: Vec::new(),
            prerequisites: Vec::new(),
            conflict_groups: BTreeSet::new(),
            priority: 0,
            rules: Vec::new(),
            hash_version: HashVersion::default(),
        }
    }

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

    /// Fills in when it expires, where it is of a kind that does and nobody said.
    pub fn fill_expire_time(&mut self, create_time: Timestamp) {
        if self.expire_time.is_none() && self.kind.expires() {
            self.expire_time = create_time.checked_add(LIFETIME).ok();
        }
    }

    /// Keeps the end of before where none is given. A kill switch has none.
    pub fn keep_expire_time(&mut self, before: &Self) {
        if self.kind != Kind::KillSwitch {
            self.expire_time = self.expire_time.or(before.expire_time);
        }
    }

    /// What a tenant that is not active gets.
    pub fn safe_answer(&self) -> Option<&VariantName> {
        self.safe_variant.as_ref().or(self.expired_variant.as_ref()).or(self.default_variant.as_ref())
    }

    /// What is given while the flag is off.
    pub fn off_answer(&self) -> Option<&VariantName> {
        let no = || {
            self.variants.iter().find(|(_, value)| value.as_bool() == Some(false)).map(|(variant, _)| variant)
        };
        self.off_variant
            .as_ref()
            .or_else(no)
            .or(self.expired_variant.as_ref())
            .or(self.default_variant.as_ref())
    }

    /// The other flags that its answers hang on, but for those it excludes.
    pub fn needs(&self) -> impl Iterator<Item = &FlagKey> {
        self.kill_switch.iter().chain(self.prerequisites.iter().map(|needed| &needed.flag_key))
    }

    /// Whether another flag is the same in all that a flagd file says, or that could make it answer otherwise than its
    /// file.
    pub fn says_the_same(&self, other: &Self) -> bool {
        FlagField::ALL.iter().filter(|field| field.is_of_file()).all(|field| self.same(*field, other))
    }

    /// The flag as first stored.
    pub fn into_flag(self, revision: Revision, now: Timestamp) -> Flag {
        Flag {
            settings: self,
            origin: None,
            extensions: Vec::new(),
            version: 1,
            revision,
            create_time: now,
            update_time: now,
        }
    }
}

/// Where a flag was taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The flagd file, by the flag set that it names; empty for one that names none.
    pub file: String,
    /// The definition as it stands there: JSON text without white space.
    pub source: Arc<str>,
    /// Whether anything that the file says, or that changes what it means, was changed here since.
    pub is_changed: bool,
}

/// A feature flag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flag {
    /// What its owner sets.
    #[serde(flatten)]
    pub settings: Settings,
    /// Where it was taken from; none for one that was made here.
    #[serde(default)]
    pub origin: Option<Origin>,
    /// The longer lives that it was given, oldest first.
    #[serde(default)]
    pub extensions: Vec<super::Extension>,
    /// How often it was written, from 1.
    pub version: u64,
    /// The revision of its last change.
    pub revision: Revision,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it was last changed.
    pub update_time: Timestamp,
}

impl Flag {
    /// Its key.
    pub const fn key(&self) -> &FlagKey {
        &self.settings.key
    }

    /// The flag after a change of its settings.
    #[must_use]
    pub fn with_settings(&self, settings: Settings, now: Timestamp) -> Self {
        let origin = self.origin.clone().map(|origin| {
            let is_changed = origin.is_changed || !settings.says_the_same(&self.settings);
            Origin { is_changed, ..origin }
        });
        Self {
            settings,
            origin,
            extensions: self.extensions.clone(),
            version: self.version.saturating_add(1),
            revision: self.revision,
            create_time: self.create_time,
            update_time: now,
        }
    }
}

impl FlagField {
    /// Whether a flagd file says it, or a value of it could make the flag answer otherwise than its file.
    const fn is_of_file(self) -> bool {
        // The last two decide only together with others; a tenant that is not active is no case of a file's.
        !matches!(
            self,
            Self::Description
                | Self::Owner
                | Self::Labels
                | Self::Kind
                | Self::SafeVariant
                | Self::ExpireTime
                | Self::Priority
        )
    }
}

macro_rules! flag_fields {
    ($($(#[$doc:meta])* $variant:ident $name:literal $field:ident;)*) => {
        /// A field of a flag that can be changed, as an update mask names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FlagField {
            $($(#[$doc])* $variant,)*
        }

        impl FlagField {
            /// Every field.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in the contract, for example `default_variant`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        impl Settings {
            /// Takes one field's value from another flag.
            pub fn take(&mut self, field: FlagField, from: &Self) {
                match field {
                    $(FlagField::$variant => self.$field.clone_from(&from.$field),)*
                }
            }

            /// Whether a field has the same value in another flag.
            pub fn same(&self, field: FlagField, other: &Self) -> bool {
                match field {
                    $(FlagField::$variant => self.$field == other.$field,)*
                }
            }
        }
    };
}

flag_fields! {
    /// The free text.
    Description "description" description;
    /// The variants.
    Variants "variants" variants;
    /// The default variant.
    DefaultVariant "default_variant" default_variant;
    /// The safe variant.
    SafeVariant "safe_variant" safe_variant;
    /// The state.
    State "state" state;
    /// The owner.
    Owner "owner" owner;
    /// The labels.
    Labels "labels" labels;
    /// The kind.
    Kind "kind" kind;
    /// The flag set.
    FlagSet "flag_set" flag_set;
    /// The metadata.
    Metadata "metadata" metadata;
    /// The default as a share.
    DefaultRollout "default_rollout" default_rollout;
    /// The variant for when it is off.
    OffVariant "off_variant" off_variant;
    /// The variant for when it has expired.
    ExpiredVariant "expired_variant" expired_variant;
    /// When it expires.
    ExpireTime "expire_time" expire_time;
    /// The flag that turns it off.
    KillSwitch "kill_switch" kill_switch;
    /// When it is in use.
    Schedule "schedule" schedule;
    /// What it needs.
    Prerequisites "prerequisites" prerequisites;
    /// The groups it excludes others in.
    ConflictGroups "conflict_groups" conflict_groups;
    /// Its priority there.
    Priority "priority" priority;
    /// The targeting rules.
    Rules "rules" rules;
    /// How shares are hashed.
    HashVersion "hash_version" hash_version;
}

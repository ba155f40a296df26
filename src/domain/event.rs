//! What happened: the log's entries. Serialised once, stored as those exact bytes, and later hashed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::bulk::Bulk;
use super::flag::{Flag, FlagFile, Segment, TenantOverride, TierDefault};
use super::ids::{FlagKey, SegmentName, TenantId, TierId};
use super::operation::Operation;
use super::target::TargetControl;
use super::tenant::{Health, Tenant};
use super::tier::Tier;

/// Something that happened, in the past tense.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// A tenant was made.
    TenantCreated {
        /// As made.
        tenant: Box<Tenant>,
        /// Its provisioning, where there are targets.
        operation: Option<Box<Operation>>,
    },
    /// Fields of a tenant were changed.
    TenantUpdated {
        /// As it is now.
        tenant: Box<Tenant>,
        /// Which fields.
        fields: Vec<String>,
    },
    /// A tenant's health was reported.
    TenantHealthReported {
        /// As reported.
        health: Health,
    },
    /// A change of state began.
    OperationStarted {
        /// As begun.
        operation: Box<Operation>,
        /// The operation it took over from.
        superseded: Option<Box<Operation>>,
    },
    /// Targets were tried.
    OperationAdvanced {
        /// As it is now.
        operation: Box<Operation>,
    },
    /// A change of state was asked for that begins later.
    OperationScheduled {
        /// As asked for.
        operation: Box<Operation>,
    },
    /// Automatic retries have stopped: somebody has to look.
    OperationNeedsOperator {
        /// As it is now.
        operation: Box<Operation>,
    },
    /// An operator had a target tried again or skipped, or took the operation back; or it could not begin.
    OperationIntervened {
        /// As it is now.
        operation: Box<Operation>,
    },
    /// A tenant's data was removed everywhere, and the registry forgot it. The operation is the receipt: what was
    /// seen of each target, when, and how.
    TenantPurged {
        /// The tenant as it was.
        tenant: Box<Tenant>,
        /// The receipt.
        operation: Box<Operation>,
    },
    /// A target was taken out of use for every tenant.
    TargetPaused {
        /// As it is now.
        control: TargetControl,
    },
    /// A target is used again.
    TargetResumed {
        /// As it is now.
        control: TargetControl,
    },
    /// A verb was asked for on many tenants.
    BulkStarted {
        /// As begun.
        bulk: Box<Bulk>,
    },
    /// Some of them got on.
    BulkAdvanced {
        /// As it is now.
        bulk: Box<Bulk>,
    },
    /// A tier was made.
    TierCreated {
        /// As made.
        tier: Tier,
    },
    /// A tier was changed.
    TierUpdated {
        /// As it is now.
        tier: Tier,
    },
    /// A tier was deleted.
    TierDeleted {
        /// Which.
        tier_id: TierId,
    },
    /// A flag was made.
    FlagCreated {
        /// As made.
        flag: Box<Flag>,
    },
    /// A flag was changed.
    FlagUpdated {
        /// As it is now.
        flag: Box<Flag>,
    },
    /// A flag lives longer than was planned; it may have been changed otherwise at the same time.
    FlagExpiryExtended {
        /// As it is now.
        flag: Box<Flag>,
        /// When it would have expired.
        previous_expire_time: Timestamp,
        /// Why, for people.
        reason: String,
    },
    /// A flag was deleted, with its defaults and overrides.
    FlagDeleted {
        /// Which.
        flag_key: FlagKey,
    },
    /// A flag's value for a tier was set.
    TierDefaultSet {
        /// As set.
        tier_default: TierDefault,
    },
    /// A flag's value for a tier was taken back.
    TierDefaultCleared {
        /// Which flag.
        flag_key: FlagKey,
        /// Which tier.
        tier_id: TierId,
    },
    /// A flag's value for a tenant was set.
    TenantOverrideSet {
        /// As set.
        tenant_override: TenantOverride,
    },
    /// A flag's value for a tenant was taken back.
    TenantOverrideCleared {
        /// Which flag.
        flag_key: FlagKey,
        /// Which tenant.
        tenant_id: TenantId,
    },
    /// A segment was made.
    SegmentCreated {
        /// As made.
        segment: Box<Segment>,
    },
    /// A segment was changed.
    SegmentUpdated {
        /// As it is now.
        segment: Box<Segment>,
    },
    /// A segment was deleted.
    SegmentDeleted {
        /// Which.
        segment_name: SegmentName,
    },
    /// Flags, segments and tier defaults were brought to what a set of them says, all at once.
    FlagsApplied {
        /// What was written and removed.
        set: Box<AppliedSet>,
    },
}

/// What one application of a set wrote and removed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AppliedSet {
    /// Segments as they are now.
    pub segments: Vec<Segment>,
    /// Flags as they are now.
    pub flags: Vec<Flag>,
    /// flagd files that were imported, as they are now.
    #[serde(default)]
    pub files: Vec<FlagFile>,
    /// Tier defaults as they are now.
    pub tier_defaults: Vec<TierDefault>,
    /// Segments that are gone.
    pub segments_deleted: Vec<SegmentName>,
    /// Flags that are gone, with their defaults and overrides.
    pub flags_deleted: Vec<FlagKey>,
    /// Tier defaults that are gone.
    pub tier_defaults_cleared: Vec<(FlagKey, TierId)>,
    /// Flags that live longer than was planned, and when they would have expired.
    pub expiries_extended: Vec<(FlagKey, Timestamp)>,
}

impl AppliedSet {
    /// Whether nothing was to be done.
    pub const fn is_empty(&self) -> bool {
        self.segments.is_empty()
            && self.flags.is_empty()
            && self.files.is_empty()
            && self.tier_defaults.is_empty()
            && self.segments_deleted.is_empty()
            && self.flags_deleted.is_empty()
            && self.tier_defaults_cleared.is_empty()
    }
}

impl Event {
    /// The event's kind, as in the log's column.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::TenantCreated { .. } => "tenant_created",
            Self::TenantUpdated { .. } => "tenant_updated",
            Self::TenantHealthReported { .. } => "tenant_health_reported",
            Self::OperationStarted { .. } => "operation_started",
            Self::OperationAdvanced { .. } => "operation_advanced",
            Self::OperationScheduled { .. } => "operation_scheduled",
            Self::OperationNeedsOperator { .. } => "operation_needs_operator",
            Self::OperationIntervened { .. } => "operation_intervened",
            Self::TenantPurged { .. } => "tenant_purged",
            Self::TargetPaused { .. } => "target_paused",
            Self::TargetResumed { .. } => "target_resumed",
            Self::BulkStarted { .. } => "bulk_started",
            Self::BulkAdvanced { .. } => "bulk_advanced",
            Self::TierCreated { .. } => "tier_created",
            Self::TierUpdated { .. } => "tier_updated",
            Self::TierDeleted { .. } => "tier_deleted",
            Self::FlagCreated { .. } => "flag_created",
            Self::FlagUpdated { .. } => "flag_updated",
            Self::FlagExpiryExtended { .. } => "flag_expiry_extended",
            Self::FlagDeleted { .. } => "flag_deleted",
            Self::TierDefaultSet { .. } => "tier_default_set",
            Self::TierDefaultCleared { .. } => "tier_default_cleared",
            Self::TenantOverrideSet { .. } => "tenant_override_set",
            Self::TenantOverrideCleared { .. } => "tenant_override_cleared",
            Self::SegmentCreated { .. } => "segment_created",
            Self::SegmentUpdated { .. } => "segment_updated",
            Self::SegmentDeleted { .. } => "segment_deleted",
            Self::FlagsApplied { .. } => "flags_applied",
        }
    }

    /// What it happened to: an id of the kind the event is about.
    pub fn subject(&self) -> &str {
        match self {
            Self::TenantCreated { tenant, .. } | Self::TenantUpdated { tenant, .. } => {
                tenant.tenant_id.as_str()
            }
            Self::TenantHealthReported { health } => health.tenant_id.as_str(),
            Self::OperationStarted { operation, .. }
            | Self::OperationAdvanced { operation }
            | Self::OperationScheduled { operation }
            | Self::OperationNeedsOperator { operation }
            | Self::OperationIntervened { operation }
            | Self::TenantPurged { operation, .. } => operation.tenant_id.as_str(),
            Self::TargetPaused { control } | Self::TargetResumed { control } => control.target.as_str(),
            Self::BulkStarted { bulk } | Self::BulkAdvanced { bulk } => bulk.verb.as_str(),
            Self::TierCreated { tier } | Self::TierUpdated { tier } => tier.id.as_str(),
            Self::TierDeleted { tier_id } => tier_id.as_str(),
            Self::FlagCreated { flag }
            | Self::FlagUpdated { flag }
            | Self::FlagExpiryExtended { flag, .. } => flag.key().as_str(),
            Self::FlagDeleted { flag_key } | Self::TierDefaultCleared { flag_key, .. } => flag_key.as_str(),
            Self::TierDefaultSet { tier_default } => tier_default.flag.as_str(),
            Self::TenantOverrideSet { tenant_override } => tenant_override.tenant.as_str(),
            Self::TenantOverrideCleared { tenant_id, .. } => tenant_id.as_str(),
            Self::SegmentCreated { segment } | Self::SegmentUpdated { segment } => {
                segment.settings.name.as_str()
            }
            Self::SegmentDeleted { segment_name } => segment_name.as_str(),
            Self::FlagsApplied { .. } => "*",
        }
    }
}

/// An entry of the log: who did what, when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Who.
    pub actor: String,
    /// When, by the clock of the replica that made it.
    pub time: Timestamp,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

//! The words of answers: reasons, error codes, layers.

/// OpenFeature's word for how an answer came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The same for every tenant, context and moment until the flag changes. Clients keep such answers by flag key
    /// alone, so a value that could differ must never carry it.
    Static,
    /// Chosen for this tenant or context.
    TargetingMatch,
    /// This tenant's share of a rollout.
    Split,
    /// The flag's default, or what it gives while it is off.
    Default,
    /// The flag is not in use.
    Disabled,
    /// There is no such flag, or it is broken.
    Error,
}

impl Reason {
    /// The word on the wire, for example `TARGETING_MATCH`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "STATIC",
            Self::TargetingMatch => "TARGETING_MATCH",
            Self::Split => "SPLIT",
            Self::Default => "DEFAULT",
            Self::Disabled => "DISABLED",
            Self::Error => "ERROR",
        }
    }
}

/// OpenFeature's word for what is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// There is no such flag.
    FlagNotFound,
    /// A rule cannot be read.
    ParseError,
    /// A rule names a variant that the flag does not have.
    General,
}

impl ErrorCode {
    /// The word on the wire, for example `FLAG_NOT_FOUND`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FlagNotFound => "FLAG_NOT_FOUND",
            Self::ParseError => "PARSE_ERROR",
            Self::General => "GENERAL",
        }
    }
}

/// A layer of the hierarchy, in order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// There is no such flag.
    UnknownFlag,
    /// The flag is disabled or archived.
    Disabled,
    /// The flag's kill switch is true, or cannot say that it is false.
    KillSwitch,
    /// The flag has expired.
    Expired,
    /// It is not the time for it.
    Schedule,
    /// Another flag does not have the variant that this one needs.
    Prerequisite,
    /// Another flag of a group is on.
    Conflict,
    /// The tenant is not active. A kill switch counts for it all the same.
    SafeDefault,
    /// The tenant's own.
    TenantOverride,
    /// A rule.
    TargetingRule,
    /// The tier's.
    TierDefault,
    /// The flag's default.
    GlobalDefault,
}

impl Layer {
    /// The layers of a flag that exists.
    pub(super) const OF_FLAG: [Self; 11] = [
        Self::Disabled,
        Self::KillSwitch,
        Self::Expired,
        Self::Schedule,
        Self::Prerequisite,
        Self::Conflict,
        Self::SafeDefault,
        Self::TenantOverride,
        Self::TargetingRule,
        Self::TierDefault,
        Self::GlobalDefault,
    ];

    /// The name in the contract, for example `TENANT_OVERRIDE`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownFlag => "UNKNOWN_FLAG",
            Self::Disabled => "DISABLED",
            Self::SafeDefault => "SAFE_DEFAULT",
            Self::KillSwitch => "KILL_SWITCH",
            Self::Expired => "EXPIRED",
            Self::Schedule => "SCHEDULE",
            Self::Prerequisite => "PREREQUISITE",
            Self::Conflict => "CONFLICT",
            Self::TenantOverride => "TENANT_OVERRIDE",
            Self::TargetingRule => "TARGETING_RULE",
            Self::TierDefault => "TIER_DEFAULT",
            Self::GlobalDefault => "GLOBAL_DEFAULT",
        }
    }
}

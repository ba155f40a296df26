//! Evaluation: the first layer that has an answer decides.
//!
//! [`entry`] and [`explain`] walk the same list with the same function, so an explanation cannot contradict the answer.

use std::fmt;

use jiff::Timestamp;

use super::compile::Entry;
use super::{Flag, FlagState, Value};
use crate::domain::ids::{Revision, TenantId, TierId, VariantName};
use crate::domain::lifecycle::Access;

static FALSE: Value = Value::Boolean(false);

/// What evaluation needs to know of a tenant.
#[derive(Debug, Clone, Copy)]
pub struct TenantFacts<'a> {
    /// Which tenant.
    pub tenant_id: &'a TenantId,
    /// Its tier.
    pub tier: &'a TierId,
    /// What the registry grants it right now: anything but full access means safe answers.
    pub access: Access,
}

/// OpenFeature's word for how an answer came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The same for every tenant until the flag changes. Clients keep such answers by flag key alone, so a value that
    /// differs between tenants must never carry it.
    Static,
    /// Chosen for this tenant.
    TargetingMatch,
    /// The flag's default.
    Default,
    /// The flag is not in use.
    Disabled,
    /// There is no such flag.
    Error,
}

impl Reason {
    /// The word on the wire, for example `TARGETING_MATCH`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "STATIC",
            Self::TargetingMatch => "TARGETING_MATCH",
            Self::Default => "DEFAULT",
            Self::Disabled => "DISABLED",
            Self::Error => "ERROR",
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
    /// The tenant is not active.
    SafeDefault,
    /// The tenant's own.
    TenantOverride,
    /// The tier's.
    TierDefault,
    /// The flag's default variant.
    GlobalDefault,
}

impl Layer {
    /// The layers of a flag that exists.
    const OF_FLAG: [Self; 5] =
        [Self::Disabled, Self::SafeDefault, Self::TenantOverride, Self::TierDefault, Self::GlobalDefault];

    /// The name in the contract, for example `TENANT_OVERRIDE`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownFlag => "UNKNOWN_FLAG",
            Self::Disabled => "DISABLED",
            Self::SafeDefault => "SAFE_DEFAULT",
            Self::TenantOverride => "TENANT_OVERRIDE",
            Self::TierDefault => "TIER_DEFAULT",
            Self::GlobalDefault => "GLOBAL_DEFAULT",
        }
    }
}

/// What one tenant sees of one flag. Borrows from the snapshot; nothing is allocated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation<'a> {
    /// The value; none where the flag is disabled or has no default.
    pub value: Option<&'a Value>,
    /// The variant's name; none without a value and for an unknown flag.
    pub variant: Option<&'a VariantName>,
    /// How it came about.
    pub reason: Reason,
    /// The layer that decided.
    pub layer: Layer,
    /// The flag's revision; 0 for an unknown flag.
    pub revision: Revision,
}

impl Evaluation<'_> {
    /// The answer for a flag that does not exist.
    pub const fn unknown() -> Self {
        Self {
            value: Some(&FALSE),
            variant: None,
            reason: Reason::Error,
            layer: Layer::UnknownFlag,
            revision: Revision::ZERO,
        }
    }

    /// OpenFeature's error code, where the reason is ERROR.
    pub const fn error_code(&self) -> Option<&'static str> {
        match self.reason {
            Reason::Error => Some("FLAG_NOT_FOUND"),
            _ => None,
        }
    }
}

/// What one layer had to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerExplanation {
    /// Which layer.
    pub layer: Layer,
    /// Whether it decided.
    pub decided: bool,
    /// The variant it holds, if any, whether or not it decided.
    pub variant: Option<VariantName>,
    /// A sentence for people.
    pub detail: String,
}

impl LayerExplanation {
    pub(super) fn unknown_flag() -> Self {
        Self {
            layer: Layer::UnknownFlag,
            decided: true,
            variant: None,
            detail: "There is no such flag; the answer is false.".to_owned(),
        }
    }
}

/// One layer's say: its variant, and whether that is an answer.
struct Say<'a> {
    variant: Option<&'a VariantName>,
    verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Answers(Answer),
    Passes(Pass),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    NotInUse(FlagState),
    Safe,
    SafeByDefault,
    Override(Option<Timestamp>),
    Tier,
    Global,
    NoDefault,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    InUse,
    TenantActive,
    NoOverride,
    OverrideExpired(Timestamp),
    NoTierDefault,
    VariantGone,
}

fn ask<'a>(
    layer: Layer,
    entry: &'a Entry,
    flag: &'a Flag,
    tenant: &TenantFacts<'_>,
    now: Timestamp,
) -> Say<'a> {
    let answers = |variant, answer| Say { variant, verdict: Verdict::Answers(answer) };
    let passes = |variant, pass| Say { variant, verdict: Verdict::Passes(pass) };
    // A variant that the flag no longer has is no answer: the next layer's is better than none.
    let held = |variant: &'a VariantName, answer| {
        if flag.variants.contains_key(variant) {
            answers(Some(variant), answer)
        } else {
            passes(Some(variant), Pass::VariantGone)
        }
    };
    match layer {
        Layer::Disabled | Layer::UnknownFlag => match flag.state {
            FlagState::Enabled => passes(None, Pass::InUse),
            state @ (FlagState::Disabled | FlagState::Archived) => answers(None, Answer::NotInUse(state)),
        },
        Layer::SafeDefault if tenant.access == Access::Full => {
            passes(flag.safe_variant.as_ref(), Pass::TenantActive)
        }
        Layer::SafeDefault => match &flag.safe_variant {
            Some(variant) if flag.variants.contains_key(variant) => answers(Some(variant), Answer::Safe),
            _ => answers(flag.default_variant.as_ref(), Answer::SafeByDefault),
        },
        Layer::TenantOverride => match entry.overrides.get(tenant.tenant_id) {
            None => passes(None, Pass::NoOverride),
            Some(own) => match own.expire_time {
                Some(end) if end <= now => passes(Some(&own.variant), Pass::OverrideExpired(end)),
                end => held(&own.variant, Answer::Override(end)),
            },
        },
        Layer::TierDefault => match entry.tier_defaults.get(tenant.tier) {
            None => passes(None, Pass::NoTierDefault),
            Some(default) => held(&default.variant, Answer::Tier),
        },
        Layer::GlobalDefault => match &flag.default_variant {
            None => answers(None, Answer::NoDefault),
            Some(variant) => answers(Some(variant), Answer::Global),
        },
    }
}

/// Whether no tenant, tier, status or moment can change the answer.
fn is_constant(entry: &Entry, flag: &Flag) -> bool {
    entry.overrides.is_empty()
        && entry.tier_defaults.is_empty()
        && (flag.safe_variant.is_none() || flag.safe_variant == flag.default_variant)
}

pub(super) fn entry<'a>(entry: &'a Entry, tenant: &TenantFacts<'_>, now: Timestamp) -> Evaluation<'a> {
    let Some(flag) = entry.flag.as_deref() else { return Evaluation::unknown() };
    for layer in Layer::OF_FLAG {
        let Say { variant, verdict: Verdict::Answers(answer) } = ask(layer, entry, flag, tenant, now) else {
            continue;
        };
        let found = variant.and_then(|variant| flag.variants.get_key_value(variant));
        let reason = match answer {
            Answer::NotInUse(_) => Reason::Disabled,
            Answer::Safe | Answer::Override(_) | Answer::Tier => Reason::TargetingMatch,
            Answer::Global if is_constant(entry, flag) => Reason::Static,
            Answer::Global | Answer::SafeByDefault | Answer::NoDefault => Reason::Default,
        };
        return Evaluation {
            value: found.map(|(_, value)| value),
            variant: found.map(|(name, _)| name),
            reason,
            layer,
            revision: flag.revision,
        };
    }
    // Not reached: the last layer always answers.
    Evaluation::unknown()
}

pub(super) fn explain(entry: &Entry, tenant: &TenantFacts<'_>, now: Timestamp) -> Vec<LayerExplanation> {
    let Some(flag) = entry.flag.as_deref() else { return vec![LayerExplanation::unknown_flag()] };
    let mut decided_before = false;
    Layer::OF_FLAG
        .into_iter()
        .map(|layer| {
            let say = ask(layer, entry, flag, tenant, now);
            let decided = !decided_before && matches!(say.verdict, Verdict::Answers(_));
            let mut detail = Detail { tenant, verdict: say.verdict }.to_string();
            if decided_before && matches!(say.verdict, Verdict::Answers(_)) {
                detail.push_str(" An earlier layer decided.");
            }
            decided_before |= decided;
            LayerExplanation { layer, decided, variant: say.variant.cloned(), detail }
        })
        .collect()
}

struct Detail<'a> {
    tenant: &'a TenantFacts<'a>,
    verdict: Verdict,
}

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TenantFacts { tenant_id, tier, .. } = self.tenant;
        match self.verdict {
            Verdict::Answers(answer) => match answer {
                Answer::NotInUse(FlagState::Archived) => {
                    f.write_str("The flag is archived; it has no value.")
                }
                Answer::NotInUse(_) => f.write_str("The flag is disabled; it has no value."),
                Answer::Safe => write!(f, "Tenant {tenant_id} is not active; it gets the safe variant."),
                Answer::SafeByDefault => {
                    write!(
                        f,
                        "Tenant {tenant_id} is not active and the flag has no safe variant; it gets the default."
                    )
                }
                Answer::Override(None) => write!(f, "Tenant {tenant_id} has an override."),
                Answer::Override(Some(end)) => write!(f, "Tenant {tenant_id} has an override until {end}."),
                Answer::Tier => write!(f, "Tier {tier} has a default."),
                Answer::Global => f.write_str("The flag has a default variant."),
                Answer::NoDefault => f.write_str("The flag has no default variant; there is no value."),
            },
            Verdict::Passes(pass) => match pass {
                Pass::InUse => f.write_str("The flag is enabled."),
                Pass::TenantActive => write!(f, "Tenant {tenant_id} is active."),
                Pass::NoOverride => write!(f, "Tenant {tenant_id} has no override."),
                Pass::OverrideExpired(end) => write!(f, "The override of tenant {tenant_id} ended at {end}."),
                Pass::NoTierDefault => write!(f, "Tier {tier} has no default."),
                Pass::VariantGone => f.write_str("The variant named here is not one of the flag's any more."),
            },
        }
    }
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;

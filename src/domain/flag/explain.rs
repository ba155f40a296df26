//! Why a tenant sees what it sees, layer by layer.

use std::fmt;

use super::ask::{Answer, Case, Pass, Safe, Verdict};
use super::evaluate::Query;
use super::settings::FlagState;
use super::words::{ErrorCode, Layer};
use crate::domain::ids::VariantName;

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

pub(super) fn explain(case: &Case<'_, '_>) -> Vec<LayerExplanation> {
    let mut decided_before = false;
    Layer::OF_FLAG
        .into_iter()
        .map(|layer| {
            let say = case.ask(layer);
            let answers = matches!(say.verdict, Verdict::Answers(_));
            let mut detail = Detail { query: case.query, verdict: say.verdict }.to_string();
            if decided_before && answers {
                detail.push_str(" An earlier layer decided.");
            }
            let decided = !decided_before && answers;
            decided_before |= decided;
            LayerExplanation { layer, decided, variant: say.variant.cloned(), detail }
        })
        .collect()
}

struct Detail<'a> {
    query: &'a Query<'a>,
    verdict: Verdict<'a>,
}

impl Detail<'_> {
    fn tenant(&self) -> &str {
        self.query.tenant.map_or("", |tenant| tenant.tenant_id.as_str())
    }

    fn tier(&self) -> &str {
        self.query.tenant.map_or("", |tenant| tenant.tier.as_str())
    }

    fn answer(&self, f: &mut fmt::Formatter<'_>, answer: Answer<'_>) -> fmt::Result {
        let (tenant, tier) = (self.tenant(), self.tier());
        match answer {
            Answer::NotInUse(FlagState::Archived) => f.write_str("The flag is archived; there is no value."),
            Answer::NotInUse(_) => f.write_str("The flag is disabled; there is no value."),
            Answer::Safe(Safe::Named) => {
                write!(f, "Tenant {tenant} is not active; it gets the flag's safe or expired variant.")
            }
            Answer::Safe(Safe::Default) => {
                write!(
                    f,
                    "Tenant {tenant} is not active; the flag has no safe variant, so it gets the default."
                )
            }
            Answer::Safe(Safe::StaysOff) => {
                write!(f, "Tenant {tenant} is not active; what would be off for it if it were stays off.")
            }
            Answer::Killed(switch) => write!(f, "The kill switch {switch} is on."),
            Answer::SwitchGone(switch) => {
                write!(f, "The kill switch {switch} is missing; without it the flag is off.")
            }
            Answer::SwitchSilent(switch) => {
                write!(
                    f,
                    "The kill switch {switch} is neither true nor false (disabled, archived or broken); without it the flag is off."
                )
            }
            Answer::Expired(end) => write!(f, "The flag expired at {end}."),
            Answer::OffSchedule => f.write_str("The flag's schedule has no window for now."),
            Answer::Unmet(needed) => {
                let variants: Vec<_> = needed.variants.iter().map(VariantName::as_str).collect();
                write!(f, "The flag {} does not have the variant {}.", needed.flag_key, variants.join(" or "))
            }
            Answer::Excluded(rival) => write!(f, "The flag {rival}, which excludes this one, is on."),
            Answer::Override { end: None, share: false, .. } => write!(f, "Tenant {tenant} has an override."),
            Answer::Override { end: Some(end), share: false, .. } => {
                write!(f, "Tenant {tenant} has an override until {end}.")
            }
            Answer::Override { share: true, .. } => write!(f, "Tenant {tenant} has a rollout of its own."),
            Answer::Rule { id, share: false } => write!(f, "The rule {id} applies."),
            Answer::Rule { id, share: true } => write!(f, "The rule {id} applies, and its rollout decides."),
            Answer::Broken { id, error: ErrorCode::General } => {
                write!(f, "The rule {id} names a variant that the flag does not have.")
            }
            Answer::Broken { id, .. } => write!(f, "The rule {id} cannot be evaluated."),
            Answer::Tier { share: false, .. } => write!(f, "Tier {tier} has a default."),
            Answer::Tier { share: true, .. } => write!(f, "Tier {tier} has a rollout."),
            Answer::Global { share: false } => f.write_str("The flag has a default variant."),
            Answer::Global { share: true } => f.write_str("The flag's own rollout decides."),
            Answer::NoDefault => f.write_str("The flag has no default variant; there is no value."),
        }
    }

    fn pass(&self, f: &mut fmt::Formatter<'_>, pass: Pass<'_>) -> fmt::Result {
        let (tenant, tier) = (self.tenant(), self.tier());
        match pass {
            Pass::InUse => f.write_str("The flag is enabled."),
            Pass::TenantActive => write!(f, "Tenant {tenant} is active."),
            Pass::SwitchCounts => {
                write!(f, "Tenant {tenant} is not active; a kill switch counts for it all the same.")
            }
            Pass::NoTenant => f.write_str("No tenant was named."),
            Pass::NoKillSwitch => f.write_str("The flag has no kill switch."),
            Pass::NotKilled(switch) => write!(f, "The kill switch {switch} is off."),
            Pass::NoExpiry => f.write_str("The flag does not expire."),
            Pass::NotExpired(end) => write!(f, "The flag expires at {end}."),
            Pass::ExpiredGoesOn(end) => {
                write!(f, "The flag expired at {end}; it has no variant for that and goes on.")
            }
            Pass::NoSchedule => f.write_str("The flag has no schedule."),
            Pass::OnSchedule => f.write_str("The flag's schedule has a window for now."),
            Pass::NoPrerequisite => f.write_str("The flag needs no other flag."),
            Pass::AllMet => f.write_str("The flags that it needs have the variants that it needs."),
            Pass::NoConflict => f.write_str("No other flag excludes this one."),
            Pass::NotExcluded => f.write_str("No flag that would exclude this one is on."),
            Pass::NoOverride => write!(f, "Tenant {tenant} has no override."),
            Pass::OverrideExpired(end) => write!(f, "The override of tenant {tenant} ended at {end}."),
            Pass::NoRule => f.write_str("The flag has no targeting rules."),
            Pass::NoRuleMatches => f.write_str("None of the flag's rules applies."),
            Pass::RuleGivenUp => f.write_str(
                "None of the flag's rules applies; one was given up, since this context makes it cost more than a rule may.",
            ),
            Pass::NoTierDefault => write!(f, "Tier {tier} has no default."),
            Pass::NoShare => {
                f.write_str("The rollout's attribute is missing, empty, or neither text nor number.")
            }
            Pass::VariantGone => f.write_str("The variant named here is not one of the flag's any more."),
        }
    }
}

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict {
            Verdict::Answers(answer) => self.answer(f, answer),
            Verdict::Passes(pass) => self.pass(f, pass),
        }
    }
}

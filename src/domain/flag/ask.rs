//! What each layer has to say.

use jiff::Timestamp;

use super::choice::{BUCKET_BY, Choice, Split, TenantOverride};
use super::compile::{CompiledFlags, Entry};
use super::compiled::{Compiled, Given, served};
use super::evaluate::{Evaluation, Memo, Query};
use super::settings::{FlagState, Prerequisite};
use super::targeting::TargetingRule;
use super::value::Value;
use super::words::{ErrorCode, Layer};
use crate::domain::ids::{FlagKey, VariantName};
use crate::domain::lifecycle::Access;
use crate::domain::rule::{Input, Selection};

/// All that one flag's answer follows from.
pub(super) struct Case<'a, 'q> {
    pub(super) flags: &'a CompiledFlags,
    pub(super) entry: &'a Entry,
    pub(super) compiled: &'a Compiled,
    pub(super) own: Option<&'a TenantOverride>,
    pub(super) query: &'q Query<'q>,
    pub(super) memo: &'q Memo<'a>,
}

/// One layer's say: the variant it holds, and whether that is an answer.
pub(super) struct Say<'a> {
    pub(super) variant: Option<&'a VariantName>,
    pub(super) value: Option<&'a Value>,
    pub(super) verdict: Verdict<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    Answers(Answer<'a>),
    Passes(Pass<'a>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer<'a> {
    NotInUse(FlagState),
    Safe,
    Killed(&'a FlagKey),
    Expired(Timestamp),
    OffSchedule,
    Unmet(&'a Prerequisite),
    Excluded(&'a FlagKey),
    Override { end: Option<Timestamp>, share: bool },
    Rule { id: &'a str, share: bool },
    Broken { id: &'a str, error: ErrorCode },
    Tier { share: bool },
    Global { share: bool },
    NoDefault,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass<'a> {
    InUse,
    TenantActive,
    NoTenant,
    NoKillSwitch,
    NotKilled(&'a FlagKey),
    NoExpiry,
    NotExpired(Timestamp),
    ExpiredGoesOn(Timestamp),
    NoSchedule,
    OnSchedule,
    NoPrerequisite,
    AllMet,
    NoConflict,
    NotExcluded,
    NoOverride,
    OverrideExpired(Timestamp),
    NoRule,
    NoRuleMatches,
    NoTierDefault,
    NoShare,
    VariantGone,
}

impl<'a> Say<'a> {
    const fn passes(pass: Pass<'a>) -> Self {
        Self { variant: None, value: None, verdict: Verdict::Passes(pass) }
    }

    pub(super) fn answers(given: Option<&'a Given>, answer: Answer<'a>) -> Self {
        Self {
            variant: given.map(|(variant, _)| variant),
            value: given.map(|(_, value)| value),
            verdict: Verdict::Answers(answer),
        }
    }
}

impl<'a> Case<'a, '_> {
    pub(super) fn ask(&self, layer: Layer) -> Say<'a> {
        let compiled = self.compiled;
        let settings = &compiled.flag.settings;
        match layer {
            Layer::Disabled | Layer::UnknownFlag => match settings.state {
                FlagState::Enabled => Say::passes(Pass::InUse),
                state => Say::answers(None, Answer::NotInUse(state)),
            },
            Layer::SafeDefault => match self.query.tenant {
                None => Say::passes(Pass::NoTenant),
                Some(tenant) if tenant.access == Access::Full => Say::passes(Pass::TenantActive),
                Some(_) => Say::answers(compiled.safe.as_ref(), Answer::Safe),
            },
            Layer::KillSwitch => match &settings.kill_switch {
                None => Say::passes(Pass::NoKillSwitch),
                Some(switch) => match self.answer_of(switch).and_then(|found| found.value) {
                    Some(Value::Boolean(true)) => Say::answers(compiled.off.as_ref(), Answer::Killed(switch)),
                    _ => Say::passes(Pass::NotKilled(switch)),
                },
            },
            Layer::Expired => match (settings.expire_time, &compiled.expired) {
                (None, _) => Say::passes(Pass::NoExpiry),
                (Some(end), _) if self.query.now < end => Say::passes(Pass::NotExpired(end)),
                (Some(end), None) => Say::passes(Pass::ExpiredGoesOn(end)),
                (Some(end), given) => Say::answers(given.as_ref(), Answer::Expired(end)),
            },
            Layer::Schedule if settings.schedule.is_empty() => Say::passes(Pass::NoSchedule),
            Layer::Schedule => {
                if settings.schedule.iter().any(|window| window.contains(self.query.now)) {
                    Say::passes(Pass::OnSchedule)
                } else {
                    Say::answers(compiled.off.as_ref(), Answer::OffSchedule)
                }
            }
            Layer::Prerequisite => self.ask_prerequisites(&settings.prerequisites),
            Layer::Conflict => self.ask_conflicts(),
            Layer::TenantOverride => self.ask_override(),
            Layer::TargetingRule => self.ask_rules(&settings.rules),
            Layer::TierDefault => {
                let tier = self.query.tenant.and_then(|tenant| self.entry.tier_defaults.get(tenant.tier));
                tier.map_or(Say::passes(Pass::NoTierDefault), |default| {
                    self.give(&default.choice, |share| Answer::Tier { share })
                })
            }
            Layer::GlobalDefault => {
                let share = settings.default_rollout.as_ref().and_then(|split| self.share(split));
                match (share.and_then(|variant| settings.variants.get_key_value(variant)), &compiled.default)
                {
                    (Some((variant, value)), _) => Say {
                        variant: Some(variant),
                        value: Some(value),
                        verdict: Verdict::Answers(Answer::Global { share: true }),
                    },
                    (None, None) => Say::answers(None, Answer::NoDefault),
                    (None, given) => Say::answers(given.as_ref(), Answer::Global { share: false }),
                }
            }
        }
    }

    fn ask_prerequisites(&self, prerequisites: &'a [Prerequisite]) -> Say<'a> {
        if prerequisites.is_empty() {
            return Say::passes(Pass::NoPrerequisite);
        }
        let unmet = |needed: &&Prerequisite| {
            let variant = self.answer_of(&needed.flag_key).and_then(|found| found.variant);
            !variant.is_some_and(|variant| needed.variants.contains(variant))
        };
        match prerequisites.iter().find(unmet) {
            None => Say::passes(Pass::AllMet),
            Some(needed) => Say::answers(self.compiled.off.as_ref(), Answer::Unmet(needed)),
        }
    }

    fn ask_conflicts(&self) -> Say<'a> {
        if self.compiled.flag.settings.conflict_groups.is_empty() {
            return Say::passes(Pass::NoConflict);
        }
        let is_on = |rival: &&FlagKey| {
            let off = self.flags.compiled(rival.as_str()).and_then(|rival| rival.off.as_ref());
            let variant = self.answer_of(rival).and_then(|found| found.variant);
            variant.is_some() && variant != off.map(|(variant, _)| variant)
        };
        match self.flags.rivals_above(&self.compiled.flag.settings).find(is_on) {
            None => Say::passes(Pass::NotExcluded),
            Some(rival) => Say::answers(self.compiled.off.as_ref(), Answer::Excluded(rival)),
        }
    }

    fn ask_override(&self) -> Say<'a> {
        match self.own {
            None => Say::passes(Pass::NoOverride),
            Some(own) => match own.expire_time {
                Some(end) if end <= self.query.now => {
                    Say { variant: own.choice.variant(), ..Say::passes(Pass::OverrideExpired(end)) }
                }
                end => self.give(&own.choice, |share| Answer::Override { end, share }),
            },
        }
    }

    fn ask_rules(&self, rules: &'a [TargetingRule]) -> Say<'a> {
        if rules.is_empty() {
            return Say::passes(Pass::NoRule);
        }
        let Query { context, now, .. } = *self.query;
        let input = Input { flag_key: self.compiled.flag.key().as_str(), now, context };
        let broken = |id, error| Say::answers(None, Answer::Broken { id, error });
        for (rule, compiled) in rules.iter().zip(&self.compiled.rules) {
            let id = rule.id.as_str();
            let Ok(test) = &compiled.test else { return broken(id, ErrorCode::ParseError) };
            if let Some(choice) = served(rule) {
                if test.matches(&input) {
                    let said = self.give(choice, |share| Answer::Rule { id, share });
                    if matches!(said.verdict, Verdict::Answers(_)) {
                        return said;
                    }
                }
                continue;
            }
            match test.select(&input) {
                Selection::Default => {}
                Selection::Failed(_) => return broken(id, ErrorCode::ParseError),
                Selection::Variant(name) => {
                    let found = self.compiled.flag.settings.variants.get_key_value(&*name);
                    let Some((variant, value)) = found else { return broken(id, ErrorCode::General) };
                    let verdict = Verdict::Answers(Answer::Rule { id, share: false });
                    return Say { variant: Some(variant), value: Some(value), verdict };
                }
            }
        }
        Say::passes(Pass::NoRuleMatches)
    }

    /// What a choice gives. A variant that the flag no longer has, and a share of what is not known, are no answers:
    /// the next layer's is better than none.
    fn give(&self, choice: &'a Choice, answer: impl Fn(bool) -> Answer<'a>) -> Say<'a> {
        let (variant, share) = match choice {
            Choice::Variant(variant) => (variant, false),
            Choice::Rollout(split) => match self.share(split) {
                Some(variant) => (variant, true),
                None => return Say::passes(Pass::NoShare),
            },
        };
        match self.compiled.flag.settings.variants.get_key_value(variant) {
            None => Say { variant: Some(variant), ..Say::passes(Pass::VariantGone) },
            Some((variant, value)) => {
                Say { variant: Some(variant), value: Some(value), verdict: Verdict::Answers(answer(share)) }
            }
        }
    }

    fn share(&self, split: &'a Split) -> Option<&'a VariantName> {
        let now = self.query.now;
        if split.bucket_by == BUCKET_BY
            && let Some(tenant) = self.query.tenant
        {
            return split.rollout.select(tenant.tenant_id.as_str(), now);
        }
        match self.query.context.get(&split.bucket_by)? {
            serde_json::Value::String(key) => split.rollout.select(key, now),
            serde_json::Value::Number(number) => split.rollout.select(&number.to_string(), now),
            _ => None,
        }
    }

    fn answer_of(&self, key: &FlagKey) -> Option<&Evaluation<'a>> {
        self.memo.get(key.as_str())
    }
}

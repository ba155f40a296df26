//! What each layer has to say.

use jiff::Timestamp;

use super::choice::{Choice, Split, TenantOverride};
use super::compile::{CompiledFlags, Entry};
use super::compiled::{Compiled, Given, Named, Ready, ReadySplit};
use super::evaluate::{Evaluation, Memo, Query};
use super::settings::{FlagState, Kind, Prerequisite};
use super::value::Value;
use super::words::{ErrorCode, Layer};
use crate::domain::ids::{FlagKey, Revision, VariantName};
use crate::domain::lifecycle::Access;
use crate::domain::rule::{Input, Selection};

/// All that one flag's answer follows from.
pub(super) struct Case<'a, 'q> {
    pub(super) flags: &'a CompiledFlags,
    pub(super) entry: &'a Entry,
    pub(super) key: &'a FlagKey,
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
    Safe(Safe),
    Killed(&'a FlagKey),
    SwitchGone(&'a FlagKey),
    SwitchSilent(&'a FlagKey),
    Expired(Timestamp),
    OffSchedule,
    Unmet(&'a Prerequisite),
    Excluded(&'a FlagKey),
    Override { end: Option<Timestamp>, share: bool, revision: Revision },
    Rule { id: &'a str, share: bool },
    Broken { id: &'a str, error: ErrorCode },
    Tier { share: bool, revision: Revision },
    Global { share: bool },
    NoDefault,
}

/// What a tenant that is not active gets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Safe {
    /// The variant that the flag names for that, or for when it has expired.
    Named,
    /// The default.
    Default,
    /// The off variant, since that is what it would have if it were active: a suspension turns nothing on.
    StaysOff,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass<'a> {
    InUse,
    TenantActive,
    SwitchCounts,
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
    RuleGivenUp,
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
    #[allow(clippy::inline_always)] // Of a layer known beforehand only its own part is left: a third of the time.
    #[inline(always)]
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
                // Else a suspension would end an emergency: what the switch guards came back for the tenant.
                Some(_) if settings.kind == Kind::KillSwitch => Say::passes(Pass::SwitchCounts),
                Some(_) => self.ask_safe(),
            },
            Layer::KillSwitch => match &settings.kill_switch {
                None => Say::passes(Pass::NoKillSwitch),
                // Nobody can say that it is off: as what a flag needs, it has to be there.
                Some(switch) if self.flags.compiled(switch.as_str()).is_none() => {
                    Say::answers(compiled.off.as_ref(), Answer::SwitchGone(switch))
                }
                Some(switch) => match self.answer_of(switch).and_then(|found| found.value) {
                    Some(Value::Boolean(true)) => Say::answers(compiled.off.as_ref(), Answer::Killed(switch)),
                    Some(Value::Boolean(false)) => Say::passes(Pass::NotKilled(switch)),
                    // Disabled, archived, broken, without a default, no longer a boolean: as good as gone.
                    _ => Say::answers(compiled.off.as_ref(), Answer::SwitchSilent(switch)),
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
            Layer::TargetingRule => self.ask_rules(),
            Layer::TierDefault => {
                let tier = self.query.tenant.and_then(|tenant| self.entry.tier_defaults.get(tenant.tier));
                tier.map_or(Say::passes(Pass::NoTierDefault), |default| {
                    self.give(&default.choice, |share| Answer::Tier { share, revision: default.revision })
                })
            }
            Layer::GlobalDefault => {
                let share = compiled.default_split.as_ref().and_then(|split| self.ready_share(split));
                match (share, &compiled.default) {
                    (Some((variant, Some(value))), _) => Say {
                        variant: Some(variant),
                        value: Some(value),
                        verdict: Verdict::Answers(Answer::Global { share: true }),
                    },
                    (_, None) => Say::answers(None, Answer::NoDefault),
                    (_, given) => Say::answers(given.as_ref(), Answer::Global { share: false }),
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

    /// The answer of a tenant that is not active. A default that turns on what would be off for it is not a safe one.
    #[inline(never)]
    fn ask_safe(&self) -> Say<'a> {
        let Compiled { off, safe, .. } = self.compiled;
        if !self.compiled.may_stay_off() {
            let why = if self.compiled.names_safe() { Safe::Named } else { Safe::Default };
            return Say::answers(safe.as_ref(), Answer::Safe(why));
        }
        let mut below = self.compiled.layers_below(Layer::SafeDefault).iter().map(|layer| self.ask(*layer));
        let stays_off = below.find_map(|say| match say.verdict {
            Verdict::Passes(_) => None,
            // A rule that is broken turns nothing on either.
            Verdict::Answers(Answer::Broken { .. }) => Some(true),
            Verdict::Answers(_) => Some(say.variant == off.as_ref().map(|(variant, _)| variant)),
        });
        match stays_off {
            Some(true) => Say::answers(off.as_ref(), Answer::Safe(Safe::StaysOff)),
            _ => Say::answers(safe.as_ref(), Answer::Safe(Safe::Default)),
        }
    }

    fn ask_override(&self) -> Say<'a> {
        match self.own {
            None => Say::passes(Pass::NoOverride),
            Some(own) => match own.expire_time {
                Some(end) if end <= self.query.now => {
                    Say { variant: own.choice.variant(), ..Say::passes(Pass::OverrideExpired(end)) }
                }
                end => {
                    self.give(&own.choice, |share| Answer::Override { end, share, revision: own.revision })
                }
            },
        }
    }

    fn ask_rules(&self) -> Say<'a> {
        if self.compiled.rules.is_empty() {
            return Say::passes(Pass::NoRule);
        }
        let Query { context, now, .. } = *self.query;
        let input = Input { flag_key: self.key.as_str(), now, context };
        let budget = &self.memo.budget;
        let given_up = budget.given_up();
        let broken = |id, error| Say::answers(None, Answer::Broken { id, error });
        for rule in &self.compiled.rules {
            let id = &*rule.id;
            let Ok(test) = &rule.test else { return broken(id, ErrorCode::ParseError) };
            if let Some(ready) = &rule.serve {
                if test.matches_within(&input, budget) {
                    let said = self.give_ready(ready, |share| Answer::Rule { id, share });
                    if matches!(said.verdict, Verdict::Answers(_)) {
                        return said;
                    }
                }
                continue;
            }
            match test.select_within(&input, budget) {
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
        Say::passes(if budget.given_up() == given_up { Pass::NoRuleMatches } else { Pass::RuleGivenUp })
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

    /// The same for what was looked up in advance.
    fn give_ready(&self, ready: &'a Ready, answer: impl Fn(bool) -> Answer<'a>) -> Say<'a> {
        let (named, share) = match ready {
            Ready::Variant(named) => (named, false),
            Ready::Split(split) => match self.ready_share(split) {
                Some(named) => (named, true),
                None => return Say::passes(Pass::NoShare),
            },
        };
        let verdict = match named {
            (_, None) => Verdict::Passes(Pass::VariantGone),
            (_, Some(_)) => Verdict::Answers(answer(share)),
        };
        Say { variant: Some(&named.0), value: named.1.as_ref(), verdict }
    }

    fn share(&self, split: &'a Split) -> Option<&'a VariantName> {
        let hash = self.compiled.flag.settings.hash_version;
        split.rollout.select(hash, self.query.key_of(split).as_deref(), self.query.now)
    }

    fn ready_share(&self, split: &'a ReadySplit) -> Option<&'a Named> {
        let key = self.query.key(split.is_of_tenants, &split.bucket_by);
        split.shares.select(key.as_deref(), self.query.now)
    }

    fn answer_of(&self, key: &FlagKey) -> Option<&Evaluation<'a>> {
        self.memo.get(key.as_str())
    }
}

//! Evaluation: the first layer that has an answer decides.
//!
//! The explanation walks the same list with the same function, so it cannot contradict the answer.

use std::borrow::Cow;
use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::ask::{Answer, Case, Say, Verdict};
use super::choice::Split;
use super::value::Value;
use super::words::{ErrorCode, Layer, Reason};
use crate::domain::error::Error;
use crate::domain::ids::{Revision, TenantId, TierId, VariantName};
use crate::domain::lifecycle::Access;
use crate::domain::rule::{Budget, Context, Effort, Path, text_of};

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

/// Who asks, and when.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// For which tenant; without one, only what is the same for all tenants can answer.
    pub tenant: Option<TenantFacts<'a>>,
    /// The attributes that rules see, with the tenant's laid over the caller's.
    pub context: &'a Context,
    /// When.
    pub now: Timestamp,
}

impl<'a> Query<'a> {
    /// The same for a tenant that is active.
    pub(super) fn as_active(&self) -> Self {
        let tenant = self.tenant.map(|tenant| TenantFacts { access: Access::Full, ..tenant });
        Self { tenant, ..*self }
    }

    /// Whether the tenant is active, or none was named.
    pub(super) fn is_active(&self) -> bool {
        self.tenant.is_none_or(|tenant| tenant.access == Access::Full)
    }

    /// The key that a share goes by: the tenant's id, or the value of an attribute.
    pub(super) fn key_of(&self, split: &Split) -> Option<Cow<'a, str>> {
        self.key(!split.asks_callers(), &Path::parse(&split.bucket_by))
    }

    /// The same, of a path that was taken apart before. A text that is not empty and a number other than 0 are keys,
    /// nothing else: what is false to a rule is none to the in-process providers that get the share as one. A number has one text,
    /// however a client writes it.
    pub(super) fn key(&self, is_of_tenants: bool, bucket_by: &Path) -> Option<Cow<'a, str>> {
        if is_of_tenants && let Some(tenant) = self.tenant {
            return Some(tenant.tenant_id.as_str().into());
        }
        match self.context.value(bucket_by)? {
            Json::String(key) if !key.is_empty() => Some(key.as_str().into()),
            number @ Json::Number(_) if number.as_f64() != Some(0.0) => Some(text_of(number).into()),
            _ => None,
        }
    }
}

/// What one tenant sees of one flag. Borrows from the snapshot; nothing is allocated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation<'a> {
    /// The value; none where the flag is disabled, is broken or has no default.
    pub value: Option<&'a Value>,
    /// The variant's name; none without a value and for an unknown flag.
    pub variant: Option<&'a VariantName>,
    /// How it came about.
    pub reason: Reason,
    /// The layer that decided.
    pub layer: Layer,
    /// The rule that decided.
    pub rule: Option<&'a str>,
    /// When this answer ends by itself: the override that decided, or else the flag, where it gives something else then.
    pub expire_time: Option<Timestamp>,
    /// What is wrong, where the reason is ERROR.
    pub error: Option<ErrorCode>,
    /// The revision of what decided: the override, the tier default, else the flag; 0 for an unknown flag.
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
            rule: None,
            expire_time: None,
            error: Some(ErrorCode::FlagNotFound),
            revision: Revision::ZERO,
        }
    }

    /// OpenFeature's error code, where the reason is ERROR.
    pub fn error_code(&self) -> Option<&'static str> {
        self.error.map(ErrorCode::as_str)
    }
}

/// The rules of the flags that one call asks for cost more than it may: by what the context holds, or by what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("makes the rules of these flags cost more than one call may: send less, or ask for fewer flags")]
pub struct TooMuch;

impl From<TooMuch> for Error {
    fn from(too_much: TooMuch) -> Self {
        Self::field("context", too_much.to_string())
    }
}

/// The answers of flags that others hang on, each found once; all of one query and one set of flags.
#[derive(Default)]
pub(super) struct Memo<'a> {
    found: HashMap<&'a str, Evaluation<'a>>,
    /// What finding them took: one for each flag, and one for each look at another flag that one hangs on.
    steps: usize,
    /// What the rules may still cost.
    pub(super) budget: Budget,
    /// Those of kill switches, and of what they hang on, of a tenant that is not active: as if it were.
    as_active: Option<Box<Memo<'a>>>,
}

impl<'a> Memo<'a> {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Those of a client's call, whose rules may cost so much together and no more.
    pub(super) fn of_call(effort: Effort) -> Self {
        Self { budget: Budget::of_call(effort), ..Self::default() }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Evaluation<'a>> {
        self.found.get(key)
    }

    pub(super) fn insert(&mut self, key: &'a str, found: Evaluation<'a>) {
        self.found.insert(key, found);
    }

    pub(super) const fn count(&mut self, steps: usize) {
        self.steps += steps;
    }

    pub(super) fn steps(&self) -> usize {
        self.steps + self.as_active.as_ref().map_or(0, |memo| memo.steps)
    }

    /// Whether all rules were evaluated; else the answers are not what the flags say.
    pub(super) fn is_whole(&self) -> Result<(), TooMuch> {
        if self.budget.is_spent() {
            return Err(TooMuch);
        }
        self.as_active.as_ref().map_or(Ok(()), |memo| memo.is_whole())
    }

    pub(super) fn as_active(&mut self) -> &mut Self {
        self.as_active.get_or_insert_default()
    }
}

impl<'a> Case<'a, '_> {
    /// The answer of the first layer that has one.
    #[inline]
    pub(super) fn decide(&self) -> Evaluation<'a> {
        if !(self.compiled.is_simple && self.query.is_active()) {
            return self.decide_among_all();
        }
        // The layers that are left out would pass.
        if self.own.is_some()
            && let Some(found) = self.answer(Layer::TenantOverride)
        {
            return found;
        }
        if !self.compiled.rules.is_empty()
            && let Some(found) = self.answer(Layer::TargetingRule)
        {
            return found;
        }
        if !self.entry.tier_defaults.is_empty()
            && let Some(found) = self.answer(Layer::TierDefault)
        {
            return found;
        }
        self.answer(Layer::GlobalDefault).unwrap_or(Evaluation::unknown())
    }

    #[inline(never)]
    fn decide_among_all(&self) -> Evaluation<'a> {
        let found = self.compiled.layers.iter().find_map(|layer| self.answer(*layer));
        // The last layer always answers.
        found.unwrap_or(Evaluation::unknown())
    }

    /// The layer's answer, if it has one. In place, so that of a layer known beforehand only its own part is left.
    #[allow(clippy::inline_always)] // Of a layer known beforehand only its own part is left: a third of the time.
    #[inline(always)]
    fn answer(&self, layer: Layer) -> Option<Evaluation<'a>> {
        let say = self.ask(layer);
        match say.verdict {
            Verdict::Answers(answer) => Some(self.evaluation(layer, &say, answer)),
            Verdict::Passes(_) => None,
        }
    }

    #[allow(clippy::inline_always)] // As above.
    #[inline(always)]
    fn evaluation(&self, layer: Layer, say: &Say<'a>, answer: Answer<'a>) -> Evaluation<'a> {
        let ends = self.compiled.ends.filter(|_| layer > Layer::Expired);
        let plain = self.entry.tier_defaults.is_empty() && self.entry.overridden.is_empty();
        let chosen = |share| if share { Reason::Split } else { Reason::TargetingMatch };
        let (reason, rule, expire_time, error) = match answer {
            Answer::NotInUse(_) => (Reason::Disabled, None, None, None),
            Answer::Safe(_) => {
                let differs = say.variant != self.compiled.flag.settings.default_variant.as_ref();
                (if differs { Reason::TargetingMatch } else { Reason::Default }, None, None, None)
            }
            Answer::Override { end, share, .. } => (chosen(share), None, end.or(ends), None),
            Answer::Rule { id, share } => (chosen(share), Some(id), ends, None),
            Answer::Broken { id, error } => (Reason::Error, Some(id), None, Some(error)),
            Answer::Tier { share, .. } => (chosen(share), None, ends, None),
            Answer::Global { share: true } => (Reason::Split, None, ends, None),
            Answer::Global { share: false } if plain && self.compiled.is_constant => {
                (Reason::Static, None, None, None)
            }
            Answer::Killed(_)
            | Answer::SwitchGone(_)
            | Answer::SwitchSilent(_)
            | Answer::Expired(_)
            | Answer::OffSchedule
            | Answer::Unmet(_)
            | Answer::Excluded(_)
            | Answer::Global { share: false }
            | Answer::NoDefault => (Reason::Default, None, ends, None),
        };
        let revision = match answer {
            Answer::Override { revision, .. } | Answer::Tier { revision, .. } => revision,
            _ => self.compiled.revision,
        };
        Evaluation {
            value: say.value,
            variant: say.variant,
            reason,
            layer,
            rule,
            expire_time,
            error,
            revision,
        }
    }
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;

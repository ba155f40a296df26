//! Evaluation as OpenFeature's clients see it.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value as Json};

use super::scope::Scope;
use crate::domain::error::{Error, Reason as Failure};
use crate::domain::flag::{ErrorCode, Evaluation, Flag, FlagType, Query, Reason, TooMuch, Value};
use crate::domain::ids::TenantId;
use crate::domain::rule::{Context, Effort};
use crate::domain::text;
use crate::metering::evaluations::Evaluations;
use crate::services::costly::Unanswered;
use crate::services::kept_answers;
use crate::view::Snapshot;

/// What a client gets of one flag.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolution {
    /// The flag's key.
    pub key: String,
    /// The value; none where the flag is disabled or has no default.
    pub value: Option<Value>,
    /// The variant; none without a value.
    pub variant: Option<String>,
    /// How it came about. STATIC only for what is the same for every tenant, context and moment: clients keep such
    /// answers by key alone.
    pub reason: Reason,
    /// The flag's own metadata, and how the answer came about.
    pub metadata: Map<String, Json>,
}

/// A flag's key, and what a client gets of it.
pub type Found = (String, Result<Resolution, Error>);

/// One evaluation: who asks, with which attributes, when.
pub struct Asked {
    /// What is known.
    pub snapshot: Arc<Snapshot>,
    /// Whose flags, and which of them.
    pub scope: Scope,
    /// The client's attributes, those of the tenant and of the configuration over them.
    pub context: Context,
    /// When.
    pub now: Timestamp,
    /// Where it is counted.
    pub(super) evaluations: Evaluations,
}

impl Asked {
    fn query(&self) -> Query<'_> {
        let tenant = self.scope.tenant.as_deref().map(crate::view::Record::facts);
        Query { tenant, context: &self.context, now: self.now }
    }

    /// One flag of any type.
    pub(super) fn one(&self, key: &str, effort: Effort) -> Result<Resolution, Unanswered> {
        let flags = &self.snapshot.flags;
        let flag = flags.flag(key).filter(|flag| self.scope.has(&flag.settings));
        let flag = flag.ok_or_else(|| Error::missing(Failure::FlagNotFound, "flag", "flag_key", key))?;
        let query = self.query();
        let mut answers = flags.answers_of_call(&query, effort);
        let evaluation = answers.of(key);
        answers.are_whole()?;
        self.evaluations.count(flag.key(), self.tenant_id(), self.now);
        Ok(resolution(&self.snapshot, flag, &evaluation)?)
    }

    fn tenant_id(&self) -> Option<&TenantId> {
        self.scope.tenant.as_ref().map(|record| &record.tenant.tenant_id)
    }

    /// One flag of a type. A whole number is a number, and a number without fraction is a whole number.
    pub(super) fn one_of_type(
        &self,
        key: &str,
        wanted: FlagType,
        effort: Effort,
    ) -> Result<Resolution, Unanswered> {
        let mut resolution = self.one(key, effort)?;
        // What gives nothing fits every type, as in flagd.
        if let Some(value) = resolution.value.take() {
            resolution.value = value.converted(wanted);
            if resolution.value.is_none() {
                let flag_type = self.snapshot.flags.flag(key).map(|flag| flag.settings.flag_type);
                let found = flag_type.map_or_else(String::new, |found| found.to_string());
                return Err(mismatch(key, &format!("is of type {found}, not {wanted}")).into());
            }
        }
        Ok(resolution)
    }

    /// Counts an evaluation of all flags asked for.
    pub(super) fn count_all(&self) {
        if !self.scope.is_empty {
            self.evaluations.count_all(&self.snapshot.flags, self.scope.flag_set.as_deref(), self.now);
        }
    }

    /// Every flag asked for, by key; a broken one is an error of its own. Counting them is for the caller to do.
    pub(super) fn all(&self, effort: Effort) -> Result<Vec<Found>, TooMuch> {
        let query = self.query();
        let mut found = Vec::new();
        let all = self.snapshot.flags.evaluate_all(&query, effort, |key, evaluation| {
            if let Some(flag) =
                self.snapshot.flags.flag(key.as_str()).filter(|flag| self.scope.has(&flag.settings))
            {
                found.push((key.as_str().to_owned(), resolution(&self.snapshot, flag, evaluation)));
            }
        });
        all?;
        Ok(found)
    }

    /// The same question of all flags, as answers to it are kept. `bytes` are what else it says.
    pub(super) fn kept<'a>(&'a self, protocol: &'static str, bytes: &'a [u8]) -> kept_answers::Question<'a> {
        let record = self.scope.tenant.as_ref();
        let tier = record.and_then(|record| self.snapshot.tier_of(record));
        kept_answers::Question { protocol, bytes, record, tier, flags: &self.snapshot.flags, now: self.now }
    }
}

fn resolution(snapshot: &Snapshot, flag: &Flag, evaluation: &Evaluation<'_>) -> Result<Resolution, Error> {
    let key = flag.settings.key.as_str();
    if let Some(code) = evaluation.error {
        return Err(broken(key, code));
    }
    if matches!(evaluation.value, Some(Value::Json(json)) if json.is_null()) {
        // A flagd file may say null, which is of no type that anybody could ask for.
        return Err(mismatch(key, "is null, which is of no type"));
    }
    Ok(Resolution {
        key: key.to_owned(),
        value: evaluation.value.map(|value| of_flag_s_type(value, flag.settings.flag_type)),
        variant: evaluation.variant.map(ToString::to_string),
        reason: evaluation.reason,
        metadata: metadata(snapshot, flag, evaluation),
    })
}

/// A file may write whole numbers among numbers with a fraction: whoever asks for one gets a double either way.
fn of_flag_s_type(value: &Value, flag_type: FlagType) -> Value {
    match value {
        Value::Integer(_) => value.converted(flag_type).unwrap_or_else(|| value.clone()),
        other => other.clone(),
    }
}

fn mismatch(key: &str, why: &str) -> Error {
    Error::new(Failure::TypeMismatch, format!("flag {} {why}", text::quote(key))).with("flag_key", key)
}

fn broken(key: &str, code: ErrorCode) -> Error {
    let flag = text::quote(key);
    match code {
        ErrorCode::FlagNotFound => Error::missing(Failure::FlagNotFound, "flag", "flag_key", key),
        ErrorCode::ParseError => {
            Error::new(Failure::ParseError, format!("the definition of flag {flag} cannot be evaluated"))
                .with("flag_key", key)
        }
        ErrorCode::General => Error::new(
            Failure::General,
            format!("the rule of flag {flag} names a variant that the flag does not have"),
        )
        .with("flag_key", key),
    }
}

/// What OpenFeature allows: text, numbers and booleans. The flag's owner has the last word on a name.
fn metadata(snapshot: &Snapshot, flag: &Flag, evaluation: &Evaluation<'_>) -> Map<String, Json> {
    let mut metadata = Map::new();
    metadata.insert("layer".to_owned(), evaluation.layer.as_str().into());
    metadata.insert("revision".to_owned(), evaluation.revision.get().into());
    if let Some(rule) = evaluation.rule {
        metadata.insert("rule".to_owned(), rule.into());
    }
    // A flag ends whichever layer decides, also where that changes no answer: it is to be removed then.
    if let Some(end) = evaluation.expire_time.or(flag.settings.expire_time) {
        metadata.insert("expires".to_owned(), end.to_string().into());
    }
    metadata.extend(own_metadata(snapshot, flag));
    metadata
}

/// What the flag's owner gave, under it what its file says of all flags, and its set.
pub(super) fn own_metadata(snapshot: &Snapshot, flag: &Flag) -> Map<String, Json> {
    let mut metadata = Map::new();
    let is_plain = |value: &Json| !value.is_array() && !value.is_object() && !value.is_null();
    let of_file = snapshot.flags.file_metadata(flag).into_iter().flatten();
    for (name, value) in of_file.chain(&flag.settings.metadata) {
        if is_plain(value) {
            metadata.insert(name.clone(), value.clone());
        } else {
            // A flag's null takes away what its file says of all.
            metadata.remove(name);
        }
    }
    if !flag.settings.flag_set.is_empty() {
        let id = || flag.settings.flag_set.as_str().into();
        metadata.entry("flagSetId").or_insert_with(id);
    }
    metadata
}

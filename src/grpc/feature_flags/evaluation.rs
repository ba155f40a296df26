//! What a tenant sees.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use crate::domain::error::Error;
use crate::domain::flag::{CompiledFlags, OVERRIDES_WARN, Query, TooMuch};
use crate::domain::ids::{FlagKey, TenantId};
use crate::domain::rule::{Context, Effort};
use crate::domain::text::quote;
use crate::grpc::Handler;
use crate::grpc::convert::evaluated::{self, Answers};
use crate::grpc::convert::flag::answer::{encode_evaluation, encode_explanation};
use crate::grpc::convert::{self, value};
use crate::grpc::metadata::now;
use crate::metering::evaluations::Evaluations;
use crate::proto::v1::{EvaluateFlagRequest, EvaluateFlagsRequest, ExplainFlagRequest, ExplainFlagResponse};
use crate::services::Registry;
use crate::services::costly::Unanswered;
use crate::services::kept_answers::{Answer, Question};
use crate::services::tenant_registry::get_tenant;
use crate::view::{Record, Snapshot};

/// Most flags asked for by name in one call.
const KEYS_MAX: usize = 1_000;
/// How many flags a reply makes room for where all are asked for; it grows where there are more.
const FLAGS_USUAL: usize = 50;

/// The ids of a question, both checked.
fn decode_question(tenant_id: &str, flag_key: &str) -> Result<(TenantId, FlagKey), Error> {
    let mut faults = convert::Faults::default();
    let tenant_id = faults.id("tenant_id", TenantId::parse(tenant_id));
    let flag_key = faults.id("flag_key", FlagKey::known(flag_key));
    faults.check(tenant_id.zip(flag_key))
}

/// A question about a tenant's flags, read.
struct Asking {
    snapshot: Arc<Snapshot>,
    record: Arc<Record>,
    context: Context,
    now: Timestamp,
}

impl Asking {
    fn query(&self) -> Query<'_> {
        Query { tenant: Some(self.record.facts()), context: &self.context, now: self.now }
    }

    /// The answer about one flag as it goes out, counted.
    fn one(&self, key: &FlagKey, evaluations: &Evaluations, effort: Effort) -> Result<Bytes, Unanswered> {
        let (query, flags) = (self.query(), &self.snapshot.flags);
        let mut answers = flags.answers_of_call(&query, effort);
        let evaluation = answers.of(key.as_str());
        answers.are_whole()?;
        if flags.flag(key.as_str()).is_some() {
            evaluations.count(key, Some(&self.record.tenant.tenant_id), self.now);
        }
        Ok(evaluated::one(key.as_str(), &evaluation))
    }

    /// The answer about many flags, those of the names or all.
    fn many(&self, keys: &[String], effort: Effort) -> Result<Answer, Unanswered> {
        let (query, flags, all) = (self.query(), &self.snapshot.flags, keys.is_empty());
        let mut answers = Answers::new(if all { FLAGS_USUAL } else { keys.len() });
        for warning in warnings(&self.snapshot, &self.record.tenant.tenant_id) {
            answers.warning(&warning);
        }
        let named = if all {
            flags.evaluate_all(&query, effort, |key, evaluation| answers.flag(key.as_str(), evaluation))?;
            None
        } else {
            Some(add_named(flags, &query, effort, keys, &mut answers)?)
        };
        Ok(Answer { bytes: answers.finish(), named })
    }

    fn explain(&self, key: &FlagKey, effort: Effort) -> Result<ExplainFlagResponse, Unanswered> {
        let (query, flags) = (self.query(), &self.snapshot.flags);
        let layers = flags.explain(&query, effort, key.as_str())?;
        let evaluation = flags.evaluate(&query, key.as_str());
        Ok(ExplainFlagResponse {
            result: Some(encode_evaluation(key.as_str(), &evaluation)),
            layers: layers.iter().map(encode_explanation).collect(),
        })
    }
}

/// The answers for the flags asked for by name. Answers the names that are a flag's.
fn add_named(
    flags: &CompiledFlags,
    query: &Query<'_>,
    effort: Effort,
    keys: &[String],
    answers: &mut Answers,
) -> Result<Arc<[FlagKey]>, TooMuch> {
    let mut evaluated = flags.answers_of_call(query, effort);
    let mut named = Vec::with_capacity(keys.len());
    for key in keys {
        match flags.flag(key) {
            Some(flag) => named.push(flag.key().clone()),
            None => answers.warning(&format!("there is no flag {}", quote(key))),
        }
        answers.flag(key, &evaluated.of(key));
    }
    evaluated.are_whole()?;
    Ok(named.into())
}

/// Counts an answer about many flags.
fn count(evaluations: &Evaluations, asking: &Asking, answer: &Answer) {
    match &answer.named {
        Some(named) => evaluations.count_named(named, &asking.record.tenant.tenant_id, asking.now),
        None => evaluations.count_all(&asking.snapshot.flags, None, asking.now),
    }
}

impl Handler {
    fn context(
        &self,
        snapshot: &Snapshot,
        record: &Record,
        message: Option<prost_types::Struct>,
    ) -> Result<Context, Error> {
        let attributes = value::decode_struct(message.unwrap_or_default())
            .map_err(|(key, why)| Error::field(format!("context.{key}"), why))?;
        self.registry.evaluation_context(snapshot, Some(record), attributes)
    }

    /// Evaluates one flag; answers the reply as it goes out.
    pub(in crate::grpc) async fn evaluate_one(
        &self,
        snapshot: &Arc<Snapshot>,
        message: EvaluateFlagRequest,
    ) -> Result<Bytes, Error> {
        let (tenant_id, flag_key) = decode_question(&message.tenant_id, &message.flag_key)?;
        let record = get_tenant(snapshot, &tenant_id)?;
        // Most flags are answered without: what is not read need not be put together, but a bad one is refused.
        let context = if message.context.is_some() || snapshot.flags.reads_context(flag_key.as_str()) {
            self.context(snapshot, record, message.context)?
        } else {
            Context::default()
        };
        let asking = Asking { snapshot: snapshot.clone(), record: record.clone(), context, now: now() };
        let answer = |evaluations: &Evaluations, (asking, key): &(Asking, FlagKey), effort| {
            asking.one(key, evaluations, effort)
        };
        self.registry.costly.answer(&self.registry.evaluations, (asking, flag_key), answer).await
    }

    /// Evaluates the flags asked for, or all of them; answers the reply as it goes out. In bulk an unknown flag, or a
    /// name that can be none, is an answer and not an error. `asked` is the message as it came.
    pub(in crate::grpc) async fn evaluate_many(
        &self,
        snapshot: &Arc<Snapshot>,
        message: EvaluateFlagsRequest,
        asked: &Bytes,
    ) -> Result<Bytes, Error> {
        if message.flag_keys.len() > KEYS_MAX {
            return Err(Error::field("flag_keys", format!("must have at most {KEYS_MAX} entries")));
        }
        let tenant_id = convert::id("tenant_id", TenantId::parse(&message.tenant_id))?;
        let record = get_tenant(snapshot, &tenant_id)?;
        let mut asking = Asking {
            snapshot: snapshot.clone(),
            record: record.clone(),
            context: Context::default(),
            now: now(),
        };
        if let Some(kept) = self.registry.kept_answers.find(&kept_as(&asking, asked)) {
            count(&self.registry.evaluations, &asking, &kept);
            return Ok(kept.bytes);
        }
        asking.context = self.context(snapshot, record, message.context)?;
        let question = (asking, message.flag_keys, asked.clone());
        let make = |registry: &Registry, (asking, keys, asked): &(Asking, Vec<String>, Bytes), effort| {
            let answer = asking.many(keys, effort)?;
            registry.kept_answers.offer(&kept_as(asking, asked), &answer);
            count(&registry.evaluations, asking, &answer);
            Ok(answer.bytes)
        };
        self.registry.costly.answer(&self.registry, question, make).await
    }

    pub(super) async fn explain(
        &self,
        snapshot: Arc<Snapshot>,
        message: ExplainFlagRequest,
    ) -> Result<ExplainFlagResponse, Error> {
        let (tenant_id, flag_key) = decode_question(&message.tenant_id, &message.flag_key)?;
        let record = get_tenant(&snapshot, &tenant_id)?.clone();
        let context = self.context(&snapshot, &record, message.context)?;
        let asking = Asking { snapshot, record, context, now: now() };
        let answer = |(): &(), (asking, key): &(Asking, FlagKey), effort| asking.explain(key, effort);
        self.registry.costly.answer(&(), (asking, flag_key), answer).await
    }
}

/// A question about many flags as its answer is kept: all that was asked stands in the message.
fn kept_as<'a>(asking: &'a Asking, asked: &'a [u8]) -> Question<'a> {
    Question {
        protocol: "tenantry",
        bytes: asked,
        record: Some(&asking.record),
        tier: asking.snapshot.tier_of(&asking.record),
        flags: &asking.snapshot.flags,
        now: asking.now,
    }
}

/// What people should hear of a tenant's flags.
pub(super) fn warnings(snapshot: &Snapshot, tenant_id: &TenantId) -> Vec<String> {
    let own = snapshot.flags.override_count(tenant_id.as_str());
    if own <= OVERRIDES_WARN {
        return Vec::new();
    }
    vec![format!(
        "tenant {tenant_id} has something of its own of {own} flags; more than {OVERRIDES_WARN} make a product of its own"
    )]
}

//! What a tenant sees.

use std::sync::Arc;

use bytes::Bytes;

use crate::domain::error::Error;
use crate::domain::flag::{CompiledFlags, OVERRIDES_WARN, Query, TooMuch};
use crate::domain::ids::{FlagKey, TenantId};
use crate::domain::rule::Context;
use crate::domain::text::quote;
use crate::grpc::Handler;
use crate::grpc::convert::evaluated::{self, Answers};
use crate::grpc::convert::flag::answer::{encode_evaluation, encode_explanation};
use crate::grpc::convert::{self, value};
use crate::grpc::metadata::now;
use crate::proto::v1::{EvaluateFlagRequest, EvaluateFlagsRequest, ExplainFlagRequest, ExplainFlagResponse};
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

/// The answers for the flags asked for by name. Answers the names that are a flag's.
fn add_named(
    flags: &CompiledFlags,
    query: &Query<'_>,
    keys: &[String],
    answers: &mut Answers,
) -> Result<Arc<[FlagKey]>, TooMuch> {
    let mut evaluated = flags.answers_of_call(query);
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
    pub(in crate::grpc) fn evaluate_one(
        &self,
        snapshot: &Snapshot,
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
        let query = Query { tenant: Some(record.facts()), context: &context, now: now() };
        let evaluation = snapshot.flags.evaluate(&query, flag_key.as_str());
        if snapshot.flags.flag(flag_key.as_str()).is_some() {
            self.registry.evaluations.count(&flag_key, Some(&tenant_id), query.now);
        }
        Ok(evaluated::one(flag_key.as_str(), &evaluation))
    }

    /// Evaluates the flags asked for, or all of them; answers the reply as it goes out. In bulk an unknown flag, or a
    /// name that can be none, is an answer and not an error. `asked` is the message as it came.
    pub(in crate::grpc) fn evaluate_many(
        &self,
        snapshot: &Snapshot,
        message: EvaluateFlagsRequest,
        asked: &[u8],
    ) -> Result<Bytes, Error> {
        if message.flag_keys.len() > KEYS_MAX {
            return Err(Error::field("flag_keys", format!("must have at most {KEYS_MAX} entries")));
        }
        let tenant_id = convert::id("tenant_id", TenantId::parse(&message.tenant_id))?;
        let record = get_tenant(snapshot, &tenant_id)?;
        let (protocol, flags, now) = ("tenantry", &snapshot.flags, now());
        let question = Question {
            protocol,
            bytes: asked,
            record: Some(record),
            tier: snapshot.tier_of(record),
            flags,
            now,
        };
        let answer = self.registry.kept_answers.answer(&question, || {
            let context = self.context(snapshot, record, message.context)?;
            let query = Query { tenant: Some(record.facts()), context: &context, now };
            let all = message.flag_keys.is_empty();
            let mut answers = Answers::new(if all { FLAGS_USUAL } else { message.flag_keys.len() });
            for warning in warnings(snapshot, &tenant_id) {
                answers.warning(&warning);
            }
            let named = if all {
                flags.evaluate_all(&query, |key, evaluation| answers.flag(key.as_str(), evaluation))?;
                None
            } else {
                Some(add_named(flags, &query, &message.flag_keys, &mut answers)?)
            };
            Ok::<_, Error>(Answer { bytes: answers.finish(), named })
        })?;
        match &answer.named {
            Some(named) => self.registry.evaluations.count_named(named, &tenant_id, now),
            None => self.registry.evaluations.count_all(flags, None, now),
        }
        Ok(answer.bytes)
    }

    pub(super) fn explain(
        &self,
        snapshot: &Snapshot,
        message: ExplainFlagRequest,
    ) -> Result<ExplainFlagResponse, Error> {
        let (tenant_id, flag_key) = decode_question(&message.tenant_id, &message.flag_key)?;
        let record = get_tenant(snapshot, &tenant_id)?;
        let context = self.context(snapshot, record, message.context)?;
        let query = Query { tenant: Some(record.facts()), context: &context, now: now() };
        let evaluation = snapshot.flags.evaluate(&query, flag_key.as_str());
        let layers = snapshot.flags.explain(&query, flag_key.as_str());
        Ok(ExplainFlagResponse {
            result: Some(encode_evaluation(flag_key.as_str(), &evaluation)),
            layers: layers.iter().map(encode_explanation).collect(),
        })
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

//! What a tenant sees, why, and whom a change affects.

use super::super::{timestamp, value};
use crate::domain::flag::impact::{Impact, Shift};
use crate::domain::flag::removal::{Had, Removal};
use crate::domain::flag::stale::Staleness;
use crate::domain::flag::{Evaluation, Layer, LayerExplanation, Value};
use crate::domain::ids::{TenantId, TierId, VariantName};
use crate::proto::v1;
use crate::proto::v1::list_stale_flags_response as stale;
use crate::services::feature_flags::{Dependent, Going, Judged, StaleFlag};
use crate::store::evaluations::TenantTally;

/// Largest value of an example, in bytes of its JSON text.
const EXAMPLE_MAX: usize = 1 << 10;

pub(in crate::grpc) const fn encode_layer(layer: Layer) -> v1::FlagLayer {
    match layer {
        Layer::UnknownFlag => v1::FlagLayer::UnknownFlag,
        Layer::Disabled => v1::FlagLayer::Disabled,
        Layer::SafeDefault => v1::FlagLayer::SafeDefault,
        Layer::KillSwitch => v1::FlagLayer::KillSwitch,
        Layer::Expired => v1::FlagLayer::Expired,
        Layer::Schedule => v1::FlagLayer::Schedule,
        Layer::Prerequisite => v1::FlagLayer::Prerequisite,
        Layer::Conflict => v1::FlagLayer::Conflict,
        Layer::TenantOverride => v1::FlagLayer::TenantOverride,
        Layer::TargetingRule => v1::FlagLayer::TargetingRule,
        Layer::TierDefault => v1::FlagLayer::TierDefault,
        Layer::GlobalDefault => v1::FlagLayer::GlobalDefault,
    }
}

pub(in crate::grpc) fn encode_evaluation(key: &str, evaluation: &Evaluation<'_>) -> v1::EvaluateFlagResponse {
    v1::EvaluateFlagResponse {
        flag_key: key.to_owned(),
        value: evaluation.value.map(|v| value::encode(v.to_json())),
        variant: name(evaluation.variant),
        reason: evaluation.reason.as_str().to_owned(),
        layer: encode_layer(evaluation.layer).into(),
        error_code: evaluation.error_code().unwrap_or_default().to_owned(),
        revision: evaluation.revision.as_i64(),
        rule_id: evaluation.rule.unwrap_or_default().to_owned(),
        expire_time: evaluation.expire_time.map(timestamp),
    }
}

fn name(variant: Option<&VariantName>) -> String {
    variant.map(ToString::to_string).unwrap_or_default()
}

pub(in crate::grpc) fn encode_explanation(
    layer: &LayerExplanation,
) -> v1::explain_flag_response::LayerExplanation {
    v1::explain_flag_response::LayerExplanation {
        layer: encode_layer(layer.layer).into(),
        decided: layer.decided,
        variant: name(layer.variant.as_ref()),
        detail: layer.detail.clone(),
    }
}

/// A count as the wire has it.
fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A value, where it is small enough to be one of many examples.
fn encode_example(value: &Value) -> Option<prost_types::Value> {
    let json = value.to_json();
    (json.to_string().len() <= EXAMPLE_MAX).then(|| value::encode(json))
}

pub(in crate::grpc) fn encode_removal(removal: &Removal) -> v1::FlagRemoval {
    let own = |had: &Had<TenantId>| v1::flag_removal::Override {
        flag_key: had.flag.to_string(),
        tenant_id: had.whose.to_string(),
        variant: name(had.variant.as_ref()),
    };
    let default = |had: &Had<TierId>| v1::flag_removal::Default {
        flag_key: had.flag.to_string(),
        tier_id: had.whose.to_string(),
        variant: name(had.variant.as_ref()),
    };
    v1::FlagRemoval {
        overrides: removal.overrides.iter().map(own).collect(),
        overrides_total: count(removal.overrides_total),
        tier_defaults: removal.tier_defaults.iter().map(default).collect(),
        tier_defaults_total: count(removal.tier_defaults_total),
        dependents: removal.dependents.iter().map(ToString::to_string).collect(),
        dependents_total: count(removal.dependents_total),
    }
}

pub(in crate::grpc) fn encode_deleted(judged: &Judged<Going>) -> v1::DeleteFlagResponse {
    let is_plan = judged.impact.is_some();
    v1::DeleteFlagResponse {
        removed: judged.made.removal.as_ref().map(encode_removal),
        impact: judged.impact.as_ref().map(encode_impact),
        plan_etag: if is_plan { judged.made.plan_etag.clone() } else { String::new() },
    }
}

pub(in crate::grpc) fn encode_impact(impact: &Impact) -> v1::FlagImpact {
    let shift = |shift: &Shift| v1::flag_impact::Shift {
        tenant_id: shift.tenant.to_string(),
        flag_key: shift.flag.to_string(),
        variant_before: name(shift.before.variant.as_ref()),
        variant_after: name(shift.after.variant.as_ref()),
        value_before: shift.before.value.as_ref().and_then(encode_example),
        value_after: shift.after.value.as_ref().and_then(encode_example),
    };
    v1::FlagImpact {
        tenants_affected: count(impact.tenants_affected),
        tenants_examined: count(impact.tenants_examined),
        examples: impact.examples.iter().map(shift).collect(),
        dependents: impact.dependents.iter().map(ToString::to_string).collect(),
        dependents_total: count(impact.dependents_total),
        tenants: impact.tenants.iter().map(ToString::to_string).collect(),
        asks_callers: impact.asks_callers,
    }
}

pub(in crate::grpc) fn encode_stale(found: &StaleFlag) -> stale::StaleFlag {
    let StaleFlag { flag, staleness, tally } = found;
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let latest = |of: &TenantTally| stale::TenantEvaluations {
        tenant_id: of.tenant_id.clone(),
        evaluations: number(of.evaluations),
        last_evaluated_time: Some(timestamp(of.last_time)),
    };
    stale::StaleFlag {
        flag_key: flag.key().to_string(),
        owner: flag.settings.owner.clone(),
        kind: super::encode_kind(flag.settings.kind).into(),
        staleness: match staleness {
            Staleness::Expired => stale::Staleness::Expired,
            Staleness::Old => stale::Staleness::Old,
            Staleness::Expiring => stale::Staleness::Expiring,
        }
        .into(),
        create_time: Some(timestamp(flag.create_time)),
        expire_time: flag.settings.expire_time.map(timestamp),
        last_evaluated_time: tally.last_time.map(timestamp),
        evaluations: number(tally.evaluations),
        bulk_evaluations: number(tally.bulk_evaluations),
        tenants: number(tally.tenants),
        latest_tenants: tally.latest.iter().map(latest).collect(),
    }
}

pub(in crate::grpc) fn encode_dependent(found: &Dependent) -> v1::list_dependents_response::Dependent {
    v1::list_dependents_response::Dependent {
        flag_key: found.flag.to_string(),
        needs: found.needs.to_string(),
        variants: found.variants.iter().map(ToString::to_string).collect(),
    }
}

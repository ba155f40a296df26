//! What a layer gives: variants and rollouts, tier defaults and overrides.

use super::super::{Faults, decode_timestamp, timestamp};
use super::{answer, decode_list, decode_time};
use crate::domain::error::Error;
use crate::domain::flag::{BUCKET_BY, Choice, Split, TenantOverride, TierDefault, validate};
use crate::domain::ids::{FlagKey, TenantId, TierId, VariantName};
use crate::domain::rule::{Rollout, Step, Weight};
use crate::domain::text;
use crate::proto::v1;
use crate::services::feature_flags::{Judged, SetTenantOverride, SetTierDefault};

/// Longest reason, in characters.
pub(in crate::grpc) const REASON_MAX: usize = 500;

pub(super) fn encode_rollout(split: &Split) -> v1::Rollout {
    let Split { rollout, bucket_by } = split;
    v1::Rollout {
        weights: rollout.weights.iter().map(encode_weight).collect(),
        steps: rollout
            .steps
            .iter()
            .map(|step| v1::RolloutStep {
                start_time: Some(timestamp(step.start_time)),
                weights: step.weights.iter().map(encode_weight).collect(),
            })
            .collect(),
        bucket_by: bucket_by.clone(),
        seed: rollout.seed.clone(),
    }
}

fn encode_weight(weight: &Weight) -> v1::VariantWeight {
    v1::VariantWeight {
        variant: weight.variant.to_string(),
        weight: i32::try_from(weight.weight).unwrap_or(i32::MAX),
    }
}

/// Decodes a rollout of a flag; the flag's key is the seed where there is none.
pub(super) fn decode_rollout(
    message: v1::Rollout,
    field: &str,
    flag: &FlagKey,
    faults: &mut Faults,
) -> Split {
    let v1::Rollout { weights, steps, bucket_by, seed } = message;
    let weights = decode_list(&format!("{field}.weights"), weights, faults, decode_weight);
    let steps = decode_list(&format!("{field}.steps"), steps, faults, decode_step);
    let seed = if seed.is_empty() { flag.to_string() } else { seed };
    let bucket_by = if bucket_by.is_empty() { BUCKET_BY.to_owned() } else { bucket_by };
    let split = Split { rollout: Rollout { seed, weights, steps }, bucket_by };
    let mut found = Vec::new();
    // As it came, so that what is wrong is named by its place there.
    validate::split(&split, field, &mut found);
    faults.extend(found);
    Split { rollout: split.rollout.in_one_order(), ..split }
}

fn decode_weight(message: v1::VariantWeight, field: &str, faults: &mut Faults) -> Option<Weight> {
    let v1::VariantWeight { variant, weight } = message;
    let variant = faults.id(&format!("{field}.variant"), VariantName::known(&variant));
    let weight = u32::try_from(weight);
    if weight.is_err() {
        faults.add(format!("{field}.weight"), "must not be negative");
    }
    Some(Weight { variant: variant?, weight: weight.ok()? })
}

fn decode_step(message: v1::RolloutStep, field: &str, faults: &mut Faults) -> Option<Step> {
    let place = format!("{field}.start_time");
    if message.start_time.is_none() {
        faults.add(place.as_str(), "must be set");
    }
    let start_time = decode_time(&place, message.start_time, faults);
    let weights = decode_list(&format!("{field}.weights"), message.weights, faults, decode_weight);
    Some(Step { start_time: start_time?, weights })
}

/// Decodes what a layer gives; nothing where neither is said.
pub(super) fn decode_choice(
    variant: &str,
    rollout: Option<v1::Rollout>,
    prefix: &str,
    flag: &FlagKey,
    faults: &mut Faults,
) -> Option<Choice> {
    if !variant.is_empty() && rollout.is_some() {
        faults.add(format!("{prefix}rollout"), "must not be set beside a variant");
        return None;
    }
    if let Some(rollout) = rollout {
        let split = decode_rollout(rollout, &format!("{prefix}rollout"), flag, faults);
        return Some(Choice::Rollout(split));
    }
    faults.optional_id(&format!("{prefix}variant"), variant, VariantName::known).map(Choice::Variant)
}

/// What a layer gives, as a variant's name or as a rollout.
pub(super) fn encode_choice(choice: &Choice) -> (String, Option<v1::Rollout>) {
    let variant = choice.variant().map(ToString::to_string).unwrap_or_default();
    (variant, choice.rollout().map(encode_rollout))
}

pub(in crate::grpc) fn decode_set_tier_default(
    message: v1::SetTierDefaultRequest,
) -> Result<SetTierDefault, Error> {
    let mut faults = Faults::default();
    let flag = faults.id("flag_key", FlagKey::known(&message.flag_key));
    let tier = faults.id("tier_id", TierId::parse(&message.tier_id));
    let choice = flag
        .as_ref()
        .and_then(|flag| decode_choice(&message.variant, message.rollout, "", flag, &mut faults));
    faults.check(flag.zip(tier).map(|(flag, tier)| SetTierDefault { flag, tier, choice }))
}

pub(in crate::grpc) fn decode_set_tenant_override(
    message: v1::SetTenantOverrideRequest,
) -> Result<SetTenantOverride, Error> {
    let mut faults = Faults::default();
    let flag = faults.id("flag_key", FlagKey::known(&message.flag_key));
    let tenant = faults.id("tenant_id", TenantId::parse(&message.tenant_id));
    let choice = flag
        .as_ref()
        .and_then(|flag| decode_choice(&message.variant, message.rollout, "", flag, &mut faults));
    if let Err(invalid) = text::reason(&message.reason, REASON_MAX) {
        faults.add("reason", invalid.why);
    }
    let expire_time = message
        .expire_time
        .and_then(|time| decode_timestamp(time).map_err(|why| faults.add("expire_time", why)).ok());
    // Without either, the override is removed: nobody who means that names an end.
    if choice.is_none() && expire_time.is_some() {
        faults.add(
            "variant",
            "or a rollout is needed where an end is given; without either the override is removed",
        );
    }
    let reason = message.reason;
    faults.check(flag.zip(tenant).map(|(flag, tenant)| SetTenantOverride {
        flag,
        tenant,
        choice,
        reason,
        expire_time,
    }))
}

/// Encodes what was set for a tier; what was cleared names flag and tier alone.
pub(in crate::grpc) fn encode_tier_default(
    (flag, tier): (FlagKey, TierId),
    judged: &Judged<Option<TierDefault>>,
) -> v1::TierDefault {
    let impact = judged.impact.as_ref().map(answer::encode_impact);
    let mut message = v1::TierDefault {
        flag_key: flag.to_string(),
        tier_id: tier.to_string(),
        impact,
        ..v1::TierDefault::default()
    };
    if let Some(default) = &judged.made {
        (message.variant, message.rollout) = encode_choice(&default.choice);
        message.revision = default.revision.as_i64();
    }
    message
}

pub(in crate::grpc) fn encode_tenant_override(own: &TenantOverride) -> v1::TenantOverride {
    let (variant, rollout) = encode_choice(&own.choice);
    v1::TenantOverride {
        flag_key: own.flag.to_string(),
        tenant_id: own.tenant.to_string(),
        variant,
        rollout,
        reason: own.reason.clone(),
        expire_time: own.expire_time.map(timestamp),
        revision: own.revision.as_i64(),
        update_time: Some(timestamp(own.update_time)),
        ..v1::TenantOverride::default()
    }
}

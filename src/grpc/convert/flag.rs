//! Flags, what is set of them, and what a tenant sees.

use std::collections::BTreeMap;

use prost_types::FieldMask;

use super::{Faults, decode_timestamp, etag, mask, timestamp, value};
use crate::domain::error::Error;
use crate::domain::flag::{
    Evaluation, Flag, FlagField, FlagState, FlagType, Layer, LayerExplanation, NewFlag, TenantOverride,
    TierDefault, Value, validate,
};
use crate::domain::ids::{FlagKey, TenantId, TierId, VariantName};
use crate::domain::text;
use crate::proto::v1;
use crate::services::feature_flags::{FlagUpdate, SetTenantOverride, SetTierDefault};
use crate::view::Snapshot;

const FIXED: &[&str] =
    &["flag_key", "type", "tier_defaults", "etag", "revision", "create_time", "update_time"];
/// Longest reason, in characters.
pub(in crate::grpc) const REASON_MAX: usize = 500;

/// Encodes a flag with its tier defaults.
pub(in crate::grpc) fn encode(snapshot: Option<&Snapshot>, flag: &Flag) -> v1::Flag {
    let tier_defaults = snapshot
        .into_iter()
        .flat_map(|snapshot| snapshot.flags.tier_defaults(flag.key.as_str()))
        .map(|default| (default.tier.to_string(), default.variant.to_string()))
        .collect();
    let name = |variant: &Option<VariantName>| variant.as_ref().map(ToString::to_string).unwrap_or_default();
    v1::Flag {
        flag_key: flag.key.to_string(),
        r#type: match flag.flag_type {
            FlagType::Boolean => v1::FlagType::Boolean,
            FlagType::String => v1::FlagType::String,
            FlagType::Integer => v1::FlagType::Integer,
            FlagType::Double => v1::FlagType::Double,
            FlagType::Object => v1::FlagType::Object,
        }
        .into(),
        description: flag.description.clone(),
        variants: flag
            .variants
            .iter()
            .map(|(name, v)| (name.to_string(), value::encode(v.to_json())))
            .collect(),
        default_variant: name(&flag.default_variant),
        safe_variant: name(&flag.safe_variant),
        state: match flag.state {
            FlagState::Enabled => v1::FlagState::Enabled,
            FlagState::Disabled => v1::FlagState::Disabled,
            FlagState::Archived => v1::FlagState::Archived,
        }
        .into(),
        owner: flag.owner.clone(),
        labels: flag.labels.clone(),
        tier_defaults,
        etag: crate::domain::tenant::etag(flag.revision),
        revision: flag.revision.as_i64(),
        create_time: Some(timestamp(flag.create_time)),
        update_time: Some(timestamp(flag.update_time)),
    }
}

pub(in crate::grpc) fn decode_new(message: Option<v1::Flag>) -> Result<NewFlag, Error> {
    let Some(message) = message else { return Err(Error::field("flag", "must be set")) };
    let mut faults = Faults::default();
    let flag_type = decode_type(message.r#type);
    if flag_type.is_none() {
        let why = match message.r#type {
            0 => "must be set".to_owned(),
            number => format!("{number} is not a number of FlagType"),
        };
        faults.add("type", why);
    }
    let mut flag = decode(message, flag_type.unwrap_or(FlagType::Boolean), &mut faults, &|_| true);
    if let Some(flag) = flag.as_mut().filter(|_| flag_type.is_some()) {
        flag.fill_boolean_defaults();
        faults.extend(validate(flag));
    }
    faults.check(flag).map_err(|error| error.within("flag."))
}

/// Decodes an update. The type of the variants' values is the flag's, which `snapshot` knows; a flag that it does not
/// know is told to be missing later.
pub(in crate::grpc) fn decode_update(
    snapshot: &Snapshot,
    message: Option<v1::Flag>,
    update_mask: Option<FieldMask>,
) -> Result<FlagUpdate, Error> {
    let Some(mut message) = message else { return Err(Error::field("flag", "must be set")) };
    let key = super::id("flag.flag_key", FlagKey::parse(&message.flag_key))?;
    let fields = mask(update_mask, FlagField::ALL, FlagField::as_str, FIXED)?;
    let etag = etag(std::mem::take(&mut message.etag));
    let flag_type = snapshot.flags.flag(key.as_str()).map_or(FlagType::Object, |flag| flag.flag_type);
    if snapshot.flags.flag(key.as_str()).is_none() {
        message.variants.clear();
    }
    let mut faults = Faults::default();
    let flag = decode(message, flag_type, &mut faults, &|field| fields.contains(&field));
    let update = flag.map(|flag| FlagUpdate { flag, fields, etag });
    faults.check(update).map_err(|error| error.within("flag."))
}

fn decode(
    message: v1::Flag,
    flag_type: FlagType,
    faults: &mut Faults,
    wanted: &dyn Fn(FlagField) -> bool,
) -> Option<NewFlag> {
    let key = faults.id("flag_key", FlagKey::parse(&message.flag_key));
    let mut variants = BTreeMap::new();
    let wanted_variants = if wanted(FlagField::Variants) { message.variants } else { BTreeMap::default() };
    for (name, variant) in wanted_variants {
        let Some(name) = faults.id("variants", VariantName::parse(&name)) else { continue };
        let decoded = value::decode(variant).map_err(ToOwned::to_owned);
        match decoded.and_then(|json| Value::from_json(flag_type, json)) {
            Ok(decoded) => drop(variants.insert(name, decoded)),
            Err(why) => faults.add(format!("variants[{name}]"), why),
        }
    }
    let mut variant = |field: &str, text: &str, wanted: bool| {
        if wanted { faults.optional_id(field, text, VariantName::parse) } else { None }
    };
    let default_variant =
        variant("default_variant", &message.default_variant, wanted(FlagField::DefaultVariant));
    let safe_variant = variant("safe_variant", &message.safe_variant, wanted(FlagField::SafeVariant));
    let state = match v1::FlagState::try_from(message.state) {
        Ok(v1::FlagState::Unspecified | v1::FlagState::Enabled) => FlagState::Enabled,
        Ok(v1::FlagState::Disabled) => FlagState::Disabled,
        Ok(v1::FlagState::Archived) => FlagState::Archived,
        Err(_) => {
            if wanted(FlagField::State) {
                faults.add("state", format!("{} is not a number of FlagState", message.state));
            }
            FlagState::Enabled
        }
    };
    Some(NewFlag {
        key: key?,
        flag_type,
        description: message.description,
        variants,
        default_variant,
        safe_variant,
        state,
        owner: message.owner,
        labels: message.labels,
    })
}

fn decode_type(number: i32) -> Option<FlagType> {
    match v1::FlagType::try_from(number).ok()? {
        v1::FlagType::Unspecified => None,
        v1::FlagType::Boolean => Some(FlagType::Boolean),
        v1::FlagType::String => Some(FlagType::String),
        v1::FlagType::Integer => Some(FlagType::Integer),
        v1::FlagType::Double => Some(FlagType::Double),
        v1::FlagType::Object => Some(FlagType::Object),
    }
}

pub(in crate::grpc) fn decode_set_tier_default(
    message: &v1::SetTierDefaultRequest,
) -> Result<SetTierDefault, Error> {
    let mut faults = Faults::default();
    let flag = faults.id("flag_key", FlagKey::parse(&message.flag_key));
    let tier = faults.id("tier_id", TierId::parse(&message.tier_id));
    let variant = faults.optional_id("variant", &message.variant, VariantName::parse);
    faults.check(flag.zip(tier).map(|(flag, tier)| SetTierDefault { flag, tier, variant }))
}

pub(in crate::grpc) fn decode_set_tenant_override(
    message: &v1::SetTenantOverrideRequest,
) -> Result<SetTenantOverride, Error> {
    let mut faults = Faults::default();
    let flag = faults.id("flag_key", FlagKey::parse(&message.flag_key));
    let tenant = faults.id("tenant_id", TenantId::parse(&message.tenant_id));
    let variant = faults.optional_id("variant", &message.variant, VariantName::parse);
    if let Err(invalid) = text::free(&message.reason, REASON_MAX) {
        faults.add("reason", invalid.why);
    }
    let expire_time = message
        .expire_time
        .and_then(|time| decode_timestamp(time).map_err(|why| faults.add("expire_time", why)).ok());
    let reason = message.reason.clone();
    faults.check(flag.zip(tenant).map(|(flag, tenant)| SetTenantOverride {
        flag,
        tenant,
        variant,
        reason,
        expire_time,
    }))
}

pub(in crate::grpc) fn encode_tier_default(default: &TierDefault) -> v1::TierDefault {
    v1::TierDefault {
        flag_key: default.flag.to_string(),
        tier_id: default.tier.to_string(),
        variant: default.variant.to_string(),
        revision: default.revision.as_i64(),
    }
}

pub(in crate::grpc) fn encode_tenant_override(own: &TenantOverride) -> v1::TenantOverride {
    v1::TenantOverride {
        flag_key: own.flag.to_string(),
        tenant_id: own.tenant.to_string(),
        variant: own.variant.to_string(),
        reason: own.reason.clone(),
        expire_time: own.expire_time.map(timestamp),
        revision: own.revision.as_i64(),
        update_time: Some(timestamp(own.update_time)),
    }
}

const fn encode_layer(layer: Layer) -> v1::FlagLayer {
    match layer {
        Layer::UnknownFlag => v1::FlagLayer::UnknownFlag,
        Layer::Disabled => v1::FlagLayer::Disabled,
        Layer::SafeDefault => v1::FlagLayer::SafeDefault,
        Layer::TenantOverride => v1::FlagLayer::TenantOverride,
        Layer::TierDefault => v1::FlagLayer::TierDefault,
        Layer::GlobalDefault => v1::FlagLayer::GlobalDefault,
    }
}

pub(in crate::grpc) fn encode_evaluation(key: &str, evaluation: &Evaluation<'_>) -> v1::EvaluateFlagResponse {
    v1::EvaluateFlagResponse {
        flag_key: key.to_owned(),
        value: evaluation.value.map(|v| value::encode(v.to_json())),
        variant: evaluation.variant.map(ToString::to_string).unwrap_or_default(),
        reason: evaluation.reason.as_str().to_owned(),
        layer: encode_layer(evaluation.layer).into(),
        error_code: evaluation.error_code().unwrap_or_default().to_owned(),
        revision: evaluation.revision.as_i64(),
    }
}

pub(in crate::grpc) fn encode_explanation(
    layer: &LayerExplanation,
) -> v1::explain_flag_response::LayerExplanation {
    v1::explain_flag_response::LayerExplanation {
        layer: encode_layer(layer.layer).into(),
        decided: layer.decided,
        variant: layer.variant.as_ref().map(ToString::to_string).unwrap_or_default(),
        detail: layer.detail.clone(),
    }
}

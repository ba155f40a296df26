//! Tiers.

use prost_types::FieldMask;

use super::tenant::{decode_limits, encode_limits};
use super::{Faults, count, etag, mask, timestamp};
use crate::domain::error::Error;
use crate::domain::flag::removal::TierRemoval;
use crate::domain::ids::TierId;
use crate::domain::tier::{CacheTtlClass, NewTier, Tier, TierField};
use crate::proto::v1;
use crate::services::tiers::TierUpdate;

const FIXED: &[&str] = &["tier_id", "etag", "revision", "create_time", "update_time"];

pub(in crate::grpc) fn encode(tier: &Tier) -> v1::Tier {
    v1::Tier {
        tier_id: tier.id.to_string(),
        display_name: tier.display_name.clone(),
        description: tier.description.clone(),
        rank: tier.rank,
        limits: encode_limits(&tier.limits),
        sla_target: tier.sla_target,
        support_level: tier.support_level.clone(),
        cache_ttl_class: match tier.cache_ttl_class {
            CacheTtlClass::Critical => v1::CacheTtlClass::Critical,
            CacheTtlClass::Standard => v1::CacheTtlClass::Standard,
            CacheTtlClass::Relaxed => v1::CacheTtlClass::Relaxed,
        }
        .into(),
        etag: crate::domain::tenant::etag(tier.revision),
        revision: tier.revision.as_i64(),
        create_time: Some(timestamp(tier.create_time)),
        update_time: Some(timestamp(tier.update_time)),
    }
}

pub(in crate::grpc) fn encode_removal(removal: &TierRemoval) -> v1::DeleteTierResponse {
    v1::DeleteTierResponse {
        flag_keys: removal.flags.iter().map(ToString::to_string).collect(),
        flag_keys_total: count(removal.flags_total),
    }
}

pub(in crate::grpc) fn decode_new(message: Option<v1::Tier>) -> Result<NewTier, Error> {
    let Some(message) = message else { return Err(Error::field("tier", "must be set")) };
    let mut faults = Faults::default();
    let tier = decode(message, &mut faults, &|_| true);
    if let Some(tier) = &tier {
        faults.extend(tier.violations());
    }
    faults.check(tier).map_err(|error| error.within("tier."))
}

pub(in crate::grpc) fn decode_update(
    message: Option<v1::Tier>,
    update_mask: Option<FieldMask>,
) -> Result<TierUpdate, Error> {
    let Some(mut message) = message else { return Err(Error::field("tier", "must be set")) };
    super::id("tier.tier_id", TierId::parse(&message.tier_id))?;
    let fields = mask(update_mask, TierField::ALL, TierField::as_str, FIXED)?;
    let etag = etag(std::mem::take(&mut message.etag));
    let mut faults = Faults::default();
    let tier = decode(message, &mut faults, &|field| fields.contains(&field));
    let update = tier.map(|tier| TierUpdate { tier, fields, etag });
    faults.check(update).map_err(|error| error.within("tier."))
}

fn decode(message: v1::Tier, faults: &mut Faults, wanted: &dyn Fn(TierField) -> bool) -> Option<NewTier> {
    let id = faults.id("tier_id", TierId::parse(&message.tier_id));
    let limits = if wanted(TierField::Limits) {
        decode_limits("limits", message.limits, faults)
    } else {
        crate::domain::tier::Limits::new()
    };
    let cache_ttl_class = match v1::CacheTtlClass::try_from(message.cache_ttl_class) {
        Ok(v1::CacheTtlClass::Critical) => CacheTtlClass::Critical,
        Ok(v1::CacheTtlClass::Unspecified | v1::CacheTtlClass::Standard) => CacheTtlClass::Standard,
        Ok(v1::CacheTtlClass::Relaxed) => CacheTtlClass::Relaxed,
        Err(_) => {
            if wanted(TierField::CacheTtlClass) {
                let number = message.cache_ttl_class;
                faults.add("cache_ttl_class", format!("{number} is not a number of CacheTtlClass"));
            }
            CacheTtlClass::default()
        }
    };
    Some(NewTier {
        id: id?,
        display_name: message.display_name,
        description: message.description,
        rank: message.rank,
        limits,
        sla_target: message.sla_target,
        support_level: message.support_level,
        cache_ttl_class,
    })
}

//! Sets of flags that are applied as one.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Faults, etag};
use super::{answer, choice, segment};
use crate::domain::error::Error;
use crate::domain::flag::dependencies::FLAGS_MAX;
use crate::domain::flag::{Choice, Settings};
use crate::domain::ids::{FlagKey, TierId};
use crate::proto::v1;
use crate::proto::v1::apply_flags_response as response;
use crate::services::feature_flags::{Action, Applied, ApplyFlags, Difference, FlagSpec, Manner, Resource};

/// Most segments there can be.
const SEGMENTS_MAX: usize = 1_000;
/// Most tier defaults in one set: ten tiers for every flag there can be.
const TIER_DEFAULTS_MAX: usize = 10 * FLAGS_MAX;

pub(in crate::grpc) fn decode(message: v1::ApplyFlagsRequest) -> Result<ApplyFlags, Error> {
    let v1::ApplyFlagsRequest { flags, segments, tier_defaults, prune, force, .. } = message;
    let (reset, plan_etag) = (message.reset_kill_switches, message.plan_etag);
    for (field, entries, entries_max) in [
        ("flags", flags.len(), FLAGS_MAX),
        ("segments", segments.len(), SEGMENTS_MAX),
        ("tier_defaults", tier_defaults.len(), TIER_DEFAULTS_MAX),
    ] {
        if entries > entries_max {
            return Err(Error::field(field, format!("must have at most {entries_max} entries")));
        }
    }
    let segments = decode_each("segments", segments, segment::decode_whole, "segment_name", |it| &it.name)?;
    let flags = decode_each("flags", flags, super::decode_whole, "flag_key", |it| &it.key)?;
    let of_tiers: Vec<_> = tier_defaults.iter().map(|of_tier| of_tier.flag_key.clone()).collect();
    let mut tiers = decode_tiers(tier_defaults)?;
    let spec = |settings: Settings| {
        let tier_defaults = tiers.remove(&settings.key).unwrap_or_default();
        FlagSpec { settings, tier_defaults }
    };
    let flags: Vec<_> = flags.into_iter().map(spec).collect();
    let stray = |key: &&String| FlagKey::known(key).is_ok_and(|key| tiers.contains_key(&key));
    if let Some((place, stray)) = of_tiers.iter().enumerate().find(|(_, key)| stray(key)) {
        let why = format!("must be of flags of this set; \"{stray}\" is not one");
        return Err(Error::field(format!("tier_defaults[{place}].flag_key"), why));
    }
    let reset_kill_switches = decode_reset(&reset)?;
    let manner = Manner { prune, force, reset_kill_switches, plan_etag: etag(plan_etag) };
    Ok(ApplyFlags { flags, segments, manner })
}

/// The kill switches that are to stand, and to guard, as given.
pub(super) fn decode_reset(keys: &[String]) -> Result<Vec<FlagKey>, Error> {
    let mut faults = Faults::default();
    let parse = |(place, text): (usize, &String)| {
        faults.id(&format!("reset_kill_switches[{place}]"), FlagKey::known(text))
    };
    let reset = keys.iter().enumerate().filter_map(parse).collect();
    faults.check(Some(reset))
}

/// Decodes every entry of a list, each of another key.
fn decode_each<M, T, K: Ord + Clone>(
    field: &str,
    messages: Vec<M>,
    decode: impl Fn(M) -> Result<T, Error>,
    key_field: &str,
    key: impl Fn(&T) -> &K,
) -> Result<Vec<T>, Error> {
    let mut seen = BTreeSet::new();
    let entries = messages.into_iter().enumerate().map(|(place, message)| {
        let within = |error: Error| error.within(&format!("{field}[{place}]."));
        let decoded = decode(message).map_err(within)?;
        if seen.insert(key(&decoded).clone()) {
            return Ok(decoded);
        }
        Err(within(Error::field(key_field, "must not be there twice")))
    });
    entries.collect()
}

type Tiers = BTreeMap<FlagKey, BTreeMap<TierId, Choice>>;

fn decode_tiers(messages: Vec<v1::apply_flags_request::TierSetting>) -> Result<Tiers, Error> {
    let mut faults = Faults::default();
    let mut tiers = Tiers::new();
    for (place, message) in messages.into_iter().enumerate() {
        let prefix = format!("tier_defaults[{place}].");
        let flag = faults.id(&format!("{prefix}flag_key"), FlagKey::known(&message.flag_key));
        let tier = faults.id(&format!("{prefix}tier_id"), TierId::parse(&message.tier_id));
        if message.variant.is_empty() && message.rollout.is_none() {
            faults.add(format!("{prefix}variant"), "must be set, or a rollout");
        }
        let seed = flag.clone().or_else(|| FlagKey::parse("unknown").ok());
        let choice = seed.and_then(|seed| {
            choice::decode_choice(&message.variant, message.rollout, &prefix, &seed, &mut faults)
        });
        let (Some(flag), Some(tier), Some(choice)) = (flag, tier, choice) else { continue };
        if tiers.entry(flag).or_default().insert(tier, choice).is_some() {
            faults.add(format!("{prefix}tier_id"), "must not be there twice for a flag");
        }
    }
    faults.check(Some(tiers))
}

pub(in crate::grpc) fn encode(applied: &Applied) -> v1::ApplyFlagsResponse {
    v1::ApplyFlagsResponse {
        differences: applied.differences.iter().map(encode_difference).collect(),
        impact: applied.impact.as_ref().map(answer::encode_impact),
        revision: applied.revision.as_i64(),
        removed: applied.removal.as_ref().map(answer::encode_removal),
        kept: applied.kept.iter().map(encode_difference).collect(),
        plan_etag: encode_plan_etag(applied),
        warnings: applied.warnings.clone(),
    }
}

/// Told of what was only tried, as whom it affects.
pub(super) fn encode_plan_etag(applied: &Applied) -> String {
    applied.impact.as_ref().map_or_else(String::new, |_| applied.plan_etag.clone())
}

pub(super) fn encode_difference(difference: &Difference) -> response::Difference {
    response::Difference {
        resource: match difference.resource {
            Resource::Segment => "segment",
            Resource::Flag => "flag",
            Resource::TierDefault => "tier_default",
            Resource::File => "file",
        }
        .to_owned(),
        name: difference.name.clone(),
        action: match difference.action {
            Action::Create => response::Action::Create,
            Action::Update => response::Action::Update,
            Action::Delete => response::Action::Delete,
        }
        .into(),
        fields: difference.fields.clone(),
        before: difference.before.clone(),
        after: difference.after.clone(),
    }
}

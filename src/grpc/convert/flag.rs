//! Flags, what is set of them, and what a tenant sees.

pub(in crate::grpc) mod answer;
pub(in crate::grpc) mod apply;
pub(in crate::grpc) mod choice;
pub(in crate::grpc) mod file;
pub(in crate::grpc) mod rule;
pub(in crate::grpc) mod segment;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use prost_types::FieldMask;
use serde_json::json;

use super::{Faults, decode_timestamp, etag, mask, timestamp, value};
use crate::domain::error::Error;
use crate::domain::flag::{
    Choice, CompiledFlags, Extension, Flag, FlagField, FlagState, FlagType, InProcess, Kind, Prerequisite,
    Settings, Value, Variants, Window, stale, validate,
};
use crate::domain::ids::{FlagKey, GroupName, VariantName};
use crate::domain::rule::HashVersion;
use crate::proto::v1;
use crate::services::feature_flags::{FlagUpdate, Judged};
use crate::view::Snapshot;

const FIXED: &[&str] = &[
    "flag_key",
    "type",
    "tier_defaults",
    "tier_rollouts",
    "etag",
    "revision",
    "create_time",
    "update_time",
    "warnings",
    "impact",
    "extensions",
];
/// Most entries of a list that are looked at; the rules for flags have smaller bounds, and say so.
const ENTRIES_MAX: usize = 1_000;

/// Encodes a flag with its tier defaults and what people should hear of it.
pub(in crate::grpc) fn encode(snapshot: Option<&Snapshot>, flag: &Flag, now: Timestamp) -> v1::Flag {
    let known = snapshot.map(|snapshot| (snapshot, InProcess::new(&snapshot.flags, now)));
    encode_among(known.as_ref().map(|(snapshot, in_process)| (*snapshot, in_process)), flag, now)
}

/// The same for one of many, which share what is found out for in-process providers.
pub(in crate::grpc) fn encode_among(
    known: Option<(&Snapshot, &InProcess<'_>)>,
    flag: &Flag,
    now: Timestamp,
) -> v1::Flag {
    let snapshot = known.map(|(snapshot, _)| snapshot);
    let key = flag.key().as_str();
    let defaults = || snapshot.into_iter().flat_map(|snapshot| snapshot.flags.tier_defaults(key));
    let (mut tier_defaults, mut tier_rollouts) = (BTreeMap::new(), BTreeMap::new());
    for default in defaults() {
        match &default.choice {
            Choice::Variant(variant) => {
                drop(tier_defaults.insert(default.tier.to_string(), variant.to_string()));
            }
            Choice::Rollout(split) => {
                tier_rollouts.insert(default.tier.to_string(), choice::encode_rollout(split));
            }
        }
    }
    v1::Flag {
        tier_defaults,
        tier_rollouts,
        etag: crate::domain::tenant::etag(flag.revision),
        revision: flag.revision.as_i64(),
        create_time: Some(timestamp(flag.create_time)),
        update_time: Some(timestamp(flag.update_time)),
        warnings: stale::warning(flag, now)
            .into_iter()
            .chain(known.into_iter().flat_map(|(_, in_process)| in_process.warnings(key)))
            .collect(),
        origin: flag
            .origin
            .as_ref()
            .map(|origin| v1::FlagOrigin { file: origin.file.clone(), is_changed: origin.is_changed }),
        extensions: flag.extensions.iter().map(encode_extension).collect(),
        ..encode_settings(&flag.settings)
    }
}

fn encode_extension(extension: &Extension) -> v1::FlagExtension {
    v1::FlagExtension {
        previous_expire_time: Some(timestamp(extension.previous_expire_time)),
        expire_time: extension.expire_time.map(timestamp),
        actor: extension.actor.clone(),
        extend_time: Some(timestamp(extension.time)),
        reason: extension.reason.clone(),
    }
}

/// Encodes what was made of a flag.
pub(in crate::grpc) fn encode_judged(
    snapshot: Option<&Snapshot>,
    judged: &Judged<Flag>,
    now: Timestamp,
) -> v1::Flag {
    let impact = judged.impact.as_ref().map(answer::encode_impact);
    // What was only tried is not among the others.
    let tried = snapshot.filter(|_| impact.is_some()).map(|snapshot| {
        let flags = snapshot.flags.clone();
        flags.with_flag(Arc::new(judged.made.clone()))
    });
    let flags = snapshot.map(|snapshot| tried.as_ref().unwrap_or(&snapshot.flags));
    let known = snapshot.zip(flags).map(|(snapshot, flags)| (snapshot, InProcess::new(flags, now)));
    let known = known.as_ref().map(|(snapshot, in_process)| (*snapshot, in_process));
    let mut flag = v1::Flag { impact, ..encode_among(known, &judged.made, now) };
    flag.warnings.extend(flags.and_then(CompiledFlags::set_warning));
    flag
}

fn encode_settings(flag: &Settings) -> v1::Flag {
    let name = |variant: &Option<VariantName>| variant.as_ref().map(ToString::to_string).unwrap_or_default();
    let variants = flag.variants.iter();
    let fields = flag.metadata.iter().map(|(key, json)| (key.clone(), value::encode(json.clone())));
    v1::Flag {
        flag_key: flag.key.to_string(),
        r#type: encode_type(flag.flag_type).into(),
        description: flag.description.clone(),
        variants: variants.map(|(name, v)| (name.to_string(), value::encode(v.to_json()))).collect(),
        default_variant: name(&flag.default_variant),
        safe_variant: name(&flag.safe_variant),
        state: encode_state(flag.state).into(),
        owner: flag.owner.clone(),
        labels: flag.labels.clone(),
        kind: encode_kind(flag.kind).into(),
        flag_set: flag.flag_set.clone(),
        metadata: Some(prost_types::Struct { fields: fields.collect() }),
        default_rollout: flag.default_rollout.as_ref().map(choice::encode_rollout),
        off_variant: name(&flag.off_variant),
        expired_variant: name(&flag.expired_variant),
        expire_time: flag.expire_time.map(timestamp),
        kill_switch: flag.kill_switch.as_ref().map(ToString::to_string).unwrap_or_default(),
        schedule: flag.schedule.iter().map(encode_window).collect(),
        prerequisites: flag.prerequisites.iter().map(encode_prerequisite).collect(),
        conflict_groups: flag.conflict_groups.iter().map(ToString::to_string).collect(),
        priority: flag.priority,
        rules: flag.rules.iter().map(rule::encode).collect(),
        hash_version: match flag.hash_version {
            HashVersion::V1 => v1::HashVersion::V1,
            HashVersion::V2 => v1::HashVersion::V2,
            HashVersion::V3 => v1::HashVersion::V3,
        }
        .into(),
        ..v1::Flag::default()
    }
}

const fn encode_type(flag_type: FlagType) -> v1::FlagType {
    match flag_type {
        FlagType::Boolean => v1::FlagType::Boolean,
        FlagType::String => v1::FlagType::String,
        FlagType::Integer => v1::FlagType::Integer,
        FlagType::Double => v1::FlagType::Double,
        FlagType::Object => v1::FlagType::Object,
        FlagType::Mixed => v1::FlagType::Mixed,
    }
}

const fn encode_state(state: FlagState) -> v1::FlagState {
    match state {
        FlagState::Enabled => v1::FlagState::Enabled,
        FlagState::Disabled => v1::FlagState::Disabled,
        FlagState::Archived => v1::FlagState::Archived,
    }
}

const fn encode_kind(kind: Kind) -> v1::FlagKind {
    match kind {
        Kind::Release => v1::FlagKind::Release,
        Kind::Experiment => v1::FlagKind::Experiment,
        Kind::Operational => v1::FlagKind::Operational,
        Kind::KillSwitch => v1::FlagKind::KillSwitch,
        Kind::Permission => v1::FlagKind::Permission,
    }
}

fn encode_window(window: &Window) -> v1::ScheduleWindow {
    v1::ScheduleWindow {
        start_time: window.start_time.map(timestamp),
        end_time: window.end_time.map(timestamp),
    }
}

fn encode_prerequisite(needed: &Prerequisite) -> v1::Prerequisite {
    v1::Prerequisite {
        flag_key: needed.flag_key.to_string(),
        variants: needed.variants.iter().map(ToString::to_string).collect(),
    }
}

pub(in crate::grpc) fn decode_new(message: Option<v1::Flag>) -> Result<Settings, Error> {
    let Some(message) = message else { return Err(Error::field("flag", "must be set")) };
    decode_whole(message).map_err(|error| error.within("flag."))
}

/// Decodes a flag with everything that is said of it, and checks it.
fn decode_whole(message: v1::Flag) -> Result<Settings, Error> {
    let mut faults = Faults::default();
    let flag_type = decode_type(message.r#type);
    if flag_type.is_none() {
        let why = match message.r#type {
            0 => "must be set".to_owned(),
            6 => "must be one type; only flags that are imported have several".to_owned(),
            number => format!("{number} is not a number of FlagType"),
        };
        faults.add("type", why);
    }
    let mut flag = decode(message, flag_type.unwrap_or(FlagType::Boolean), &mut faults, &|_| true);
    if let Some(flag) = flag.as_mut().filter(|_| flag_type.is_some()) {
        flag.fill_boolean_defaults();
        faults.extend(validate(flag));
    }
    faults.check(flag)
}

/// Decodes an update. The type of the variants' values is the flag's, which `snapshot` knows; a flag that it does not
/// know is told to be missing later.
pub(in crate::grpc) fn decode_update(
    snapshot: &Snapshot,
    request: v1::UpdateFlagRequest,
) -> Result<FlagUpdate, Error> {
    let v1::UpdateFlagRequest { flag, update_mask, force, reason, .. } = request;
    let Some(mut message) = flag else { return Err(Error::field("flag", "must be set")) };
    if let Err(invalid) = crate::domain::text::reason(&reason, choice::REASON_MAX) {
        return Err(Error::field("reason", invalid.why));
    }
    let key = super::id("flag.flag_key", FlagKey::known(&message.flag_key))?;
    let fields = decode_mask(update_mask)?;
    let etag = etag(std::mem::take(&mut message.etag));
    let known = snapshot.flags.flag(key.as_str());
    let flag_type = known.map_or(FlagType::Object, |flag| flag.settings.flag_type);
    if known.is_none() {
        message.variants.clear();
    }
    let mut faults = Faults::default();
    let flag = decode(message, flag_type, &mut faults, &|field| fields.contains(&field));
    let update = flag.map(|flag| FlagUpdate { flag, fields, etag, force, reason });
    faults.check(update).map_err(|error| error.within("flag."))
}

fn decode_mask(update_mask: Option<FieldMask>) -> Result<Vec<FlagField>, Error> {
    mask(update_mask, FlagField::ALL, FlagField::as_str, FIXED)
}

fn decode(
    message: v1::Flag,
    flag_type: FlagType,
    faults: &mut Faults,
    wanted: &dyn Fn(FlagField) -> bool,
) -> Option<Settings> {
    let key = faults.id("flag_key", FlagKey::parse(&message.flag_key));
    // Where the key is at fault, the rest is read all the same, so that a caller hears of everything at once.
    let mut flag = Settings::new(key.clone().or_else(|| FlagKey::parse("unknown").ok())?, flag_type);
    if wanted(FlagField::Variants) {
        flag.variants = decode_variants(message.variants, flag_type, faults);
    }
    for (field, text, place) in [
        (FlagField::DefaultVariant, &message.default_variant, &mut flag.default_variant),
        (FlagField::SafeVariant, &message.safe_variant, &mut flag.safe_variant),
        (FlagField::OffVariant, &message.off_variant, &mut flag.off_variant),
        (FlagField::ExpiredVariant, &message.expired_variant, &mut flag.expired_variant),
    ] {
        if wanted(field) {
            *place = faults.optional_id(field.as_str(), text, VariantName::known);
        }
    }
    if wanted(FlagField::State) {
        flag.state = decode_state(message.state, faults);
    }
    if wanted(FlagField::Kind) {
        flag.kind = decode_kind(message.kind, faults);
    }
    if wanted(FlagField::HashVersion) {
        flag.hash_version = decode_hash_version(message.hash_version, faults);
    }
    if wanted(FlagField::Metadata) {
        flag.metadata = decode_metadata(message.metadata.unwrap_or_default(), faults);
    }
    if wanted(FlagField::DefaultRollout) {
        let rollout = message.default_rollout;
        flag.default_rollout =
            rollout.map(|rollout| choice::decode_rollout(rollout, "default_rollout", &flag.key, faults));
    }
    if wanted(FlagField::ExpireTime) {
        flag.expire_time = decode_time("expire_time", message.expire_time, faults);
    }
    if wanted(FlagField::KillSwitch) {
        flag.kill_switch = faults.optional_id("kill_switch", &message.kill_switch, FlagKey::known);
    }
    if wanted(FlagField::Schedule) {
        flag.schedule = decode_list("schedule", message.schedule, faults, decode_window);
    }
    if wanted(FlagField::Prerequisites) {
        flag.prerequisites = decode_list("prerequisites", message.prerequisites, faults, decode_prerequisite);
    }
    if wanted(FlagField::ConflictGroups) {
        flag.conflict_groups =
            decode_ids("conflict_groups", &message.conflict_groups, faults, GroupName::parse);
    }
    if wanted(FlagField::Rules) {
        let owner = flag.key.clone();
        flag.rules = decode_list("rules", message.rules, faults, |message, field, faults| {
            Some(rule::decode(message, field, &owner, faults))
        });
        rule::name(&mut flag.rules);
    }
    flag.description = message.description;
    flag.owner = message.owner;
    flag.labels = message.labels;
    flag.flag_set = message.flag_set;
    flag.priority = message.priority;
    key.map(|_| flag)
}

fn decode_variants(
    messages: BTreeMap<String, prost_types::Value>,
    flag_type: FlagType,
    faults: &mut Faults,
) -> Variants {
    let mut variants = Variants::new();
    for (name, variant) in messages {
        let Some(name) = faults.id("variants", VariantName::parse(&name)) else { continue };
        let is_exact = flag_type != FlagType::Integer || value::is_exact(&variant);
        let decoded = value::decode(variant).map_err(ToOwned::to_owned);
        let decoded = decoded.and_then(|json| Value::from_json(flag_type, json)).and_then(|value| {
            let why = || format!("must lie within ±{}: larger ones are rounded on the way", value::EXACT_MAX);
            is_exact.then_some(value).ok_or_else(why)
        });
        match decoded {
            Ok(decoded) => drop(variants.insert(name, decoded)),
            Err(why) => {
                faults.add(format!("variants[{name}]"), why);
                // It is named all the same: that nothing else is missed for it, another value stands for it.
                let any = [json!(false), json!(""), json!(0), json!({})].into_iter();
                variants.extend(
                    any.flat_map(|json| Value::from_json(flag_type, json))
                        .take(1)
                        .map(|any| (name.clone(), any)),
                );
            }
        }
    }
    variants
}

/// Decodes each entry of a list under its own path.
fn decode_list<M, T>(
    field: &str,
    messages: Vec<M>,
    faults: &mut Faults,
    decode: impl Fn(M, &str, &mut Faults) -> Option<T>,
) -> Vec<T> {
    if messages.len() > ENTRIES_MAX {
        faults.add(field, format!("must have at most {ENTRIES_MAX} entries"));
        return Vec::new();
    }
    let entries = messages.into_iter().enumerate();
    entries.filter_map(|(place, message)| decode(message, &format!("{field}[{place}]"), faults)).collect()
}

/// Decodes a list of ids; one that is there twice is a mistake of somebody's.
fn decode_ids<T: Ord>(
    field: &str,
    texts: &[String],
    faults: &mut Faults,
    parse: impl Fn(&str) -> Result<T, crate::domain::ids::InvalidId>,
) -> BTreeSet<T> {
    if texts.len() > ENTRIES_MAX {
        faults.add(field, format!("must have at most {ENTRIES_MAX} entries"));
        return BTreeSet::new();
    }
    let mut ids = BTreeSet::new();
    for (place, text) in texts.iter().enumerate() {
        let place = format!("{field}[{place}]");
        let Some(id) = faults.id(&place, parse(text)) else { continue };
        if !ids.insert(id) {
            faults.add(place, "must not be there twice");
        }
    }
    ids
}

fn decode_time(field: &str, time: Option<prost_types::Timestamp>, faults: &mut Faults) -> Option<Timestamp> {
    decode_timestamp(time?).map_err(|why| faults.add(field, why)).ok()
}

// The list's decoder may refuse; a window's parts are refused one by one.
#[allow(clippy::unnecessary_wraps)]
fn decode_window(message: v1::ScheduleWindow, field: &str, faults: &mut Faults) -> Option<Window> {
    Some(Window {
        start_time: decode_time(&format!("{field}.start_time"), message.start_time, faults),
        end_time: decode_time(&format!("{field}.end_time"), message.end_time, faults),
    })
}

fn decode_prerequisite(message: v1::Prerequisite, field: &str, faults: &mut Faults) -> Option<Prerequisite> {
    let v1::Prerequisite { flag_key, variants } = message;
    let flag_key = faults.id(&format!("{field}.flag_key"), FlagKey::known(&flag_key));
    let variants = decode_ids(&format!("{field}.variants"), &variants, faults, VariantName::known);
    Some(Prerequisite { flag_key: flag_key?, variants })
}

fn decode_metadata(
    message: prost_types::Struct,
    faults: &mut Faults,
) -> serde_json::Map<String, serde_json::Value> {
    value::decode_struct(message).map_err(|(_, why)| faults.add("metadata", why)).unwrap_or_default()
}

fn decode_state(number: i32, faults: &mut Faults) -> FlagState {
    match v1::FlagState::try_from(number) {
        Ok(v1::FlagState::Unspecified | v1::FlagState::Enabled) => FlagState::Enabled,
        Ok(v1::FlagState::Disabled) => FlagState::Disabled,
        Ok(v1::FlagState::Archived) => FlagState::Archived,
        Err(_) => {
            faults.add("state", format!("{number} is not a number of FlagState"));
            FlagState::Enabled
        }
    }
}

fn decode_kind(number: i32, faults: &mut Faults) -> Kind {
    match v1::FlagKind::try_from(number) {
        Ok(v1::FlagKind::Unspecified | v1::FlagKind::Release) => Kind::Release,
        Ok(v1::FlagKind::Experiment) => Kind::Experiment,
        Ok(v1::FlagKind::Operational) => Kind::Operational,
        Ok(v1::FlagKind::KillSwitch) => Kind::KillSwitch,
        Ok(v1::FlagKind::Permission) => Kind::Permission,
        Err(_) => {
            faults.add("kind", format!("{number} is not a number of FlagKind"));
            Kind::Release
        }
    }
}

fn decode_hash_version(number: i32, faults: &mut Faults) -> HashVersion {
    match v1::HashVersion::try_from(number) {
        Ok(v1::HashVersion::V1) => HashVersion::V1,
        Ok(v1::HashVersion::Unspecified | v1::HashVersion::V2) => HashVersion::V2,
        Ok(v1::HashVersion::V3) => HashVersion::V3,
        Err(_) => {
            faults.add("hash_version", format!("{number} is not a number of HashVersion"));
            HashVersion::V2
        }
    }
}

fn decode_type(number: i32) -> Option<FlagType> {
    match v1::FlagType::try_from(number).ok()? {
        // Only a file brings such flags.
        v1::FlagType::Unspecified | v1::FlagType::Mixed => None,
        v1::FlagType::Boolean => Some(FlagType::Boolean),
        v1::FlagType::String => Some(FlagType::String),
        v1::FlagType::Integer => Some(FlagType::Integer),
        v1::FlagType::Double => Some(FlagType::Double),
        v1::FlagType::Object => Some(FlagType::Object),
    }
}

//! A flag of a file as a flag of ours, and the other way round.

use serde_json::{Map, Value as Json, json};

use super::file::{Entry, Flag};
use crate::domain::flag::validate::is_storable;
use crate::domain::flag::{
    Body, Flag as Ours, FlagState, FlagType, Resolved, Settings, TargetingRule, Value, Variants,
};
use crate::domain::ids::{FlagKey, VariantName};
use crate::domain::text::quote;
use crate::domain::violation::Violation;

/// The id of a file's one rule.
const RULE: &str = "targeting";
/// Largest definition of a flag, in bytes of its JSON text.
const DEFINITION_MAX: usize = 1 << 20;

/// The flag that an entry of a file defines. What a file cannot say is as in `base`, a flag of that key that is there
/// already; `flag_set` is the file's. A default share goes: the file's default variant stands for the same.
///
/// An unreadable one has no variants and a rule that cannot be evaluated, so that it answers `PARSE_ERROR`, as a broken
/// rule does.
///
/// # Errors
///
/// Where the database could not hold it: each with the path of the member.
pub fn settings(
    key: &str,
    entry: &Entry,
    flag_set: &str,
    base: Option<&Settings>,
) -> Result<Settings, Vec<Violation>> {
    let path = format!("flags[{}]", quote(key));
    let mut found = Vec::new();
    let mut refuse = |member: &str, why: String| {
        let place = if member.is_empty() { path.clone() } else { format!("{path}.{member}") };
        found.push(Violation::new(place, why));
    };
    let flag_key = FlagKey::known(key)
        .map_err(|invalid| refuse("", format!("has a key that is no key: {}", invalid.rule)));
    if entry.text.len() > DEFINITION_MAX {
        refuse("", format!("must have at most {DEFINITION_MAX} bytes as JSON"));
    }
    let unreadable =
        |why: &String| Flag { targeting: Some(json!({ "unreadable": [why] })), ..Flag::default() };
    let flag = entry.flag.clone().unwrap_or_else(|why| unreadable(&why));
    let parts = [
        ("variants", Json::Object(flag.variants.clone())),
        ("targeting", flag.targeting.clone().unwrap_or_default()),
        ("metadata", Json::Object(flag.metadata.clone())),
    ];
    for (member, part) in parts {
        if let Err(why) = is_storable(&part, DEFINITION_MAX) {
            refuse(member, why);
        }
    }
    let name = |name: &str| VariantName::known(name).map_err(|invalid| invalid.rule);
    if let Some((bad, why)) = flag.variants.keys().find_map(|text| Some((text, name(text).err()?))) {
        refuse("variants", format!("has the name {}, which is no name: {why}", quote(bad)));
    }
    let Ok(flag_key) = flag_key else { return Err(found) };
    if !found.is_empty() {
        return Err(found);
    }
    let (flag_type, variants) = variants(flag.variants);
    let mut settings = base.cloned().unwrap_or_else(|| Settings::new(flag_key, flag_type));
    settings.flag_type = flag_type;
    settings.default_rollout = None;
    for other in [&mut settings.safe_variant, &mut settings.off_variant, &mut settings.expired_variant] {
        *other = other.take().filter(|variant| variants.contains_key(variant));
    }
    settings.variants = variants;
    settings.default_variant = flag.default_variant.and_then(|text| VariantName::known(&text).ok());
    settings.state = if flag.is_disabled { FlagState::Disabled } else { FlagState::Enabled };
    settings.flag_set = entry.own_set().unwrap_or_else(|| flag_set.to_owned());
    settings.metadata = flag.metadata;
    settings.rules = flag.targeting.into_iter().map(rule).collect();
    Ok(settings)
}

fn rule(targeting: Json) -> TargetingRule {
    TargetingRule { id: RULE.to_owned(), description: String::new(), body: Body::Logic(targeting) }
}

/// The values, and the type that all of them have.
fn variants(source: Map<String, Json>) -> (FlagType, Variants) {
    let named = |(name, json): (String, Json)| Some((VariantName::known(&name).ok()?, Value::from(json)));
    let variants: Variants = source.into_iter().filter_map(named).collect();
    let mut types: Vec<FlagType> = variants.values().map(Value::flag_type).collect();
    types.sort_unstable();
    types.dedup();
    match types.as_slice() {
        [one] => (*one, variants),
        // Numbers of which some have a fraction are numbers. Each stays as it is written: in-process clients read it.
        [FlagType::Integer, FlagType::Double] => (FlagType::Double, variants),
        _ => (FlagType::Mixed, variants),
    }
}

/// A flag's definition in flagd's JSON, as decided for somebody. Members of the file that it came from which say
/// nothing to flagd are kept.
pub fn definition(resolved: &Resolved<'_>) -> String {
    let Ours { settings, origin, .. } = resolved.flag;
    let mut flag = origin.as_ref().map(|origin| Entry::again(&origin.source).others()).unwrap_or_default();
    let state = if settings.state == FlagState::Enabled { "ENABLED" } else { "DISABLED" };
    flag.insert("state".to_owned(), state.into());
    flag.insert("variants".to_owned(), Json::Object(named_values(settings)));
    // One that is disabled is decided no further, but keeps what it would give.
    let default = if resolved.is_enabled { resolved.default } else { settings.default_variant.as_ref() };
    flag.insert("defaultVariant".to_owned(), default.map_or(Json::Null, |name| name.as_str().into()));
    if let Some(targeting) = &resolved.targeting {
        flag.insert("targeting".to_owned(), targeting.clone());
    }
    let metadata = named_metadata(settings.metadata.clone());
    if !metadata.is_empty() {
        flag.insert("metadata".to_owned(), Json::Object(metadata));
    }
    Json::Object(flag).to_string()
}

/// The variants of a flag, for clients. A broken flag of a file has none, and some providers refuse the whole set for it:
/// it gets one that nothing gives.
pub fn named_values(settings: &Settings) -> Map<String, Json> {
    let values = settings.variants.iter().map(|(name, value)| (name.to_string(), value.to_json()));
    let mut variants: Map<String, Json> = values.collect();
    if variants.is_empty() {
        variants.insert("no variant".to_owned(), Json::Bool(false));
    }
    variants
}

/// Metadata for clients: for an empty name, too, some refuse the whole set.
pub fn named_metadata(mut metadata: Map<String, Json>) -> Map<String, Json> {
    metadata.remove("");
    metadata
}

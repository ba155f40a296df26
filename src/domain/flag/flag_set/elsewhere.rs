//! A flag's rule within another flag's.

use serde_json::{Map, Value as Json, json};

use crate::domain::ids::FlagKey;
use crate::domain::rule::{HashVersion, TARGETING_KEY};

/// What gives a list, which stands for a share where the bucketing value could.
const LISTS: [&str; 6] = ["merge", "map", "filter", "reduce", "missing", "missing_some"];

/// A flag's rule, put so that it says the same within another flag's. `None` where that cannot be put.
///
/// A `fractional` without a bucketing value goes by the key of the flag that a provider finds it in, and by the targeting key:
/// here both are written out.
pub(super) fn said_elsewhere(rule: &Json, key: &FlagKey, hash: HashVersion) -> Option<Json> {
    let within = |part| said_elsewhere(part, key, hash);
    match rule {
        Json::Array(items) => items.iter().map(within).collect(),
        Json::Object(map) => {
            let shares = map.get("fractional").filter(|_| map.len() == 1);
            let parts = map.iter().map(|(operator, arguments)| Some((operator.clone(), within(arguments)?)));
            let said = Json::Object(parts.collect::<Option<Map<_, _>>>()?);
            match shares.map(bucketing) {
                None | Some(Bucketing::OfItsOwn) => Some(said),
                // There the two are hashed as a list, which no operand can be: it would be a share.
                Some(Bucketing::ByKeys) if hash == HashVersion::V3 => None,
                Some(Bucketing::ByKeys) => Some(by_keys(key, &said)),
                Some(Bucketing::Unknown) => None,
            }
        }
        other => Some(other.clone()),
    }
}

/// What a `fractional` goes by.
enum Bucketing {
    /// The flag's key and the targeting key.
    ByKeys,
    /// An operand, whatever flag it stands in.
    OfItsOwn,
    /// One or the other, which is seen only when it is evaluated.
    Unknown,
}

fn bucketing(arguments: &Json) -> Bucketing {
    match arguments.as_array().map(|arguments| arguments.first()) {
        Some(Some(Json::Array(_))) => Bucketing::ByKeys,
        Some(Some(first)) if is_no_share(first) => Bucketing::OfItsOwn,
        // Of nothing nothing is given.
        Some(None) => Bucketing::OfItsOwn,
        _ => Bucketing::Unknown,
    }
}

/// Whether an operand is a bucketing value, and not a share that is put together. An attribute is taken for one: a client that
/// has a list there gets what its list comes to.
fn is_no_share(operand: &Json) -> bool {
    let Json::Object(map) = operand else { return !operand.is_null() };
    let all = |values: &[&Json]| values.iter().all(|value| value.is_null() || is_no_share(value));
    map.iter().all(|(operator, arguments)| {
        let arguments = arguments.as_array().map_or(std::slice::from_ref(arguments), Vec::as_slice);
        match operator.as_str() {
            "and" | "or" => all(&arguments.iter().collect::<Vec<_>>()),
            "if" => all(&arguments.chunks(2).filter_map(|branch| branch.last()).collect::<Vec<_>>()),
            operator => !LISTS.contains(&operator),
        }
    })
}

/// The shares, by a flag's key and the targeting key; nothing for whoever has none.
fn by_keys(key: &FlagKey, fractional: &Json) -> Json {
    let targeting_key = json!({"var": TARGETING_KEY});
    let mut arguments = vec![json!({"cat": [key.as_str(), targeting_key]})];
    arguments.extend(fractional["fractional"].as_array().into_iter().flatten().cloned());
    json!({"if": [targeting_key, { "fractional": arguments }, null]})
}

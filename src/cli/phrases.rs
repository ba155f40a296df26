//! What people say of the things of the contract, where names and values one by one would say less.

use serde_json::{Map, Value};

use super::escape::harmless;
use super::output::text;

/// A thing in one phrase; none for one that has no better than its fields.
pub(super) fn phrase(fields: &Map<String, Value>) -> Option<String> {
    let field = |name: &str| fields.get(name);
    let said = |name: &str| field(name).map(text);
    if let (Some(units), Some(currency)) = (said("units"), said("currencyCode")) {
        return Some(format!("{units} {currency}"));
    }
    // A limit, and one in force.
    if let Some(limit) = said("value").filter(|_| fields.len() == 1) {
        return Some(limit);
    }
    if fields.len() == 1 && fields.contains_key("unlimited") {
        return Some("unlimited".to_owned());
    }
    if let (Some(metric), Some(limit), Some(source)) = (said("metric"), said("limit"), said("source")) {
        return Some(format!("{metric} {limit} ({})", source.to_lowercase()));
    }
    if let Some(weights) = field("weights") {
        return rollout(weights, fields);
    }
    if let (Some(affected), Some(examined)) = (said("tenantsAffected"), said("tenantsExamined")) {
        return Some(impact(fields, &affected, &examined));
    }
    if let (Some(operator), Some(values)) = (said("operator"), field("values")) {
        let attribute = said("attribute").unwrap_or_default();
        let operator = operator.to_lowercase().replace('_', " ");
        return Some(format!("{attribute} {operator} {}", text(values)).trim().to_owned());
    }
    if let (Some(id), Some(logic), Some(conditions)) = (said("id"), said("logic"), field("conditions")) {
        return Some(format!("{id}: {}", rule(fields, logic, conditions)));
    }
    if let (Some(flag), Some(variants), 2) = (said("flagKey"), field("variants"), fields.len()) {
        return Some(format!("{flag} = {}", joined(variants, " or ")));
    }
    if let (Some(previous), Some(actor), Some(time)) =
        (said("previousExpireTime"), said("actor"), said("extendTime"))
    {
        let end = said("expireTime").filter(|end| !end.is_empty()).unwrap_or_else(|| "never".to_owned());
        let reason = said("reason").filter(|reason| !reason.is_empty());
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        return Some(format!("{previous} → {end} by {actor} at {time}{reason}"));
    }
    if let (Some(start), Some(end), 2) = (field("startTime"), field("endTime"), fields.len()) {
        let bound = |word: &str, time: &Value| {
            if time.is_null() { String::new() } else { format!("{word} {}", text(time)) }
        };
        return Some(format!("{} {}", bound("from", start), bound("until", end)).trim().to_owned());
    }
    None
}

/// `10% on / 90% off by userId; from 2026-12-01T00:00:00Z 100% on`.
fn rollout(weights: &Value, fields: &Map<String, Value>) -> Option<String> {
    let mut said = shares(weights)?;
    match fields.get("bucketBy").map(text).filter(|attribute| !attribute.is_empty()) {
        Some(attribute) => said.push_str(&format!(" by {attribute}")),
        None => said.push_str(" by tenantId"),
    }
    for step in fields.get("steps").and_then(Value::as_array).into_iter().flatten() {
        said.push_str(&format!("; from {} {}", text(&step["startTime"]), shares(&step["weights"])?));
    }
    Some(said)
}

/// `10% on / 90% off`.
fn shares(weights: &Value) -> Option<String> {
    let weights: Option<Vec<(String, f64)>> = weights
        .as_array()?
        .iter()
        .map(|it| Some((harmless(it["variant"].as_str()?), it["weight"].as_f64()?)))
        .collect();
    let weights = weights?;
    let sum: f64 = weights.iter().map(|(_, weight)| weight.max(0.0)).sum();
    let percent =
        |weight: f64| if sum > 0.0 { (weight.max(0.0) / sum * 10_000.0).round() / 100.0 } else { 0.0 };
    let shares = weights.iter().map(|(variant, weight)| format!("{}% {variant}", percent(*weight)));
    Some(shares.collect::<Vec<_>>().join(" / "))
}

/// Most examples that are named.
const EXAMPLES_MAX: usize = 3;

/// `1 of 40 tenants would see something else (finance: search off → on); 0 other flags hang on what changes`.
fn impact(fields: &Map<String, Value>, affected: &str, examined: &str) -> String {
    let named = |field: &str, say: &dyn Fn(&Value) -> String| {
        let all = fields.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut named: Vec<_> = all.iter().take(EXAMPLES_MAX).map(say).collect();
        if all.len() > EXAMPLES_MAX {
            named.push("…".to_owned());
        }
        if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) }
    };
    let variant = |name: &Value| {
        let name = text(name);
        if name.is_empty() { "no value".to_owned() } else { name }
    };
    let shift = |shift: &Value| {
        let (mut before, mut after) = (variant(&shift["variantBefore"]), variant(&shift["variantAfter"]));
        if before == after && !shift["valueBefore"].is_null() && !shift["valueAfter"].is_null() {
            // The variant has another value.
            (before, after) = (text(&shift["valueBefore"]), text(&shift["valueAfter"]));
        }
        format!("{}: {} {before} → {after}", text(&shift["tenantId"]), text(&shift["flagKey"]))
    };
    let dependents = fields.get("dependentsTotal").map_or_else(|| "0".to_owned(), text);
    let asks_callers = fields.get("asksCallers").and_then(Value::as_bool).unwrap_or_default();
    format!(
        "{affected} of {examined} tenants would see something else{}{}; {dependents} other flags hang on what changes{}",
        named("examples", &shift),
        if asks_callers { ", not counting what callers' own attributes decide" } else { "" },
        named("dependents", &text),
    )
}

fn rule(fields: &Map<String, Value>, logic: String, conditions: &Value) -> String {
    if !logic.is_empty() {
        return logic;
    }
    let where_ = joined(conditions, " and ");
    let given = ["variant", "rollout"].into_iter().filter_map(|name| fields.get(name)).map(text);
    let given = given.collect::<String>();
    if where_.is_empty() { given } else { format!("where {where_} → {given}") }
}

fn joined(items: &Value, separator: &str) -> String {
    items.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rollout_is_said_as_shares_of_somebody() {
        let weights = json!([{"variant": "on", "weight": 10}, {"variant": "off", "weight": 90}]);
        assert_eq!(
            text(&json!({"weights": weights, "bucketBy": "userId", "steps": [], "seed": ""})),
            "10% on / 90% off by userId"
        );
        let later =
            json!([{"startTime": "2026-12-01T00:00:00Z", "weights": [{"variant": "on", "weight": 1}]}]);
        assert_eq!(
            text(&json!({"weights": weights, "bucketBy": "", "steps": later, "seed": "s"})),
            "10% on / 90% off by tenantId; from 2026-12-01T00:00:00Z 100% on"
        );
        let thirds = json!([{"variant": "a", "weight": 1}, {"variant": "b", "weight": 2}]);
        assert_eq!(text(&json!({ "weights": thirds })), "33.33% a / 66.67% b by tenantId");
        assert_eq!(text(&json!({"weights": [{"variant": "a", "weight": 0}]})), "0% a by tenantId");
        assert_eq!(text(&json!({"weights": "heavy"})), "weights=heavy", "what only looks like one");
    }

    #[test]
    fn an_impact_is_said_with_some_examples() {
        let shift =
            json!({"tenantId": "acme", "flagKey": "search", "variantBefore": "", "variantAfter": "on"});
        let impact = json!({
            "tenantsAffected": 4, "tenantsExamined": 9, "dependentsTotal": 1, "dependents": ["hints"],
            "examples": [shift, shift, shift, shift],
        });
        let one = "acme: search no value → on";
        assert_eq!(
            text(&impact),
            format!(
                "4 of 9 tenants would see something else ({one}, {one}, {one}, …); \
                 1 other flags hang on what changes (hints)"
            )
        );
        let by_users = json!({"tenantsAffected": 0, "tenantsExamined": 3, "asksCallers": true});
        assert_eq!(
            text(&by_users),
            "0 of 3 tenants would see something else, not counting what callers' own attributes decide; \
             0 other flags hang on what changes"
        );
    }

    #[test]
    fn parts_of_a_flag_are_said_in_one_phrase() {
        let region = json!({"attribute": "region", "operator": "CONDITION_OPERATOR_STARTS_WITH", "values": ["eu-", "us-"]});
        let segment =
            json!({"attribute": "", "operator": "CONDITION_OPERATOR_IN_SEGMENT", "values": ["staff"]});
        assert_eq!(text(&region), "region starts with eu-, us-");
        assert_eq!(text(&segment), "in segment staff");
        let rule = json!({"id": "pilots", "description": "", "logic": "", "conditions": [region, segment], "variant": "on", "rollout": null});
        assert_eq!(
            text(&json!([rule])),
            "pilots: where region starts with eu-, us- and in segment staff → on"
        );
        let logic = json!({"id": "r", "logic": "{\"var\":\"a\"}", "conditions": []});
        assert_eq!(text(&logic), "r: {\"var\":\"a\"}");
        assert_eq!(text(&json!([{"flagKey": "search", "variants": ["on", "beta"]}])), "search = on or beta");
        assert_eq!(
            text(&json!([{"startTime": null, "endTime": "2027-01-01T00:00:00Z"}])),
            "until 2027-01-01T00:00:00Z"
        );
    }
}

//! What `tenantry flag …` reads and shows.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Command;
use super::document::whole;
use crate::cli::output::{Column, print, show, show_list, show_rows, text};
use crate::cli::{Context, Failure, Format};

const FLAGS: [Column; 7] = [
    ("KEY", "flagKey"),
    ("TYPE", "type"),
    ("KIND", "kind"),
    ("STATE", "state"),
    ("DEFAULT", "default"),
    ("TIERS", "tiers"),
    ("EXPIRES", "expires"),
];
const STALE: [Column; 9] = [
    ("FLAG", "flagKey"),
    ("WHY", "staleness"),
    ("OWNER", "owner"),
    ("MADE", "createTime"),
    ("EXPIRES", "expireTime"),
    ("LAST EVALUATED", "lastEvaluatedTime"),
    ("BY NAME", "evaluations"),
    ("IN BULK", "bulkEvaluations"),
    ("LATEST OF", "latest"),
];
/// How many of the tenants that evaluated a flag last are named in a table.
const LATEST_MAX: usize = 3;
const DEPENDENTS: [Column; 3] = [("FLAG", "flagKey"), ("NEEDS", "needs"), ("AS", "variants")];
const EVALUATED: [Column; 5] = [
    ("FLAG", "flagKey"),
    ("VALUE", "value"),
    ("VARIANT", "variant"),
    ("REASON", "reason"),
    ("DECIDED BY", "layer"),
];
const OVERRIDES: [Column; 5] = [
    ("FLAG", "flagKey"),
    ("TENANT", "tenantId"),
    ("GIVES", "gives"),
    ("EXPIRES", "expires"),
    ("REASON", "reason"),
];
const LAYERS: [Column; 4] =
    [("LAYER", "layer"), ("DECIDES", "decided"), ("VARIANT", "variant"), ("WHY", "detail")];

pub(super) async fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    let (client, output) = (&context.client, context.connection.output);
    match command {
        Command::Get { flag_key } => {
            show_flag(output, &client.call("FeatureFlags/GetFlag", json!({ "flagKey": flag_key })).await?)
        }
        Command::Overrides { flag, tenant } => {
            let request =
                json!({ "flagKey": flag.unwrap_or_default(), "tenantId": tenant.unwrap_or_default() });
            let response = client.list("FeatureFlags/ListTenantOverrides", request, "overrides").await?;
            show_rows(output, &response, "overrides", &OVERRIDES, override_row)
        }
        Command::Evaluate { tenant_id, flag_keys, context } => {
            let context = context_of(context)?;
            let request = json!({ "tenantId": tenant_id, "flagKeys": flag_keys, "context": context });
            let response = client.call("FeatureFlags/EvaluateFlags", request).await?;
            show_rows(output, &response, "flags", &EVALUATED, evaluated_row)
        }
        Command::Explain { tenant_id, flag_key, context: attributes } => {
            let request = json!({
                "tenantId": tenant_id, "flagKey": flag_key, "context": context_of(attributes)?,
            });
            let explained = client.call("FeatureFlags/ExplainFlag", request).await?;
            show_list(output, &explained, "layers", &LAYERS)?;
            if output == Format::Table {
                print(&shares(&tenant_id, &flag_key, context).await)
            } else {
                Ok(())
            }
        }
        Command::Stale => {
            let response = client.list("FeatureFlags/ListStaleFlags", json!({}), "flags").await?;
            show_rows(output, &response, "flags", &STALE, stale_row)
        }
        Command::Dependents { flag_key } => {
            let request = json!({ "flagKey": flag_key });
            let response = client.list("FeatureFlags/ListDependents", request, "dependents").await?;
            show_list(output, &response, "dependents", &DEPENDENTS)
        }
        Command::List { filter, order_by, page_token } => {
            let request = json!({
                "pageSize": 1000,
                "filter": filter.unwrap_or_default(),
                "orderBy": order_by.unwrap_or_default(),
                "pageToken": page_token.unwrap_or_default(),
            });
            let response = client.call("FeatureFlags/ListFlags", request).await?;
            show_rows(output, &response, "flags", &FLAGS, flag_row)
        }
        _ => Err(Failure::internal(&"a command that is not known")),
    }
}

/// JSON of a context that was given.
fn context_of(text: Option<String>) -> Result<Value, Failure> {
    let Some(text) = text else { return Ok(json!({})) };
    serde_json::from_str(&text).map_err(|error| {
        let place = format!("it cannot be read at line {}, column {}", error.line(), error.column());
        Failure::usage(format!("--context must be JSON, for example {{\"region\": \"eu-1\"}}; {place}"))
    })
}

/// With the tenants that evaluated it last, and how many there are.
fn stale_row(flag: &Value) -> Value {
    let mut row = flag.clone();
    let latest = flag["latestTenants"].as_array().into_iter().flatten().take(LATEST_MAX);
    let mut said: Vec<_> =
        latest.map(|of| format!("{} ({})", text(&of["tenantId"]), of["evaluations"])).collect();
    let others = flag["tenants"].as_u64().unwrap_or_default().saturating_sub(said.len() as u64);
    if others > 0 {
        said.push(format!("{others} more"));
    }
    row["latest"] = said.join(", ").into();
    row
}

/// Writes a flag; for people with its variants as they are written on the command line.
pub(super) fn show_flag(format: Format, flag: &Value) -> Result<(), Failure> {
    if format != Format::Table {
        return show(format, flag);
    }
    let mut flag = flag.clone();
    let variants = flag["variants"].as_object().into_iter().flatten();
    flag["variants"] = variants.map(|(name, value)| format!("{name}={}", whole(value))).collect();
    flag["metadata"] = match whole(&flag["metadata"]) {
        Value::Object(metadata) if !metadata.is_empty() => Value::Object(metadata).to_string().into(),
        _ => Value::Null,
    };
    show(format, &flag)
}

/// What is given: a variant, or a share of several, now and later.
pub(super) fn given(variant: &Value, rollout: &Value) -> String {
    if rollout.is_null() { text(variant) } else { text(&as_of(rollout, Timestamp::now())) }
}

/// A rollout from a moment on: with the shares of then, and the steps that are still to come.
fn as_of(rollout: &Value, now: Timestamp) -> Value {
    let mut rollout = rollout.clone();
    let steps = rollout["steps"].as_array().cloned().unwrap_or_default();
    let is_past = |step: &Value| time(&step["startTime"]).is_some_and(|start| start <= now);
    let (past, ahead): (Vec<_>, Vec<_>) = steps.into_iter().partition(is_past);
    if let Some(last) = past.iter().max_by_key(|step| time(&step["startTime"])) {
        rollout["weights"] = last["weights"].clone();
    }
    rollout["steps"] = ahead.into();
    rollout
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// What the tiers get of a flag, each by its name.
pub(super) fn tiers(flag: &Value) -> Vec<String> {
    let by_tier = ["tierDefaults", "tierRollouts"].into_iter().filter_map(|field| flag[field].as_object());
    let mut tiers: Vec<_> =
        by_tier.flatten().map(|(tier, gives)| format!("{}: {}", text(&json!(tier)), text(gives))).collect();
    tiers.sort_unstable();
    tiers
}

/// When something ends, and a word where it has.
pub(super) fn end(thing: &Value, word: &str) -> String {
    let end = &thing["expireTime"];
    let is_over = time(end).is_some_and(|end| end <= Timestamp::now());
    if is_over { format!("{} ({word})", text(end)) } else { text(end) }
}

fn flag_row(flag: &Value) -> Value {
    let mut row = flag.clone();
    row["default"] = given(&flag["defaultVariant"], &flag["defaultRollout"]).into();
    row["tiers"] = tiers(flag).into();
    row["expires"] = end(flag, "expired").into();
    row
}

fn evaluated_row(answer: &Value) -> Value {
    let mut row = answer.clone();
    row["value"] = match whole(&answer["value"]) {
        object @ Value::Object(_) => object.to_string().into(),
        value => value,
    };
    row
}

fn override_row(own: &Value) -> Value {
    let mut row = own.clone();
    row["gives"] = given(&own["variant"], &own["rollout"]).into();
    row["expires"] = end(own, "ended").into();
    row
}

/// The shares that an explanation only speaks of, for whoever may read them.
async fn shares(tenant_id: &str, flag_key: &str, context: &Context<'_>) -> String {
    let flag = context.client.call("FeatureFlags/GetFlag", json!({ "flagKey": flag_key })).await;
    let request = json!({ "flagKey": flag_key, "tenantId": tenant_id });
    let own = context.client.call("FeatureFlags/ListTenantOverrides", request).await;
    let (Ok(flag), Ok(own)) = (flag, own) else { return String::new() };
    let mut shares = String::new();
    let mut say = |whose: &str, rollout: &Value| {
        if !rollout.is_null() {
            shares.push_str(&format!(" the rollout of {whose}: {}\n", text(rollout)));
        }
    };
    say(&format!("tenant {tenant_id}"), &own["overrides"][0]["rollout"]);
    for (tier, rollout) in flag["tierRollouts"].as_object().into_iter().flatten() {
        say(&format!("tier {tier}"), rollout);
    }
    say("the flag", &flag["defaultRollout"]);
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_is_shown_with_the_shares_of_now() {
        let share = |variant: &str| json!([{"variant": variant, "weight": 1}]);
        let step = |time: &str, variant: &str| json!({"startTime": time, "weights": share(variant)});
        let steps = [
            step("2027-01-01T00:00:00Z", "b"),
            step("2027-02-01T00:00:00Z", "c"),
            step("2027-03-01T00:00:00Z", "d"),
        ];
        let rollout = json!({"weights": share("a"), "steps": steps, "bucketBy": ""});
        let at = |now: &str| text(&as_of(&rollout, now.parse().unwrap()));
        assert!(
            at("2026-12-31T00:00:00Z")
                .starts_with("100% a by tenantId; from 2027-01-01T00:00:00Z 100% b; from ")
        );
        assert_eq!(at("2027-02-01T00:00:00Z"), "100% c by tenantId; from 2027-03-01T00:00:00Z 100% d");
        assert_eq!(at("2028-01-01T00:00:00Z"), "100% d by tenantId");
    }

    #[test]
    fn a_value_is_written_as_it_is_given() {
        let row = evaluated_row(&json!({"value": {"bg": "#000", "size": 2.0}}));
        assert_eq!(row["value"], r##"{"bg":"#000","size":2}"##);
        assert_eq!(evaluated_row(&json!({"value": 5.0}))["value"], json!(5));
        assert_eq!(evaluated_row(&json!({"value": "on"}))["value"], "on");
    }

    #[test]
    fn a_stale_flag_is_shown_with_the_tenants_that_evaluated_it_last_and_how_many_more() {
        let of = |id: &str, evaluations: u64| json!({"tenantId": id, "evaluations": evaluations});
        let all = [of("a", 3), of("b", 2), of("c", 1), of("d", 1)];
        let latest = |tenants: usize| {
            stale_row(&json!({"tenants": tenants, "latestTenants": all[..tenants.min(4)]}))["latest"].clone()
        };
        assert_eq!(latest(0), "");
        assert_eq!(latest(2), "a (3), b (2)");
        assert_eq!(latest(90), "a (3), b (2), c (1), 87 more");
    }

    /// A flag that pages ask for with all others was shown as evaluated a moment ago, and no times.
    #[test]
    fn what_was_evaluated_in_bulk_alone_is_shown_with_how_often_it_was() {
        let flag = json!({"flagKey": "search", "lastEvaluatedTime": "2026-11-26T10:00:00Z", "evaluations": 0, "bulkEvaluations": 12});
        let row = stale_row(&flag);
        let shown: Vec<_> = STALE.iter().map(|(title, field)| (*title, text(&row[*field]))).collect();
        for wanted in [("BY NAME", "0"), ("IN BULK", "12")] {
            assert!(shown.contains(&(wanted.0, wanted.1.to_owned())), "{shown:?}");
        }
    }

    #[test]
    fn a_row_says_shares_and_what_has_ended() {
        let weights = json!([{"variant": "on", "weight": 1}, {"variant": "off", "weight": 3}]);
        let rollout = json!({"weights": weights, "bucketBy": "userId"});
        let flag = json!({
            "defaultVariant": "off", "defaultRollout": rollout, "tierDefaults": {"gold": "on"},
            "tierRollouts": {"free": rollout}, "expireTime": "2020-01-01T00:00:00Z",
        });
        let row = flag_row(&flag);
        assert_eq!(row["default"], "25% on / 75% off by userId");
        assert_eq!(row["tiers"], json!(["free: 25% on / 75% off by userId", "gold: on"]));
        assert_eq!(row["expires"], "2020-01-01T00:00:00Z (expired)");
        let own = json!({"variant": "on", "rollout": null, "expireTime": "9999-01-01T00:00:00Z"});
        let row = override_row(&own);
        assert_eq!((&row["gives"], &row["expires"]), (&json!("on"), &json!("9999-01-01T00:00:00Z")));
        assert_eq!(override_row(&json!({"variant": "on"}))["expires"], "");
    }
}

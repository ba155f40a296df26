//! Flags that hang on one whose rule gives something else than the text of a variant's name.

use serde_json::{Value, json};
use tenantry::proto::v1;

use super::client::{Client, Language};
use super::ofrep::{ONE, post};
use super::world::{World, boolean_flag, proto};

const LANGUAGES: [Language; 4] = [Language::Python, Language::Node, Language::Go, Language::Rust];

/// A boolean flag with a rule, whose variants have these names: the first is true.
fn named(key: &str, [yes, no]: [&str; 2], logic: &Value) -> v1::Flag {
    v1::Flag {
        variants: [(yes, true), (no, false)].map(|(name, on)| (name.to_owned(), proto(&json!(on)))).into(),
        rules: vec![v1::TargetingRule { logic: logic.to_string(), ..Default::default() }],
        ..boolean_flag(key, no)
    }
}

/// One that is on where another has a variant.
fn needing(key: &str, other: &str, variant: &str) -> v1::Flag {
    let needed = v1::Prerequisite { flag_key: other.to_owned(), variants: vec![variant.to_owned()] };
    v1::Flag { prerequisites: vec![needed], ..boolean_flag(key, "on") }
}

async fn flags(world: &mut World) -> Vec<&'static str> {
    let in_germany = json!({ "==": [{ "var": "country" }, "DE"] });
    let n = json!({ "var": "n" });
    let broken = json!({ "if": [in_germany, { "nope": [1] }, "true"] });
    let gone = json!({ "if": [in_germany, "blue", "true"] });
    let of_file = |logic: &Value| json!({ "state": "ENABLED", "variants": { "true": true, "false": false }, "defaultVariant": "false", "targeting": logic });
    world
        .load(&json!({ "flags": { "broken": of_file(&broken), "gone": of_file(&gone) }, "metadata": { "flagSetId": "odd" } }))
        .await;
    let bools = ["true", "false"];
    let begins = json!({ "starts_with": [n, "t"] });
    for flag in [
        v1::Flag { kind: v1::FlagKind::KillSwitch.into(), ..named("stop", bools, &in_germany) },
        v1::Flag { kill_switch: "stop".to_owned(), ..boolean_flag("guarded", "on") },
        v1::Flag {
            conflict_groups: vec!["g".to_owned()],
            priority: 1,
            ..named("first", bools, &json!({ "or": [in_germany, n] }))
        },
        v1::Flag { conflict_groups: vec!["g".to_owned()], ..boolean_flag("second", "on") },
        named("number", ["2", "1"], &n),
        named("either", bools, &n),
        named("junction", bools, &json!({ "and": [in_germany, begins, "true"] })),
        named("shared", bools, &json!({ "fractional": [{ "var": "country" }, ["true", 1]] })),
        needing("needs-2", "number", "2"),
        needing("needs-1", "number", "1"),
        needing("needs-true", "either", "true"),
        needing("needs-false", "either", "false"),
        needing("needs-junction", "junction", "true"),
        needing("needs-shared", "shared", "true"),
        needing("needs-broken", "broken", "true"),
        needing("needs-gone", "gone", "true"),
    ] {
        world.create(flag).await;
    }
    vec![
        "guarded",
        "second",
        "needs-2",
        "needs-1",
        "needs-true",
        "needs-false",
        "needs-junction",
        "needs-shared",
        "needs-broken",
        "needs-gone",
    ]
}

/// In-process the switch killed for everybody, both flags of the group were on, and what was needed was never there; where the
/// other is broken, the code's own default was given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_hangs_on_a_flag_whose_rule_gives_no_text_is_the_same_to_every_provider_as_over_rpc() {
    let mut world = World::start().await;
    let keys = Box::pin(flags(&mut world)).await;
    let values = ["true", "false", "2", "x", ""].map(|text| json!(text)).into_iter();
    let values =
        values.chain([json!(true), json!(false), json!(2), json!(1), json!(0), json!(["true"]), json!(null)]);
    let contexts: Vec<Value> = values
        .flat_map(|n| ["DE", "FR"].map(|country| json!({ "n": n, "country": country })))
        .chain([json!({})])
        .collect();
    let mut cases = Vec::new();
    for (flag, context) in keys.iter().flat_map(|key| contexts.iter().map(move |context| (key, context))) {
        let asked = json!({ "context": context }).to_string();
        let (_, _, body) = post(&world, &format!("{ONE}{flag}"), &asked, &[]).await;
        assert!(body["value"].is_boolean(), "ours: {flag} {context}: {body}");
        cases.push((flag, context, body["value"].clone()));
    }
    for flag in &keys {
        let given: Vec<_> = cases.iter().filter(|(key, ..)| *key == flag).map(|(.., value)| value).collect();
        assert!(given.contains(&&json!(true)) && given.contains(&&json!(false)), "{flag} is on and off");
    }
    let mut wrong = Vec::new();
    for language in LANGUAGES {
        let Some(mut client) = Client::start(language).await else { continue };
        client.ready(world.options("in-process", "names")).await;
        for (flag, context, wanted) in &cases {
            // To Rust's a list is equal to null.
            if language == Language::Rust && context["n"].is_array() {
                continue;
            }
            let default = json!(wanted == &json!(false));
            let case = json!({ "flag": flag, "type": "boolean", "default": default, "context": context });
            let said = client.get("names", &case).await;
            if said["value"] != *wanted {
                wrong.push(format!("{language:?} {flag} {context}: {said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    world.stop().await;
}

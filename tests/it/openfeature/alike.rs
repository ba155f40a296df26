//! What the providers of different languages make of one rule: in-process each has an engine of its own, and over RPC there
//! is ours.

use serde_json::{Value, json};
use tenantry::proto::v1;

use super::client::{Client, Language};
use super::ofrep::{ONE, post};
use super::wire::set;
use super::world::{World, boolean_flag};

const LANGUAGES: [Language; 4] = [Language::Python, Language::Node, Language::Go, Language::Rust];

/// Whether the flag is on for a context, by OFREP.
async fn ours(world: &World, flag: &str, context: &Value) -> Value {
    let (_, _, body) =
        post(world, &format!("{ONE}{flag}"), &json!({ "context": context }).to_string(), &[]).await;
    body["value"].clone()
}

/// A boolean rule that is on where a condition holds.
fn on_if(condition: &Value) -> Value {
    json!({ "if": [condition, "on", "off"] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_attribute_is_the_same_to_the_providers_of_every_language() {
    let mut world = World::start().await;
    let email = json!({ "var": "email" });
    world.rule("put-together", on_if(&json!({ "===": [{ "cat": ["x", email] }, "x"] }))).await;
    world.rule("by-email", json!({ "fractional": [email, ["on", 1]] })).await;
    world.rule("half", json!({ "fractional": [{ "cat": ["s5", email] }, ["on", 50], ["off", 50]] })).await;
    let cases = [
        ("put-together", json!({}), true),
        ("put-together", json!({ "email": "a@b.c" }), false),
        ("by-email", json!({}), false),
        ("by-email", json!({ "targetingKey": "ada" }), true),
        ("by-email", json!({ "email": "a@b.c" }), true),
        ("half", json!({}), HALF_OF_NOBODY),
    ];
    for language in LANGUAGES {
        let Some(mut client) = Client::start(language).await else { continue };
        client.ready(world.options("in-process", "alike")).await;
        for (flag, context, wanted) in &cases {
            assert_eq!(ours(&world, flag, context).await, *wanted, "ours: {flag} {context}");
            // The published ones of these two have the third version of flagd's hash.
            if *flag == "half" && matches!(language, Language::Python | Language::Rust) {
                continue;
            }
            let case = json!({ "flag": flag, "type": "boolean", "default": !wanted, "context": context });
            let said = client.get("alike", &case).await;
            assert_eq!(said["value"], *wanted, "{language:?} {flag} {context}: {said}");
        }
    }
    world.stop().await;
}

/// The published provider of Python logged an error with each evaluation, and said of a rule of ours that it is wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_or_a_text_that_is_missing_is_no_error_to_python_s_provider() {
    let mut world = World::start().await;
    let app = json!({ "var": "app" });
    world.rule("newer", on_if(&json!({ "sem_ver": [app, ">=", "1.2.0"] }))).await;
    world.rule("not-newer", on_if(&json!({ "!": [{ "sem_ver": [app, ">=", "1.2.0"] }] }))).await;
    world.rule("begins", on_if(&json!({ "starts_with": [app, "1."] }))).await;
    world.rule("ends", on_if(&json!({ "ends_with": [app, ".0"] }))).await;
    let Some(mut client) = Client::start(Language::Python).await else { panic!("there is Python") };
    let mut options = world.options("in-process", "versions");
    options["logs"] = json!(true);
    client.ready(options).await;
    client.forget_events();
    for (context, wanted) in [
        (json!({}), [false, true, false, false]),
        (json!({ "app": "1.10.0" }), [true, false, true, true]),
        (json!({ "app": "0.9.1" }), [false, true, false, false]),
    ] {
        for (flag, wanted) in ["newer", "not-newer", "begins", "ends"].into_iter().zip(wanted) {
            assert_eq!(ours(&world, flag, &context).await, wanted, "ours: {flag} {context}");
            let case = json!({ "flag": flag, "type": "boolean", "default": !wanted, "context": context });
            let said = client.get("versions", &case).await;
            assert_eq!(said["value"], wanted, "{flag} {context}: {said}");
        }
    }
    // That it can be heard at all: a text that is no version.
    let case = json!({ "flag": "newer", "type": "boolean", "default": true, "context": {"app": "new"} });
    assert_eq!(client.get("versions", &case).await["value"], false);
    let logged = client.event("versions", |event| event["event"] == "LOGGED").await;
    assert!(logged["text"].to_string().contains("new"), "{logged}");
    world.stop().await;
}

/// Which half those are in who have no e-mail address.
const HALF_OF_NOBODY: bool = true;

/// Where a language's engine differs, and no rule can be put so that it does not: `docs/OPENFEATURE.md` says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_contains_makes_of_a_number_is_as_documented() {
    let mut world = World::start().await;
    world.rule("contains", on_if(&json!({ "in": ["5", { "var": "number" }] }))).await;
    for language in LANGUAGES {
        let Some(mut client) = Client::start(language).await else { continue };
        client.ready(world.options("in-process", "contains")).await;
        for (number, wanted) in
            [(json!("15"), true), (json!(["5"]), true), (json!("3"), false), (json!(15), false)]
        {
            // Our program for Rust passes no lists on.
            if language == Language::Rust && number.is_array() {
                continue;
            }
            let context = json!({ "number": number });
            assert_eq!(ours(&world, "contains", &context).await, wanted, "ours: {number}");
            let case = json!({ "flag": "contains", "type": "boolean", "default": true, "context": context });
            let said = client.get("contains", &case).await;
            if language == Language::Node && number.is_number() {
                assert_eq!((&said["error"], &said["value"]), (&json!("GENERAL"), &json!(true)), "{said}");
            } else {
                assert_eq!(said["value"], wanted, "{language:?} {number}: {said}");
            }
        }
    }
    world.stop().await;
}

/// Conditions that compare an attribute with texts, numbers and the rest; `n` is the client's, `m` nobody has.
fn comparisons() -> Vec<Value> {
    let (n, m) = (json!({ "var": "n" }), json!({ "var": "m" }));
    let mut all = Vec::new();
    let values = || ["", "0", "1", "a", "zz", "null"].map(|text| json!(text)).into_iter();
    let values = || values().chain([json!(0), json!(1), json!(-1), json!(true), json!(false)]);
    for operator in ["==", "===", "!=", "!==", "<", "<=", ">", ">="] {
        for other in values() {
            all.extend([json!({ operator: [n, other] }), json!({ operator: [other, n] })]);
        }
    }
    for operator in ["==", "===", "!=", "!=="] {
        all.extend([
            json!({ operator: [n, null] }),
            json!({ operator: [null, n] }),
            json!({ operator: [n, m] }),
        ]);
    }
    for operator in ["<", "<="] {
        for (a, b) in [(0, 10), (-1, 0), (-5, 5), (1, 5), (-5, -1)] {
            all.push(json!({ operator: [a, n, b] }));
        }
    }
    all.extend(
        [json!([0, 1]), json!([""]), json!(["a", "b"]), json!("abc")].map(|list| json!({ "in": [n, list] })),
    );
    for operator in ["starts_with", "ends_with"] {
        all.extend([
            json!({ operator: [n, "a"] }),
            json!({ operator: [n, ""] }),
            json!({ operator: ["a", n] }),
        ]);
    }
    for operator in ["=", "!=", "<", "<=", ">", ">=", "^", "~"] {
        all.extend([
            json!({ "sem_ver": [n, operator, "1.0.0"] }),
            json!({ "sem_ver": ["1.0.0", operator, n] }),
        ]);
    }
    for operator in ["+", "-", "*", "/", "%", "max", "min"] {
        for (test, other) in [("==", 0), (">", 0), ("<", 0), (">=", 0), ("<=", 5), ("==", 5), ("!=", 5)] {
            all.extend([
                json!({ test: [{ operator: [n, 5] }, other] }),
                json!({ test: [{ operator: [5, n] }, other] }),
            ]);
        }
    }
    let is_a = json!({ "==": [{ "var": "" }, "a"] });
    all.extend(["some", "none", "all"].map(|operator| json!({ operator: [n, is_a] })));
    all.extend([
        json!({ "!": [n] }),
        json!({ "!!": [n] }),
        json!({ "and": [n, true] }),
        json!({ "missing": ["n"] }),
        json!({ "!": [{ "missing": ["n"] }] }),
        json!({ "==": [{ "substr": [n, 0, 1] }, "n"] }),
        json!({ "==": [{ "cat": ["a", n] }, "a"] }),
        json!({ "in": ["a", { "merge": [n, ["a"]] }] }),
    ]);
    all
}

/// Whether all values that a condition holds against the attribute are like one.
fn is_of_one_type(condition: &Value, like: &Value) -> bool {
    match condition {
        Value::Array(items) => items.iter().all(|item| is_of_one_type(item, like)),
        Value::Object(map) if map.contains_key("var") => true,
        Value::Object(map) => map.iter().all(|(operator, args)| {
            // Arithmetic and list operators want what they want, and a version that is a number is none to Rust's.
            let is_for_texts =
                ["starts_with", "ends_with", "cat", "substr", "in"].contains(&operator.as_str());
            // Only here a division by 0 is no failure.
            let is_by_it = ["/", "%"].contains(&operator.as_str()) && args[0].is_number();
            let is_taken = operator != "sem_ver" && !is_by_it && (!is_for_texts || like.is_string());
            is_taken && is_of_one_type(args, like)
        }),
        Value::Null | Value::Bool(_) => false,
        value => value.is_number() == like.is_number(),
    }
}

/// It was another answer in-process than over RPC, by language, wherever null is taken for 0, for false, or for a text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_an_attribute_is_compared_with_a_missing_and_an_empty_one_are_the_same_in_every_language() {
    let mut world = World::start().await;
    let all = comparisons();
    let contexts = [json!({}), json!({ "n": null }), json!({ "n": "" }), json!({ "n": 0 })];
    let mut cases = Vec::new();
    for (place, condition) in all.iter().enumerate() {
        let flag = format!("compared-{place:03}");
        world.rule(&flag, on_if(condition)).await;
        for context in &contexts {
            let value = &context["n"];
            if value.is_null() || is_of_one_type(condition, value) {
                cases.push((flag.clone(), condition, context, ours(&world, &flag, context).await));
            }
        }
    }
    let mut wrong = Vec::new();
    for language in LANGUAGES {
        let Some(mut client) = Client::start(language).await else { continue };
        client.ready(world.options("in-process", "compared")).await;
        for (flag, condition, context, wanted) in &cases {
            let default = json!(wanted == &json!(false));
            let case = json!({ "flag": flag, "type": "boolean", "default": default, "context": context });
            let said = client.get("compared", &case).await;
            if said["value"] != *wanted {
                wrong.push(format!("{language:?} {condition} {context}: {said}"));
            }
        }
    }
    assert!(cases.len() > 700, "{}", cases.len());
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    world.stop().await;
}

/// Where two types meet the engines differ, and no rule can be put so that they do not: `docs/OPENFEATURE.md` says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_comparison_of_two_types_comes_to_is_as_documented() {
    let mut world = World::start().await;
    let n = json!({ "var": "n" });
    let cases = [
        ("text-and-0", json!({ "<=": [n, 0] }), json!(""), true),
        ("text-is-0", json!({ "==": [n, 0] }), json!(""), true),
        ("0-is-text", json!({ "==": [n, ""] }), json!(0), true),
        ("0-is-a", json!({ "==": [n, "a"] }), json!(0), false),
        ("0-of-texts", json!({ "in": [n, ["a"]] }), json!(0), false),
        ("0-version", json!({ "sem_ver": [n, "<", "1.0.0"] }), json!(0), true),
    ];
    for (flag, condition, ..) in &cases {
        world.rule(flag, on_if(condition)).await;
    }
    let fails = |language, flag: &str| match language {
        Language::Python => ["text-and-0", "text-is-0", "0-is-text"].contains(&flag),
        Language::Node => flag == "0-is-a",
        Language::Go => flag == "0-of-texts",
        _ => ["text-is-0", "0-is-text", "0-is-a", "0-version"].contains(&flag),
    };
    for language in LANGUAGES {
        let Some(mut client) = Client::start(language).await else { continue };
        client.ready(world.options("in-process", "types")).await;
        for (flag, _, value, wanted) in &cases {
            let context = json!({ "n": value });
            assert_eq!(ours(&world, flag, &context).await, *wanted, "ours: {flag}");
            let case = json!({ "flag": flag, "type": "boolean", "default": !wanted, "context": context });
            let said = client.get("types", &case).await;
            assert_eq!(said["value"] != *wanted, fails(language, flag), "{language:?} {flag}: {said}");
        }
    }
    world.stop().await;
}

/// The same of what goes through a list, cuts a text, puts texts together or reads weights. Who writes one of the first four
/// is told of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_engines_make_of_lists_texts_and_weights_is_as_documented() {
    use Language::{Go, Node, Python, Rust};
    let mut world = World::start().await;
    let (s, but_go) = (json!({ "var": "s" }), &[Python, Node, Rust][..]);
    let list = json!({ "var": ["roles", ["a"]] });
    let of_country = json!({ "==": [{ "var": "country" }, "DE"] });
    let is_cut = |from: i32, length: i32| json!({ "==": [{ "substr": [s, from, length] }, ""] });
    let weights = json!([["on", { "var": "share" }], ["on", { "var": "rest" }]]);
    let put_together = |other: &str| on_if(&json!({ "==": [{ "cat": ["is ", s] }, other] }));
    let cases = [
        ("list-some", on_if(&json!({ "some": [list, of_country] })), json!({ "country": "DE" }), but_go),
        ("list-all", on_if(&json!({ "all": [list, of_country] })), json!({ "country": "DE" }), &[]),
        ("cut-beyond", on_if(&json!({ "==": [{ "substr": [s, 2] }, "a"] })), json!({ "s": "a" }), but_go),
        ("cut-short", on_if(&is_cut(0, -2)), json!({ "s": "a" }), &[Go]),
        ("cut-start", on_if(&is_cut(0, 2)), json!({ "s": "" }), &[]),
        ("read-weights", json!({ "fractional": weights }), json!({ "targetingKey": "ada" }), but_go),
        ("cat-boolean", put_together("is true"), json!({ "s": true }), &[Python, Go]),
        ("cat-space", put_together("is a"), json!({ "s": "a " }), but_go),
        ("in-empty", on_if(&json!({ "in": ["", s] })), json!({ "s": "" }), &[]),
    ];
    for (flag, logic, ..) in &cases {
        world.rule(flag, logic.clone()).await;
    }
    let mut wrong = Vec::new();
    for language in LANGUAGES {
        let Some(mut client) = Client::start(language).await else { continue };
        client.ready(world.options("in-process", "engines")).await;
        for (flag, _, context, others) in &cases {
            let wanted = ours(&world, flag, context).await;
            let case =
                json!({ "flag": flag, "type": "boolean", "default": wanted != true, "context": context });
            let said = client.get("engines", &case).await;
            if (said["value"] != wanted) != others.contains(&language) {
                wrong.push(format!("{language:?} {flag} {wanted}: {said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    world.stop().await;
}

/// A rule of which only one variant was left stood in a tenant's set as its bare name: Python's provider failed it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_is_decided_for_a_tenant_is_the_same_to_every_provider_as_over_rpc() {
    let mut world = World::start().await;
    world.tenant("gamma").await;
    world.tenant("delta").await;
    let ours = json!({ "ends_with": [{ "var": "email" }, "@ours.com"] });
    let gamma = json!({ "==": [{ "var": "tenantId" }, "gamma"] });
    let name = json!({ "cat": [{ "var": "tenantId" }, "/", { "var": "email" }] });
    let rules = [
        ("beta-ui", json!({ "if": [{ "or": [ours, gamma] }, "on", "off"] })),
        ("both", json!({ "if": [{ "and": [ours, gamma] }, "on", "off"] })),
        ("or-nothing", json!({ "if": [{ "and": [ours, gamma] }, "on", null] })),
        (
            "nested",
            json!({ "if": [gamma, { "if": [{ "or": [gamma, ours] }, "on", "off"] }, { "if": [ours, "on", "off"] }] }),
        ),
        ("put-together", json!({ "if": [{ "in": [name, ["gamma/ada@ours.com"]] }, "on", "off"] })),
        ("second-branch", json!({ "if": [{ "and": [ours, { "!": [gamma] }] }, "on", gamma, "off", "on"] })),
    ];
    for (flag, logic) in &rules {
        world.rule(flag, logic.clone()).await;
    }
    for tenant in ["gamma", "delta"] {
        let selector = format!("flagSetId={tenant}");
        let given = set(&world, &selector).await;
        for (flag, _) in &rules {
            let targeting = given["flags"][*flag].get("targeting");
            assert!(targeting.is_none_or(Value::is_object), "{tenant} {flag}: {targeting:?}");
        }
    }
    for language in LANGUAGES {
        let Some(mut client) = Client::start(language).await else { continue };
        for tenant in ["gamma", "delta"] {
            for kind in ["rpc", "in-process"] {
                let mut options = world.options(kind, &format!("{tenant}-{kind}"));
                options["selector"] = json!(format!("flagSetId={tenant}"));
                client.ready(options).await;
            }
            for (flag, _) in &rules {
                for context in
                    [json!({}), json!({ "email": "ada@ours.com" }), json!({ "email": "eve@else.com" })]
                {
                    let mut case =
                        json!({ "flag": flag, "type": "boolean", "default": false, "context": context });
                    // Go's sends no selector over RPC.
                    case["context"]["tenantId"] = json!(tenant);
                    let rpc = client.get(&format!("{tenant}-rpc"), &case).await;
                    let said = client.get(&format!("{tenant}-in-process"), &case).await;
                    assert!(rpc["variant"].is_string(), "{language:?} {rpc}");
                    // Without a rule there is nothing that a provider could call by another word than STATIC.
                    let is_decided = said["reason"] == "STATIC" || said["reason"] == "Static";
                    for member in
                        ["value", "variant", "reason"].into_iter().filter(|it| *it != "reason" || !is_decided)
                    {
                        assert_eq!(
                            said[member], rpc[member],
                            "{language:?} {tenant} {flag} {context}: {said} {rpc}"
                        );
                    }
                    assert!(
                        !is_decided || *flag == "or-nothing" && tenant == "delta",
                        "{language:?} {flag}: {said}"
                    );
                    assert!(said["error"].as_str().is_none_or(str::is_empty), "{language:?} {flag}: {said}");
                }
            }
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn a_flag_that_providers_get_without_what_clients_attributes_do_to_it_says_so() {
    let mut world = World::start().await;
    let name = |place: usize| format!("link-{place:02}");
    for place in 0..12_usize {
        let logic = json!({ "if": [{ "==": [{ "var": "plan" }, "vip"] }, "off", null] }).to_string();
        let needed = place
            .checked_sub(1)
            .map(|before| v1::Prerequisite { flag_key: name(before), variants: vec!["on".to_owned()] });
        let flag = v1::Flag {
            rules: vec![v1::TargetingRule { logic, ..Default::default() }],
            prerequisites: needed.into_iter().collect(),
            ..boolean_flag(&name(place), "on")
        };
        world.create(flag).await;
    }
    let given = set(&world, "").await;
    let list = v1::ListFlagsRequest { page_size: 1_000, ..Default::default() };
    let listed = world.replica.flags.list_flags(list).await.unwrap().into_inner().flags;
    for place in 0..12 {
        // No more than eight are worked into one rule.
        let is_cut = place >= 8;
        let key = name(place);
        let flag = &given["flags"][&key];
        assert_eq!(flag["metadata"].get("withoutAttributes").is_some(), is_cut, "{flag}");
        let request = v1::GetFlagRequest { flag_key: key.clone() };
        let got = world.replica.flags.get_flag(request).await.unwrap().into_inner();
        let says_so =
            |flag: &v1::Flag| flag.warnings.iter().any(|warning| warning.contains("in-process providers"));
        assert_eq!(says_so(&got), is_cut, "{key}: {:?}", got.warnings);
        assert_eq!(listed.iter().find(|flag| flag.flag_key == key), Some(&got));
    }
    world.stop().await;
}

/// The set alone said so, to whoever looked into its metadata.
#[tokio::test]
async fn a_rule_that_would_show_other_tenants_is_told_of_when_it_is_written() {
    let world = World::start().await;
    let names = json!(["beta", "delta"]);
    let telling = json!({ "contains_any": [[{ "var": "tenantId" }, { "var": "user" }], names] });
    let plain =
        json!({ "and": [{ "in": [{ "var": "tenantId" }, names] }, { "==": [{ "var": "user" }, "ada"] }] });
    let flag = |condition: &Value| v1::Flag {
        rules: vec![v1::TargetingRule {
            logic: json!({ "if": [condition, "on", null] }).to_string(),
            ..Default::default()
        }],
        ..boolean_flag("telling", "off")
    };
    let mut flags = world.replica.flags.clone();
    let is_told =
        |flag: &v1::Flag| flag.warnings.iter().any(|warning| warning.contains("other tenants' names"));
    for (condition, wanted) in [(&telling, true), (&plain, false)] {
        for validate_only in [true, false] {
            let request =
                v1::CreateFlagRequest { flag: Some(flag(condition)), validate_only, ..Default::default() };
            let made = flags.create_flag(request).await.unwrap().into_inner();
            assert_eq!(is_told(&made), wanted, "{validate_only} {:?}", made.warnings);
        }
        let request = v1::GetFlagRequest { flag_key: "telling".to_owned() };
        assert_eq!(is_told(&flags.get_flag(request).await.unwrap().into_inner()), wanted);
        for (condition, wanted) in [(&plain, false), (&telling, true)] {
            let request = v1::UpdateFlagRequest {
                flag: Some(flag(condition)),
                update_mask: Some(prost_types::FieldMask { paths: vec!["rules".to_owned()] }),
                ..Default::default()
            };
            assert_eq!(is_told(&flags.update_flag(request).await.unwrap().into_inner()), wanted);
        }
        let request = v1::DeleteFlagRequest { flag_key: "telling".to_owned(), ..Default::default() };
        flags.delete_flag(request).await.unwrap();
    }
    world.stop().await;
}

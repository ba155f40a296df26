//! flagd's flag files: taken as they are, answered as flagd answers, given back as they were.

use std::path::Path;

use serde_json::{Value, json};
use tenantry::proto::v1;
use tenantry::proto::v1::apply_flags_response::Action;

use super::{apply::tenantry, apply::text, boolean, evaluate, with_flag};
use crate::support::{Replica, fields, reason};

/// What a flagd file may be, but no flag of ours.
const NASTY: &str = r#"{
  "$schema": "https://flagd.dev/schema/v0/flags.json",
  "metadata": {"flagSetId": "shop", "version": "7", "ratio": 1.10},
  "$evaluators": {"staff": {"==": [{"var": "who"}, "ada"]}, " odd\u0000name ": true},
  "later": [12345678901234567890123, {"a": 1.0}],
  "flags": {
    "plain": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off"},
    "A key: with spaces/ünd more": {"state": "ENABLED", "variants": {" a": 1, "b ": "x", "": [1]}, "defaultVariant": " a"},
    "mixed": {"variants": {"n": null, "l": [1, 2.0], "big": 9007199254740993, "huge": 12345678901234567890123},
              "defaultVariant": "big", "targeting": {"var": "pick"}},
    "ruled": {"state": "ENABLED", "variants": {"a": 1.0, "b": 2}, "targeting": {"if": [{"$ref": "staff"}, "a"]}},
    "no-default": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": null, "more": {"x": 1e2}},
    "dangling": {"state": "ENABLED", "variants": {"a": 1}, "targeting": {"if": [{"$ref": "gone"}, "a"]}},
    "gone-variant": {"state": "ENABLED", "variants": {"a": 1}, "targeting": "z"},
    "max_users": {"state": "ENABLED", "variants": {"a": 5}, "defaultVariant": "a"},
    "off": {"state": "DISABLED", "variants": {"a": 1}, "defaultVariant": "a"},
    "own-set": {"state": "ENABLED", "variants": {"a": 1}, "metadata": {"flagSetId": "other", "nested": {"x": [1]}}},
    "unreadable": {"state": 5, "variants": {"a": 1}},
    "nothing": null
  }
}"#;

fn import(content: &str) -> v1::ImportFlagsRequest {
    v1::ImportFlagsRequest { content: content.into(), ..Default::default() }
}

async fn imported(replica: &mut Replica, request: v1::ImportFlagsRequest) -> v1::ImportFlagsResponse {
    replica.flags.import_flags(request).await.unwrap().into_inner()
}

pub(super) async fn exported(replica: &mut Replica, flag_set: &str, tenant_id: &str) -> String {
    let request = v1::ExportFlagsRequest {
        flag_set: flag_set.into(),
        tenant_id: tenant_id.into(),
        ..Default::default()
    };
    replica.flags.export_flags(request).await.unwrap().into_inner().content
}

pub(super) fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

async fn answer(replica: &mut Replica, flag_key: &str, context: Value) -> v1::EvaluateFlagResponse {
    let fields = context.as_object().unwrap().iter();
    let fields = fields.map(|(name, value)| (name.clone(), crate::openfeature::proto(value)));
    let request = v1::EvaluateFlagRequest {
        tenant_id: "finance".into(),
        flag_key: flag_key.into(),
        context: Some(prost_types::Struct { fields: fields.collect() }),
    };
    replica.flags.evaluate_flag(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn any_file_of_flagd_s_is_given_back_to_the_digit_and_a_second_import_has_nothing_to_do() {
    let mut replica = with_flag().await;
    let tried = imported(&mut replica, v1::ImportFlagsRequest { validate_only: true, ..import(NASTY) }).await;
    assert_eq!((tried.differences.len(), tried.revision), (13, 0), "{:?}", tried.differences);
    assert!(tried.differences.iter().all(|it| it.action() == Action::Create));
    let warned: Vec<_> = tried.warnings.iter().map(|it| it.split('"').nth(1).unwrap()).collect();
    assert_eq!(warned, ["dangling", "gone-variant", "unreadable"], "{:?}", tried.warnings);
    assert_eq!(
        answer(&mut replica, "plain", json!({})).await.error_code,
        "FLAG_NOT_FOUND",
        "it was only tried"
    );

    let made = imported(&mut replica, import(NASTY)).await;
    assert!(made.revision > 0);
    let back = exported(&mut replica, "shop", "").await;
    assert_eq!(json_of(&back), json_of(NASTY));
    for digits in ["12345678901234567890123", "1.10", "1e2", "\"l\": [\n", "2.0"] {
        assert!(back.contains(digits), "{digits}: {back}");
    }
    for again in [NASTY, &back] {
        let again = imported(&mut replica, v1::ImportFlagsRequest { prune: true, ..import(again) }).await;
        assert_eq!((again.differences, again.revision), (Vec::new(), 0));
    }
    // Another replica that reads all of it from the database gives the same.
    let mut other =
        Replica::on(&replica.database_url, &crate::support::Setup { no_targets: true, ..Default::default() })
            .await;
    assert_eq!(exported(&mut other, "shop", "").await, back);
    let again = imported(&mut other, import(NASTY)).await;
    assert_eq!(again.differences, Vec::new());
    other.stop().await;
    replica.stop().await;
}

#[tokio::test]
async fn imported_flags_answer_as_flagd_answers_whatever_their_names_and_types() {
    let mut replica = with_flag().await;
    imported(&mut replica, import(NASTY)).await;
    for (key, context, variant, reason, error) in [
        ("plain", json!({}), "off", "STATIC", ""),
        ("A key: with spaces/ünd more", json!({}), " a", "STATIC", ""),
        ("mixed", json!({}), "big", "DEFAULT", ""),
        ("mixed", json!({"pick": "l"}), "l", "TARGETING_MATCH", ""),
        ("mixed", json!({"pick": "none"}), "", "ERROR", "GENERAL"),
        ("ruled", json!({"who": "ada"}), "a", "TARGETING_MATCH", ""),
        ("ruled", json!({}), "", "DEFAULT", ""),
        ("no-default", json!({}), "", "DEFAULT", ""),
        ("dangling", json!({}), "", "ERROR", "PARSE_ERROR"),
        ("gone-variant", json!({}), "", "ERROR", "GENERAL"),
        ("off", json!({}), "", "DISABLED", ""),
        ("unreadable", json!({}), "", "ERROR", "PARSE_ERROR"),
        ("nothing", json!({}), "", "DEFAULT", ""),
    ] {
        let found = answer(&mut replica, key, context.clone()).await;
        let found = (found.variant.as_str(), found.reason.as_str(), found.error_code.as_str());
        assert_eq!(found, (variant, reason, error), "{key} {context}");
    }
    let flag = v1::GetFlagRequest { flag_key: "A key: with spaces/ünd more".into() };
    let flag = replica.flags.get_flag(flag).await.unwrap().into_inner();
    assert_eq!((flag.r#type(), flag.flag_set.as_str()), (v1::FlagType::Mixed, "shop"));
    assert_eq!(flag.origin, Some(v1::FlagOrigin { file: "shop".into(), is_changed: false }));
    let own = replica.flags.get_flag(v1::GetFlagRequest { flag_key: "own-set".into() }).await.unwrap();
    assert_eq!(own.into_inner().flag_set, "other", "a flag may name a set of its own");
    replica.stop().await;
}

#[tokio::test]
async fn what_is_changed_here_is_exported_as_it_is_decided_and_the_next_import_sets_it_right() {
    let mut replica = with_flag().await;
    imported(&mut replica, import(NASTY)).await;
    let update = |flag: v1::Flag, path: &str| v1::UpdateFlagRequest {
        flag: Some(v1::Flag { flag_key: "ruled".into(), ..flag }),
        update_mask: Some(prost_types::FieldMask { paths: vec![path.into()] }),
        ..Default::default()
    };
    let owned = update(v1::Flag { owner: "core".into(), ..Default::default() }, "owner");
    replica.flags.update_flag(owned).await.unwrap();
    assert_eq!(json_of(&exported(&mut replica, "shop", "").await), json_of(NASTY), "a file names no owner");
    let changed = update(v1::Flag { default_variant: "b".into(), ..Default::default() }, "default_variant");
    let changed = replica.flags.update_flag(changed).await.unwrap().into_inner();
    assert!(changed.origin.unwrap().is_changed);
    let back = json_of(&exported(&mut replica, "shop", "").await);
    assert_eq!(back["flags"]["ruled"]["defaultVariant"], "b");
    assert_eq!(
        back["flags"]["ruled"]["targeting"],
        json!({"if": [{"==": [{"var": "who"}, "ada"]}, "a", null]})
    );
    assert_eq!(back["flags"]["plain"], json_of(NASTY)["flags"]["plain"]);
    let again = imported(&mut replica, import(NASTY)).await;
    assert_eq!(again.differences.len(), 1);
    assert_eq!(again.differences[0].fields, ["default_variant", "origin"]);
    assert_eq!(json_of(&exported(&mut replica, "shop", "").await), json_of(NASTY));
    let ruled = replica.flags.get_flag(v1::GetFlagRequest { flag_key: "ruled".into() }).await.unwrap();
    assert_eq!(ruled.into_inner().owner, "core", "what a file cannot say stays");
    replica.stop().await;
}

/// A nightly import of the very same file brought back what had been turned off through the API in an emergency.
#[tokio::test]
async fn an_import_keeps_of_a_flag_what_a_file_cannot_say() {
    let mut replica = with_flag().await;
    let kill = v1::Flag { kind: v1::FlagKind::KillSwitch.into(), ..boolean("kill") };
    for flag in [v1::Flag { default_variant: "on".into(), ..kill }, boolean("needed")] {
        let request = v1::CreateFlagRequest { flag: Some(flag), ..Default::default() };
        replica.flags.create_flag(request).await.unwrap();
    }
    imported(&mut replica, import(NASTY)).await;
    let end = prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 };
    let kept = v1::Flag {
        flag_key: "plain".into(),
        owner: "core".into(),
        labels: [("team".to_owned(), "core".to_owned())].into(),
        kind: v1::FlagKind::Operational.into(),
        off_variant: "on".into(),
        safe_variant: "off".into(),
        expired_variant: "on".into(),
        kill_switch: "kill".into(),
        schedule: vec![v1::ScheduleWindow { end_time: Some(end), ..Default::default() }],
        prerequisites: vec![v1::Prerequisite { flag_key: "needed".into(), variants: vec!["off".into()] }],
        conflict_groups: vec!["group".into()],
        priority: 7,
        hash_version: v1::HashVersion::V1.into(),
        ..Default::default()
    };
    let [mut paths, replaced] = [
        "owner labels kind off_variant safe_variant expired_variant kill_switch schedule prerequisites \
         conflict_groups priority hash_version",
        "default_variant default_rollout",
    ]
    .map(|names| names.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let weights = vec![v1::VariantWeight { variant: "on".into(), weight: 1 }];
    let update = |flag: v1::Flag, paths: Vec<String>| v1::UpdateFlagRequest {
        flag: Some(flag),
        update_mask: Some(prost_types::FieldMask { paths }),
        ..Default::default()
    };
    let before = replica.flags.update_flag(update(kept.clone(), paths.clone())).await.unwrap().into_inner();
    paths.extend(replaced.clone());
    let changed = v1::Flag {
        default_variant: "on".into(),
        default_rollout: Some(v1::Rollout { weights, ..Default::default() }),
        ..kept
    };
    replica.flags.update_flag(update(changed, paths)).await.unwrap();

    for prune in [false, true] {
        let made = imported(&mut replica, v1::ImportFlagsRequest { prune, ..import(NASTY) }).await;
        let fields = made.differences.into_iter().flat_map(|it| it.fields).collect::<Vec<_>>();
        assert_eq!(
            fields,
            if prune { Vec::new() } else { replaced.clone() },
            "what a file says is as it says"
        );
        let request = v1::GetFlagRequest { flag_key: "plain".into() };
        let flag = replica.flags.get_flag(request).await.unwrap().into_inner();
        let (etag, revision, update_time) = (before.etag.clone(), before.revision, before.update_time);
        assert_eq!(v1::Flag { etag, revision, update_time, ..flag }, before);
        let seen = evaluate(&mut replica, "plain").await;
        assert_eq!(
            (seen.layer(), seen.variant.as_str()),
            (v1::FlagLayer::KillSwitch, "on"),
            "the off variant"
        );
    }
    let exported = json_of(&exported(&mut replica, "shop", "").await);
    assert_eq!(exported["flags"]["plain"]["defaultVariant"], "on", "it is exported as it is decided");
    replica.stop().await;
}

#[tokio::test]
async fn pruning_deletes_what_a_newer_file_does_not_name_and_without_it_that_stays() {
    let mut replica = with_flag().await;
    let file = |keys: &[&str], evaluators: Value| {
        let flags: serde_json::Map<_, _> =
            keys.iter().map(|key| ((*key).to_owned(), json!({"variants": {"a": 1}}))).collect();
        json!({"flags": flags, "$evaluators": evaluators}).to_string()
    };
    imported(&mut replica, import(&file(&["one", "two"], json!({"x": 1})))).await;
    imported(&mut replica, import(&file(&["three"], json!({"y": 2})))).await;
    let back = json_of(&exported(&mut replica, "", "").await);
    let keys: Vec<_> = back["flags"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["one", "search", "three", "two"], "one of ours without a set is in that set, too");
    assert_eq!(back["$evaluators"], json!({"x": 1, "y": 2}));
    let newest = file(&["three"], json!({"y": 2}));
    let pruned = imported(&mut replica, v1::ImportFlagsRequest { prune: true, ..import(&newest) }).await;
    let shown: Vec<_> =
        pruned.differences.iter().map(|it| (it.action(), it.resource.as_str(), it.name.as_str())).collect();
    let expected = [
        (Action::Delete, "flag", "one"),
        (Action::Delete, "flag", "search"),
        (Action::Delete, "flag", "two"),
        (Action::Update, "file", ""),
    ];
    assert_eq!(shown, expected);
    assert_eq!(json_of(&exported(&mut replica, "", "").await), json_of(&newest));
    replica.stop().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_taken_is_refused_whole_with_the_flag_and_the_member() {
    let mut replica = with_flag().await;
    let flags = |flags: Value| json!({"flags": {"fine": {}, "f": flags}, "metadata": {"flagSetId": "s"}});
    let deep = (0..40).fold(json!("a"), |inner, _| json!({"!": [inner]}));
    for (content, field) in [
        ("{".to_owned(), "content"),
        ("{}".to_owned(), "content.flags"),
        (flags(json!({"variants": {"a": "\0"}})).to_string(), r#"content.flags["f"].variants"#),
        (flags(json!({"targeting": deep})).to_string(), r#"content.flags["f"].targeting"#),
    ] {
        let error = replica.flags.import_flags(import(&content)).await.unwrap_err();
        assert_eq!(fields(&error), [field], "{error:?}");
    }
    let elsewhere = json!({"flags": {"search": {}}, "metadata": {"flagSetId": "s"}}).to_string();
    let error = replica.flags.import_flags(import(&elsewhere)).await.unwrap_err();
    assert_eq!(reason(&error), "FLAG_EXISTS");
    assert!(error.message().contains("no flag set"), "{error:?}");
    let variant = v1::SetTierDefaultRequest {
        flag_key: "search".into(),
        tier_id: "gold".into(),
        variant: "on".into(),
        ..Default::default()
    };
    replica.flags.set_tier_default(variant).await.unwrap();
    let without = json!({"flags": {"search": {"variants": {"off": false}}}}).to_string();
    let error = replica.flags.import_flags(import(&without)).await.unwrap_err();
    assert_eq!(reason(&error), "VARIANT_IN_USE");
    assert_eq!(evaluate(&mut replica, "fine").await.error_code, "FLAG_NOT_FOUND", "nothing of it was taken");
    let error =
        replica.flags.export_flags(v1::ExportFlagsRequest { flag_set: "s".into(), ..Default::default() });
    assert_eq!(fields(&error.await.unwrap_err()), ["flag_set"]);
    replica.stop().await;
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_answer_and_imports_once() {
    let mut replica = with_flag().await;
    let request =
        v1::ImportFlagsRequest { request_id: "6b1f3c52-7a0e-4b77-9a55-0c1d2e3f4a5b".into(), ..import(NASTY) };
    let first = imported(&mut replica, request.clone()).await;
    assert_eq!(imported(&mut replica, request.clone()).await, first);
    let other = v1::ImportFlagsRequest { prune: true, ..request };
    let error = replica.flags.import_flags(other).await.unwrap_err();
    assert_eq!(reason(&error), "REQUEST_ID_REUSED");
    replica.stop().await;
}

#[tokio::test]
async fn flags_of_ours_are_exported_as_somebody_without_a_tenant_or_one_tenant_sees_them() {
    let mut replica = with_flag().await;
    let rule = v1::TargetingRule {
        logic: r#"{"if": [{"==": [{"var": "tier"}, "gold"]}, "on", null]}"#.into(),
        ..Default::default()
    };
    let ruled = v1::Flag { rules: vec![rule], flag_set: "web".into(), ..boolean("ruled") };
    let killed = v1::Flag { flag_set: "web".into(), default_variant: "on".into(), ..boolean("plain") };
    for flag in [ruled, killed] {
        let request = v1::CreateFlagRequest { flag: Some(flag), ..Default::default() };
        replica.flags.create_flag(request).await.unwrap();
    }
    let own = v1::SetTenantOverrideRequest {
        flag_key: "plain".into(),
        tenant_id: "finance".into(),
        variant: "off".into(),
        ..Default::default()
    };
    replica.flags.set_tenant_override(own).await.unwrap();
    let for_all = json_of(&exported(&mut replica, "web", "").await);
    assert_eq!(for_all["metadata"]["flagSetId"], "web");
    assert_eq!(for_all["flags"]["plain"]["defaultVariant"], "on");
    assert_eq!(for_all["flags"]["plain"]["state"], "ENABLED");
    assert_eq!(for_all["flags"]["ruled"]["targeting"]["if"][0], json!({"==": [{"var": "tier"}, "gold"]}));
    let for_one = json_of(&exported(&mut replica, "web", "finance").await);
    assert_eq!(for_one["flags"]["plain"]["defaultVariant"], "off");
    assert_eq!(for_one["flags"]["ruled"]["defaultVariant"], "on", "the tenant is of gold");
    // What was exported can be imported, and answers the same.
    imported(&mut replica, import(&for_all.to_string())).await;
    assert_eq!(evaluate(&mut replica, "ruled").await.variant, "on");
    assert_eq!(evaluate(&mut replica, "plain").await.variant, "off");
    replica.stop().await;
}

#[tokio::test]
async fn numbers_of_a_file_stay_as_they_are_written_for_in_process_clients() {
    let mut replica = with_flag().await;
    let file = r#"{"flags": {
        "ratio": {"state": "ENABLED", "variants": {"a": 1, "b": 2.0, "c": 0.5}, "defaultVariant": "a"},
        "id": {"state": "ENABLED", "variants": {"a": 9007199254740993, "b": -9223372036854775808}, "defaultVariant": "a"}
    }, "metadata": {"flagSetId": "shop"}}"#;
    imported(&mut replica, import(file)).await;
    // Decided for a tenant, as an in-process provider gets it.
    let set = exported(&mut replica, "shop", "finance").await;
    for written in ["\"a\": 1,", "\"b\": 2.0,", "\"c\": 0.5\n", "9007199254740993", "-9223372036854775808"] {
        assert!(set.contains(written), "{written}: {set}");
    }
    let flag = v1::GetFlagRequest { flag_key: "ratio".into() };
    assert_eq!(replica.flags.get_flag(flag).await.unwrap().into_inner().r#type(), v1::FlagType::Double);
    replica.stop().await;
}

pub(super) fn write(folder: &Path, name: &str, contents: &str) -> String {
    std::fs::write(folder.join(name), contents).unwrap();
    folder.join(name).to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_command_line_imports_after_showing_the_difference_and_exports_the_file() {
    let replica = with_flag().await;
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "shop.json", NASTY);
    let asked = tenantry(&replica, &["flag", "import", "--format", "flagd", &file]).await;
    assert!(!asked.status.success() && text(&asked).contains("+ flag mixed"), "{}", text(&asked));
    assert!(text(&asked).contains("warning: the flag \"unreadable\" has a state"), "{}", text(&asked));
    let done = tenantry(&replica, &["flag", "import", "--format", "flagd", "--yes", &file]).await;
    assert!(done.status.success() && text(&done).contains("applied as revision"), "{}", text(&done));
    let back = tenantry(&replica, &["flag", "export", "--format", "flagd", "--flag-set", "shop"]).await;
    assert_eq!(json_of(&String::from_utf8_lossy(&back.stdout)), json_of(NASTY));
    let again = tenantry(&replica, &["flag", "import", "--format", "flagd", "--yes", "--prune", &file]).await;
    assert!(text(&again).contains("nothing to change"), "{}", text(&again));
    let yaml =
        "flags:\n  colour:\n    state: ENABLED\n    variants: {red: r, on: true}\n    defaultVariant: on\n";
    let yaml = write(folder.path(), "colour.yaml", yaml);
    let done = tenantry(&replica, &["flag", "import", "--format", "flagd", "--yes", &yaml]).await;
    assert!(done.status.success(), "{}", text(&done));
    let seen = tenantry(&replica, &["flag", "evaluate", "finance", "colour"]).await;
    assert!(text(&seen).contains("on"), "{}", text(&seen));
    replica.stop().await;
}

/// A document with one such flag was refused as a whole by in-process providers.
#[tokio::test]
async fn a_broken_flag_is_exported_so_that_every_client_takes_the_file() {
    let mut replica = with_flag().await;
    let file = r#"{"flags": {"unreadable": {"state": 5, "variants": {"a": 1}},
        "named": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a", "metadata": {"": "x", "y": "z"}}}}"#;
    imported(&mut replica, import(file)).await;
    let exported = json_of(&exported(&mut replica, "", "finance").await);
    let broken = &exported["flags"]["unreadable"];
    assert_eq!(broken["variants"], json!({"no variant": false}), "{broken}");
    assert_eq!(broken["defaultVariant"], Value::Null);
    assert_eq!(exported["flags"]["named"]["metadata"], json!({"y": "z"}));
    // What is given back is taken again, and still gives nothing.
    imported(&mut replica, import(&exported.to_string())).await;
    let answer = evaluate(&mut replica, "unreadable").await;
    assert_eq!((answer.variant.as_str(), answer.value), ("", None), "{:?}", answer.error_code);
    replica.stop().await;
}

#[tokio::test]
async fn a_file_can_neither_hide_what_it_brings_nor_a_key_that_is_there_twice() {
    let replica = with_flag().await;
    let folder = tempfile::tempdir().unwrap();
    let flag = r#"{"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a"}"#;
    let contents = format!(
        r#"{{"flags": {{"a\u001b[2K\u001b[1A\rb\u202ec": {flag}, "twice": {flag}, "twice": {flag}}}}}"#
    );
    let file = write(folder.path(), "hostile.json", &contents);
    let seen = tenantry(&replica, &["flag", "import", "--format", "flagd", "--dry-run", &file]).await;
    let seen = text(&seen);
    assert!(seen.contains(r"+ flag a\u{1b}[2K\u{1b}[1A\rb\u{202e}c"), "{seen}");
    assert!(!seen.contains(|c: char| c != '\n' && c.is_control() || c == '\u{202e}'), "{seen:?}");
    assert!(seen.contains("warning: the key flags.twice is there twice; the last counts"), "{seen}");
    replica.stop().await;
}

#[tokio::test]
async fn a_share_with_a_reason_and_an_end_can_be_given_to_a_tier_and_to_a_tenant_on_the_command_line() {
    let mut replica = with_flag().await;
    let later = "2099-12-01T00:00:00Z on=50,off=50";
    let tier = ["flag", "set-tier", "search", "gold", "--rollout", "on=10,off=90", "--then", later];
    let done = tenantry(&replica, &tier).await;
    assert!(done.status.success(), "{}", text(&done));
    let tenant = [
        "flag",
        "set-tenant",
        "search",
        "finance",
        "--rollout",
        "on=100,off=0",
        "--then",
        later,
        "--bucket-by",
        "targetingKey",
        "--reason",
        "ticket 4711",
        "--expires",
        "2099-12-31T00:00:00Z",
    ];
    let tried = tenantry(&replica, &[&tenant[..], &["--dry-run"]].concat()).await;
    assert!(tried.status.success(), "{}", text(&tried));
    assert_eq!(evaluate(&mut replica, "search").await.layer(), v1::FlagLayer::TierDefault);
    let done = tenantry(&replica, &tenant).await;
    assert!(done.status.success(), "{}", text(&done));
    let found = evaluate(&mut replica, "search").await;
    assert_eq!((found.layer(), found.reason.as_str()), (v1::FlagLayer::TenantOverride, "SPLIT"));
    let listed = v1::ListTenantOverridesRequest { tenant_id: "finance".into(), ..Default::default() };
    let own = replica.flags.list_tenant_overrides(listed).await.unwrap().into_inner().overrides.remove(0);
    let rollout = own.rollout.unwrap();
    assert_eq!((own.reason.as_str(), rollout.bucket_by.as_str()), ("ticket 4711", "targetingKey"));
    assert_eq!((rollout.weights[0].weight, rollout.steps[0].weights[1].weight), (100, 50));
    assert!(own.expire_time.is_some());
    let flag = replica.flags.get_flag(v1::GetFlagRequest { flag_key: "search".into() }).await.unwrap();
    assert_eq!(flag.into_inner().tier_rollouts["gold"].steps.len(), 1);
    for wrong in [
        &["flag", "set-tier", "search", "gold", "on", "--rollout", "on=1"][..],
        &["flag", "set-tier", "search", "gold", "on", "--then", later][..],
        &["flag", "set-tier", "search", "gold", "--rollout", "on"][..],
    ] {
        let refused = tenantry(&replica, wrong).await;
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    }
    let cleared = tenantry(&replica, &["flag", "unset-tenant", "search", "finance"]).await;
    assert!(cleared.status.success(), "{}", text(&cleared));
    assert_ne!(evaluate(&mut replica, "search").await.layer(), v1::FlagLayer::TenantOverride);
    replica.stop().await;
}

//! Files and kill switches, and plans that are agreed to.

use tenantry::proto::v1;

use super::apply::{tenantry, text};
use super::command_line::{refused, said};
use super::{boolean, set_tenant, with_flag};
use crate::support::{Replica, reason};

/// What the switch of a test is: boolean, with words for its variants.
const SWITCH: [&str; 6] = ["--kind", "kill-switch", "--variant", "armed=false", "--variant", "killed=true"];

async fn default_of(replica: &mut Replica, key: &str) -> v1::Flag {
    replica.flags.get_flag(v1::GetFlagRequest { flag_key: key.into() }).await.unwrap().into_inner()
}

#[tokio::test]
async fn no_file_ends_an_emergency_unless_that_is_asked_for() {
    let mut replica = with_flag().await;
    let create = [&["flag", "create", "stop", "--default", "armed"], &SWITCH[..]].concat();
    said(&replica, &create).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.yaml");
    let exported = said(&replica, &["flag", "export", "--format", "tenantry"]).await;
    assert!(exported.contains("defaultVariant: armed"), "{exported}");
    std::fs::write(&file, &exported).unwrap();
    let apply = ["flag", "apply", "--yes", "--prune", "-f", file.to_str().unwrap()];

    said(&replica, &["flag", "update", "stop", "--default", "killed"]).await;
    said(&replica, &["flag", "set-tier", "stop", "gold", "killed"]).await;
    said(&replica, &["flag", "rollout", "stop", "killed=100,armed=0"]).await;
    let before = default_of(&mut replica, "stop").await;
    let plan = said(&replica, &apply).await;
    for line in [
        "= kill switch stop stands at default_variant: \"killed\" (given: \"armed\"): kept\n",
        "= kill switch stop stands at default_rollout: ",
        "= kill switch stop stands at tier gold: ",
        "--reset-kill-switches",
    ] {
        assert!(plan.contains(line), "{line}: {plan}");
    }
    assert!(plan.ends_with("nothing to change\n"), "{plan}");
    assert_eq!(default_of(&mut replica, "stop").await, before);

    std::fs::write(&file, exported.replace("armed", "off").replace("killed", "on")).unwrap();
    let why = refused(&replica, &apply, 2).await;
    let expected = "flags.stop.variants";
    assert!(why.contains(expected) && why.contains("all.yaml: ") && why.contains("\"killed\""), "{why}");
    std::fs::write(&file, exported.replace("killed: true", "killed: false")).unwrap();
    refused(&replica, &apply, 2).await;

    std::fs::write(&file, &exported).unwrap();
    said(&replica, &[&apply[..], &["--reset-kill-switches", "stop"]].concat()).await;
    let flag = default_of(&mut replica, "stop").await;
    assert_eq!((flag.default_variant.as_str(), &flag.default_rollout), ("armed", &None));
    assert!(flag.tier_defaults.is_empty(), "{flag:?}");
    let unknown = refused(&replica, &[&apply[..], &["--reset-kill-switches", "gone"]].concat(), 2).await;
    assert!(unknown.contains("--reset-kill-switches[0]"), "{unknown}");
    replica.stop().await;
}

#[tokio::test]
async fn an_import_leaves_a_flag_that_was_made_a_kill_switch_here_as_it_stands() {
    let mut replica = with_flag().await;
    let content = |owner: &str| {
        format!(
            r#"{{"flags": {{"stop": {{"state": "ENABLED", "variants": {{"on": true, "off": false}},
                "defaultVariant": "off", "x-owner": "{owner}"}}}}}}"#
        )
    };
    let import = |owner: &str| v1::ImportFlagsRequest { content: content(owner), ..Default::default() };
    replica.flags.import_flags(import("a")).await.unwrap();
    let thrown = v1::Flag {
        flag_key: "stop".into(),
        kind: v1::FlagKind::KillSwitch.into(),
        default_variant: "on".into(),
        ..Default::default()
    };
    let paths = vec!["kind".to_owned(), "default_variant".to_owned(), "expire_time".to_owned()];
    let request = v1::UpdateFlagRequest {
        flag: Some(thrown),
        update_mask: Some(prost_types::FieldMask { paths }),
        ..Default::default()
    };
    replica.flags.update_flag(request).await.unwrap();
    for owner in ["a", "b"] {
        let made = replica.flags.import_flags(import(owner)).await.unwrap().into_inner();
        assert_eq!(made.kept.len(), 1, "{made:?}");
        assert_eq!(made.kept[0].fields, ["default_variant"]);
        assert_eq!(default_of(&mut replica, "stop").await.default_variant, "on");
    }
    let reset = v1::ImportFlagsRequest { reset_kill_switches: vec!["stop".into()], ..import("b") };
    replica.flags.import_flags(reset).await.unwrap();
    assert_eq!(default_of(&mut replica, "stop").await.default_variant, "off");
    replica.stop().await;
}

/// While somebody read the plan, somebody else gave a tenant a value, which then went, unsaid.
#[tokio::test]
async fn what_was_agreed_to_is_what_is_made_or_nothing_is() {
    let mut replica = with_flag().await;
    let apply = |plan_etag: &str, validate_only| v1::ApplyFlagsRequest {
        flags: vec![boolean("other")],
        prune: true,
        plan_etag: plan_etag.into(),
        validate_only,
        ..Default::default()
    };
    let delete = |plan_etag: &str, validate_only| v1::DeleteFlagRequest {
        flag_key: "search".into(),
        plan_etag: plan_etag.into(),
        validate_only,
        ..Default::default()
    };
    let shown = replica.flags.apply_flags(apply("", true)).await.unwrap().into_inner().plan_etag;
    let going = replica.flags.delete_flag(delete("", true)).await.unwrap().into_inner().plan_etag;
    assert!(!shown.is_empty() && !going.is_empty());
    assert_eq!(replica.flags.apply_flags(apply("", true)).await.unwrap().into_inner().plan_etag, shown);
    replica.flags.set_tenant_override(set_tenant("on")).await.unwrap();
    let error = replica.flags.apply_flags(apply(&shown, false)).await.unwrap_err();
    assert_eq!(reason(&error), "ETAG_MISMATCH");
    let error = replica.flags.delete_flag(delete(&going, false)).await.unwrap_err();
    assert_eq!(reason(&error), "ETAG_MISMATCH");
    assert_eq!(super::seen(&mut replica).await, (v1::FlagLayer::TenantOverride, "on".to_owned()));

    let going = replica.flags.delete_flag(delete("", true)).await.unwrap().into_inner().plan_etag;
    replica.flags.set_tenant_override(set_tenant("off")).await.unwrap();
    let error = replica.flags.delete_flag(delete(&going, false)).await.unwrap_err();
    assert_eq!(reason(&error), "ETAG_MISMATCH", "another value is another plan");
    let shown = replica.flags.apply_flags(apply("", true)).await.unwrap().into_inner();
    let made = replica.flags.apply_flags(apply(&shown.plan_etag, false)).await.unwrap().into_inner();
    assert_eq!(made.removed, shown.removed);
    replica.stop().await;
}

#[tokio::test]
async fn an_archival_shows_whom_it_affects_and_asks() {
    let mut replica = with_flag().await;
    said(&replica, &["flag", "archive", "search", "--dry-run"]).await;
    let asked = refused(&replica, &["flag", "archive", "search"], 2).await;
    assert!(asked.contains("give --yes"), "{asked}");
    assert_eq!(default_of(&mut replica, "search").await.state(), v1::FlagState::Enabled);
    let done = said(&replica, &["flag", "archive", "search", "--yes"]).await;
    assert!(done.ends_with("flag search is archived\n"), "{done}");
    assert_eq!(default_of(&mut replica, "search").await.state(), v1::FlagState::Archived);
    replica.stop().await;
}

#[tokio::test]
async fn several_files_are_one_set_and_a_mistake_is_named_by_key_and_file() {
    let mut replica = with_flag().await;
    let folder = tempfile::tempdir().unwrap();
    let [good, bad] = ["good.yaml", "bad.yaml"].map(|name| folder.path().join(name).display().to_string());
    std::fs::write(&good, "flags: {first: {type: boolean}}\n").unwrap();
    std::fs::write(&bad, "flags: {second: {type: boolean, variants: {'a b': 1}}}\n").unwrap();
    let apply = ["flag", "apply", "--yes", "-f", &good, "-f", &bad];
    let why = refused(&replica, &apply, 2).await;
    assert!(why.contains("bad.yaml: ") && why.contains("flags.second.variants"), "{why}");
    assert!(!why.contains("good.yaml") && !why.contains("flags[1]"), "{why}");
    std::fs::write(&bad, "flags: {second: {type: boolean}}\n").unwrap();
    said(&replica, &apply).await;
    for key in ["first", "second"] {
        default_of(&mut replica, key).await;
    }
    let nothing = tenantry(&replica, &["flag", "apply", "--yes", "-f", "-"]).await;
    assert!(text(&nothing).contains("- cannot be used: it must have `flags`"), "{}", text(&nothing));
    replica.stop().await;
}

#[tokio::test]
async fn a_kill_switch_never_expires_and_an_end_for_it_is_refused() {
    let replica = with_flag().await;
    let end = ["--expires", "2099-01-01T00:00:00Z"];
    let why =
        refused(&replica, &[&["flag", "create", "stop", "--kind", "kill-switch"], &end[..]].concat(), 2)
            .await;
    assert!(why.contains("--expires: ") && why.contains("never expires"), "{why}");
    said(&replica, &["flag", "create", "stop", "--kind", "kill-switch"]).await;
    refused(&replica, &[&["flag", "update", "stop"], &end[..]].concat(), 2).await;
    replica.stop().await;
}

/// An export of before the extension took it back, since it said an end that nobody had chosen.
#[tokio::test]
async fn an_older_export_takes_no_extension_back() {
    let mut replica = with_flag().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.yaml").display().to_string();
    let export = ["flag", "export", "--format", "tenantry"];
    std::fs::write(&file, said(&replica, &export).await).unwrap();
    assert!(said(&replica, &[&export[..], &["--with-expiry"]].concat()).await.contains("expireTime"));
    said(&replica, &["flag", "update", "search", "--expires", "2099-01-01T00:00:00Z"]).await;
    let before = default_of(&mut replica, "search").await;
    assert!(said(&replica, &["flag", "apply", "--yes", "-f", &file]).await.contains("nothing to change"));
    assert_eq!(default_of(&mut replica, "search").await.expire_time, before.expire_time);
    replica.stop().await;
}

/// The switch `stop`, with what it needs, a segment of tenants, and a flag that it guards.
fn guarded_set(stop: v1::Flag, tenants: &[&str]) -> v1::ApplyFlagsRequest {
    let on = |key: &str| v1::Flag { default_variant: "on".into(), ..boolean(key) };
    let condition = v1::Condition {
        attribute: "tenantId".into(),
        operator: v1::ConditionOperator::In.into(),
        values: tenants.iter().map(|it| crate::openfeature::proto(&serde_json::json!(it))).collect(),
    };
    let segment =
        v1::Segment { segment_name: "hit".into(), conditions: vec![condition], ..Default::default() };
    v1::ApplyFlagsRequest {
        flags: vec![on("needed"), stop, v1::Flag { kill_switch: "stop".into(), ..on("search") }],
        segments: vec![segment],
        ..Default::default()
    }
}

/// The switch, thrown for the tenants of the segment.
fn thrown_by_rule() -> v1::Flag {
    let rule = v1::TargetingRule {
        id: "hit".into(),
        logic: r#"{"if": [{"$ref": "hit"}, "on", null]}"#.into(),
        ..Default::default()
    };
    v1::Flag { kind: v1::FlagKind::KillSwitch.into(), rules: vec![rule], ..boolean("stop") }
}

/// The switch as a file has it that would end or weaken that.
fn weaker() -> v1::Flag {
    let end = prost_types::Timestamp { seconds: 1_000_000_000, nanos: 0 };
    v1::Flag {
        schedule: vec![v1::ScheduleWindow { end_time: Some(end), ..Default::default() }],
        prerequisites: vec![v1::Prerequisite { flag_key: "needed".into(), variants: vec!["off".into()] }],
        off_variant: "off".into(),
        conflict_groups: vec!["group".into()],
        kind: v1::FlagKind::Release.into(),
        owner: "core".into(),
        ..boolean("stop")
    }
}

/// What an operator changed of a switch in an emergency: for whom it is thrown, when, and what that means.
#[tokio::test]
async fn nothing_that_a_switch_decides_by_follows_a_file_unasked() {
    let mut replica = with_flag().await;
    replica.flags.apply_flags(guarded_set(thrown_by_rule(), &["finance"])).await.unwrap();
    assert_eq!(super::evaluate(&mut replica, "search").await.layer(), v1::FlagLayer::KillSwitch);
    let weaker = guarded_set(weaker(), &["nobody"]);
    for prune in [false, true] {
        let request = v1::ApplyFlagsRequest { prune, force: true, ..weaker.clone() };
        let made = replica.flags.apply_flags(request).await.unwrap().into_inner();
        let kept: Vec<_> = made.kept.iter().map(|it| (it.resource.as_str(), it.name.as_str())).collect();
        assert_eq!(kept, [("segment", "hit"), ("flag", "stop")]);
        let fields = ["kind", "off_variant", "schedule", "prerequisites", "conflict_groups", "rules"];
        assert_eq!(made.kept[1].fields, fields);
        let changed: Vec<_> = made.differences.iter().flat_map(|it| it.fields.clone()).collect();
        assert_eq!(changed, if prune { Vec::new() } else { vec!["owner".to_owned()] }, "the rest follows");
        assert_eq!(super::evaluate(&mut replica, "search").await.layer(), v1::FlagLayer::KillSwitch);
    }
    let without = v1::ApplyFlagsRequest { segments: Vec::new(), prune: true, ..weaker.clone() };
    let made = replica.flags.apply_flags(without).await.unwrap().into_inner();
    assert_eq!(made.differences, Vec::new(), "nor does its segment go");

    let request = v1::ApplyFlagsRequest { reset_kill_switches: vec!["stop".into()], force: true, ..weaker };
    let made = replica.flags.apply_flags(request).await.unwrap().into_inner();
    assert_eq!(made.kept, Vec::new());
    replica.stop().await;
}

#[tokio::test]
async fn a_plan_tells_what_stays_of_switches_segments_and_what_they_guard() {
    let mut replica = with_flag().await;
    replica.flags.apply_flags(guarded_set(thrown_by_rule(), &["finance"])).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weaker.yaml");
    let text = "
flags:
  stop: {type: boolean, kind: kill switch}
  search: {type: boolean, defaultVariant: 'on', killSwitch: needed}
segments: {hit: {conditions: [{attribute: tenantId, operator: in, values: [x]}]}}
";
    std::fs::write(&file, text).unwrap();
    let plan = said(&replica, &["flag", "apply", "--dry-run", "-f", file.to_str().unwrap()]).await;
    for line in [
        "= segment hit stays as it is: a kill switch uses it",
        "= kill switch stop stands at rules: ",
        "= flag search has kill_switch: \"stop\" (given: \"needed\"): kept",
        "nothing to change",
    ] {
        assert!(plan.contains(line), "{line}: {plan}");
    }
    replica.stop().await;
}

/// A flag file's own segment, by which a switch of it is thrown.
#[tokio::test]
async fn an_import_leaves_the_segments_of_a_kill_switch() {
    let mut replica = with_flag().await;
    let content = |who: &str| {
        format!(
            r#"{{"flags": {{"stop": {{"state": "ENABLED", "variants": {{"on": true, "off": false}}, "defaultVariant": "off",
                "targeting": {{"if": [{{"$ref": "hit"}}, "on", null]}}}}}},
                "$evaluators": {{"hit": {{"==": [{{"var": "tenantId"}}, "{who}"]}}, "other": true}}}}"#
        )
    };
    let import = |who: &str| v1::ImportFlagsRequest { content: content(who), ..Default::default() };
    replica.flags.import_flags(import("finance")).await.unwrap();
    let request = v1::UpdateFlagRequest {
        flag: Some(v1::Flag { kind: v1::FlagKind::KillSwitch.into(), ..boolean("stop") }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["kind".into()] }),
        ..Default::default()
    };
    replica.flags.update_flag(request).await.unwrap();
    for prune in [false, true] {
        let request = v1::ImportFlagsRequest { prune, validate_only: prune, ..import("nobody") };
        let made = replica.flags.import_flags(request).await.unwrap().into_inner();
        let kept: Vec<_> = made.kept.iter().map(|it| (it.resource.as_str(), it.name.as_str())).collect();
        assert_eq!(kept, [("segment", "hit")]);
        assert_eq!(super::evaluate(&mut replica, "stop").await.variant, "on");
    }
    let reset = v1::ImportFlagsRequest { reset_kill_switches: vec!["stop".into()], ..import("nobody") };
    replica.flags.import_flags(reset).await.unwrap();
    assert_eq!(super::evaluate(&mut replica, "stop").await.variant, "off");
    replica.stop().await;
}

/// It kept the 90 days of a release flag: then what it had turned off came back by itself.
#[tokio::test]
async fn a_flag_that_becomes_a_kill_switch_loses_its_end() {
    let mut replica = with_flag().await;
    assert!(default_of(&mut replica, "search").await.expire_time.is_some());
    let update = |flag: v1::Flag, paths: &[&str]| v1::UpdateFlagRequest {
        flag: Some(flag),
        update_mask: Some(prost_types::FieldMask {
            paths: paths.iter().map(|it| (*it).to_owned()).collect(),
        }),
        ..Default::default()
    };
    let switch = v1::Flag { kind: v1::FlagKind::KillSwitch.into(), ..boolean("search") };
    let expire_time = default_of(&mut replica, "search").await.expire_time;
    let with_end = update(v1::Flag { expire_time, ..switch.clone() }, &["kind", "expire_time"]);
    let error = replica.flags.update_flag(with_end).await.unwrap_err();
    assert_eq!(crate::support::fields(&error), ["flag.expire_time"]);
    replica.flags.update_flag(update(switch.clone(), &["kind"])).await.unwrap();
    assert_eq!(default_of(&mut replica, "search").await.expire_time, None);

    let request = v1::CreateFlagRequest { flag: Some(boolean("by-file")), ..Default::default() };
    replica.flags.create_flag(request).await.unwrap();
    let set = v1::ApplyFlagsRequest {
        flags: vec![v1::Flag { flag_key: "by-file".into(), ..switch }],
        ..Default::default()
    };
    replica.flags.apply_flags(set).await.unwrap();
    assert_eq!(default_of(&mut replica, "by-file").await.expire_time, None);
    replica.stop().await;
}

/// The override had ended, was shown as such, and yet the variant could not go.
#[tokio::test]
async fn an_override_that_has_ended_holds_no_variant() {
    let mut replica = with_flag().await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let end = i64::try_from(now.as_secs()).unwrap() + 2;
    let own = v1::SetTenantOverrideRequest {
        expire_time: Some(prost_types::Timestamp { seconds: end, nanos: 0 }),
        ..set_tenant("on")
    };
    replica.flags.set_tenant_override(own).await.unwrap();
    let off = crate::openfeature::proto(&serde_json::json!(false));
    let without = v1::UpdateFlagRequest {
        flag: Some(v1::Flag { variants: [("off".to_owned(), off)].into(), ..boolean("search") }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["variants".into()] }),
        ..Default::default()
    };
    let error = replica.flags.update_flag(without.clone()).await.unwrap_err();
    assert_eq!(reason(&error), "VARIANT_IN_USE");
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    replica.flags.update_flag(without).await.unwrap();
    assert_eq!(super::seen(&mut replica).await, (v1::FlagLayer::GlobalDefault, "off".to_owned()));
    let setup = crate::support::Setup { no_targets: true, ..Default::default() };
    let mut other = Replica::on(&replica.database_url, &setup).await;
    assert_eq!(super::seen(&mut other).await, (v1::FlagLayer::GlobalDefault, "off".to_owned()));
    other.stop().await;
    replica.stop().await;
}

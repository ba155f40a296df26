//! Sets of flags applied as one, by the API and from files.

use std::path::Path;
use std::process::{Command, Output};

use tenantry::proto::v1;
use tenantry::proto::v1::apply_flags_response::{Action, Difference};

use super::{boolean, evaluate, with_flag};
use crate::support::{Replica, fields, reason};

fn set(flags: Vec<v1::Flag>) -> v1::ApplyFlagsRequest {
    v1::ApplyFlagsRequest { flags, ..Default::default() }
}

fn on_for(tier_id: &str, flag_key: &str) -> v1::apply_flags_request::TierSetting {
    v1::apply_flags_request::TierSetting {
        flag_key: flag_key.into(),
        tier_id: tier_id.into(),
        variant: "on".into(),
        rollout: None,
    }
}

fn shown(differences: &[Difference]) -> Vec<(Action, &str, &str)> {
    differences.iter().map(|it| (it.action(), it.resource.as_str(), it.name.as_str())).collect()
}

async fn apply(replica: &mut Replica, request: v1::ApplyFlagsRequest) -> v1::ApplyFlagsResponse {
    replica.flags.apply_flags(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_set_is_shown_first_then_made_so_and_then_there_is_nothing_to_do() {
    let mut replica = with_flag().await;
    let wanted = v1::ApplyFlagsRequest {
        tier_defaults: vec![on_for("gold", "search")],
        ..set(vec![v1::Flag { owner: "core".into(), ..boolean("search") }, boolean("export")])
    };
    let tried = apply(&mut replica, v1::ApplyFlagsRequest { validate_only: true, ..wanted.clone() }).await;
    let expected = [
        (Action::Create, "flag", "export"),
        (Action::Update, "flag", "search"),
        (Action::Create, "tier_default", "search gold"),
    ];
    assert_eq!(shown(&tried.differences), expected);
    assert_eq!(tried.differences[1].fields, ["owner"]);
    assert_eq!(tried.impact.unwrap().tenants_affected, 1);
    assert_eq!(evaluate(&mut replica, "search").await.variant, "off", "it was only tried");

    let made = apply(&mut replica, wanted.clone()).await;
    assert_eq!(shown(&made.differences), expected);
    assert!(made.revision > 0);
    assert_eq!(evaluate(&mut replica, "search").await.variant, "on");
    let again = apply(&mut replica, wanted).await;
    assert_eq!((again.differences.len(), again.revision), (0, 0));
    replica.stop().await;
}

#[tokio::test]
async fn pruning_deletes_what_is_not_named_in_the_same_flag_sets_and_nothing_else() {
    let mut replica = with_flag().await;
    let elsewhere = v1::Flag { flag_set: "billing".into(), ..boolean("invoices") };
    let first = v1::ApplyFlagsRequest {
        tier_defaults: vec![on_for("gold", "kept")],
        ..set(vec![elsewhere, boolean("kept"), boolean("old")])
    };
    apply(&mut replica, first).await;
    let wanted = v1::ApplyFlagsRequest { prune: true, ..set(vec![boolean("kept")]) };
    let pruned = apply(&mut replica, wanted).await;
    let expected = [
        (Action::Delete, "flag", "old"),
        (Action::Delete, "flag", "search"),
        (Action::Delete, "tier_default", "kept gold"),
    ];
    assert_eq!(shown(&pruned.differences), expected);
    let list = replica.flags.list_flags(v1::ListFlagsRequest::default()).await.unwrap().into_inner();
    let keys: Vec<_> = list.flags.iter().map(|flag| flag.flag_key.as_str()).collect();
    assert_eq!(keys, ["invoices", "kept"]);
    assert!(list.flags[1].tier_defaults.is_empty());
    replica.stop().await;
}

#[tokio::test]
async fn one_mistake_keeps_the_whole_set_from_being_applied_and_is_named_by_its_place() {
    let mut replica = with_flag().await;
    let bad = v1::Flag { default_variant: "maybe".into(), ..boolean("export") };
    let request = set(vec![boolean("fine"), bad]);
    let error = replica.flags.apply_flags(request).await.unwrap_err();
    assert_eq!(fields(&error), ["flags[1].default_variant"]);
    let twice = set(vec![boolean("fine"), boolean("fine")]);
    let error = replica.flags.apply_flags(twice).await.unwrap_err();
    assert_eq!(fields(&error), ["flags[1].flag_key"]);
    let bronze =
        v1::ApplyFlagsRequest { tier_defaults: vec![on_for("bronze", "fine")], ..set(vec![boolean("fine")]) };
    let error = replica.flags.apply_flags(bronze).await.unwrap_err();
    assert_eq!(reason(&error), "TIER_NOT_FOUND");
    let stray = v1::ApplyFlagsRequest { tier_defaults: vec![on_for("gold", "search")], ..Default::default() };
    let error = replica.flags.apply_flags(stray).await.unwrap_err();
    assert_eq!(fields(&error), ["tier_defaults[0].flag_key"]);
    let missing = v1::GetFlagRequest { flag_key: "fine".into() };
    assert_eq!(reason(&replica.flags.get_flag(missing).await.unwrap_err()), "FLAG_NOT_FOUND");
    replica.stop().await;
}

#[tokio::test]
async fn a_set_cannot_change_the_type_of_a_flag() {
    let mut replica = with_flag().await;
    let classic = prost_types::Value { kind: Some(prost_types::value::Kind::StringValue("c".into())) };
    let text = v1::Flag {
        r#type: v1::FlagType::String.into(),
        variants: [("classic".to_owned(), classic)].into(),
        default_variant: "classic".into(),
        ..boolean("search")
    };
    let request = set(vec![boolean("fine"), text]);
    let error = replica.flags.apply_flags(request).await.unwrap_err();
    assert_eq!((error.code(), reason(&error)), (tonic::Code::InvalidArgument, "INVALID_FIELD".into()));
    assert_eq!(fields(&error), ["flags[1].type"]);
    assert_eq!(evaluate(&mut replica, "search").await.variant, "off", "it is what it was");
    replica.stop().await;
}

/// A pipeline that applied its files brought back what had been turned off through the API in an emergency.
#[tokio::test]
async fn a_set_that_names_no_kill_switch_leaves_the_one_that_a_flag_has() {
    let mut replica = with_flag().await;
    let switch = |key: &str| v1::Flag { kind: v1::FlagKind::KillSwitch.into(), ..boolean(key) };
    let wanted = v1::Flag { default_variant: "on".into(), ..boolean("search") };
    let guarded = v1::Flag { kill_switch: "kill".into(), ..wanted.clone() };
    let thrown = v1::Flag { default_variant: "on".into(), ..switch("kill") };
    apply(&mut replica, set(vec![thrown, switch("other"), guarded])).await;
    let again = apply(&mut replica, set(vec![wanted.clone()])).await;
    assert_eq!(again.differences, Vec::new());
    assert_eq!(evaluate(&mut replica, "search").await.layer(), v1::FlagLayer::KillSwitch);

    let pruning = v1::ApplyFlagsRequest { prune: true, validate_only: true, ..set(vec![wanted.clone()]) };
    let tried = apply(&mut replica, pruning.clone()).await;
    assert_eq!(shown(&tried.kept), [(Action::Delete, "flag", "kill")], "nor does pruning take it away");
    assert_eq!(shown(&tried.differences), [(Action::Delete, "flag", "other")]);
    let pruning = v1::ApplyFlagsRequest { reset_kill_switches: vec!["kill".into()], ..pruning };
    let error = replica.flags.apply_flags(pruning).await.unwrap_err();
    assert_eq!(reason(&error), "DEPENDENTS_WOULD_BREAK", "unless what it guards goes, too");

    let switches = set(vec![switch("kill"), switch("other"), wanted.clone()]);
    let again = apply(&mut replica, v1::ApplyFlagsRequest { prune: true, ..switches }).await;
    assert_eq!(again.differences, Vec::new(), "how a switch stands stays");
    let unthrown = v1::Flag { default_variant: "off".into(), ..switch("kill") };
    let kept = apply(&mut replica, set(vec![unthrown.clone()])).await;
    assert_eq!((kept.differences.len(), kept.kept.len()), (0, 1), "whatever a set says");
    let reset = |flag: v1::Flag| v1::ApplyFlagsRequest {
        reset_kill_switches: vec!["kill".into()],
        ..set(vec![flag])
    };
    apply(&mut replica, reset(unthrown.clone())).await;
    assert_eq!(evaluate(&mut replica, "search").await.variant, "on", "that was asked for");
    apply(&mut replica, reset(v1::Flag { default_variant: "on".into(), ..unthrown })).await;
    assert_eq!(evaluate(&mut replica, "search").await.layer(), v1::FlagLayer::KillSwitch);

    let elsewhere = set(vec![v1::Flag { kill_switch: "other".into(), ..wanted }]);
    let moved = apply(&mut replica, elsewhere.clone()).await;
    assert_eq!((moved.differences.len(), moved.kept.len()), (0, 1), "another one may not be thrown");
    assert_eq!(
        (moved.kept[0].name.as_str(), &moved.kept[0].fields[..]),
        ("search", &["kill_switch".into()][..])
    );
    assert_eq!(evaluate(&mut replica, "search").await.layer(), v1::FlagLayer::KillSwitch);
    let reset = v1::ApplyFlagsRequest { reset_kill_switches: vec!["kill".into()], ..elsewhere };
    let moved = apply(&mut replica, reset).await;
    assert_eq!(moved.differences[0].fields, ["kill_switch"], "that was asked for");
    assert_eq!(evaluate(&mut replica, "search").await.variant, "on");
    replica.stop().await;
}

#[tokio::test]
async fn no_reader_ever_sees_half_of_a_set() {
    let mut replica = with_flag().await;
    let both = |variant: &str| {
        let flag = |key: &str| v1::Flag { default_variant: variant.into(), ..boolean(key) };
        set(vec![flag("left"), flag("right")])
    };
    apply(&mut replica, both("off")).await;
    let mut reader = replica.flags.clone();
    let reading = tokio::spawn(async move {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..2_000 {
            let request = v1::EvaluateFlagsRequest {
                tenant_id: "finance".into(),
                flag_keys: vec!["left".into(), "right".into()],
                context: None,
            };
            let flags = reader.evaluate_flags(request).await.unwrap().into_inner().flags;
            seen.insert((flags[0].variant.clone(), flags[1].variant.clone()));
        }
        seen
    });
    for round in 0..40 {
        apply(&mut replica, both(if round % 2 == 0 { "on" } else { "off" })).await;
    }
    let seen = reading.await.unwrap();
    assert!(seen.iter().all(|(left, right)| left == right), "{seen:?}");
    replica.stop().await;
}

pub(super) async fn tenantry(replica: &Replica, arguments: &[&str]) -> Output {
    let server = format!("http://{}", replica.server.grpc);
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenantry"));
    command.args(arguments).args(["--server", &server]).stdin(std::process::Stdio::null());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

pub(super) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn write(folder: &Path, name: &str, contents: &str) {
    std::fs::write(folder.join(name), contents).unwrap();
}

#[tokio::test]
async fn flags_live_in_files_that_the_command_line_applies_after_showing_the_difference() {
    let mut replica = with_flag().await;
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    write(
        folder.path(),
        "search.yaml",
        "flags:\n  search: {type: boolean, owner: core, tierDefaults: {gold: 'on'}}\n",
    );
    write(
        folder.path(),
        "export.json",
        r#"{"flags": [{"flagKey": "export", "type": "boolean", "kind": "permission"}]}"#,
    );
    let asked = tenantry(&replica, &["flag", "apply", "-f", place]).await;
    assert!(!asked.status.success() && text(&asked).contains("--yes"), "{}", text(&asked));
    assert!(
        text(&asked).contains("+ flag export\n~ flag search\n    owner: \"\" → \"core\""),
        "{}",
        text(&asked)
    );
    let applied = tenantry(&replica, &["flag", "apply", "-f", place, "--yes"]).await;
    assert!(applied.status.success(), "{}", text(&applied));
    assert_eq!(evaluate(&mut replica, "search").await.variant, "on");
    let again = tenantry(&replica, &["flag", "apply", "-f", place, "--yes", "--prune"]).await;
    assert!(text(&again).contains("nothing to change"), "{}", text(&again));
    let dry =
        tenantry(&replica, &["flag", "apply", "-f", &format!("{place}/export.json"), "--prune", "--dry-run"])
            .await;
    assert!(text(&dry).contains("- flag search"), "{}", text(&dry));
    assert_eq!(evaluate(&mut replica, "search").await.variant, "on");
    write(folder.path(), "wrong.yaml", "flags: {broken: {type: colour}}");
    let refused = tenantry(&replica, &["flag", "apply", "-f", place, "--yes"]).await;
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    let why = "wrong.yaml cannot be used: flags: \"broken\": type cannot be \"colour\"; it can be boolean, string, ";
    assert!(text(&refused).contains(why), "{}", text(&refused));
    write(folder.path(), "wrong.yaml", "flags:\n  twice: {type: boolean}\n  twice: {type: string}\n");
    let refused = tenantry(&replica, &["flag", "apply", "-f", place, "--yes"]).await;
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    assert!(text(&refused).contains("wrong.yaml cannot be used: the key flags.twice is there twice"));
    replica.stop().await;
}

/// The flags of the flag set `team`, each with its owner.
async fn of_team(replica: &Replica) -> Vec<(String, String)> {
    let listed =
        replica.flags.clone().list_flags(v1::ListFlagsRequest::default()).await.unwrap().into_inner();
    let of_team = listed.flags.into_iter().filter(|flag| flag.flag_set == "team");
    of_team.map(|flag| (flag.flag_key, flag.owner)).collect()
}

fn of_owner(flags: &[(&str, &str)], prune: bool) -> v1::ApplyFlagsRequest {
    let flag = |(key, owner): &(&str, &str)| v1::Flag {
        flag_set: "team".into(),
        owner: (*owner).into(),
        ..boolean(key)
    };
    v1::ApplyFlagsRequest { prune, ..set(flags.iter().map(flag).collect()) }
}

/// Sets that each named all flags of a flag set and pruned the rest were both made at once: the flag set was what neither
/// said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_sets_at_once_the_second_is_decided_on_what_the_first_made() {
    let replica = with_flag().await;
    let other = Replica::on(&replica.database_url, &crate::support::Setup::default()).await;
    let at_once = async |first: v1::ApplyFlagsRequest, second: v1::ApplyFlagsRequest| {
        let (mut here, mut there) = (replica.flags.clone(), other.flags.clone());
        let (first, second) = tokio::join!(here.apply_flags(first), there.apply_flags(second));
        assert!(first.is_ok() && second.is_ok());
    };
    let import_at_once = async |files: [&str; 2]| {
        let (mut here, mut there) = (replica.flags.clone(), other.flags.clone());
        let [first, second] = files.map(|key| v1::ImportFlagsRequest {
            content: serde_json::json!({
                "flags": {key: {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on"}},
                "metadata": {"flagSetId": "team"},
            })
            .to_string(),
            prune: true,
            ..Default::default()
        });
        let (first, second) = tokio::join!(here.import_flags(first), there.import_flags(second));
        assert!(first.is_ok() && second.is_ok());
    };
    let keys = async || of_team(&replica).await.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    for round in 0..6 {
        replica.flags.clone().apply_flags(of_owner(&[("x", "a"), ("y", "b")], true)).await.unwrap();
        // Nor does each make the half of it that it finds otherwise.
        at_once(of_owner(&[("x", "a"), ("y", "a")], false), of_owner(&[("x", "b"), ("y", "b")], false)).await;
        let owners = of_team(&replica).await;
        assert_eq!(owners[0].1, owners[1].1, "in round {round}");
        at_once(of_owner(&[("one", ""), ("x", "")], true), of_owner(&[("two", ""), ("x", "")], true)).await;
        let left = keys().await;
        assert!(left == ["one", "x"] || left == ["two", "x"], "{left:?} in round {round}");
        import_at_once(["three", "four"]).await;
        let left = keys().await;
        assert!(left == ["three"] || left == ["four"], "{left:?} in round {round}");
    }
    other.stop().await;
    replica.stop().await;
}

/// A change that was on for everybody by an attribute of the configuration was said to affect nobody.
#[tokio::test]
async fn a_plan_sees_what_is_configured_and_says_what_people_should_hear() {
    let settings = vec![("flags.context", "region=eu".to_owned())];
    let mut replica =
        Replica::start(&crate::support::Setup { no_targets: true, settings, ..Default::default() }).await;
    replica.tenant("finance").await;
    let matching = |attribute: &str, operator: v1::ConditionOperator, value: &str| v1::TargetingRule {
        conditions: vec![v1::Condition {
            attribute: attribute.into(),
            operator: operator.into(),
            values: vec![super::targeting::text(value)],
        }],
        variant: "on".into(),
        ..Default::default()
    };
    let regional = matching("region", v1::ConditionOperator::In, "eu");
    apply(&mut replica, set(vec![v1::Flag { rules: vec![regional], ..boolean("regional") }])).await;
    assert_eq!(evaluate(&mut replica, "regional").await.variant, "on");
    let mail = matching("email", v1::ConditionOperator::Matches, "@example.com$");
    let mailed = v1::Flag { rules: vec![mail], ..boolean("mailed") };
    let plan = v1::ApplyFlagsRequest { validate_only: true, ..set(vec![boolean("regional"), mailed]) };
    let plan = apply(&mut replica, plan).await;
    let impact = plan.impact.unwrap();
    assert_eq!((impact.tenants_affected, impact.tenants.as_slice()), (1, ["finance".to_owned()].as_slice()));
    let shift = impact.examples.iter().find(|shift| shift.flag_key == "regional").unwrap();
    assert_eq!((shift.variant_before.as_str(), shift.variant_after.as_str()), ("on", "off"));
    let [warning] = plan.warnings.as_slice() else { panic!("{:?}", plan.warnings) };
    assert!(warning.starts_with("flag \"mailed\": its rules use an operator"), "{warning}");
    replica.stop().await;
}

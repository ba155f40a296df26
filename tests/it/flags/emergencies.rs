//! What no suspension and no file ends: a switch that is thrown, what it guards, and what these need.

use tenantry::proto::v1;

use super::command_line::said;
use super::{boolean, evaluate, with_flag};
use crate::support::{Replica, fields};

fn switch(key: &str, default: &str) -> v1::Flag {
    v1::Flag { kind: v1::FlagKind::KillSwitch.into(), default_variant: default.into(), ..boolean(key) }
}

fn guarded(key: &str, by: &str) -> v1::Flag {
    v1::Flag { kill_switch: by.into(), default_variant: "on".into(), ..boolean(key) }
}

fn set(flags: Vec<v1::Flag>) -> v1::ApplyFlagsRequest {
    v1::ApplyFlagsRequest { flags, force: true, prune: true, ..Default::default() }
}

fn own(flag_key: &str) -> v1::SetTenantOverrideRequest {
    v1::SetTenantOverrideRequest { flag_key: flag_key.into(), ..super::set_tenant("on") }
}

async fn apply(replica: &mut Replica, set: v1::ApplyFlagsRequest) -> v1::ApplyFlagsResponse {
    replica.flags.apply_flags(set).await.unwrap().into_inner()
}

fn names(differences: &[v1::apply_flags_response::Difference]) -> Vec<&str> {
    differences.iter().map(|it| it.name.as_str()).collect()
}

/// Switches that are on for one tenant, by themselves or by what they need, and for nobody, and what they guard.
async fn in_emergency() -> Replica {
    let mut replica = with_flag().await;
    let needs = v1::Prerequisite { flag_key: "cause".into(), variants: vec!["on".into()] };
    let all = v1::Flag { prerequisites: vec![needs], ..switch("ks-all", "on") };
    let cause = boolean("cause");
    let flags =
        vec![cause, switch("ks-one", "off"), all, switch("ks-quiet", "off"), guarded("g-one", "ks-one")];
    let flags = flags.into_iter().chain([guarded("g-all", "ks-all"), guarded("g-quiet", "ks-quiet")]);
    apply(&mut replica, set(flags.collect())).await;
    for key in ["ks-one", "cause"] {
        replica.flags.set_tenant_override(own(key)).await.unwrap();
    }
    for key in ["g-one", "g-all"] {
        assert_eq!(evaluate(&mut replica, key).await.layer(), v1::FlagLayer::KillSwitch, "{key}");
    }
    replica
}

const HELD: [&str; 5] = ["cause", "g-all", "g-one", "ks-all", "ks-one"];

/// They were deleted together with what they guarded, which nothing hindered: with an older file it came back, on.
#[tokio::test]
async fn pruning_leaves_what_an_emergency_rests_on_and_says_so() {
    let mut replica = in_emergency().await;
    for force in [false, true] {
        let other = v1::ApplyFlagsRequest { force, validate_only: !force, ..set(vec![boolean("other")]) };
        let made = apply(&mut replica, other).await;
        assert_eq!(names(&made.kept), HELD);
        assert!(made.kept.iter().all(|it| it.action() == v1::apply_flags_response::Action::Delete));
        assert_eq!(names(&made.differences), ["g-quiet", "ks-quiet", "other"], "a switch that is off goes");
    }
    for key in ["g-one", "g-all"] {
        assert_eq!(evaluate(&mut replica, key).await.layer(), v1::FlagLayer::KillSwitch, "{key}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("k.yaml");
    std::fs::write(&file, "flags: {other: {type: boolean}}\n").unwrap();
    let prune = ["flag", "apply", "--yes", "--prune", "-f", file.to_str().unwrap()];
    let plan = said(&replica, &prune).await;
    for line in [
        "= flag g-one stays: ",
        "= kill switch ks-one stays: ",
        "= flag cause stays: ",
        "--reset-kill-switches, with a switch's key",
        "nothing to change",
    ] {
        assert!(plan.contains(line), "{line}: {plan}");
    }
    let plan = said(&replica, &[&prune[..], &["--reset-kill-switches", "ks-one"]].concat()).await;
    assert!(plan.contains("- flag ks-one\n") && plan.contains("- flag g-one\n"), "{plan}");
    assert!(plan.contains("= kill switch ks-all stays: "), "{plan}");
    replica.stop().await;
}

#[tokio::test]
async fn an_import_that_prunes_leaves_what_an_emergency_rests_on() {
    let mut replica = in_emergency().await;
    let content =
        r#"{"flags": {"other": {"variants": {"on": true, "off": false}, "defaultVariant": "off"}}}"#;
    for force in [false, true] {
        let request = v1::ImportFlagsRequest {
            content: content.into(),
            prune: true,
            force,
            validate_only: !force,
            ..Default::default()
        };
        let made = replica.flags.import_flags(request).await.unwrap().into_inner();
        assert_eq!(names(&made.kept), HELD);
        assert_eq!(names(&made.differences), ["g-quiet", "ks-quiet", "other", ""]);
    }
    let request = v1::ImportFlagsRequest {
        content: content.into(),
        prune: true,
        reset_kill_switches: vec!["ks-all".into(), "ks-one".into()],
        ..Default::default()
    };
    let made = replica.flags.import_flags(request).await.unwrap().into_inner();
    assert_eq!((names(&made.differences), names(&made.kept)), (HELD.to_vec(), Vec::new()));
    replica.stop().await;
}

/// Clients that select the old set no longer found the switch, and went by what they had in its place.
#[tokio::test]
async fn a_switch_that_is_thrown_and_what_it_guards_stay_in_their_flag_set() {
    let mut replica = in_emergency().await;
    let moved = |flag: v1::Flag| v1::Flag { flag_set: "elsewhere".into(), ..flag };
    let wanted = || {
        let flags = [switch("ks-one", "off"), guarded("g-one", "ks-one"), switch("ks-quiet", "off")];
        v1::ApplyFlagsRequest { prune: false, ..set(flags.map(moved).to_vec()) }
    };
    let made = apply(&mut replica, wanted()).await;
    assert_eq!((names(&made.kept), names(&made.differences)), (vec!["g-one", "ks-one"], vec!["ks-quiet"]));
    assert!(made.kept.iter().all(|it| it.fields == ["flag_set"]), "{:?}", made.kept);
    let reset = v1::ApplyFlagsRequest { reset_kill_switches: vec!["ks-one".into()], ..wanted() };
    let made = apply(&mut replica, reset).await;
    assert_eq!((names(&made.kept), names(&made.differences)), (Vec::new(), vec!["g-one", "ks-one"]));
    replica.stop().await;
}

/// The switch itself got its safe default, which took its override away.
#[tokio::test]
async fn a_suspension_does_not_turn_on_again_what_a_switch_has_turned_off() {
    let mut replica = in_emergency().await;
    for suspend in [false, true] {
        if suspend {
            let wait = Some(prost_types::Duration { seconds: 10, nanos: 0 });
            let request =
                v1::SuspendTenantRequest { tenant_id: "finance".into(), wait, ..Default::default() };
            let ended = replica.lifecycle.suspend_tenant(request).await.unwrap().into_inner();
            assert_eq!(ended.state(), v1::OperationState::Succeeded);
        }
        for key in ["g-one", "g-all"] {
            let answer = evaluate(&mut replica, key).await;
            let seen = (answer.layer(), answer.variant.as_str());
            assert_eq!(seen, (v1::FlagLayer::KillSwitch, "off"), "{key}, {suspend}");
        }
        let quiet = evaluate(&mut replica, "g-quiet").await;
        let expected = if suspend { v1::FlagLayer::SafeDefault } else { v1::FlagLayer::GlobalDefault };
        assert_eq!((quiet.layer(), quiet.variant.as_str()), (expected, "on"));
    }
    let explained = said(&replica, &["flag", "explain", "finance", "g-one"]).await;
    assert!(explained.contains("The kill switch ks-one is on."), "{explained}");
    replica.stop().await;
}

/// What a switch needs and what excludes it had no part in how it stands: a file that turned one off, or brought a rival, ended
/// the emergency, without `--force` and without a word.
#[tokio::test]
async fn no_file_ends_an_emergency_by_what_the_switch_hangs_on() {
    let mut replica = with_flag().await;
    let needs = v1::Prerequisite { flag_key: "em-p".into(), variants: vec!["on".into()] };
    let stop =
        v1::Flag { prerequisites: vec![needs], conflict_groups: vec!["em".into()], ..switch("em-k", "on") };
    let cause = |default: &str| v1::Flag { default_variant: default.into(), ..boolean("em-p") };
    let all = vec![cause("on"), stop, guarded("em-g", "em-k")];
    replica.flags.apply_flags(v1::ApplyFlagsRequest { flags: all, ..Default::default() }).await.unwrap();
    let rival = |default: &str| v1::Flag {
        conflict_groups: vec!["em".into()],
        priority: 100,
        default_variant: default.into(),
        ..boolean("em-r")
    };
    let scheduled = v1::Flag {
        schedule: vec![v1::ScheduleWindow {
            end_time: Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 }),
            ..Default::default()
        }],
        ..cause("on")
    };
    let weaker = v1::Flag { off_variant: "on".into(), ..guarded("em-g", "em-k") };
    for (flag, what) in [
        (cause("off"), "for callers without a tenant"),
        (rival("on"), "for callers without a tenant"),
        (scheduled, "from 2096-10-02T07:06:40Z on"),
        (weaker, "turns off \"em-g\""),
    ] {
        for validate_only in [true, false] {
            let one = v1::ApplyFlagsRequest {
                flags: vec![flag.clone()],
                validate_only,
                force: true,
                ..Default::default()
            };
            let refused = replica.flags.apply_flags(one).await.unwrap_err();
            assert_eq!(fields(&refused), ["reset_kill_switches"], "{what}");
            assert!(refused.message().contains("\"em-k\"") && refused.message().contains(what), "{refused}");
        }
    }
    let content = "{\"flags\": {\"em-r\": {\"state\": \"ENABLED\", \"variants\": {\"on\": true, \"off\": false}, \"defaultVariant\": \"on\"}}}";
    let import = v1::ImportFlagsRequest { content: content.into(), ..Default::default() };
    let harmless = [rival("off"), v1::Flag { owner: "core".into(), ..cause("on") }];
    replica
        .flags
        .apply_flags(v1::ApplyFlagsRequest { flags: harmless.into(), ..Default::default() })
        .await
        .unwrap();
    let refused = replica.flags.import_flags(import).await.unwrap_err();
    assert_eq!(fields(&refused), ["reset_kill_switches"]);
    assert_eq!(evaluate(&mut replica, "em-g").await.layer(), v1::FlagLayer::KillSwitch);

    let meant = v1::ApplyFlagsRequest {
        flags: vec![cause("off")],
        reset_kill_switches: vec!["em-k".into()],
        ..Default::default()
    };
    replica.flags.apply_flags(meant).await.unwrap();
    assert_eq!(evaluate(&mut replica, "em-g").await.variant, "on");
    replica.stop().await;
}

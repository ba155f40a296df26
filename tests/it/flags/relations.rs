//! What flags mean to each other: kill switches, prerequisites, exclusion; and what would break them.

use tenantry::proto::v1;
use tonic::Status;
use tonic_types::StatusExt as _;

use super::{boolean, evaluate, with_flag};
use crate::support::{Replica, reason};

async fn create(replica: &mut Replica, flag: v1::Flag) -> Result<v1::Flag, Status> {
    let request = v1::CreateFlagRequest { flag: Some(flag), ..Default::default() };
    replica.flags.create_flag(request).await.map(tonic::Response::into_inner)
}

async fn update(replica: &mut Replica, flag: v1::Flag, path: &str) -> Result<v1::Flag, Status> {
    let update_mask = Some(prost_types::FieldMask { paths: vec![path.to_owned()] });
    let request = v1::UpdateFlagRequest { flag: Some(flag), update_mask, ..Default::default() };
    replica.flags.update_flag(request).await.map(tonic::Response::into_inner)
}

fn needs(flag: &str, variant: &str) -> Vec<v1::Prerequisite> {
    vec![v1::Prerequisite { flag_key: flag.into(), variants: vec![variant.into()] }]
}

fn on(key: &str) -> v1::Flag {
    v1::Flag { default_variant: "on".into(), ..boolean(key) }
}

#[tokio::test]
async fn a_kill_switch_turns_a_flag_off_over_every_override_and_back_on() {
    let mut replica = with_flag().await;
    let switch = v1::Flag { kind: v1::FlagKind::KillSwitch.into(), ..boolean("kill-search") };
    create(&mut replica, switch).await.unwrap();
    let guarded = v1::Flag { kill_switch: "kill-search".into(), ..boolean("search") };
    update(&mut replica, guarded, "kill_switch").await.unwrap();
    replica.flags.set_tenant_override(super::set_tenant("on")).await.unwrap();
    assert_eq!(evaluate(&mut replica, "search").await.variant, "on");

    let thrown = v1::Flag { default_variant: "on".into(), ..boolean("kill-search") };
    update(&mut replica, thrown, "default_variant").await.unwrap();
    let killed = evaluate(&mut replica, "search").await;
    assert_eq!((killed.layer(), killed.variant.as_str()), (v1::FlagLayer::KillSwitch, "off"));

    let back = v1::Flag { default_variant: "off".into(), ..boolean("kill-search") };
    update(&mut replica, back, "default_variant").await.unwrap();
    assert_eq!(evaluate(&mut replica, "search").await.layer(), v1::FlagLayer::TenantOverride);
    replica.stop().await;
}

/// Whoever threw it was told nothing, and the guarded flag stayed on.
#[tokio::test]
async fn a_thrown_switch_that_turns_nothing_off_says_so() {
    let mut replica = with_flag().await;
    let switch = v1::Flag {
        kind: v1::FlagKind::KillSwitch.into(),
        prerequisites: needs("search", "on"),
        ..boolean("kill-search")
    };
    let made = create(&mut replica, switch).await.unwrap();
    assert_eq!(made.warnings, [""; 0]);
    let thrown = v1::Flag { default_variant: "on".into(), ..boolean("kill-search") };
    let thrown = update(&mut replica, thrown, "default_variant").await.unwrap();
    assert_eq!(
        thrown.warnings,
        ["it is thrown by its default and turns nothing off: PREREQUISITE decides first"]
    );
    update(&mut replica, on("search"), "default_variant").await.unwrap();
    let request = v1::GetFlagRequest { flag_key: "kill-search".into() };
    let seen = replica.flags.get_flag(request).await.unwrap().into_inner();
    assert_eq!(seen.warnings, [""; 0]);
    replica.stop().await;
}

#[tokio::test]
async fn only_a_boolean_flag_of_the_kind_can_be_a_kill_switch() {
    let mut replica = with_flag().await;
    let guarded = v1::Flag { kill_switch: "search".into(), ..boolean("export") };
    let error = create(&mut replica, guarded).await.unwrap_err();
    assert_eq!(reason(&error), "INVALID_FIELD");
    assert_eq!(crate::support::fields(&error), ["flag.kill_switch"]);
    assert!(error.message().contains("is of the type BOOLEAN and the kind RELEASE"), "{error:?}");
    replica.stop().await;
}

/// A text could be made a kill switch, and was refused as none where it should turn something off.
#[tokio::test]
async fn a_flag_that_is_no_boolean_cannot_be_of_the_kind_kill_switch() {
    let mut replica = with_flag().await;
    let text = v1::Flag {
        flag_key: "text".into(),
        r#type: v1::FlagType::String.into(),
        variants: [("a".to_owned(), crate::openfeature::proto(&serde_json::json!("x")))].into(),
        ..Default::default()
    };
    let switch = v1::Flag { kind: v1::FlagKind::KillSwitch.into(), ..text.clone() };
    let error = create(&mut replica, switch.clone()).await.unwrap_err();
    assert_eq!(crate::support::fields(&error), ["flag.kind"], "{error:?}");
    create(&mut replica, text).await.unwrap();
    let error = update(&mut replica, switch, "kind").await.unwrap_err();
    assert_eq!(crate::support::fields(&error), ["flag.kind"], "{error:?}");
    assert!(error.message().contains("such a flag is boolean, and this one is a string"), "{error:?}");
    replica.stop().await;
}

#[tokio::test]
async fn a_flag_without_what_it_needs_is_off_and_a_circle_is_refused_with_its_path() {
    let mut replica = with_flag().await;
    create(&mut replica, v1::Flag { prerequisites: needs("search", "on"), ..on("export") }).await.unwrap();
    let unmet = evaluate(&mut replica, "export").await;
    assert_eq!((unmet.layer(), unmet.variant.as_str()), (v1::FlagLayer::Prerequisite, "off"));
    replica.flags.set_tenant_override(super::set_tenant("on")).await.unwrap();
    assert_eq!(evaluate(&mut replica, "export").await.variant, "on");

    let closing = v1::Flag { prerequisites: needs("export", "on"), ..boolean("search") };
    let error = update(&mut replica, closing, "prerequisites").await.unwrap_err();
    assert_eq!(reason(&error), "DEPENDENCY_CYCLE");
    assert!(error.message().contains("search → export → search"), "{error:?}");
    let missing = v1::Flag { prerequisites: needs("nobody", "on"), ..boolean("other") };
    assert_eq!(reason(&create(&mut replica, missing).await.unwrap_err()), "FLAG_NOT_FOUND");
    let gone = v1::Flag { prerequisites: needs("search", "maybe"), ..boolean("other") };
    assert_eq!(reason(&create(&mut replica, gone).await.unwrap_err()), "VARIANT_NOT_FOUND");
    replica.stop().await;
}

/// Whoever was refused saw three keys, and not which of a flag's relations to take back.
#[tokio::test]
async fn a_circle_is_refused_with_the_relation_of_each_of_its_steps() {
    let mut replica = with_flag().await;
    let switch = v1::Flag { kind: v1::FlagKind::KillSwitch.into(), ..boolean("stop") };
    create(&mut replica, switch.clone()).await.unwrap();
    let grouped = |key: &str| v1::Flag { conflict_groups: vec!["checkout".into()], ..on(key) };
    create(&mut replica, v1::Flag { priority: 5, ..grouped("first") }).await.unwrap();
    create(&mut replica, v1::Flag { kill_switch: "stop".into(), ..grouped("second") }).await.unwrap();
    let guarded = v1::Flag { kill_switch: "stop".into(), ..boolean("first") };
    update(&mut replica, guarded, "kill_switch").await.unwrap();
    let closing = v1::Flag { prerequisites: needs("second", "on"), ..switch };
    let error = update(&mut replica, closing, "prerequisites").await.unwrap_err();
    assert_eq!(reason(&error), "DEPENDENCY_CYCLE");
    let metadata = error.get_details_error_info().unwrap().metadata;
    // By the kill switch of either, whichever is met first.
    assert_eq!(metadata["path"], "stop → second → stop");
    assert_eq!(metadata["relations"], "prerequisite,kill_switch");
    assert_eq!(
        error.message(),
        "flags cannot hang on each other in a circle: stop → second → stop; \
         \"stop\" has \"second\" as a prerequisite, \"second\" has \"stop\" as its kill switch"
    );

    let other = v1::Flag { prerequisites: needs("second", "on"), ..boolean("first") };
    let error = update(&mut replica, other, "prerequisites").await.unwrap_err();
    let metadata = error.get_details_error_info().unwrap().metadata;
    assert_eq!(metadata["path"], "first → second → first");
    assert_eq!(metadata["relations"], "prerequisite,conflict_group:checkout");
    assert!(
        error.message().ends_with("\"second\" comes after \"first\" in the conflict group \"checkout\""),
        "{error:?}"
    );
    replica.stop().await;
}

/// It was cut in the middle of a name, and the last one, which closes the circle, was not in it.
#[tokio::test]
async fn a_long_circle_is_refused_with_its_beginning_and_its_end() {
    let mut replica = with_flag().await;
    let long = "team-checkout.service-payment-provider.new-three-d-secure-flow-for-returning-customers";
    for (name, count) in [(long, 3), ("short", 100)] {
        let key = |place: usize| format!("{name}-{place}");
        let needed = |place: usize| match place {
            0 => Vec::new(),
            place => needs(&key(place - 1), "on"),
        };
        let flag = |place| v1::Flag { prerequisites: needed(place), ..boolean(&key(place)) };
        let set = v1::ApplyFlagsRequest { flags: (0..count).map(flag).collect(), ..Default::default() };
        replica.flags.apply_flags(set).await.unwrap();
        let closing = v1::Flag { prerequisites: needs(&key(count - 1), "on"), ..boolean(&key(0)) };
        let error = update(&mut replica, closing, "prerequisites").await.unwrap_err();
        let metadata = error.get_details_error_info().unwrap().metadata;
        let names: Vec<_> = metadata["path"].split(" → ").collect();
        assert_eq!((names[0], names.last()), (&*key(0), Some(&&*key(0))), "{metadata:?}");
        assert!(names.contains(&"…"), "{metadata:?}");
        let known = |name: &&str| *name == "…" || (0..count).any(|place| key(place) == *name);
        assert!(names.iter().all(known), "{metadata:?}");
        let mut relations = metadata["relations"].split(',');
        assert!(relations.all(|relation| ["…", "prerequisite"].contains(&relation)), "{metadata:?}");
        let last = format!("\"{}\" has \"{}\" as a prerequisite", key(1), key(0));
        assert!(error.message().ends_with(&last), "{error:?}");
        assert!(error.message().contains(&metadata["path"]), "{error:?}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn two_changes_that_would_close_a_circle_together_do_not_both_succeed() {
    let mut replica = with_flag().await;
    for round in 0..10 {
        let (one, two) = (format!("one{round}"), format!("two{round}"));
        create(&mut replica, boolean(&one)).await.unwrap();
        create(&mut replica, boolean(&two)).await.unwrap();
        let request = |from: &str, to: &str| v1::UpdateFlagRequest {
            flag: Some(v1::Flag { prerequisites: needs(to, "on"), ..boolean(from) }),
            update_mask: Some(prost_types::FieldMask { paths: vec!["prerequisites".into()] }),
            ..Default::default()
        };
        let (mut left, mut right) = (replica.flags.clone(), replica.flags.clone());
        let (there, back) = (request(&one, &two), request(&two, &one));
        let (left, right) = tokio::join!(left.update_flag(there), right.update_flag(back));
        let refused: Vec<_> = [left, right].into_iter().filter_map(Result::err).collect();
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(reason(&refused[0]), "DEPENDENCY_CYCLE");
    }
    replica.stop().await;
}

#[tokio::test]
async fn what_would_break_a_dependent_is_refused_unless_forced() {
    let mut replica = with_flag().await;
    create(&mut replica, v1::Flag { prerequisites: needs("search", "on"), ..on("export") }).await.unwrap();
    create(&mut replica, v1::Flag { prerequisites: needs("export", "on"), ..on("archive") }).await.unwrap();
    let list = v1::ListDependentsRequest { flag_key: "search".into(), ..Default::default() };
    let listed = replica.flags.list_dependents(list).await.unwrap().into_inner().dependents;
    let shown: Vec<_> = listed.iter().map(|it| (it.flag_key.as_str(), it.needs.as_str())).collect();
    assert_eq!(shown, [("archive", "export"), ("export", "search")]);

    let disabled = v1::Flag { state: v1::FlagState::Disabled.into(), ..boolean("search") };
    let error = update(&mut replica, disabled, "state").await.unwrap_err();
    assert_eq!(reason(&error), "DEPENDENTS_WOULD_BREAK");
    assert!(error.message().contains("\"export\" needs \"search\""), "{error:?}");
    let archive = |force| v1::ArchiveFlagRequest { flag_key: "search".into(), force, ..Default::default() };
    let error = replica.flags.archive_flag(archive(false)).await.unwrap_err();
    assert_eq!(reason(&error), "DEPENDENTS_WOULD_BREAK");
    let delete = |force| v1::DeleteFlagRequest { flag_key: "search".into(), force, ..Default::default() };
    let error = replica.flags.delete_flag(delete(false)).await.unwrap_err();
    assert_eq!(reason(&error), "DEPENDENTS_WOULD_BREAK");
    replica.flags.delete_flag(delete(true)).await.unwrap();
    let broken = evaluate(&mut replica, "export").await;
    assert_eq!((broken.layer(), broken.variant.as_str()), (v1::FlagLayer::Prerequisite, "off"));
    replica.stop().await;
}

#[tokio::test]
async fn of_the_flags_of_a_group_the_one_with_the_highest_priority_is_on() {
    let mut replica = with_flag().await;
    let member =
        |key: &str, priority| v1::Flag { conflict_groups: vec!["ranking".into()], priority, ..on(key) };
    create(&mut replica, member("classic", 1)).await.unwrap();
    create(&mut replica, member("neural", 2)).await.unwrap();
    assert_eq!(evaluate(&mut replica, "neural").await.variant, "on");
    let lost = evaluate(&mut replica, "classic").await;
    assert_eq!((lost.layer(), lost.variant.as_str()), (v1::FlagLayer::Conflict, "off"));
    // Off for this tenant alone, the next one wins.
    let own = v1::SetTenantOverrideRequest { flag_key: "neural".into(), ..super::set_tenant("off") };
    replica.flags.set_tenant_override(own).await.unwrap();
    assert_eq!(evaluate(&mut replica, "classic").await.variant, "on");
    replica.stop().await;
}

#[tokio::test]
async fn a_flag_whose_kill_switch_was_deleted_by_force_is_off_and_can_still_be_changed() {
    let mut replica = with_flag().await;
    let switch = v1::Flag { kind: v1::FlagKind::KillSwitch.into(), ..on("stop") };
    create(&mut replica, switch.clone()).await.unwrap();
    let guarded = v1::Flag { kill_switch: "stop".into(), ..on("guarded") };
    create(&mut replica, guarded.clone()).await.unwrap();
    let seen = |answer: v1::EvaluateFlagResponse| (answer.layer(), answer.variant);
    let killed = (v1::FlagLayer::KillSwitch, "off".to_owned());
    assert_eq!(seen(evaluate(&mut replica, "guarded").await), killed);

    let delete = |force| v1::DeleteFlagRequest { flag_key: "stop".into(), force, ..Default::default() };
    let error = replica.flags.delete_flag(delete(false)).await.unwrap_err();
    assert_eq!(reason(&error), "DEPENDENTS_WOULD_BREAK");
    assert!(error.message().contains("would be gone and leave it off"), "{error:?}");
    replica.flags.delete_flag(delete(true)).await.unwrap();
    assert_eq!(seen(evaluate(&mut replica, "guarded").await), killed);
    let question = v1::ExplainFlagRequest {
        tenant_id: "finance".into(),
        flag_key: "guarded".into(),
        ..Default::default()
    };
    let told = replica.flags.explain_flag(question).await.unwrap().into_inner();
    let decided: Vec<_> = told.layers.iter().filter(|layer| layer.decided).collect();
    assert_eq!(decided[0].layer(), v1::FlagLayer::KillSwitch);
    assert!(decided[0].detail.contains("The kill switch stop is missing"), "{decided:?}");

    // What is missing may stay so, and nothing else that is missing may be named.
    let owned = v1::Flag { owner: "core".into(), ..guarded.clone() };
    update(&mut replica, owned, "owner").await.unwrap();
    let worse = v1::Flag { kill_switch: "nobody".into(), ..guarded.clone() };
    let error = update(&mut replica, worse, "kill_switch").await.unwrap_err();
    assert_eq!(reason(&error), "FLAG_NOT_FOUND");
    assert_eq!(crate::support::fields(&error), ["flag.kill_switch"], "{error:?}");
    let worse = v1::Flag { prerequisites: needs("nobody", "on"), ..guarded.clone() };
    let error = update(&mut replica, worse, "prerequisites").await.unwrap_err();
    assert_eq!(reason(&error), "FLAG_NOT_FOUND");
    assert_eq!(crate::support::fields(&error), ["flag.prerequisites[0].flag_key"], "{error:?}");
    create(&mut replica, v1::Flag { default_variant: "off".into(), ..switch }).await.unwrap();
    assert_eq!(evaluate(&mut replica, "guarded").await.variant, "on");
    replica.flags.delete_flag(delete(true)).await.unwrap();
    let cleared = v1::Flag { kill_switch: String::new(), ..guarded };
    update(&mut replica, cleared, "kill_switch").await.unwrap();
    assert_eq!(evaluate(&mut replica, "guarded").await.variant, "on");
    replica.stop().await;
}

#[tokio::test]
async fn a_group_or_a_variant_that_is_named_twice_is_refused_by_its_place() {
    let mut replica = with_flag().await;
    let twice = |name: &str| vec![name.to_owned(), "off".to_owned(), name.to_owned()];
    let grouped = v1::Flag { conflict_groups: twice("checkout"), ..boolean("twice") };
    let error = create(&mut replica, grouped).await.unwrap_err();
    assert_eq!(crate::support::fields(&error), ["flag.conflict_groups[2]"], "{error:?}");
    let needed = vec![v1::Prerequisite { flag_key: "search".into(), variants: twice("on") }];
    let error =
        create(&mut replica, v1::Flag { prerequisites: needed, ..boolean("twice") }).await.unwrap_err();
    assert_eq!(crate::support::fields(&error), ["flag.prerequisites[0].variants[2]"], "{error:?}");
    replica.stop().await;
}

#[tokio::test]
async fn a_flag_whose_kill_switch_was_disabled_or_archived_by_force_is_off_until_it_is_back() {
    let mut replica = with_flag().await;
    let switch = v1::Flag { kind: v1::FlagKind::KillSwitch.into(), ..boolean("stop") };
    create(&mut replica, switch.clone()).await.unwrap();
    create(&mut replica, v1::Flag { kill_switch: "stop".into(), ..on("guarded") }).await.unwrap();
    assert_eq!(evaluate(&mut replica, "guarded").await.variant, "on");
    let set = |state: v1::FlagState, force| v1::UpdateFlagRequest {
        flag: Some(v1::Flag { state: state.into(), ..switch.clone() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["state".into()] }),
        force,
        ..Default::default()
    };
    for state in [v1::FlagState::Disabled, v1::FlagState::Archived] {
        let error = replica.flags.update_flag(set(state, false)).await.unwrap_err();
        assert_eq!(reason(&error), "DEPENDENTS_WOULD_BREAK");
        assert!(error.message().contains("would not be in use and leave it off"), "{error:?}");
        replica.flags.update_flag(set(state, true)).await.unwrap();
        let killed = evaluate(&mut replica, "guarded").await;
        assert_eq!(
            (killed.layer(), killed.variant.as_str()),
            (v1::FlagLayer::KillSwitch, "off"),
            "{state:?}"
        );
        replica.flags.update_flag(set(v1::FlagState::Enabled, false)).await.unwrap();
        assert_eq!(evaluate(&mut replica, "guarded").await.variant, "on");
    }
    replica.stop().await;
}

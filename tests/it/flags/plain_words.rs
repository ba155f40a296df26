//! What the flag commands say to people: refusals in the words that were typed, and what did not happen.

use tenantry::proto::v1;

use super::apply::{tenantry, text};
use super::command_line::{refused, said};
use super::{boolean, with_flag};
use crate::support::Replica;

async fn flag(replica: &mut Replica, flag_key: &str) -> v1::Flag {
    let request = v1::GetFlagRequest { flag_key: flag_key.into() };
    replica.flags.get_flag(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_refusal_names_the_options_and_commands_that_are_typed() {
    let replica = with_flag().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flags.yaml");
    std::fs::write(&file, "flags: {search: {type: boolean, killSwitch: nothing}}\n").unwrap();
    let file = file.to_str().unwrap();
    let why =
        refused(&replica, &["flag", "apply", "--yes", "--reset-kill-switches", "nobody", "-f", file], 2)
            .await;
    assert!(why.contains("--reset-kill-switches[0]: must be") && !why.contains("reset_kill"), "{why}");
    let why = refused(&replica, &["flag", "apply", "--yes", "-f", file], 3).await;
    assert!(why.contains("flags.search.kill_switch: "), "what is in a file stays: {why}");
    let why = refused(&replica, &["flag", "update", "search", "--kill-switch", "nobody"], 3).await;
    assert!(why.contains("--kill-switch: there is no flag"), "{why}");
    let past = ["flag", "update", "search", "--expires", "2020-01-01T00:00:00Z"];
    let why = refused(&replica, &past, 2).await;
    assert!(why.contains("--expires: must lie in the future"), "{why}");
    let why = refused(&replica, &["tenant", "update", "finance", "--tier", "silver"], 4).await;
    assert!(why.contains("is changed by `tenantry tenant change-tier`, which"), "{why}");
    let why = refused(&replica, &["tenant", "delete", "finance"], 4).await;
    assert!(why.contains("cannot take `tenantry tenant delete`: "), "{why}");
    replica.stop().await;
}

#[tokio::test]
async fn an_update_that_changes_nothing_says_so_and_a_reason_that_is_not_kept_is_told() {
    let mut replica = with_flag().await;
    let before = flag(&mut replica, "search").await;
    let end = before.expire_time.unwrap().to_string();
    let update = ["flag", "update", "search", "--reason", "the launch slipped"];
    let told = said(&replica, &[&update[..], &["--expires", &end]].concat()).await;
    assert!(told.contains("nothing changed: flag search is so already"), "{told}");
    assert!(told.contains("--reason is not kept"), "{told}");
    assert_eq!(flag(&mut replica, "search").await, before, "no change was made");
    let told = said(&replica, &[&update[..], &["--expires", &end, "--default", "on"]].concat()).await;
    assert!(told.contains("--reason is not kept") && !told.contains("nothing changed"), "{told}");
    assert!(flag(&mut replica, "search").await.extensions.is_empty());
    let told = said(&replica, &[&update[..], &["--expires", "2099-01-01T00:00:00Z"]].concat()).await;
    assert!(!told.contains("not kept") && !told.contains("nothing changed"), "{told}");
    assert_eq!(flag(&mut replica, "search").await.extensions[0].reason, "the launch slipped");
    replica.stop().await;
}

#[tokio::test]
async fn a_dry_run_tells_a_pipeline_by_its_exit_code_whether_there_are_differences() {
    let replica = with_flag().await;
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours.yaml"), folder.path().join("theirs.json"));
    std::fs::write(&ours, "flags: {fresh: {type: boolean}}\n").unwrap();
    let foreign =
        r#"{"flags": {"foreign": {"state": "ENABLED", "variants": {"a": true}, "defaultVariant": "a"}}}"#;
    std::fs::write(&theirs, foreign).unwrap();
    let apply = ["flag", "apply", "-f", ours.to_str().unwrap()];
    let import = ["flag", "import", "--format", "flagd", theirs.to_str().unwrap()];
    for command in [&apply[..], &import] {
        said(&replica, &[command, &["--dry-run"]].concat()).await;
        for format in ["table", "json"] {
            let asked = [command, &["--dry-run", "--exit-code", "-o", format]].concat();
            let told = refused(&replica, &asked, 8).await;
            assert!(told.contains("differs from what is given"), "{told}");
        }
        refused(&replica, &[command, &["--yes", "--exit-code"]].concat(), 2).await;
        said(&replica, &[command, &["--yes"]].concat()).await;
        said(&replica, &[command, &["--dry-run", "--exit-code"]].concat()).await;
    }
    let help = tenantry(&replica, &["flag", "apply", "--help"]).await;
    assert!(text(&help).contains("8 "), "{}", text(&help));
    replica.stop().await;
}

#[tokio::test]
async fn a_plan_names_the_flags_of_others_that_use_a_segment_that_it_changes() {
    let replica = with_flag().await;
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, content).unwrap();
        file.display().to_string()
    };
    let segment = |region: &str| {
        format!(
            "segments: {{home: {{conditions: [{{attribute: region, operator: in, values: [{region}]}}]}}}}\n"
        )
    };
    let uses = |key: &str| {
        format!(
            "flags: {{{key}: {{type: boolean, rules: [{{conditions: [{{operator: in segment, values: [home]}}], variant: 'on'}}]}}}}\n"
        )
    };
    let first = write("first.yaml", &(segment("eu") + &uses("ours")));
    said(&replica, &["flag", "apply", "--yes", "-f", &first]).await;
    let second = write("second.yaml", &(segment("us") + &uses("theirs")));
    let plan = said(&replica, &["flag", "apply", "--dry-run", "-f", &second]).await;
    assert!(
        plan.contains("~ segment home\n") && plan.contains("1 other flags hang on what changes (ours)"),
        "{plan}"
    );

    let flagd = |key: &str, region: &str| {
        format!(
            r#"{{"flags": {{"{key}": {{"state": "ENABLED", "variants": {{"a": true, "b": false}}, "defaultVariant": "a",
                "targeting": {{"if": [{{"$ref": "home"}}, "b"]}}}}}},
                "$evaluators": {{"home": {{"==": [{{"var": "region"}}, "{region}"]}}}}}}"#
        )
    };
    let first = write("first.json", &flagd("mine", "eu"));
    said(&replica, &["flag", "import", "--format", "flagd", "--yes", &first]).await;
    let second = write("second.json", &flagd("yours", "us"));
    let plan = said(&replica, &["flag", "import", "--format", "flagd", "--dry-run", &second]).await;
    assert!(plan.contains("1 other flags hang on what changes (mine)"), "{plan}");
    replica.stop().await;
}

#[tokio::test]
async fn times_and_attributes_that_are_none_are_refused_with_their_option_and_lists_have_blanks() {
    let mut replica = with_flag().await;
    for command in [
        &["flag", "update", "search", "--expires", "30d"][..],
        &["flag", "create", "fresh", "--expires", "2027-13-01"],
        &["flag", "set-tenant", "search", "finance", "on", "--expires", "tomorrow"],
        &["tenant", "suspend", "finance", "--at", "3h"],
    ] {
        let why = refused(&replica, command, 2).await;
        assert!(why.contains("must be a time such as 2027-01-31T00:00:00Z"), "{command:?}: {why}");
        assert!(why.contains(command[command.len() - 2]), "{command:?}: {why}");
    }
    let later = ["flag", "rollout", "search", "on=1,off=1", "--then", "tomorrow on=1,off=0"];
    let why = refused(&replica, &later, 2).await;
    assert!(why.contains("--then ") && why.contains("such as 2027-01-31T00:00:00Z"), "{why}");
    for command in [
        &["flag", "rollout", "search", "on=1,off=1", "--bucket-by", ""][..],
        &["flag", "set-tier", "search", "gold", "--rollout", "on=1,off=1", "--bucket-by", ""],
    ] {
        let why = refused(&replica, command, 2).await;
        assert!(why.contains("--bucket-by <ATTRIBUTE>"), "{command:?}: {why}");
    }
    let with_offset = ["flag", "update", "search", "--expires", "2099-01-01T02:00:00+02:00"];
    said(&replica, &with_offset).await;
    assert_eq!(flag(&mut replica, "search").await.expire_time.unwrap().to_string(), "2099-01-01T00:00:00Z");

    let uses = v1::Condition {
        operator: v1::ConditionOperator::InSegment.into(),
        values: vec![prost_types::Value::from("eu".to_owned())],
        ..Default::default()
    };
    said(&replica, &["flag", "segment", "create", "eu", "--logic", r#"{"==": [{"var": "region"}, "eu"]}"#])
        .await;
    for key in ["ca", "multi"] {
        let rule =
            v1::TargetingRule { conditions: vec![uses.clone()], variant: "on".into(), ..Default::default() };
        let request = v1::CreateFlagRequest {
            flag: Some(v1::Flag { rules: vec![rule], ..boolean(key) }),
            ..Default::default()
        };
        replica.flags.create_flag(request).await.unwrap();
    }
    let why = refused(&replica, &["flag", "segment", "delete", "eu"], 4).await;
    assert!(why.contains("the rules of ca, multi ["), "{why}");
    replica.stop().await;
}

#[tokio::test]
async fn a_preview_of_an_archival_says_what_would_happen() {
    let replica = with_flag().await;
    said(&replica, &["flag", "update", "search", "--default", "on"]).await;
    let plan = said(&replica, &["flag", "archive", "search", "--dry-run"]).await;
    let expected = "~ flag search\n    state: ARCHIVED\n1 of 1 tenants would see something else";
    assert!(plan.starts_with(expected), "{plan}");
    let asked = refused(&replica, &["flag", "archive", "search"], 2).await;
    assert!(asked.starts_with(expected), "{asked}");
    replica.stop().await;
}

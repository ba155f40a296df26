//! Mistakes in a set, told where they are.

use tenantry::proto::v1;
use tonic_types::StatusExt as _;

use super::apply::{tenantry, text};
use super::{boolean, with_flag};
use crate::support::{Replica, fields, reason};

fn of_logic(name: &str, logic: &str) -> v1::Segment {
    v1::Segment { segment_name: name.into(), logic: logic.into(), ..Default::default() }
}

fn in_segment(name: &str, other: &str) -> v1::Segment {
    let condition = v1::Condition {
        operator: v1::ConditionOperator::InSegment.into(),
        values: vec![prost_types::Value::from(other)],
        ..Default::default()
    };
    v1::Segment { segment_name: name.into(), conditions: vec![condition], ..Default::default() }
}

async fn refused(replica: &mut Replica, segments: Vec<v1::Segment>) -> tonic::Status {
    let set = v1::ApplyFlagsRequest { segments, validate_only: true, ..Default::default() };
    replica.flags.apply_flags(set).await.unwrap_err()
}

/// They were all told of `segment.logic`, which no set has.
#[tokio::test]
async fn a_mistake_in_a_segment_of_a_set_is_told_with_its_place() {
    let mut replica = with_flag().await;
    let bad = of_logic("bad", r#"{"foo": [1]}"#);
    let error = refused(&mut replica, vec![of_logic("ok1", "true"), bad.clone()]).await;
    assert_eq!(fields(&error), ["segments[1].logic"]);
    assert!(error.message().ends_with(r#"cannot be used: at foo: there is no operator "foo""#), "{error:?}");

    // Not the one that uses it, though its name comes first.
    let error = refused(&mut replica, vec![of_logic("a", r#"{"$ref": "bad"}"#), bad]).await;
    assert_eq!(fields(&error), ["segments[1].logic"], "{error:?}");

    // It may have been given either way.
    for missing in [in_segment("bad", "nope"), of_logic("bad", r#"{"$ref": "nope"}"#)] {
        let error = refused(&mut replica, vec![of_logic("ok1", "true"), missing]).await;
        assert_eq!(reason(&error), "SEGMENT_NOT_FOUND");
        assert_eq!(fields(&error), ["segments[1]"], "{error:?}");
        assert!(error.message().ends_with(r#"there is no segment "nope""#), "{error:?}");
        assert_eq!(error.get_details_error_info().unwrap().metadata["segment_name"], "nope");
    }

    let circle = vec![in_segment("a1", "a2"), in_segment("a2", "a1")];
    let error = refused(&mut replica, circle).await;
    assert_eq!(reason(&error), "DEPENDENCY_CYCLE");
    assert_eq!(error.get_details_error_info().unwrap().metadata["path"], "a1 → a2 → a1", "{error:?}");
    replica.stop().await;
}

#[tokio::test]
async fn a_tier_default_of_a_flag_that_is_not_in_the_set_is_told_with_its_place() {
    let mut replica = with_flag().await;
    let of_tier = |flag_key: &str| v1::apply_flags_request::TierSetting {
        flag_key: flag_key.into(),
        tier_id: "gold".into(),
        variant: "on".into(),
        rollout: None,
    };
    let set = v1::ApplyFlagsRequest {
        flags: vec![boolean("search")],
        tier_defaults: vec![of_tier("search"), of_tier("stray")],
        ..Default::default()
    };
    let error = replica.flags.apply_flags(set).await.unwrap_err();
    assert_eq!(fields(&error), ["tier_defaults[1].flag_key"]);
    replica.stop().await;
}

#[tokio::test]
async fn a_mistake_in_a_segment_of_a_file_is_told_with_its_name_and_the_file() {
    let replica = with_flag().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("set.yaml");
    for (segment, place) in [
        ("{logic: {foo: [1]}}", "segments.bad.logic: cannot be used: at foo:"),
        ("{conditions: [{operator: in segment, values: [nope]}]}", "segments.bad: there is no segment"),
    ] {
        std::fs::write(&file, format!("segments:\n  fine: {{logic: true}}\n  bad: {segment}\n")).unwrap();
        let done = tenantry(&replica, &["flag", "apply", "--dry-run", "-f", file.to_str().unwrap()]).await;
        let said = text(&done);
        assert!(!done.status.success() && said.contains(&format!("set.yaml: {place}")), "{said}");
    }
    replica.stop().await;
}

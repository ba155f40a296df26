//! What a change takes with it or reaches: whoever makes it is told beforehand, and what is gone also afterwards.

use tenantry::proto::v1;
use tonic_types::StatusExt as _;

use super::command_line::said;
use super::{boolean, set_tenant, set_tier, with_flag};
use crate::support::{Replica, reason};

async fn create(replica: &mut Replica, flag: v1::Flag) {
    let request = v1::CreateFlagRequest { flag: Some(flag), ..Default::default() };
    replica.flags.create_flag(request).await.unwrap();
}

/// The flag `search`, on for the tier gold and for finance, and `export`, which needs it.
async fn with_guests() -> Replica {
    let mut replica = with_flag().await;
    replica.tenant("marketing").await;
    replica.flags.set_tier_default(set_tier("on")).await.unwrap();
    replica.flags.set_tenant_override(set_tenant("on")).await.unwrap();
    let needs = v1::Prerequisite { flag_key: "search".into(), variants: vec!["on".into()] };
    let export = v1::Flag { prerequisites: vec![needs], default_variant: "on".into(), ..boolean("export") };
    create(&mut replica, export).await;
    replica
}

fn guests(dependents: &[&str]) -> v1::FlagRemoval {
    let [flag_key, tenant_id, tier_id, variant] = ["search", "finance", "gold", "on"].map(str::to_owned);
    let own = v1::flag_removal::Override { flag_key: flag_key.clone(), tenant_id, variant: variant.clone() };
    v1::FlagRemoval {
        overrides: vec![own],
        overrides_total: 1,
        tier_defaults: vec![v1::flag_removal::Default { flag_key, tier_id, variant }],
        tier_defaults_total: 1,
        dependents: dependents.iter().map(|&key| key.to_owned()).collect(),
        dependents_total: i64::try_from(dependents.len()).unwrap(),
    }
}

#[tokio::test]
async fn a_deletion_tells_whose_overrides_and_defaults_go_with_the_flag_and_what_hung_on_it() {
    let mut replica = with_guests().await;
    let delete = |validate_only| v1::DeleteFlagRequest {
        flag_key: "search".into(),
        force: true,
        validate_only,
        request_id: if validate_only { String::new() } else { uuid::Uuid::now_v7().to_string() },
        ..Default::default()
    };
    let tried = replica.flags.delete_flag(delete(true)).await.unwrap().into_inner();
    assert_eq!(tried.removed, Some(guests(&["export"])));
    let impact = tried.impact.unwrap();
    assert_eq!((impact.tenants_affected, impact.tenants), (2, vec!["finance".into(), "marketing".into()]));
    assert_eq!(impact.dependents, ["export"]);
    let lost = impact.examples.iter().find(|it| it.flag_key == "search").unwrap();
    assert_eq!((lost.variant_before.as_str(), lost.variant_after.as_str()), ("on", ""));
    let value = |on| Some(prost_types::Value { kind: Some(prost_types::value::Kind::BoolValue(on)) });
    assert_eq!((&lost.value_before, &lost.value_after), (&value(true), &value(false)));

    let request = delete(false);
    let made = replica.flags.delete_flag(request.clone()).await.unwrap().into_inner();
    assert_eq!((&made.removed, &made.impact), (&Some(guests(&["export"])), &None));
    let again = replica.flags.delete_flag(request).await.unwrap().into_inner();
    assert_eq!(again, made, "who repeats the request hears the same");
    replica.stop().await;
}

#[tokio::test]
async fn what_pruning_takes_with_it_is_told_by_a_set_and_by_an_import() {
    let mut replica = with_guests().await;
    let apply = |validate_only| v1::ApplyFlagsRequest {
        flags: vec![boolean("other")],
        prune: true,
        validate_only,
        ..Default::default()
    };
    let content = r#"{"flags": {"export": {"variants": {"on": true, "off": false}}}}"#.to_owned();
    let import = v1::ImportFlagsRequest { content, prune: true, validate_only: true, ..Default::default() };
    let error = replica.flags.import_flags(import.clone()).await.unwrap_err();
    assert_eq!(reason(&error), "DEPENDENTS_WOULD_BREAK", "export keeps what it needs");
    let import = v1::ImportFlagsRequest { force: true, ..import };
    let tried = replica.flags.import_flags(import).await.unwrap().into_inner();
    assert_eq!(tried.removed, Some(guests(&["export"])), "it stays, and needs the other");
    assert_eq!(tried.impact.unwrap().tenants, ["finance", "marketing"]);
    let tried = replica.flags.apply_flags(apply(true)).await.unwrap().into_inner();
    assert_eq!(tried.removed, Some(guests(&[])), "both go");
    let made = replica.flags.apply_flags(apply(false)).await.unwrap().into_inner();
    assert_eq!(made.removed, tried.removed);
    let nothing = replica.flags.apply_flags(apply(false)).await.unwrap().into_inner();
    assert_eq!(nothing.removed, None);
    replica.stop().await;
}

#[tokio::test]
async fn a_change_of_a_segment_that_is_only_tried_tells_the_flags_and_tenants_that_it_reaches() {
    let mut replica = with_flag().await;
    let segment = |tiers: &str| v1::Segment {
        segment_name: "paying".into(),
        logic: format!(r#"{{"in": [{{"var": "tier"}}, {tiers}]}}"#),
        ..Default::default()
    };
    let request =
        v1::CreateSegmentRequest { segment: Some(segment(r#"["platinum"]"#)), ..Default::default() };
    replica.flags.create_segment(request).await.unwrap();
    let logic = r#"{"if": [{"$ref": "paying"}, "on", null]}"#.to_owned();
    let rules = vec![v1::TargetingRule { logic, ..Default::default() }];
    create(&mut replica, v1::Flag { rules, ..boolean("beta") }).await;
    let needs = v1::Prerequisite { flag_key: "beta".into(), variants: vec!["on".into()] };
    let above = v1::Flag { prerequisites: vec![needs], default_variant: "on".into(), ..boolean("above") };
    create(&mut replica, above).await;

    let update = |validate_only| v1::UpdateSegmentRequest {
        segment: Some(segment(r#"["platinum", "gold"]"#)),
        update_mask: Some(prost_types::FieldMask { paths: vec!["logic".into()] }),
        validate_only,
        ..Default::default()
    };
    let impact = replica.flags.update_segment(update(true)).await.unwrap().into_inner().impact.unwrap();
    assert_eq!(impact.dependents, ["above", "beta"], "whose rules use it, and what hangs on them");
    assert_eq!((impact.tenants_affected, impact.tenants), (1, vec!["finance".into()]));
    let shifts: Vec<_> = impact.examples.iter().map(|it| (&*it.flag_key, &*it.variant_after)).collect();
    assert_eq!(shifts, [("above", "on"), ("beta", "on")]);
    assert_eq!(replica.flags.update_segment(update(false)).await.unwrap().into_inner().impact, None);

    let delete =
        v1::DeleteSegmentRequest { segment_name: "paying".into(), validate_only: true, ..Default::default() };
    let error = replica.flags.delete_segment(delete).await.unwrap_err();
    assert_eq!(reason(&error), "SEGMENT_IN_USE");
    let details = error.get_details_error_info().unwrap().metadata;
    assert_eq!((&*details["used_by"], &*details["used_by_total"]), ("beta", "1"), "{details:?}");
    replica.stop().await;
}

/// Which flag sets are pruned is known from the flags that are named, so who names none is told how to remove the last.
#[tokio::test]
async fn a_set_without_flags_prunes_nothing_and_says_what_does() {
    let replica = with_flag().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("empty.yaml"), "flags: {}\n").unwrap();
    let apply = ["flag", "apply", "--yes", "-f", folder.path().to_str().unwrap()];
    let plan = said(&replica, &apply).await;
    assert_eq!(plan, "nothing to change\n");
    let plan = said(&replica, &[&apply[..], &["--prune"]].concat()).await;
    assert!(plan.contains("nothing to change\n"), "{plan}");
    assert!(plan.contains("names no flag") && plan.contains("`tenantry flag delete KEY`"), "{plan}");
    assert!(said(&replica, &["flag", "list"]).await.contains("search"));
    replica.stop().await;
}

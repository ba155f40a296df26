//! Sets as large as they may be: what was exported can be applied as one.

use std::fmt::Write as _;

use tenantry::proto::v1;

use super::command_line::said;
use super::targeting::text;
use super::{boolean, with_flag};
use crate::support::{Replica, fields, reason};

fn share() -> v1::Rollout {
    let weight = |variant: &str, weight| v1::VariantWeight { variant: variant.into(), weight };
    v1::Rollout { weights: vec![weight("on", 1), weight("off", 9)], ..Default::default() }
}

/// A flag with a rule of one value and a share of two.
fn shared(place: usize) -> v1::Flag {
    let condition = v1::Condition {
        attribute: "tenantId".into(),
        operator: v1::ConditionOperator::In.into(),
        values: vec![text("finance")],
    };
    let rule = v1::TargetingRule {
        id: "r".into(),
        conditions: vec![condition],
        rollout: Some(share()),
        ..Default::default()
    };
    v1::Flag { rules: vec![rule], owner: "core".into(), ..boolean(&format!("many-{place:05}")) }
}

/// How many flags a client of the same server sees.
async fn count(replica: &mut Replica) -> usize {
    let page = v1::ListFlagsRequest { page_size: 1, ..Default::default() };
    let listed = replica.flags.list_flags(page).await.unwrap().into_inner();
    usize::try_from(listed.total_size).unwrap()
}

/// Two files could be applied that, exported as one, were refused with `TOO_MANY_ITEMS`.
#[tokio::test]
async fn what_was_applied_in_two_and_is_exported_as_one_is_applied_as_one() {
    let replica = with_flag().await;
    let folder = tempfile::tempdir().unwrap();
    for part in ["a", "b"] {
        let mut file = "flags:\n".to_owned();
        for place in 0..300 {
            let values: Vec<_> = (0..150).map(|it| format!("tenant-{place}-{it}")).collect();
            let values = values.join(", ");
            let rule = format!(
                "{{id: r, conditions: [{{attribute: tenantId, operator: in, values: [{values}]}}], variant: 'on'}}"
            );
            writeln!(file, "  {part}-{place}: {{type: boolean, flagSet: li, rules: [{rule}]}}").unwrap();
        }
        let path = folder.path().join(format!("{part}.yaml"));
        std::fs::write(&path, file).unwrap();
        said(&replica, &["flag", "apply", "--yes", "-f", path.to_str().unwrap()]).await;
    }
    let place = folder.path().to_str().unwrap();
    let both = said(&replica, &["flag", "apply", "--yes", "--prune", "-f", place]).await;
    assert!(both.contains("nothing to change"), "{both}");
    let exported = said(&replica, &["flag", "export", "--format", "tenantry", "--flag-set", "li"]).await;
    let all = folder.path().join("all.yml");
    std::fs::write(&all, exported).unwrap();
    let again = said(&replica, &["flag", "apply", "--yes", "--prune", "-f", all.to_str().unwrap()]).await;
    assert!(again.contains("nothing to change"), "{again}");
    replica.stop().await;
}

/// 9,000 flags of one rule each were refused; 8,000 were not. After `applied as revision …` the next call did not see them.
#[tokio::test]
async fn as_many_flags_as_there_may_be_are_applied_and_pruned_at_once_and_seen_by_the_next_call() {
    let mut replica = with_flag().await;
    let set =
        v1::ApplyFlagsRequest { flags: (0..9_900).map(shared).collect(), prune: true, ..Default::default() };
    replica.flags = replica.flags.clone().max_decoding_message_size(64 << 20);
    let made = replica.flags.apply_flags(set.clone()).await.unwrap().into_inner();
    assert_eq!(made.differences.len(), 9_901);
    assert_eq!(count(&mut replica).await, 9_900);
    let none = v1::ApplyFlagsRequest { flags: vec![boolean("left")], ..set };
    replica.flags.apply_flags(none.clone()).await.unwrap();
    let again = replica.flags.apply_flags(none).await.unwrap().into_inner();
    assert_eq!((again.differences.len(), again.revision), (0, 0));
    assert_eq!(count(&mut replica).await, 1);
    replica.stop().await;
}

/// The contract has long allowed 100,000; 10,001 were refused.
#[tokio::test]
async fn a_set_has_as_many_tier_defaults_as_the_contract_says() {
    let mut replica = with_flag().await;
    let setting = |place: usize| v1::apply_flags_request::TierSetting {
        flag_key: format!("many-{:05}", place / 2),
        tier_id: if place.is_multiple_of(2) { "gold" } else { "platinum" }.into(),
        variant: "on".into(),
        rollout: None,
    };
    let set = v1::ApplyFlagsRequest {
        flags: (0..5_001).map(|place| boolean(&format!("many-{place:05}"))).collect(),
        tier_defaults: (0..10_002).map(setting).collect(),
        validate_only: true,
        ..Default::default()
    };
    let tried = replica.flags.apply_flags(set.clone()).await.unwrap().into_inner();
    assert_eq!(tried.differences.len(), 15_003);
    let many = v1::ApplyFlagsRequest { tier_defaults: (0..100_001).map(setting).collect(), ..set.clone() };
    let refused = replica.flags.apply_flags(many).await.unwrap_err();
    assert_eq!(
        (reason(&refused).as_str(), fields(&refused)),
        ("TOO_MANY_ITEMS", vec!["tier_defaults".to_owned()])
    );
    let flags = (0..10_001).map(|place| boolean(&format!("many-{place:05}"))).collect();
    let many = v1::ApplyFlagsRequest { flags, tier_defaults: Vec::new(), ..set };
    let refused = replica.flags.apply_flags(many).await.unwrap_err();
    assert_eq!((reason(&refused).as_str(), fields(&refused)), ("INVALID_FIELD", vec!["flags".to_owned()]));
    replica.stop().await;
}

/// Holds the log so that nothing can be committed, for some seconds.
fn hold(replica: &Replica, seconds: u32) -> tokio::task::JoinHandle<()> {
    let url = replica.database_url.clone();
    let (held, holding) = std::sync::mpsc::channel();
    let task = tokio::spawn(async move {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        let driven = tokio::spawn(connection);
        client.batch_execute("BEGIN; SELECT FROM log_head FOR UPDATE").await.unwrap();
        held.send(()).unwrap();
        client.batch_execute(&format!("SELECT pg_sleep({seconds}); COMMIT")).await.unwrap();
        driven.abort();
    });
    tokio::task::block_in_place(|| holding.recv().unwrap());
    task
}

/// `503 the registry's database cannot be reached right now` was the answer to a set that was made all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_set_that_takes_its_time_is_no_database_out_of_reach_and_a_small_change_may_have_been_made() {
    let mut replica = with_flag().await;
    let held = hold(&replica, 7);
    let set = v1::ApplyFlagsRequest { flags: (0..1_500).map(shared).collect(), ..Default::default() };
    let made = replica.flags.apply_flags(set).await.unwrap().into_inner();
    assert_eq!(made.differences.len(), 1_500);
    held.await.unwrap();
    assert_eq!(count(&mut replica).await, 1_501);

    let held = hold(&replica, 4);
    let request_id = "0190a1b2-0000-7000-8000-000000000001".to_owned();
    let small = v1::CreateFlagRequest { flag: Some(boolean("small")), request_id, ..Default::default() };
    let refused = replica.flags.create_flag(small.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "DATABASE_UNAVAILABLE");
    assert!(refused.message().contains("may or may not have been made"), "{refused}");
    held.await.unwrap();
    assert_eq!(replica.flags.create_flag(small).await.unwrap().into_inner().flag_key, "small");
    replica.stop().await;
}

/// A set that was pruned took along the segments that no flag used yet, whoever had made them.
#[tokio::test]
async fn pruning_takes_the_segments_of_the_set_and_leaves_those_that_nobody_uses() {
    let mut replica = with_flag().await;
    for name in ["ours", "theirs"] {
        let segment = v1::Segment { segment_name: name.into(), logic: "true".into(), ..Default::default() };
        let request = v1::CreateSegmentRequest { segment: Some(segment), ..Default::default() };
        replica.flags.create_segment(request).await.unwrap();
    }
    let rule = v1::TargetingRule {
        logic: "{\"if\": [{\"$ref\": \"ours\"}, \"on\", null]}".into(),
        ..Default::default()
    };
    let set = |rules| v1::ApplyFlagsRequest {
        flags: vec![v1::Flag { rules, ..boolean("search") }],
        prune: true,
        ..Default::default()
    };
    replica.flags.apply_flags(v1::ApplyFlagsRequest { prune: false, ..set(vec![rule]) }).await.unwrap();
    let pruned = replica.flags.apply_flags(set(Vec::new())).await.unwrap().into_inner();
    let names: Vec<_> = pruned.differences.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["ours", "search"]);
    let list = v1::ListSegmentsRequest::default();
    let left = replica.flags.list_segments(list).await.unwrap().into_inner().segments;
    assert_eq!(left.iter().map(|it| it.segment_name.as_str()).collect::<Vec<_>>(), ["theirs"]);
    replica.stop().await;
}

//! Flag sets for in-process providers, as the server makes them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tenantry::domain::selector::Selector;
use tenantry::proto::flagd::sync::v1::SyncFlagsRequest;
use tenantry::proto::flagd::sync::v1::flag_sync_service_client::FlagSyncServiceClient;
use tenantry::proto::v1;
use tenantry::services::openfeature::{FlagSet, OpenFeature, Question, Until};
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::wire::channel;
use super::world::{World, boolean_flag, proto};
use crate::support::metrics;

/// More than any machine needs.
const PATIENCE: Duration = Duration::from_secs(30);

fn selected(selector: &str) -> Question {
    Question { identity: None, selector: Selector::parse("selector", selector).unwrap() }
}

fn read(set: &FlagSet) -> Value {
    serde_json::from_str(&set.configuration).unwrap()
}

/// The next set of which this holds.
async fn until(sets: &mut Until<Arc<FlagSet>>, holds: impl Fn(&Value) -> bool) -> Value {
    let found = async {
        loop {
            let set = read(&sets.next().await.expect("the stream goes on").unwrap());
            if holds(&set) {
                return set;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("it comes")
}

/// A provider that was started before its tenant was there never got a flag.
#[tokio::test]
async fn a_stream_that_was_opened_before_its_tenant_was_made_gets_the_tenant_s_set() {
    let mut world = World::start().await;
    world.flag("late", "off").await;
    let feature = OpenFeature::start(world.replica.server.registry.clone(), CancellationToken::new());
    let mut sets = feature.flag_sets(selected("flagSetId=newcomer")).unwrap();
    let empty = until(&mut sets, |_| true).await;
    assert_eq!(empty["flags"], json!({}));
    world.tenant("newcomer").await;
    let own = until(&mut sets, |set| set["flags"].get("late").is_some()).await;
    assert_eq!(own["metadata"]["flagSetId"], "newcomer");
    world.override_for("newcomer", "late", "on").await;
    until(&mut sets, |set| set["flags"]["late"]["defaultVariant"] == "on").await;
    world.stop().await;
}

#[tokio::test]
async fn a_stream_of_a_flag_set_that_comes_later_gets_its_flags() {
    let mut world = World::start().await;
    let feature = OpenFeature::start(world.replica.server.registry.clone(), CancellationToken::new());
    let mut sets = feature.flag_sets(selected("flagSetId=web")).unwrap();
    until(&mut sets, |set| set["flags"] == json!({})).await;
    let flag = super::world::boolean_flag("of-web", "on");
    world.create(v1::Flag { flag_set: "web".to_owned(), ..flag }).await;
    until(&mut sets, |set| set["flags"].get("of-web").is_some()).await;
    world.stop().await;
}

/// The caller could say which support level its tenant has, and what the tenant has from its tier counted for nothing.
#[tokio::test]
async fn a_tenant_s_support_level_is_that_of_its_tier_and_follows_it_whatever_the_caller_says() {
    let mut world = World::start().await;
    world.tenant("finance").await;
    let request = v1::GetTenantRequest { tenant_id: "finance".to_owned() };
    let shown = world.replica.tenants.get_tenant(request).await.unwrap().into_inner();
    assert!(!shown.support_level.is_empty(), "{shown:?}");
    world
        .rule(
            "as-shown",
            json!({"if": [{"==": [{"var": "supportLevel"}, shown.support_level]}, "on", "off"]}),
        )
        .await;
    world.rule("by-word", json!({"if": [{"==": [{"var": "supportLevel"}, "by word"]}, "on", "off"]})).await;
    let feature = OpenFeature::start(world.replica.server.registry.clone(), CancellationToken::new());
    let attributes: Map<String, Value> =
        [("supportLevel".to_owned(), json!("by word"))].into_iter().collect();
    for (key, variant) in [("as-shown", "on"), ("by-word", "off")] {
        let asked = feature.ask(&selected("tenantId=finance"), attributes.clone()).unwrap();
        let seen = feature.one(asked, key.to_owned()).await.unwrap();
        assert_eq!(seen.variant.as_deref(), Some(variant), "{key}");
    }
    let mut sets = feature.flag_sets(selected("flagSetId=finance")).unwrap();
    let set = until(&mut sets, |_| true).await;
    let given = |set: &Value, key: &str| set["flags"][key]["defaultVariant"].clone();
    let rules = [&set["flags"]["as-shown"]["targeting"], &set["flags"]["by-word"]["targeting"]];
    assert!(rules.iter().all(|rule| rule.is_null()), "{rules:?}");
    assert_eq!((given(&set, "as-shown"), given(&set, "by-word")), (json!("on"), json!("off")));
    let tier =
        v1::Tier { tier_id: shown.tier.clone(), support_level: "by word".to_owned(), ..Default::default() };
    let request = v1::UpdateTierRequest {
        tier: Some(tier),
        update_mask: Some(prost_types::FieldMask { paths: vec!["support_level".to_owned()] }),
        ..Default::default()
    };
    world.replica.tiers.update_tier(request).await.unwrap();
    until(&mut sets, |set| given(set, "by-word") == "on" && given(set, "as-shown") == "off").await;
    world.stop().await;
}

#[tokio::test]
async fn two_tenants_in_one_selector_are_refused_and_flags_without_a_set_have_no_name_of_one() {
    let mut world = World::start().await;
    world.tenant("finance").await;
    world.tenant("logistics").await;
    let feature = OpenFeature::start(world.replica.server.registry.clone(), CancellationToken::new());
    assert!(feature.flag_sets(selected("flagSetId=finance,tenantId=logistics")).is_err());
    assert!(feature.flag_sets(selected("flagSetId=finance,tenantId=finance")).is_ok());
    let set = read(&feature.flag_set(&selected("flagSetId=")).await.unwrap());
    assert_eq!(set["metadata"], json!({}));
    world.stop().await;
}

/// Every stream made its tenant's whole set by itself, on the threads that serve: one change with 60 of them stopped the
/// server for 20 seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_makes_each_tenant_s_set_once_however_many_streams_have_it_and_nobody_waits_for_it() {
    let tenants = ["finance", "logistics", "payroll"];
    let mut world = World::start().await;
    for tenant in tenants {
        world.tenant(tenant).await;
    }
    let rule = |number: usize| {
        let plans: Vec<_> = (0..20).map(|plan| format!("plan-{number}-{plan}")).collect();
        json!({"if": [{"and": [{"in": [{"var": "plan"}, plans]}, {"!=": [{"var": "tenantId"}, "x"]}]}, "on", null]})
    };
    let flags: Map<String, Value> = (0..300)
        .map(|number| {
            let flag = json!({
                "state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
                "targeting": rule(number),
            });
            (format!("many-{number:03}"), flag)
        })
        .collect();
    world.load(&json!({ "flags": flags, "metadata": {"flagSetId": "many"} })).await;
    world.flag("moving", "off").await;
    let feature = OpenFeature::start(world.replica.server.registry.clone(), CancellationToken::new());
    let mut streams: Vec<_> = (0..60)
        .map(|number| feature.flag_sets(selected(&format!("flagSetId={}", tenants[number % 3]))).unwrap())
        .collect();
    for sets in &mut streams {
        until(sets, |_| true).await;
    }
    let (before, resolved_before) = feature.flag_sets_made();
    assert_eq!(before, 3, "streams of one tenant begin with the same set");
    world.set_default("moving", "on").await;
    let asked = std::time::Instant::now();
    let request = v1::EvaluateFlagRequest {
        tenant_id: "finance".to_owned(),
        flag_key: "moving".to_owned(),
        ..Default::default()
    };
    world.replica.flags.evaluate_flag(request).await.unwrap();
    // What is counted below is the cause; this is far more than a call takes, and less than 60 sets did.
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    for sets in &mut streams {
        until(sets, |set| set["flags"]["moving"]["defaultVariant"] == "on").await;
    }
    let (made, resolved) = feature.flag_sets_made();
    assert_eq!(
        (made - before, resolved - resolved_before),
        (3, 3),
        "sets and flags that were made for one change"
    );
    world.stop().await;
}

/// A file of texts of 16,000 bytes each.
fn texts(numbers: std::ops::Range<usize>) -> Value {
    let text = "x".repeat(16_000);
    let flag = json!({"state": "ENABLED", "variants": {"long": text}, "defaultVariant": "long"});
    let flags: Map<String, Value> =
        numbers.map(|number| (format!("text-{number:03}"), flag.clone())).collect();
    json!({ "flags": flags, "metadata": {"flagSetId": "texts"} })
}

/// The log had a line, and nobody is woken by one.
#[tokio::test]
async fn a_set_that_clients_do_not_take_is_counted_and_the_largest_that_somebody_has_is_measured() {
    let mut world = World::start().await;
    world.load(&texts(0..135)).await;
    world.load(&texts(135..270)).await;
    let channel = channel(&world, "in-process").await;
    let request = || SyncFlagsRequest { selector: "flagSetId=texts".into(), ..Default::default() };
    let mut patient = FlagSyncServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20);
    let mut sets = patient.sync_flags(request()).await.unwrap().into_inner();
    let bytes = sets.next().await.unwrap().unwrap().flag_configuration.len();
    let mut usual = FlagSyncServiceClient::new(channel);
    let refused = usual.sync_flags(request()).await.unwrap().into_inner().next().await.unwrap().unwrap_err();
    assert!(refused.message().contains("too large"), "{refused:?}");
    let told = metrics(&world.replica).await;
    for line in [
        format!("tenantry_flag_set_largest_bytes{{selector=\"flag_set\"}} {bytes}\n"),
        "tenantry_flag_set_largest_bytes{selector=\"tenant\"} 0\n".to_owned(),
        "tenantry_flag_sets_too_large_total{selector=\"flag_set\"} 2\n".to_owned(),
        "tenantry_flag_sets_too_large_total{selector=\"all\"} 0\n".to_owned(),
    ] {
        assert!(told.contains(&line), "{line} is not in {told}");
    }
    // Nobody has it any more.
    drop(sets);
    let none = "tenantry_flag_set_largest_bytes{selector=\"flag_set\"} 0\n";
    let gone = async {
        while !metrics(&world.replica).await.contains(none) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the gauge falls");
    world.stop().await;
}

/// A warning about what would be made is of no use if what is made then has another size.
#[tokio::test]
async fn the_size_that_changes_are_told_is_about_that_of_the_set_that_is_made() {
    let mut world = World::start().await;
    let names = |of: &str| (0..200).map(|number| format!("{of}-{number}")).collect::<Vec<_>>();
    let listed = json!({"in": [{"var": "user"}, names("user")]});
    world.rule("listed", json!({"if": [listed, "on", null]})).await;
    for key in ["after", "after-too"] {
        let needs = v1::Prerequisite { flag_key: "listed".into(), variants: vec!["on".into()] };
        world.create(v1::Flag { prerequisites: vec![needs], ..boolean_flag(key, "on") }).await;
    }
    let condition = |value: &str| v1::Condition {
        attribute: "plan".into(),
        operator: v1::ConditionOperator::In.into(),
        values: names(value).iter().map(|name| proto(&json!(name))).collect(),
    };
    for number in 0..4 {
        let conditions = vec![condition(&format!("plan-{number}"))];
        let rule = v1::TargetingRule { conditions, variant: "on".into(), ..Default::default() };
        let key = format!("member-{number}");
        let groups = vec!["one-of".into()];
        world
            .create(v1::Flag { rules: vec![rule], conflict_groups: groups, ..boolean_flag(&key, "off") })
            .await;
    }
    let by_ref = json!({
        "state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
        "targeting": {"if": [{"$ref": "many"}, "on", null]},
    });
    let many = json!({"in": [{"var": "email"}, names("mail")]});
    world
        .load(&json!({ "flags": {"one": by_ref, "two": by_ref}, "$evaluators": {"many": many}, "metadata": {"flagSetId": "refs"} }))
        .await;
    let feature = OpenFeature::start(world.replica.server.registry.clone(), CancellationToken::new());
    let made = feature.flag_set(&Question::default()).await.unwrap().configuration.len();
    let told = feature.snapshot().unwrap().flags.set_bytes();
    assert!((made / 100 * 90..made / 100 * 110).contains(&told), "{told} is told, {made} are made");
    world.stop().await;
}

//! Who hears of which change: of flags that move between sets, and of what is another tenant's.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tenantry::domain::selector::Selector;
use tenantry::proto::v1;
use tenantry::services::openfeature::{OpenFeature, Question, Told, Until};
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::world::{World, boolean_flag};

/// More than any machine needs.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn selected(selector: &str) -> Question {
    Question { identity: None, selector: Selector::parse("selector", selector).unwrap() }
}

/// What a stream told, flag by flag, until it told of one of them: the last word on each.
pub(super) async fn heard(told: &mut Until<Told>, until: &str) -> BTreeMap<String, &'static str> {
    let mut heard = BTreeMap::new();
    let all = async {
        while !heard.contains_key(until) {
            if let Told::Changed(part) = told.next().await.expect("the stream goes on").unwrap() {
                heard.extend(part.flags.iter().map(|(key, kind)| (key.to_string(), kind.as_str())));
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, all).await;
    assert!(told.is_ok(), "{until} is not told of, but {heard:?}");
    heard
}

/// Waits until a stream's feature knows what changed before it was there, as the log has it: after that nobody is told of it but
/// who comes, at once.
async fn learned(feature: &OpenFeature, made: &str) {
    heard(&mut feature.changes(selected(""), None).unwrap(), made).await;
}

pub(super) async fn move_to(world: &mut World, key: &str, set: &str) {
    let flag = v1::Flag { flag_key: key.to_owned(), flag_set: set.to_owned(), ..Default::default() };
    let request = v1::UpdateFlagRequest {
        flag: Some(flag),
        update_mask: Some(prost_types::FieldMask { paths: vec!["flag_set".to_owned()] }),
        ..Default::default()
    };
    world.replica.flags.update_flag(request).await.unwrap();
}

/// Streams of the set that a flag had left heard nothing, so providers that keep answers by key kept this one for ever.
#[tokio::test]
async fn a_flag_that_moves_to_another_set_is_gone_from_the_one_and_new_in_the_other() {
    let mut world = World::start().await;
    for key in ["mover", "stays"] {
        world.create(v1::Flag { flag_set: "seta".to_owned(), ..boolean_flag(key, "on") }).await;
    }
    let feature = OpenFeature::start(world.replica.server.registry.clone(), CancellationToken::new());
    learned(&feature, "mover").await;
    let stream = |selector: &str| feature.changes(selected(selector), None).unwrap();
    let (mut left, mut joined, mut other, mut all) =
        (stream("flagSetId=seta"), stream("flagSetId=setb"), stream("flagSetId=setc"), stream(""));
    let mut sets = feature.flag_sets(selected("flagSetId=seta")).unwrap();
    let first = sets.next().await.unwrap().unwrap();
    assert!(first.configuration.contains("mover"), "{}", first.configuration);
    world.set_default("stays", "off").await;
    for told in [&mut left, &mut all] {
        heard(told, "mover").await;
        heard(told, "stays").await;
    }
    let moved = Instant::now();
    move_to(&mut world, "mover", "setb").await;
    for (told, wanted) in [(&mut left, "delete"), (&mut joined, "write"), (&mut all, "update")] {
        assert_eq!(heard(told, "mover").await["mover"], wanted);
    }
    assert!(moved.elapsed() < Duration::from_secs(1), "told after {:?}", moved.elapsed());
    let emptied = async { while sets.next().await.unwrap().unwrap().configuration.contains("mover") {} };
    tokio::time::timeout(PATIENCE, emptied).await.expect("the set is sent without it");
    // Who comes back to either hears it, too.
    assert_eq!(heard(&mut stream("flagSetId=seta"), "mover").await["mover"], "delete");
    assert_eq!(heard(&mut stream("flagSetId=setb"), "mover").await["mover"], "write");
    world.create(v1::Flag { flag_set: "setc".to_owned(), ..boolean_flag("last", "on") }).await;
    assert_eq!(heard(&mut other, "last").await.into_keys().collect::<Vec<_>>(), ["last"]);
    world.stop().await;
}

/// Flags with rules, with a prerequisite, with a kill switch or in a group, and one that is needed by others.
async fn related(world: &mut World) {
    world.flag("base", "on").await;
    world.rule("ruled", serde_json::json!({"if": [{"==": [{"var": "plan"}, "vip"]}, "on", null]})).await;
    let switch = v1::Flag { kind: v1::FlagKind::KillSwitch.into(), ..boolean_flag("switch", "on") };
    world.create(switch).await;
    let needed = v1::Prerequisite { flag_key: "base".into(), variants: vec!["on".into()] };
    world.create(v1::Flag { prerequisites: vec![needed], ..boolean_flag("needy", "on") }).await;
    world.create(v1::Flag { kill_switch: "switch".into(), ..boolean_flag("switched", "on") }).await;
    for (priority, key) in ["rival-a", "rival-b"].into_iter().enumerate() {
        let flag = v1::Flag {
            conflict_groups: vec!["ranking".into()],
            priority: i32::try_from(priority).unwrap(),
            ..boolean_flag(key, "on")
        };
        world.create(flag).await;
    }
}

/// What a stream tells until a flag is made that does nothing else, but for flags of this kind.
async fn until_fence(world: &mut World, told: &mut [&mut Until<Told>], fence: &str) -> Vec<Vec<String>> {
    world.flag(fence, "off").await;
    let mut all = Vec::new();
    for told in told {
        let heard = heard(told, fence).await.into_keys().filter(|key| !key.starts_with("fence"));
        all.push(heard.collect());
    }
    all
}

/// Every client of a tenant asked again for all its flags whenever another tenant got something of its own.
#[tokio::test]
async fn what_a_tenant_or_a_tier_gets_is_told_to_it_alone_also_through_what_hangs_on_it() {
    let mut world = World::start().await;
    for tenant in ["acme", "other"] {
        world.tenant(tenant).await;
    }
    related(&mut world).await;
    let feature = OpenFeature::start(world.replica.server.registry.clone(), CancellationToken::new());
    learned(&feature, "rival-b").await;
    let mut acme = feature.changes(selected("tenantId=acme"), None).unwrap();
    let mut other = feature.changes(selected("tenantId=other"), None).unwrap();
    until_fence(&mut world, &mut [&mut acme, &mut other], "fence-1").await;
    for key in ["base", "ruled", "switch", "rival-a", "rival-b"] {
        world.override_for("other", key, "off").await;
        world.tier_default("platinum", key, "off").await;
    }
    let heard_by = until_fence(&mut world, &mut [&mut acme, &mut other], "fence-2").await;
    let all = ["base", "needy", "rival-a", "rival-b", "ruled", "switch", "switched"];
    assert_eq!(heard_by, [vec![], all.map(str::to_owned).to_vec()]);
    // Its own it hears of, and what its tier gets.
    world.override_for("acme", "base", "off").await;
    world.tier_default("gold", "switch", "off").await;
    let heard_by = until_fence(&mut world, &mut [&mut acme, &mut other], "fence-3").await;
    assert_eq!(heard_by, [vec!["base", "needy", "switch", "switched"], vec!["switch", "switched"]]);
    world.stop().await;
}

/// Where callers' attributes decide, the answers without any are the same before and after.
#[tokio::test]
async fn a_tenant_that_changes_hears_of_all_in_which_its_callers_have_a_say() {
    let mut world = World::start().await;
    world.tenant("acme").await;
    world.flag("plain", "on").await;
    world.flag("shared", "off").await;
    let weight = |variant: &str, weight| v1::VariantWeight { variant: variant.to_owned(), weight };
    let rollout = v1::Rollout {
        weights: vec![weight("on", 90), weight("off", 10)],
        bucket_by: "targetingKey".to_owned(),
        ..Default::default()
    };
    let default = v1::SetTierDefaultRequest {
        flag_key: "shared".to_owned(),
        tier_id: "platinum".to_owned(),
        rollout: Some(rollout),
        ..Default::default()
    };
    world.replica.flags.set_tier_default(default).await.unwrap();
    let both = [("region", "eu"), ("user", "x")]
        .map(|(name, value)| serde_json::json!({"==": [{"var": name}, value]}));
    world.rule("ruled", serde_json::json!({"if": [{"and": both}, "on", null]})).await;
    let needed = v1::Prerequisite { flag_key: "ruled".into(), variants: vec!["on".into()] };
    world.create(v1::Flag { prerequisites: vec![needed], ..boolean_flag("needy", "on") }).await;
    let feature = OpenFeature::start(world.replica.server.registry.clone(), CancellationToken::new());
    learned(&feature, "needy").await;
    let mut acme = feature.changes(selected("tenantId=acme"), None).unwrap();
    until_fence(&mut world, &mut [&mut acme], "fence-1").await;
    world.tier("acme", "platinum").await;
    let heard_by = until_fence(&mut world, &mut [&mut acme], "fence-2").await;
    for key in ["needy", "ruled", "shared"] {
        assert!(heard_by[0].iter().any(|heard| heard == key), "{key} of {heard_by:?}");
    }
    assert!(!heard_by[0].iter().any(|heard| heard == "plain"), "{heard_by:?}");
    world.stop().await;
}

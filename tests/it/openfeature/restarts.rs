//! A replica that has just started tells those who come back what changed before it was there.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenantry::proto::v1;
use tenantry::services::openfeature::OpenFeature;
use tokio_util::sync::CancellationToken;

use super::client::{Client, Language};
use super::gate::Gate;
use super::news::{heard, move_to, selected};
use super::world::{World, boolean_flag, setup};
use crate::support::{Replica, sql};

/// Makes all that was done so far look as if it had been done long ago.
async fn age(world: &World) {
    let tables = ["tier", "tenant", "flag", "segment", "tenant_override"];
    let times = |table: &&str| format!("UPDATE {table} SET update_time = update_time - interval '1 hour';");
    let mut statements: String = tables.iter().map(times).collect();
    statements.push_str("UPDATE log SET record_time = record_time - interval '1 hour';");
    sql(&world.replica.database_url, &statements).await;
}

async fn delete(world: &mut World, key: &str) {
    let request = v1::DeleteFlagRequest { flag_key: key.to_owned(), ..Default::default() };
    world.replica.flags.delete_flag(request).await.unwrap();
}

/// Only flags that had been written, and overrides that were still there, were told of.
#[tokio::test]
async fn a_replica_that_has_just_started_tells_of_all_that_changed_within_five_minutes() {
    let mut world = World::start().await;
    for tenant in ["acme", "other"] {
        world.tenant(tenant).await;
    }
    let keys = ["gone", "tiered", "untiered", "overridden", "kept", "released", "needed", "still", "others"];
    for key in keys {
        world.flag(key, "off").await;
    }
    let needed = v1::Prerequisite { flag_key: "needed".into(), variants: vec!["on".into()] };
    world.create(v1::Flag { prerequisites: vec![needed], ..boolean_flag("needy", "off") }).await;
    world.create(v1::Flag { flag_set: "seta".to_owned(), ..boolean_flag("moved", "on") }).await;
    let segment = |logic: Value| v1::Segment {
        segment_name: "vips".into(),
        logic: logic.to_string(),
        ..Default::default()
    };
    let made = Some(segment(json!({"==": [{"var": "plan"}, "vip"]})));
    let request = v1::CreateSegmentRequest { segment: made, ..Default::default() };
    world.replica.flags.create_segment(request).await.unwrap();
    world.rule("segmented", json!({"if": [{"$ref": "vips"}, "on", null]})).await;
    world.tier_default("gold", "untiered", "on").await;
    world.override_for("acme", "released", "on").await;
    age(&world).await;

    delete(&mut world, "gone").await;
    world.tier_default("gold", "tiered", "on").await;
    world.tier_default("gold", "untiered", "").await;
    world.override_for("acme", "overridden", "on").await;
    world.override_for("acme", "needed", "on").await;
    world.override_for("acme", "released", "").await;
    world.override_for("other", "others", "on").await;
    move_to(&mut world, "moved", "setb").await;
    let changed = Some(segment(json!({"==": [{"var": "plan"}, "gold"]})));
    let request = v1::UpdateSegmentRequest {
        segment: changed,
        update_mask: Some(prost_types::FieldMask { paths: vec!["logic".to_owned()] }),
        ..Default::default()
    };
    world.replica.flags.update_segment(request).await.unwrap();
    world.set_default("still", "on").await;

    let fresh = Replica::on(&world.replica.database_url, &setup()).await;
    let feature = OpenFeature::start(fresh.server.registry.clone(), CancellationToken::new());
    let stream = |selector: &str| feature.changes(selected(selector), None).unwrap();
    let mut of_acme = stream("tenantId=acme");
    let of_acme: Vec<_> = heard(&mut of_acme, "still").await.into_iter().collect();
    let of_acme: Vec<_> = of_acme.iter().map(|(key, kind)| (key.as_str(), *kind)).collect();
    let wanted = [
        ("gone", "delete"),
        ("moved", "update"),
        ("needed", "update"),
        ("needy", "update"),
        ("overridden", "update"),
        ("released", "update"),
        ("segmented", "update"),
        ("still", "update"),
        ("tiered", "update"),
        ("untiered", "update"),
    ];
    assert_eq!(of_acme, wanted);
    let left = heard(&mut stream("flagSetId=seta"), "moved").await;
    assert_eq!((left["moved"], left["gone"]), ("delete", "delete"));
    assert_eq!(heard(&mut stream("flagSetId=setb"), "moved").await["moved"], "update");
    fresh.stop().await;
    world.stop().await;
}

/// A provider that keeps answers, behind a door.
async fn provider(world: &World, client: &mut Client, gate: &Gate, domain: &str, selector: Option<&str>) {
    let mut options = world.options("rpc", domain);
    options["port"] = json!(gate.port());
    options["cache"] = json!(true);
    if let Some(selector) = selector {
        options["selector"] = json!(selector);
    }
    client.ready(options).await;
}

fn question(key: &str) -> Value {
    json!({ "flag": key, "type": "boolean", "default": false, "context": { "tenantId": "acme" } })
}

/// What the provider says once it says what it should; it kept what it had for ever.
async fn says(client: &mut Client, domain: &str, key: &str, wanted: &Value) {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let said = client.get(domain, &question(key)).await;
        let found = said["error"].as_str().map_or_else(|| said["value"].clone(), |error| json!(error));
        if found == *wanted {
            return;
        }
        assert!(Instant::now() < until, "{domain} {key} stays with {said}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until the provider answers from what it keeps; news of what was made just before may still come in between.
async fn keeps(client: &mut Client, domain: &str, key: &str) {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let said = client.get(domain, &question(key)).await;
        if said["reason"] == "CACHED" {
            return;
        }
        assert!(Instant::now() < until, "{domain} {key} is not kept: {said}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_comes_back_to_a_restarted_replica_keeps_nothing_that_has_changed() {
    let Some(mut client) = Client::start(Language::Python).await else { return };
    let mut world = World::start().await;
    world.tenant("acme").await;
    for key in ["gone", "tiered"] {
        world.flag(key, "on").await;
    }
    world.create(v1::Flag { flag_set: "seta".to_owned(), ..boolean_flag("moved", "on") }).await;
    age(&world).await;
    let mut gate = Gate::before(world.address("rpc")).await;
    provider(&world, &mut client, &gate, "all", None).await;
    provider(&world, &mut client, &gate, "set", Some("flagSetId=seta")).await;
    for (domain, key) in [("all", "gone"), ("all", "tiered"), ("set", "moved")] {
        // What it is told of at first takes nothing away that is asked for later.
        says(&mut client, domain, key, &json!(true)).await;
        keeps(&mut client, domain, key).await;
    }
    gate.shut();
    delete(&mut world, "gone").await;
    world.tier_default("gold", "tiered", "off").await;
    move_to(&mut world, "moved", "setb").await;
    let database_url = world.replica.database_url.clone();
    world.stop().await;
    let world = World { replica: Replica::on(&database_url, &setup()).await };
    gate.lead_to(world.address("rpc"));
    gate.open();
    says(&mut client, "all", "gone", &json!("FLAG_NOT_FOUND")).await;
    says(&mut client, "all", "tiered", &json!(false)).await;
    says(&mut client, "set", "moved", &json!("FLAG_NOT_FOUND")).await;
    drop(client);
    world.stop().await;
}

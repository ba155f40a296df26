//! Changes reach those who listen, also those who were away.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Client, Language, is_change};
use super::gate::Gate;
use super::world::{World, setup};
use crate::support::Replica;

/// Who listens: each by its own protocol.
const LISTENERS: [(Language, &str); 8] = [
    (Language::Python, "rpc"),
    (Language::Python, "in-process"),
    (Language::Node, "rpc"),
    (Language::Node, "in-process"),
    (Language::Go, "rpc"),
    (Language::Go, "in-process"),
    (Language::Web, "rpc"),
    (Language::Web, "ofrep"),
];

/// How long providers may be away: longer than the 5 s that they wait by default before they call it an error.
const AWAY: Duration = Duration::from_secs(6);

fn question() -> Value {
    json!({ "flag": "moving", "type": "boolean", "default": false, "context": { "tenantId": "finance" } })
}

async fn world() -> World {
    let mut world = World::start().await;
    world.tenant("finance").await;
    world.flag("moving", "off").await;
    world
}

/// A provider with its cache on, behind a door.
async fn listener(world: &World, language: Language, kind: &'static str) -> Option<(Client, Gate)> {
    let mut client = Client::start(language).await?;
    let gate = Gate::before(world.address(kind)).await;
    let mut options = world.options(kind, kind);
    options["port"] = json!(gate.port());
    options["cache"] = json!(true);
    options["context"] = json!({ "tenantId": "finance" });
    if kind == "in-process" {
        options["selector"] = json!("flagSetId=finance");
    }
    client.ready(options).await;
    let said = client.get(kind, &question()).await;
    assert_eq!(
        (&said["value"], &said["variant"]),
        (&json!(false), &json!("off")),
        "{language:?} {kind}: {said}"
    );
    Some((client, gate))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_reaches_a_streaming_provider_within_a_second() {
    let mut world = world().await;
    for (language, kind) in LISTENERS {
        let Some((mut client, _gate)) = listener(&world, language, kind).await else { continue };
        client.forget_events();
        let changed = Instant::now();
        world.set_default("moving", "on").await;
        // Some providers tell of their first set of flags late, so the event may be that one.
        loop {
            client.event(kind, is_change).await;
            if client.get(kind, &question()).await["value"] == true {
                break;
            }
        }
        let took = changed.elapsed();
        let _ = writeln!(std::io::stderr(), "{language:?} {kind}: told after {} ms", took.as_millis());
        // The published web provider puts changes together for 100 ms or more before it asks again.
        assert!(took < Duration::from_secs(1), "{language:?} {kind}: {took:?}");
        world.set_default("moving", "off").await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_in_process_provider_that_compares_flags_tells_of_those_that_changed_and_no_others() {
    let mut world = world().await;
    world.flag("still", "off").await;
    // The other languages' providers tell of no flags, or of all that there are.
    for language in [Language::Node] {
        let Some((mut client, _gate)) = listener(&world, language, "in-process").await else { continue };
        client.forget_events();
        for variant in ["on", "off"] {
            world.set_default("moving", variant).await;
            let event = client
                .event("in-process", |event| {
                    is_change(event) && event["flags"].as_array().is_some_and(|flags| !flags.is_empty())
                })
                .await;
            assert_eq!(event["flags"], json!(["moving"]), "{language:?}");
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_for_six_seconds_sees_what_changed_meanwhile() {
    let mut world = world().await;
    let mut away = Vec::new();
    for (language, kind) in LISTENERS {
        if let Some((client, gate)) = listener(&world, language, kind).await {
            away.push((language, kind, client, gate));
        }
    }
    for (.., gate) in &mut away {
        gate.shut();
    }
    world.set_default("moving", "on").await;
    // The time itself is what is tested.
    tokio::time::sleep(AWAY).await;
    for (.., gate) in &mut away {
        gate.open();
    }
    for (language, kind, client, _gate) in &mut away {
        sees(client, *language, kind, true).await;
    }
    drop(away);
    world.stop().await;
}

/// Waits until a provider answers what is so by now.
async fn sees(client: &mut Client, language: Language, kind: &str, wanted: bool) {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let said = client.get(kind, &question()).await;
        if said["value"] == wanted && said["error"].as_str().unwrap_or_default().is_empty() {
            return;
        }
        assert!(Instant::now() < until, "{language:?} {kind} stays with {said}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Streams that ended well when a replica was stopped left the JS provider of servers with what it had, for good: it comes
/// back after an error only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_whose_replica_was_stopped_in_order_comes_back_to_the_next_one() {
    let mut other = world().await;
    let database_url = other.replica.database_url.clone();
    let first = World { replica: Replica::on(&database_url, &setup()).await };
    let mut listeners = Vec::new();
    for (language, kind) in LISTENERS {
        if let Some((client, gate)) = listener(&first, language, kind).await {
            listeners.push((language, kind, client, gate));
        }
    }
    first.stop().await;
    for (.., gate) in &mut listeners {
        gate.shut();
    }
    other.set_default("moving", "on").await;
    tokio::time::sleep(AWAY).await;
    let second = World { replica: Replica::on(&database_url, &setup()).await };
    for (_, kind, _, gate) in &mut listeners {
        gate.lead_to(second.address(kind));
        gate.open();
    }
    for (language, kind, client, _gate) in &mut listeners {
        sees(client, *language, kind, true).await;
    }
    other.set_default("moving", "off").await;
    for (language, kind, client, _gate) in &mut listeners {
        sees(client, *language, kind, false).await;
    }
    drop(listeners);
    second.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_the_code_s_own_default_stands() {
    let world = world().await;
    let mut nowhere = Gate::before(world.address("rpc")).await;
    nowhere.shut();
    for (language, kind) in [(Language::Python, "rpc"), (Language::Node, "rpc"), (Language::Go, "rpc")] {
        let Some(mut client) = Client::start(language).await else { continue };
        let mut options = world.options(kind, kind);
        options["port"] = json!(nowhere.port());
        options["deadline_ms"] = json!(500);
        let said = client.provider(options).await;
        assert_eq!(said["started"], false, "{language:?}: {said}");
        let case = json!({ "flag": "moving", "type": "boolean", "default": true });
        let said = client.get(kind, &case).await;
        assert_eq!(said["value"], true, "{language:?}: {said}");
        assert!(!said["error"].as_str().unwrap_or_default().is_empty(), "{language:?}: {said}");
    }
    world.stop().await;
}

//! Two tenants side by side in one program.

use serde_json::json;

use super::client::{Client, Language};
use super::world::World;

/// A boolean flag that is on for finance alone, and the same for everybody else.
async fn world() -> World {
    let mut world = World::start().await;
    world.tenant("finance").await;
    world.tenant("logistics").await;
    world.flag("only-finance", "off").await;
    world.override_for("finance", "only-finance", "on").await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_provider_never_gives_a_tenant_the_value_of_another_also_with_its_cache_on() {
    let world = world().await;
    for (language, kind) in [
        (Language::Python, "rpc"),
        (Language::Node, "rpc"),
        (Language::Go, "rpc"),
        (Language::Rust, "rpc"),
        (Language::Web, "rpc"),
        (Language::Python, "ofrep"),
        (Language::Node, "ofrep"),
        (Language::Web, "ofrep"),
        (Language::Rust, "ofrep"),
    ] {
        let Some(mut client) = Client::start(language).await else { continue };
        let mut options = world.options(kind, "both");
        options["cache"] = json!(true);
        client.ready(options).await;
        for turn in 0..3 {
            for (tenant, wanted) in [("finance", true), ("logistics", false)] {
                let case = json!({
                    "flag": "only-finance", "type": "boolean", "default": !wanted,
                    "context": { "tenantId": tenant },
                });
                let said = client.get("both", &case).await;
                assert_eq!(said["value"], wanted, "{language:?} {kind} turn {turn} {tenant}: {said}");
            }
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_process_providers_of_two_tenants_see_each_their_own() {
    let world = world().await;
    for language in [Language::Python, Language::Node, Language::Go, Language::Rust] {
        let Some(mut client) = Client::start(language).await else { continue };
        for tenant in ["finance", "logistics"] {
            let mut options = world.options("in-process", tenant);
            options["selector"] = json!(format!("flagSetId={tenant}"));
            client.ready(options).await;
        }
        for (tenant, wanted) in [("finance", true), ("logistics", false)] {
            let case = json!({ "flag": "only-finance", "type": "boolean", "default": !wanted });
            let said = client.get(tenant, &case).await;
            assert_eq!(said["value"], wanted, "{language:?} {tenant}: {said}");
        }
    }
    world.stop().await;
}

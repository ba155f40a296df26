//! Two tenants side by side in one program.

use std::time::{Duration, SystemTime};

use serde_json::json;
use tenantry::proto::flagd::evaluation::v1 as evaluation_v1;
use tenantry::proto::flagd::evaluation::v1::any_flag;
use tenantry::proto::flagd::evaluation::v1::service_client::ServiceClient as V1;
use tenantry::proto::v1;

use super::client::{Client, Language};
use super::ofrep::{ALL, post};
use super::wire::{channel, context};
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

/// A call for the set "web" was told as one of every flag.
#[tokio::test]
async fn a_bulk_evaluation_counts_for_the_flags_of_the_set_that_was_asked_for() {
    let mut world = World::start().await;
    let soon = SystemTime::now() + Duration::from_hours(240);
    for (key, flag_set) in [("of-web", "web"), ("of-shop", "shop"), ("of-none", "")] {
        let flag = v1::Flag {
            flag_key: key.to_owned(),
            r#type: v1::FlagType::Boolean.into(),
            flag_set: flag_set.to_owned(),
            owner: "counted".to_owned(),
            expire_time: Some(soon.into()),
            ..Default::default()
        };
        world.create(flag).await;
    }
    for (selector, times) in [("flagSetId=web", 3), ("flagSetId=", 2), ("flagSetId=nowhere", 1), ("", 1)] {
        for _ in 0..times {
            let headers = [("flagd-selector", selector)];
            let headers = if selector.is_empty() { &headers[..0] } else { &headers };
            let (code, _, body) = post(&world, ALL, "{}", headers).await;
            assert_eq!(code, 200, "{selector}: {body}");
        }
    }
    let registry = &world.replica.server.registry;
    registry.evaluations.flush(&registry.database).await;
    let request = v1::ListStaleFlagsRequest { filter: "owner = counted".into(), ..Default::default() };
    let listed = world.replica.flags.list_stale_flags(request).await.unwrap().into_inner().flags;
    let counts: Vec<_> = listed.iter().map(|flag| (flag.flag_key.as_str(), flag.bulk_evaluations)).collect();
    assert_eq!(counts, [("of-none", 3), ("of-shop", 1), ("of-web", 4)]);
    world.stop().await;
}

/// What `ResolveAll` says of a flag, asked often enough to be answered with kept bytes.
async fn among_all(world: &World, tenant: &str) -> bool {
    let mut client = V1::new(channel(world, "rpc").await);
    let mut seen = Vec::new();
    for _ in 0..4 {
        let context = Some(context(&json!({ "tenantId": tenant, "plan": "vip" })));
        let all =
            client.resolve_all(evaluation_v1::ResolveAllRequest { context }).await.unwrap().into_inner();
        seen.push(all.flags["only-finance"].value == Some(any_flag::Value::BoolValue(true)));
    }
    assert!(seen.iter().all(|one| *one == seen[0]), "{tenant}: {seen:?}");
    seen[0]
}

#[tokio::test]
async fn a_kept_answer_to_resolve_all_is_that_of_the_tenant_and_of_the_moment() {
    let mut world = world().await;
    let kept = format!("{:?}", world.replica.server.registry.kept_answers);
    assert_eq!([among_all(&world, "finance").await, among_all(&world, "logistics").await], [true, false]);
    assert_ne!(format!("{:?}", world.replica.server.registry.kept_answers), kept, "nothing is kept");
    // Whoever is selected by the header has another answer to the very same message.
    let mut client = V1::new(channel(&world, "rpc").await);
    for (tenant, wanted) in [("finance", true), ("logistics", false), ("finance", true), ("logistics", false)]
    {
        let mut request = tonic::Request::new(evaluation_v1::ResolveAllRequest::default());
        request.metadata_mut().insert("flagd-selector", format!("tenantId={tenant}").parse().unwrap());
        let all = client.resolve_all(request).await.unwrap().into_inner();
        let wanted = Some(any_flag::Value::BoolValue(wanted));
        assert_eq!(all.flags["only-finance"].value, wanted, "{tenant}");
    }
    world.override_for("logistics", "only-finance", "on").await;
    assert_eq!([among_all(&world, "finance").await, among_all(&world, "logistics").await], [true, true]);
    let end = SystemTime::now() + Duration::from_secs(3);
    let own = v1::SetTenantOverrideRequest {
        tenant_id: "finance".to_owned(),
        flag_key: "only-finance".to_owned(),
        variant: "on".to_owned(),
        expire_time: Some(end.into()),
        ..Default::default()
    };
    world.replica.flags.set_tenant_override(own).await.unwrap();
    assert!(among_all(&world, "finance").await, "the override");
    let left = end.duration_since(SystemTime::now()).unwrap_or_default();
    // The time itself is what is tested.
    tokio::time::sleep(left + Duration::from_millis(50)).await;
    assert!(!among_all(&world, "finance").await, "the override has ended");
    let unknown =
        evaluation_v1::ResolveAllRequest { context: Some(context(&json!({ "tenantId": "nobody" }))) };
    assert_eq!(client.resolve_all(unknown).await.unwrap_err().code(), tonic::Code::NotFound);
    world.stop().await;
}

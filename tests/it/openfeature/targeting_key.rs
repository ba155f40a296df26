//! Whom an answer is for: the same key, and likewise none, give the same whichever way a client comes.

use serde_json::{Value, json};
use tenantry::proto::flagd::evaluation::v1 as evaluation_v1;
use tenantry::proto::flagd::evaluation::v1::service_client::ServiceClient as V1;
use tenantry::proto::flagd::evaluation::v2 as evaluation_v2;
use tenantry::proto::flagd::evaluation::v2::service_client::ServiceClient as V2;
use tenantry::proto::v1;

use super::client::{Client, Language};
use super::ofrep::{ALL, ONE, post};
use super::wire::{channel, context};
use super::world::World;
use crate::support::fields;

/// A boolean flag that is off, but for a share.
fn shared(flag_key: &str, on: i32, bucket_by: &str) -> v1::Flag {
    let weight = |variant: &str, weight| v1::VariantWeight { variant: variant.to_owned(), weight };
    let rollout = v1::Rollout {
        weights: vec![weight("on", on), weight("off", 100 - on)],
        bucket_by: bucket_by.to_owned(),
        ..Default::default()
    };
    v1::Flag {
        flag_key: flag_key.to_owned(),
        r#type: v1::FlagType::Boolean.into(),
        default_rollout: Some(rollout),
        ..Default::default()
    }
}

/// Three ways to give 99 % of users a feature, and one that every user of every tenant has.
async fn world() -> World {
    let mut world = World::start().await;
    world.tenant("finance").await;
    world.create(shared("users", 99, "targetingKey")).await;
    world.create(shared("everybody", 100, "tenantId")).await;
    world.rule("unnamed", json!({"fractional": [["on", 99], ["off", 1]]})).await;
    world.rule("named", json!({"fractional": [{"var": "targetingKey"}, ["on", 99], ["off", 1]]})).await;
    world
}

/// What every surface that the server evaluates for gives, by its name.
async fn seen(world: &mut World, flag_key: &str, attributes: &Value) -> Vec<(&'static str, String)> {
    let mut seen = Vec::new();
    let (tenant_id, key) = ("finance".to_owned(), flag_key.to_owned());
    let own = Some(context(attributes));
    let flags = &mut world.replica.flags;
    let request =
        v1::EvaluateFlagRequest { tenant_id: tenant_id.clone(), flag_key: key.clone(), context: own.clone() };
    seen.push(("EvaluateFlag", flags.evaluate_flag(request).await.unwrap().into_inner().variant));
    let request =
        v1::EvaluateFlagsRequest { tenant_id: tenant_id.clone(), context: own.clone(), ..Default::default() };
    let all = flags.evaluate_flags(request).await.unwrap().into_inner().flags;
    seen.extend(all.into_iter().find(|it| it.flag_key == key).map(|it| ("EvaluateFlags", it.variant)));
    let request = v1::ExplainFlagRequest { tenant_id, flag_key: key.clone(), context: own };
    let explained = flags.explain_flag(request).await.unwrap().into_inner().result.unwrap();
    seen.push(("ExplainFlag", explained.variant));

    let mut attributes = attributes.clone();
    attributes["tenantId"] = json!("finance");
    let body = json!({ "context": attributes }).to_string();
    let (_, _, one) = post(world, &format!("{ONE}{flag_key}"), &body, &[]).await;
    let (_, _, all) = post(world, ALL, &body, &[]).await;
    let all = all["flags"].as_array().unwrap().iter().find(|it| it["key"] == flag_key).unwrap().clone();
    seen.extend(
        [("OFREP", one), ("OFREP, all", all)]
            .map(|(name, said)| (name, said["variant"].as_str().unwrap_or_default().to_owned())),
    );

    let context = Some(context(&attributes));
    let channel = channel(world, "rpc").await;
    let (mut v1, mut v2) = (V1::new(channel.clone()), V2::new(channel));
    let request = evaluation_v1::ResolveBooleanRequest { flag_key: key.clone(), context: context.clone() };
    seen.push(("flagd 1", v1.resolve_boolean(request).await.unwrap().into_inner().variant));
    let request = evaluation_v1::ResolveAllRequest { context: context.clone() };
    let all = v1.resolve_all(request).await.unwrap().into_inner().flags;
    seen.push(("flagd 1, all", all[flag_key].variant.clone()));
    let request = evaluation_v2::ResolveBooleanRequest { flag_key: key, context };
    let found = v2.resolve_boolean(request).await.unwrap().into_inner();
    seen.push(("flagd 2", found.variant.unwrap_or_default()));
    seen
}

#[tokio::test]
async fn without_a_targeting_key_shares_of_users_say_nothing_on_any_surface() {
    let mut world = world().await;
    let absent = json!({});
    let [null, empty, ada] = [json!(null), json!(""), json!("ada")].map(|key| json!({ "targetingKey": key }));
    for flag in ["users", "unnamed", "named"] {
        for (attributes, wanted) in [(&absent, "off"), (&null, "off"), (&empty, "off"), (&ada, "on")] {
            let seen = seen(&mut world, flag, attributes).await;
            assert_eq!(seen.len(), 8);
            assert!(seen.iter().all(|(_, variant)| variant == wanted), "{flag} {attributes}: {seen:?}");
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn a_targeting_key_that_is_no_text_is_refused_on_every_surface_by_its_field() {
    let mut world = world().await;
    let mut v2 = V2::new(channel(&world, "rpc").await);
    for key in [json!(5), json!(true), json!(["ada"]), json!({ "name": "ada" })] {
        let attributes = json!({ "targetingKey": key });
        let own = v1::EvaluateFlagRequest {
            tenant_id: "finance".into(),
            flag_key: "users".into(),
            context: Some(context(&attributes)),
        };
        let error = world.replica.flags.evaluate_flag(own).await.unwrap_err();
        assert_eq!(fields(&error), ["context.targetingKey"], "{error:?}");
        let request = evaluation_v2::ResolveBooleanRequest {
            flag_key: "users".into(),
            context: Some(context(&attributes)),
        };
        let error = v2.resolve_boolean(request).await.unwrap_err();
        assert_eq!(fields(&error), ["context.targetingKey"], "{error:?}");
        let body = json!({ "context": attributes }).to_string();
        for path in [format!("{ONE}users"), ALL.to_owned()] {
            let (code, _, said) = post(&world, &path, &body, &[]).await;
            assert_eq!((code.as_u16(), &said["errorCode"]), (400, &json!("INVALID_CONTEXT")), "{said}");
            assert!(said["errorDetails"].as_str().unwrap().contains("targetingKey"), "{said}");
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn a_share_that_has_come_to_all_is_given_without_a_tenant_too() {
    let world = world().await;
    let mut v2 = V2::new(channel(&world, "rpc").await);
    let request = evaluation_v2::ResolveBooleanRequest { flag_key: "everybody".into(), context: None };
    assert_eq!(v2.resolve_boolean(request).await.unwrap().into_inner().variant.as_deref(), Some("on"));
    let (_, _, said) = post(&world, &format!("{ONE}everybody"), "{}", &[]).await;
    assert_eq!(said["variant"], "on", "{said}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn published_providers_of_all_kinds_come_to_the_same_without_a_targeting_key() {
    let world = world().await;
    for language in [Language::Python, Language::Node, Language::Go] {
        let Some(mut client) = Client::start(language).await else { continue };
        for kind in ["rpc", "in-process", "ofrep"] {
            if (language, kind) == (Language::Go, "ofrep") {
                // There is none among the published ones that the tests drive.
                continue;
            }
            let mut options = world.options(kind, kind);
            options["selector"] = json!("flagSetId=finance");
            client.ready(options).await;
            let keys = [
                (json!({}), "off"),
                (json!({ "targetingKey": "" }), "off"),
                (json!({ "targetingKey": "ada" }), "on"),
            ];
            for (flag, cases) in [
                ("users", keys.to_vec()),
                ("unnamed", keys.to_vec()),
                ("named", keys.to_vec()),
                ("everybody", vec![(json!({}), "on")]),
            ] {
                for (mut attributes, wanted) in cases {
                    attributes["tenantId"] = json!("finance");
                    let case =
                        json!({ "flag": flag, "type": "boolean", "default": false, "context": attributes });
                    let said = client.get(kind, &case).await;
                    assert_eq!(
                        said["value"],
                        json!(wanted == "on"),
                        "{language:?} {kind} {flag} {attributes}: {said}"
                    );
                }
            }
        }
    }
    world.stop().await;
}

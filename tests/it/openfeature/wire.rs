//! The wire, where no provider looks: what is refused, what streams say, what a provider must not get to see.

use std::time::Duration;

use serde_json::{Value, json};
use tenantry::proto::flagd::evaluation::v1 as evaluation_v1;
use tenantry::proto::flagd::evaluation::v1::service_client::ServiceClient as V1;
use tenantry::proto::flagd::evaluation::v2 as evaluation_v2;
use tenantry::proto::flagd::evaluation::v2::service_client::ServiceClient as V2;
use tenantry::proto::flagd::sync::v1 as sync_v1;
use tenantry::proto::flagd::sync::v1::flag_sync_service_client::FlagSyncServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Request};

use super::ofrep::{ALL, post};
use super::world::{World, proto};
use crate::support::{fields, listed_services, reason};

pub(super) async fn channel(world: &World, kind: &str) -> Channel {
    let endpoint = format!("http://{}", world.address(kind));
    Channel::from_shared(endpoint).unwrap().connect().await.unwrap()
}

pub(super) fn context(json: &Value) -> prost_types::Struct {
    match proto(json).kind {
        Some(prost_types::value::Kind::StructValue(fields)) => fields,
        _ => panic!("a context is an object"),
    }
}

fn boolean(flag_key: &str, attributes: &Value) -> evaluation_v2::ResolveBooleanRequest {
    evaluation_v2::ResolveBooleanRequest { flag_key: flag_key.to_owned(), context: Some(context(attributes)) }
}

fn selected<T>(message: T, selector: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("flagd-selector", selector.parse().unwrap());
    request
}

#[tokio::test]
async fn the_two_versions_differ_in_what_stands_for_no_value() {
    let world = World::start().await;
    let channel = channel(&world, "rpc").await;
    let (mut v1, mut v2) = (V1::new(channel.clone()), V2::new(channel));
    let found = v2.resolve_boolean(boolean("disabled", &json!({}))).await.unwrap().into_inner();
    assert_eq!((found.value, found.reason.as_str(), found.variant), (None, "DISABLED", None));
    let found = v2.resolve_boolean(boolean("no-default", &json!({}))).await.unwrap().into_inner();
    assert_eq!((found.value, found.reason.as_str(), found.variant), (None, "DEFAULT", None));
    let ask = |key: &str| evaluation_v1::ResolveBooleanRequest { flag_key: key.to_owned(), context: None };
    let found = v1.resolve_boolean(ask("disabled")).await.unwrap().into_inner();
    assert_eq!((found.value, found.reason.as_str(), found.variant.as_str()), (false, "DISABLED", ""));
    assert_eq!(v1.resolve_boolean(ask("no-default")).await.unwrap_err().code(), Code::NotFound);
    let all = v1.resolve_all(evaluation_v1::ResolveAllRequest::default()).await.unwrap().into_inner().flags;
    assert!(!all.contains_key("no-default"));
    assert_eq!((all["disabled"].reason.as_str(), &all["disabled"].value), ("DISABLED", &None));
    assert_eq!(all["boolean-zero"].value, Some(evaluation_v1::any_flag::Value::BoolValue(false)));
    world.stop().await;
}

#[tokio::test]
async fn each_kind_of_failure_has_the_code_that_providers_expect() {
    let world = World::with_broken_flags().await;
    let mut v2 = V2::new(channel(&world, "rpc").await);
    for (request, code, why) in [
        (Request::new(boolean("nobody", &json!({}))), Code::NotFound, "FLAG_NOT_FOUND"),
        (Request::new(boolean("string", &json!({}))), Code::InvalidArgument, "TYPE_MISMATCH"),
        (Request::new(boolean("dangling", &json!({}))), Code::DataLoss, "PARSE_ERROR"),
        (Request::new(boolean("no-such-variant", &json!({ "plan": "vip" }))), Code::Internal, "GENERAL"),
        (Request::new(boolean("boolean", &json!({ "tenantId": 7 }))), Code::InvalidArgument, "INVALID_FIELD"),
        (
            Request::new(boolean("boolean", &json!({ "tenantId": "No Id" }))),
            Code::InvalidArgument,
            "INVALID_FIELD",
        ),
        (
            Request::new(boolean("boolean", &json!({ "tenantId": "nobody" }))),
            Code::NotFound,
            "TENANT_NOT_FOUND",
        ),
        (selected(boolean("boolean", &json!({})), "team=a"), Code::InvalidArgument, "INVALID_FIELD"),
        (selected(boolean("boolean", &json!({})), "flagSetId=nothing"), Code::NotFound, "FLAG_NOT_FOUND"),
        (selected(boolean("boolean", &json!({})), "flags.json"), Code::NotFound, "FLAG_NOT_FOUND"),
    ] {
        let line = format!("{request:?}");
        let error = v2.resolve_boolean(request).await.unwrap_err();
        assert_eq!((error.code(), reason(&error).as_str()), (code, why), "{line}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_whole_number_is_a_number_and_never_loses_its_fraction_unseen() {
    let world = World::start().await;
    let mut v2 = V2::new(channel(&world, "rpc").await);
    let float = |key: &str| evaluation_v2::ResolveFloatRequest { flag_key: key.to_owned(), context: None };
    let int = |key: &str| evaluation_v2::ResolveIntRequest { flag_key: key.to_owned(), context: None };
    assert_eq!(v2.resolve_float(float("integer")).await.unwrap().into_inner().value, Some(10.0));
    assert_eq!(v2.resolve_int(int("float-zero")).await.unwrap().into_inner().value, Some(0));
    assert_eq!(v2.resolve_int(int("float")).await.unwrap_err().code(), Code::InvalidArgument);
    world.stop().await;
}

#[tokio::test]
async fn a_selector_and_a_context_of_two_tenants_are_refused_rather_than_mixed() {
    let mut world = World::start().await;
    world.tenant("finance").await;
    world.tenant("logistics").await;
    let mut v2 = V2::new(channel(&world, "rpc").await);
    let ask =
        |tenant: &str| selected(boolean("boolean", &json!({ "tenantId": tenant })), "flagSetId=finance");
    assert_eq!(v2.resolve_boolean(ask("logistics")).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(v2.resolve_boolean(ask("finance")).await.unwrap().into_inner().value, Some(true));
    world.stop().await;
}

/// A proxy that adds its own behind the client's would be bypassed if the first counted, and none can tell who is last.
#[tokio::test]
async fn two_selectors_that_differ_are_refused_over_every_protocol() {
    let mut world = World::start().await;
    world.tenant("finance").await;
    world.tenant("logistics").await;
    let (rpc, sync) = (channel(&world, "rpc").await, channel(&world, "in-process").await);
    let (mut v1, mut v2, mut sync) = (V1::new(rpc.clone()), V2::new(rpc), FlagSyncServiceClient::new(sync));
    for (second, is_taken) in [("flagSetId=finance", true), ("flagSetId=logistics", false), ("", false)] {
        fn both<T>(message: T, second: &str) -> Request<T> {
            let mut request = selected(message, "flagSetId=finance");
            request.metadata_mut().append("flagd-selector", second.parse().unwrap());
            request
        }
        let all = evaluation_v1::ResolveAllRequest::default();
        let found = v1.resolve_all(both(all, second)).await;
        assert_eq!(found.is_ok(), is_taken, "{second}: {found:?}");
        let stream = v1.event_stream(both(evaluation_v1::EventStreamRequest {}, second)).await;
        assert_eq!(stream.is_ok(), is_taken, "{second}");
        let set = sync.fetch_all_flags(both(sync_v1::FetchAllFlagsRequest::default(), second)).await;
        assert_eq!(set.is_ok(), is_taken, "{second}: {set:?}");
        let found = v2.resolve_boolean(both(boolean("boolean", &json!({})), second)).await;
        let headers = [("flagd-selector", "flagSetId=finance"), ("flagd-selector", second)];
        let (code, _, said) = post(&world, ALL, "{}", &headers).await;
        assert_eq!(code.is_success(), is_taken, "{second}: {said}");
        match found {
            Ok(_) => assert!(is_taken, "{second}"),
            Err(status) => {
                assert!(!is_taken, "{second}: {status}");
                assert_eq!(
                    (status.code(), fields(&status)),
                    (Code::InvalidArgument, vec!["flagd-selector".to_owned()])
                );
                assert!(said["errorDetails"].as_str().unwrap().contains("flagd-selector"), "{said}");
            }
        }
    }
    world.stop().await;
}

/// Providers of one process share a connection: with a hundred of them their streams left no room for any call.
#[tokio::test]
async fn as_many_streams_as_a_process_has_providers_leave_room_for_calls() {
    let mut world = World::start().await;
    world.tenant("finance").await;
    world.flag("moving", "on").await;
    let channel = channel(&world, "rpc").await;
    let mut streams = Vec::new();
    for _ in 0..300 {
        let request = selected(evaluation_v2::EventStreamRequest {}, "flagSetId=finance");
        let mut events = V2::new(channel.clone()).event_stream(request).await.unwrap().into_inner();
        assert_eq!(events.message().await.unwrap().unwrap().r#type, "provider_ready");
        streams.push(events);
    }
    let request = evaluation_v2::ResolveBooleanRequest { flag_key: "moving".into(), context: None };
    let answer = V2::new(channel).resolve_boolean(selected(request, "flagSetId=finance")).await.unwrap();
    assert_eq!(answer.into_inner().value, Some(true));
    drop(streams);
    world.stop().await;
}

#[tokio::test]
async fn a_stream_begins_ready_names_what_changed_and_ends_with_a_last_word() {
    let mut world = World::start().await;
    world.tenant("finance").await;
    world.flag("moving", "off").await;
    let mut v2 = V2::new(channel(&world, "rpc").await);
    let request = selected(evaluation_v2::EventStreamRequest {}, "flagSetId=finance");
    let mut events = v2.event_stream(request).await.unwrap().into_inner();
    let first = events.message().await.unwrap().unwrap();
    assert_eq!((first.r#type.as_str(), first.data), ("provider_ready", None));
    world.set_default("moving", "on").await;
    world.override_for("finance", "string", "no").await;
    let mut seen = Vec::new();
    while !seen.contains(&"string".to_owned()) {
        let event = events.message().await.unwrap().unwrap();
        assert_eq!(event.r#type, "configuration_change");
        let Some(prost_types::value::Kind::StructValue(flags)) = &event.data.unwrap().fields["flags"].kind
        else {
            panic!("flags is an object")
        };
        seen.extend(flags.fields.keys().cloned());
    }
    assert!(seen.contains(&"moving".to_owned()), "{seen:?}");
    let stopping = tokio::spawn(world.stop());
    let mut last = String::new();
    // Its end is an error: the published JS provider comes back after nothing else.
    let end = loop {
        match events.message().await {
            Ok(event) => last = event.expect("there is an error first").r#type,
            Err(end) => break end,
        }
    };
    assert_eq!(last, "provider_shutdown");
    assert_eq!((end.code(), reason(&end).as_str()), (tonic::Code::Unavailable, "SHUTTING_DOWN"));
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_tenant_s_stream_does_not_hear_of_what_is_another_s() {
    let mut world = World::start().await;
    world.tenant("finance").await;
    world.tenant("logistics").await;
    world.flag("quiet", "off").await;
    world.flag("loud", "off").await;
    let mut v2 = V2::new(channel(&world, "rpc").await);
    let request = selected(evaluation_v2::EventStreamRequest {}, "flagSetId=finance");
    let mut events = v2.event_stream(request).await.unwrap().into_inner();
    assert_eq!(events.message().await.unwrap().unwrap().r#type, "provider_ready");
    // What was made a moment ago is named once more, for who comes back; then only what is new.
    let recent = events.message().await.unwrap().unwrap();
    assert_eq!(recent.r#type, "configuration_change");
    world.override_for("logistics", "quiet", "on").await;
    world.set_default("loud", "on").await;
    let event = events.message().await.unwrap().unwrap();
    let Some(prost_types::value::Kind::StructValue(flags)) = &event.data.unwrap().fields["flags"].kind else {
        panic!("flags is an object")
    };
    assert_eq!(flags.fields.keys().collect::<Vec<_>>(), ["loud"]);
    world.stop().await;
}

pub(super) async fn set(world: &World, selector: &str) -> Value {
    let mut sync = FlagSyncServiceClient::new(channel(world, "in-process").await);
    let request = sync_v1::FetchAllFlagsRequest { selector: selector.to_owned(), ..Default::default() };
    let set = sync.fetch_all_flags(request).await.unwrap().into_inner();
    serde_json::from_str(&set.flag_configuration).unwrap()
}

#[tokio::test]
async fn a_tenant_s_flag_set_shows_nothing_of_other_tenants() {
    let mut world = World::start().await;
    world.tenant("finance").await;
    world.tenant("logistics").await;
    world.flag("mine", "off").await;
    world.override_for("logistics", "mine", "on").await;
    world
        .rule("listed", json!({"if": [{"in": [{"var": "tenantId"}, ["logistics", "payroll"]]}, "on", null]}))
        .await;
    world
        .rule(
            "mixed",
            json!({"if": [{"and": [
                {"in": [{"var": "tenantId"}, ["finance", "payroll"]]},
                {"==": [{"var": "plan"}, "vip"]}
            ]}, "on", null]}),
        )
        .await;
    let finance = set(&world, "flagSetId=finance").await;
    let text = finance.to_string();
    assert!(!text.contains("logistics") && !text.contains("payroll"), "{text}");
    assert_eq!(finance["flags"]["mine"]["defaultVariant"], "off");
    assert_eq!(finance["flags"]["mine"].get("targeting"), None);
    assert_eq!(finance["flags"]["listed"].get("targeting"), None);
    assert_eq!(
        finance["flags"]["mixed"]["targeting"],
        json!({"if": [{"==": [{"var": "plan"}, "vip"]}, "on", null]})
    );
    assert_eq!(finance["metadata"]["flagSetId"], "finance");
    let logistics = set(&world, "flagSetId=logistics").await;
    assert_eq!(logistics["flags"]["mine"]["defaultVariant"], "on");
    assert_eq!(logistics["flags"]["listed"]["defaultVariant"], "on");
    assert_eq!(logistics["flags"]["mixed"].get("targeting"), None);
    assert_eq!(set(&world, "flagSetId=nobody").await["flags"], json!({}));
    world.stop().await;
}

#[tokio::test]
async fn a_flag_set_comes_at_once_and_again_when_the_tenant_itself_changes() {
    let mut world = World::start().await;
    world.tenant("finance").await;
    world.flag("tiered", "off").await;
    world.tier_default("platinum", "tiered", "on").await;
    let mut sync = FlagSyncServiceClient::new(channel(&world, "in-process").await);
    let request = sync_v1::SyncFlagsRequest { selector: "flagSetId=finance".into(), ..Default::default() };
    let mut sets = sync.sync_flags(request).await.unwrap().into_inner();
    let default = |set: &sync_v1::SyncFlagsResponse| {
        let set: Value = serde_json::from_str(&set.flag_configuration).unwrap();
        set["flags"]["tiered"]["defaultVariant"].clone()
    };
    let first = sets.message().await.unwrap().unwrap();
    assert_eq!(default(&first), "off");
    let known = first.sync_context.unwrap().fields;
    assert_eq!(known["tenantId"], proto(&json!("finance")));
    assert_eq!(known["environment"], proto(&json!("test")));
    world.tier("finance", "platinum").await;
    let second =
        tokio::time::timeout(Duration::from_secs(30), sets.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(default(&second), "on");
    world.stop().await;
}

/// Only the gRPC listener had it, so tools had to be given the files.
#[tokio::test]
async fn each_listener_tells_by_reflection_what_it_serves() {
    let world = World::start().await;
    let itself = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];
    for (kind, services) in [
        ("rpc", &["flagd.evaluation.v1.Service", "flagd.evaluation.v2.Service"][..]),
        ("in-process", &["flagd.sync.v1.FlagSyncService"]),
    ] {
        let listed = listed_services(channel(&world, kind).await).await;
        assert_eq!(listed, [services, &itself].concat());
    }
    world.stop().await;
}

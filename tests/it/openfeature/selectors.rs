//! Flag sets by name: which names there are, and that every protocol says them.

use http::StatusCode;
use serde_json::{Value, json};
use tenantry::proto::flagd::evaluation::v1 as evaluation_v1;
use tenantry::proto::flagd::evaluation::v1::service_client::ServiceClient as V1;
use tenantry::proto::flagd::sync::v1 as sync_v1;
use tenantry::proto::flagd::sync::v1::flag_sync_service_client::FlagSyncServiceClient;
use tenantry::proto::v1;
use tonic::Request;
use tonic::metadata::AsciiMetadataValue;

use super::ofrep::{ALL, post};
use super::wire::channel;
use super::world::{World, boolean_flag};
use crate::support::fields;

/// A message with a selector in its header.
fn selected<T>(message: T, selector: &str) -> Request<T> {
    let mut request = Request::new(message);
    let header = AsciiMetadataValue::try_from(selector.as_bytes()).unwrap();
    request.metadata_mut().insert("flagd-selector", header);
    request
}

/// Names beyond ASCII, and those of more than 256 bytes, could be given and not be asked for.
#[tokio::test]
async fn a_flag_set_is_selected_by_its_name_over_every_protocol_whatever_the_name() {
    let mut world = World::start().await;
    let longest = "n".repeat(1_024);
    for (place, name) in ["é ü", "web shop", "a=b", &longest].into_iter().enumerate() {
        let key = format!("of-{place}");
        let flag = json!({ "state": "ENABLED", "variants": { "on": true }, "defaultVariant": "on" });
        world.load(&json!({ "flags": { &key: flag }, "metadata": { "flagSetId": name } })).await;
        let selector = format!("flagSetId={name}");
        let (code, _, body) = post(&world, ALL, "{}", &[("flagd-selector", &selector)]).await;
        assert_eq!((code, &body["flags"][0]["key"]), (StatusCode::OK, &json!(key)), "{name}: {body}");
        assert_eq!(body["flags"].as_array().map(Vec::len), Some(1), "{name}: {body}");
        let message = evaluation_v1::ResolveAllRequest::default();
        let mut rpc = V1::new(channel(&world, "rpc").await);
        let all = rpc.resolve_all(selected(message, &selector)).await.unwrap().into_inner();
        assert_eq!(all.flags.keys().collect::<Vec<_>>(), [&key], "{name}");
        let mut sync = FlagSyncServiceClient::new(channel(&world, "in-process").await);
        let in_message = sync_v1::FetchAllFlagsRequest { selector: selector.clone(), ..Default::default() };
        for request in
            [Request::new(in_message), selected(sync_v1::FetchAllFlagsRequest::default(), &selector)]
        {
            let set = sync.fetch_all_flags(request).await.unwrap().into_inner();
            let set: Value = serde_json::from_str(&set.flag_configuration).unwrap();
            assert_eq!(set["flags"].as_object().unwrap().keys().collect::<Vec<_>>(), [&key], "{name}");
        }
    }
    world.stop().await;
}

/// They could be made and not be asked for: a comma ends a name, and white space around it is left out.
#[tokio::test]
async fn a_flag_set_that_no_client_could_select_is_neither_made_nor_imported() {
    let mut world = World::start().await;
    for name in ["a,b", " lead", "trail ", "tab\tin"] {
        let flag = v1::Flag { flag_set: name.to_owned(), ..boolean_flag("lost", "on") };
        let request = v1::CreateFlagRequest { flag: Some(flag), ..Default::default() };
        let error = world.replica.flags.create_flag(request).await.unwrap_err();
        assert_eq!(fields(&error), ["flag.flag_set"], "{name:?} {error:?}");
        let flag = json!({ "variants": { "on": true }, "defaultVariant": "on" });
        let mut own = flag.clone();
        own["metadata"] = json!({ "flagSetId": name });
        for (file, field) in [
            (
                json!({ "flags": { "lost": flag }, "metadata": { "flagSetId": name } }),
                "content.metadata.flagSetId",
            ),
            (json!({ "flags": { "lost": own } }), "content.flags[\"lost\"].metadata.flagSetId"),
        ] {
            let request = v1::ImportFlagsRequest { content: file.to_string(), ..Default::default() };
            let error = world.replica.flags.import_flags(request).await.unwrap_err();
            assert_eq!(fields(&error), [field], "{name:?} {error:?}");
        }
    }
    world.stop().await;
}

/// Over RPC and OFREP it was the owner's, in-process the server's number.
#[tokio::test]
async fn what_a_flag_s_own_metadata_says_stands_before_ours_of_that_name_over_every_protocol() {
    let mut world = World::start().await;
    let names = ["revision", "flagSetId"];
    let own: Value = names.map(|name| (name.to_owned(), json!("r"))).into_iter().collect();
    let flag = json!({ "variants": { "on": true }, "defaultVariant": "on", "metadata": own });
    world.load(&json!({ "flags": { "named": flag } })).await;
    let (_, _, body) = post(&world, &format!("{ALL}/named"), "{}", &[]).await;
    let mut sync = FlagSyncServiceClient::new(channel(&world, "in-process").await);
    let set = sync.fetch_all_flags(sync_v1::FetchAllFlagsRequest::default()).await.unwrap().into_inner();
    let set: Value = serde_json::from_str(&set.flag_configuration).unwrap();
    for name in names {
        assert_eq!(body["metadata"][name], "r", "{body}");
        assert_eq!(set["flags"]["named"]["metadata"][name], "r", "{name}: {}", set["flags"]["named"]);
    }
    world.stop().await;
}

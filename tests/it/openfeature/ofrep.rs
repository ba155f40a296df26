//! OFREP over a plain HTTP connection.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tenantry::proto::v1;
use tokio::net::TcpStream;

use super::world::{World, boolean_flag, setup};
use crate::edge::wire::gzipped;

pub(super) const ONE: &str = "/ofrep/v1/evaluate/flags/";
pub(super) const ALL: &str = "/ofrep/v1/evaluate/flags";

pub(super) async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Response<Incoming> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}

fn request(address: SocketAddr, path: &str, body: &str) -> http::request::Builder {
    let method = if body.is_empty() { Method::GET } else { Method::POST };
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address.to_string())
        .header(header::CONTENT_TYPE, "application/json")
}

pub(super) async fn post(
    world: &World,
    path: &str,
    body: &str,
    headers: &[(&str, &str)],
) -> (StatusCode, Option<String>, Value) {
    let address = world.address("ofrep");
    let mut builder = request(address, path, body);
    for (name, value) in headers {
        builder = builder.header(*name, value.as_bytes());
    }
    let response = send(address, builder.body(Full::from(body.to_owned())).unwrap()).await;
    let code = response.status();
    let tag = response.headers().get(header::ETAG).map(|tag| tag.to_str().unwrap().to_owned());
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
    (code, tag, body)
}

#[tokio::test]
async fn one_flag_is_answered_with_its_variant_reason_and_metadata_always_there() {
    let world = World::start().await;
    let (code, _, body) = post(&world, &format!("{ONE}object"), "{}", &[]).await;
    assert_eq!((code, &body["key"], &body["variant"]), (StatusCode::OK, &json!("object"), &json!("full")));
    assert_eq!((&body["reason"], &body["metadata"]["team"]), (&json!("STATIC"), &json!("search")));
    let (_, _, body) = post(&world, &format!("{ONE}float-zero"), "{}", &[]).await;
    assert!(body["value"].is_f64(), "a double keeps its fraction: {body}");
    let (_, _, body) = post(&world, &format!("{ONE}integer-zero"), "{}", &[]).await;
    assert!(body["value"].is_i64(), "{body}");
    let (code, _, body) = post(&world, &format!("{ONE}disabled"), "{}", &[]).await;
    assert_eq!((code, &body["reason"], &body["variant"]), (StatusCode::OK, &json!("DISABLED"), &json!("")));
    assert!(body.get("value").is_none(), "{body}");
    world.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_said_with_openfeature_s_code() {
    let world = World::start().await;
    let large = format!("{{\"context\":{{\"a\":\"{}\"}}}}", "x".repeat(1 << 20));
    for (key, body, status, code) in [
        ("nobody", "{}", 404, "FLAG_NOT_FOUND"),
        ("no-such-variant", r#"{"context":{"plan":"vip"}}"#, 400, "GENERAL"),
        ("boolean", r#"{"context":[1]}"#, 400, "INVALID_CONTEXT"),
        ("boolean", "{", 400, "INVALID_CONTEXT"),
        ("boolean", r#"{"context":{"tenantId":"nobody"}}"#, 400, "INVALID_CONTEXT"),
        ("boolean", r#"{"context":{"tenantId":7}}"#, 400, "INVALID_CONTEXT"),
        ("boolean", &large, 413, ""),
    ] {
        let (got, _, said) = post(&world, &format!("{ONE}{key}"), body, &[]).await;
        assert_eq!(
            (got.as_u16(), said["errorCode"].as_str().unwrap_or_default()),
            (status, code),
            "{key}: {said}"
        );
        assert!(said["errorDetails"].is_string(), "{said}");
    }
    let (got, _, said) = post(&world, ONE, "{}", &[]).await;
    assert_eq!(
        (got, &said["key"], &said["errorCode"]),
        (StatusCode::BAD_REQUEST, &json!(""), &json!("GENERAL"))
    );
    assert!(said["errorDetails"].as_str().is_some_and(|why| why.contains("must not be empty")), "{said}");
    let (got, _, said) = post(&world, ALL, "{}", &[("flagd-selector", "team=a")]).await;
    assert_eq!((got, &said["errorCode"]), (StatusCode::BAD_REQUEST, &json!("GENERAL")));
    let (got, _, said) = post(&world, ALL, "{}", &[("flagd-selector", "flagSetId=nothing")]).await;
    assert_eq!((got, &said["flags"]), (StatusCode::OK, &json!([])));
    let (got, _, said) = post(&world, ALL, "{}", &[("flagd-selector", "tenantId=nobody")]).await;
    assert_eq!((got, &said["errorCode"]), (StatusCode::BAD_REQUEST, &json!("INVALID_CONTEXT")));
    world.stop().await;
}

#[tokio::test]
async fn all_flags_come_with_a_tag_by_which_the_same_are_not_sent_again() {
    let mut world = World::start().await;
    world.tenant("finance").await;
    let ask = r#"{"context":{"tenantId":"finance","n":1}}"#;
    let (code, tag, body) = post(&world, ALL, ask, &[]).await;
    let tag = tag.expect("an answer has a tag");
    assert_eq!(code, StatusCode::OK);
    let flags = body["flags"].as_array().unwrap();
    assert!(flags.iter().any(|flag| flag["key"] == "disabled"), "disabled flags are among them");
    assert_eq!(body["metadata"]["flagSetId"], "finance");
    let seen = post(&world, ALL, ask, &[("if-none-match", &format!("\"other\", W/{tag}"))]).await;
    assert_eq!((seen.0, seen.1.as_deref()), (StatusCode::NOT_MODIFIED, Some(tag.as_str())));
    // Another order of attributes is the same question, another type of one is not.
    let turned = r#"{"context":{"n":1,"tenantId":"finance"}}"#;
    assert_eq!(post(&world, ALL, turned, &[("if-none-match", &tag)]).await.0, StatusCode::NOT_MODIFIED);
    let text = r#"{"context":{"n":"1","tenantId":"finance"}}"#;
    assert_eq!(post(&world, ALL, text, &[("if-none-match", &tag)]).await.0, StatusCode::OK);
    world.override_for("finance", "boolean", "off").await;
    let (code, changed, _) = post(&world, ALL, ask, &[("if-none-match", &tag)]).await;
    assert_eq!(code, StatusCode::OK);
    assert_ne!(changed.as_deref(), Some(tag.as_str()));
    world.stop().await;
}

#[tokio::test]
async fn the_announced_stream_says_when_to_ask_again() {
    let mut world = World::start().await;
    world.tenant("finance").await;
    world.flag("moving", "off").await;
    let (_, _, body) = post(&world, ALL, r#"{"context":{"tenantId":"finance"}}"#, &[]).await;
    let announced = &body["eventStreams"][0];
    assert_eq!(announced["type"], "sse");
    let address = world.address("ofrep");
    let path = announced["endpoint"]["requestUri"].as_str().unwrap();
    let request = request(address, path, "").body(Full::default()).unwrap();
    let response = send(address, request).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut stream = response.into_body();
    let mut text = String::new();
    let mut count = 0;
    while count < 2 {
        let frame = tokio::time::timeout(Duration::from_secs(30), stream.frame()).await.unwrap();
        text.push_str(std::str::from_utf8(&frame.unwrap().unwrap().into_data().unwrap()).unwrap());
        let seen = text.matches("event: message\ndata: {\"etag\":\"\\\"").count();
        // The first names what was made a moment ago, for who comes back.
        if count == 0 && seen > 0 {
            world.override_for("finance", "moving", "on").await;
        }
        count = seen;
    }
    assert!(text.contains("\"type\":\"refetchEvaluation\""), "{text}");
    world.stop().await;
}

/// Many changes, and that the tenant itself changed, are told apart: one event each was sent of them, the very same.
#[tokio::test]
async fn whoever_comes_after_a_change_is_told_once_to_ask_again() {
    let mut world = World::start().await;
    world.tenant("finance").await;
    let flags = (0..150).map(|number| boolean_flag(&format!("flag-{number}"), "off")).collect();
    let set = v1::ApplyFlagsRequest { flags, ..Default::default() };
    world.replica.flags.apply_flags(set).await.unwrap();
    let address = world.address("ofrep");
    let request = request(address, "/ofrep/v1/events?selector=tenantId%3Dfinance", "");
    let mut stream = send(address, request.body(Full::default()).unwrap()).await.into_body();
    let mut text = String::new();
    while let Ok(Some(frame)) = tokio::time::timeout(Duration::from_secs(2), stream.frame()).await {
        text.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
    }
    assert_eq!(text.matches("event: message").count(), 1, "{text}");
    world.stop().await;
}

/// Both had the revision, so that a client that compares did not ask again after the second.
#[tokio::test]
async fn two_changes_by_time_alone_are_told_with_different_tags() {
    let mut world = World::start().await;
    world.tenant("finance").await;
    let now = jiff::Timestamp::now();
    for (key, after) in [("first", 2), ("second", 3)] {
        world.flag(key, "off").await;
        let end = now + Duration::from_secs(after);
        let request = v1::SetTenantOverrideRequest {
            flag_key: key.into(),
            tenant_id: "finance".into(),
            variant: "on".into(),
            expire_time: Some(prost_types::Timestamp {
                seconds: end.as_second(),
                nanos: end.subsec_nanosecond(),
            }),
            ..Default::default()
        };
        world.replica.flags.set_tenant_override(request).await.unwrap();
    }
    let address = world.address("ofrep");
    let request = request(address, "/ofrep/v1/events?selector=tenantId%3Dfinance", "");
    let mut stream = send(address, request.body(Full::default()).unwrap()).await.into_body();
    let (mut text, mut tags) = (String::new(), Vec::new());
    while tags.len() < 3 {
        let frame = tokio::time::timeout(Duration::from_secs(30), stream.frame()).await.unwrap();
        text.push_str(std::str::from_utf8(&frame.unwrap().unwrap().into_data().unwrap()).unwrap());
        let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
        tags = lines
            .map(|data| serde_json::from_str::<serde_json::Value>(data).unwrap()["etag"].to_string())
            .collect();
    }
    let different: std::collections::BTreeSet<_> = tags.iter().collect();
    assert_eq!(different.len(), tags.len(), "{tags:?}");
    world.stop().await;
}

#[tokio::test]
async fn a_page_may_ask_where_the_configuration_lets_it() {
    let mut setup = super::world::setup();
    setup.settings.push(("server.cors_origins", "https://app.example.com".to_owned()));
    let world = World::with(&setup).await;
    let address = world.address("ofrep");
    let preflight = Request::builder()
        .method(Method::OPTIONS)
        .uri(ALL)
        .header(header::HOST, address.to_string())
        .header(header::ORIGIN, "https://app.example.com")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "content-type,if-none-match")
        .body(Full::default())
        .unwrap();
    let answer = send(address, preflight).await;
    let allowed = answer.headers()[header::ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap().to_owned();
    assert!(allowed.contains("if-none-match") && allowed.contains("authorization"), "{allowed}");
    let ask = request(address, ALL, "{}").header(header::ORIGIN, "https://app.example.com");
    let answer = send(address, ask.body(Full::from("{}")).unwrap()).await;
    assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://app.example.com");
    let exposed = answer.headers()[header::ACCESS_CONTROL_EXPOSE_HEADERS].to_str().unwrap().to_lowercase();
    assert!(exposed.contains("etag"), "{exposed}");
    let ask = request(address, ALL, "{}").header(header::ORIGIN, "https://evil.example.com");
    let answer = send(address, ask.body(Full::from("{}")).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    world.stop().await;
}

#[tokio::test]
async fn a_stream_for_an_unknown_tenant_is_refused_as_an_evaluation_is() {
    let world = World::start().await;
    let (got, _, said) = post(&world, "/ofrep/v1/events?selector=tenantId%3Dnobody", "", &[]).await;
    assert_eq!((got, &said["errorCode"]), (StatusCode::BAD_REQUEST, &json!("INVALID_CONTEXT")), "{said}");
    let (got, _, said) = post(&world, "/ofrep/v1/events?selector=tenantId%3DNo%20Id", "", &[]).await;
    assert_eq!((got, &said["errorCode"]), (StatusCode::BAD_REQUEST, &json!("GENERAL")), "{said}");
    world.stop().await;
}

#[tokio::test]
async fn another_method_is_refused_with_those_that_there_are_and_a_sentence() {
    let world = World::start().await;
    let address = world.address("ofrep");
    for (method, path, allowed) in [
        (Method::GET, &format!("{ONE}boolean")[..], "POST"),
        (Method::PUT, ALL, "POST"),
        (Method::POST, "/ofrep/v1/events", "GET,HEAD"),
    ] {
        let request = request(address, path, "").method(method).body(Full::default()).unwrap();
        let response = send(address, request).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(response.headers()[header::ALLOW], allowed, "{path}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let said: Value = serde_json::from_slice(&body).unwrap();
        assert!(said["errorDetails"].is_string(), "{said}");
    }
    world.stop().await;
}

#[tokio::test]
async fn metadata_says_when_a_flag_ends_whichever_layer_decides() {
    let mut world = World::start().await;
    let ends = async |world: &World, key: &str, layer: &str| {
        let (_, _, body) = post(world, &format!("{ONE}{key}"), "{}", &[]).await;
        assert_eq!(body["metadata"]["layer"], layer, "{body}");
        assert!(
            body["metadata"]["expires"].as_str().is_some_and(|end| end.ends_with('Z')),
            "{layer}: {body}"
        );
        body["metadata"]["expires"].clone()
    };
    ends(&world, "boolean", "GLOBAL_DEFAULT").await;
    ends(&world, "disabled", "DISABLED").await;
    // A kill switch is one of the flags that do not end.
    let switch = v1::Flag { kind: v1::FlagKind::KillSwitch.into(), ..boolean_flag("stop", "on") };
    world.create(switch).await;
    let (_, _, body) = post(&world, &format!("{ONE}stop"), "{}", &[]).await;
    assert_eq!(body["metadata"].get("expires"), None, "{body}");
    world.create(v1::Flag { kill_switch: "stop".to_owned(), ..boolean_flag("stopped", "on") }).await;
    ends(&world, "stopped", "KILL_SWITCH").await;
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1);
    let expire_time =
        Some(prost_types::Timestamp { seconds: end.as_second(), nanos: end.subsec_nanosecond() });
    let expired_variant = "off".to_owned();
    world.create(v1::Flag { expire_time, expired_variant, ..boolean_flag("over", "on") }).await;
    // The time itself is what is tested.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    ends(&world, "over", "EXPIRED").await;
    world.stop().await;
}

#[tokio::test]
async fn a_body_may_come_compressed_and_other_encodings_are_refused_by_name() {
    let world = World::start().await;
    let address = world.address("ofrep");
    let ask = async |encoding: &str, body: Vec<u8>| {
        let path = format!("{ONE}nobody");
        let builder = request(address, &path, "{}").header(header::CONTENT_ENCODING, encoding);
        let response = send(address, builder.body(Full::from(body)).unwrap()).await;
        let accepted = response.headers().get(header::ACCEPT_ENCODING).cloned();
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let said: Value = serde_json::from_slice(&body).unwrap();
        (code, accepted, said)
    };
    let context = br#"{"context":{"tenantId":7}}"#;
    let (code, _, said) = ask("gzip", gzipped(context)).await;
    assert_eq!((code, &said["errorCode"]), (400, &json!("INVALID_CONTEXT")), "its context was read: {said}");
    assert!(said["errorDetails"].as_str().unwrap().contains("tenantId"), "{said}");
    let (code, _, said) = ask("GZIP", gzipped(b"{}")).await;
    assert_eq!((code, &said["key"]), (404, &json!("nobody")), "{said}");
    assert_eq!(ask("identity", b"{}".to_vec()).await.0, 404);
    assert_eq!(ask("gzip", gzipped(&vec![b' '; 1 << 20])).await.0, 404, "as large as a body may be");
    let (code, _, said) = ask("gzip", gzipped(&vec![b' '; (1 << 20) + 1])).await;
    assert!(code == 413 && said["errorDetails"].is_string(), "{said}");
    let (code, _, said) = ask("gzip", b"{}".to_vec()).await;
    assert!(code == 400 && said["errorDetails"].as_str().unwrap().contains("gzip"), "{said}");
    for encoding in ["br", "gzip, gzip", "deflate"] {
        let (code, accepted, said) = ask(encoding, gzipped(b"{}")).await;
        assert_eq!((code, accepted.unwrap().to_str().unwrap()), (415, "gzip"), "{encoding}: {said}");
        assert!(said["errorDetails"].is_string(), "{said}");
    }
    world.stop().await;
}

#[tokio::test]
async fn an_address_that_says_what_is_not_known_is_refused_in_json() {
    let world = World::start().await;
    for path in [format!("{ONE}%ff"), format!("{ONE}a%c3%28")] {
        let (code, _, said) = post(&world, &path, "{}", &[]).await;
        assert_eq!((code.as_u16(), &said["errorCode"]), (400, &json!("GENERAL")), "{path}: {said}");
        assert!(said["errorDetails"].as_str().unwrap().contains("UTF-8"), "{said}");
    }
    // What was meant to select would select nothing, and so give everything.
    for (path, body) in [
        ("/ofrep/v1/events?tenantId=nobody", ""),
        ("/ofrep/v1/events?flagSetId=web", ""),
        ("/ofrep/v1/events?selector=tenantId%3Dfinance&team=a", ""),
        ("/ofrep/v1/events?selector=flagSetId%3Da&selector=flagSetId%3Db", ""),
        ("/ofrep/v1/evaluate/flags?selector=flagSetId%3Dweb", "{}"),
        ("/ofrep/v1/evaluate/flags?tenantId=nobody", "{}"),
        ("/ofrep/v1/evaluate/flags/boolean?tenantId=nobody", "{}"),
    ] {
        let (code, _, said) = post(&world, path, body, &[]).await;
        assert_eq!((code.as_u16(), &said["errorCode"]), (400, &json!("GENERAL")), "{path}: {said}");
        assert!(said["errorDetails"].as_str().unwrap().contains("selector"), "{path}: {said}");
    }
    // A client that was told to ask again says of which change it was told.
    let told = format!("{ALL}?flagConfigEtag=%223%22&flagConfigLastModified=1771622898");
    assert_eq!(post(&world, &told, "{}", &[]).await.0, StatusCode::OK);
    world.stop().await;
}

/// They were bounded by nothing but connections, of which each takes many.
#[tokio::test]
async fn event_streams_count_among_the_open_streams_and_come_back() {
    let mut setup = setup();
    setup.settings.push(("server.max_streams", "2".to_owned()));
    let world = World::with(&setup).await;
    let address = world.address("ofrep");
    let open =
        async || send(address, request(address, "/ofrep/v1/events", "").body(Full::default()).unwrap()).await;
    let (first, second) = (open().await, open().await);
    assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::OK));
    let third = open().await;
    assert_eq!(third.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(third.headers()["retry-after"], "1");
    drop(first);
    let mut again = open().await;
    for _ in 0..100 {
        if again.status() == StatusCode::OK {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        again = open().await;
    }
    assert_eq!(again.status(), StatusCode::OK);
    world.stop().await;
}

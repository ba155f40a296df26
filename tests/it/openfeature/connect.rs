//! flagd's services by Connect and on shared ports, as curl and pages use them.

use bytes::{BufMut as _, Bytes};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

use super::ofrep::send;
use super::world::{World, setup};

/// One unary call in JSON.
async fn call(world: &World, method: &str, body: &Value) -> (StatusCode, Value) {
    let address = world.address("rpc");
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/{method}"))
        .header(header::HOST, address.to_string())
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(body.to_string()))
        .unwrap();
    let response = send(address, request).await;
    let code = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn json_over_connect_says_what_is_unset_by_leaving_it_out() {
    let world = World::start().await;
    let v2 = |method: &str| format!("flagd.evaluation.v2.Service/{method}");
    let (code, said) = call(&world, &v2("ResolveInt"), &json!({ "flagKey": "integer" })).await;
    assert_eq!((code, &said["value"]), (StatusCode::OK, &json!("10")), "64 bits are text: {said}");
    let (_, said) =
        call(&world, &v2("ResolveBoolean"), &json!({ "flag_key": "boolean-zero", "more": 1 })).await;
    assert_eq!(
        (&said["value"], &said["variant"]),
        (&json!(false), &json!("off")),
        "a zero is written: {said}"
    );
    let (_, said) = call(&world, &v2("ResolveBoolean"), &json!({ "flagKey": "disabled" })).await;
    assert_eq!((said.get("value"), said.get("variant")), (None, None), "{said}");
    for (flag, context, code, name) in [
        ("nobody", json!({}), 404, "not_found"),
        ("string", json!({}), 400, "invalid_argument"),
        ("no-such-variant", json!({ "plan": "vip" }), 500, "internal"),
    ] {
        let body = json!({ "flagKey": flag, "context": context });
        let (got, said) = call(&world, &v2("ResolveBoolean"), &body).await;
        assert_eq!((got.as_u16(), &said["code"]), (code, &json!(name)), "{said}");
    }
    world.stop().await;
}

#[tokio::test]
async fn version_1_writes_zeros_over_connect_as_flagd_s_server_does() {
    let world = World::start().await;
    let v1 = |method: &str| format!("flagd.evaluation.v1.Service/{method}");
    for (method, flag, zero, variant) in [
        ("ResolveBoolean", "boolean-zero", json!(false), "off"),
        ("ResolveInt", "integer-zero", json!("0"), "zero"),
        ("ResolveFloat", "float-zero", json!(0.0), "zero"),
        ("ResolveString", "string-zero", json!(""), "no"),
        ("ResolveBoolean", "disabled", json!(false), ""),
    ] {
        let (code, said) = call(&world, &v1(method), &json!({ "flagKey": flag })).await;
        assert_eq!(code, StatusCode::OK, "{said}");
        assert_eq!((said.get("value"), &said["variant"]), (Some(&zero), &json!(variant)), "{flag}: {said}");
    }
    let (_, said) = call(&world, &v1("ResolveAll"), &json!({})).await;
    assert_eq!(said["flags"]["boolean-zero"]["boolValue"], json!(false), "{said}");
    let disabled = &said["flags"]["disabled"];
    assert_eq!((&disabled["variant"], disabled.get("boolValue")), (&json!(""), None), "{said}");
    world.stop().await;
}

#[tokio::test]
async fn a_stream_over_connect_comes_in_frames_over_http_1() {
    let world = World::start().await;
    let address = world.address("rpc");
    let mut body = Vec::new();
    body.put_u8(0);
    body.put_u32(2);
    body.extend_from_slice(b"{}");
    let request = Request::builder()
        .method(Method::POST)
        .uri("/flagd.evaluation.v1.Service/EventStream")
        .header(header::HOST, address.to_string())
        .header(header::CONTENT_TYPE, "application/connect+json")
        .header("connect-protocol-version", "1")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let response = send(address, request).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut stream = response.into_body();
    let frame = stream.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(frame[0], 0);
    let length = usize::try_from(u32::from_be_bytes(frame[1..5].try_into().unwrap())).unwrap();
    let event: Value = serde_json::from_slice(&frame[5..5 + length]).unwrap();
    assert_eq!(event["type"], "provider_ready");
    world.stop().await;
}

#[tokio::test]
async fn all_protocols_may_share_one_port() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut setup = setup();
    for (key, address) in &mut setup.settings {
        if key.starts_with("openfeature.") {
            *address = port.to_string();
        }
    }
    let world = World::with(&setup).await;
    for kind in ["rpc", "in-process", "ofrep"] {
        assert_eq!(world.address(kind), port);
    }
    let (code, _) =
        call(&world, "flagd.evaluation.v1.Service/ResolveBoolean", &json!({ "flagKey": "boolean" })).await;
    assert_eq!(code, StatusCode::OK);
    let (code, said) = call(&world, "flagd.sync.v1.FlagSyncService/FetchAllFlags", &json!({})).await;
    assert_eq!(code, StatusCode::OK);
    assert!(said["flagConfiguration"].as_str().unwrap().contains("boolean-zero"));
    let (code, said) = call(&world, "ofrep/v1/evaluate/flags/boolean", &json!({})).await;
    assert_eq!((code, &said["value"]), (StatusCode::OK, &json!(true)));
    world.stop().await;
}

//! What a web page can do: what its origin is allowed, and nothing by way of a name it made up.

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use serde_json::json;
use tenantry::grpc::edge::Origins;

use super::exchange::{Exchange, post, send};
use crate::edge::{
    served::{Served, few_threads},
    wire::GET,
};

const APP: &str = "https://app.example.com";

/// As `serve` with listed origins.
async fn listed() -> Served {
    Served::made(few_threads(), |listener| listener.for_origins(Origins::default().and([APP.to_owned()])))
        .await
}

/// As `dev`.
async fn for_this_machine() -> Served {
    Served::made(few_threads(), |listener| listener.for_origins(Origins::loopback()).for_this_machine()).await
}

fn call(headers: &[(&'static str, &str)]) -> Request<Bytes> {
    let mut request = post(GET, "application/json", json!({ "tenantId": "acme" }).to_string());
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

async fn preflight(served: &Served, origin: &str) -> Exchange {
    let request = Request::options(GET)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,connect-protocol-version");
    send(served.pages, request.body(Bytes::new()).unwrap()).await
}

#[tokio::test]
async fn a_listed_origin_may_call_and_read_the_answer() {
    let served = listed().await;
    let asked = preflight(&served, APP).await;
    assert_eq!(asked.status, StatusCode::NO_CONTENT);
    assert_eq!(asked.header("access-control-allow-origin"), APP);
    assert_eq!(asked.header("access-control-allow-methods"), "GET, POST");
    for name in [
        "content-type",
        "x-grpc-web",
        "x-user-agent",
        "grpc-timeout",
        "connect-protocol-version",
        "connect-timeout-ms",
        "authorization",
        "if-none-match",
    ] {
        let allowed = asked.header("access-control-allow-headers");
        assert!(allowed.split(", ").any(|allowed| allowed == name), "{name} is not in {allowed}");
    }
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let mut request = call(&[("origin", APP)]);
        *request.version_mut() = version;
        let answer = send(served.address, request).await;
        assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, APP));
        let exposed = answer.header("access-control-expose-headers");
        assert!(
            ["grpc-status", "grpc-message", "etag"].iter().all(|name| exposed.contains(name)),
            "{exposed}"
        );
        assert_eq!(
            (answer.header("vary"), answer.header("access-control-allow-credentials")),
            ("origin", "")
        );
    }
    let error = send(served.address, call(&[("origin", APP), ("connect-protocol-version", "9")])).await;
    assert_eq!((error.status.as_u16(), error.header("access-control-allow-origin")), (400, APP));
}

#[tokio::test]
async fn another_origin_may_not_and_nothing_happens() {
    let served = listed().await;
    let evil = "https://evil.example";
    assert_eq!(preflight(&served, evil).await.status, StatusCode::FORBIDDEN);
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let mut request = call(&[("origin", evil)]);
        *request.version_mut() = version;
        let answer = send(served.address, request).await;
        assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (403, ""));
    }
    assert!(!served.metrics_text().contains("grpc_server_handled_total"), "no call was begun");
    let own = send(served.address, call(&[("origin", &format!("http://{}", served.address))])).await;
    assert_eq!(own.status, 200, "the listener's own page");
}

#[tokio::test]
async fn without_credentials_a_rebound_name_reaches_nothing() {
    let served = for_this_machine().await;
    let rebound = "evil.example:8080";
    let origin = format!("http://{rebound}");
    for request in [
        call(&[("host", rebound)]),
        call(&[("host", rebound), ("origin", &origin)]),
        Request::get("/metrics").header("host", rebound).body(Bytes::new()).unwrap(),
        Request::get(format!("{GET}?encoding=json&message=%7B%7D"))
            .header("host", rebound)
            .body(Bytes::new())
            .unwrap(),
    ] {
        let answer = send(served.pages, request).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{answer:?}");
        assert!(String::from_utf8_lossy(&answer.body).contains("localhost"), "it says why");
    }
    for host in ["localhost:8080", "127.0.0.1", "[::1]:8080", "tenantry.localhost"] {
        assert_eq!(send(served.pages, call(&[("host", host)])).await.status, 200, "{host}");
    }
}

#[tokio::test]
async fn without_credentials_a_page_from_elsewhere_cannot_trigger_what_it_cannot_read() {
    let served = for_this_machine().await;
    // What a form or a no-cors fetch can send without asking beforehand.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let body = json!({ "tenantId": "acme" }).to_string();
        assert_eq!(send(served.pages, post(GET, kind, body)).await.status, 415, "{kind}");
    }
    assert_eq!(send(served.pages, call(&[("origin", "https://evil.example")])).await.status, 403);
    assert_eq!(send(served.pages, call(&[("origin", "null")])).await.status, 403);
    let local = send(served.pages, call(&[("origin", "http://localhost:5173")])).await;
    assert_eq!(
        local.header("access-control-allow-origin"),
        "http://localhost:5173",
        "a developer's own page"
    );
}

#[tokio::test]
async fn grpc_clients_call_under_any_name_they_know_the_server_by() {
    let served = for_this_machine().await;
    // The wire's requests are for `edge`; no browser speaks HTTP/2 without TLS.
    let answer =
        crate::edge::wire::call(served.address, GET, &[], crate::edge::wire::of_tenant("acme")).await;
    assert_eq!(answer.code(), tonic::Code::Ok);
}

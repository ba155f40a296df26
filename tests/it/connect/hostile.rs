//! Whatever is wrong with a request, in any protocol: a code that fits, words of ours, no bug, and the server lives.

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use bytes::Bytes;
use http::Request;
use serde_json::json;
use tenantry::grpc::edge::Limits;

use super::exchange::{Exchange, post, send};
use crate::edge::{
    served::{Served, few_threads},
    wire::{GET, framed, gzipped},
};

const WATCH: &str = "/grpc.health.v1.Health/Watch";
/// Words that would give away what is below.
const LIBRARY_WORDS: &[&str] =
    &["prost", "serde", "tonic", "expected", "trailing", "EOF", "base64", "flate", "varint", "src/"];

async fn served() -> Served {
    Served::with(Limits { message_bytes_max: 64 << 10, ..few_threads() }).await
}

fn with(mut request: Request<Bytes>, headers: &[(&'static str, &str)]) -> Request<Bytes> {
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

fn assert_ours(case: &str, error: &serde_json::Value, code: &str, reason: &str) {
    assert_eq!(error["code"], code, "{case}: {error}");
    let message = error["message"].as_str().unwrap();
    let inner = message.replace("base64=1", "").replace("URL-safe base64", "").replace("valid base64", "");
    for word in LIBRARY_WORDS {
        assert!(!inner.contains(word), "{case}: {message}");
    }
    let details = error["details"].as_array().unwrap();
    assert!(details.iter().any(|detail| detail["debug"]["reason"] == reason), "{case}: {error}");
    if code == "invalid_argument" {
        let request = details.iter().find(|detail| detail["type"] == "google.rpc.BadRequest");
        let field =
            &request.unwrap_or_else(|| panic!("{case}: {error}"))["debug"]["fieldViolations"][0]["field"];
        assert!(field.as_str().is_some_and(|field| !field.is_empty()), "{case}: {error}");
    }
}

fn assert_unary(case: &str, answer: &Exchange, code: &str, reason: &str) {
    assert_eq!(answer.header("content-type"), "application/json", "{case}: {answer:?}");
    assert!(!answer.header("x-request-id").is_empty(), "{case}");
    assert_ours(case, &answer.json(), code, reason);
}

#[tokio::test]
async fn faulty_json_is_refused_by_name() {
    let served = served().await;
    let deep = format!(r#"{{"tenantId":{}"#, "[".repeat(30_000));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("an empty body", b"".to_vec()),
        ("no JSON", b"tenant".to_vec()),
        ("half a document", br#"{"tenantId":"a"#.to_vec()),
        ("trailing garbage", br#"{"tenantId":"a"} {}"#.to_vec()),
        ("a wrong type", br#"{"tenantId":{"a":1}}"#.to_vec()),
        ("a list", b"[]".to_vec()),
        ("NaN", br#"{"tenantId":NaN}"#.to_vec()),
        ("a lone surrogate", br#"{"tenantId":"\ud800"}"#.to_vec()),
        ("invalid UTF-8", b"{\"tenantId\":\"\xff\"}".to_vec()),
        ("a byte order mark", b"\xef\xbb\xbf{}".to_vec()),
        ("the field twice, once wrongly", br#"{"tenantId":7,"tenantId":"b"}"#.to_vec()),
        ("great depth", deep.into_bytes()),
    ];
    for (case, body) in cases {
        let answer = send(served.address, post(GET, "application/json", body)).await;
        assert_unary(case, &answer, "invalid_argument", "MALFORMED_REQUEST");
        assert_eq!(answer.status, 400, "{case}");
    }
    // What the contract does not know is refused, however deep, without recursion.
    let unknown = format!(r#"{{"x":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
    assert_eq!(send(served.address, post(GET, "application/json", unknown)).await.status, 400);
    let answer = send(served.address, post(GET, "application/json", r#"{"tenantId":5}"#)).await;
    let violation = &answer.json()["details"][1]["debug"]["fieldViolations"][0];
    assert_eq!(violation["field"], "tenantId", "{}", answer.json());
}

#[tokio::test]
async fn faulty_bytes_and_sizes_are_refused() {
    let served = served().await;
    let gzip = &[("content-encoding", "gzip")][..];
    let bomb = gzipped(&vec![b' '; 4 << 20]);
    let cases: Vec<(&str, Request<Bytes>, &str, &str)> = vec![
        (
            "no protobuf",
            post(GET, "application/proto", &b"\xff\xff"[..]),
            "invalid_argument",
            "MALFORMED_REQUEST",
        ),
        (
            "a large body",
            post(GET, "application/json", vec![b' '; 70_000]),
            "resource_exhausted",
            "MESSAGE_TOO_LARGE",
        ),
        (
            "a bomb",
            with(post(GET, "application/json", bomb), gzip),
            "resource_exhausted",
            "MESSAGE_TOO_LARGE",
        ),
        ("no gzip", with(post(GET, "application/json", "{}"), gzip), "invalid_argument", "MALFORMED_REQUEST"),
        (
            "half a gzip",
            with(post(GET, "application/json", gzipped(b"{}")[..12].to_vec()), gzip),
            "invalid_argument",
            "MALFORMED_REQUEST",
        ),
        (
            "another compression",
            with(post(GET, "application/json", "{}"), &[("content-encoding", "br")]),
            "unimplemented",
            "COMPRESSION_UNSUPPORTED",
        ),
        (
            "another version",
            with(post(GET, "application/json", "{}"), &[("connect-protocol-version", "2")]),
            "invalid_argument",
            "PROTOCOL_VERSION",
        ),
        (
            "a bad timeout",
            with(post(GET, "application/json", "{}"), &[("connect-timeout-ms", "1s")]),
            "invalid_argument",
            "INVALID_TIMEOUT",
        ),
        (
            "no time at all",
            with(post(GET, "application/json", "{}"), &[("connect-timeout-ms", "0")]),
            "deadline_exceeded",
            "DEADLINE_EXCEEDED",
        ),
    ];
    for (case, request, code, reason) in cases {
        assert_unary(case, &send(served.pages, request).await, code, reason);
    }
}

#[tokio::test]
async fn a_faulty_query_is_refused() {
    let served = served().await;
    let noise = URL_SAFE.encode(b"\xff\xff");
    for (query, status, code) in [
        ("encoding=json&message=%7B%7D", 200, ""),
        ("connect=v1&encoding=json", 400, "invalid_argument"),
        ("connect=v1&encoding=json&message=", 400, "invalid_argument"),
        ("connect=v1&encoding=json&message=%", 400, "invalid_argument"),
        ("connect=v1&encoding=json&base64=1&message=%", 400, "invalid_argument"),
        ("connect=v1&encoding=json&base64=1&message=a", 400, "invalid_argument"),
        (&format!("connect=v1&encoding=proto&base64=1&message={noise}"), 400, "invalid_argument"),
        ("connect=v2&encoding=json&message=%7B%7D", 400, "invalid_argument"),
        ("connect=v1&encoding=json&message=%7B%7D&compression=br", 501, "unimplemented"),
        ("connect=v1&encoding=json&message=%7B%7D&compression=gzip", 400, "invalid_argument"),
        ("connect=v1&encoding=xml&message=%7B%7D", 415, ""),
        ("connect=v1", 415, ""),
        ("", 415, ""),
    ] {
        let request = Request::get(format!("{GET}?{query}")).body(Bytes::new()).unwrap();
        let answer = send(served.address, request).await;
        assert_eq!(answer.status, status, "{query}: {answer:?}");
        if !code.is_empty() {
            assert_eq!(answer.json()["code"], code, "{query}");
        }
    }
    for query in ["connect=v1&message=%7B%7D", "connect=v1&encoding=xml&message=%7B%7D"] {
        let request = Request::get(format!("{GET}?{query}")).body(Bytes::new()).unwrap();
        let answer = send(served.address, request).await;
        let sentence = String::from_utf8_lossy(&answer.body);
        assert!(sentence.contains("query parameter encoding must be json or proto"), "{sentence}");
        assert_eq!(answer.header("accept-post"), "", "a GET has no content type");
    }
    let long = format!("{GET}?encoding=json&message={}", "x".repeat(20_000));
    let answer = send(served.address, Request::get(long).body(Bytes::new()).unwrap()).await;
    assert!(matches!(answer.status.as_u16(), 414 | 431), "{answer:?}");
}

#[tokio::test]
async fn faulty_frames_end_a_stream_with_an_error() {
    let served = served().await;
    let one = framed(0, b"{}");
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("no message", Vec::new(), "unimplemented"),
        ("two messages", [one.clone(), one.clone()].concat(), "unimplemented"),
        ("a frame cut short", one[..4].to_vec(), "invalid_argument"),
        ("a message cut short", framed(0, b"{}xx")[..6].to_vec(), "invalid_argument"),
        ("an unknown flag", framed(4, b"{}"), "invalid_argument"),
        ("an end from the wrong side", framed(2, b"{}"), "invalid_argument"),
        ("undeclared compression", framed(1, &gzipped(b"{}")), "internal"),
        ("a large promise", b"\0\xff\xff\xff\xff".to_vec(), "resource_exhausted"),
        ("no JSON", framed(0, b"x"), "invalid_argument"),
    ];
    for (case, body, code) in cases {
        let answer = send(served.address, post(WATCH, "application/connect+json", body)).await;
        assert_eq!((answer.status.as_u16(), answer.body[0]), (200, 2), "{case}: {answer:?}");
        let end: serde_json::Value = serde_json::from_slice(&answer.body[5..]).unwrap();
        assert_eq!(end["error"]["code"], code, "{case}: {end}");
        assert!(
            end["metadata"]["x-request-id"].is_array() || !answer.header("x-request-id").is_empty(),
            "{case}"
        );
    }
    for text in ["A", "AAAA=", "!!!!", "AAAAAAA"] {
        let answer = send(served.address, post(GET, "application/grpc-web-text", text)).await;
        assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, "3"), "{text}: {answer:?}");
    }
}

#[tokio::test]
async fn what_is_no_call_gets_an_http_refusal_and_what_is_no_method_an_error() {
    let served = served().await;
    for address in [served.address, served.pages] {
        let wrong_type = send(address, post(GET, "text/plain", "{}")).await;
        assert_eq!(wrong_type.status, 415);
        assert!(wrong_type.header("accept-post").contains("application/json"));
        assert_eq!(send(address, post(GET, "application/connect+json", "")).await.status, 415, "it is unary");
        assert_eq!(send(address, post(WATCH, "application/json", "{}")).await.status, 415, "it streams");
        assert_eq!(send(address, post(GET, "application/grpc", "")).await.status, 505, "it needs HTTP/2");
        let get = Request::get("/tenantry.v1.TenantHealth/ReportSignals?encoding=json&message={}");
        let get = send(address, get.body(Bytes::new()).unwrap()).await;
        assert_eq!((get.status.as_u16(), get.header("allow")), (405, "POST"), "it has side effects");
        let put = Request::put(GET).body(Bytes::new()).unwrap();
        assert_eq!(send(address, put).await.header("allow"), "GET, POST");
        let unknown =
            send(address, post("/tenantry.v1.TenantHealth/Nothing", "application/json", "{}")).await;
        assert_eq!((unknown.status.as_u16(), &unknown.json()["code"]), (404, &json!("unimplemented")));
        assert_ours("unknown", &unknown.json(), "unimplemented", "METHOD_UNKNOWN");
        let upgrade = Request::post(GET)
            .header("content-type", "application/json")
            .header("connection", "upgrade, http2-settings")
            .header("upgrade", "h2c")
            .header("http2-settings", "AAMAAABkAAQAAP__");
        let upgrade = send(address, upgrade.body("{}".into()).unwrap()).await;
        assert_eq!(upgrade.status, 200, "an upgrade that nobody takes is a usual call");
    }
}

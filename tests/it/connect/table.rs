//! The same calls in every dialect have the same outcome.

use prost::Message as _;
use serde_json::json;
use tenantry::proto::v1::{GetTenantHealthRequest, TenantHealthStatus};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::{
    dialect::{self, Dialect, Family},
    exchange::{post, send},
};
use crate::edge::{
    served::{Served, few_threads},
    wire::GET,
};

const WATCH: &str = "/grpc.health.v1.Health/Watch";

async fn get_health(served: &Served, dialect: Dialect, tenant: &str) -> dialect::Outcome {
    let message = GetTenantHealthRequest { tenant_id: tenant.to_owned() };
    let request = dialect.request(GET, &message, &json!({ "tenantId": tenant }));
    // Either listener, in turn.
    let address = if dialect.json { served.address } else { served.pages };
    dialect.outcome(&send(address, request).await)
}

#[tokio::test]
async fn a_unary_call_has_the_same_answer_in_every_dialect_on_every_listener() {
    let served = Served::usual().await;
    let long = "acme".repeat(1_000);
    for dialect in dialect::all(true) {
        for tenant in ["acme", long.as_str()] {
            let outcome = get_health(&served, dialect, tenant).await;
            assert_eq!(outcome.code, "ok", "{dialect:?}");
            let [message] = outcome.messages.as_slice() else { panic!("{dialect:?}: {outcome:?}") };
            let answered = if dialect.json {
                serde_json::from_slice::<serde_json::Value>(message).unwrap()["tenantId"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            } else {
                TenantHealthStatus::decode(message.as_slice()).unwrap().tenant_id
            };
            assert_eq!(answered, tenant, "{dialect:?}");
        }
    }
}

#[tokio::test]
async fn a_handlers_error_has_code_sentence_and_reason_in_every_dialect() {
    let served = Served::usual().await;
    for dialect in dialect::all(true) {
        let outcome = get_health(&served, dialect, "ours").await;
        let said = (outcome.code.as_str(), outcome.message.as_str(), outcome.reason.as_str());
        assert_eq!(said, ("not_found", "No such tenant.", "TENANT_NOT_FOUND"), "{dialect:?}");
        let outcome = get_health(&served, dialect, "panic").await;
        assert_eq!((outcome.code.as_str(), outcome.reason.as_str()), ("internal", "INTERNAL"), "{dialect:?}");
        assert!(!outcome.message.contains("secret"), "{dialect:?}");
    }
}

#[tokio::test]
async fn a_stream_has_the_same_messages_and_the_same_end_in_every_dialect() {
    let served = Served::with(few_threads()).await;
    served.health.set_all(true).await;
    // All at once, since each lasts until its deadline.
    let mut watching = tokio::task::JoinSet::new();
    for dialect in dialect::all(false) {
        let mut request = dialect.request(WATCH, &HealthCheckRequest::default(), &json!({}));
        let timeout = if dialect.family == Family::Stream {
            ("connect-timeout-ms", "1000")
        } else {
            ("grpc-timeout", "1000m")
        };
        request.headers_mut().insert(timeout.0, timeout.1.parse().unwrap());
        let address = served.pages;
        watching.spawn(async move { (dialect, dialect.outcome(&send(address, request).await)) });
    }
    assert!(watching.len() > 20, "every dialect is there");
    while let Some(watched) = watching.join_next().await {
        let (dialect, outcome) = watched.unwrap();
        assert_eq!(
            (outcome.code.as_str(), outcome.reason.as_str()),
            ("deadline_exceeded", "DEADLINE_EXCEEDED"),
            "{dialect:?}"
        );
        let [message] = outcome.messages.as_slice() else { panic!("{dialect:?}: {outcome:?}") };
        if dialect.json {
            assert_eq!(message, br#"{"status":"SERVING"}"#, "{dialect:?}");
        } else {
            assert_eq!(HealthCheckResponse::decode(message.as_slice()).unwrap().status, 1, "{dialect:?}");
        }
    }
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_read_it_and_if_it_is_worth_it() {
    let served = Served::usual().await;
    let ask = async |tenant: &str, accept: &str| {
        let body = json!({ "tenantId": tenant }).to_string();
        let mut request = post(GET, "application/json", body);
        request.headers_mut().insert("accept-encoding", accept.parse().unwrap());
        send(served.address, request).await
    };
    let long = "acme".repeat(1_000);
    let compressed = ask(&long, "br, gzip").await;
    assert_eq!(
        (compressed.header("content-encoding"), compressed.header("vary")),
        ("gzip", "accept-encoding")
    );
    assert!(compressed.body.len() < 500, "{}", compressed.body.len());
    assert_eq!(ask(&long, "identity").await.header("content-encoding"), "");
    assert_eq!(ask("acme", "gzip").await.header("content-encoding"), "");
}

#[tokio::test]
async fn every_code_has_the_http_status_of_connects_table() {
    let served = Served::usual().await;
    for (code, name, http) in [
        (1, "canceled", 499),
        (2, "unknown", 500),
        (3, "invalid_argument", 400),
        (4, "deadline_exceeded", 504),
        (5, "not_found", 404),
        (6, "already_exists", 409),
        (7, "permission_denied", 403),
        (8, "resource_exhausted", 429),
        (9, "failed_precondition", 400),
        (10, "aborted", 409),
        (11, "out_of_range", 400),
        (12, "unimplemented", 501),
        (13, "internal", 500),
        (14, "unavailable", 503),
        (15, "data_loss", 500),
        (16, "unauthenticated", 401),
    ] {
        let body = json!({ "tenantId": format!("code-{code}") }).to_string();
        let answer = send(served.address, post(GET, "application/json", body)).await;
        assert_eq!((answer.status.as_u16(), answer.json()["code"].as_str()), (http, Some(name)), "{code}");
    }
}

#[tokio::test]
async fn what_a_caller_sends_and_gets_beside_the_message_is_the_same_over_connect() {
    let served = Served::usual().await;
    let report = "/tenantry.v1.TenantHealth/ReportSignals";
    let mut request = post(report, "application/json", "{}");
    request.headers_mut().insert("x-request-id", "order-7".parse().unwrap());
    request.headers_mut().insert("connect-timeout-ms", "4000".parse().unwrap());
    let answer = send(served.address, request).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-request-id")), (200, "order-7"));
    assert_eq!(answer.json()["tenantId"], "order-7", "the handler sees the call's name");
    assert_eq!(answer.json()["healthScore"], 3, "and the seconds left");
    let text = served.metrics_text();
    let series = r#"grpc_code="OK",grpc_method="ReportSignals",grpc_service="tenantry.v1.TenantHealth""#;
    assert!(text.contains(series), "{text}");
}

#[tokio::test]
async fn the_servers_deadline_and_its_caps_hold_in_every_protocol() {
    let limits = tenantry::grpc::edge::Limits {
        unary_deadline: std::time::Duration::from_secs(3),
        calls_in_flight_max: 1,
        ..few_threads()
    };
    let served = Served::with(limits).await;
    let slow = tokio::spawn(send(served.pages, post(GET, "application/json", r#"{"tenantId":"slow"}"#)));
    // The slow call is inside once the gauge says so.
    let open = r#"tenantry_calls_open{kind="unary"} 1"#;
    while !served.metrics_text().contains(open) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let refused = send(served.address, post(GET, "application/json", r#"{"tenantId":"acme"}"#)).await;
    assert_eq!(refused.status, 429);
    let refused = refused.json();
    let retry = refused["details"].as_array().unwrap().iter().find(|it| it["type"] == "google.rpc.RetryInfo");
    assert_eq!(retry.unwrap()["debug"]["retryDelay"], "0.500s");
    let slow = slow.await.unwrap();
    assert_eq!((slow.status.as_u16(), slow.json()["code"].as_str()), (504, Some("deadline_exceeded")));
}

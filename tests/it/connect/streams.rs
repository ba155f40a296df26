//! Streams over the other protocols: both ways, and how they end when the server goes.

use prost::Message as _;
use serde_json::json;
use tokio::time::{Duration, sleep, timeout};
use tonic_health::pb::HealthCheckRequest;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse, server_reflection_request::MessageRequest,
};

use super::{dialect, exchange::send};
use crate::edge::{served::Served, wire::framed};

#[tokio::test]
async fn a_stream_of_requests_is_answered_by_a_stream_in_every_dialect() {
    let served = Served::usual().await;
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let ask = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    for dialect in dialect::all(false) {
        let request = dialect.request(path, &ask, &json!({ "listServices": "" }));
        let outcome = dialect.outcome(&send(served.address, request).await);
        assert_eq!(outcome.code, "ok", "{dialect:?}: {outcome:?}");
        let [message] = outcome.messages.as_slice() else { panic!("{dialect:?}: {outcome:?}") };
        let listed = if dialect.json {
            String::from_utf8(message.clone()).unwrap()
        } else {
            format!("{:?}", ServerReflectionResponse::decode(message.as_slice()).unwrap())
        };
        assert!(listed.contains("tenantry.v1.TenantRegistry"), "{dialect:?}: {listed}");
    }
}

#[tokio::test]
async fn an_open_stream_is_told_to_come_again_in_every_dialect_when_the_server_goes() {
    let mut served = Served::usual().await;
    let mut watching = tokio::task::JoinSet::new();
    for dialect in dialect::all(false) {
        let path = "/grpc.health.v1.Health/Watch";
        let request = dialect.request(path, &HealthCheckRequest::default(), &json!({}));
        let address = served.pages;
        watching.spawn(async move { (dialect, dialect.outcome(&send(address, request).await)) });
    }
    let all = format!(r#"tenantry_calls_open{{kind="stream"}} {}"#, watching.len());
    while !served.metrics_text().contains(&all) {
        sleep(Duration::from_millis(5)).await;
    }
    served.drain.cancel();
    while let Some(watched) = timeout(Duration::from_secs(20), watching.join_next()).await.expect("an end") {
        let (dialect, outcome) = watched.unwrap();
        let said = (outcome.code.as_str(), outcome.reason.as_str());
        assert_eq!(said, ("unavailable", "SHUTTING_DOWN"), "{dialect:?}");
    }
    assert_eq!(served.server.drained().await.aborted_connections, 0);
}

#[tokio::test]
async fn each_message_of_a_stream_is_there_when_it_is_sent_not_when_the_stream_ends() {
    use http_body_util::{BodyExt as _, Full};
    let served = Served::usual().await;
    served.health.set_all(true).await;
    let stream = tokio::net::TcpStream::connect(served.address).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("/grpc.health.v1.Health/Watch")
        .header("host", "x")
        .header("content-type", "application/connect+json")
        .body(Full::new(bytes::Bytes::from(framed(0, b"{}"))))
        .unwrap();
    let mut body = client.send_request(request).await.unwrap().into_body();
    for (serving, expected) in [(false, r#"{"status":"SERVING"}"#), (true, r#"{"status":"NOT_SERVING"}"#)] {
        let frame =
            timeout(Duration::from_secs(20), body.frame()).await.expect("a message").unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), framed(0, expected.as_bytes()));
        served.health.set_all(serving).await;
    }
}

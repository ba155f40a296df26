//! Deadlines, overload, request ids, metrics; health and reflection behind the edge.

use std::time::{Duration, Instant};

use prost::Message as _;
use tenantry::{grpc::edge::Limits, proto::v1::TenantHealthStatus};
use tokio::time::sleep;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb;
use tonic_types::StatusExt as _;

use super::{
    served::{Served, few_threads},
    wire::{GET, REPORT, call, connect, framed, of_tenant, request, send},
};

#[tokio::test]
async fn a_clients_deadline_ends_the_call() {
    let served = Served::usual().await;
    let began = Instant::now();
    let answer = call(served.address, GET, &[("grpc-timeout", "100m")], of_tenant("slow")).await;
    assert_eq!((answer.code(), answer.reason().as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn the_servers_deadline_ends_a_call_whose_client_asks_for_more() {
    let limits = Limits { unary_deadline: Duration::from_millis(100), ..few_threads() };
    let served = Served::with(limits).await;
    let answer = call(served.address, GET, &[("grpc-timeout", "30S")], of_tenant("slow")).await;
    assert_eq!(answer.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_streams_deadline_ends_it_with_a_status() {
    let served = Served::usual().await;
    let watch = "/grpc.health.v1.Health/Watch";
    let answer = call(served.address, watch, &[("grpc-timeout", "200m")], framed(0, b"")).await;
    assert_eq!(answer.code(), Code::DeadlineExceeded);
    assert!(!answer.body.is_empty(), "the first state came before the deadline");
}

#[tokio::test]
async fn calls_above_the_cap_are_refused_with_a_time_to_retry_but_health_checks_are_answered() {
    let served = Served::with(Limits { calls_in_flight_max: 1, ..few_threads() }).await;
    let client = connect(served.address).await;
    let slow = tokio::spawn({
        let client = client.clone();
        async move { send(&client, request(GET, &[]), of_tenant("half-a-second")).await.unwrap() }
    });
    sleep(Duration::from_millis(150)).await;
    let refused = send(&client, request(GET, &[]), of_tenant("acme")).await.unwrap();
    assert_eq!((refused.code(), refused.reason().as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    assert!(refused.status().get_details_retry_info().unwrap().retry_delay.is_some());
    let check = request("/grpc.health.v1.Health/Check", &[]);
    assert_eq!(send(&client, check, framed(0, b"")).await.unwrap().code(), Code::Ok);
    assert_eq!(slow.await.unwrap().code(), Code::Ok);
    assert_eq!(send(&client, request(GET, &[]), of_tenant("acme")).await.unwrap().code(), Code::Ok);
}

#[tokio::test]
async fn a_handler_sees_the_calls_name_and_its_deadline() {
    let served = Served::usual().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let given = call(served.address, REPORT, &[("x-request-id", "order-7")], framed(0, b"")).await;
    let traced = call(served.address, REPORT, &[("traceparent", &parent)], framed(0, b"")).await;
    let status = |body: &[u8]| TenantHealthStatus::decode(&body[5..]).unwrap();
    assert_eq!(status(&given.body).tenant_id, "order-7");
    assert_eq!(given.headers["x-request-id"], "order-7");
    assert_eq!(status(&traced.body).tenant_id, trace);
    assert!((8..=10).contains(&status(&traced.body).health_score), "seconds left of ten");
}

#[tokio::test]
async fn every_call_is_counted_by_method_and_code_and_unknown_paths_share_one_name() {
    let served = Served::usual().await;
    for tenant in ["acme", "acme", "ours"] {
        call(served.address, GET, &[], of_tenant(tenant)).await;
    }
    for path in ["/made.up/One", "/made.up/Two"] {
        call(served.address, path, &[], of_tenant("acme")).await;
    }
    let text = served.metrics_text();
    let has = |line: &str| assert!(text.contains(line), "{line} is not in\n{text}");
    let series = r#"grpc_method="GetTenantHealth",grpc_service="tenantry.v1.TenantHealth",grpc_type="unary""#;
    has(&format!("grpc_server_handled_total{{grpc_code=\"OK\",{series}}} 2"));
    has(&format!("grpc_server_handled_total{{grpc_code=\"NotFound\",{series}}} 1"));
    has(&format!("grpc_server_handling_seconds_count{{{series}}} 3"));
    has(r#"grpc_code="Unimplemented",grpc_method="unknown",grpc_service="unknown",grpc_type="unary"} 2"#);
    has(r#"tenantry_calls_open{kind="unary"} 0"#);
    assert!(!text.contains("made"), "no label comes from a caller");
}

#[tokio::test]
async fn a_call_that_its_client_leaves_is_counted_as_cancelled() {
    let served = Served::usual().await;
    let client = connect(served.address).await;
    let mut sending = client.ready().await.unwrap();
    let (answer, mut stream) = sending.send_request(request(GET, &[]), false).unwrap();
    stream.send_data(of_tenant("slow").into(), true).unwrap();
    sleep(Duration::from_millis(100)).await;
    drop((answer, stream));
    sleep(Duration::from_millis(200)).await;
    assert!(served.metrics_text().contains(r#"grpc_code="Canceled",grpc_method="GetTenantHealth""#));
    assert!(served.metrics_text().contains(r#"tenantry_calls_open{kind="unary"} 0"#));
}

#[tokio::test]
async fn health_speaks_for_the_server_and_for_every_service() {
    let served = Served::usual().await;
    let mut client = HealthClient::new(served.channel().await);
    for (serving, expected) in [(true, 1), (false, 2)] {
        served.health.set_all(serving).await;
        for service in ["", "tenantry.v1.TenantRegistry", "tenantry.v1.Lifecycle", "tenantry.v1.FeatureFlags"]
        {
            let request = HealthCheckRequest { service: service.to_owned() };
            assert_eq!(client.check(request).await.unwrap().into_inner().status, expected, "{service:?}");
        }
    }
    let unknown = HealthCheckRequest { service: "nobody".to_owned() };
    let error = client.check(unknown).await.unwrap_err();
    let reason = error.get_details_error_info().unwrap().reason;
    assert_eq!((error.code(), reason.as_str()), (Code::NotFound, "SERVICE_UNKNOWN"));
    assert!(include_str!("../../../docs/ERRORS.md").contains("| SERVICE_UNKNOWN | NOT_FOUND |"));
}

#[tokio::test]
async fn reflection_lists_the_services_in_both_versions() {
    let served = Served::usual().await;
    let expected =
        ["grpc.health.v1.Health", "tenantry.v1.TenantRegistry", "grpc.reflection.v1.ServerReflection"];

    let ask = pb::v1::ServerReflectionRequest {
        message_request: Some(pb::v1::server_reflection_request::MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut client = pb::v1::server_reflection_client::ServerReflectionClient::new(served.channel().await);
    let mut answers = client.server_reflection_info(tokio_stream::iter([ask])).await.unwrap().into_inner();
    let answer = format!("{:?}", answers.message().await.unwrap().unwrap());
    assert!(expected.iter().all(|name| answer.contains(name)), "{answer}");

    let ask = pb::v1alpha::ServerReflectionRequest {
        message_request: Some(pb::v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
            "tenantry.v1.TenantRegistry".to_owned(),
        )),
        ..Default::default()
    };
    let mut client =
        pb::v1alpha::server_reflection_client::ServerReflectionClient::new(served.channel().await);
    let mut answers = client.server_reflection_info(tokio_stream::iter([ask])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    assert!(format!("{answer:?}").contains("FileDescriptorResponse"), "{answer:?}");
}

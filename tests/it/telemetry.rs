//! Traces reach a collector, under the trace of whoever called.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use prometheus::Registry;
use tenantry::{
    app::telemetry::{Format, Options, start},
    grpc::edge::{Limits, Methods, Metrics, Wiring, serve},
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::service_fn;

use super::edge::{
    served::Served,
    wire::{GET, call, of_tenant},
};

/// Takes whatever is exported and hands it on.
fn collector() -> (String, mpsc::UnboundedReceiver<(String, Vec<u8>)>) {
    let (send, exports) = mpsc::unbounded_channel();
    let service = service_fn(move |request: Request<Body>| {
        let send = send.clone();
        async move {
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let _ = send.send((path, body.to_vec()));
            // An empty reply: everything was taken.
            let mut response = Response::new(Body::new(
                http_body_util::Full::new(bytes::Bytes::from_static(&[0; 5]))
                    .map_err(|never: Infallible| match never {}),
            ));
            response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
            Ok::<_, Infallible>(response)
        }
    });
    let wiring = Wiring {
        limits: Limits { threads: 1, ..Limits::default() },
        methods: Methods::default(),
        metrics: Metrics::register(&Registry::new()).unwrap(),
        drain: CancellationToken::new(),
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = serve(listener, service, wiring).unwrap();
    (format!("http://{}", server.local_addr()), exports)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_exported_as_part_of_its_callers_trace() {
    let (endpoint, mut exports) = collector();
    let options = Options {
        format: Format::Json,
        filter: "off".to_owned(),
        otlp_endpoint: Some(endpoint),
        sample_ratio: 0.0,
    };
    let guard = start(&options).unwrap();
    assert!(start(&options).is_err(), "only once");

    let served = Served::usual().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    call(served.address, GET, &[("traceparent", parent)], of_tenant("acme")).await;
    guard.flush().await;

    let trace = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes();
    let until = Instant::now() + Duration::from_secs(10);
    let (path, body) = timeout_at(until, exports.recv()).await.unwrap().unwrap();
    assert_eq!(path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    assert!(body.windows(16).any(|window| window == trace), "the caller's trace id");
    let name = b"GetTenantHealth";
    assert!(body.windows(name.len()).any(|window| window == name), "the span's name");
}

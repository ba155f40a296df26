//! Traces reach a collector, under the trace of whoever called.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use prometheus::Registry;
use tenantry::{
    app::telemetry::{Format, Options, start},
    grpc::edge::{Limits, Listener, Methods, Metrics, Wiring, serve},
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
use crate::support::{Replica, Setup, empty_database, new_tenant, program};
use tenantry::proto::v1;

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
        stop: CancellationToken::new(),
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = serve(vec![Listener::new("collector", listener, service)], wiring).unwrap();
    (format!("http://{}", server.addresses()[0]), exports)
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
    call(served.address, GET, &[("traceparent", parent)], of_tenant("code-14")).await;
    guard.flush().await;

    let trace = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes();
    let until = Instant::now() + Duration::from_secs(10);
    let (path, body) = timeout_at(until, exports.recv()).await.unwrap().unwrap();
    assert_eq!(path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    assert!(body.windows(16).any(|window| window == trace), "the caller's trace id");
    let name = b"GetTenantHealth";
    assert!(body.windows(name.len()).any(|window| window == name), "the span's name");
    // The key and its value, an integer, as protobuf has them: UNAVAILABLE.
    let code = b"rpc.grpc.status_code\x12\x02\x18\x0e";
    assert!(body.windows(code.len()).any(|window| window == code), "how the call ended");
    // Of a span's status: its code is that of an error.
    assert!(body.windows(4).any(|window| window == [0x7a, 2, 0x18, 2]), "the second failed");
}

/// The real program with its log in a file, killed at the end of the test.
struct Logging {
    child: std::process::Child,
    log: tempfile::NamedTempFile,
    channel: tonic::transport::Channel,
}

impl Logging {
    async fn start() -> Self {
        let database_url = empty_database().await;
        Replica::on(&database_url, &Setup::default()).await.stop().await;
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = std::process::Command::new(program());
        command.args(["serve", "--insecure-no-auth", "--database-url", &database_url]);
        command.args(["--grpc-listen", &format!("127.0.0.1:{port}"), "--http-listen", "127.0.0.1:0"]);
        command.args(["--log-format", "json", "--log-filter", "tenantry=debug"]);
        command.stdout(log.reopen().unwrap()).stderr(log.reopen().unwrap());
        let endpoint = tonic::transport::Channel::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
        let logging = Self { child: command.spawn().unwrap(), log, channel: endpoint.connect_lazy() };
        for _ in 0..600 {
            if endpoint.connect().await.is_ok() {
                return logging;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the program does not serve: {}", logging.text());
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    /// The line that says how a call ended, once it is there.
    async fn line_of(&self, method: &str) -> serde_json::Value {
        for _ in 0..200 {
            let log = self.text();
            let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            let mut ends = lines.filter(|line| line["message"] == "call" && line["rpc.method"] == method);
            if let Some(line) = ends.next() {
                return line;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no line of {method}: {}", self.text());
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_calls_line_names_its_request_its_tenant_and_its_operation() {
    let logging = Logging::start().await;
    let tenant_id = "acme".to_owned();
    // Refused or not: what a call is about is in its line either way.
    let mut registry = v1::tenant_registry_client::TenantRegistryClient::new(logging.channel.clone());
    let tenant = Some(new_tenant("acme"));
    let _ = registry.create_tenant(v1::CreateTenantRequest { tenant, ..Default::default() }).await;
    let _ = registry.get_tenant(v1::GetTenantRequest { tenant_id: tenant_id.clone() }).await;
    let mut flags = v1::feature_flags_client::FeatureFlagsClient::new(logging.channel.clone());
    let evaluate = v1::EvaluateFlagsRequest { tenant_id: tenant_id.clone(), ..Default::default() };
    let _ = flags.evaluate_flags(evaluate).await;
    let mut lifecycle = v1::lifecycle_client::LifecycleClient::new(logging.channel.clone());
    let suspend = v1::SuspendTenantRequest { tenant_id: tenant_id.clone(), ..Default::default() };
    let _ = lifecycle.suspend_tenant(suspend).await;
    let operation_id = "01a212fb-c326-7476-a3a8-4f129e2ffc4d".to_owned();
    let _ = lifecycle.get_operation(v1::GetOperationRequest { operation_id: operation_id.clone() }).await;
    let watch = v1::WatchOperationRequest { operation_id: operation_id.clone() };
    let _ = lifecycle.watch_operation(watch).await;
    for method in ["CreateTenant", "GetTenant", "EvaluateFlags", "SuspendTenant"] {
        let line = logging.line_of(method).await;
        assert_eq!(line["tenant_id"], "acme", "{line}");
        assert_eq!(line["request_id"].as_str().map(str::len), Some(32), "{line}");
    }
    for method in ["GetOperation", "WatchOperation"] {
        let line = logging.line_of(method).await;
        assert_eq!(line["operation_id"], operation_id, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_be_no_id_does_not_reach_the_log() {
    let logging = Logging::start().await;
    let mut registry = v1::tenant_registry_client::TenantRegistryClient::new(logging.channel.clone());
    let forged = "acme\n{\"level\":\"ERROR\"}".to_owned();
    let _ = registry.get_tenant(v1::GetTenantRequest { tenant_id: forged }).await;
    let line = logging.line_of("GetTenant").await;
    assert_eq!(line.get("tenant_id"), None, "{line}");
}

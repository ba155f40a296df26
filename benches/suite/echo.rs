//! The servers that need no database: one service, behind a usual tonic server and behind our edge.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
};

use prometheus::Registry;
use prost::Message as _;
use tenantry::{
    app::telemetry,
    grpc::edge::{self, Limits, Listener, Methods, Metrics, Wiring, reflection},
    proto::v1::{
        GetTenantHealthRequest, ReportSignalsRequest, TenantHealthStatus,
        tenant_health_server::{TenantHealth, TenantHealthServer},
    },
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, service::Routes, transport::server::TcpIncoming};

use crate::client::Case;

/// Which server.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Echo {
    /// tonic's own server on a work-stealing runtime.
    Tonic,
    /// The edge, nobody listening to its spans.
    Edge,
    /// The edge with logging at `info`, as it runs in production.
    EdgeLogged,
}

impl Echo {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tonic => "tonic",
            Self::Edge => "edge",
            Self::EdgeLogged => "edge-logged",
        }
    }
}

/// The call that the echo answers, with a request and a reply of these sizes, less a byte or two.
pub(crate) fn case(request_bytes: usize, reply_bytes: usize) -> Case {
    let request = GetTenantHealthRequest { tenant_id: "x".repeat(request_bytes.saturating_sub(3).max(1)) };
    Case {
        name: format!("echo of {reply_bytes} bytes"),
        path: "/tenantry.v1.TenantHealth/GetTenantHealth".to_owned(),
        is_json: false,
        requests: vec![request.encode_to_vec().into()],
        reply_bytes: Some(reply(reply_bytes).encoded_len()),
    }
}

fn reply(bytes: usize) -> TenantHealthStatus {
    TenantHealthStatus { tenant_id: "x".repeat(bytes.saturating_sub(3)), ..Default::default() }
}

struct Service {
    reply: TenantHealthStatus,
}

#[tonic::async_trait]
impl TenantHealth for Service {
    async fn report_signals(
        &self,
        _request: Request<ReportSignalsRequest>,
    ) -> Result<Response<TenantHealthStatus>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_tenant_health(
        &self,
        request: Request<GetTenantHealthRequest>,
    ) -> Result<Response<TenantHealthStatus>, Status> {
        if request.get_ref().tenant_id.is_empty() {
            return Err(Status::invalid_argument(""));
        }
        Ok(Response::new(self.reply.clone()))
    }
}

/// Serves until standard input closes, which it does when the bench ends, however it ends.
pub(crate) fn serve(kind: Echo, reply_bytes: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    std::io::stdout().flush().unwrap();
    let service = TenantHealthServer::new(Service { reply: reply(reply_bytes) });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let _guard = matches!(kind, Echo::EdgeLogged).then(|| {
        let (format, filter) = (telemetry::Format::Json, "info".to_owned());
        telemetry::start(&telemetry::Options { format, filter, otlp_endpoint: None, sample_ratio: 0.0 })
            .unwrap()
    });
    if matches!(kind, Echo::Tonic) {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        runtime.spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    } else {
        let wiring = Wiring {
            limits: Limits::default(),
            methods: Methods::of(reflection::DESCRIPTOR_SETS).unwrap(),
            metrics: Metrics::register(&Registry::new()).unwrap(),
            drain: CancellationToken::new(),
            stop: CancellationToken::new(),
        };
        let listener = Listener::new("echo", listener, Routes::new(service).prepare());
        edge::serve(vec![listener], wiring).unwrap();
    }
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

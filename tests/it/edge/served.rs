//! A server behind the edge, with a service that misbehaves on demand.

use std::{net::SocketAddr, time::Duration};

use prometheus::{Encoder as _, Registry, TextEncoder};
use tenantry::{
    grpc::edge::{Deadline, Limits, Methods, Metrics, RequestId, Server, Wiring, health, reflection, serve},
    proto::v1::{
        GetTenantHealthRequest, ReportSignalsRequest, TenantHealthStatus,
        tenant_health_server::{TenantHealth, TenantHealthServer},
    },
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, codec::CompressionEncoding, service::Routes};
use tonic_types::{ErrorDetails, StatusExt as _};

/// What a test leans on.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) drain: CancellationToken,
    pub(crate) registry: Registry,
    pub(crate) health: health::Health,
    pub(crate) server: Server,
}

impl Served {
    pub(crate) async fn with(limits: Limits) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let methods = Methods::of(reflection::DESCRIPTOR_SETS).unwrap();
        let (health, health_service) = health::health(methods.services()).await;
        let tenant_health = TenantHealthServer::new(OnDemand)
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(limits.message_bytes_max);
        let routes = Routes::new(health_service)
            .add_service(tenant_health)
            .add_service(reflection::v1().unwrap())
            .add_service(reflection::v1alpha().unwrap());
        let drain = CancellationToken::new();
        let wiring = Wiring { limits, methods, metrics, drain: drain.clone() };
        let server = serve(listener, routes, wiring).unwrap();
        Self { address: server.local_addr(), drain, registry, health, server }
    }

    pub(crate) async fn usual() -> Self {
        Self::with(few_threads()).await
    }

    pub(crate) async fn channel(&self) -> tonic::transport::Channel {
        tonic::transport::Endpoint::new(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    pub(crate) fn metrics_text(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }
}

pub(crate) fn few_threads() -> Limits {
    Limits { threads: 2, drain_timeout: Duration::from_secs(5), ..Limits::default() }
}

/// Answers by the tenant's name.
struct OnDemand;

#[tonic::async_trait]
impl TenantHealth for OnDemand {
    async fn report_signals(
        &self,
        request: Request<ReportSignalsRequest>,
    ) -> Result<Response<TenantHealthStatus>, Status> {
        // The name of the call and its end, as a handler sees them.
        let id = request.extensions().get::<RequestId>().unwrap();
        let deadline = request.extensions().get::<Deadline>().unwrap();
        let health_score = i32::try_from(deadline.remaining().as_secs()).unwrap();
        let tenant_id = id.as_str().to_owned();
        Ok(Response::new(TenantHealthStatus { tenant_id, health_score, ..Default::default() }))
    }

    async fn get_tenant_health(
        &self,
        request: Request<GetTenantHealthRequest>,
    ) -> Result<Response<TenantHealthStatus>, Status> {
        assert!(request.remote_addr().is_some());
        let tenant_id = request.into_inner().tenant_id;
        match tenant_id.as_str() {
            "slow" => sleep(Duration::from_mins(1)).await,
            "half-a-second" => sleep(Duration::from_millis(500)).await,
            "panic" => panic!("a secret of the server"),
            "bare" => return Err(Status::failed_precondition("a secret of the server")),
            "ours" => {
                let details =
                    ErrorDetails::with_error_info("TENANT_NOT_FOUND", "tenantry", [("k".into(), "v".into())]);
                return Err(Status::with_error_details(tonic::Code::NotFound, "No such tenant.", details));
            }
            _ => {}
        }
        Ok(Response::new(TenantHealthStatus { tenant_id, ..Default::default() }))
    }
}

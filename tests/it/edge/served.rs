//! A server behind the edge, with a service that misbehaves on demand.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use prometheus::{Encoder as _, Registry, TextEncoder};
use tenantry::{
    grpc::edge::{
        Deadline, Limits, Listener, Methods, Metrics, NoSuchPage, RequestId, Server, Wiring, health,
        reflection, serve,
    },
    http::{Check, Readiness, router},
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
    /// The listener with pages.
    pub(crate) pages: SocketAddr,
    pub(crate) drain: CancellationToken,
    pub(crate) stop: CancellationToken,
    pub(crate) registry: Registry,
    pub(crate) health: health::Health,
    pub(crate) server: Server,
}

impl Served {
    pub(crate) async fn with(limits: Limits) -> Self {
        Self::made(limits, |listener| listener).await
    }

    /// With both listeners made over.
    pub(crate) async fn made(limits: Limits, over: impl Fn(Listener<Routes>) -> Listener<Routes>) -> Self {
        let [calls, pages] = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let methods = Methods::of(reflection::DESCRIPTOR_SETS).unwrap();
        let (health, health_service) = health::health(methods.services()).await;
        let tenant_health = TenantHealthServer::new(OnDemand)
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(limits.message_bytes_max);
        let routes = Routes::new(health_service)
            .add_service(tenant_health)
            .add_service(reflection::v1(&[]).unwrap())
            .add_service(reflection::v1alpha(&[]).unwrap());
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let check = Check { name: "draining", ask: ready_until(&drain) };
        let beside = router(vec![check], registry.clone(), NoSuchPage);
        let listeners = vec![
            over(Listener::new("calls", calls, routes.clone())),
            over(Listener::new("pages", pages, routes)).with_pages(beside).outlasting_the_drain(),
        ];
        let wiring = Wiring { limits, methods, metrics, drain: drain.clone(), stop: stop.clone() };
        let server = serve(listeners, wiring).unwrap();
        let &[address, pages] = server.addresses() else { panic!("two listeners") };
        Self { address, pages, drain, stop, registry, health, server }
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

fn ready_until(drain: &CancellationToken) -> Arc<dyn Fn() -> Readiness + Send + Sync> {
    let drain = drain.clone();
    Arc::new(move || {
        if drain.is_cancelled() {
            Readiness::NotReady("going down".to_owned())
        } else {
            Readiness::Ready(String::new())
        }
    })
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
        if let Some(code) = tenant_id.strip_prefix("code-") {
            let details = ErrorDetails::with_error_info("FOR_A_TEST", "tenantry", []);
            let code = tonic::Code::from_i32(code.parse().unwrap());
            return Err(Status::with_error_details(code, "As asked.", details));
        }
        Ok(Response::new(TenantHealthStatus { tenant_id, ..Default::default() }))
    }
}

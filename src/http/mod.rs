//! HTTP: probes and metrics.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder as _, Registry, TextEncoder};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Whether the server can answer, and what that rests on.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Readiness {
    /// There is something to serve.
    pub view_loaded: bool,
    /// The server is going down.
    pub draining: bool,
    /// For how long the database has not answered.
    pub database_silent_seconds: u64,
    /// That is longer than the bound. Reads are still answered, and say so.
    pub stale: bool,
}

impl Readiness {
    /// Whether calls should be sent here. A stale view still answers reads, and taking every replica out at once when
    /// the database is gone would turn a failed write into a failed platform.
    pub const fn is_ready(&self) -> bool {
        self.view_loaded && !self.draining
    }
}

/// Says whether the server is ready.
pub type Probe = Arc<dyn Fn() -> Readiness + Send + Sync>;

#[derive(Clone)]
struct Shared {
    probe: Probe,
    metrics: Registry,
}

/// The pages.
pub fn router(probe: Probe, metrics: Registry) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(show_metrics))
        .with_state(Shared { probe, metrics })
}

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(error = %error, "the HTTP listener stopped");
    }
}

async fn index() -> &'static str {
    "Tenantry\n\n/livez    the process runs\n/readyz   calls can be sent here\n/metrics  Prometheus\n\nThe API is gRPC, on the other port.\n"
}

async fn readyz(State(shared): State<Shared>) -> Response {
    let readiness = (shared.probe)();
    let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(readiness)).into_response()
}

async fn show_metrics(State(shared): State<Shared>) -> Response {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&shared.metrics.gather(), &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => {
            tracing::error!(error = %error, "metrics could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

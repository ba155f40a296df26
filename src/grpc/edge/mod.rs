//! The server's edge: what a call passes before a handler sees it, and after.
//!
//! Connections are dealt out in turn to threads that each run a single-threaded runtime: the answers of one
//! connection's streams leave in one system call instead of one each. Everything that is not a call runs on the
//! work-stealing runtime beside them.

mod accept;
mod call;
mod health;
mod metrics;
mod normalise;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

pub use self::health::{Health, with_health_and_reflection};
pub use self::metrics::Metrics;

/// What the edge lets through.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open connections over all peers.
    pub connections_max: usize,
    /// Open connections of one address.
    pub connections_per_ip_max: usize,
    /// Longest time a unary call may take.
    pub deadline: Duration,
    /// Threads that serve.
    pub threads: usize,
}

/// Calls under way over all connections; more are turned away at once rather than queued without bound.
const CALLS_MAX: usize = 10_000;

/// Serves until `drain`, then until the open calls have ended.
pub fn serve(
    listener: TcpListener,
    routes: Routes,
    limits: Limits,
    metrics: Metrics,
    drain: CancellationToken,
) -> JoinHandle<()> {
    let service = call::Edge::new(routes.into_axum_router(), limits.deadline, CALLS_MAX, metrics.clone());
    let gate = Arc::new(accept::Gate::new(limits, metrics));
    let mut threads = Vec::with_capacity(limits.threads);
    for number in 0..limits.threads {
        let (connections, dealt) = mpsc::channel(64);
        let (service, drain) = (service.clone(), drain.clone());
        let thread = std::thread::Builder::new()
            .name(format!("serve-{number}"))
            .spawn(move || accept::run_thread(dealt, &service, &drain));
        match thread {
            Ok(handle) => threads.push((connections, handle)),
            Err(error) => tracing::error!(error = %error, "a serving thread could not be started"),
        }
    }
    tokio::spawn(accept::accept(listener, threads, gate, drain))
}

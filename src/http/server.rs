//! The HTTP listener: small, bounded, and beside the gRPC listener so that probes answer when that one is full.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use prometheus::Registry;
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::pages::{Checks, router};

/// Time to wait when the kernel has no socket to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time open answers get once the drain began.
const LEAVE: Duration = Duration::from_secs(2);

/// What the HTTP listener takes on at most.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections; more are closed at once.
    pub connections_max: usize,
    /// Time a request's headers may take, the wait for the next request on a kept connection included.
    pub header_timeout: Duration,
    /// Headers of one request, in lines.
    pub headers_max: usize,
    /// Bytes of one request's head, at least 8,192.
    pub head_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 256,
            header_timeout: Duration::from_secs(10),
            headers_max: 64,
            head_bytes_max: 16 << 10,
        }
    }
}

/// The running HTTP listener.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Server {
    /// The listener's address: with port 0, the one the kernel chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the drain has ended.
    pub async fn finished(self) {
        let _ = self.accepting.await;
    }
}

/// Serves probes and metrics on the current runtime until `drain` is cancelled.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve(
    listener: TcpListener,
    checks: Checks,
    registry: Registry,
    limits: Limits,
    drain: CancellationToken,
) -> io::Result<Server> {
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let router = router(checks, registry);
    info!(%address, "HTTP is served.");
    let accepting = tokio::spawn(accept(listener, router, Arc::new(limits), drain));
    Ok(Server { address, accepting })
}

async fn accept(
    listener: tokio::net::TcpListener,
    router: Router,
    limits: Arc<Limits>,
    drain: CancellationToken,
) {
    let capacity = u32::try_from(limits.connections_max).unwrap_or(u32::MAX);
    let places = Arc::new(Semaphore::new(limits.connections_max));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.cancelled() => break,
        };
        match accepted {
            Ok((stream, _peer)) => {
                if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                    let connection = connect(stream, router.clone(), Arc::clone(&limits), drain.clone());
                    tokio::spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
            }
            Err(cause) => {
                warn!(%cause, "An HTTP connection could not be accepted.");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    // All places free means that all connections ended.
    let _ = timeout(LEAVE, places.acquire_many(capacity)).await;
}

async fn connect(stream: TcpStream, router: Router, limits: Arc<Limits>, drain: CancellationToken) {
    let service = TowerToHyperService::new(router);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.headers_max)
        .max_buf_size(limits.head_bytes_max.max(8_192));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut is_draining = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(cause) = ended {
                    debug!(%cause, "An HTTP connection broke.");
                }
                return;
            }
            () = drain.cancelled(), if !is_draining => {
                is_draining = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

//! Accepting connections and serving them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::call::Edge;
use super::stream::Unvectored;
use super::{Limits, Metrics};

/// A peer that connects and asks for nothing is let go after this.
const FIRST_CALL_MAX: Duration = Duration::from_secs(10);
/// The pause after a failed accept: nearly always the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Calls of one connection at once.
const STREAMS_MAX: u32 = 100;
/// Streams that a peer may open and reset before anything answers; and those that we reset for its errors. Beyond, the
/// connection is closed (rapid reset).
const PENDING_RESETS_MAX: usize = 20;
const ERROR_RESETS_MAX: usize = 1_024;
/// All headers of one call together, in bytes.
const HEADERS_MAX: u32 = 16 << 10;
/// How much a peer may send ahead: of one call, and of all calls of a connection, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// A silent connection is asked whether it lives; no answer closes it.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(10);

/// Counts open connections.
pub(super) struct Gate {
    limits: Limits,
    open: Mutex<Open>,
    metrics: Metrics,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_ip: HashMap<IpAddr, usize>,
}

/// A connection that was let in; gives its place back when dropped.
pub(super) struct Pass {
    gate: Arc<Gate>,
    ip: IpAddr,
}

impl Gate {
    pub(super) fn new(limits: Limits, metrics: Metrics) -> Self {
        Self { limits, open: Mutex::default(), metrics }
    }

    fn let_in(self: &Arc<Self>, ip: IpAddr) -> Option<Pass> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_ip = open.by_ip.get(&ip).copied().unwrap_or_default();
        if open.all >= self.limits.connections_max || of_ip >= self.limits.connections_per_ip_max {
            self.metrics.connection_refused();
            return None;
        }
        open.all += 1;
        open.by_ip.insert(ip, of_ip + 1);
        self.metrics.connections_open(open.all);
        Some(Pass { gate: Arc::clone(self), ip })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut open = self.gate.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        if let Some(of_ip) = open.by_ip.get_mut(&self.ip) {
            *of_ip -= 1;
            if *of_ip == 0 {
                open.by_ip.remove(&self.ip);
            }
        }
        self.gate.metrics.connections_open(open.all);
    }
}

type Dealt = (std::net::TcpStream, Pass);
type Thread = (mpsc::Sender<Dealt>, thread::JoinHandle<()>);

/// Accepts until `drain`, deals connections out in turn, and ends when every thread has served its last call.
pub(super) async fn accept(
    listener: TcpListener,
    threads: Vec<Thread>,
    gate: Arc<Gate>,
    drain: CancellationToken,
) {
    let mut turn = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Dropping the stream closes it: a peer over its limit hears so at once.
        let Some(pass) = gate.let_in(peer.ip()) else { continue };
        // Small answers must not wait for more to send.
        let (Ok(()), Ok(stream)) = (stream.set_nodelay(true), stream.into_std()) else { continue };
        turn = (turn + 1) % threads.len();
        if threads[turn].0.send((stream, pass)).await.is_err() {
            tracing::error!("a serving thread is gone");
        }
    }
    drop(listener);
    let handles: Vec<_> = threads.into_iter().map(|(_, handle)| handle).collect();
    let joined = tokio::task::spawn_blocking(move || {
        handles.into_iter().map(thread::JoinHandle::join).all(|ended| ended.is_ok())
    });
    if !matches!(joined.await, Ok(true)) {
        tracing::error!("a serving thread ended badly");
    }
}

/// Serves the connections that are dealt to this thread, until there are no more.
pub(super) fn run_thread(mut dealt: mpsc::Receiver<Dealt>, service: &Edge, drain: &CancellationToken) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(error = %error, "a serving thread could not be started");
            return;
        }
    };
    runtime.block_on(async {
        let connections = TaskTracker::new();
        while let Some((stream, pass)) = dealt.recv().await {
            match TcpStream::from_std(stream) {
                Ok(stream) => {
                    connections.spawn(connection(stream, pass, service.clone(), drain.clone()));
                }
                Err(error) => tracing::warn!(error = %error, "a connection could not be taken over"),
            }
        }
        connections.close();
        connections.wait().await;
    });
}

async fn connection(stream: TcpStream, pass: Pass, service: Edge, drain: CancellationToken) {
    let called = Arc::new(AtomicBool::new(false));
    let service = service.of_connection(Arc::clone(&called), drain.clone());
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(ERROR_RESETS_MAX)
        .max_header_list_size(HEADERS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_MAX)
        .serve_connection(TokioIo::new(Unvectored::new(stream)), TowerToHyperService::new(service));
    let mut served = std::pin::pin!(served);
    let silence = async {
        tokio::time::sleep(FIRST_CALL_MAX).await;
        if called.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = silence => return,
        () = drain.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        // Peers go away in the middle of things all the time.
        tracing::debug!(error = %error, "a connection broke");
    }
    drop(pass);
}

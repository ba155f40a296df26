//! The listener, the serving threads, the drain.

use std::{
    convert::Infallible,
    io, iter,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use http::{Request, Response};
use tokio::{
    net::TcpStream,
    runtime::{self, Runtime},
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;
use tracing::{info, warn};

use super::{
    admission::{Calls, ConnectionPlace, Connections, Full},
    connection::serve_connection,
    limits::Limits,
    methods::Methods,
    metrics::{Metrics, Table},
    pipeline::Shared,
};

/// Time to wait when the kernel has no socket to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time a finished thread's blocking tasks get.
const RUNTIME_END: Duration = Duration::from_millis(200);

/// What [`serve`] needs besides a listener and a service.
#[derive(Debug)]
pub struct Wiring {
    /// What to take on at most.
    pub limits: Limits,
    /// The methods of every served contract, health and reflection included.
    pub methods: Methods,
    /// Where calls and connections are counted.
    pub metrics: Metrics,
    /// Cancel it to drain: no new connections, GOAWAY to the open ones, streams end with UNAVAILABLE, unary calls
    /// have [`Limits::drain_timeout`] to finish. Streaming handlers may watch it too, to say a last word.
    pub drain: CancellationToken,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    ends: Vec<oneshot::Receiver<usize>>,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// Connections that were cut because their calls outlasted the drain.
    pub aborted_connections: usize,
}

impl Server {
    /// The listener's address: with port 0, the one the kernel chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Waits until a drain has come to its end.
    pub async fn finished(self) -> Finished {
        let mut aborted_connections = 0;
        for end in self.ends {
            // A thread that died has nothing open any more.
            aborted_connections += end.await.unwrap_or(0);
        }
        Finished { aborted_connections }
    }
}

/// Serves `service` (tonic's `Routes`, or any tower service of the same shape) on the listener, on threads of its own.
///
/// # Errors
/// When the listener cannot be used, or no runtime or thread can be made.
pub fn serve<S>(listener: TcpListener, service: S, wiring: Wiring) -> io::Result<Server>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let Wiring { limits, methods, metrics, drain } = wiring;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let connections = Arc::new(Connections::new(limits.connections_max, limits.connections_per_peer_max));
    let shared = Arc::new(Shared {
        table: Table::new(methods, &metrics),
        unary: Arc::new(Calls::new(limits.calls_in_flight_max, metrics.calls_open.clone())),
        streams: Arc::new(Calls::new(limits.streams_open_max, metrics.streams_open.clone())),
        limits,
        drain,
    });
    let runtimes = (0..shared.limits.threads.max(1))
        .map(|_| runtime::Builder::new_current_thread().enable_all().build())
        .collect::<io::Result<Vec<_>>>()?;
    let mut desks = Vec::with_capacity(runtimes.len());
    let mut ends = Vec::with_capacity(runtimes.len());
    let mut threads = Vec::with_capacity(runtimes.len());
    for runtime in runtimes {
        // Bounded by the cap on connections: what waits here has its place already.
        #[allow(clippy::disallowed_methods)]
        let (send, arrivals) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        let open = Arc::new(AtomicUsize::new(0));
        desks.push(Desk { send, open: Arc::clone(&open) });
        ends.push(ended);
        threads.push((runtime, Thread { arrivals, open, metrics: metrics.clone() }, end));
    }
    let acceptor = Acceptor { desks, connections, metrics, drain: shared.drain.clone() };
    if let Some((runtime, ..)) = threads.first() {
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        runtime.spawn(acceptor.run(listener));
    }
    let services = iter::repeat_n(service, threads.len());
    for (index, ((runtime, serving, end), service)) in threads.into_iter().zip(services).enumerate() {
        let shared = Arc::clone(&shared);
        thread::Builder::new().name(format!("serve-{index}")).spawn(move || {
            // Nobody waits for the end: then nobody wants to know.
            let _ = end.send(run_thread(runtime, serving, &shared, &service));
        })?;
    }
    info!(%address, threads = shared.limits.threads.max(1), "gRPC is served.");
    Ok(Server { address, ends })
}

/// An accepted connection with its place.
#[derive(Debug)]
struct Arrival {
    stream: std::net::TcpStream,
    place: ConnectionPlace,
}

/// One serving thread as the acceptor sees it.
#[derive(Debug)]
struct Desk {
    send: mpsc::UnboundedSender<Arrival>,
    open: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Acceptor {
    desks: Vec<Desk>,
    connections: Arc<Connections>,
    metrics: Metrics,
    drain: CancellationToken,
}

impl Acceptor {
    /// Deals out connections until the drain; then the listener closes.
    async fn run(self, listener: tokio::net::TcpListener) {
        let mut turn = 0;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.drain.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => match self.connections.take(peer.ip()) {
                    Ok(place) => self.deal(stream, place, &mut turn),
                    // Closing at once costs less than any answer, and a client's backoff does the rest.
                    Err(full) => self.refused(full),
                },
                Err(cause) => {
                    warn!(%cause, "A connection could not be accepted.");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn refused(&self, full: Full) {
        let reason = match full {
            Full::Server => "server_full",
            Full::Peer => "peer_full",
        };
        self.metrics.connections_refused.with_label_values(&[reason]).inc();
    }

    /// To the thread with the fewest connections; among equals in turn.
    fn deal(&self, stream: TcpStream, place: ConnectionPlace, turn: &mut usize) {
        let count = self.desks.len();
        let least = (0..count)
            .map(|offset| (*turn + offset) % count)
            .min_by_key(|&index| self.desks[index].open.load(Ordering::Relaxed));
        *turn = turn.wrapping_add(1);
        // A stream belongs to the runtime that made it, so it changes over as a plain socket.
        if let (Some(index), Ok(stream)) = (least, stream.into_std()) {
            self.desks[index].open.fetch_add(1, Ordering::Relaxed);
            let _ = self.desks[index].send.send(Arrival { stream, place });
        }
    }
}

/// What one serving thread has.
#[derive(Debug)]
struct Thread {
    arrivals: mpsc::UnboundedReceiver<Arrival>,
    open: Arc<AtomicUsize>,
    metrics: Metrics,
}

/// Counts a connection down however it ends, an abort included.
struct Open {
    thread: Arc<AtomicUsize>,
    metrics: Metrics,
    _place: ConnectionPlace,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.thread.fetch_sub(1, Ordering::Relaxed);
        self.metrics.connections_open.dec();
    }
}

/// Serves until the drain has ended; gives the connections it had to cut.
fn run_thread<S>(runtime: Runtime, mut thread: Thread, shared: &Arc<Shared>, service: &S) -> usize
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let aborted = runtime.block_on(async {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Some(Arrival { stream, place }) = thread.arrivals.recv() => {
                    thread.metrics.connections_open.inc();
                    let metrics = thread.metrics.clone();
                    let open = Open { thread: Arc::clone(&thread.open), metrics: metrics.clone(), _place: place };
                    let (shared, service) = (Arc::clone(shared), service.clone());
                    connections.spawn(async move {
                        let _open = open;
                        let Ok(stream) = TcpStream::from_std(stream) else { return };
                        if let Err(early) = serve_connection(stream, shared, service).await {
                            metrics.connections_refused.with_label_values(&[early.label()]).inc();
                        }
                    });
                }
                Some(_ended) = connections.join_next() => {}
                () = shared.drain.cancelled() => break,
            }
        }
        let all_ended = async { while connections.join_next().await.is_some() {} };
        let _ = timeout(shared.limits.drain_timeout, all_ended).await;
        connections.len()
    });
    // Drops what is left: connections that were still open, and their calls.
    runtime.shutdown_timeout(RUNTIME_END);
    aborted
}

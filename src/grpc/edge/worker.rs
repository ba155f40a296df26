//! One serving thread: its connections, from the first to the end of the drain and beyond.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use tokio::{
    net::TcpStream,
    runtime::Runtime,
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;

use super::{
    acceptor::Arrival,
    admission::ConnectionPlace,
    connection::{Opening, serve_connection},
    listener::Place,
    metrics::Metrics,
    pipeline::{Seat, Shared},
    status::{OVERLOADED, SHUTTING_DOWN},
};

/// Time a finished thread's blocking tasks get.
const RUNTIME_END: Duration = Duration::from_millis(200);
/// Time that pages get to end once the server stops.
const LEAVE: Duration = Duration::from_secs(2);

/// What one listener serves.
#[derive(Debug, Clone)]
pub(super) struct Site<S> {
    pub(super) services: S,
    pub(super) place: Arc<Place>,
}

/// What one serving thread has.
#[derive(Debug)]
pub(super) struct Worker<S> {
    pub(super) arrivals: mpsc::UnboundedReceiver<Arrival>,
    /// Connections that this thread has.
    pub(super) open: Arc<AtomicUsize>,
    pub(super) metrics: Metrics,
    pub(super) shared: Arc<Shared>,
    /// By the number of the listener.
    pub(super) sites: Vec<Site<S>>,
    pub(super) stop: CancellationToken,
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

impl<S> Worker<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    /// Serves until the drain has ended, tells how many connections it had to cut, and goes on until the stop if a
    /// listener outlasts the drain.
    pub(super) fn run(mut self, runtime: Runtime, drained: oneshot::Sender<usize>) {
        runtime.block_on(async {
            let mut connections = JoinSet::new();
            let drain = self.shared.drain.clone();
            self.serve_until(drain.cancelled(), &mut connections).await;
            let mut late = JoinSet::new();
            let aborted = self.drain(connections, &mut late).await;
            // Nobody waits for the drain: then nobody wants to know.
            let _ = drained.send(aborted);
            if self.sites.iter().any(|site| site.place.outlasts_drain) {
                let stop = self.stop.clone();
                self.serve_until(stop.cancelled(), &mut late).await;
                let _ = timeout(LEAVE, async { while late.join_next().await.is_some() {} }).await;
            }
        });
        // Drops what is left: connections that were still open, and their calls.
        runtime.shutdown_timeout(RUNTIME_END);
    }

    async fn serve_until(&mut self, end: impl Future<Output = ()>, connections: &mut JoinSet<()>) {
        tokio::pin!(end);
        loop {
            tokio::select! {
                Some(arrival) = self.arrivals.recv() => self.begin(arrival, connections),
                Some(_ended) = connections.join_next() => {}
                () = &mut end => return,
            }
        }
    }

    /// Waits for the connections that were open when the drain began; gives those that had to be cut.
    async fn drain(&mut self, mut connections: JoinSet<()>, late: &mut JoinSet<()>) -> usize {
        let timeout = sleep(self.shared.limits.drain_timeout);
        tokio::pin!(timeout);
        while !connections.is_empty() {
            tokio::select! {
                Some(arrival) = self.arrivals.recv() => self.begin(arrival, late),
                Some(_ended) = connections.join_next() => {}
                () = &mut timeout => break,
            }
        }
        connections.len()
    }

    fn begin(&self, arrival: Arrival, connections: &mut JoinSet<()>) {
        let Arrival { stream, place, site } = arrival;
        self.metrics.connections_open.inc();
        let is_late = self.shared.drain.is_cancelled();
        let no_calls = if is_late {
            Some(SHUTTING_DOWN)
        } else if place.is_reserve() {
            Some(OVERLOADED)
        } else {
            None
        };
        let metrics = self.metrics.clone();
        let open = Open { thread: Arc::clone(&self.open), metrics: metrics.clone(), _place: place };
        let Some(site) = self.sites.get(site) else { return };
        let opening = Opening {
            shared: Arc::clone(&self.shared),
            seat: Arc::new(Seat { listener: Arc::clone(&site.place), no_calls }),
            leave: if is_late { self.stop.clone() } else { self.shared.drain.clone() },
        };
        let services = site.services.clone();
        connections.spawn(async move {
            let _open = open;
            let Ok(stream) = TcpStream::from_std(stream) else { return };
            if let Err(early) = serve_connection(stream, opening, services).await {
                metrics.connections_refused.with_label_values(&[early.label()]).inc();
            }
        });
    }
}

//! The listeners, the serving threads, the drain.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicUsize},
    thread,
};

use http::{Request, Response};
use tokio::{
    runtime,
    sync::{mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;
use tracing::info;

use super::{
    acceptor::{Acceptor, Desk},
    admission::{Calls, Connections},
    limits::Limits,
    listener::{Listener, Place},
    methods::Methods,
    metrics::{Metrics, Table},
    pipeline::Shared,
    worker::{Site, Worker},
};

/// Connections of a listener beyond its caps, in which pages are served and nothing else: enough for every prober and
/// scraper of a cluster, and few enough to cost nothing.
const RESERVE: usize = 32;

/// What [`serve`] needs besides listeners.
#[derive(Debug)]
pub struct Wiring {
    /// What to take on at most.
    pub limits: Limits,
    /// The methods of every served contract, health and reflection included.
    pub methods: Methods,
    /// Where calls and connections are counted.
    pub metrics: Metrics,
    /// Cancel it to drain: no new connections, the open ones are asked to go, streams end with UNAVAILABLE, unary calls
    /// have [`Limits::drain_timeout`] to finish. Streaming handlers may watch it too, to say a last word.
    pub drain: CancellationToken,
    /// Cancel it after the drain to end listeners that outlast it.
    pub stop: CancellationToken,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    drains: Vec<oneshot::Receiver<usize>>,
    ends: Vec<oneshot::Receiver<()>>,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut because their calls outlasted the drain.
    pub aborted_connections: usize,
}

impl Server {
    /// The listeners' addresses, in their order: with port 0, the one the kernel chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Waits until a drain has come to its end: no call is open any more.
    pub async fn drained(&mut self) -> Drained {
        let mut aborted_connections = 0;
        for drain in self.drains.drain(..) {
            // A thread that died has nothing open any more.
            aborted_connections += drain.await.unwrap_or(0);
        }
        Drained { aborted_connections }
    }

    /// Waits until nothing is served any more: after the drain, and after [`Wiring::stop`] where a listener outlasts it.
    pub async fn stopped(self) {
        for end in self.ends {
            // A thread that died has ended too.
            let _ = end.await;
        }
    }
}

/// Serves the listeners, on threads of its own.
///
/// # Errors
/// When a listener cannot be used, or no runtime or thread can be made.
pub fn serve<S>(listeners: Vec<Listener<S>>, wiring: Wiring) -> io::Result<Server>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let Wiring { limits, methods, metrics, drain, stop } = wiring;
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
    let (desks, arrivals): (Vec<_>, Vec<_>) = runtimes
        .iter()
        .map(|_| {
            // Bounded by the cap on connections: what waits here has its place already.
            #[allow(clippy::disallowed_methods)]
            let (send, arrivals) = mpsc::unbounded_channel();
            let open = Arc::new(AtomicUsize::new(0));
            (Desk { send, open: Arc::clone(&open) }, (arrivals, open))
        })
        .unzip();
    let desks: Arc<[Desk]> = desks.into();
    let mut addresses = Vec::with_capacity(listeners.len());
    let mut sites = Vec::with_capacity(listeners.len());
    for (index, Listener { name, socket, services, place }) in listeners.into_iter().enumerate() {
        let address = socket.local_addr()?;
        socket.set_nonblocking(true)?;
        // Listeners are spread over the threads.
        let runtime = &runtimes[index % runtimes.len()];
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(socket)?
        };
        let acceptor = Acceptor {
            site: index,
            desks: Arc::clone(&desks),
            connections: Arc::new(connections(&shared.limits, &place)),
            metrics: metrics.clone(),
            until: if place.outlasts_drain { stop.clone() } else { shared.drain.clone() },
        };
        runtime.spawn(acceptor.run(listener));
        info!(%address, listener = name, "Served.");
        addresses.push(address);
        sites.push(Site { services, place: Arc::new(place) });
    }
    // The acceptors have it.
    drop(desks);
    let mut server = Server { addresses, drains: Vec::new(), ends: Vec::new() };
    for (index, (runtime, (arrivals, open))) in runtimes.into_iter().zip(arrivals).enumerate() {
        let (sites, shared, metrics, stop) =
            (sites.clone(), Arc::clone(&shared), metrics.clone(), stop.clone());
        let worker = Worker { arrivals, open, metrics, shared, sites, stop };
        let (drained, drain) = oneshot::channel();
        let (ended, end) = oneshot::channel();
        thread::Builder::new().name(format!("serve-{index}")).spawn(move || {
            worker.run(runtime, drained);
            // Nobody waits for the end: then nobody wants to know.
            let _ = ended.send(());
        })?;
        server.drains.push(drain);
        server.ends.push(end);
    }
    Ok(server)
}

fn connections(limits: &Limits, place: &Place) -> Connections {
    let reserve = if place.pages.is_some() { RESERVE } else { 0 };
    Connections::new(limits.connections_max, limits.connections_per_peer_max, reserve)
}

//! A server that speaks Qdrant's published gRPC API, as far as the adapter and ordinary clients of the tests use it, and
//! keeps real state: collections, aliases, points, snapshots on each node, tokens.
//!
//! What it refuses, and with which code, is written from Qdrant's documentation and the behaviour of its source at 1.20;
//! it is no Qdrant, and whatever is not told of here it does not know.

mod access;
mod fault;
mod services;
mod state;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tenantry::participants::TenantRef;
use tenantry::proto::qdrant::collections_server::CollectionsServer;
use tenantry::proto::qdrant::points_server::PointsServer;
use tenantry::proto::qdrant::qdrant_server::QdrantServer;
use tenantry::proto::qdrant::snapshots_server::SnapshotsServer;
use tenantry::proto::qdrant::value::Kind;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::{Server, ServerTlsConfig};

use self::access::Keys;
pub(crate) use self::fault::Fault;
use self::fault::Faults;
use self::state::State;

/// The key that servers of tests ask for.
pub(crate) const KEY: &str = "qdrant-key-of-tests";

/// How a server is made.
pub(crate) struct Options {
    /// The key; `None` lets everybody in.
    pub key: Option<&'static str>,
    /// Whether tokens are taken: `jwt_rbac` of Qdrant's configuration.
    pub jwt_rbac: bool,
    pub nodes: usize,
    pub version: &'static str,
    pub tls: Option<ServerTlsConfig>,
}

impl Default for Options {
    fn default() -> Self {
        Self { key: Some(KEY), jwt_rbac: true, nodes: 1, version: "1.20.0", tls: None }
    }
}

/// A running server; it ends when it is dropped.
pub(crate) struct Qdrant {
    pub addresses: Vec<SocketAddr>,
    scheme: &'static str,
    shared: Arc<Shared>,
    tls: Option<ServerTlsConfig>,
    /// Who tells each node to end, and the node.
    nodes: Vec<Option<Running>>,
}

type Running = (oneshot::Sender<()>, AbortOnDropHandle<()>);

/// What all nodes share.
struct Shared {
    keys: Keys,
    version: &'static str,
    state: Mutex<State>,
    faults: Mutex<Faults>,
    /// A node that has not heard of anything since, and what it has.
    lag: Mutex<Option<(usize, State)>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// One node.
#[derive(Clone)]
struct Node {
    number: usize,
    shared: Arc<Shared>,
}

impl Qdrant {
    pub(crate) async fn start(options: Options) -> Self {
        let shared = Arc::new(Shared {
            keys: Keys { key: options.key, jwt_rbac: options.jwt_rbac },
            version: options.version,
            state: Mutex::default(),
            faults: Mutex::default(),
            lag: Mutex::default(),
        });
        let scheme = if options.tls.is_some() { "https" } else { "http" };
        let mut server = Self { addresses: Vec::new(), scheme, shared, tls: options.tls, nodes: Vec::new() };
        for number in 0..options.nodes {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            server.addresses.push(listener.local_addr().unwrap());
            let running = server.serve(number, listener);
            server.nodes.push(Some(running));
        }
        server
    }

    fn serve(&self, number: usize, listener: TcpListener) -> Running {
        let node = Node { number, shared: Arc::clone(&self.shared) };
        let mut builder = Server::builder();
        if let Some(tls) = &self.tls {
            builder = builder.tls_config(tls.clone()).unwrap();
        }
        let (end, ended) = oneshot::channel::<()>();
        let served = builder
            .add_service(QdrantServer::new(node.clone()))
            .add_service(CollectionsServer::new(node.clone()))
            .add_service(PointsServer::new(node.clone()))
            .add_service(SnapshotsServer::new(node))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async move { drop(ended.await) });
        (end, AbortOnDropHandle::new(tokio::spawn(async move { served.await.unwrap() })))
    }

    /// Ends a node, with its connections.
    pub(crate) async fn stop(&mut self, node: usize) {
        let (end, running) = self.nodes[node].take().unwrap();
        end.send(()).unwrap();
        running.await.unwrap();
    }

    /// Starts it again where it was.
    pub(crate) async fn start_again(&mut self, node: usize) {
        let listener = TcpListener::bind(self.addresses[node]).await.unwrap();
        self.nodes[node] = Some(self.serve(node, listener));
    }

    pub(crate) fn url(&self) -> String {
        self.urls().remove(0)
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.addresses.iter().map(|address| format!("{}://{address}", self.scheme)).collect()
    }

    /// What becomes of calls with the server's key from now on; ordinary clients always meet the truth. Calls are counted
    /// anew.
    pub(crate) fn fault(&self, fault: Fault) {
        *self.shared.faults.lock().unwrap() = Faults::new(fault);
    }

    /// From now on a node hears of no change: reads there, and tokens, meet what is there now. `None` catches up.
    pub(crate) fn lag(&self, node: Option<usize>) {
        let state = self.shared.state().clone();
        *self.shared.lag.lock().unwrap() = node.map(|node| (node, state));
    }

    /// Makes a purge that is on record older.
    pub(crate) fn purged_earlier(&self, tenant: &TenantRef, by: Duration) {
        self.change(tenant, "purged_at", |at| {
            let Kind::IntegerValue(seconds) = at else { panic!("no time") };
            *seconds -= i64::try_from(by.as_secs()).unwrap();
        });
    }

    /// Somebody changes what is on record of a tenant.
    pub(crate) fn change(&self, tenant: &TenantRef, name: &str, how: impl FnOnce(&mut Kind)) {
        let mut state = self.shared.state();
        let records = state.collections.get_mut("tenantry.records").unwrap();
        let uid = Some(Kind::StringValue(tenant.uid.to_string()));
        let mut points = records.points.values_mut();
        let record = points
            .find(|point| point.payload.get("uid").is_some_and(|value| value.kind == uid))
            .expect("the tenant has a record");
        how(record.payload.get_mut(name).and_then(|value| value.kind.as_mut()).expect("it is on record"));
    }

    /// Whether a tenant has a record.
    pub(crate) fn remembers(&self, tenant: &TenantRef) -> bool {
        let uid = Some(Kind::StringValue(tenant.uid.to_string()));
        let state = self.shared.state();
        state.collections["tenantry.records"]
            .points
            .values()
            .any(|point| point.payload.get("uid").is_some_and(|value| value.kind == uid))
    }

    /// How many calls with the server's key came since the last word about faults.
    pub(crate) fn calls(&self) -> usize {
        self.shared.faults.lock().unwrap().calls()
    }

    /// The names of collections, for looking past the API.
    pub(crate) fn collections(&self) -> Vec<String> {
        self.shared.state().collections.keys().cloned().collect()
    }

    /// The aliases.
    pub(crate) fn aliases(&self) -> Vec<(String, String)> {
        self.shared.state().aliases.clone().into_iter().collect()
    }

    /// How many snapshot files lie on a node, whether their collection is there or not.
    pub(crate) fn snapshot_files(&self, node: usize) -> usize {
        let state = self.shared.state();
        state.snapshots.iter().filter(|((at, _), _)| *at == node).map(|(_, files)| files.len()).sum()
    }
}

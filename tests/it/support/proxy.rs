//! A wire to PostgreSQL that can be frozen, held for one replica's follower, or cut at a commit.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Everything.
    Open,
    /// Nothing: connections stay and new ones are taken, but no byte moves, as behind a network that lost its way.
    Frozen,
    /// Everything but what the follower of the log asks and hears.
    FollowerHeld,
}

/// Where the connection that makes a change is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Before the database gets to see the commit.
    BeforeCommit,
    /// After the database has answered the commit, and before the client hears of it.
    AfterCommit,
}

struct Shared {
    flow: watch::Sender<Flow>,
    /// Connections of earlier rounds are cut.
    round: watch::Sender<u32>,
    /// The text of the change whose connection is to be cut, once.
    trap: Mutex<Option<(Vec<u8>, Cut)>>,
    /// How often a trap has closed.
    sprung: watch::Sender<u32>,
}

/// The wire. It ends when dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

impl Proxy {
    /// A wire to the database of a URL, and the URL to reach it by.
    pub(crate) async fn start(database_url: &str) -> (Self, String) {
        let config: tokio_postgres::Config = database_url.parse().unwrap();
        let tokio_postgres::config::Host::Tcp(host) = &config.get_hosts()[0] else { panic!("no TCP") };
        let upstream = format!("{host}:{}", config.get_ports()[0]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            flow: watch::Sender::new(Flow::Open),
            round: watch::Sender::new(0),
            trap: Mutex::new(None),
            sprung: watch::Sender::new(0),
        });
        let url = database_url.replace(&upstream, &address.to_string());
        assert_ne!(url, database_url, "the URL must name {upstream}");
        let accepting = tokio::spawn(accept(listener, upstream, Arc::clone(&shared)));
        (Self { address, shared, accepting }, url)
    }

    /// Sets what passes.
    pub(crate) fn flow(&self, flow: Flow) {
        self.shared.flow.send_replace(flow);
    }

    /// Cuts every connection there is; new ones are served.
    pub(crate) fn cut(&self) {
        self.shared.round.send_modify(|round| *round += 1);
    }

    /// Cuts, once, the connection that commits a change with this text in it.
    pub(crate) fn cut_at_commit(&self, of: &str, cut: Cut) {
        *self.shared.trap.lock().unwrap() = Some((of.as_bytes().to_vec(), cut));
    }

    /// How often a connection was cut at its commit.
    pub(crate) fn sprung(&self) -> u32 {
        *self.shared.sprung.borrow()
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "proxy at {}", self.address)
    }
}

async fn accept(listener: TcpListener, upstream: String, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let (shared, upstream) = (Arc::clone(&shared), upstream.clone());
        tokio::spawn(async move {
            let mut rounds = shared.round.subscribe();
            rounds.borrow_and_update();
            let Ok(server) = TcpStream::connect(upstream).await else { return };
            let (client, server) = (client.into_split(), server.into_split());
            let link = Link {
                shared: &shared,
                follows: watch::Sender::new(false),
                closing: watch::Sender::new(false),
            };
            // Whichever ends first takes the other with it: both sockets close.
            tokio::select! {
                () = link.ask(client.0, server.1) => {}
                () = link.answer(server.0, client.1) => {}
                _ = rounds.changed() => {}
            }
        });
    }
}

/// One connection.
struct Link<'a> {
    shared: &'a Shared,
    /// Whether it listens for what other replicas wrote.
    follows: watch::Sender<bool>,
    /// Whether its commit is on the way and is not to be heard of.
    closing: watch::Sender<bool>,
}

impl Link<'_> {
    async fn pass(&self) {
        let mut flow = self.shared.flow.subscribe();
        let open = |flow: &Flow| match flow {
            Flow::Open => true,
            Flow::Frozen => false,
            Flow::FollowerHeld => !*self.follows.borrow(),
        };
        let _ = flow.wait_for(open).await;
    }

    /// From the client to the database.
    async fn ask(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut buffer = vec![0; 64 << 10];
        let mut armed: Option<(Vec<u8>, Cut)> = None;
        let mut seen = Vec::new();
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let bytes = &buffer[..length];
            if holds(bytes, b"LISTEN tenantry_log") {
                self.follows.send_replace(true);
            }
            self.pass().await;
            if armed.is_none() {
                let mut trap = self.shared.trap.lock().unwrap();
                if trap.as_ref().is_some_and(|(text, _)| holds(bytes, text)) {
                    armed = trap.take();
                }
            }
            if let Some((_, cut)) = &armed {
                seen.extend_from_slice(bytes);
                if holds(&seen, b"COMMIT") {
                    self.shared.sprung.send_modify(|count| *count += 1);
                    if *cut == Cut::BeforeCommit {
                        return;
                    }
                    self.closing.send_replace(true);
                }
            }
            if to.write_all(bytes).await.is_err() {
                return;
            }
        }
    }

    /// From the database to the client.
    async fn answer(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut buffer = vec![0; 64 << 10];
        let mut unheard = Vec::new();
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            self.pass().await;
            if *self.closing.borrow() {
                unheard.extend_from_slice(&buffer[..length]);
                // The tag of the answer to COMMIT: it is made, and nobody hears of it.
                if holds(&unheard, b"COMMIT\0") {
                    return;
                }
                continue;
            }
            if to.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    }
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

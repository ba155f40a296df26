//! A wire to an object store that keeps one write of a policy for as long as a test likes, whether or not the client
//! still waits for it: as a router does that lost its way, or a process that was stopped in the middle of sending.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

/// What became of the write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Awaited,
    Kept,
    /// It was let go, and the store answered with this status.
    Arrived(u16),
}

struct Shared {
    upstream: String,
    bucket: String,
    is_armed: AtomicBool,
    /// The client is told that nobody answered, at once.
    gives_up: AtomicBool,
    stage: watch::Sender<Stage>,
    go: watch::Sender<bool>,
}

/// The wire. It ends when dropped.
pub(super) struct Wire {
    pub endpoint: String,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Wire {
    /// A wire to a store.
    pub(super) async fn to(endpoint: &str, bucket: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream: endpoint.trim_start_matches("http://").to_owned(),
            bucket: bucket.to_owned(),
            is_armed: AtomicBool::new(false),
            gives_up: AtomicBool::new(false),
            stage: watch::Sender::new(Stage::Awaited),
            go: watch::Sender::new(false),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { endpoint: format!("http://{address}"), shared, accepting }
    }

    /// Keeps the next write of the bucket's policy.
    pub(super) fn keep_next(&self) {
        self.shared.is_armed.store(true, Ordering::SeqCst);
    }

    /// Keeps the next write of the bucket's policy, and answers for the store, as a proxy does that has lost its patience.
    pub(super) fn give_up_next(&self) {
        self.shared.gives_up.store(true, Ordering::SeqCst);
        self.keep_next();
    }

    /// Waits until a write is kept.
    pub(super) async fn kept(&self) {
        self.shared.stage.subscribe().wait_for(|stage| *stage == Stage::Kept).await.unwrap();
    }

    /// Lets it go; answers the status by which the store answered it.
    pub(super) async fn let_go(&self) -> u16 {
        self.shared.go.send_replace(true);
        let mut stage = self.shared.stage.subscribe();
        let arrived = stage.wait_for(|stage| matches!(stage, Stage::Arrived(_))).await.unwrap();
        let Stage::Arrived(status) = *arrived else { unreachable!() };
        status
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(&shared.upstream).await else { return };
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            let to_client = Mutex::new(to_client);
            tokio::select! {
                () = ask(&shared, from_client, to_server, &to_client) => {}
                () = pass(from_server, &to_client) => {}
            }
        });
    }
}

async fn pass(mut from: OwnedReadHalf, to: &Mutex<OwnedWriteHalf>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if to.lock().await.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    // What is kept is not the server's to end.
    std::future::pending::<()>().await;
}

async fn ask(
    shared: &Shared,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    to_client: &Mutex<OwnedWriteHalf>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let bytes = &buffer[..length];
        if is_policy(bytes, &shared.bucket) && shared.is_armed.swap(false, Ordering::SeqCst) {
            let mut request = bytes.to_vec();
            while !is_complete(&request) {
                let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
                request.extend_from_slice(&buffer[..length]);
            }
            shared.stage.send_replace(Stage::Kept);
            if shared.gives_up.load(Ordering::SeqCst) {
                let given_up =
                    b"HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                to_client.lock().await.write_all(given_up).await.unwrap();
            }
            shared.go.subscribe().wait_for(|go| *go).await.unwrap();
            let answer = deliver(&shared.upstream, &request).await;
            let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
            shared.stage.send_replace(Stage::Arrived(status));
            // Nobody may be there any more.
            let _ = to_client.lock().await.write_all(&answer).await;
            return;
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

/// Sends a request on a connection of its own, and reads the answer to its end.
async fn deliver(upstream: &str, request: &[u8]) -> Vec<u8> {
    let mut server = TcpStream::connect(upstream).await.unwrap();
    server.write_all(request).await.unwrap();
    let (mut answer, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    while !is_complete(&answer) {
        let length = server.read(&mut buffer).await.unwrap();
        assert_ne!(length, 0, "the store hung up: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..length]);
    }
    answer
}

fn is_policy(bytes: &[u8], bucket: &str) -> bool {
    let line = String::from_utf8_lossy(bytes.split(|byte| *byte == b'\r').next().unwrap_or_default());
    line.starts_with(&format!("PUT /{bucket}")) && line.contains("?policy")
}

/// Whether a message is there with its whole body.
fn is_complete(message: &[u8]) -> bool {
    let Some(head) = message.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(&message[..head]).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    if text.contains("transfer-encoding: chunked") {
        return message.ends_with(b"0\r\n\r\n");
    }
    message.len() >= head + 4 + length.map_or(0, |length| length.trim().parse().unwrap())
}

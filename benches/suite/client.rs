//! The load: a closed loop of calls over raw HTTP/2, with as little client as possible.

use std::{
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use http::Request;
use tokio::{net::TcpStream, task::JoinSet};

/// One method to load.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// For the report.
    pub(crate) name: String,
    /// `/package.Service/Method`.
    pub(crate) path: String,
    /// Whether requests and replies are JSON, as OFREP has them, and not gRPC.
    pub(crate) is_json: bool,
    /// The requests, encoded, of the same size; asked one after the other.
    pub(crate) requests: Vec<Bytes>,
    /// Size of the reply, if it must be that; anything else counts as a failure.
    pub(crate) reply_bytes: Option<usize>,
}

/// How much at once.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    pub(crate) streams: usize,
    pub(crate) threads: usize,
}

/// What came of a slice.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) failed: usize,
    /// Of the calls that did not fail, in microseconds.
    pub(crate) latencies_us: Vec<u32>,
}

/// Loads the server for the length of a slice.
pub(crate) fn run(address: SocketAddr, case: &Case, load: &Load, slice: Duration) -> Outcome {
    let threads = load.threads.clamp(1, load.connections);
    let mut total = Outcome::default();
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|index| {
                let connections = (load.connections - index).div_ceil(threads);
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(run_thread(address, case.clone(), connections, load.streams, slice))
                })
            })
            .collect();
        for thread in running {
            let outcome = thread.join().unwrap();
            total.failed += outcome.failed;
            total.latencies_us.extend(outcome.latencies_us);
        }
    });
    total
}

async fn run_thread(
    address: SocketAddr,
    case: Case,
    connections: usize,
    streams: usize,
    slice: Duration,
) -> Outcome {
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(connect(address).await);
    }
    let bodies: Arc<[Bytes]> = case.requests.iter().map(|request| case.body(request)).collect();
    let until = Instant::now() + slice;
    let mut loops = JoinSet::new();
    for client in &clients {
        for _ in 0..streams {
            // Not all of them the same at once.
            let first = fastrand::usize(..bodies.len());
            loops.spawn(closed_loop(client.clone(), case.clone(), (Arc::clone(&bodies), first), until));
        }
    }
    let mut total = Outcome::default();
    while let Some(outcome) = loops.join_next().await {
        let outcome = outcome.unwrap();
        total.failed += outcome.failed;
        total.latencies_us.extend(outcome.latencies_us);
    }
    total
}

async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (client, connection) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(8 << 20)
        .handshake::<_, Bytes>(stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

impl Case {
    /// What goes over the wire for a request.
    fn body(&self, request: &Bytes) -> Bytes {
        if self.is_json {
            return request.clone();
        }
        let mut body = BytesMut::new();
        body.put_u8(0);
        body.put_u32(u32::try_from(request.len()).unwrap());
        body.put_slice(request);
        body.freeze()
    }
}

async fn closed_loop(
    client: SendRequest<Bytes>,
    case: Case,
    (bodies, first): (Arc<[Bytes]>, usize),
    until: Instant,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut began = Instant::now();
    for body in bodies.iter().cycle().skip(first) {
        if began >= until {
            break;
        }
        let replied = call(client.clone(), &case, body.clone()).await;
        let ended = Instant::now();
        let is_right = replied.is_ok_and(|size| {
            size.is_some_and(|size| case.reply_bytes.is_none_or(|expected| expected == size))
        });
        if is_right {
            outcome.latencies_us.push(u32::try_from((ended - began).as_micros()).unwrap_or(u32::MAX));
        } else {
            outcome.failed += 1;
        }
        began = ended;
    }
    outcome
}

/// The size of the reply; none if its status was an error.
async fn call(client: SendRequest<Bytes>, case: &Case, body: Bytes) -> Result<Option<usize>, h2::Error> {
    let mut client = client.ready().await?;
    let content_type = if case.is_json { "application/json" } else { "application/grpc" };
    let request = Request::post(format!("http://load{}", case.path))
        .header("content-type", content_type)
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (answer, mut sending) = client.send_request(request, false)?;
    sending.send_data(body, true)?;
    let (head, mut reply) = answer.await?.into_parts();
    let mut size = 0;
    while let Some(chunk) = reply.data().await {
        let chunk = chunk?;
        reply.flow_control().release_capacity(chunk.len())?;
        size += chunk.len();
    }
    if case.is_json {
        return Ok(head.status.is_success().then_some(size));
    }
    let trailers = reply.trailers().await?.unwrap_or_default();
    let is_ok = trailers.get("grpc-status").is_some_and(|status| status == "0");
    Ok(is_ok.then(|| size.saturating_sub(5)))
}

/// How large the reply of one call is.
pub(crate) fn reply_bytes(address: SocketAddr, case: &Case) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, body) = (connect(address).await, case.body(&case.requests[0]));
        call(client, case, body).await.unwrap().expect("the call succeeds")
    })
}

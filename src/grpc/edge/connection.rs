//! One connection: which protocol it speaks, how long it may be silent, when it goes.

use std::{
    convert::Infallible,
    fmt::Display,
    future::pending,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
};
use tokio::{
    io::AsyncReadExt as _,
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, transport::server::TcpConnectInfo};
use tower::Service;
use tracing::debug;

use super::{
    limits::Limits,
    pipeline::{Seat, Shared, answer},
    received::Received,
    stream::{HEAD_BYTES, Replayed},
};

const PREFACE: [u8; HEAD_BYTES] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Time a peer gets to take its leave after it was told to.
const LEAVE: Duration = Duration::from_secs(1);
/// The least that hyper takes as a buffer for HTTP/1.1.
const HTTP1_BUFFER_MIN: usize = 8_192;

/// Why a connection never got to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Early {
    Silent,
    OtherProtocol,
    Gone,
}

impl Early {
    /// As the label `reason`.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::OtherProtocol => "other_protocol",
            Self::Gone => "gone",
        }
    }
}

/// What a connection is told before it begins.
pub(super) struct Opening {
    pub(super) shared: Arc<Shared>,
    pub(super) seat: Arc<Seat>,
    /// Asks it to leave.
    pub(super) leave: CancellationToken,
}

/// Serves one connection until it ends. Asked to leave, it says so to its peer and ends with its last call.
pub(super) async fn serve_connection<S>(stream: TcpStream, opening: Opening, service: S) -> Result<(), Early>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    // Small answers must not wait for the peer's acknowledgement; a peer that is gone shows at the first read.
    let _ = stream.set_nodelay(true);
    let Opening { shared, seat, leave } = opening;
    let info = TcpConnectInfo { local_addr: stream.local_addr().ok(), remote_addr: stream.peer_addr().ok() };
    let limits = &shared.limits;
    let (stream, spoken) = tokio::select! {
        first = timeout(limits.first_request_timeout, first_bytes(stream)) => {
            first.map_err(|_elapsed| Early::Silent)??
        }
        () = leave.cancelled() => return Err(Early::Gone),
    };
    let has_called = Arc::new(AtomicBool::new(false));
    let calls = service_fn({
        let (shared, has_called) = (Arc::clone(&shared), Arc::clone(&has_called));
        move |mut request: Request<Incoming>| {
            has_called.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(info.clone());
            let request = Received::of(request);
            let answered = answer(Arc::clone(&shared), Arc::clone(&seat), service.clone(), request);
            async move { Ok::<_, Infallible>(answered.await) }
        }
    });
    match spoken {
        Spoken::Http2 => {
            let connection = http2_builder(limits).serve_connection(TokioIo::new(stream), calls);
            drive(pin!(connection), limits, &has_called, leave).await
        }
        Spoken::Http1 => {
            stream.give_up_after(limits.unacknowledged_max);
            let connection = http1_builder(limits).serve_connection(TokioIo::new(stream), calls);
            drive(pin!(connection), limits, &has_called, leave).await
        }
    }
}

/// Keeps a connection going, and ends it for silence, for its age or when it is asked to leave.
async fn drive<C>(
    mut connection: Pin<&mut C>,
    limits: &Limits,
    has_called: &AtomicBool,
    leave: CancellationToken,
) -> Result<(), Early>
where
    C: GracefulConnection<Error: Display>,
{
    // Every read wakes this task. A set of futures polls only those that were woken themselves, so two timers and a
    // lock that all connections share are not touched by each of them.
    let events: FuturesUnordered<Pin<Box<dyn Future<Output = Event> + Send>>> = FuturesUnordered::new();
    events.push(Box::pin(sleep(limits.first_request_timeout).map(|()| Event::FirstRequestDue)));
    events.push(Box::pin(old_age(limits.connection_age_max).map(|()| Event::Leave)));
    events.push(Box::pin(leave.cancelled_owned().map(|()| Event::Leave)));
    let mut events = pin!(events);
    let mut stays = true;
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(cause) = ended {
                    debug!(%cause, "A connection broke.");
                }
                return Ok(());
            }
            Some(event) = events.next() => match event {
                Event::FirstRequestDue if has_called.load(Ordering::Relaxed) => {}
                Event::FirstRequestDue => {
                    connection.as_mut().graceful_shutdown();
                    // A peer in the middle of its settings would never end by itself.
                    let _ = timeout(LEAVE, connection.as_mut()).await;
                    return Err(Early::Silent);
                }
                Event::Leave if stays => {
                    stays = false;
                    connection.as_mut().graceful_shutdown();
                }
                Event::Leave => {}
            },
        }
    }
}

/// What happens to a connection from outside.
enum Event {
    FirstRequestDue,
    /// Old age or drain.
    Leave,
}

fn http2_builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_per_connection_max)
        .max_pending_accept_reset_streams(limits.pending_reset_streams_max)
        .max_local_error_reset_streams(limits.local_error_reset_streams_max)
        .keep_alive_interval(limits.keep_alive_interval)
        .keep_alive_timeout(limits.keep_alive_timeout)
        .max_header_list_size(limits.header_list_bytes_max)
        .initial_stream_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .max_frame_size(limits.frame_bytes_max)
        .max_send_buf_size(limits.send_buffer_bytes_max)
        // gRPC has no use for a date, and it would cost bytes on every answer.
        .auto_date_header(false);
    builder
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    let head_bytes_max = usize::try_from(limits.header_list_bytes_max).unwrap_or(usize::MAX);
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_headers(limits.headers_max)
        .max_buf_size(head_bytes_max.max(HTTP1_BUFFER_MIN));
    builder
}

/// Waits for a connection's old age, spread by ± 10 % so that a fleet's connections do not move in one wave.
async fn old_age(age: Option<Duration>) {
    match age {
        Some(age) => sleep(age.mul_f64(0.9 + fastrand::f64() * 0.2)).await,
        None => pending().await,
    }
}

/// The protocol a peer begins with.
#[derive(Debug, Clone, Copy)]
enum Spoken {
    Http1,
    Http2,
}

/// Reads until it is clear what the peer speaks: HTTP/2 begins with 24 bytes that no HTTP/1.1 request begins with.
/// Anybody who speaks neither is hung up on.
async fn first_bytes(mut stream: TcpStream) -> Result<(Replayed, Spoken), Early> {
    let mut head = [0; PREFACE.len()];
    let mut filled = 0;
    while filled < head.len() {
        match stream.read(&mut head[filled..]).await {
            Ok(0) | Err(_) => return Err(Early::Gone),
            Ok(count) => filled += count,
        }
        if head[..filled] != PREFACE[..filled] {
            // HTTP/1.1 begins with a method in capitals; TLS with 0x16.
            if !head[0].is_ascii_uppercase() {
                return Err(Early::OtherProtocol);
            }
            return Ok((Replayed::new(head, filled, stream), Spoken::Http1));
        }
    }
    Ok((Replayed::new(head, filled, stream), Spoken::Http2))
}

//! One connection: which protocol it speaks, how long it may be silent, when it goes.

use std::{
    convert::Infallible,
    future::pending,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use tonic::{body::Body, transport::server::TcpConnectInfo};
use tower::Service;
use tracing::debug;

use super::{
    limits::Limits,
    pipeline::{Shared, answer},
    stream::Replayed,
};

const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// 505: "the major version of the protocol is not supported" says it better than 400.
const HTTP1_REFUSAL: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 104\r\nconnection: close\r\n\r\n\
    This port speaks gRPC, which is HTTP/2 without an upgrade. Probes and metrics are on the HTTP listener.\n";
/// Time a peer gets to take its leave after it was told to.
const LEAVE: Duration = Duration::from_secs(1);

/// Why a connection never got to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Early {
    Silent,
    Http1,
    OtherProtocol,
    Gone,
}

impl Early {
    /// As the label `reason`.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Http1 => "http1",
            Self::OtherProtocol => "other_protocol",
            Self::Gone => "gone",
        }
    }
}

/// Serves one connection until it ends. Told to drain, it sends GOAWAY and ends with its last call.
pub(super) async fn serve_connection<S>(
    stream: TcpStream,
    shared: Arc<Shared>,
    service: S,
) -> Result<(), Early>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    // Small answers must not wait for the peer's acknowledgement; a peer that is gone shows at the first read.
    let _ = stream.set_nodelay(true);
    let info = TcpConnectInfo { local_addr: stream.local_addr().ok(), remote_addr: stream.peer_addr().ok() };
    let bound = shared.limits.first_request_timeout;
    let stream = tokio::select! {
        stream = timeout(bound, expect_preface(stream)) => stream.map_err(|_elapsed| Early::Silent)??,
        () = shared.drain.cancelled() => return Err(Early::Gone),
    };
    let has_called = Arc::new(AtomicBool::new(false));
    let calls = service_fn({
        let (shared, has_called) = (Arc::clone(&shared), Arc::clone(&has_called));
        move |mut request: Request<Incoming>| {
            has_called.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(info.clone());
            let answered = answer(Arc::clone(&shared), service.clone(), request);
            async move { Ok::<_, Infallible>(answered.await) }
        }
    });
    let mut connection = pin!(builder(&shared.limits).serve_connection(TokioIo::new(stream), calls));
    // Every read wakes this task. A set of futures polls only those that were woken themselves, so two timers and a
    // lock that all connections share are not touched by each of them.
    let events: FuturesUnordered<Pin<Box<dyn Future<Output = Event> + Send>>> = FuturesUnordered::new();
    events.push(Box::pin(sleep(bound).map(|()| Event::FirstRequestDue)));
    events.push(Box::pin(old_age(shared.limits.connection_age_max).map(|()| Event::Leave)));
    events.push(Box::pin(shared.drain.clone().cancelled_owned().map(|()| Event::Leave)));
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

fn builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
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

/// Waits for a connection's old age, spread by ± 10 % so that a fleet's connections do not move in one wave.
async fn old_age(age: Option<Duration>) {
    match age {
        Some(age) => sleep(age.mul_f64(0.9 + fastrand::f64() * 0.2)).await,
        None => pending().await,
    }
}

/// Reads the 24 bytes with which HTTP/2 begins. Anybody who begins otherwise is told so, if there are words for it.
async fn expect_preface(mut stream: TcpStream) -> Result<Replayed<24>, Early> {
    let mut head = [0; PREFACE.len()];
    let mut filled = 0;
    while filled < head.len() {
        match stream.read(&mut head[filled..]).await {
            Ok(0) | Err(_) => return Err(Early::Gone),
            Ok(count) => filled += count,
        }
        if head[..filled] != PREFACE[..filled] {
            // HTTP/1 begins with a method in capitals; TLS with 0x16.
            if !head[0].is_ascii_uppercase() {
                return Err(Early::OtherProtocol);
            }
            let _ = timeout(LEAVE, refuse_http1(stream)).await;
            return Err(Early::Http1);
        }
    }
    Ok(Replayed::new(head, stream))
}

async fn refuse_http1(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(HTTP1_REFUSAL).await?;
    stream.shutdown().await?;
    // Closing with unread bytes would reset the connection and take the answer with it.
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusals_length_is_what_it_says() {
        let text = std::str::from_utf8(HTTP1_REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }
}

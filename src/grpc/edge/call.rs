//! One call on its way through the edge.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::FutureExt as _;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::Service;
use tracing::Instrument as _;
use uuid::Uuid;

use super::metrics::Metrics;
use super::normalise;
use crate::domain::error::{Error, Reason};
use crate::grpc::status::status;

/// The caller's name for a call, given back with the answer; ours where it gives none.
const REQUEST_ID: &str = "x-request-id";
/// Longest name that is taken over.
const REQUEST_ID_MAX: usize = 128;

/// What stands before the handlers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Edge {
    routes: Router,
    deadline: Duration,
    calls_max: usize,
    calls: Arc<AtomicUsize>,
    metrics: Metrics,
    /// Set by the first call of a connection.
    called: Arc<AtomicBool>,
    /// Cuts streams when the server goes down.
    drain: CancellationToken,
}

impl Edge {
    pub(super) fn new(routes: Router, deadline: Duration, calls_max: usize, metrics: Metrics) -> Self {
        Self {
            routes,
            deadline,
            calls_max,
            calls: Arc::default(),
            metrics,
            called: Arc::default(),
            drain: CancellationToken::new(),
        }
    }

    pub(super) fn of_connection(mut self, called: Arc<AtomicBool>, drain: CancellationToken) -> Self {
        self.called = called;
        self.drain = drain;
        self
    }
}

impl Service<Request<Incoming>> for Edge {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        self.called.store(true, Ordering::Relaxed);
        if request.method() != Method::POST || !is_grpc(request.headers()) {
            return Box::pin(std::future::ready(Ok(not_grpc())));
        }
        let request_id = request_id(request.headers());
        let path = request.uri().path().to_owned();
        let span = tracing::info_span!(
            "call",
            request_id = request_id.to_str().unwrap_or_default(),
            method = path,
            tenant_id = tracing::field::Empty,
            operation_id = tracing::field::Empty,
        );
        let edge = self.clone();
        let answer = async move {
            let started = Instant::now();
            let metrics = edge.metrics.clone();
            let mut response = edge.answer(request, &path).await;
            response.headers_mut().insert(REQUEST_ID, request_id);
            metrics.call(&path, normalise::code(response.headers()), started.elapsed());
            Ok(response)
        };
        Box::pin(answer.instrument(span))
    }
}

/// One of the calls under way.
struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Edge {
    async fn answer(mut self, request: Request<Incoming>, path: &str) -> Response<Body> {
        let before = self.calls.fetch_add(1, Ordering::Relaxed);
        let under_way = UnderWay(Arc::clone(&self.calls));
        if before >= self.calls_max {
            return refuse(
                &Error::new(Reason::Overloaded, "the server has too many calls under way")
                    .retry_after(Duration::from_secs(1)),
            );
        }
        let asked = match timeout(request.headers()) {
            Ok(asked) => asked,
            Err(error) => return refuse(&error),
        };
        let streams = is_stream(path);
        let deadline =
            if streams { asked } else { Some(asked.map_or(self.deadline, |asked| asked.min(self.deadline))) };
        let handled = AssertUnwindSafe(self.routes.call(request.map(Body::new))).catch_unwind();
        let handled = match deadline {
            Some(deadline) => tokio::time::timeout(deadline, handled).await,
            None => Ok(handled.await),
        };
        match handled {
            Ok(Ok(Ok(response))) if streams => self.cut_at_drain(response, under_way),
            Ok(Ok(Ok(response))) => normalise::normalise(response, path),
            Ok(Ok(Err(never))) => match never {},
            // The panic itself was reported by the hook, within this call's span.
            Ok(Err(_)) => refuse(&Error::bug("a handler panicked")),
            Err(_) => {
                let message = "the call took longer than the caller or the server allows; what it changes may still be changed";
                refuse(&Error::new(Reason::DeadlineExceeded, message))
            }
        }
    }

    /// A stream ends with a status that says to come back when the server goes down, and counts until then.
    fn cut_at_drain(&self, response: Response<Body>, under_way: UnderWay) -> Response<Body> {
        let error = Error::new(Reason::ShuttingDown, "the server is going down; connect again and resume")
            .retry_after(Duration::from_secs(1));
        let mut trailers = HeaderMap::new();
        let bye = status(&error);
        // Our own statuses are always valid headers.
        let _ = bye.add_header(&mut trailers);
        response.map(|body| Body::new(normalise::Cut::new(body, self.drain.clone(), trailers, under_way)))
    }
}

fn refuse(error: &Error) -> Response<Body> {
    status(error).into_http()
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn not_grpc() -> Response<Body> {
    let mut response = Response::new(Body::from("This port speaks gRPC.\n"));
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

/// Methods that answer with a stream: they last as long as their caller listens.
fn is_stream(path: &str) -> bool {
    let method = path.rsplit('/').next().unwrap_or_default();
    method.starts_with("Watch") || method == "ServerReflectionInfo"
}

fn request_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(REQUEST_ID).filter(|value| {
        (1..=REQUEST_ID_MAX).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    given.cloned().unwrap_or_else(|| {
        let mut buffer = Uuid::encode_buffer();
        let text = Uuid::now_v7().hyphenated().encode_lower(&mut buffer);
        HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("none"))
    })
}

/// How long the caller waits: at most eight digits and a unit.
fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(|text| {
        let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number: u64 = digits.parse().ok()?;
        Some(match unit {
            "H" => Duration::from_secs(number * 3_600),
            "M" => Duration::from_secs(number * 60),
            "S" => Duration::from_secs(number),
            "m" => Duration::from_millis(number),
            "u" => Duration::from_micros(number),
            "n" => Duration::from_nanos(number),
            _ => return None,
        })
    });
    parsed.map(Some).ok_or_else(|| {
        Error::invalid(
            Reason::MalformedRequest,
            vec![crate::domain::violation::Violation::new(
                "grpc-timeout",
                "must be up to eight digits and one of H, M, S, m, u, n",
            )],
        )
    })
}

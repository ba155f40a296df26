//! What a listener serves besides calls: probes, metrics, HTTP APIs of others.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{Router, body::Body};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use tokio::time::timeout;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;
use tower::ServiceExt as _;
use tracing::error;

use super::{
    admission::CallPlace,
    body::EdgeBody,
    pipeline::Shared,
    protocol::{CONTENT_TYPES, NotACall},
    received::Received,
};

/// Said where there are as many event streams and streaming calls as there may be.
const OVERLOADED: &str = "The server has as many open streams as it takes; try again shortly.\n";

/// Marks an answer of a router's fallback: nothing is served at this path, so it may still be a call. A response
/// extension.
#[derive(Debug, Clone, Copy)]
pub struct NoSuchPage;

/// Asks the router. A panic or a page that takes longer than a unary call may is an error of the server.
pub(super) async fn answer(
    shared: &Shared,
    router: Router,
    request: Request<Received>,
) -> Response<EdgeBody> {
    let asked = AssertUnwindSafe(router.oneshot(request.map(Body::new))).catch_unwind();
    let response = match timeout(shared.limits.unary_deadline, asked).await {
        Ok(Ok(Ok(response))) => response,
        Ok(Ok(Err(never))) => match never {},
        Ok(Err(_panic)) => {
            error!("A page panicked; the panic's own lines are on standard error.");
            return plain(StatusCode::INTERNAL_SERVER_ERROR, "The server failed; its log has the cause.\n");
        }
        Err(_elapsed) => return plain(StatusCode::GATEWAY_TIMEOUT, "The answer took too long.\n"),
    };
    let place = if is_event_stream(&response) {
        let Some(place) = shared.streams.take() else {
            let mut refusal = plain(StatusCode::TOO_MANY_REQUESTS, OVERLOADED);
            refusal.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            return refusal;
        };
        Some(place)
    } else {
        None
    };
    let drain = Some(Box::pin(shared.drain.clone().cancelled_owned()));
    response.map(|inner| EdgeBody::Page(PageBody { inner, drain, _place: place }))
}

/// Whether an answer stays open, and counts as an open stream.
fn is_event_stream<B>(response: &Response<B>) -> bool {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

/// An answer in plain words.
pub(super) fn plain(code: StatusCode, sentence: &'static str) -> Response<EdgeBody> {
    let mut response = Response::new(EdgeBody::Whole(Full::new(Bytes::from_static(sentence.as_bytes()))));
    *response.status_mut() = code;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

/// The answer to what is no call.
pub(super) fn refuse(not_a_call: NotACall) -> Response<EdgeBody> {
    let mut response = plain(not_a_call.code, not_a_call.sentence);
    if let Some(allow) = not_a_call.allow {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    if not_a_call.names_types {
        response.headers_mut().insert("accept-post", HeaderValue::from_static(CONTENT_TYPES));
    }
    response
}

/// The body of a page. One that still waits for more when the drain begins, an event stream, ends there.
pub(super) struct PageBody {
    inner: Body,
    drain: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Of an event stream, among all open streams.
    _place: Option<CallPlace>,
}

impl http_body::Body for PageBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(polled) => {
                // It is only looked at again, never awaited here: whoever broke a page's body has logged why.
                Poll::Ready(polled.map(|frame| frame.map_err(|_broken| Status::cancelled(""))))
            }
            Poll::Pending => match this.drain.as_mut().map(|drain| drain.as_mut().poll(cx)) {
                Some(Poll::Ready(())) => Poll::Ready(None),
                _ => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

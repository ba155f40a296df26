//! A request's body as it comes from the network.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

/// Most that is read of a body nobody wants: about what a client has under way before it sees that it is refused.
const DISCARDED_BYTES_MAX: usize = 1 << 20;
/// Longest time for that.
const DISCARDING_MAX: Duration = Duration::from_secs(2);

/// A body from the network. Over HTTP/1.1 an answer may come before the request has been read. Closing the connection with
/// unread bytes would reset it, and take the answer with it; so what is left is read and thrown away. HTTP/2 resets the
/// one stream instead.
#[derive(Debug)]
pub(super) struct Received {
    inner: Option<Incoming>,
    discards: bool,
}

impl Received {
    /// The request with such a body.
    pub(super) fn of(request: Request<Incoming>) -> Request<Self> {
        let discards = request.version() < Version::HTTP_2;
        request.map(|inner| Self { inner: Some(inner), discards })
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let polled = Pin::new(inner).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.inner = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        let Some(rest) = self.inner.take().filter(|rest| self.discards && !rest.is_end_stream()) else {
            return;
        };
        // Dropped with its runtime there is nobody left to read.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(timeout(DISCARDING_MAX, discard(rest)));
        }
    }
}

async fn discard(mut rest: Incoming) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = rest.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > DISCARDED_BYTES_MAX {
            return;
        }
    }
}

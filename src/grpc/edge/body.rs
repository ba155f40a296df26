//! Bodies of answers. That of a call: its trailers are normalised, its end is counted, and a stream ends on deadline, drain or panic with
//! a status instead of silence.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Code, Status, body::Body};
use tracing::error;

use super::{
    call::Call,
    normalise::{Place, normalise, write},
    pages::PageBody,
    protocol::Outbound,
    status::{BUG, DEADLINE_EXCEEDED, Refusal, SHUTTING_DOWN},
};

/// What leaves the server.
pub(super) enum EdgeBody {
    /// As the services made it.
    Grpc(AnswerBody),
    /// Written in another protocol, message by message.
    Encoded(Box<Outbound>),
    /// All there already.
    Whole(Full<Bytes>),
    /// No call.
    Page(PageBody),
}

impl EdgeBody {
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Full::new(bytes.into()))
    }
}

impl http_body::Body for EdgeBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match &mut *self {
            Self::Grpc(body) => Pin::new(body).poll_frame(cx),
            Self::Encoded(body) => Pin::new(body.as_mut()).poll_frame(cx),
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Page(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Grpc(body) => body.is_end_stream(),
            Self::Encoded(body) => body.is_end_stream(),
            Self::Whole(body) => body.is_end_stream(),
            Self::Page(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Grpc(body) => body.size_hint(),
            Self::Encoded(body) => body.size_hint(),
            Self::Whole(body) => body.size_hint(),
            Self::Page(body) => body.size_hint(),
        }
    }
}

/// The body of a call's answer, in gRPC's form.
pub(super) struct AnswerBody {
    inner: Body,
    call: Call,
    until: Option<Instant>,
    drain: Option<CancellationToken>,
    interrupts: Option<Interrupts>,
    has_ended: bool,
}

/// What may end a stream early; made when the stream first has to wait, so that unary calls never pay for it.
struct Interrupts {
    deadline: Option<Pin<Box<Sleep>>>,
    drain: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl AnswerBody {
    /// `until` bounds a stream; `drain` asks it to end.
    pub(super) fn of(inner: Body, call: Call, until: Option<Instant>, drain: CancellationToken) -> Self {
        let drain = call.served.method.shape.answers_stream.then_some(drain);
        Self { inner, call, until, drain, interrupts: None, has_ended: false }
    }

    fn end_with(&mut self, refusal: Refusal) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut trailers = HeaderMap::new();
        write(&refusal.status(), &mut trailers);
        self.inner = Body::empty();
        self.end_with_trailers(&mut trailers);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn end_with_trailers(&mut self, trailers: &mut HeaderMap) {
        self.has_ended = true;
        let shape = self.call.served.method.shape;
        let code = normalise(trailers, Place::Trailers, shape, &self.call.request_id);
        self.call.end(code.unwrap_or(Code::Unknown));
    }

    fn interrupted(&mut self, cx: &mut Context<'_>) -> Option<Refusal> {
        if self.until.is_none() && self.drain.is_none() && self.interrupts.is_none() {
            return None;
        }
        let interrupts = self.interrupts.get_or_insert_with(|| Interrupts {
            deadline: self.until.map(|until| Box::pin(sleep_until(until))),
            drain: self.drain.take().map(|drain| Box::pin(drain.cancelled_owned())),
        });
        let is_ready = |future: Option<&mut Pin<Box<Sleep>>>, cx: &mut Context<'_>| match future {
            Some(future) => future.as_mut().poll(cx).is_ready(),
            None => false,
        };
        if is_ready(interrupts.deadline.as_mut(), cx) {
            return Some(DEADLINE_EXCEEDED);
        }
        match &mut interrupts.drain {
            Some(drain) => drain.as_mut().poll(cx).is_ready().then_some(SHUTTING_DOWN),
            None => None,
        }
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.has_ended {
            return Poll::Ready(None);
        }
        // What a unary call had to say was said before its body; a stream's handler speaks from within.
        let is_stream = this.call.served.method.shape.answers_stream;
        let entered = is_stream.then(|| this.call.span.clone().entered());
        let inner = AssertUnwindSafe(|| Pin::new(&mut this.inner).poll_frame(cx));
        let Ok(polled) = catch_unwind(inner) else {
            let _entered = this.call.span.clone().entered();
            error!("A stream panicked; the panic's own lines are on standard error.");
            return this.end_with(BUG);
        };
        drop(entered);
        match polled {
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Some(trailers) = frame.trailers_mut() {
                    this.end_with_trailers(trailers);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(status))) => {
                let _entered = this.call.span.clone().entered();
                error!(code = ?status.code(), cause = status.message(), "A stream broke without trailers.");
                this.end_with(BUG)
            }
            Poll::Ready(None) => {
                this.has_ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => match this.interrupted(cx) {
                Some(refusal) => this.end_with(refusal),
                None => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

//! The body of a stream of events.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use tonic::Status;

use crate::grpc::flagd::Events;

/// Messages with their prefix, sent as they lie: a stream whose reader is slow holds what others hold as well, and no copy.
pub(super) struct EventsBody {
    events: Events<Bytes>,
    has_ended: bool,
}

impl EventsBody {
    pub(super) fn new(events: Events<Bytes>) -> Self {
        Self { events, has_ended: false }
    }
}

impl http_body::Body for EventsBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::new();
        match ready!(self.events.as_mut().poll_next(cx)) {
            Some(Ok(message)) => return Poll::Ready(Some(Ok(Frame::data(message)))),
            Some(Err(status)) => status.add_header(&mut trailers)?,
            None => drop(trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"))),
        }
        self.has_ended = true;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }
}

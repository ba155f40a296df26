//! Statuses that the libraries below us make, in our words and with the codes of the protocol's own tables.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http::{HeaderMap, Response};
use http_body::Frame;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Code, Status};

use crate::domain::error::{Error, Reason};
use crate::domain::text::quote;
use crate::domain::violation::Violation;
use crate::grpc::status::status;

/// The code of an answer; OK where none is said in its head.
pub(super) fn code(headers: &HeaderMap) -> Code {
    headers.get("grpc-status").map_or(Code::Ok, |value| Code::from_bytes(value.as_bytes()))
}

/// Lets our own statuses pass and replaces all others. Ours always have details.
pub(super) fn normalise(response: Response<Body>, path: &str) -> Response<Body> {
    let headers = response.headers();
    let found = code(headers);
    if found == Code::Ok || headers.contains_key("grpc-status-details-bin") {
        return response;
    }
    let Some(theirs) = Status::from_header_map(headers) else { return response };
    match replacement(&theirs, path) {
        Some(error) => status(&error).into_http(),
        // As the compression specification demands: no other way for a client to tell.
        None => {
            Status::internal("a message is marked as compressed, but grpc-encoding says nothing").into_http()
        }
    }
}

fn replacement(theirs: &Status, path: &str) -> Option<Error> {
    let malformed =
        |why: &str| Some(Error::invalid(Reason::MalformedRequest, vec![Violation::new("request", why)]));
    let words = theirs.message();
    match theirs.code() {
        Code::Unimplemented if words.contains("ompress") => {
            Some(Error::new(Reason::UnknownMethod, "the server does not read this grpc-encoding"))
        }
        Code::Unimplemented => {
            Some(Error::new(Reason::UnknownMethod, format!("there is no method {}", quote(path))))
        }
        Code::OutOfRange | Code::ResourceExhausted => {
            Some(Error::new(Reason::MessageTooLarge, "the request is larger than this method reads"))
        }
        Code::Internal if words.contains("compressed-flag") => None,
        Code::Internal | Code::Unknown if words.contains("issing request message") => {
            Some(Error::new(Reason::UnknownMethod, "the method takes one message; none came"))
        }
        Code::DeadlineExceeded | Code::Cancelled => {
            Some(Error::new(Reason::DeadlineExceeded, "the call was given up"))
        }
        _ => malformed("its bytes are not a valid message of this method"),
    }
}

/// A body that ends with its own trailers, or with ours when the server goes down first.
pub(super) struct Cut<G> {
    body: Body,
    drained: Pin<Box<WaitForCancellationFutureOwned>>,
    trailers: Option<HeaderMap>,
    ended: bool,
    /// Held until the stream has ended.
    _guard: G,
}

impl<G> Cut<G> {
    pub(super) fn new(body: Body, drain: CancellationToken, trailers: HeaderMap, guard: G) -> Self {
        Self {
            body,
            drained: Box::pin(drain.cancelled_owned()),
            trailers: Some(trailers),
            ended: false,
            _guard: guard,
        }
    }
}

impl<G: Unpin> http_body::Body for Cut<G> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        if self.drained.as_mut().poll(context).is_ready() {
            self.ended = true;
            return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(theirs: Status) -> Status {
        let response = normalise(theirs.into_http(), "/tenantry.v1.Tiers/GetTier");
        Status::from_header_map(response.headers()).unwrap()
    }

    #[test]
    fn library_text_and_library_codes_do_not_pass() {
        for (theirs, code) in [
            (Status::internal("failed to decode Protobuf message: invalid wire type"), Code::InvalidArgument),
            (Status::out_of_range("Error, decoded message length too large"), Code::ResourceExhausted),
            (Status::unimplemented(""), Code::Unimplemented),
            (Status::internal("Missing request message."), Code::Unimplemented),
        ] {
            let ours = after(theirs.clone());
            assert_eq!(ours.code(), code, "{theirs:?}");
            assert!(theirs.message().is_empty() || !ours.message().contains(theirs.message()));
        }
    }

    #[test]
    fn our_own_statuses_pass_untouched() {
        let ours = status(&Error::bug("cause"));
        assert_eq!(after(ours.clone()).message(), ours.message());
    }
}

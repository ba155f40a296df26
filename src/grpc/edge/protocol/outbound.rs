//! An answer of gRPC, written in the protocol of its call.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::{Body, Frame, SizeHint};
use prost_reflect::{DescriptorPool, MessageDescriptor};
use tonic::Status;
use tracing::error;

use super::{
    super::{
        body::{AnswerBody, EdgeBody},
        normalise::write,
        status::BUG,
    },
    Codec, Family, Wire, base64_text, connect_error, frames, gzip, json, unary,
    written::{Form, Written},
};

/// How to write an answer.
#[derive(Debug, Clone)]
pub(in super::super) struct Reply {
    pub(in super::super) wire: Wire,
    /// What JSON is made of.
    pub(in super::super) output: Option<MessageDescriptor>,
    /// The client reads gzip.
    pub(in super::super) gzip: bool,
    /// The contract has no such method.
    pub(in super::super) is_unknown: bool,
    /// Where the types of error details are.
    pub(in super::super) pools: Arc<[DescriptorPool]>,
    /// What other streams have written.
    pub(in super::super) written: Arc<Written>,
}

impl Reply {
    /// For a request with these headers; `output` is `None` for a method that the contract does not have.
    pub(in super::super) fn new(
        wire: Wire,
        headers: &HeaderMap,
        output: Option<&MessageDescriptor>,
        pools: &Arc<[DescriptorPool]>,
        written: &Arc<Written>,
    ) -> Self {
        // gRPC runs between machines of one network: compressing would cost more than it saves.
        let gzip = wire.family != Family::Grpc && gzip::is_accepted(headers.get(wire.accept_header()));
        let is_unknown = output.is_none();
        let output = output.filter(|_| wire.codec == Codec::Json).cloned();
        let (pools, written) = (Arc::clone(pools), Arc::clone(written));
        Self { wire, output, gzip, is_unknown, pools, written }
    }
}

/// The answer in the protocol of its call.
pub(in super::super) async fn answer(reply: Reply, response: Response<AnswerBody>) -> Response<EdgeBody> {
    match reply.wire.family {
        Family::Grpc if reply.output.is_none() => response.map(EdgeBody::Grpc),
        Family::ConnectUnary | Family::ConnectGet => unary::answer(&reply, response).await,
        _ => stream(reply, response),
    }
}

fn stream(reply: Reply, response: Response<AnswerBody>) -> Response<EdgeBody> {
    let (mut head, inner) = response.into_parts();
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.wire.content_type()));
    head.headers.remove(frames::GRPC_ENCODING);
    head.headers.remove(frames::GRPC_ACCEPT_ENCODING);
    let has_ended = head.headers.contains_key("grpc-status");
    if reply.wire.family == Family::ConnectStream {
        head.headers.remove(header::CONTENT_LENGTH);
        if has_ended {
            let end = connect_error::end_of_stream(&status_of(&mut head.headers), &reply.pools);
            let end = frames::framed(frames::END_STREAM, &end);
            return Response::from_parts(head, EdgeBody::whole(end));
        }
    }
    if has_ended {
        // An error without messages stands in the headers, also for gRPC-Web.
        return Response::from_parts(head, EdgeBody::whole(Bytes::new()));
    }
    if reply.gzip {
        head.headers.insert(reply.wire.encoding_header(), HeaderValue::from_static(gzip::NAME));
    }
    let writer = Writer { reply, buffer: BytesMut::new() };
    Response::from_parts(head, EdgeBody::Encoded(Box::new(Outbound { inner, writer, has_ended: false })))
}

/// Takes what says how the call ended out of the headers, the request's name included.
fn status_of(headers: &mut HeaderMap) -> HeaderMap {
    let mut status = HeaderMap::new();
    for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
        if let Some(value) = headers.remove(name) {
            status.insert(name, value);
        }
    }
    status
}

/// Rewrites an answer's frames.
#[derive(Debug)]
struct Writer {
    reply: Reply,
    /// The start of a frame.
    buffer: BytesMut,
}

impl Writer {
    /// The messages that are complete with these bytes; `None` when one cannot be written.
    fn messages(&mut self, bytes: &Bytes) -> Option<Bytes> {
        if self.reply.output.is_none() && !self.reply.gzip {
            return Some(self.text(bytes.clone()));
        }
        let Reply { wire, output, gzip, .. } = &self.reply;
        let form = Form { wire: *wire, output: output.clone(), gzip: *gzip };
        let begins = self.buffer.is_empty();
        if begins && let Some(written) = self.reply.written.find(bytes, &form) {
            return Some(written);
        }
        self.buffer.extend_from_slice(bytes);
        let mut written = BytesMut::new();
        while let Some((_flag, message)) = frames::take(&mut self.buffer) {
            let message = match &self.reply.output {
                Some(descriptor) => json::from_proto(descriptor, &message)?.into(),
                None => message,
            };
            match self.reply.gzip.then(|| gzip::compress(&message)).flatten() {
                Some(compressed) => frames::put(&mut written, frames::COMPRESSED, &compressed),
                None => frames::put(&mut written, 0, &message),
            }
        }
        let written = self.text(written.freeze());
        if begins && self.buffer.is_empty() {
            self.reply.written.keep(bytes, form, &written);
        }
        Some(written)
    }

    /// What ends the answer.
    fn end(&self, trailers: HeaderMap) -> Frame<Bytes> {
        match self.reply.wire.family {
            Family::GrpcWeb | Family::GrpcWebText => {
                Frame::data(self.text(frames::framed(frames::TRAILERS, &as_text(&trailers))))
            }
            Family::ConnectStream => {
                let end = connect_error::end_of_stream(&trailers, &self.reply.pools);
                Frame::data(frames::framed(frames::END_STREAM, &end))
            }
            Family::Grpc | Family::ConnectUnary | Family::ConnectGet => Frame::trailers(trailers),
        }
    }

    fn text(&self, bytes: Bytes) -> Bytes {
        if self.reply.wire.family == Family::GrpcWebText { base64_text::encode(&bytes) } else { bytes }
    }
}

/// Trailers as the lines that HTTP/1.1 has for headers.
fn as_text(trailers: &HeaderMap) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in trailers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text
}

/// The body of an answer that is written message by message.
pub(in super::super) struct Outbound {
    inner: AnswerBody,
    writer: Writer,
    has_ended: bool,
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        while !this.has_ended {
            let Some(polled) = ready!(Pin::new(&mut this.inner).poll_frame(cx)) else {
                this.has_ended = true;
                break;
            };
            let trailers = match polled?.into_data() {
                Ok(data) => match this.writer.messages(&data) {
                    Some(bytes) if bytes.is_empty() => continue,
                    Some(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                    None => unwritable(),
                },
                Err(frame) => frame.into_trailers().unwrap_or_default(),
            };
            this.has_ended = true;
            return Poll::Ready(Some(Ok(this.writer.end(trailers))));
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// The end of an answer that its own contract cannot write: a bug of the server.
pub(super) fn unwritable() -> HeaderMap {
    error!("An answer could not be written as JSON: it does not fit the contract's descriptors.");
    let mut trailers = HeaderMap::new();
    write(&BUG.status(), &mut trailers);
    trailers
}

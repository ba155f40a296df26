//! A request in any protocol, read as the gRPC request that services know: one uncompressed protobuf message after the
//! other, each behind five bytes.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_body::{Body, Frame};
use http_body_util::Full;
use prost_reflect::MessageDescriptor;
use tonic::Status;

use super::{
    super::{
        received::Received,
        request_body::{RequestBody, Rule},
        status::{BAD_CONNECT_VERSION, CALL_CANCELLED, COMPRESSION_UNSUPPORTED, Refusal},
    },
    Codec, Family, Wire,
    base64_text::TextDecoder,
    frames, gzip, query,
    reader::{Reader, Terms},
};

/// The request as the services read it. gRPC in protobuf without compression streams through; anything else is
/// rewritten message by message. `input` is what the messages are; without a method there is none, and nobody who reads.
pub(in super::super) fn prepare(
    wire: Wire,
    terms: Terms,
    input: Option<&MessageDescriptor>,
    request: Request<Received>,
) -> Result<Request<tonic::body::Body>, Refusal> {
    let mut is_compressed = gzip::is_declared(request.headers().get(wire.encoding_header()))?;
    if wire == Wire::GRPC && !is_compressed {
        let rule = Rule { terms, input: input.cloned() };
        return Ok(request.map(|body| tonic::body::Body::new(RequestBody::new(body, rule))));
    }
    if wire.is_connect() && request.headers().get("connect-protocol-version").is_some_and(|it| it != "1") {
        return Err(BAD_CONNECT_VERSION);
    }
    let (mut parts, body) = request.into_parts();
    let url = match wire.family {
        Family::ConnectGet => Some(query::call(parts.uri.query().unwrap_or_default())?),
        _ => None,
    };
    is_compressed = url.as_ref().map_or(is_compressed, |call| call.is_compressed);
    let reader = Reader {
        is_bare: wire.is_bare(),
        text: (wire.family == Family::GrpcWebText).then(TextDecoder::default),
        is_compressed,
        is_json: wire.codec == Codec::Json,
        input: input.cloned(),
        terms,
        buffer: BytesMut::new(),
        messages: 0,
    };
    parts.method = Method::POST;
    to_grpc(&mut parts.headers);
    let body = match url {
        Some(call) => tonic::body::Body::new(Inbound::new(Full::new(call.message), reader)),
        None => tonic::body::Body::new(Inbound::new(body, reader)),
    };
    Ok(Request::from_parts(parts, body))
}

/// Leaves the caller's own headers and takes out those that spoke of the body as it was.
fn to_grpc(headers: &mut HeaderMap) {
    for name in [
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::ACCEPT_ENCODING,
        frames::GRPC_ENCODING,
        frames::GRPC_ACCEPT_ENCODING,
        frames::CONNECT_CONTENT_ENCODING,
        frames::CONNECT_ACCEPT_ENCODING,
    ] {
        headers.remove(name);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
}

/// A request's body as [`Reader`] reads it; a fault is a status of ours, which tonic hands on as it is.
#[derive(Debug)]
struct Inbound<B> {
    inner: B,
    reader: Reader,
    has_ended: bool,
}

impl<B> Inbound<B> {
    fn new(inner: B, reader: Reader) -> Self {
        Self { inner, reader, has_ended: false }
    }

    fn emit(&mut self, read: Result<Bytes, Status>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.has_ended |= read.is_err();
        Poll::Ready(Some(read.map(Frame::data)))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Inbound<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            if this.has_ended {
                return Poll::Ready(None);
            }
            if let Some(read) = this.reader.next().transpose() {
                return this.emit(read);
            }
            let Some(polled) = ready!(Pin::new(&mut this.inner).poll_frame(cx)) else {
                this.has_ended = true;
                return match this.reader.end().transpose() {
                    Some(read) => this.emit(read),
                    None => Poll::Ready(None),
                };
            };
            let pushed = match polled {
                Ok(frame) => frame.data_ref().map_or(Ok(()), |data| this.reader.push(data)),
                // The stream broke, so nobody reads the answer.
                Err(_broken) => Err(CALL_CANCELLED.status()),
            };
            if let Err(status) = pushed {
                return this.emit(Err(status));
            }
        }
    }
}

/// Tells a caller whose compression is unknown which ones are.
pub(in super::super) fn name_compressions(wire: Wire, refusal: Refusal, headers: &mut HeaderMap) {
    if refusal == COMPRESSION_UNSUPPORTED {
        headers.insert(wire.accept_header(), HeaderValue::from_static(gzip::NAME));
    }
}

//! The protocols a call may come in: gRPC, gRPC-Web and Connect, with messages as protobuf or as JSON.
//!
//! Handlers and everything around them know gRPC alone. A call in another protocol is read as a gRPC call
//! ([`inbound`]), answered like any other, and its answer written back in the protocol it came in ([`outbound`] message
//! by message, [`unary`] as a whole). JSON is transcoded by the contract's descriptors, so no service knows of it.

mod base64_text;
mod connect_error;
mod detect;
mod frames;
mod gzip;
mod inbound;
mod json;
mod json_fault;
mod json_items;
mod outbound;
mod query;
mod reader;
mod unary;
mod written;

#[cfg(test)]
mod properties;

pub(super) use self::{
    detect::{CONTENT_TYPES, Callee, NotACall, detect},
    inbound::{name_compressions, prepare},
    outbound::{Outbound, Reply, answer},
    reader::Terms,
    written::Written,
};

/// How a call travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wire {
    pub(super) family: Family,
    pub(super) codec: Codec,
}

/// What surrounds the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Grpc,
    GrpcWeb,
    /// gRPC-Web in base64, for browsers that cannot read bytes as they come.
    GrpcWebText,
    /// The body is the message.
    ConnectUnary,
    /// The message is in the URL; for methods without side effects.
    ConnectGet,
    ConnectStream,
}

/// How a message is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Proto,
    Json,
}

impl Wire {
    /// What most calls are; it has a short way through.
    pub(super) const GRPC: Self = Self { family: Family::Grpc, codec: Codec::Proto };

    /// The `rpc.system` of traces.
    pub(super) fn system(self) -> &'static str {
        match self.family {
            Family::Grpc => "grpc",
            Family::GrpcWeb | Family::GrpcWebText => "grpc_web",
            Family::ConnectUnary | Family::ConnectGet | Family::ConnectStream => "connect_rpc",
        }
    }

    pub(super) fn is_connect(self) -> bool {
        matches!(self.family, Family::ConnectUnary | Family::ConnectGet | Family::ConnectStream)
    }

    /// Whether the answer's body is one bare message.
    fn is_bare(self) -> bool {
        matches!(self.family, Family::ConnectUnary | Family::ConnectGet)
    }

    /// The `content-type` of answers.
    fn content_type(self) -> &'static str {
        match (self.family, self.codec) {
            (Family::Grpc, Codec::Proto) => "application/grpc",
            (Family::Grpc, Codec::Json) => "application/grpc+json",
            (Family::GrpcWeb, Codec::Proto) => "application/grpc-web+proto",
            (Family::GrpcWeb, Codec::Json) => "application/grpc-web+json",
            (Family::GrpcWebText, Codec::Proto) => "application/grpc-web-text+proto",
            (Family::GrpcWebText, Codec::Json) => "application/grpc-web-text+json",
            (Family::ConnectUnary | Family::ConnectGet, Codec::Proto) => "application/proto",
            (Family::ConnectUnary | Family::ConnectGet, Codec::Json) => "application/json",
            (Family::ConnectStream, Codec::Proto) => "application/connect+proto",
            (Family::ConnectStream, Codec::Json) => "application/connect+json",
        }
    }

    /// The header in which this protocol names the compression of a request, and that of an answer.
    fn encoding_header(self) -> http::HeaderName {
        match self.family {
            Family::Grpc | Family::GrpcWeb | Family::GrpcWebText => frames::GRPC_ENCODING,
            Family::ConnectUnary | Family::ConnectGet => http::header::CONTENT_ENCODING,
            Family::ConnectStream => frames::CONNECT_CONTENT_ENCODING,
        }
    }

    /// The header in which either side lists the compressions it reads.
    fn accept_header(self) -> http::HeaderName {
        match self.family {
            Family::Grpc | Family::GrpcWeb | Family::GrpcWebText => frames::GRPC_ACCEPT_ENCODING,
            Family::ConnectUnary | Family::ConnectGet => http::header::ACCEPT_ENCODING,
            Family::ConnectStream => frames::CONNECT_ACCEPT_ENCODING,
        }
    }
}

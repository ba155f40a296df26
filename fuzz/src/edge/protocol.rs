//! Framing, base64, gzip and JSON.

#[path = "../../../src/grpc/edge/protocol/base64_text.rs"]
mod base64_text;
#[path = "../../../src/grpc/edge/protocol/frames.rs"]
mod frames;
#[path = "../../../src/grpc/edge/protocol/gzip.rs"]
mod gzip;
#[path = "../../../src/grpc/edge/protocol/json.rs"]
mod json;
#[path = "../../../src/grpc/edge/protocol/json_fault.rs"]
mod json_fault;
#[path = "../../../src/grpc/edge/protocol/json_items.rs"]
mod json_items;
#[path = "../../../src/grpc/edge/protocol/reader.rs"]
mod reader;

use bytes::BytesMut;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use tonic::Code;

use self::base64_text::TextDecoder;
use self::reader::{Reader, Terms};
use super::items::Bounds;

/// How a body is to be read.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// One message without a frame.
    pub is_bare: bool,
    /// Frames in base64.
    pub is_text: bool,
    /// gzip is declared.
    pub is_compressed: bool,
    /// Messages are JSON, of `google.protobuf.Struct`.
    pub is_json: bool,
    /// Exactly one message.
    pub single: bool,
}

/// The framed messages of a body that arrives in pieces, or the code that it is refused with.
pub fn read(manner: Manner, body: &[u8], piece: usize) -> Result<Vec<u8>, Code> {
    let mut reader = Reader {
        is_bare: manner.is_bare,
        text: (manner.is_text && !manner.is_bare).then(TextDecoder::default),
        is_compressed: manner.is_compressed,
        is_json: manner.is_json,
        input: message(),
        terms: Terms { single: manner.single, message_bytes_max: 4 << 10, bounds: Bounds::default() },
        buffer: BytesMut::new(),
        messages: 0,
    };
    let mut out = Vec::new();
    let mut run = || -> Result<(), tonic::Status> {
        for piece in body.chunks(piece.max(1)) {
            reader.push(piece)?;
            while let Some(message) = reader.next()? {
                out.extend_from_slice(&message);
            }
        }
        out.extend(reader.end()?.unwrap_or_default());
        Ok(())
    };
    run().map_err(|status| status.code())?;
    Ok(out)
}

fn message() -> Option<MessageDescriptor> {
    DescriptorPool::global().get_message_by_name("google.protobuf.Struct")
}

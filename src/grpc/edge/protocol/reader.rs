//! The bytes of a body, taken apart into messages.

use bytes::{Bytes, BytesMut};
use prost_reflect::MessageDescriptor;
use tonic::Status;

use super::{
    super::{
        items,
        status::{
            BAD_BASE64, BAD_FRAME, COMPRESSED_WITHOUT_ENCODING, MESSAGE_TOO_LARGE, NO_MESSAGE, Refusal,
            SEVERAL_MESSAGES, TRUNCATED_REQUEST, too_many_items,
        },
    },
    base64_text::TextDecoder,
    frames, gzip, json, json_items,
};

/// What a call's messages must satisfy, whatever the protocol.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Terms {
    /// Exactly one message.
    pub(in super::super) single: bool,
    /// Largest message in bytes, as sent and decompressed.
    pub(in super::super) message_bytes_max: usize,
    /// What it may become.
    pub(in super::super) bounds: items::Bounds,
}

/// Turns the bytes of a body into framed messages, however the body is cut.
#[derive(Debug)]
pub(super) struct Reader {
    /// The body is one message; else messages are framed.
    pub(super) is_bare: bool,
    pub(super) text: Option<TextDecoder>,
    /// Framed messages may be, a bare one is.
    pub(super) is_compressed: bool,
    pub(super) is_json: bool,
    /// What the messages are; nobody reads them where that is not known.
    pub(super) input: Option<MessageDescriptor>,
    pub(super) terms: Terms,
    pub(super) buffer: BytesMut,
    pub(super) messages: usize,
}

impl Reader {
    /// Takes more of the body.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), Status> {
        match &mut self.text {
            Some(text) => {
                let bytes = text.decode(piece).ok_or_else(|| BAD_BASE64.status())?;
                self.buffer.extend_from_slice(&bytes);
            }
            None => self.buffer.extend_from_slice(piece),
        }
        if self.is_bare && self.buffer.len() > self.terms.message_bytes_max {
            return Err(MESSAGE_TOO_LARGE.status());
        }
        Ok(())
    }

    /// The next message that is there as a whole, framed.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Status> {
        if self.is_bare {
            return Ok(None);
        }
        let Some((flag, length)) = frames::peek(&self.buffer) else { return Ok(None) };
        // Judged by its head, so that nothing is gathered for a message that is refused anyway.
        match flag {
            0 => {}
            frames::COMPRESSED if self.is_compressed => {}
            frames::COMPRESSED => return Err(COMPRESSED_WITHOUT_ENCODING.status()),
            _ => return Err(BAD_FRAME.status()),
        }
        if self.terms.single && self.messages == 1 {
            return Err(SEVERAL_MESSAGES.status());
        }
        if length > self.terms.message_bytes_max {
            return Err(MESSAGE_TOO_LARGE.status());
        }
        let Some((flag, message)) = frames::take(&mut self.buffer) else { return Ok(None) };
        self.messages += 1;
        self.rewrite(&message, flag == frames::COMPRESSED).map(Some)
    }

    /// The body has ended: the bare message, or what is wrong.
    pub(super) fn end(&mut self) -> Result<Option<Bytes>, Status> {
        if self.text.as_ref().is_some_and(|text| !text.is_complete()) {
            return Err(TRUNCATED_REQUEST.status());
        }
        let rest = self.buffer.split().freeze();
        if self.is_bare {
            return self.rewrite(&rest, self.is_compressed).map(Some);
        }
        if !rest.is_empty() {
            return Err(TRUNCATED_REQUEST.status());
        }
        if self.terms.single && self.messages == 0 {
            return Err(NO_MESSAGE.status());
        }
        Ok(None)
    }

    fn rewrite(&self, message: &[u8], is_compressed: bool) -> Result<Bytes, Status> {
        let plain = if is_compressed {
            &gzip::decompress(message, self.terms.message_bytes_max).map_err(Refusal::status)?
        } else {
            message
        };
        let Some(descriptor) = &self.input else { return Ok(frames::framed(0, plain)) };
        let bounds = self.terms.bounds;
        let proto = if self.is_json {
            json_items::check(descriptor, plain, bounds).map_err(|too_many| too_many_items(&too_many))?;
            &json::to_proto(descriptor, plain)?
        } else {
            plain
        };
        items::check(descriptor, proto, bounds).map_err(|too_many| too_many_items(&too_many))?;
        Ok(frames::framed(0, proto))
    }
}

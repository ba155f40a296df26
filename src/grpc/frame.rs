//! Messages with their prefix, as they go over the wire.

use bytes::Bytes;
use prost::Message;

use crate::domain::error::Error;

/// The flag and the length before a message.
pub(super) const PREFIX: usize = 5;

/// A reply that begins with room for its prefix, with the prefix filled in.
pub(super) fn finish(mut reply: Vec<u8>) -> Bytes {
    // Longer ones do not exist: the largest answer is a sixtieth of 4 GiB.
    let length = u32::try_from(reply.len().saturating_sub(PREFIX)).unwrap_or(u32::MAX);
    reply[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    reply.into()
}

/// Room for a prefix, and for `bytes` after it.
pub(super) fn begin(bytes: usize) -> Vec<u8> {
    let mut reply = Vec::with_capacity(PREFIX + bytes);
    reply.resize(PREFIX, 0);
    reply
}

/// A message with its prefix.
pub(super) fn framed(message: &impl Message) -> Bytes {
    let mut reply = begin(message.encoded_len());
    message.encode_raw(&mut reply);
    finish(reply)
}

/// The message of a reply of ours.
pub(super) fn unframed<M: Message + Default>(reply: &[u8]) -> Result<M, Error> {
    M::decode(&reply[PREFIX.min(reply.len())..]).map_err(Error::bug)
}

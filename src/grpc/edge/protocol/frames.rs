//! The five bytes before every message, which gRPC, gRPC-Web and Connect's streams have in common.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::HeaderName;

pub(super) const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
pub(super) const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
pub(super) const CONNECT_CONTENT_ENCODING: HeaderName = HeaderName::from_static("connect-content-encoding");
pub(super) const CONNECT_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("connect-accept-encoding");

/// A flag and a length.
pub(super) const HEADER_BYTES: usize = 5;
/// Flag of a compressed message.
pub(super) const COMPRESSED: u8 = 0b1;
/// Flag of the frame that ends a Connect stream.
pub(super) const END_STREAM: u8 = 0b10;
/// Flag of the frame with a gRPC-Web answer's trailers.
pub(super) const TRAILERS: u8 = 0x80;

/// The head of the next frame in `buffer`, once it is there: flag and length.
pub(super) fn peek(buffer: &[u8]) -> Option<(u8, usize)> {
    let [flag, length @ ..] = *buffer.first_chunk::<HEADER_BYTES>()?;
    Some((flag, usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX)))
}

/// Takes the next frame out of `buffer` if it is there as a whole.
pub(super) fn take(buffer: &mut BytesMut) -> Option<(u8, Bytes)> {
    let (flag, length) = peek(buffer)?;
    if buffer.len() - HEADER_BYTES < length {
        return None;
    }
    buffer.advance(HEADER_BYTES);
    Some((flag, buffer.split_to(length).freeze()))
}

/// Appends a frame. A message of 4 GiB or more cannot be framed; the limits keep far below.
pub(super) fn put(buffer: &mut BytesMut, flag: u8, message: &[u8]) {
    buffer.reserve(HEADER_BYTES + message.len());
    buffer.put_u8(flag);
    buffer.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    buffer.put_slice(message);
}

/// One frame.
pub(super) fn framed(flag: u8, message: &[u8]) -> Bytes {
    let mut buffer = BytesMut::new();
    put(&mut buffer, flag, message);
    buffer.freeze()
}

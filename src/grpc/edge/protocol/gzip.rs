//! The one compression all protocols share.

use std::io::{Read as _, Write as _};

use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use http::HeaderValue;

use super::super::status::{BAD_COMPRESSION, COMPRESSION_UNSUPPORTED, MESSAGE_TOO_LARGE, Refusal};

pub(super) const NAME: &str = "gzip";
/// Below this an answer fits into one packet anyway (1,460 bytes over Ethernet), and compressing it only costs time.
const WORTH_BYTES: usize = 1_400;

/// Whether a request is compressed, from the header that says how.
pub(super) fn is_declared(encoding: Option<&HeaderValue>) -> Result<bool, Refusal> {
    match encoding.map(HeaderValue::as_bytes) {
        None | Some(b"identity" | b"") => Ok(false),
        Some(b"gzip") => Ok(true),
        Some(_) => Err(COMPRESSION_UNSUPPORTED),
    }
}

/// Whether the header that lists what a client reads has gzip in it, and does not rule it out with `q=0`.
pub(super) fn is_accepted(accepted: Option<&HeaderValue>) -> bool {
    let Some(Ok(list)) = accepted.map(HeaderValue::to_str) else { return false };
    list.split(',').any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(NAME));
        let quality = parts.find_map(|part| part.strip_prefix("q="));
        is_gzip && quality.is_none_or(|quality| quality.parse().is_ok_and(|weight: f32| weight > 0.0))
    })
}

/// The message, unless it is larger than `bytes_max`. Never holds more than that, whatever the input promises.
pub(super) fn decompress(compressed: &[u8], bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    let mut message = Vec::new();
    // Some clients flag an empty message as compressed and compress nothing.
    if compressed.is_empty() {
        return Ok(message);
    }
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(compressed)
        .take(limit)
        .read_to_end(&mut message)
        .map_err(|_corrupt| BAD_COMPRESSION)?;
    if message.len() > bytes_max { Err(MESSAGE_TOO_LARGE) } else { Ok(message) }
}

/// The message compressed, if that is worth it.
pub(super) fn compress(message: &[u8]) -> Option<Vec<u8>> {
    if message.len() < WORTH_BYTES {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(message.len() / 2), Compression::fast());
    encoder.write_all(message).ok()?;
    encoder.finish().ok().filter(|compressed| compressed.len() < message.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_comes_back() {
        let message = b"tenant".repeat(1_000);
        let compressed = compress(&message).unwrap();
        assert!(compressed.len() < message.len() / 10);
        assert_eq!(decompress(&compressed, message.len()), Ok(message));
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let compressed = compress(&vec![0; 1 << 20]).unwrap();
        assert_eq!(decompress(&compressed, 1 << 16), Err(MESSAGE_TOO_LARGE));
    }

    #[test]
    fn noise_and_a_cut_stream_are_refused() {
        let compressed = compress(&b"tenant".repeat(1_000)).unwrap();
        assert_eq!(decompress(b"no gzip", 100), Err(BAD_COMPRESSION));
        assert_eq!(decompress(&compressed[..compressed.len() - 9], 10_000), Err(BAD_COMPRESSION));
        assert_eq!(decompress(b"", 100), Ok(Vec::new()));
    }

    #[test]
    fn small_answers_and_those_that_do_not_shrink_stay_as_they_are() {
        assert_eq!(compress(&[0; 1_000]), None);
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(4_000).collect();
        assert_eq!(compress(&noise), None);
    }

    #[test]
    fn a_client_says_what_it_reads() {
        let accepts = |text: &str| is_accepted(Some(&text.parse().unwrap()));
        assert!(accepts("gzip") && accepts("br, GZip;q=0.5") && accepts("identity,gzip"));
        assert!(!accepts("br") && !accepts("gzip;q=0") && !accepts("gzip; q=0.0") && !accepts(""));
        assert!(!is_accepted(None));
    }
}

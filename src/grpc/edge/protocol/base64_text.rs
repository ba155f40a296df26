//! Base64 as gRPC-Web's text form has it: padded parts one after the other, cut anywhere.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

/// Decodes text that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct TextDecoder {
    /// The start of a group of four.
    carried: Vec<u8>,
}

impl TextDecoder {
    /// The bytes that are complete with this piece; `None` when it is no base64.
    pub(super) fn decode(&mut self, piece: &[u8]) -> Option<Vec<u8>> {
        self.carried.extend_from_slice(piece);
        let whole = self.carried.len() / 4 * 4;
        let mut bytes = Vec::with_capacity(whole / 4 * 3);
        let mut text = &self.carried[..whole];
        while !text.is_empty() {
            // Padding ends a part; the next begins with the next group.
            let end = text.iter().position(|byte| *byte == b'=').map_or(text.len(), |at| at / 4 * 4 + 4);
            STANDARD.decode_vec(&text[..end], &mut bytes).ok()?;
            text = &text[end..];
        }
        self.carried.drain(..whole);
        Some(bytes)
    }

    /// Whether nothing is left over.
    pub(super) fn is_complete(&self) -> bool {
        self.carried.is_empty()
    }
}

/// One padded part.
pub(super) fn encode(bytes: &[u8]) -> Bytes {
    STANDARD.encode(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_decoded_however_they_are_cut() {
        let text = [encode(b"a").as_ref(), &encode(b"four"), &encode(b"six by")].concat();
        for piece in 1..=text.len() {
            let mut decoder = TextDecoder::default();
            let bytes: Vec<u8> =
                text.chunks(piece).flat_map(|piece| decoder.decode(piece).unwrap()).collect();
            assert_eq!(bytes, b"afoursix by", "by {piece}");
            assert!(decoder.is_complete());
        }
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for text in ["a!cd", "====", "a===", "\0\0\0\0", "YQ==YQ=?"] {
            assert_eq!(TextDecoder::default().decode(text.as_bytes()), None, "{text:?}");
        }
        let mut decoder = TextDecoder::default();
        assert_eq!(decoder.decode(b"YW"), Some(Vec::new()));
        assert!(!decoder.is_complete());
    }
}

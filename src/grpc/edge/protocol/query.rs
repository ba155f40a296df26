//! A Connect call in a URL: `?connect=v1&encoding=json&message=…&base64=1&compression=gzip`.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use percent_encoding::percent_decode;

use super::{
    super::status::{
        BAD_BASE64_PARAMETER, BAD_CONNECT_PARAMETER, BAD_QUERY, BAD_QUERY_BASE64, COMPRESSION_UNSUPPORTED,
        Refusal,
    },
    Codec,
};

const URL_SAFE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The message of a call and whether it is compressed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) message: Bytes,
    pub(super) is_compressed: bool,
}

/// The codec that the query names.
pub(super) fn codec(query: &str) -> Option<Codec> {
    match parameter(query, "encoding")?.as_slice() {
        b"json" => Some(Codec::Json),
        b"proto" => Some(Codec::Proto),
        _ => None,
    }
}

/// Reads the rest of the query.
pub(super) fn call(query: &str) -> Result<Call, Refusal> {
    if parameter(query, "connect").is_some_and(|version| version != b"v1") {
        return Err(BAD_CONNECT_PARAMETER);
    }
    let is_compressed = match parameter(query, "compression").as_deref() {
        None | Some(b"" | b"identity") => false,
        Some(b"gzip") => true,
        Some(_) => return Err(COMPRESSION_UNSUPPORTED),
    };
    let message = parameter(query, "message").ok_or(BAD_QUERY)?;
    let message = match parameter(query, "base64").as_deref() {
        Some(b"1") => URL_SAFE.decode(message).map_err(|_invalid| BAD_QUERY_BASE64)?,
        None | Some(b"" | b"0") => message,
        Some(_) => return Err(BAD_BASE64_PARAMETER),
    };
    Ok(Call { message: message.into(), is_compressed })
}

/// The first value of a name. A message in protobuf's bytes need not be UTF-8, so values are bytes.
fn parameter(query: &str, name: &str) -> Option<Vec<u8>> {
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then(|| percent_decode(value.replace('+', " ").as_bytes()).collect())
    };
    query.split('&').find_map(pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_plain_or_in_base64_with_or_without_padding() {
        for query in [
            "connect=v1&encoding=json&message=%7B%22a%22:1%7D",
            "encoding=json&message={\"a\":1}&other=x",
            "base64=1&message=eyJhIjoxfQ",
            "base64=1&message=eyJhIjoxfQ==",
        ] {
            let expected = Call { message: Bytes::from_static(b"{\"a\":1}"), is_compressed: false };
            assert_eq!(call(query), Ok(expected), "{query}");
        }
        assert_eq!(call("message=a+b%2B").unwrap().message, "a b+");
        assert_eq!(call("message=%ff").unwrap().message, &b"\xff"[..]);
        assert!(call("message=&compression=gzip").unwrap().is_compressed);
    }

    #[test]
    fn what_is_wrong_with_a_query_is_named() {
        assert_eq!(call("encoding=json"), Err(BAD_QUERY));
        assert_eq!(call("base64=1&message=a"), Err(BAD_QUERY_BASE64));
        assert_eq!(call("base64=1&message=!!!!"), Err(BAD_QUERY_BASE64));
        assert_eq!(call("base64=true&message=e30"), Err(BAD_BASE64_PARAMETER));
        assert_eq!(call("connect=v2&message="), Err(BAD_CONNECT_PARAMETER));
        assert_eq!(call("compression=br&message="), Err(COMPRESSION_UNSUPPORTED));
        assert_eq!(codec("encoding=xml"), None);
        assert_eq!(codec(""), None);
    }
}

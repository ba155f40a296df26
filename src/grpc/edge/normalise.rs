//! Puts our words in place of those of the libraries.
//!
//! A status with details is ours and stays. One without comes from tonic, prost or a service of theirs. Where it stands
//! tells what it means: in the headers of an answer without messages the request was at fault (framing is checked by
//! `request_body`, so what is left is decoding and decompressing); in trailers after a begun answer it is a bug of the
//! server, unless the method reads a stream of requests.

use http::{HeaderMap, HeaderName};
use tonic::{Code, Status};
use tracing::{debug, error};

use super::{
    methods::Shape,
    request_id::{RequestId, X_REQUEST_ID},
    status::{
        ANSWER_TOO_LARGE, COMPRESSION_UNSUPPORTED, MALFORMED_REQUEST, MESSAGE_TOO_LARGE, METHOD_UNKNOWN,
        Refusal,
    },
};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// Where a status stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the headers: the answer has no messages.
    Headers,
    /// After the messages.
    Trailers,
}

/// Normalises the status in `headers`, if there is one, and gives its code. An error also names the request.
pub(super) fn normalise(headers: &mut HeaderMap, place: Place, shape: Shape, id: &RequestId) -> Option<Code> {
    let code = Code::from_bytes(headers.get(STATUS)?.as_bytes());
    if code == Code::Ok {
        return Some(code);
    }
    headers.insert(X_REQUEST_ID, id.header());
    if headers.contains_key(DETAILS) {
        return Some(code);
    }
    let refusal = meaning(code, headers, place, shape);
    let cause = headers.remove(MESSAGE);
    if refusal.code == Code::Internal {
        error!(request_id = id.as_str(), ?code, ?cause, "A call failed on something unforeseen.");
    } else {
        debug!(?code, ?cause, reason = refusal.reason, "A call was refused below the handlers.");
    }
    write(&refusal.status(), headers);
    Some(refusal.code)
}

/// Replaces the status in `headers`.
pub(super) fn write(status: &Status, headers: &mut HeaderMap) {
    if status.add_header(headers).is_err() {
        headers.insert(STATUS, i32::from(Code::Internal).into());
    }
}

fn meaning(code: Code, headers: &HeaderMap, place: Place, shape: Shape) -> Refusal {
    let request_at_fault = place == Place::Headers || shape.requests_stream;
    match code {
        Code::Internal if request_at_fault => MALFORMED_REQUEST,
        Code::OutOfRange | Code::ResourceExhausted if request_at_fault => MESSAGE_TOO_LARGE,
        // An answer that outgrew the encoder's limit: so much was asked for at once.
        Code::OutOfRange | Code::ResourceExhausted => ANSWER_TOO_LARGE,
        Code::Unimplemented if headers.contains_key(ACCEPT_ENCODING) => COMPRESSION_UNSUPPORTED,
        Code::Unimplemented => METHOD_UNKNOWN,
        other => Refusal::of_code(other),
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    const UNARY: Shape = Shape { requests_stream: false, answers_stream: false };

    fn normalised(status: &Status, place: Place) -> Status {
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        let code = normalise(&mut headers, place, UNARY, &RequestId::of(&HeaderMap::new()));
        assert!(headers.contains_key(X_REQUEST_ID));
        let status = Status::from_header_map(&headers).unwrap();
        assert_eq!(code, Some(status.code()));
        status
    }

    #[test]
    fn a_status_of_ours_passes_untouched() {
        let ours = MESSAGE_TOO_LARGE.status();
        let passed = normalised(&ours, Place::Headers);
        assert_eq!(
            (passed.code(), passed.message(), passed.details()),
            (ours.code(), ours.message(), ours.details())
        );
    }

    #[test]
    fn library_text_never_passes() {
        for number in 1..17 {
            for place in [Place::Headers, Place::Trailers] {
                let status =
                    normalised(&Status::new(Code::from_i32(number), "tokio-1.2/src/secret.rs"), place);
                assert!(!status.message().contains("secret"), "{status:?}");
                assert!(status.get_details_error_info().is_some(), "{status:?}");
            }
        }
    }

    #[test]
    fn where_a_status_stands_tells_whose_fault_it_is() {
        let internal = Status::internal("failed to decode");
        assert_eq!(normalised(&internal, Place::Headers).code(), Code::InvalidArgument);
        assert_eq!(normalised(&internal, Place::Trailers).code(), Code::Internal);
        let range = Status::out_of_range("too large");
        assert_eq!(normalised(&range, Place::Headers).code(), Code::ResourceExhausted);
        let answer = normalised(&range, Place::Trailers);
        assert_eq!(answer.get_details_error_info().unwrap().reason, "ANSWER_TOO_LARGE");
    }
}

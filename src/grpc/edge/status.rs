//! The edge's own refusals: code, reason, sentence.

use std::{collections::HashMap, time::Duration};

use http::Response;
use tonic::{Code, Status, body::Body};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::items::TooMany;
use crate::domain::text;

/// `ErrorInfo.domain` of every error of this service.
pub const DOMAIN: &str = "tenantry";

/// What the edge tells a caller: closed, so that `docs/ERRORS.md` can list it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) reason: &'static str,
    pub(super) sentence: &'static str,
    /// What is at fault, where the request is.
    field: &'static str,
    /// When trying again makes sense.
    pub(super) retry_after: Option<Duration>,
}

const fn refusal(code: Code, reason: &'static str, sentence: &'static str) -> Refusal {
    Refusal { code, reason, sentence, field: "request", retry_after: None }
}

const fn at_fault(field: &'static str, reason: &'static str, sentence: &'static str) -> Refusal {
    Refusal { code: Code::InvalidArgument, reason, sentence, field, retry_after: None }
}

pub(super) const MALFORMED_REQUEST: Refusal = refusal(
    Code::InvalidArgument,
    "MALFORMED_REQUEST",
    "The request is not a valid protobuf message of this method.",
);
pub(super) const TRUNCATED_REQUEST: Refusal =
    refusal(Code::InvalidArgument, "MALFORMED_REQUEST", "The request's body ends within a message.");
pub(super) const BAD_FRAME: Refusal = refusal(
    Code::InvalidArgument,
    "MALFORMED_REQUEST",
    "The request's body is not framed as its content-type says: a message's first byte must be 0 or 1.",
);
pub(super) const BAD_COMPRESSION: Refusal =
    refusal(Code::InvalidArgument, "MALFORMED_REQUEST", "The request's message is not valid gzip.");
pub(super) const BAD_BASE64: Refusal =
    refusal(Code::InvalidArgument, "MALFORMED_REQUEST", "The request's body is not valid base64.");
pub(super) const EMPTY_JSON: Refusal = refusal(
    Code::InvalidArgument,
    "MALFORMED_REQUEST",
    "The request's message is empty; one without fields is {}.",
);
pub(super) const BAD_QUERY: Refusal = at_fault(
    "message",
    "MALFORMED_REQUEST",
    "A call by GET carries its request in `message`: URL-encoded, or in URL-safe base64 with `base64=1`.",
);
pub(super) const BAD_QUERY_BASE64: Refusal = at_fault(
    "message",
    "MALFORMED_REQUEST",
    "The query parameter `message` is not URL-safe base64, which `base64=1` says it is.",
);
pub(super) const BAD_BASE64_PARAMETER: Refusal = at_fault(
    "base64",
    "MALFORMED_REQUEST",
    "The query parameter `base64` must be 1, where `message` is in URL-safe base64, or not be there.",
);
pub(super) const BAD_CONNECT_PARAMETER: Refusal = at_fault(
    "connect",
    "PROTOCOL_VERSION",
    "This server speaks version 1 of the Connect protocol: the query parameter `connect` says v1.",
);
pub(super) const BAD_CONNECT_VERSION: Refusal = at_fault(
    "connect-protocol-version",
    "PROTOCOL_VERSION",
    "This server speaks version 1 of the Connect protocol: the header `connect-protocol-version` says 1.",
);
pub(super) const COMPRESSED_WITHOUT_ENCODING: Refusal = refusal(
    Code::Internal,
    "COMPRESSION_UNDECLARED",
    "The request's message is flagged as compressed, but `grpc-encoding` names no compression.",
);
pub(super) const NO_MESSAGE: Refusal =
    refusal(Code::Unimplemented, "MESSAGE_COUNT", "This method takes exactly one message; none was sent.");
pub(super) const SEVERAL_MESSAGES: Refusal =
    refusal(Code::Unimplemented, "MESSAGE_COUNT", "This method takes exactly one message; more were sent.");
pub(super) const MESSAGE_TOO_LARGE: Refusal = refusal(
    Code::ResourceExhausted,
    "MESSAGE_TOO_LARGE",
    "The request's message is larger than this server accepts.",
);
pub(super) const ANSWER_TOO_LARGE: Refusal = refusal(
    Code::ResourceExhausted,
    "ANSWER_TOO_LARGE",
    "The answer would be larger than this server sends: ask for less at once.",
);
pub(super) const COMPRESSION_UNSUPPORTED: Refusal = refusal(
    Code::Unimplemented,
    "COMPRESSION_UNSUPPORTED",
    "The request's compression is not supported: gzip is, and none.",
);
pub(super) const METHOD_UNKNOWN: Refusal = refusal(
    Code::Unimplemented,
    "METHOD_UNKNOWN",
    "This server has no such method; its reflection service lists those it has.",
);
pub(super) const SERVICE_UNKNOWN: Refusal = refusal(
    Code::NotFound,
    "SERVICE_UNKNOWN",
    "This server has no service of this name; its reflection service lists those it has.",
);
pub(super) const BAD_TIMEOUT: Refusal = at_fault(
    "grpc-timeout",
    "INVALID_TIMEOUT",
    "`grpc-timeout` must be one to eight digits and a unit, one of H, M, S, m, u and n.",
);
pub(super) const BAD_CONNECT_TIMEOUT: Refusal = at_fault(
    "connect-timeout-ms",
    "INVALID_TIMEOUT",
    "`connect-timeout-ms` must be one to ten digits: milliseconds.",
);
pub(super) const DEADLINE_EXCEEDED: Refusal = refusal(
    Code::DeadlineExceeded,
    "DEADLINE_EXCEEDED",
    "The call did not finish within its deadline; whether a change was made, the same request with the same request id tells.",
);
pub(super) const OVERLOADED: Refusal = Refusal {
    code: Code::ResourceExhausted,
    reason: "OVERLOADED",
    sentence: "The server has as many open calls as it takes; try again shortly.",
    field: "",
    retry_after: Some(Duration::from_millis(500)),
};
pub(super) const SHUTTING_DOWN: Refusal = Refusal {
    code: Code::Unavailable,
    reason: "SHUTTING_DOWN",
    sentence: "This replica is shutting down; resume the stream on another connection.",
    field: "",
    retry_after: Some(Duration::from_millis(100)),
};
pub(super) const BUG: Refusal = refusal(
    Code::Internal,
    "INTERNAL",
    "The server failed on this call; its log has the cause under this call's request id.",
);
pub(super) const CALL_CANCELLED: Refusal = refusal(Code::Cancelled, "CANCELLED", "The call was cancelled.");

impl Refusal {
    /// Words for a status that carries a code and nothing else of ours.
    pub(super) fn of_code(code: Code) -> Self {
        match code {
            Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => BUG,
            Code::Cancelled => CALL_CANCELLED,
            Code::InvalidArgument => refusal(code, "INVALID_ARGUMENT", "The request is not valid."),
            Code::DeadlineExceeded => DEADLINE_EXCEEDED,
            // Our own services say what they do not find: this is the health service, asked of another.
            Code::NotFound => SERVICE_UNKNOWN,
            Code::AlreadyExists => refusal(code, "ALREADY_EXISTS", "It exists already."),
            Code::PermissionDenied => refusal(code, "PERMISSION_DENIED", "The caller may not do this."),
            Code::ResourceExhausted => MESSAGE_TOO_LARGE,
            Code::FailedPrecondition => {
                refusal(code, "FAILED_PRECONDITION", "The present state does not allow this.")
            }
            Code::Aborted => refusal(code, "ABORTED", "The call lost against another; try again."),
            Code::OutOfRange => refusal(code, "OUT_OF_RANGE", "The request asks for more than there is."),
            Code::Unimplemented => METHOD_UNKNOWN,
            Code::Unavailable => refusal(code, "UNAVAILABLE", "The service is not available; try again."),
            Code::Unauthenticated => {
                refusal(code, "UNAUTHENTICATED", "The call carries no valid credentials.")
            }
        }
    }

    /// The status with its details, which also mark it as ours.
    pub(super) fn status(self) -> Status {
        let mut details = ErrorDetails::with_error_info(self.reason, DOMAIN, HashMap::new());
        if self.code == Code::InvalidArgument {
            details.add_bad_request_violation(self.field, self.sentence);
        }
        if let Some(delay) = self.retry_after {
            details.set_retry_info(Some(delay));
        }
        Status::with_error_details(self.code, self.sentence, details)
    }

    /// The answer of a call that ends here.
    pub(super) fn response(self) -> Response<Body> {
        self.status().into_http()
    }
}

/// The status of an answer that is not sent, for those who encode it themselves.
pub(crate) fn answer_too_large() -> Status {
    ANSWER_TOO_LARGE.status()
}

/// The status of a message that would become more than is taken, weighed before it is decoded.
pub(super) fn too_many_items(TooMany { field, bounds }: &TooMany) -> Status {
    let sentence = format!(
        "The request has too many items: a list may have {}, and all of it may take {} MiB once it is decoded.",
        bounds.list_max,
        bounds.bytes_max >> 20
    );
    let mut details = ErrorDetails::with_error_info("TOO_MANY_ITEMS", DOMAIN, HashMap::new());
    details.add_bad_request_violation(field, sentence.as_str());
    Status::with_error_details(Code::InvalidArgument, sentence, details)
}

/// The status of JSON that is no such message: names the field, if one was reached, and ends with why and where. `path` is what
/// the caller sent, so it is shown with care.
pub(super) fn malformed_json(message: &str, path: &str, why: &str) -> Status {
    let (field, subject) = match path {
        "" => ("request".to_owned(), String::new()),
        path => (text::quote(path).trim_matches('"').to_owned(), format!("{} ", text::quote(path))),
    };
    let sentence = format!("The request is not valid JSON of {message}: {subject}{why}.");
    let mut details = ErrorDetails::with_error_info("MALFORMED_REQUEST", DOMAIN, HashMap::new());
    details.add_bad_request_violation(field, sentence.as_str());
    Status::with_error_details(Code::InvalidArgument, sentence, details)
}

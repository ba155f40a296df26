//! What an error is on the wire: the only place with gRPC codes.

use prost::Message as _;
use tonic::Status;
use tonic_types::{ErrorDetails, FieldViolation, PreconditionViolation, StatusExt as _};

use super::edge::DOMAIN;
use crate::domain::error::{Code, Error, Reason};
use crate::proto::google::rpc;

/// Message and details together stay below this: some clients refuse trailers over 8 KiB, and details go out in
/// base64, a third longer.
const SIZE_MAX: usize = 3 * 1_024;
/// Longest message, in bytes.
const MESSAGE_MAX: usize = 1_024;
/// Longest value of metadata, in bytes: two of the longest keys with words between them.
const METADATA_MAX: usize = 320;

const fn code(code: Code) -> tonic::Code {
    match code {
        Code::InvalidArgument => tonic::Code::InvalidArgument,
        Code::NotFound => tonic::Code::NotFound,
        Code::AlreadyExists => tonic::Code::AlreadyExists,
        Code::FailedPrecondition => tonic::Code::FailedPrecondition,
        Code::Aborted => tonic::Code::Aborted,
        Code::OutOfRange => tonic::Code::OutOfRange,
        Code::ResourceExhausted => tonic::Code::ResourceExhausted,
        Code::DataLoss => tonic::Code::DataLoss,
        Code::Unavailable => tonic::Code::Unavailable,
        Code::Internal => tonic::Code::Internal,
    }
}

/// The status of an error. The cause goes to the log, never to the caller.
pub(super) fn status(error: &Error) -> Status {
    log(error);
    let message = cut(&error.message, MESSAGE_MAX);
    let mut size = message.len();
    let mut details = ErrorDetails::new();
    let metadata = error.metadata.iter().map(|(key, value)| ((*key).to_owned(), cut(value, METADATA_MAX)));
    details.set_error_info(
        error.reason.as_str(),
        DOMAIN,
        metadata.collect::<std::collections::HashMap<_, _>>(),
    );
    size += 128 + error.metadata.values().map(|value| value.len().min(METADATA_MAX) + 32).sum::<usize>();
    let mut fields = Vec::new();
    for violation in &error.violations {
        let (field, why) = (cut(&violation.field, 256), cut(&violation.why, 512));
        size += field.len() + why.len() + 8;
        if size > SIZE_MAX {
            break;
        }
        fields.push(FieldViolation::new(field, why));
    }
    if !fields.is_empty() {
        details.set_bad_request(fields);
    }
    let subject = error.metadata.iter().next().map_or(("", ""), |(key, value)| (*key, value.as_str()));
    match error.reason.code() {
        Code::NotFound | Code::AlreadyExists => {
            let kind = subject.0.trim_end_matches("_id").trim_end_matches("_key");
            details.set_resource_info(kind, cut(subject.1, METADATA_MAX), "", message.clone());
        }
        Code::FailedPrecondition => {
            let violation = PreconditionViolation::new(
                error.reason.as_str(),
                cut(subject.1, METADATA_MAX),
                message.clone(),
            );
            details.set_precondition_failure(vec![violation]);
        }
        _ => {}
    }
    if error.retry_after.is_some() {
        details.set_retry_info(error.retry_after);
    }
    Status::with_error_details(code(error.reason.code()), message, details)
}

/// The same as a message, for an item of a batch.
pub(super) fn rpc_status(error: &Error) -> rpc::Status {
    let status = status(error);
    // The details are a google.rpc.Status themselves.
    rpc::Status::decode(status.details()).unwrap_or_else(|_| rpc::Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

fn log(error: &Error) {
    let cause = error.cause.as_ref().map(|cause| tracing::field::display(cause.as_ref()));
    let reason = error.reason.as_str();
    match error.reason.code() {
        // A flag of a file is broken, as its import said: no fault of the server's, and callers set the pace.
        _ if matches!(error.reason, Reason::ParseError | Reason::General) => {
            tracing::debug!(reason, cause, "{}", error.message);
        }
        Code::Internal => tracing::error!(reason, cause, debug = ?error.cause, "{}", error.message),
        // Every stream is told so at every stop.
        _ if error.reason == Reason::ShuttingDown => tracing::debug!(reason, "{}", error.message),
        Code::Unavailable => tracing::warn!(reason, cause, "{}", error.message),
        _ => tracing::debug!(reason, cause, "{}", error.message),
    }
}

/// At most `bytes_max` bytes of a text, cut between characters.
fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = (0..=bytes_max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::violation::Violation;

    #[test]
    fn every_reason_is_on_the_wire_with_its_code_and_name() {
        for reason in Reason::ALL {
            let status = status(&Error::new(*reason, "a sentence").with("tenant_id", "finance"));
            let info = status.get_details_error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason.as_str(), DOMAIN));
            assert_ne!(status.code(), tonic::Code::Ok);
            assert_ne!(status.code(), tonic::Code::Unknown);
        }
    }

    #[test]
    fn the_largest_error_stays_below_four_kibibytes() {
        let violations =
            (0..1_000).map(|n| Violation::new(format!("contacts[{n}].email"), "é".repeat(600))).collect();
        let mut error = Error::invalid(Reason::InvalidField, violations);
        error.message = "é".repeat(10_000);
        let status = status(&error.with("allowed", "é".repeat(10_000)));
        assert!(status.message().len() + status.details().len() < 4_096, "{}", status.details().len());
        assert!(!status.get_details_bad_request().unwrap().field_violations.is_empty());
    }

    #[test]
    fn the_cause_stays_inside() {
        let status = status(&Error::bug("SELECT secret FROM table"));
        assert!(!format!("{status:?}").contains("secret"));
    }

    #[test]
    fn an_items_status_carries_the_same_details() {
        let status = rpc_status(&Error::field("tier", "must be set"));
        assert_eq!(status.code, tonic::Code::InvalidArgument as i32);
        assert_eq!(status.details.len(), 2);
    }
}

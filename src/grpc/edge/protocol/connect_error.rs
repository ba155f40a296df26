//! Errors as Connect writes them: JSON with a code's name, the sentence, and the details with a readable form beside.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use http::{HeaderMap, StatusCode};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::{Map, Value, json};
use tonic::{Code, Status};

use crate::proto::google::rpc;

/// The name of a code and its HTTP status, from the protocol's table.
fn row(code: Code) -> (&'static str, StatusCode) {
    match code {
        // A code of 499 is nginx's, and Connect's.
        Code::Cancelled => ("canceled", StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT)),
        Code::Ok | Code::Unknown => ("unknown", StatusCode::INTERNAL_SERVER_ERROR),
        Code::InvalidArgument => ("invalid_argument", StatusCode::BAD_REQUEST),
        Code::DeadlineExceeded => ("deadline_exceeded", StatusCode::GATEWAY_TIMEOUT),
        Code::NotFound => ("not_found", StatusCode::NOT_FOUND),
        Code::AlreadyExists => ("already_exists", StatusCode::CONFLICT),
        Code::PermissionDenied => ("permission_denied", StatusCode::FORBIDDEN),
        Code::ResourceExhausted => ("resource_exhausted", StatusCode::TOO_MANY_REQUESTS),
        Code::FailedPrecondition => ("failed_precondition", StatusCode::BAD_REQUEST),
        Code::Aborted => ("aborted", StatusCode::CONFLICT),
        Code::OutOfRange => ("out_of_range", StatusCode::BAD_REQUEST),
        Code::Unimplemented => ("unimplemented", StatusCode::NOT_IMPLEMENTED),
        Code::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR),
        Code::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE),
        Code::DataLoss => ("data_loss", StatusCode::INTERNAL_SERVER_ERROR),
        Code::Unauthenticated => ("unauthenticated", StatusCode::UNAUTHORIZED),
    }
}

/// The HTTP status of a unary call that failed.
pub(super) fn http_status(code: Code) -> StatusCode {
    row(code).1
}

/// The error as JSON. `pools` know the types of details.
pub(super) fn error(status: &Status, pools: &[DescriptorPool]) -> Value {
    let mut error = Map::new();
    error.insert("code".to_owned(), row(status.code()).0.into());
    if !status.message().is_empty() {
        error.insert("message".to_owned(), status.message().into());
    }
    // The details are a google.rpc.Status; one that cannot be read has none.
    let details = rpc::Status::decode(status.details()).unwrap_or_default().details;
    if !details.is_empty() {
        let details: Vec<Value> = details.iter().map(|detail| self::detail(detail, pools)).collect();
        error.insert("details".to_owned(), details.into());
    }
    error.into()
}

fn detail(any: &prost_types::Any, pools: &[DescriptorPool]) -> Value {
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    let mut detail = json!({ "type": name, "value": STANDARD_NO_PAD.encode(&any.value) });
    if let Some(readable) = readable(name, &any.value, pools) {
        detail["debug"] = readable;
    }
    detail
}

fn readable(name: &str, bytes: &[u8], pools: &[DescriptorPool]) -> Option<Value> {
    let descriptor = pools.iter().find_map(|pool| pool.get_message_by_name(name))?;
    let message = DynamicMessage::decode(descriptor, bytes).ok()?;
    message.serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new()).ok()
}

/// The message that ends a Connect stream: the error, if it failed, and the trailers.
pub(super) fn end_of_stream(trailers: &HeaderMap, pools: &[DescriptorPool]) -> Vec<u8> {
    let mut end = Map::new();
    if let Some(status) = Status::from_header_map(trailers)
        && status.code() != Code::Ok
    {
        end.insert("error".to_owned(), error(&status, pools));
    }
    let mut metadata = Map::new();
    for name in trailers.keys().filter(|name| !is_status(name.as_str())) {
        let values: Vec<Value> = trailers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into())
            .collect();
        metadata.insert(name.as_str().to_owned(), values.into());
    }
    if !metadata.is_empty() {
        end.insert("metadata".to_owned(), metadata.into());
    }
    Value::from(end).to_string().into_bytes()
}

/// Whether a header is gRPC's own way to say how a call ended.
pub(super) fn is_status(name: &str) -> bool {
    matches!(name, "grpc-status" | "grpc-message" | "grpc-status-details-bin")
}

#[cfg(test)]
mod tests {
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    #[test]
    fn details_are_there_for_machines_and_for_people() {
        let pools = [DescriptorPool::decode(tonic_types::pb::FILE_DESCRIPTOR_SET).unwrap()];
        let mut details = ErrorDetails::with_error_info("TENANT_NOT_FOUND", "tenantry", []);
        details.set_retry_info(Some(std::time::Duration::from_millis(500)));
        let status = Status::with_error_details(Code::NotFound, "No such tenant.", details);
        let error = error(&status, &pools);
        assert_eq!((&error["code"], &error["message"]), (&json!("not_found"), &json!("No such tenant.")));
        let of = |name: &str| {
            let details = error["details"].as_array().unwrap();
            details.iter().find(|detail| detail["type"] == name).cloned().unwrap()
        };
        assert_eq!(of("google.rpc.ErrorInfo")["debug"]["reason"], "TENANT_NOT_FOUND");
        assert_eq!(of("google.rpc.RetryInfo")["debug"]["retryDelay"], "0.500s");
        let value = of("google.rpc.RetryInfo")["value"].as_str().unwrap().to_owned();
        assert!(!value.contains('='), "{value}");
    }

    #[test]
    fn a_type_nobody_knows_has_no_readable_form() {
        let any = prost_types::Any { type_url: "type.example.com/a.B".to_owned(), value: vec![1] };
        assert_eq!(detail(&any, &[]), json!({ "type": "a.B", "value": "AQ" }));
    }

    #[test]
    fn the_end_of_a_stream_carries_its_trailers() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        trailers.append("x-two", "a".parse().unwrap());
        trailers.append("x-two", "b".parse().unwrap());
        assert_eq!(end_of_stream(&trailers, &[]), br#"{"metadata":{"x-two":["a","b"]}}"#);
        assert_eq!(end_of_stream(&HeaderMap::new(), &[]), b"{}");
        trailers.insert("grpc-status", "5".parse().unwrap());
        let end = String::from_utf8(end_of_stream(&trailers, &[])).unwrap();
        assert!(end.starts_with(r#"{"error":{"code":"not_found"}"#), "{end}");
    }
}

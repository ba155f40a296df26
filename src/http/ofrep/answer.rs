//! What OFREP's clients get.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::request::Refused;
use crate::domain::error::{Code, Error, Reason};
use crate::services::openfeature::{Resolution, Scope};

/// An answer in JSON.
pub(super) fn json(code: StatusCode, body: &Value) -> Response {
    of_text(code, body.to_string())
}

/// The same, put together already.
pub(super) fn of_text(code: StatusCode, body: impl IntoResponse) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")];
    (code, headers, body).into_response()
}

/// One flag. Without a value the client's own default stands; the variant is always there, since the published Python
/// provider insists on it.
pub(super) fn flag(found: &Resolution) -> Value {
    let mut flag = Map::new();
    flag.insert("key".to_owned(), json!(found.key));
    if let Some(value) = &found.value {
        // A double keeps its fraction (`0.0`): to a client it would be an integer otherwise.
        flag.insert("value".to_owned(), value.to_json());
    }
    flag.insert("reason".to_owned(), json!(found.reason.as_str()));
    flag.insert("variant".to_owned(), json!(found.variant.as_deref().unwrap_or_default()));
    flag.insert("metadata".to_owned(), Value::Object(found.metadata.clone()));
    Value::Object(flag)
}

/// One flag of all: a broken one is an entry of its own.
pub(super) fn entry(key: &str, found: Result<Resolution, Error>) -> Value {
    match found {
        Ok(found) => flag(&found),
        Err(error) => problem(Some(key), code(&error), &error.message),
    }
}

/// A failed request.
pub(super) fn failure(error: &Error, key: Option<&str>) -> Response {
    let code = code(error);
    let status = match error.reason.code() {
        Code::NotFound if code == "FLAG_NOT_FOUND" => StatusCode::NOT_FOUND,
        Code::Unavailable => return unavailable(error),
        _ if error.reason == Reason::Bug => {
            tracing::error!(cause = ?error.cause, "{}", error.message);
            return json(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "errorDetails": error.message }));
        }
        _ => StatusCode::BAD_REQUEST,
    };
    json(status, &problem(key, code, &error.message))
}

/// A body that is not read.
pub(super) fn refusal(refused: &Refused, key: Option<&str>) -> Response {
    match refused {
        Refused::TooLarge => {
            let details = "the body has more than 1 MiB";
            json(StatusCode::PAYLOAD_TOO_LARGE, &json!({ "errorDetails": details }))
        }
        Refused::Encoded => {
            let details = "the body may be in gzip, or as it is";
            let mut response = json(StatusCode::UNSUPPORTED_MEDIA_TYPE, &json!({ "errorDetails": details }));
            response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
            response
        }
        Refused::Invalid(why) => json(StatusCode::BAD_REQUEST, &problem(key, "INVALID_CONTEXT", why)),
    }
}

fn unavailable(error: &Error) -> Response {
    let body = json!({ "errorDetails": error.message });
    let mut response = json(StatusCode::SERVICE_UNAVAILABLE, &body);
    let seconds = error.retry_after.map_or(1, |pause| pause.as_secs().max(1));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn problem(key: Option<&str>, code: &str, details: &str) -> Value {
    match key {
        Some(key) => json!({ "key": key, "errorCode": code, "errorDetails": details }),
        None => json!({ "errorCode": code, "errorDetails": details }),
    }
}

/// OpenFeature's word for an error.
fn code(error: &Error) -> &'static str {
    match error.reason {
        Reason::FlagNotFound => "FLAG_NOT_FOUND",
        Reason::ParseError => "PARSE_ERROR",
        Reason::TypeMismatch => "TYPE_MISMATCH",
        Reason::TenantNotFound => "INVALID_CONTEXT",
        _ if error.violations.iter().any(|violation| violation.field.starts_with("context")) => {
            "INVALID_CONTEXT"
        }
        _ => "GENERAL",
    }
}

/// The set's own metadata.
pub(super) fn set_metadata(scope: &Scope) -> Value {
    let tenant = scope.tenant.as_ref().map(|record| record.tenant.tenant_id.as_str());
    match tenant.or(scope.flag_set.as_deref()) {
        Some(id) => json!({ "flagSetId": id }),
        None => json!({}),
    }
}

/// Where changes of these flags are told of.
pub(super) fn event_streams(path: &str, scope: &Scope) -> Value {
    let tenant = scope.tenant.as_ref().map(|record| format!("tenantId={}", record.tenant.tenant_id));
    let set = scope.flag_set.as_ref().map(|set| format!("flagSetId={set}"));
    let selector: Vec<String> = tenant.into_iter().chain(set).collect();
    let mut address = path.to_owned();
    if !selector.is_empty() {
        address.push_str("?selector=");
        address.extend(utf8_percent_encode(&selector.join(","), NON_ALPHANUMERIC));
    }
    json!([{ "type": "sse", "endpoint": { "requestUri": address } }])
}

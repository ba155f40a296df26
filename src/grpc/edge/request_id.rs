//! The name a call has in logs, traces and answers.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::domain::sole::sole;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const LENGTH_MAX: usize = 64;

/// The name a call has in logs and traces: the client's `x-request-id` if it is 1 to 64 characters of letters, digits
/// and `._-`, else the trace id of its `traceparent`, else a new one. Of either, two that differ are as good as none. A
/// request extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId {
    value: HeaderValue,
    /// The client knows it and so expects it back.
    given: bool,
}

impl RequestId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        // Only visible ASCII gets in.
        self.value.to_str().unwrap_or_default()
    }

    pub(super) fn was_given(&self) -> bool {
        self.given
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.value.clone()
    }

    pub(super) fn of(headers: &HeaderMap) -> Self {
        if let Some(value) = only(headers, &X_REQUEST_ID).filter(|value| is_sane(value.as_bytes())) {
            return Self { value: value.clone(), given: true };
        }
        let text = only(headers, &TRACEPARENT)
            .and_then(|value| trace_id(value.to_str().ok()?))
            .map_or_else(|| format!("{:032x}", fastrand::u128(..)), str::to_owned);
        let value = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unknown"));
        Self { value, given: false }
    }
}

/// A header's value; none where there are two that differ.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    sole(name.as_str(), headers.get_all(name)).ok().flatten()
}

fn is_sane(id: &[u8]) -> bool {
    (1..=LENGTH_MAX).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

/// The trace id of a W3C `traceparent`: version, 32 hex digits that are not all zero, parent, flags.
fn trace_id(traceparent: &str) -> Option<&str> {
    let id = traceparent.split('-').nth(1)?;
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (id.len() == 32 && id.bytes().all(hex) && id.bytes().any(|byte| byte != b'0')).then_some(id)
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// Makes the span a child of the caller's, if the caller sent one and somebody exports traces.
pub(super) fn adopt_parent(span: &Span, headers: &HeaderMap) {
    if span.is_disabled() || only(headers, &TRACEPARENT).is_none() {
        return;
    }
    let context = TraceContextPropagator::new().extract(&Headers(headers));
    if span.set_parent(context).is_err() {
        tracing::trace!("No exporter, so the caller's trace is not continued.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(name: HeaderName, value: &str) -> RequestId {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        RequestId::of(&headers)
    }

    #[test]
    fn of_two_ids_that_differ_neither_is_taken() {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for (name, first, other) in
            [(X_REQUEST_ID, "order-17", "order-18"), (TRACEPARENT, trace, &trace.replace("0af", "0bf"))]
        {
            let mut headers = HeaderMap::new();
            headers.append(&name, first.parse().unwrap());
            let alone = RequestId::of(&headers);
            headers.append(&name, first.parse().unwrap());
            assert_eq!(RequestId::of(&headers), alone);
            headers.append(&name, other.parse().unwrap());
            let id = RequestId::of(&headers);
            assert!(!id.was_given() && id.as_str().len() == 32, "{id:?}");
            assert!(!first.contains(id.as_str()) && !other.contains(id.as_str()), "{id:?}");
        }
    }

    #[test]
    fn a_sane_id_of_the_client_is_kept() {
        let id = id_of(X_REQUEST_ID, "order-17.retry_2");
        assert_eq!((id.as_str(), id.was_given()), ("order-17.retry_2", true));
    }

    #[test]
    fn an_id_that_could_forge_a_log_line_is_replaced() {
        for text in ["", "a b", "a\"b", "{}", &"x".repeat(65)] {
            let id = id_of(X_REQUEST_ID, text);
            assert_eq!(id.as_str().len(), 32, "{text:?}");
            assert!(!id.was_given());
        }
    }

    #[test]
    fn a_trace_gives_its_id_and_a_broken_one_does_not() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(id_of(TRACEPARENT, &format!("00-{trace}-00f067aa0ba902b7-01")).as_str(), trace);
        assert_ne!(
            id_of(TRACEPARENT, "00-00000000000000000000000000000000-00f067aa0ba902b7-01").as_str(),
            "0".repeat(32)
        );
        assert_eq!(trace_id("nonsense"), None);
    }
}

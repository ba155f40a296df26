//! What OFREP's clients send.

use aws_lc_rs::digest;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, header};
use serde_json::{Map, Value};

use crate::domain::error::Error;
use crate::domain::rule::Context;
use crate::domain::selector::Selector;
use crate::domain::sole::sole;
use crate::services::openfeature::Question;

/// Largest body: the same as for the other protocols.
const BODY_MAX: usize = 1 << 20;
/// Carries the selector.
const SELECTOR: &str = "flagd-selector";

/// Why a body was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It has more bytes than are read.
    TooLarge,
    /// It is not what OFREP asks for; the sentence says why.
    Invalid(String),
}

/// Reads `{"context": {…}}`, and leaves the bytes beside it. No body counts as no attributes.
pub(super) async fn read(body: Body) -> Result<(Bytes, Map<String, Value>), Refused> {
    let bytes = to_bytes(body, BODY_MAX).await.map_err(|_| Refused::TooLarge)?;
    let attributes = parse(&bytes).map_err(Refused::Invalid)?;
    Ok((bytes, attributes))
}

fn parse(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    let body: Value = serde_json::from_slice(bytes).map_err(|error| {
        format!("the body is not JSON: it cannot be read at line {}, column {}", error.line(), error.column())
    })?;
    let Value::Object(mut body) = body else { return Err("the body must be an object".to_owned()) };
    match body.remove("context") {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(attributes)) => Ok(attributes),
        Some(_) => Err("context must be an object".to_owned()),
    }
}

/// Who asks and what it selects: by header, else by the address.
pub(super) fn question(headers: &HeaderMap, in_address: Option<&str>) -> Result<Question, Error> {
    let selector = match (sole(SELECTOR, headers.get_all(SELECTOR))?, in_address) {
        (Some(header), _) => {
            let text = header.to_str().map_err(|_| Error::field(SELECTOR, "must be plain text"))?;
            Selector::parse(SELECTOR, text)
        }
        (None, in_address) => Selector::parse("selector", in_address.unwrap_or_default()),
    };
    let selector = selector.map_err(|violation| Error::field(violation.field, violation.why))?;
    Ok(Question { identity: None, selector })
}

/// Bytes of a tag.
pub(super) const ETAG_BYTES: usize = 34;

/// A tag over the whole context and the answer: both what was asked and what time alone may change are in it.
pub(super) fn etag(context: &Context, answer: &str) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&context.hash().to_be_bytes());
    hash.update(answer.as_bytes());
    let hash = hash.finish();
    // Half of it is more than enough to tell two answers apart.
    let half = hash.as_ref().first_chunk().map_or(0, |half| u128::from_be_bytes(*half));
    format!("\"{half:032x}\"")
}

/// Whether the client has that already.
pub(super) fn is_unchanged(headers: &HeaderMap, tag: &[u8]) -> bool {
    let given = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    given
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|one| one == "*" || one.trim_start_matches("W/").as_bytes() == tag)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn refused(body: &str) -> String {
        parse(body.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_body_has_a_context_or_none() {
        for body in ["", " \n", "{}", r#"{"context":null}"#, r#"{"context":{}}"#] {
            assert!(parse(body.as_bytes()).unwrap().is_empty(), "{body}");
        }
        let context = parse(br#"{"context":{"targetingKey":"u1","age":3},"more":1}"#).unwrap();
        assert_eq!(context["targetingKey"], "u1");
        assert!(refused(r#"{"context":[1]}"#).starts_with("context must be"));
        assert!(refused(r#"{"context":"#).starts_with("the body is not JSON"));
        assert_eq!(refused("fro"), "the body is not JSON: it cannot be read at line 1, column 2");
        assert!(refused("[]").starts_with("the body must be"));
    }

    #[test]
    fn a_tag_knows_one_from_its_text_and_not_the_order_of_attributes() {
        let tag = |body: &str| etag(&Context::new(parse(body.as_bytes()).unwrap()).unwrap(), "{}");
        assert_ne!(tag(r#"{"context":{"a":1}}"#), tag(r#"{"context":{"a":"1"}}"#));
        assert_eq!(tag(r#"{"context":{"a":1,"b":2}}"#), tag(r#"{"context":{"b":2,"a":1}}"#));
        assert_ne!(etag(&Context::default(), "a"), etag(&Context::default(), "b"));
        assert_eq!(tag("{}").len(), ETAG_BYTES);
    }

    #[test]
    fn what_a_client_has_it_may_name_in_a_list_weakly_or_by_a_star() {
        for (given, unchanged) in
            [("\"a\"", true), ("\"b\", W/\"a\"", true), ("*", true), ("\"b\"", false), ("a", false)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(given));
            assert_eq!(is_unchanged(&headers, b"\"a\""), unchanged, "{given}");
        }
        assert!(!is_unchanged(&HeaderMap::new(), b"\"a\""));
    }
}

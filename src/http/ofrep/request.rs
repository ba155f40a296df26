//! What OFREP's clients send.

use std::io::Read as _;

use aws_lc_rs::digest;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::{HeaderMap, header};
use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};

use crate::domain::error::Error;
use crate::domain::json_fault;
use crate::domain::rule::Context;
use crate::domain::selector::{self, Selector};
use crate::domain::sole::sole;
use crate::domain::text;
use crate::services::openfeature::Question;

/// Largest body, as it comes and as it is once decompressed: the same as for the other protocols.
const BODY_MAX: usize = 1 << 20;
/// Carries the selector.
const SELECTOR: &str = "flagd-selector";

/// Why a body was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It has more bytes than are read.
    TooLarge,
    /// It is encoded as nothing that is read.
    Encoded,
    /// It is not what OFREP asks for; the sentence says why.
    Invalid(String),
}

/// What stands in an address behind its question mark.
pub(super) type Parameters = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// The values of the parameters that are known. Another one is refused: what was meant to select would select nothing, and so
/// give everything. `selects` says how one selects there.
pub(super) fn parameters(
    given: Parameters,
    known: &[&str],
    selects: &str,
) -> Result<Vec<(String, String)>, Error> {
    let Ok(Query(given)) = given else {
        return Err(Error::field("parameters", format!("cannot be read; {selects}")));
    };
    match given.iter().find(|(name, _)| !known.contains(&&**name)) {
        Some((name, _)) => {
            Err(Error::field("parameters", format!("there is no {}; {selects}", text::quote(name))))
        }
        None => Ok(given),
    }
}

/// Reads `{"context": {…}}`, and leaves the bytes beside it, decompressed. No body counts as no attributes.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<(Bytes, Map<String, Value>), Refused> {
    let is_compressed = is_compressed(headers)?;
    let bytes = to_bytes(body, BODY_MAX).await.map_err(|_| Refused::TooLarge)?;
    let bytes = if is_compressed { decompress(&bytes)? } else { bytes };
    let attributes = parse(&bytes).map_err(Refused::Invalid)?;
    Ok((bytes, attributes))
}

/// Whether a body is in gzip, by what the headers say; in anything else it is refused.
fn is_compressed(headers: &HeaderMap) -> Result<bool, Refused> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter().filter(|it| !it.is_empty());
    match (
        encodings.next().map(|encoding| encoding.as_bytes().to_ascii_lowercase()).as_deref(),
        encodings.next(),
    ) {
        (None | Some(b"identity"), None) => Ok(false),
        (Some(b"gzip" | b"x-gzip"), None) => Ok(true),
        _ => Err(Refused::Encoded),
    }
}

/// The body as it was. Never holds more than a body may have, whatever the input promises.
fn decompress(bytes: &[u8]) -> Result<Bytes, Refused> {
    let mut body = Vec::new();
    let mut decoder = MultiGzDecoder::new(bytes).take(BODY_MAX as u64 + 1);
    decoder.read_to_end(&mut body).map_err(|_| Refused::Invalid("the body is not gzip".to_owned()))?;
    if body.len() > BODY_MAX { Err(Refused::TooLarge) } else { Ok(body.into()) }
}

fn parse(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    let body: Value = serde_json::from_slice(bytes)
        .map_err(|error| format!("the body must be JSON; {}", json_fault::cause(&error)))?;
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
            selector::of_header(SELECTOR, header.as_bytes()).and_then(|text| Selector::parse(SELECTOR, text))
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
        assert!(refused(r#"{"context":"#).starts_with("the body must be JSON"));
        assert_eq!(refused("fro"), "the body must be JSON; it cannot be read at line 1, column 2");
        let deep = format!(r#"{{"context":{{"a":{}1{}}}}}"#, "[".repeat(200), "]".repeat(200));
        assert_eq!(
            refused(&deep),
            "the body must be JSON; it nests more than 127 deep at line 1, column 142"
        );
        let large = refused(r#"{"context":{"a":1e999}}"#);
        assert_eq!(large, "the body must be JSON; a number is too large at line 1, column 21");
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

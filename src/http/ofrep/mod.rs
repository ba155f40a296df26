//! OFREP, OpenFeature's remote evaluation protocol: one flag, all flags, and a stream that says when to ask again.

mod answer;
mod request;

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use serde_json::json;
use tokio_stream::{Stream, StreamExt as _};

use self::answer::{event_streams, failure, flag, refusal};
use self::request::{ETAG_BYTES, Parameters, etag, is_unchanged, parameters, question, read};
use crate::domain::error::Error;
use crate::domain::sole::sole;
use crate::services::openfeature::{Asked, Found, OpenFeature, Question, Told};

/// The path of the stream of changes.
const EVENTS: &str = "/ofrep/v1/events";
/// What a client that was told of a change says of it when it asks again. Answers are never older than that.
const TOLD: [&str; 2] = ["flagConfigEtag", "flagConfigLastModified"];
/// How one selects where there is a body.
const BY_HEADER: &str = "the header flagd-selector selects, as in flagd-selector: flagSetId=NAME";
/// How one selects where there may be no headers.
const BY_ADDRESS: &str = "selector selects, once, as in ?selector=flagSetId%3DNAME";
/// How long a client waits before it comes back after its stream broke.
const RECONNECT: Duration = Duration::from_secs(1);

/// The routes of OFREP.
pub fn router(feature: OpenFeature) -> Router {
    Router::new()
        .route("/ofrep/v1/evaluate/flags/{*key}", post(one))
        .route("/ofrep/v1/evaluate/flags/", post(nameless))
        .route("/ofrep/v1/evaluate/flags", post(all))
        .route(EVENTS, get(events))
        .method_not_allowed_fallback(other_method)
        .with_state(feature)
}

/// The header `Allow` beside it says which.
async fn other_method(method: Method) -> Response {
    let details = format!("{method} is no method of this address");
    answer::json(StatusCode::METHOD_NOT_ALLOWED, &json!({ "errorDetails": details }))
}

async fn one(
    State(feature): State<OpenFeature>,
    key: Result<Path<String>, PathRejection>,
    given: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Ok(Path(key)) = key else {
        return failure(&Error::field("key", "must be UTF-8, where the address has %XX"), None);
    };
    if let Err(error) = parameters(given, &[], BY_HEADER) {
        return failure(&error, Some(&key));
    }
    let attributes = match read(&headers, body).await {
        Ok((_, attributes)) => attributes,
        Err(refused) => return refusal(&refused, Some(&key)),
    };
    let found = async {
        let asked = feature.ask(&question(&headers, None)?, attributes)?;
        feature.one(asked, key.clone()).await
    };
    match found.await {
        Ok(found) => answer::json(StatusCode::OK, &flag(&found)),
        Err(error) => failure(&error, Some(&key)),
    }
}

/// The address of one flag, without a key.
async fn nameless() -> Response {
    failure(
        &Error::field("key", "must not be empty; without the slash at its end the address is of all flags"),
        Some(""),
    )
}

async fn all(
    State(feature): State<OpenFeature>,
    given: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if let Err(error) = parameters(given, &TOLD, BY_HEADER) {
        return failure(&error, None);
    }
    let (bytes, attributes) = match read(&headers, body).await {
        Ok(read) => read,
        Err(refused) => return refusal(&refused, None),
    };
    let found = async {
        let asked = feature.ask(&question(&headers, None)?, attributes)?;
        feature.all_kept("ofrep", asked, &bytes, tagged).await
    };
    let (tag, body) = match found.await {
        Ok(mut found) => (found.split_to(ETAG_BYTES.min(found.len())), found),
        Err(error) => return failure(&error, None),
    };
    let unchanged = is_unchanged(&headers, &tag);
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        answer::of_text(StatusCode::OK, body)
    };
    if let Ok(tag) = HeaderValue::from_maybe_shared(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// The tag of all flags, then the body that it is over.
fn tagged(asked: &Asked, found: Vec<Found>) -> Bytes {
    let flags: Vec<_> = found.into_iter().map(|(key, found)| answer::entry(&key, found)).collect();
    let streams = event_streams(EVENTS, &asked.scope);
    let metadata = answer::set_metadata(&asked.scope);
    let body = json!({ "flags": flags, "metadata": metadata, "eventStreams": streams }).to_string();
    (etag(&asked.context, &body) + &body).into()
}

async fn events(State(feature): State<OpenFeature>, given: Parameters, headers: HeaderMap) -> Response {
    match selected(given, &headers).and_then(|question| stream(&feature, question)) {
        Ok(told) => Sse::new(told).into_response(),
        Err(error) => failure(&error, None),
    }
}

/// A browser's `EventSource` sends no headers of its own, so the selector is in the address.
fn selected(given: Parameters, headers: &HeaderMap) -> Result<Question, Error> {
    let given = parameters(given, &["selector"], BY_ADDRESS)?;
    let selector = sole("selector", given.iter().map(|(_, selector)| &**selector))?;
    question(headers, selector)
}

/// A line for whatever happens: a comment, unless it is time to ask again.
fn stream(
    feature: &OpenFeature,
    question: Question,
) -> Result<impl Stream<Item = Result<Event, Infallible>> + use<>, Error> {
    let told = feature.whether_changed(question)?;
    let feature = feature.clone();
    Ok(told.map_while(move |told| {
        Some(Ok(match told.ok()? {
            Told::Ready => Event::default().retry(RECONNECT).comment("changes follow"),
            Told::KeepAlive => Event::default().comment("still here"),
            Told::Shutdown => Event::default().comment("going down"),
            Told::Changed(_) => {
                let data = json!({ "type": "refetchEvaluation", "etag": tag(&feature) });
                Event::default().event("message").data(data.to_string())
            }
        }))
    }))
}

/// By what a client tells two events apart: the revision, and the last moment at which time alone changed something. Not the tag
/// of an answer, which is another for each context.
fn tag(feature: &OpenFeature) -> String {
    let Ok(snapshot) = feature.snapshot() else { return "\"0\"".to_owned() };
    let revision = snapshot.revision;
    match snapshot.flags.last_change(crate::services::now()) {
        None => format!("\"{revision}\""),
        Some(moment) => format!("\"{revision}-{}\"", moment.as_microsecond()),
    }
}

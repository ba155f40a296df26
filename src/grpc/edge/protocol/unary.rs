//! A Connect answer that is one bare message, or one error.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, response::Parts};
use http_body_util::BodyExt as _;
use tonic::{Code, Status};

use super::{
    super::{
        body::{AnswerBody, EdgeBody},
        request_id::X_REQUEST_ID,
        status::BUG,
    },
    Family, connect_error, frames, gzip, json,
    outbound::{Reply, unwritable},
};

/// Gathers the answer and writes it. A unary handler's answer is there as a whole, so this does not wait.
pub(super) async fn answer(reply: &Reply, response: Response<AnswerBody>) -> Response<EdgeBody> {
    let (mut head, body) = response.into_parts();
    let (data, trailers) = match body.collect().await {
        Ok(collected) => {
            let trailers = collected.trailers().cloned().unwrap_or_default();
            (collected.to_bytes(), trailers)
        }
        Err(_broken) => (Bytes::new(), unwritable()),
    };
    let status = Status::from_header_map(&trailers).or_else(|| Status::from_header_map(&head.headers));
    let status = status.unwrap_or_else(|| BUG.status());
    clean(&mut head.headers);
    add_trailers(&mut head.headers, &trailers);
    if status.code() != Code::Ok {
        return error(reply, head, &status);
    }
    match message(reply, &data) {
        Some(message) => success(reply, head, message),
        None => error(reply, head, &Status::from_header_map(&unwritable()).unwrap_or_else(|| BUG.status())),
    }
}

/// The message without its frame, in the call's codec.
fn message(reply: &Reply, framed: &Bytes) -> Option<Bytes> {
    let message = framed.slice(frames::HEADER_BYTES.min(framed.len())..);
    match &reply.output {
        Some(descriptor) => json::from_proto(descriptor, &message).map(Bytes::from),
        None => Some(message),
    }
}

fn success(reply: &Reply, mut head: Parts, message: Bytes) -> Response<EdgeBody> {
    let headers = &mut head.headers;
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.wire.content_type()));
    if reply.wire.family == Family::ConnectGet {
        // The answer is as of a revision; a cache would not know when it ends.
        if !headers.contains_key(header::CACHE_CONTROL) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
    }
    let body = match reply.gzip.then(|| gzip::compress(&message)).flatten() {
        Some(compressed) => {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(gzip::NAME));
            headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
            Bytes::from(compressed)
        }
        None => message,
    };
    Response::from_parts(head, EdgeBody::whole(body))
}

fn error(reply: &Reply, mut head: Parts, status: &Status) -> Response<EdgeBody> {
    head.status = match status.code() {
        // No such method, so no such page either: what stands at this path answers 404, not 501.
        Code::Unimplemented if reply.is_unknown => StatusCode::NOT_FOUND,
        code => connect_error::http_status(code),
    };
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = connect_error::error(status, &reply.pools).to_string();
    Response::from_parts(head, EdgeBody::whole(body))
}

/// Takes out what was said in gRPC's words.
fn clean(headers: &mut HeaderMap) {
    for name in [
        HeaderName::from_static("grpc-status"),
        HeaderName::from_static("grpc-message"),
        HeaderName::from_static("grpc-status-details-bin"),
        frames::GRPC_ENCODING,
        frames::GRPC_ACCEPT_ENCODING,
        header::CONTENT_LENGTH,
    ] {
        headers.remove(name);
    }
}

/// Trailers are headers with a prefix; the request's name stands without.
fn add_trailers(headers: &mut HeaderMap, trailers: &HeaderMap) {
    for (name, value) in trailers {
        if name == X_REQUEST_ID {
            headers.insert(X_REQUEST_ID, value.clone());
        } else if !connect_error::is_status(name.as_str())
            && let Ok(name) = HeaderName::try_from(format!("trailer-{name}"))
        {
            headers.append(name, value.clone());
        }
    }
}

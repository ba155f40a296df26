//! What happens to every call, in order: protocol check, id and span, admission, deadline, the handler, our words.

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::{Service, ServiceExt as _};
use tracing::{Instrument as _, Span, error, field::Empty, info_span};

use super::{
    admission::{CallPlace, Calls},
    body::AnswerBody,
    call::Call,
    deadline::{Deadline, allowed},
    limits::Limits,
    metrics::{Served, Table},
    normalise::{Place, normalise},
    request_body::{RequestBody, Rule},
    request_id::{RequestId, X_REQUEST_ID, adopt_parent},
    status::{BUG, DEADLINE_EXCEEDED, OVERLOADED, Refusal},
};

const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// What the calls of all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) table: Table,
    pub(super) unary: Arc<Calls>,
    pub(super) streams: Arc<Calls>,
    pub(super) drain: CancellationToken,
}

/// Answers one request, whatever it is.
pub(super) async fn answer<S>(
    shared: Arc<Shared>,
    service: S,
    request: Request<Incoming>,
) -> Response<AnswerBody>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send,
    S::Future: Send,
{
    if let Some(refused) = refuse_other_protocols(&request) {
        return refused.map(AnswerBody::plain);
    }
    let served = Arc::clone(shared.table.get(request.uri().path()));
    let request_id = RequestId::of(request.headers());
    let span = span_of(&served, &request, &request_id);
    let mut call = Call::begin(served, request_id, span);
    let (response, until) = match admit(&shared, &mut call, &request) {
        Ok(until) => {
            let request = prepare(&shared.limits, &call, request, until);
            (run(service, request, until).instrument(call.span.clone()).await, until)
        }
        Err(refusal) => (refusal.response(), None),
    };
    finish(response, call, until, &shared.drain)
}

fn refuse_other_protocols<B>(request: &Request<B>) -> Option<Response<Body>> {
    let is_grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    let (code, sentence) = if request.method() != Method::POST {
        (StatusCode::METHOD_NOT_ALLOWED, "This port speaks gRPC: calls are POST requests.\n")
    } else if !request.headers().get(header::CONTENT_TYPE).is_some_and(is_grpc) {
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, "This port speaks gRPC: content-type is application/grpc.\n")
    } else {
        return None;
    };
    let mut response = Response::new(Body::new(Full::new(Bytes::from_static(sentence.as_bytes()))));
    *response.status_mut() = code;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    if code == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    Some(response)
}

/// The span of a call. `grpc::metadata` fills in the tenant and the operation.
fn span_of<B>(served: &Served, request: &Request<B>, id: &RequestId) -> Span {
    let span = info_span!(
        "rpc",
        otel.name = %served.method.name,
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.service = %served.method.service,
        rpc.method = %served.method.name,
        request_id = id.as_str(),
        tenant_id = Empty,
        operation_id = Empty,
    );
    adopt_parent(&span, request.headers());
    span
}

/// A place and a deadline, or a refusal.
fn admit<B>(shared: &Shared, call: &mut Call, request: &Request<B>) -> Result<Option<Instant>, Refusal> {
    let method = &call.served.method;
    let bound = method.shape.is_unary().then(|| method.deadline.unwrap_or(shared.limits.unary_deadline));
    let until = allowed(request.headers(), bound)?.map(|allowed| Instant::now() + allowed);
    if !method.is_probe() {
        let calls = if method.shape.is_unary() { &shared.unary } else { &shared.streams };
        let place: CallPlace = calls.take().ok_or(OVERLOADED)?;
        call.hold(place);
    }
    Ok(until)
}

fn prepare(
    limits: &Limits,
    call: &Call,
    request: Request<Incoming>,
    until: Option<Instant>,
) -> Request<Body> {
    let compression =
        request.headers().get(GRPC_ENCODING).is_some_and(|encoding| encoding.as_bytes() != b"identity");
    let rule = Rule {
        single: call.served.is_known && !call.served.method.shape.requests_stream,
        compression,
        message_bytes_max: limits.message_bytes_max,
    };
    let mut request = request.map(|body| Body::new(RequestBody::new(body, rule)));
    request.extensions_mut().insert(call.request_id.clone());
    if let Some(until) = until {
        request.extensions_mut().insert(Deadline(until));
    }
    request
}

async fn run<S>(service: S, request: Request<Body>, until: Option<Instant>) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send,
    S::Future: Send,
{
    let handled = AssertUnwindSafe(service.oneshot(request)).catch_unwind();
    let outcome = match until {
        Some(until) => match timeout_at(until, handled).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => return DEADLINE_EXCEEDED.response(),
        },
        None => handled.await,
    };
    match outcome {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        // The panic hook has printed what happened; the payload may hold anything, so it goes nowhere else.
        Err(_panic) => {
            error!("A handler panicked; the panic's own lines are on standard error.");
            BUG.response()
        }
    }
}

fn finish(
    mut response: Response<Body>,
    mut call: Call,
    until: Option<Instant>,
    drain: &CancellationToken,
) -> Response<AnswerBody> {
    call.answered();
    let shape = call.served.method.shape;
    let code = {
        let _entered = call.span.enter();
        normalise(response.headers_mut(), Place::Headers, shape, &call.request_id)
    };
    if call.request_id.was_given() {
        response.headers_mut().insert(X_REQUEST_ID, call.request_id.header());
    }
    if let Some(code) = code {
        call.end(code);
    }
    let until = until.filter(|_| !shape.is_unary());
    response.map(|body| AnswerBody::of(body, call, until, drain.clone()))
}

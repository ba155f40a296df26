//! What happens to every request, in order: who is there, which protocol, id and span, admission, deadline, the handler,
//! our words, and back into the protocol.

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};
use tower::{Service, ServiceExt as _};
use tracing::{Instrument as _, Span, error, field::Empty, info_span};

use super::{
    admission::{CallPlace, Calls},
    body::{AnswerBody, EdgeBody},
    call::Call,
    deadline::{Deadline, allowed},
    limits::Limits,
    listener::Place as ListenerPlace,
    metrics::{Served, Table},
    normalise::{Place, normalise},
    pages::{self, NoSuchPage},
    protocol::{self, Callee, NotACall, Reply, Terms, Wire, detect, name_compressions},
    received::Received,
    request_id::{RequestId, X_REQUEST_ID, adopt_parent},
    status::{BUG, DEADLINE_EXCEEDED, METHOD_UNKNOWN, OVERLOADED, Refusal},
};

/// What the calls of all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) table: Table,
    pub(super) unary: Arc<Calls>,
    pub(super) streams: Arc<Calls>,
    pub(super) drain: CancellationToken,
}

/// What the requests of one connection share.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) listener: Arc<ListenerPlace>,
    /// Why calls are refused here: the connection is there for pages only.
    pub(super) no_calls: Option<Refusal>,
}

/// Answers one request, whatever it is.
pub(super) async fn answer<S>(
    shared: Arc<Shared>,
    seat: Arc<Seat>,
    service: S,
    request: Request<Received>,
) -> Response<EdgeBody>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send,
    S::Future: Send,
{
    let is_http1 = request.version() < Version::HTTP_2;
    let visitor = match seat.listener.guard.admit(&request) {
        Ok(visitor) => visitor,
        Err(sentence) => return pages::plain(StatusCode::FORBIDDEN, sentence),
    };
    let mut response = match visitor.preflight(&request) {
        Some(preflight) => preflight,
        None => route(&shared, &seat, service, request).await,
    };
    visitor.permit(response.headers_mut());
    if seat.no_calls.is_some() && is_http1 {
        // One answer each: the few places for pages are for everybody.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// To the method at this path, or to the pages.
async fn route<S>(shared: &Shared, seat: &Seat, service: S, request: Request<Received>) -> Response<EdgeBody>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send,
    S::Future: Send,
{
    let served = Arc::clone(shared.table.get(request.uri().path()));
    let detected = detect(&request, callee(&served));
    if !served.is_known
        && let Some(pages) = &seat.listener.pages
    {
        return Box::pin(page(shared, pages.clone(), served, detected, request)).await;
    }
    let wire = match detected {
        Ok(wire) => wire,
        Err(not_a_call) => return pages::refuse(not_a_call),
    };
    let reply = reply(shared, wire, &served, &request);
    let mut call = begin(wire, served, &request);
    let asked = admit(shared, seat, wire, &mut call, &request)
        .and_then(|until| Ok((prepare(&shared.limits, wire, &call, request, until)?, until)));
    let response = match asked {
        Ok((request, until)) => {
            let response = run(service, request, until).instrument(call.span.clone()).await;
            finish(response, call, until, &shared.drain)
        }
        Err(refusal) => refuse(wire, call, refusal, &shared.drain),
    };
    write(reply, response).await
}

/// What is at no method's path: a page, or a call to a method that there is not.
async fn page(
    shared: &Shared,
    pages: axum::Router,
    served: Arc<Served>,
    detected: Result<Wire, NotACall>,
    request: Request<Received>,
) -> Response<EdgeBody> {
    // The router takes the request away; its head is kept for the answer to a call.
    let unknown = detected.ok().map(|wire| {
        let mut head = Request::new(());
        request.headers().clone_into(head.headers_mut());
        (wire, head)
    });
    let response = pages::answer(shared, pages, request).await;
    match unknown {
        Some((wire, head)) if response.extensions().get::<NoSuchPage>().is_some() => {
            let reply = reply(shared, wire, &served, &head);
            let call = begin(wire, served, &head);
            write(reply, refuse(wire, call, METHOD_UNKNOWN, &shared.drain)).await
        }
        _ => response,
    }
}

fn callee(served: &Served) -> Callee {
    Callee {
        is_unary: served.is_known.then_some(served.method.shape.is_unary()),
        has_no_side_effects: served.method.has_no_side_effects,
    }
}

/// How to write the answer; `None` for gRPC, which is written as it is.
fn reply<B>(shared: &Shared, wire: Wire, served: &Served, request: &Request<B>) -> Option<Reply> {
    let output = served.method.messages.as_ref().map(|messages| &messages.output);
    let Table { pools, written, .. } = &shared.table;
    (wire != Wire::GRPC).then(|| Reply::new(wire, request.headers(), output, pools, written))
}

async fn write(reply: Option<Reply>, response: Response<AnswerBody>) -> Response<EdgeBody> {
    match reply {
        None => response.map(EdgeBody::Grpc),
        Some(reply) => Box::pin(protocol::answer(reply, response)).await,
    }
}

fn begin<B>(wire: Wire, served: Arc<Served>, request: &Request<B>) -> Call {
    let request_id = RequestId::of(request.headers());
    let span = span_of(wire, &served, request, &request_id);
    Call::begin(served, request_id, span)
}

/// The span of a call. `grpc::metadata` fills in the tenant and the operation.
fn span_of<B>(wire: Wire, served: &Served, request: &Request<B>, id: &RequestId) -> Span {
    let span = info_span!(
        "rpc",
        otel.name = served.method.name.as_str(),
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.grpc.status_code = Empty,
        rpc.system = wire.system(),
        rpc.service = served.method.service.as_str(),
        rpc.method = served.method.name.as_str(),
        request_id = id.as_str(),
        tenant_id = Empty,
        operation_id = Empty,
    );
    adopt_parent(&span, request.headers());
    span
}

/// A place and a deadline, or a refusal.
fn admit<B>(
    shared: &Shared,
    seat: &Seat,
    wire: Wire,
    call: &mut Call,
    request: &Request<B>,
) -> Result<Option<Instant>, Refusal> {
    let method = &call.served.method;
    let bound = method.shape.is_unary().then(|| method.deadline.unwrap_or(shared.limits.unary_deadline));
    let time = allowed(request.headers(), wire.is_connect(), bound)?;
    if time.is_some_and(|time| time.is_zero()) {
        // A client whose own time has run out may write 0. A timer would let through what is answered at once.
        return Err(DEADLINE_EXCEEDED);
    }
    let until = time.map(|time| Instant::now() + time);
    if !method.is_probe() {
        if let Some(refusal) = seat.no_calls {
            return Err(refusal);
        }
        let calls = if method.shape.is_unary() { &shared.unary } else { &shared.streams };
        let place: CallPlace = calls.take().ok_or(OVERLOADED)?;
        call.hold(place);
    }
    Ok(until)
}

fn prepare(
    limits: &Limits,
    wire: Wire,
    call: &Call,
    request: Request<Received>,
    until: Option<Instant>,
) -> Result<Request<Body>, Refusal> {
    let method = &call.served.method;
    let terms = Terms {
        single: call.served.is_known && !method.shape.requests_stream,
        message_bytes_max: method.message_bytes_max.unwrap_or(limits.message_bytes_max),
        bounds: method.bounds,
    };
    let input = method.messages.as_ref().map(|messages| &messages.input);
    let mut request = protocol::prepare(wire, terms, input, request)?;
    request.extensions_mut().insert(call.request_id.clone());
    if let Some(until) = until {
        request.extensions_mut().insert(Deadline(until));
    }
    Ok(request)
}

/// The answer to a call that no handler sees.
fn refuse(wire: Wire, call: Call, refusal: Refusal, drain: &CancellationToken) -> Response<AnswerBody> {
    let mut response = refusal.response();
    name_compressions(wire, refusal, response.headers_mut());
    finish(response, call, None, drain)
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
    // An answer with messages has its status behind them.
    let code = if response.headers().contains_key(Status::GRPC_STATUS) {
        let _entered = call.span.enter();
        normalise(response.headers_mut(), Place::Headers, shape, &call.request_id)
    } else {
        None
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

//! The straight way for the calls that platforms make by the thousand a second.
//!
//! A usual call costs a server more around the answer than the answer itself: a router, two buffers of 8 KiB, a message
//! that is cloned, encoded field by field and dropped. Here the request is decoded where it lies and the reply goes out
//! as the bytes that were encoded for an earlier call. Whatever is not quite usual, such as a compressed request, takes
//! the usual way, which answers the same.

mod events;
mod replies;
mod reply;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::future::{BoxFuture, Either};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::BodyExt as _;
use prost::Message;
use tonic::Status;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tower::Service;

use self::events::EventsBody;
pub(super) use self::replies::Replies;
use self::reply::ReplyBody;
use super::edge::answer_too_large;
use super::flagd::Flagd;
use super::frame::PREFIX;
use super::status::status;
use super::tenant_registry::find;
use super::{ANSWER_MAX, Handler};
use crate::proto::flagd::evaluation::v1::{EventStreamRequest, ResolveAllRequest};
use crate::proto::v1;

/// The calls that go the straight way.
enum Call {
    GetTenant(Arc<Handler>),
    EvaluateFlag(Arc<Handler>),
    EvaluateFlags(Arc<Handler>),
    ResolveAll(Arc<Flagd>),
    EventStream(Arc<Flagd>),
}

/// Answers some calls itself, and hands all others on.
#[derive(Clone)]
pub struct Straight<S> {
    /// Without one, the registry's own calls are handed on.
    handler: Option<Arc<Handler>>,
    /// Without one, flagd's calls are handed on.
    flagd: Option<Arc<Flagd>>,
    rest: S,
}

impl<S> Straight<S> {
    /// The straight way in front of `rest`, which has the same handlers. Of services that `rest` does not have there is
    /// no handler.
    pub fn new(handler: Option<Handler>, flagd: Option<Flagd>, rest: S) -> Self {
        Self { handler: handler.map(Arc::new), flagd: flagd.map(Arc::new), rest }
    }

    fn call_of<B>(&self, request: &Request<B>) -> Option<Call> {
        let plain = request.headers().get("grpc-encoding").is_none_or(|encoding| encoding == "identity");
        if !plain {
            return None;
        }
        match request.uri().path() {
            "/tenantry.v1.TenantRegistry/GetTenant" => self.handler.clone().map(Call::GetTenant),
            "/tenantry.v1.FeatureFlags/EvaluateFlag" => self.handler.clone().map(Call::EvaluateFlag),
            "/tenantry.v1.FeatureFlags/EvaluateFlags" => self.handler.clone().map(Call::EvaluateFlags),
            "/flagd.evaluation.v1.Service/ResolveAll" => self.flagd.clone().map(Call::ResolveAll),
            "/flagd.evaluation.v1.Service/EventStream" | "/flagd.evaluation.v2.Service/EventStream" => {
                self.flagd.clone().map(Call::EventStream)
            }
            _ => None,
        }
    }
}

impl<S> Service<Request<Body>> for Straight<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<BoxFuture<'static, Result<Response<Body>, Infallible>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.rest.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(call) = self.call_of(&request) else {
            return Either::Right(self.rest.call(request));
        };
        Either::Left(Box::pin(async move {
            let (parts, body) = request.into_parts();
            let answered = match message(body).await {
                Ok(message) => answer(call, parts.headers, &message).await,
                Err(status) => Err(status),
            };
            Ok(answered.unwrap_or_else(Status::into_http))
        }))
    }
}

async fn answer(call: Call, headers: HeaderMap, message: &Bytes) -> Result<Response<Body>, Status> {
    let metadata = MetadataMap::from_headers(headers);
    let (reply, stamp) = match call {
        Call::GetTenant(handler) => {
            let request = asked::<v1::GetTenantRequest>(metadata, message)?;
            let snapshot = handler.snapshot(&request).await?;
            let found = find(&snapshot, &request.get_ref().tenant_id);
            let reply = found.map(|record| handler.replies.tenant(&snapshot, record));
            (reply, Some((handler, snapshot)))
        }
        Call::EvaluateFlag(handler) => {
            let request = asked::<v1::EvaluateFlagRequest>(metadata, message)?;
            let snapshot = handler.snapshot(&request).await?;
            let reply = handler.evaluate_one(&snapshot, request.into_inner()).await;
            (reply, Some((handler, snapshot)))
        }
        Call::EvaluateFlags(handler) => {
            let request = asked::<v1::EvaluateFlagsRequest>(metadata, message)?;
            let snapshot = handler.snapshot(&request).await?;
            let reply = handler.evaluate_many(&snapshot, request.into_inner(), message).await;
            (reply, Some((handler, snapshot)))
        }
        Call::ResolveAll(flagd) => {
            let request = asked::<ResolveAllRequest>(metadata, message)?;
            let (metadata, _, request) = request.into_parts();
            (flagd.resolve_every(&metadata, request.context, message).await, None)
        }
        Call::EventStream(flagd) => {
            let request = asked::<EventStreamRequest>(metadata, message)?;
            return Ok(of_grpc(Body::new(EventsBody::new(flagd.events(request.metadata())?))));
        }
    };
    let reply = reply.map_err(|error| status(&error))?;
    if reply.len() > PREFIX + ANSWER_MAX {
        return Err(answer_too_large());
    }
    let mut response = of_grpc(Body::new(ReplyBody::new(reply)));
    if let Some((handler, snapshot)) = stamp {
        handler.stamp(&snapshot, response.headers_mut());
    }
    Ok(response)
}

fn of_grpc(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, grpc);
    response
}

/// The one message of a request, without its prefix. The edge has checked its framing and its size. Refusals here
/// and in [`asked`] are those of tonic, and the edge puts our words in their place.
async fn message(mut body: Body) -> Result<Bytes, Status> {
    // Nearly always it comes in one piece, which is used where it lies.
    let (mut first, mut pieces) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if first.is_empty() {
            first = data;
            continue;
        }
        if pieces.is_empty() {
            pieces.extend_from_slice(&first);
        }
        pieces.extend_from_slice(&data);
    }
    let mut whole = if pieces.is_empty() { first } else { pieces.freeze() };
    whole.advance(PREFIX.min(whole.len()));
    Ok(whole)
}

fn asked<M: Message + Default>(metadata: MetadataMap, message: &[u8]) -> Result<tonic::Request<M>, Status> {
    let message = M::decode(message).map_err(|_| Status::internal("malformed"))?;
    Ok(tonic::Request::from_parts(metadata, tonic::Extensions::default(), message))
}

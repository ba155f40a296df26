//! `flagd.evaluation.v2`: no value and no variant are unset.

use tonic::{Request, Response, Status};

use super::{Events, Flagd, encode_struct, given};
use crate::domain::flag::FlagType;
use crate::proto::flagd::evaluation::v2::service_server::Service;
use crate::proto::flagd::evaluation::v2::{
    EventStreamRequest, EventStreamResponse, ResolveBooleanRequest, ResolveBooleanResponse,
    ResolveFloatRequest, ResolveFloatResponse, ResolveIntRequest, ResolveIntResponse, ResolveObjectRequest,
    ResolveObjectResponse, ResolveStringRequest, ResolveStringResponse,
};

macro_rules! resolve {
    ($self:ident, $request:ident, $type:ident, $given:ident, $answer:ident) => {{
        let (metadata, _, message) = $request.into_parts();
        let found = $self.resolve(&metadata, message.flag_key, message.context, FlagType::$type).await?;
        Ok(Response::new($answer {
            value: found.value.as_ref().and_then(given::$given),
            reason: found.reason.as_str().to_owned(),
            variant: found.variant,
            metadata: Some(encode_struct(found.metadata)),
        }))
    }};
}

#[tonic::async_trait]
impl Service for Flagd {
    async fn resolve_boolean(
        &self,
        request: Request<ResolveBooleanRequest>,
    ) -> Result<Response<ResolveBooleanResponse>, Status> {
        resolve!(self, request, Boolean, boolean, ResolveBooleanResponse)
    }

    async fn resolve_string(
        &self,
        request: Request<ResolveStringRequest>,
    ) -> Result<Response<ResolveStringResponse>, Status> {
        resolve!(self, request, String, string, ResolveStringResponse)
    }

    async fn resolve_float(
        &self,
        request: Request<ResolveFloatRequest>,
    ) -> Result<Response<ResolveFloatResponse>, Status> {
        resolve!(self, request, Double, double, ResolveFloatResponse)
    }

    async fn resolve_int(
        &self,
        request: Request<ResolveIntRequest>,
    ) -> Result<Response<ResolveIntResponse>, Status> {
        resolve!(self, request, Integer, integer, ResolveIntResponse)
    }

    async fn resolve_object(
        &self,
        request: Request<ResolveObjectRequest>,
    ) -> Result<Response<ResolveObjectResponse>, Status> {
        resolve!(self, request, Object, object, ResolveObjectResponse)
    }

    type EventStreamStream = Events<EventStreamResponse>;

    async fn event_stream(
        &self,
        request: Request<EventStreamRequest>,
    ) -> Result<Response<Self::EventStreamStream>, Status> {
        Ok(Response::new(self.event_messages(&request)?))
    }
}

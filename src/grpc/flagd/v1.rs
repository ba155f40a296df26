//! `flagd.evaluation.v1`: a disabled flag has its type's zero, and one without a default is not found.

use bytes::Bytes;
use prost::Message as _;
use prost_types::Struct;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::{Events, Flagd, attributes, encode_struct, given, question, status};
use crate::domain::error::{Error, Reason as Failure};
use crate::domain::flag::{FlagType, Reason, Value};
use crate::grpc::frame::{framed, unframed};
use crate::proto::flagd::evaluation::v1::any_flag;
use crate::proto::flagd::evaluation::v1::service_server::Service;
use crate::proto::flagd::evaluation::v1::{
    AnyFlag, EventStreamRequest, EventStreamResponse, ResolveAllRequest, ResolveAllResponse,
    ResolveBooleanRequest, ResolveBooleanResponse, ResolveFloatRequest, ResolveFloatResponse,
    ResolveIntRequest, ResolveIntResponse, ResolveObjectRequest, ResolveObjectResponse, ResolveStringRequest,
    ResolveStringResponse,
};
use crate::services::openfeature::{Asked, Found, Resolution};

macro_rules! resolve {
    ($self:ident, $request:ident, $type:ident, $given:ident, $answer:ident) => {{
        let (metadata, _, message) = $request.into_parts();
        let found = $self.resolve(&metadata, message.flag_key, message.context, FlagType::$type).await;
        let found = with_value(found?)?;
        Ok(Response::new($answer {
            value: found.value.as_ref().and_then(given::$given).unwrap_or_default(),
            reason: found.reason.as_str().to_owned(),
            variant: found.variant.unwrap_or_default(),
            metadata: Some(encode_struct(found.metadata)),
        }))
    }};
}

/// A flag that has nothing to give and is not disabled does not exist in this version.
fn with_value(found: Resolution) -> Result<Resolution, Status> {
    if !has_answer(&found) {
        let error = Error::missing(Failure::FlagNotFound, "default variant of flag", "flag_key", &found.key);
        return Err(status(&error));
    }
    Ok(found)
}

fn has_answer(found: &Resolution) -> bool {
    found.variant.is_some() || found.reason == Reason::Disabled
}

impl Flagd {
    /// Every flag, as the reply goes out; those that are broken or have nothing to give are left out. `asked` is the
    /// message as it came.
    pub(in crate::grpc) async fn resolve_every(
        &self,
        metadata: &MetadataMap,
        context: Option<Struct>,
        asked: &[u8],
    ) -> Result<Bytes, Error> {
        let asking = self.feature.ask(&question(metadata, "")?, attributes(context)?)?;
        let encode = |_: &Asked, found: Vec<Found>| {
            let found = found.into_iter().filter_map(|(_, found)| found.ok().filter(has_answer));
            let flags = found.map(|found| (found.key.clone(), any(found))).collect();
            framed(&ResolveAllResponse { flags, metadata: None })
        };
        self.feature.all_kept("flagd.evaluation.v1", asking, asked, encode).await
    }
}

#[tonic::async_trait]
impl Service for Flagd {
    async fn resolve_all(
        &self,
        request: Request<ResolveAllRequest>,
    ) -> Result<Response<ResolveAllResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let asked = message.encode_to_vec();
        let reply = self.resolve_every(&metadata, message.context, &asked).await;
        let answer = reply.and_then(|reply| unframed(&reply));
        Ok(Response::new(answer.map_err(|error| status(&error))?))
    }

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
        let (metadata, _, message) = request.into_parts();
        let found = self.resolve(&metadata, message.flag_key, message.context, FlagType::Object).await;
        let found = with_value(found?)?;
        Ok(Response::new(ResolveObjectResponse {
            value: Some(found.value.as_ref().and_then(given::object).unwrap_or_default()),
            reason: found.reason.as_str().to_owned(),
            variant: found.variant.unwrap_or_default(),
            metadata: Some(encode_struct(found.metadata)),
        }))
    }

    type EventStreamStream = Events<EventStreamResponse>;

    async fn event_stream(
        &self,
        request: Request<EventStreamRequest>,
    ) -> Result<Response<Self::EventStreamStream>, Status> {
        Ok(Response::new(self.event_messages(&request)?))
    }
}

/// A flag of any type. A disabled one has no value, so that its reader comes to its own default.
fn any(found: Resolution) -> AnyFlag {
    #[allow(clippy::cast_precision_loss)] // This version has doubles only.
    let value = found.value.and_then(|value| match value {
        Value::Boolean(value) => Some(any_flag::Value::BoolValue(value)),
        Value::String(text) => Some(any_flag::Value::StringValue(text.to_string())),
        Value::Integer(number) => Some(any_flag::Value::DoubleValue(number as f64)),
        Value::Double(number) => Some(any_flag::Value::DoubleValue(number)),
        Value::Object(map) => Some(any_flag::Value::ObjectValue(encode_struct(map.as_ref().clone()))),
        // It has no word for a list.
        Value::Json(_) => None,
    });
    AnyFlag {
        reason: found.reason.as_str().to_owned(),
        variant: found.variant.unwrap_or_default(),
        value,
        metadata: Some(encode_struct(found.metadata)),
    }
}

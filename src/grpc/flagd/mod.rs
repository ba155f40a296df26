//! flagd's services, so that OpenFeature's published providers work unchanged.
//!
//! Versions 1 and 2 of the evaluation differ in what stands for no value, so each has a file; what they share is here.

mod sync;
mod v1;
mod v2;

use std::collections::BTreeMap;
use std::pin::Pin;

use bytes::Bytes;
use prost::Message;
use prost_types::Struct;
use serde_json::{Map, Value as Json, json};
use tokio_stream::{Stream, StreamExt as _};
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::{Request, Status};

use super::convert::value;
use super::frame::{framed, unframed};
use super::status::status;
use crate::domain::error::Error;
use crate::domain::flag::FlagType;
use crate::domain::ids::FlagKey;
use crate::domain::selector::{self, Selector};
use crate::domain::sole::sole;
use crate::proto::flagd::evaluation::v1::EventStreamResponse;
use crate::proto::flagd::evaluation::v1::service_server::ServiceServer as V1;
use crate::proto::flagd::evaluation::v2::service_server::ServiceServer as V2;
use crate::proto::flagd::sync::v1::flag_sync_service_server::FlagSyncServiceServer;
use crate::services::openfeature::{Kind, OpenFeature, Question, Resolution, Told};

/// Carries the selector; it goes before that of a message.
const SELECTOR: &str = "flagd-selector";
/// Largest flag set or answer, in bytes: 10,000 flags of some kilobytes.
const ANSWER_MAX: usize = 64 << 20;

/// Messages as they come.
pub(super) type Events<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

/// The implementation of flagd's services.
#[derive(Clone)]
pub struct Flagd {
    feature: OpenFeature,
}

impl Flagd {
    /// Handlers over the use cases.
    pub const fn new(feature: OpenFeature) -> Self {
        Self { feature }
    }
}

/// Adds the evaluation services, versions 1 and 2. A request may have `request_max` bytes.
pub fn add_evaluation(routes: Routes, feature: OpenFeature, request_max: usize) -> Routes {
    let flagd = Flagd::new(feature);
    let v1 = V1::new(flagd.clone()).max_decoding_message_size(request_max);
    let v2 = V2::new(flagd).max_decoding_message_size(request_max);
    routes
        .add_service(v1.max_encoding_message_size(ANSWER_MAX))
        .add_service(v2.max_encoding_message_size(ANSWER_MAX))
}

/// Adds the sync service. A request may have `request_max` bytes.
pub fn add_sync(routes: Routes, feature: OpenFeature, request_max: usize) -> Routes {
    let sync = FlagSyncServiceServer::new(Flagd::new(feature));
    routes.add_service(sync.max_decoding_message_size(request_max).max_encoding_message_size(ANSWER_MAX))
}

/// Who asks and what it selects. `in_message` is the selector of the message, where it has one; the header goes before it,
/// and may be there several times as long as it says the same.
fn question(metadata: &MetadataMap, in_message: &str) -> Result<Question, Error> {
    let selector = match sole(SELECTOR, metadata.get_all(SELECTOR))? {
        Some(header) => {
            selector::of_header(SELECTOR, header.as_bytes()).and_then(|text| Selector::parse(SELECTOR, text))
        }
        None => Selector::parse("selector", in_message),
    };
    let selector = selector.map_err(|violation| Error::field(violation.field, violation.why))?;
    Ok(Question { identity: None, selector })
}

/// The attributes of a request.
fn attributes(context: Option<Struct>) -> Result<Map<String, Json>, Error> {
    let mut attributes = Map::new();
    for (name, value) in context.unwrap_or_default().fields {
        let decoded = value::decode(value).map_err(|why| Error::field(format!("context.{name}"), why))?;
        attributes.insert(name, decoded);
    }
    Ok(attributes)
}

/// JSON as it goes over the wire.
fn encode_struct(map: Map<String, Json>) -> Struct {
    Struct { fields: map.into_iter().map(|(name, value)| (name, value::encode(value))).collect() }
}

impl Flagd {
    /// One flag of a type.
    async fn resolve(
        &self,
        metadata: &MetadataMap,
        key: String,
        context: Option<Struct>,
        wanted: FlagType,
    ) -> Result<Resolution, Status> {
        let resolved = async {
            let asked = self.feature.ask(&question(metadata, "")?, attributes(context)?)?;
            self.feature.one_of_type(asked, key, wanted).await
        };
        resolved.await.map_err(|error| status(&error))
    }

    /// What happens from now on, as it goes out: both versions say it alike, and all streams that are told the same send the
    /// same bytes.
    pub(super) fn events(&self, metadata: &MetadataMap) -> Result<Events<Bytes>, Status> {
        let told = question(metadata, "").and_then(|question| self.feature.changes(question, Some(changed)));
        let told = told.map_err(|error| status(&error))?;
        Ok(Box::pin(told.map(|told| told.map(|told| event(&told)).map_err(|error| status(&error)))))
    }

    /// The same as messages, for whoever does not come the straight way.
    fn event_messages<T, M: Message + Default + 'static>(
        &self,
        request: &Request<T>,
    ) -> Result<Events<M>, Status> {
        let events = self.events(request.metadata())?;
        Ok(Box::pin(events.map(|event| unframed(&event?).map_err(|error| status(&error)))))
    }
}

fn event(told: &Told) -> Bytes {
    match told {
        Told::Ready => named("provider_ready", None),
        Told::Changed(part) => part.encoded.clone(),
        Told::KeepAlive => named("keep_alive", None),
        Told::Shutdown => named("provider_shutdown", None),
    }
}

/// `{"flags": {KEY: {"type": …}}}`.
fn changed(flags: &BTreeMap<FlagKey, Kind>) -> Bytes {
    let flags: Map<String, Json> =
        flags.iter().map(|(key, kind)| (key.to_string(), json!({"type": kind.as_str()}))).collect();
    let data = encode_struct(Map::from_iter([("flags".to_owned(), Json::Object(flags))]));
    named("configuration_change", Some(data))
}

fn named(name: &str, data: Option<Struct>) -> Bytes {
    framed(&EventStreamResponse { r#type: name.to_owned(), data })
}

/// A value as each rpc gives it.
mod given {
    use prost_types::Struct;

    use super::encode_struct;
    use crate::domain::flag::Value;

    pub(super) fn boolean(value: &Value) -> Option<bool> {
        value.as_bool()
    }

    pub(super) fn string(value: &Value) -> Option<String> {
        match value {
            Value::String(text) => Some(text.to_string()),
            _ => None,
        }
    }

    pub(super) fn double(value: &Value) -> Option<f64> {
        match value {
            Value::Double(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn integer(value: &Value) -> Option<i64> {
        match value {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn object(value: &Value) -> Option<Struct> {
        match value {
            Value::Object(map) => Some(encode_struct(map.as_ref().clone())),
            _ => None,
        }
    }
}

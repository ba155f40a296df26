//! What comes and goes beside the messages: freshness, the caller, the revision.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Handler;
use super::status::status;
use crate::domain::error::Error;
use crate::domain::ids::{OperationId, RequestId, Revision, TenantId};
use crate::domain::sole::sole;
use crate::proto::Addressed;
use crate::services::Command;
use crate::services::read::{Freshness, Token};
use crate::view::Snapshot;

/// Request: wait until the view has this revision.
const MIN_REVISION: &str = "tenantry-min-revision";
/// Request: `latest` for as of now in the database.
const CONSISTENCY: &str = "tenantry-consistency";
/// Response: the revision it was made at.
const REVISION: HeaderName = HeaderName::from_static("tenantry-revision");
/// Response: the seconds for which the view has not heard from the database.
const STALE: HeaderName = HeaderName::from_static("tenantry-stale");
/// Who calls, until authenticators tell: no more than a name for the log.
const ACTOR: &str = "tenantry-actor";
/// Longest of these names, in bytes.
const ACTOR_MAX: usize = 128;

/// What a read demands.
pub(super) fn freshness(metadata: &MetadataMap) -> Result<Freshness, Status> {
    let refuse = |field: &str, why: &str| status(&Error::field(field, why));
    let sole = |name| sole(name, metadata.get_all(name)).map_err(|error| status(&error));
    let latest = match sole(CONSISTENCY)?.map(MetadataValue::as_bytes) {
        None | Some(b"cached" | b"") => false,
        Some(b"latest") => true,
        Some(_) => return Err(refuse(CONSISTENCY, "must be cached or latest")),
    };
    let token = match sole(MIN_REVISION)? {
        None => None,
        Some(value) => {
            let token = value.to_str().ok().and_then(Token::parse);
            Some(token.ok_or_else(|| {
                refuse(MIN_REVISION, "must be a token from the tenantry-revision metadata of an answer")
            })?)
        }
    };
    Ok(match (latest, token) {
        (true, _) => Freshness::Latest,
        (false, Some(token)) => Freshness::AtLeast(token),
        (false, None) => Freshness::Cached,
    })
}

/// Who asks for a change and how. `message` is the body without its request id.
pub(super) fn command(
    metadata: &MetadataMap,
    method: &'static str,
    message: &(impl Message + Addressed),
    request_id: &str,
    validate_only: bool,
) -> Result<Command, Error> {
    let request_id = match request_id {
        "" => None,
        text => {
            Some(RequestId::parse(text).map_err(|invalid| Error::field("request_id", invalid.to_string()))?)
        }
    };
    note(message);
    let mut bytes = Vec::with_capacity(method.len() + message.encoded_len());
    bytes.extend_from_slice(method.as_bytes());
    bytes.extend(message.encode_to_vec());
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, &bytes).as_ref());
    Ok(Command { actor: actor(metadata)?, request_id, digest: hash, validate_only })
}

/// Puts what a request is about into the span of its call. Only ids that can be some: nothing else of a caller's reaches
/// the log unquoted.
fn note(message: &impl Addressed) {
    let span = tracing::Span::current();
    // Most requests name one of them at most, and refusing an empty one takes longer than looking.
    let is_tenant = |id: &str| !id.is_empty() && TenantId::parse(id).is_ok();
    let is_operation = |id: &str| !id.is_empty() && OperationId::parse(id).is_ok();
    if is_tenant(message.tenant_id()) {
        span.record("tenant_id", message.tenant_id());
    }
    if is_operation(message.operation_id()) {
        span.record("operation_id", message.operation_id());
    }
}

/// The name a caller gives itself. What is no plain name is refused: else the change would be kept as nobody's. So are two
/// names: one of them would have made the change of the other.
fn actor(metadata: &MetadataMap) -> Result<String, Error> {
    match sole(ACTOR, metadata.get_all(ACTOR))?.map(MetadataValue::as_bytes) {
        None | Some(b"") => Ok("anonymous".to_owned()),
        Some(name) => std::str::from_utf8(name)
            .ok()
            .filter(|name| name.len() <= ACTOR_MAX && name.bytes().all(|byte| byte.is_ascii_graphic()))
            .map(str::to_owned)
            .ok_or_else(|| {
                Error::field(ACTOR, format!("must be at most {ACTOR_MAX} printable letters without spaces"))
            }),
    }
}

impl Handler {
    /// An answer with the newest revision that this replica has seen, and how stale it is.
    pub(super) fn respond<T>(&self, message: T) -> Response<T> {
        match self.registry.view.snapshot() {
            Ok(snapshot) => self.respond_at(&snapshot, message),
            Err(_) => Response::new(message),
        }
    }

    /// An answer with the revision it was read at.
    pub(super) fn respond_at<T>(&self, snapshot: &Snapshot, message: T) -> Response<T> {
        let mut response = Response::new(message);
        self.stamp(snapshot, response.metadata_mut().as_mut());
        response
    }

    /// Says at which revision an answer was read, and how stale it is.
    pub(super) fn stamp(&self, snapshot: &Snapshot, headers: &mut HeaderMap) {
        headers.insert(REVISION, self.revision.of(snapshot));
        if let Some(silence) = self.registry.view.stale_for() {
            headers.insert(STALE, silence.as_secs().into());
        }
    }

    /// The snapshot that a request asks for.
    pub(super) async fn snapshot<T: Addressed>(&self, request: &Request<T>) -> Result<Arc<Snapshot>, Status> {
        note(request.get_ref());
        let freshness = freshness(request.metadata())?;
        self.registry.read(freshness).await.map_err(|error| status(&error))
    }
}

/// The revision as it goes out, written down once for all answers of a snapshot.
#[derive(Debug, Default)]
pub(super) struct Stamp(ArcSwapOption<(Uuid, Revision, HeaderValue)>);

impl Stamp {
    fn of(&self, snapshot: &Snapshot) -> HeaderValue {
        let newest = self.0.load();
        if let Some((epoch, revision, value)) = newest.as_deref()
            && (*epoch, *revision) == (snapshot.epoch, snapshot.revision)
        {
            return value.clone();
        }
        let token = Token::of(snapshot.epoch, snapshot.revision).to_string();
        // Hexadecimal digits and a hyphen are always a valid value.
        let value = HeaderValue::try_from(token).unwrap_or(HeaderValue::from_static(""));
        self.0.store(Some(Arc::new((snapshot.epoch, snapshot.revision, value.clone()))));
        value
    }
}

/// The time, for what depends on it.
pub(super) fn now() -> Timestamp {
    crate::services::now()
}

//! Any sibling service that serves `tenantry.participant.v1`.

use std::error::Error as _;
use std::time::Duration;

use async_trait::async_trait;
use tonic::transport::Channel;
use tonic::{Code, ConnectError, Request, Status};

use super::channel::channel;
use super::unreached::{Unreached, unreached, unreached_by_tls};
use super::{Failure, Observed, Participant, TenantRef, Unusable};
use crate::config;
use crate::domain::lifecycle::Desired;
use crate::domain::text::quote;
use crate::proto::participant::participant_client::ParticipantClient;
use crate::proto::participant::{self as wire, ApplyRequest, ObserveRequest, State};

/// Largest answer, in bytes: two numbers need far less.
const ANSWER_MAX: usize = 64 << 10;

/// The target.
pub struct Remote {
    client: ParticipantClient<Channel>,
    is_encrypted: bool,
    deadline: Duration,
}

impl Remote {
    /// A target at the endpoint of its settings; one call may take `deadline`. Connects when first used, and again
    /// whenever the connection is lost.
    ///
    /// # Errors
    ///
    /// Where the endpoint or a certificate cannot be used.
    pub fn new(settings: &config::targets::Remote, deadline: Duration) -> Result<Self, Unusable> {
        let server_name = settings.server_name.as_deref();
        let channel = channel(&settings.endpoint, &settings.tls, server_name, deadline)?;
        let client = ParticipantClient::new(channel).max_decoding_message_size(ANSWER_MAX);
        Ok(Self { client, is_encrypted: settings.endpoint.is_encrypted(), deadline })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.deadline);
        request
    }
}

#[async_trait]
impl Participant for Remote {
    async fn apply(&self, tenant: &TenantRef, desired: Desired, generation: u64) -> Result<(), Failure> {
        let request = ApplyRequest {
            tenant: Some(encode(tenant)),
            desired: encode_state(desired).into(),
            generation: i64::try_from(generation).unwrap_or(i64::MAX),
        };
        let answer = self.client.clone().apply(self.request(request)).await;
        answer.map(drop).map_err(|status| failure(&status, self.is_encrypted))
    }

    async fn observe(&self, tenant: &TenantRef) -> Result<Observed, Failure> {
        let request = ObserveRequest { tenant: Some(encode(tenant)) };
        let answer = self.client.clone().observe(self.request(request)).await;
        let answer = answer.map_err(|status| failure(&status, self.is_encrypted))?.into_inner();
        let nonsense = || Failure::retryable("answered with a state that does not exist");
        let state = State::try_from(answer.state).map_err(|_| nonsense())?;
        let negative =
            |_| Failure::retryable(format!("answered with generation {}, below 0", answer.generation));
        let generation = u64::try_from(answer.generation).map_err(negative)?;
        let asked = State::try_from(answer.desired).map_err(|_| nonsense())?;
        // The contract asks the service for what an ordinary client of it would now get.
        Ok(decode_state(state).map_or(Observed::UNKNOWN_TENANT, |state| {
            Observed::effect(state, generation).with_asked(decode_state(asked))
        }))
    }

    /// The contract asks for it: a state without its generation may be there by itself, and not by our change.
    fn keeps_generation(&self) -> bool {
        true
    }

    /// The contract asks for that, too.
    fn tells_what_became(&self) -> bool {
        true
    }
}

fn encode(tenant: &TenantRef) -> wire::TenantRef {
    let names = tenant.names.clone();
    wire::TenantRef {
        tenant_id: tenant.tenant_id.to_string(),
        uid: tenant.uid.to_string(),
        database_schema: names.database_schema,
        vector_namespace: names.vector_namespace,
        bucket: names.bucket,
        bucket_prefix: names.bucket_prefix,
        cache_prefix: names.cache_prefix,
        monitoring_label: names.monitoring_label,
        tier: tenant.tier.to_string(),
        region: tenant.place.region.to_string(),
        cell: tenant.place.cell.to_string(),
        limits: tenant
            .limits
            .iter()
            .map(|(metric, bound)| (metric.to_string(), i64::try_from(*bound).unwrap_or(i64::MAX)))
            .collect(),
    }
}

/// A desired state on the wire.
pub(super) const fn encode_state(desired: Desired) -> State {
    match desired {
        Desired::Active => State::Active,
        Desired::ReadOnly => State::ReadOnly,
        Desired::Suspended => State::Suspended,
        Desired::Archived => State::Archived,
        Desired::Deleted => State::Deleted,
    }
}

/// A state from the wire; `None` for a tenant that is not known there.
pub(super) const fn decode_state(state: State) -> Option<Desired> {
    match state {
        State::Unspecified => None,
        State::Active => Some(Desired::Active),
        State::ReadOnly => Some(Desired::ReadOnly),
        State::Suspended => Some(Desired::Suspended),
        State::Archived => Some(Desired::Archived),
        State::Deleted => Some(Desired::Deleted),
    }
}

/// Only what the contract calls final is final. What was refused on the way in was not done; all else may have failed after
/// the work was done, as an exception in a handler, or an answer that is too large. The service's own words are quoted, so
/// that they cannot pass for ours.
fn failure(status: &Status, is_encrypted: bool) -> Failure {
    let words = quote(status.message());
    match status.code() {
        Code::InvalidArgument | Code::FailedPrecondition => Failure::permanent(format!("refused: {words}")),
        Code::DeadlineExceeded | Code::Cancelled => Failure::unknown("did not answer in time"),
        // Only what never came from the service has a cause of its own.
        Code::Unavailable | Code::Unknown if status.source().is_some() => {
            let why = if is_encrypted { unreached_by_tls } else { unreached };
            let Unreached { words, cause } = why(status);
            let failure =
                if never_connected(status) { Failure::retryable(words) } else { Failure::unknown(words) };
            failure.with_cause(cause)
        }
        code @ (Code::Unimplemented | Code::Unauthenticated | Code::PermissionDenied) => {
            Failure::retryable(format!("failed with {code:?}: {words}"))
        }
        code => Failure::unknown(format!("failed with {code:?}: {words}")),
    }
}

/// Whether there was no connection at all, so that nothing was sent.
fn never_connected(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

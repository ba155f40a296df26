//! The systems that follow a tenant's state: one file each.
//!
//! A participant is two functions that are safe to repeat: bring the tenant to a state, and say which state an ordinary
//! client of the system would now find it in.

mod access;
pub mod alertmanager;
mod channel;
pub mod postgres;
pub mod qdrant;
pub mod redis;
pub mod registry;
pub mod remote;
pub mod s3;
pub mod stub;
mod successor;
mod unreached;

use std::collections::BTreeMap;

use async_trait::async_trait;
use uuid::Uuid;

use crate::domain::ids::{MetricName, TenantId, TierId};
use crate::domain::lifecycle::{Desired, Verification};
use crate::domain::operation::Place;
use crate::domain::tenant::{ResourceNames, Tenant};
use crate::domain::tier::{Limits, Tier, effective_limits};

/// Who is meant, and what its things are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRef {
    /// The id people use.
    pub tenant_id: TenantId,
    /// Unique for ever.
    pub uid: Uuid,
    /// What its things are called.
    pub names: ResourceNames,
    /// Its tier.
    pub tier: TierId,
    /// Where it runs.
    pub place: Place,
    /// The limits in force for it; what is not in it is unlimited.
    pub limits: BTreeMap<MetricName, u64>,
}

impl TenantRef {
    /// Of a tenant and its tier.
    pub fn of(tenant: &Tenant, tier: Option<&Tier>) -> Self {
        let none = Limits::new();
        let limits =
            effective_limits(tier.map_or(&none, |tier| &tier.limits), &tenant.profile.limit_overrides)
                .filter_map(|limit| Some((limit.metric.clone(), limit.limit.bound()?)))
                .collect();
        Self {
            tenant_id: tenant.tenant_id.clone(),
            uid: tenant.uid,
            names: tenant.resource_names(),
            tier: tenant.profile.tier.clone(),
            place: tenant.place(),
            limits,
        }
    }
}

/// What a system was seen in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The state; `None` where the system has never heard of the tenant.
    pub state: Option<Desired>,
    /// The generation applied last; 0 for none.
    pub generation: u64,
    /// The state that this generation asked for, where that is known to be another one than it is in: the change was cut off
    /// half way, or somebody changed the system by hand.
    pub asked: Option<Desired>,
    /// Whether an ordinary client's view was seen, or only what is stored.
    pub verification: Verification,
    /// What keeps it from being as it should be, whatever state it is in, in our words; `None` where nothing does.
    pub amiss: Option<String>,
    /// Why only what is stored was seen, in our words, where that is somebody's to mend.
    pub unproven: Option<String>,
}

impl Observed {
    /// A system that has never heard of the tenant, or has forgotten it.
    pub const UNKNOWN_TENANT: Self = Self::of(None, 0, Verification::Effect);

    /// The state that it was told, as far as that is known. It tells better whose change it was than what became of it: a replica may
    /// have died half way.
    pub fn was_asked(&self) -> Option<Desired> {
        self.asked.or(self.state)
    }

    /// What an ordinary client was seen to get.
    pub const fn effect(state: Desired, generation: u64) -> Self {
        Self::of(Some(state), generation, Verification::Effect)
    }

    /// What is stored, without a client having been tried.
    pub const fn policy(state: Desired, generation: u64) -> Self {
        Self::of(Some(state), generation, Verification::PolicyOnly)
    }

    const fn of(state: Option<Desired>, generation: u64, verification: Verification) -> Self {
        Self { state, generation, asked: None, verification, amiss: None, unproven: None }
    }

    /// As it is, as far as that is stored: `why` it has no effect that could be seen.
    #[must_use]
    pub fn with_unproven(self, why: &str) -> Self {
        Self { verification: Verification::PolicyOnly, unproven: Some(why.to_owned()), ..self }
    }

    /// With the state that the generation asked for.
    #[must_use]
    pub fn with_asked(self, asked: Option<Desired>) -> Self {
        Self { asked: asked.filter(|asked| Some(*asked) != self.state), ..self }
    }

    /// As it is, but not as it should be.
    #[must_use]
    pub fn with_amiss(self, amiss: Option<String>) -> Self {
        Self { amiss, ..self }
    }
}

/// Whether it makes sense to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The system understood and refused; it would refuse again.
    Permanent,
    /// It did not happen, and may the next time.
    Retryable,
    /// Nobody knows whether it happened: the answer was lost, or none came in time.
    Unknown,
    /// A bounded part of a long work is done, and the next call goes on from there.
    Unfinished,
    /// All that it can do is done, and the rest hangs on somebody else, who has all the time there is.
    Waiting,
}

/// Why a system did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Whether it makes sense to try again.
    pub kind: FailureKind,
    /// One line for people, in our words.
    pub message: String,
    /// For the log: what the transport says, where our words do not tell why.
    pub cause: Option<String>,
}

impl Failure {
    /// Refused.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Permanent, message: message.into(), cause: None }
    }

    /// Did not happen.
    pub fn retryable(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Retryable, message: message.into(), cause: None }
    }

    /// May have happened.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Unknown, message: message.into(), cause: None }
    }

    /// Happened in part; the message says how far.
    pub fn unfinished(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Unfinished, message: message.into(), cause: None }
    }

    /// The same, with what the log is to say once.
    pub(crate) fn with_cause(self, cause: Option<String>) -> Self {
        Self { cause, ..self }
    }

    /// Hangs on somebody else; the message says on whom.
    pub fn waiting(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Waiting, message: message.into(), cause: None }
    }
}

/// Settings with which a participant cannot be made, in the end of a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub String);

/// A system that follows tenants' states.
#[async_trait]
pub trait Participant: Send + Sync {
    /// Brings the tenant to a state. An older generation than one applied is refused; the same one again has no second
    /// effect.
    async fn apply(&self, tenant: &TenantRef, desired: Desired, generation: u64) -> Result<(), Failure>;

    /// Says which state the tenant is really in: what an ordinary client of the system would now get.
    async fn observe(&self, tenant: &TenantRef) -> Result<Observed, Failure>;

    /// Whether what it observes always tells the generation that was applied last, so that 0 beside a state means that no
    /// change has reached it. Of our own adapters some states leave nothing to keep it in; they look at the state alone then.
    fn keeps_generation(&self) -> bool {
        false
    }

    /// Whether a change whose outcome nobody knows has been made where what is observed is its state with its generation. Our
    /// own adapters do more than they can see afterwards: they wait for transactions that began before, for nodes that were
    /// not told, for writes that may still arrive. So they are asked again, which costs them little.
    fn tells_what_became(&self) -> bool {
        false
    }

    /// Whether its records are in the registry's own database. A restore takes them back as well, and a suspension closes them before
    /// anything else is asked: it never holds what the registry has forgotten.
    fn is_in_the_registry(&self) -> bool {
        false
    }

    /// Returns once what an attempt of this change hung on ([`FailureKind::Waiting`]) may be gone. Waited for without one of the
    /// places that calls share, and not for ever.
    async fn until_worth_trying(&self, _tenant: &TenantRef, _generation: u64) {}

    /// How many calls it can serve at once, where that is known: further ones wait, and have no deadline while they do.
    fn concurrent_max(&self) -> Option<usize> {
        None
    }
}

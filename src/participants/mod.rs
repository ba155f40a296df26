//! The systems that follow a tenant's state: one file each.
//!
//! A participant is two functions that are safe to repeat: bring the tenant to a state, and say which state an ordinary
//! client of the system would now find it in.

pub mod postgres;
pub mod remote;
pub mod stub;

use async_trait::async_trait;
use uuid::Uuid;

use crate::domain::ids::TenantId;
use crate::domain::lifecycle::Desired;
use crate::domain::tenant::{ResourceNames, Tenant};

/// Who is meant, and what its things are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRef {
    /// The id people use.
    pub tenant_id: TenantId,
    /// Unique for ever.
    pub uid: Uuid,
    /// What its things are called.
    pub names: ResourceNames,
}

impl TenantRef {
    /// Of a tenant.
    pub fn of(tenant: &Tenant) -> Self {
        Self { tenant_id: tenant.tenant_id.clone(), uid: tenant.uid, names: tenant.resource_names() }
    }
}

/// What a system was seen in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// The state; `None` where the system has never heard of the tenant.
    pub state: Option<Desired>,
    /// The generation applied last; 0 for none.
    pub generation: u64,
}

/// Whether it makes sense to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The system understood and refused; it would refuse again.
    Permanent,
    /// It did not happen, or nobody knows whether it happened.
    Transient,
}

/// Why a system did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Whether it makes sense to try again.
    pub kind: FailureKind,
    /// One line for people, in our words.
    pub message: String,
}

impl Failure {
    /// Did not happen, or nobody knows.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Transient, message: message.into() }
    }

    /// Refused.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Permanent, message: message.into() }
    }
}

/// A system that follows tenants' states.
#[async_trait]
pub trait Participant: Send + Sync {
    /// Brings the tenant to a state. An older generation than one applied is refused; the same one again has no second
    /// effect.
    async fn apply(&self, tenant: &TenantRef, desired: Desired, generation: u64) -> Result<(), Failure>;

    /// Says which state the tenant is really in: what an ordinary client of the system would now get.
    async fn observe(&self, tenant: &TenantRef) -> Result<Observed, Failure>;
}

//! gRPC: the handlers, the conversions, the edge.
//!
//! A handler decodes, calls one use case and encodes. What an error is on the wire, `status` alone knows.

mod convert;
pub mod feature_flags;
pub mod lifecycle;
mod metadata;
mod status;
pub mod tenant_health;
pub mod tenant_registry;
pub mod tiers;

use crate::services::Registry;

/// The implementation of one service: each has its own newtype, because each is a trait of its own.
#[derive(Clone)]
pub struct Handler {
    registry: Registry,
}

impl Handler {
    /// Handlers over the use cases.
    pub const fn new(registry: Registry) -> Self {
        Self { registry }
    }
}

//! gRPC: the handlers, the conversions, the edge.
//!
//! A handler decodes, calls one use case and encodes. What an error is on the wire, `status` alone knows.

mod apart;
mod convert;
pub mod edge;
pub mod feature_flags;
pub mod flagd;
mod frame;
pub mod lifecycle;
mod metadata;
mod status;
mod straight;
pub mod tenant_health;
pub mod tenant_registry;
pub mod tiers;
mod watching;

use std::sync::Arc;

use tokio::runtime::Handle;
use tonic::service::Routes;

use self::apart::Apart;
use self::metadata::Stamp;
use self::straight::Replies;
pub use self::straight::Straight;
use crate::proto::v1::feature_flags_server::FeatureFlagsServer;
use crate::proto::v1::lifecycle_server::LifecycleServer;
use crate::proto::v1::tenant_health_server::TenantHealthServer;
use crate::proto::v1::tenant_registry_server::TenantRegistryServer;
use crate::proto::v1::tiers_server::TiersServer;
use crate::services::Registry;

/// Largest answer, in bytes: a page of 1,000 large tenants.
const ANSWER_MAX: usize = 64 << 20;
/// Largest request of the services that have an rpc which takes many things at once, in bytes.
pub const BATCH_REQUEST_MAX: usize = 16 << 20;
/// What a set of flags may become: ten tier defaults for every flag there can be, and all that its bytes can be as lists of ids.
pub const APPLY_BOUNDS: edge::Bounds = edge::Bounds { list_max: 100_000, bytes_max: 128 << 20 };

/// The implementation of every service, over the use cases.
#[derive(Clone)]
pub struct Handler {
    registry: Registry,
    replies: Arc<Replies>,
    revision: Arc<Stamp>,
    apart: Arc<Apart>,
}

impl Handler {
    /// Handlers over the use cases. What takes long to think through is done by the runtime that this is called in.
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            replies: Arc::default(),
            revision: Arc::default(),
            apart: Arc::new(Apart::new(Handle::current())),
        }
    }
}

/// Every service over the use cases. A request may have `request_max` bytes.
pub fn routes(handler: &Handler, request_max: usize) -> Routes {
    macro_rules! limited {
        ($server:ident, $max:expr) => {
            $server::new(handler.clone())
                .max_decoding_message_size($max)
                .max_encoding_message_size(ANSWER_MAX)
        };
    }
    Routes::new(limited!(TenantRegistryServer, request_max.max(BATCH_REQUEST_MAX)))
        .add_service(limited!(TiersServer, request_max))
        .add_service(limited!(FeatureFlagsServer, request_max.max(BATCH_REQUEST_MAX)))
        .add_service(limited!(LifecycleServer, request_max))
        .add_service(limited!(TenantHealthServer, request_max))
}

//! The edge's readers, as in the service.

#[path = "../../src/grpc/edge/items.rs"]
pub mod items;
#[path = "../../src/grpc/edge/status.rs"]
pub mod status;

pub mod protocol;

//! gRPC: the edge, the handlers, the conversions.

pub mod edge;

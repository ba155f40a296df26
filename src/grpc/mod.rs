//! gRPC: the edge, the handlers, the conversions.

//! HTTP beside gRPC: probes and metrics.

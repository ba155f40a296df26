//! HTTP beside gRPC: probes and metrics.

mod pages;
mod server;

pub use self::{
    pages::{Check, Checks, Readiness},
    server::{Limits, Server, serve},
};

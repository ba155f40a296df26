//! Those files of the service that read what anybody may send, compiled by themselves.
#![allow(dead_code, unreachable_pub, unused_imports)]

pub mod domain;
pub mod edge;
pub mod grpc;
pub mod targets;

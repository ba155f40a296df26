//! The pure rules of the service, compiled by themselves.
#![allow(dead_code, unreachable_pub, unused_imports)]

pub mod domain;

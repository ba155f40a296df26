//! Real servers of target systems for `tenantry demo --real` and the tests: one file a kind.
//!
//! Each is started on free loopback ports, keeps its data in a temporary folder, and ends with the process that started
//! it.

pub mod alertmanager;
pub mod program;
pub mod redis;

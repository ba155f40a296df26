//! HTTP beside the calls: probes, metrics, a page. They are a router; the listener is the edge's.

pub mod ofrep;
mod pages;

pub use self::pages::{Check, Checks, Readiness, router};

//! HTTP beside the calls: probes, metrics, a page. They are a router; the listener is the edge's.

mod pages;

pub use self::pages::{Check, Checks, Readiness, router};

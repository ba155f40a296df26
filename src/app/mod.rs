//! The composition root: commands, wiring, shutdown.

pub mod telemetry;

//! The composition root: commands, wiring, shutdown.

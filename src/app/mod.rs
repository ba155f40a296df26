//! The composition root: commands, wiring, shutdown.

pub mod args;
pub mod config_command;
pub mod dev_postgres;

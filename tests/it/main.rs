//! The one integration binary.
// A test may block its thread and read its environment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod cascade;
mod clients;
mod command_line;
mod connect;
mod coverage;
mod database_faults;
mod database_tls;
mod demo;
mod dependencies;
mod dev;
mod dev_postgres;
mod edge;
mod errors;
mod exit_codes;
mod failover;
mod flags;
mod freshness;
mod hostile;
mod lifecycle;
mod missing_targets;
mod names;
mod openfeature;
mod participants;
mod places;
mod random_changes;
mod readme;
mod reasons;
mod registry;
mod repeats;
mod replicas;
mod straight;
mod support;
mod telemetry;
mod tidy;
mod unreadable;
mod updates;
mod watching;

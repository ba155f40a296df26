//! Tenantry, the control plane for multi-tenant platforms.
//!
//! # The map
//!
//! Floors, top to bottom; no import runs upwards (`tests/it/tidy.rs` holds the table in
//! `docs/ARCHITECTURE.md` against every `use crate::`):
//!
//! `app` · `grpc` `http` · `services` · `auth` · `cascade` · `view` `metering` `audit` · `store` · `participants` `config` · `domain`
//!
//! | module | is |
//! |---|---|
//! | [`domain`] | the rules: pure, no async, no clock, no I/O, no wire types |
//! | [`config`] | one struct per concern, parsed once |
//! | [`participants`] | one file per system that a cascade makes follow a tenant's state |
//! | [`store`] | PostgreSQL: the log, the writer, one module per aggregate |
//! | [`view`] | the in-memory read model that follows the log |
//! | [`metering`] | what is counted off the log |
//! | [`cascade`] | the engine that converges targets to the desired state |
//! | [`services`] | use cases, one folder per proto service |
//! | [`grpc`], [`http`] | decode, call, encode; the server's edge |
//! | [`cli`] | a client of the public API, nothing private |
//! | [`app`] | the composition root |
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod app;
pub mod cascade;
pub mod cli;
pub mod config;
pub mod domain;
pub mod grpc;
pub mod http;
pub mod metering;
pub mod participants;
pub mod proto;
pub mod services;
pub mod store;
pub mod view;

//! The rules: pure, no async, no clock, no I/O, no wire types.

pub mod bulk;
mod column;
pub mod error;
pub mod event;
pub mod filter;
pub mod flag;
pub mod flagd;
pub mod health;
pub mod ids;
pub mod json_fault;
pub mod lifecycle;
pub mod nearest;
pub mod operation;
pub mod overruling;
pub mod page;
pub mod rule;
pub mod selector;
pub mod shared_text;
pub mod sole;
pub mod target;
pub mod tenant;
pub mod text;
pub mod tier;
pub mod violation;

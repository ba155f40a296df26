//! The rules: pure, no async, no clock, no I/O, no wire types.

pub mod filter;
pub mod flag;
pub mod health;
pub mod ids;
pub mod lifecycle;
pub mod page;
pub mod text;
pub mod tier;
pub mod violation;

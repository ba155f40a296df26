//! What is counted off the log: too hot for a revision each.

pub mod evaluations;
mod series;

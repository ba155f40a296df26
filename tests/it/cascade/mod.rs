//! The cascade engine: every verb, at every target, with every way to misbehave; kills, pauses and takeovers.

mod circuit;
mod clocks;
mod faults;
mod processes;
mod soak;
mod verbs;

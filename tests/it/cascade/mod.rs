//! The cascade engine: every verb, at every target, with every way to misbehave; kills, pauses and takeovers.

mod faults;
mod processes;
mod verbs;

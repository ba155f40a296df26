//! The cascade engine: every verb, at every target, with every way to misbehave; kills, pauses, restarts and takeovers.

mod answers;
mod circuit;
mod clocks;
mod faults;
mod leases;
mod precedence;
mod processes;
mod restarts;
mod soak;
mod verbs;

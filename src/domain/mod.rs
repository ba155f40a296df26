//! The rules: pure, no async, no clock, no I/O, no wire types.

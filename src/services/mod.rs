//! Use cases: one folder per proto service.

//! The in-memory read model.

//! Target systems of a cascade.

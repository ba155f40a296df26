//! As in the service, so that paths within stay the same.

pub mod convert;

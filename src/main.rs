//! The program: parse arguments, call [`tenantry::app`], exit code.
fn main() {}

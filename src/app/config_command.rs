//! `tenantry config`: what a process started with these flags, variables and file would use.

use std::io::{self, Write};

use crate::config::{Config, Error, Flags, process_environment};

/// Loads the configuration and writes it to `out`. Wrong values are [`Error`]s; what `out` says is in the inner result.
pub fn run(flags: &Flags, out: &mut impl Write) -> Result<io::Result<()>, Error> {
    let loaded = Config::load(flags, process_environment)?;
    Ok(out.write_all(loaded.render().as_bytes()))
}

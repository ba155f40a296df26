//! `tenantry config`: what a process started with these flags, variables and file would use.

use std::io::{self, Write};

use crate::config::{self, Config, Error, Flags, process_environment};

/// Loads the configuration and writes it to `out`. Wrong values are [`Error`]s; what `out` says is in the inner result.
pub fn run(flags: &Flags, out: &mut impl Write) -> Result<io::Result<()>, Error> {
    let loaded = Config::load(flags, process_environment)?;
    let mut text = loaded.render();
    for name in config::unknown_variables(config::process_variables()) {
        // A name may hold a line break.
        text.push_str(&format!("\n# The environment variable {} is no setting.\n", name.escape_debug()));
    }
    Ok(out.write_all(text.as_bytes()))
}

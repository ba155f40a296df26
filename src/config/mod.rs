//! Configuration: one struct per concern, defaults and units beside each field.
//!
//! Four layers, the first that has a value wins: flags, environment (`TENANTRY_*`), the TOML file of `--config` or
//! `TENANTRY_CONFIG`, defaults. Everything is read and checked once, at the start; an empty variable counts as unset.

pub mod cascade;
pub mod database;
pub mod dev;
mod error;
pub mod evaluation;
mod file;
pub mod flags;
pub mod openfeature;
mod render;
pub mod secret;
pub mod server;
pub mod setting;
pub mod targets;
pub mod telemetry;
pub mod values;
pub mod view;

use std::collections::HashSet;
use std::path::PathBuf;

use self::values::{Source, Values};
pub use self::{
    cascade::Cascade,
    database::Database,
    dev::Dev,
    error::Error,
    flags::{Flags, Sections, Settings},
    openfeature::OpenFeature,
    secret::Secret,
    server::Server,
    targets::Target,
    telemetry::Telemetry,
    view::View,
};

/// Everything the process was told, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The listeners and the limits at the server's edge.
    pub server: Server,
    /// The connection to the registry's database.
    pub database: Database,
    /// The in-memory read model's pace.
    pub view: View,
    /// The cascade engine and the systems it drives.
    pub cascade: Cascade,
    /// How feature flags are evaluated.
    pub flags: evaluation::Evaluation,
    /// Where OpenFeature's clients are served.
    pub openfeature: OpenFeature,
    /// Logs and traces.
    pub telemetry: Telemetry,
    /// `tenantry dev`.
    pub dev: Dev,
}

/// A configuration that still knows where each value came from.
#[derive(Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    values: Values,
}

impl Loaded {
    /// The effective configuration as TOML, secrets masked, each line with its source.
    pub fn render(&self) -> String {
        render::render(&self.values)
    }
}

impl Config {
    /// Lays flags over environment over file over defaults, and checks every value. `env` looks up one variable;
    /// [`process_environment`] is the real one.
    pub fn load(flags: &Flags, env: impl Fn(&str) -> Option<String>) -> Result<Loaded, Error> {
        let mut values = Values::defaults();
        let env = |name: &str| env(name).filter(|text| !text.is_empty());
        if let Some(path) = flags.file.clone().or_else(|| env("TENANTRY_CONFIG").map(PathBuf::from)) {
            file::lay_over(&mut values, &path)?;
        }
        for setting in setting::all() {
            if let Some(text) = env(&setting.env()) {
                values.set(setting, text, Source::Environment);
            }
            if let Some(text) = flags.values.get(setting.key) {
                values.set(setting, text.clone(), Source::Flag);
            }
        }
        let config = Self {
            server: Server::read(&values)?,
            database: Database::read(&values)?,
            view: View::read(&values)?,
            cascade: Cascade::read(&values)?,
            flags: evaluation::Evaluation::read(&values)?,
            openfeature: OpenFeature::read(&values)?,
            telemetry: Telemetry::read(&values)?,
            dev: Dev::read(&values)?,
        };
        Ok(Loaded { config, values })
    }
}

/// Looks up a variable of this process; the one place that reads the environment.
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|text| text.to_string_lossy().into_owned())
}

/// The names in this process's environment; the other place that reads it.
pub fn process_variables() -> impl Iterator<Item = String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())
}

/// Of these variables, those that look like settings and are none: mistyped, or of another version. What the command line
/// reads by itself is known, and so is what Kubernetes injects for services whose names begin with `tenantry`.
pub fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let known: HashSet<String> = setting::all().map(setting::Setting::env).collect();
    let of_clients = ["TENANTRY_CONFIG", "TENANTRY_SERVER", "TENANTRY_CA_FILE"];
    let injected = |name: &str| {
        name.ends_with("_SERVICE_HOST")
            || name.contains("_SERVICE_PORT")
            || name.ends_with("_PORT")
            || name.contains("_PORT_")
    };
    let mut unknown: Vec<String> = names
        .filter(|name| name.starts_with("TENANTRY_") && !known.contains(name))
        .filter(|name| !of_clients.contains(&name.as_str()) && !injected(name))
        .collect();
    unknown.sort_unstable();
    unknown
}

#[cfg(test)]
mod tests;

//! `tenantry dev`: one process with everything in it.

use std::path::PathBuf;

use super::{
    Error,
    setting::{Kind, Setting, setting},
    values::{Source, Values},
};

/// The tier catalogue that `tenantry dev` loads into an empty registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeedCatalogue {
    /// Platinum, gold and silver.
    Gcc,
    /// Free, starter, professional and enterprise.
    Saas,
    /// No tiers.
    None,
}

/// Settings of `tenantry dev`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dev {
    /// Where the private PostgreSQL and its password live; relative to the working directory.
    pub data_dir: PathBuf,
    /// Whether somebody chose [`Dev::data_dir`]; the default may be moved elsewhere where it cannot be used.
    pub data_dir_chosen: bool,
    /// Port of the private PostgreSQL on loopback; `None` takes a free one at every start.
    pub postgres_port: Option<u16>,
    /// Loopback port of the first stub participant, the others follow; `None` takes free ones at every start.
    pub stub_port: Option<u16>,
    /// Which tiers an empty registry gets.
    pub seed_catalogue: SeedCatalogue,
}

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "dev.data_dir",
        "data-dir",
        Some(".tenantry"),
        Kind::Path,
        "Where the private PostgreSQL keeps its data between runs.",
    ),
    setting(
        "dev.postgres_port",
        "dev-postgres-port",
        Some("0"),
        Kind::Count,
        "Loopback port of the private PostgreSQL; 0 takes a free one.",
    ),
    setting(
        "dev.stub_port",
        "dev-stub-port",
        Some("50061"),
        Kind::Count,
        "Loopback port of the first stub participant, the others follow; 0 takes free ones.",
    ),
    setting(
        "dev.seed_catalogue",
        "seed-catalogue",
        Some("gcc"),
        Kind::Text,
        "Tiers an empty registry gets: gcc, saas or none.",
    ),
];

impl Dev {
    pub(super) fn read(values: &Values) -> Result<Self, Error> {
        let port: u16 = values.count("dev.postgres_port", 0..=u16::MAX)?;
        let stub_port: u16 = values.count("dev.stub_port", 0..=u16::MAX - 8)?;
        Ok(Self {
            data_dir: PathBuf::from(values.text("dev.data_dir")?),
            data_dir_chosen: values.source("dev.data_dir") != Some(&Source::Default),
            postgres_port: (port != 0).then_some(port),
            stub_port: (stub_port != 0).then_some(stub_port),
            seed_catalogue: values.choice(
                "dev.seed_catalogue",
                &[("gcc", SeedCatalogue::Gcc), ("saas", SeedCatalogue::Saas), ("none", SeedCatalogue::None)],
            )?,
        })
    }
}

//! `tenantry flag import` and `export`: flag files of other systems.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::apply::{Manner, show_then_change};
use super::{document, repeated, set, yaml};
use crate::cli::escape::harmless;
use crate::cli::output::{json_escaped, print_data, warn};
use crate::cli::{Context, Failure, Format};

/// What a file is written in.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum FileFormat {
    /// flagd's flag definitions.
    Flagd,
}

impl FileFormat {
    const fn name(self) -> &'static str {
        match self {
            Self::Flagd => "FLAG_FILE_FORMAT_FLAGD",
        }
    }
}

/// What `import` takes.
#[derive(Debug, Clone, Args)]
pub struct Import {
    /// A file in JSON, or in YAML where its name ends in .yaml or .yml; `-` for JSON from the standard input.
    file: PathBuf,
    /// What it is written in.
    #[arg(long, value_enum)]
    format: FileFormat,
    #[command(flatten)]
    manner: Manner,
}

/// What `export` takes.
#[derive(Debug, Clone, Args)]
pub struct Export {
    /// Which flag set; where not given, all of them in our own format, and else the default one.
    #[arg(long, value_name = "NAME")]
    flag_set: Option<String>,
    /// As this tenant sees it; where not given, as callers without a tenant do. Not in our own format.
    #[arg(long)]
    tenant: Option<String>,
    /// What to write.
    #[arg(long, value_enum)]
    format: ExportFormat,
    /// Also write when flags expire, which a later `apply` then sets back to that. Only in our own format.
    #[arg(long)]
    with_expiry: bool,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ExportFormat {
    /// flagd's flag definitions.
    Flagd,
    /// What `flag apply` takes, in YAML, or in JSON with `-o json`: every flag made here, and all segments.
    Tenantry,
}

pub(super) async fn import(import: Import, context: &Context<'_>) -> Result<(), Failure> {
    let text = read(&import.file)?;
    let request = json!({ "content": text, "format": import.format.name() });
    show_then_change("FeatureFlags/ImportFlags", request, &import.manner, context).await
}

pub(super) async fn export(export: Export, context: &Context<'_>) -> Result<(), Failure> {
    if export.format == ExportFormat::Tenantry {
        if export.tenant.is_some() {
            return Err(Failure::usage("--tenant needs --format flagd: what is applied is for all tenants"));
        }
        return document::export(export.flag_set.as_deref(), export.with_expiry, context).await;
    }
    if export.with_expiry {
        return Err(Failure::usage("--with-expiry needs --format tenantry: flagd's files have no expiry"));
    }
    if context.connection.output == Format::Yaml {
        return Err(Failure::usage("-o yaml needs --format tenantry: flagd's files are written in JSON"));
    }
    let request = json!({
        "flagSet": export.flag_set.unwrap_or_default(),
        "format": FileFormat::Flagd.name(),
        "tenantId": export.tenant.unwrap_or_default(),
    });
    let exported = context.client.call("FeatureFlags/ExportFlags", request).await?;
    // The file itself: it is JSON already, in which an escape says the same.
    print_data(&json_escaped(exported["content"].as_str().unwrap_or_default()))
}

/// The file as JSON text. JSON is sent as it stands, so that nothing of it is rounded.
fn read(file: &Path) -> Result<String, Failure> {
    let unusable = |why: &dyn std::fmt::Display| set::unreadable(file, why);
    let text = set::contents(file)?;
    if file.extension().is_some_and(is_yaml) {
        return read_yaml(&text).map_err(|why| unusable(&why));
    }
    warn_of_json(&text);
    Ok(text)
}

fn is_yaml(ending: &OsStr) -> bool {
    ["yaml", "yml"].iter().any(|yaml| ending.eq_ignore_ascii_case(yaml))
}

/// YAML as the JSON that flagd makes of it; what flagd refuses is refused, since its readers would go on without it.
fn read_yaml(text: &str) -> Result<String, String> {
    let read = yaml::read(text)?;
    if let Some(place) = read.repeated.first() {
        return Err(format!("the key {} is there twice, which flagd refuses", harmless(place)));
    }
    if let Some(place) = read.textless.first() {
        return Err(format!("the key {} is no text, which flagd refuses: put it in quotes", harmless(place)));
    }
    if read.is_more {
        warn("only the first of the file's documents is read, as by flagd");
    }
    Ok(read.value.to_string())
}

/// What is no JSON is refused by the server, with the place.
fn warn_of_json(text: &str) {
    if let Ok(read) = repeated::json(text) {
        warn_of(&read.repeated);
    }
}

/// flagd takes such a file, so it is no mistake to it.
fn warn_of(repeated: &[String]) {
    for place in repeated {
        warn(&format!("the key {place} is there twice; the last counts, as it does in flagd"));
    }
}

//! Targets as `tenantry config` shows them.

use std::fmt::Write as _;

use super::entry::{Endpoint, SECRET_KEYS};
use crate::config::{database::Url, secret::MASK};

/// Writes the tables, secrets masked, passwords in URLs too. Text that is no TOML is not shown at all.
pub(in crate::config) fn render(text: &str, remark: &str) -> String {
    let mut shown = String::new();
    let Ok(document) = text.parse::<toml::Table>() else {
        let _ = writeln!(shown, "\n# cascade.targets is not shown: it is no TOML ({remark})");
        return shown;
    };
    for (name, value) in &document {
        let _ = writeln!(shown, "\n[cascade.targets.{name}] # {remark}");
        for (key, value) in value.as_table().into_iter().flatten() {
            let _ = writeln!(shown, "{key} = {}", masked(key, value));
        }
    }
    shown
}

fn masked(key: &str, value: &toml::Value) -> toml::Value {
    if SECRET_KEYS.contains(&key) {
        return toml::Value::String(MASK.to_owned());
    }
    match value {
        toml::Value::String(text) if key.starts_with("url") => toml::Value::String(masked_url(text)),
        toml::Value::Array(list) => toml::Value::Array(list.iter().map(|value| masked(key, value)).collect()),
        value => value.clone(),
    }
}

fn masked_url(text: &str) -> String {
    if let Some(endpoint) = Endpoint::parse(text, &["http", "https", "redis", "rediss"]) {
        return endpoint.masked();
    }
    Url::parse(text).map_or_else(|_| MASK.to_owned(), |url| url.masked())
}

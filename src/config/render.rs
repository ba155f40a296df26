//! The effective configuration as TOML, each value with a remark on who gave it.

use std::fmt::Write as _;

use super::{
    database::Url,
    secret::{MASK, masked_url},
    setting::{self, Kind, Setting},
    targets,
    values::{Given, Source, Values},
};

/// Writes every setting, unset ones as comments, secrets masked. The result is a valid configuration file.
pub(super) fn render(values: &Values) -> String {
    let mut text = String::from(
        "# Effective configuration. Secrets are masked; each line ends with who gave its value.\n",
    );
    let mut section = "";
    let mut maps: Vec<(&Setting, &Given)> = Vec::new();
    for setting in setting::all() {
        if setting.section() != section {
            flush_maps(&mut text, &mut maps);
            section = setting.section();
            let _ = writeln!(text, "\n[{section}]");
        }
        match values.given(setting.key) {
            // A table ends the keys of its section, so it is written when the section is done.
            Some(given) if matches!(setting.kind, Kind::Map | Kind::Targets) => maps.push((setting, given)),
            Some(given) => {
                let _ = writeln!(
                    text,
                    "{} = {} # {}",
                    setting.name(),
                    literal(setting.kind, &given.text),
                    remark(setting, &given.source)
                );
            }
            None => {
                let _ = writeln!(text, "# {} is not set", setting.name());
            }
        }
    }
    flush_maps(&mut text, &mut maps);
    text
}

fn flush_maps(text: &mut String, maps: &mut Vec<(&Setting, &Given)>) {
    for (setting, given) in maps.drain(..) {
        if setting.kind == Kind::Targets {
            text.push_str(&targets::render(&given.text, &remark(setting, &given.source)));
            continue;
        }
        let _ = writeln!(text, "\n[{}] # {}", setting.key, remark(setting, &given.source));
        for pair in given.text.split(',').map(str::trim) {
            if let Some((name, value)) = pair.split_once('=') {
                let _ = writeln!(text, "{} = {}", name.trim(), quoted(&masked_url(value.trim())));
            }
        }
    }
}

fn remark(setting: &Setting, source: &Source) -> String {
    match source {
        Source::Default => "default".to_owned(),
        Source::File(path) => format!("file {}", path.display()),
        Source::Environment => format!("environment {}", setting.env()),
        Source::Flag => format!("flag --{}", setting.flag),
    }
}

fn literal(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Count | Kind::Switch => text.to_owned(),
        Kind::DatabaseUrl => quoted(&Url::parse(text).map_or_else(|_| MASK.to_owned(), |url| url.masked())),
        _ => quoted(&masked_url(text)),
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

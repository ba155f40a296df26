//! One row per setting: its key, flag, default and meaning. The flags, the environment variables, the file keys, the
//! help texts and `tenantry config` are all made from these rows.

/// How a setting's text is read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `host:port`.
    Address,
    /// A whole number.
    Count,
    /// A number of bytes: `1048576`, `64KiB`, `1MiB`.
    Bytes,
    /// A time span with its unit: `200ms`, `10s`, `5m`, `1h`.
    Duration,
    /// Free text.
    Text,
    /// `true` or `false`; the bare flag means `true`.
    Switch,
    /// A file system path.
    Path,
    /// `name=value` pairs: repeated or comma-separated on the command line, a table in the file.
    Map,
    /// Names: repeated or comma-separated on the command line, a list in the file.
    List,
    /// A PostgreSQL URL; shown without its password.
    DatabaseUrl,
    /// Tables by name, as TOML: repeated on the command line, tables in the file; shown without its secrets.
    Targets,
}

impl Kind {
    /// The placeholder in help texts.
    pub(super) const fn value_name(self) -> &'static str {
        match self {
            Self::Address => "HOST:PORT",
            Self::Count => "N",
            Self::Bytes => "BYTES",
            Self::Duration => "DURATION",
            Self::Text => "TEXT",
            Self::Switch => "BOOL",
            Self::Path => "PATH",
            Self::Map => "NAME=VALUE",
            Self::List => "NAME",
            Self::DatabaseUrl => "URL",
            Self::Targets => "TOML",
        }
    }
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The dotted file key: `section.name`.
    pub key: &'static str,
    /// The flag without its dashes. The variable is `TENANTRY_` and the flag in capitals.
    pub flag: &'static str,
    /// The value when nobody gives one; `None` leaves the setting unset.
    pub default: Option<&'static str>,
    /// How its text is read.
    pub kind: Kind,
    /// One line for help texts.
    pub help: &'static str,
}

impl Setting {
    /// The environment variable.
    pub fn env(&self) -> String {
        format!("TENANTRY_{}", self.flag.to_uppercase().replace('-', "_"))
    }

    /// The part of the key before the dot: the file's table and the heading in help texts.
    pub fn section(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(section, _)| section)
    }

    /// The part of the key after the dot.
    pub fn name(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(_, name)| name)
    }
}

/// Builds a row; short so that a concern's settings read as a table.
pub(super) const fn setting(
    key: &'static str,
    flag: &'static str,
    default: Option<&'static str>,
    kind: Kind,
    help: &'static str,
) -> Setting {
    Setting { key, flag, default, kind, help }
}

/// Every setting, section by section.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    [
        super::server::SETTINGS,
        super::database::SETTINGS,
        super::view::SETTINGS,
        super::cascade::SETTINGS,
        super::evaluation::SETTINGS,
        super::openfeature::SETTINGS,
        super::telemetry::SETTINGS,
        super::dev::SETTINGS,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_flags_and_variables_are_unique() {
        let (mut keys, mut flags) = (BTreeSet::new(), BTreeSet::new());
        for setting in all() {
            assert!(keys.insert(setting.key), "{} is there twice", setting.key);
            assert!(flags.insert(setting.flag), "--{} is there twice", setting.flag);
            assert!(setting.help.ends_with('.'), "{}: help is a sentence", setting.key);
        }
    }

    #[test]
    fn no_variable_is_one_that_kubernetes_injects_for_a_service_called_tenantry() {
        for setting in all() {
            let env = setting.env();
            assert!(!env.starts_with("TENANTRY_SERVICE_") && !env.starts_with("TENANTRY_PORT"), "{env}");
        }
    }
}

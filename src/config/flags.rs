//! The settings as command-line flags: one flag per row of [`setting`], added to any command by flattening
//! [`Settings`].

use std::{collections::BTreeMap, marker::PhantomData, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::setting::{self, Kind};

/// Which sections of the configuration a command has flags for.
pub trait Sections {
    /// Section names as in the file.
    const SECTIONS: &'static [&'static str];
}

/// What the command line gave, before any text is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--config`: the file to read.
    pub file: Option<PathBuf>,
    /// Key to the text of its flag.
    pub values: BTreeMap<&'static str, String>,
}

/// The flags of the sections `S`, for `#[command(flatten)]`.
#[derive(Debug, Clone)]
pub struct Settings<S> {
    /// What was given.
    pub flags: Flags,
    sections: PhantomData<S>,
}

const FILE: &str = "config_file";

impl<S: Sections> clap::Args for Settings<S> {
    fn augment_args(mut command: Command) -> Command {
        command = command.arg(
            Arg::new(FILE)
                .long("config")
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
                .help("TOML file with settings; flags and variables win over it. [env: TENANTRY_CONFIG]"),
        );
        for setting in setting::all().filter(|setting| S::SECTIONS.contains(&setting.section())) {
            let default = setting.default.map_or_else(String::new, |text| format!(" [default: {text}]"));
            let mut arg = Arg::new(setting.key)
                .long(setting.flag)
                .value_name(setting.kind.value_name())
                .help_heading(heading(setting.section()))
                .help(format!("{}{default} [env: {}]", setting.help, setting.env()))
                .action(ArgAction::Append);
            if setting.kind == Kind::Switch {
                arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true");
            }
            command = command.arg(arg);
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<S: Sections> clap::FromArgMatches for Settings<S> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Flags { file: matches.get_one::<PathBuf>(FILE).cloned(), ..Flags::default() };
        for setting in setting::all().filter(|setting| S::SECTIONS.contains(&setting.section())) {
            let Some(texts) = matches.get_many::<String>(setting.key) else { continue };
            let texts: Vec<&str> = texts.map(String::as_str).collect();
            let text = match (setting.kind, texts.last()) {
                (Kind::Map | Kind::List, _) => texts.join(","),
                (Kind::Targets, _) => texts.join("\n"),
                // The last one wins, so that a wrapper script's flags can be overridden behind them.
                (_, Some(last)) => (*last).to_owned(),
                (_, None) => continue,
            };
            flags.values.insert(setting.key, text);
        }
        Ok(Self { flags, sections: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn heading(section: &str) -> &'static str {
    match section {
        "server" => "Server",
        "database" => "Database",
        "view" => "View",
        "cascade" => "Cascade",
        "flags" => "Feature flags",
        "openfeature" => "OpenFeature",
        "telemetry" => "Logs and traces",
        _ => "Development",
    }
}

//! The command line as a whole: which commands there are and which settings each takes.

use std::error::Error as _;
use std::num::{ParseFloatError, ParseIntError};

use clap::error::{ContextKind, ErrorKind};
use clap::{Arg, ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::cli;
use crate::config::{Sections, Settings};

/// The control plane for multi-tenant platforms.
#[derive(Debug, Parser)]
#[command(name = "tenantry", version, propagate_version = true, max_term_width = 110, after_help = cli::EXIT_CODES)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Where the client commands go, and what they print.
    #[command(flatten)]
    pub connection: cli::Connection,
}

impl Args {
    /// Reads the command line, with the options that its command can be given, or says what is wrong with it.
    pub fn read() -> Result<(Self, Vec<String>), clap::Error> {
        let matches = Self::command().try_get_matches().map_err(in_our_words)?;
        let args = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut Self::command()))?;
        Ok((args, options(&matches)))
    }
}

/// The long options of the command that was typed.
fn options(matches: &ArgMatches) -> Vec<String> {
    let mut whole = Args::command();
    // What counts for all commands is laid out with each only then.
    whole.build();
    let (mut command, mut matches) = (&whole, matches);
    while let Some((name, inner)) = matches.subcommand() {
        let Some(found) = command.find_subcommand(name) else { break };
        (command, matches) = (found, inner);
    }
    command.get_arguments().filter_map(Arg::get_long).map(str::to_owned).collect()
}

/// What is no number is said to be none, and not which digit a parser stumbled over.
fn in_our_words(error: clap::Error) -> clap::Error {
    let why = match error.source() {
        Some(source) if source.is::<ParseIntError>() => "must be a whole number",
        Some(source) if source.is::<ParseFloatError>() => "must be a number",
        _ => return error,
    };
    let said = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let (argument, value) = (said(ContextKind::InvalidArg), said(ContextKind::InvalidValue));
    let sentence = format!("invalid value '{value}' for '{argument}': {why}\n");
    clap::Error::raw(ErrorKind::ValueValidation, sentence).with_cmd(&Args::command())
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the registry on an existing PostgreSQL database.
    Serve(Settings<ServeSections>),
    /// Run everything in one process: a private PostgreSQL, stub participants and the server.
    Dev(Settings<DevSections>),
    /// Bring the database's schema up to this version, then stop.
    Migrate(Settings<MigrateSections>),
    /// Tell the registry that its database was restored from a backup, while no replica runs.
    ///
    /// Freshness tokens of the time that is lost are void, and every target is looked at before anything is asked of it: what it was
    /// told since the backup, the registry has forgotten.
    Restored(Settings<MigrateSections>),
    /// Print the effective configuration, secrets masked, with the source of each value.
    Config(Settings<AllSections>),
    /// Play the tour against a running server and check every answer.
    Demo {
        /// Lock a tenant out of real systems, started for the occasion, and let it in again; needs no running server.
        #[arg(long)]
        real: bool,
        /// Play also with tenants and flags of the story's names that the demo did not make, and change them.
        #[arg(long, conflicts_with = "real")]
        take_over: bool,
    },
    /// A client command against a running server.
    #[command(flatten)]
    Client(cli::Command),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// `serve` takes everything but the development settings.
#[derive(Debug, Clone)]
pub struct ServeSections;

impl Sections for ServeSections {
    const SECTIONS: &'static [&'static str] =
        &["server", "database", "view", "cascade", "flags", "openfeature", "telemetry"];
}

/// `dev` brings its own database.
#[derive(Debug, Clone)]
pub struct DevSections;

impl Sections for DevSections {
    const SECTIONS: &'static [&'static str] =
        &["dev", "server", "view", "cascade", "flags", "openfeature", "telemetry"];
}

/// `migrate` and `restored` need the database only.
#[derive(Debug, Clone)]
pub struct MigrateSections;

impl Sections for MigrateSections {
    const SECTIONS: &'static [&'static str] = &["database", "telemetry"];
}

/// `config` takes everything.
#[derive(Debug, Clone)]
pub struct AllSections;

impl Sections for AllSections {
    const SECTIONS: &'static [&'static str] =
        &["server", "database", "view", "cascade", "flags", "openfeature", "telemetry", "dev"];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Args::try_parse_from(line.split(' ')).map(|args| args.command)
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn serve_takes_settings_by_flag_and_the_last_one_wins() {
        let Ok(Command::Serve(given)) =
            parse("tenantry serve --database-url postgres://db/r --insecure-no-auth --threads 1 --threads=2")
        else {
            panic!("serve")
        };
        let values = given.flags.values;
        assert_eq!(values.get("database.url").map(String::as_str), Some("postgres://db/r"));
        assert_eq!(values.get("server.insecure_no_auth").map(String::as_str), Some("true"));
        assert_eq!(values.get("server.threads").map(String::as_str), Some("2"));
        assert_eq!(values.len(), 3);
    }

    #[test]
    fn the_options_are_those_of_the_command_that_was_typed() {
        let typed = ["tenantry", "tenant", "change-tier", "acme", "--tier", "gold"];
        let options = options(&Args::command().try_get_matches_from(typed).unwrap());
        for (option, is_there) in
            [("tier", true), ("validate-only", true), ("request-id", true), ("force", false)]
        {
            assert_eq!(options.iter().any(|it| it == option), is_there, "{option}: {options:?}");
        }
    }

    #[test]
    fn what_is_no_number_is_said_in_our_words() {
        for (line, said) in [
            (
                "tenant list --page-size abc",
                "invalid value 'abc' for '--page-size <PAGE_SIZE>': must be a whole number",
            ),
            ("health report a --latency-p95-ms x", "must be a number"),
        ] {
            let error = Args::try_parse_from(format!("tenantry {line}").split(' ')).map_err(in_our_words);
            let text = error.err().unwrap().to_string();
            assert!(text.contains(said) && !text.contains("digit") && !text.contains("float"), "{text}");
        }
    }

    #[test]
    fn repeated_participants_add_up() {
        let Ok(Command::Config(given)) =
            parse("tenantry config --participants a=postgres --participants b=http://b:1")
        else {
            panic!("config")
        };
        assert_eq!(
            given.flags.values.get("cascade.participants").map(String::as_str),
            Some("a=postgres,b=http://b:1")
        );
    }

    #[test]
    fn a_command_refuses_settings_it_has_no_use_for() {
        assert!(parse("tenantry dev --database-url postgres://db/r").is_err());
        assert!(parse("tenantry serve --data-dir x").is_err());
        assert!(parse("tenantry migrate --grpc-listen 127.0.0.1:1").is_err());
    }

    #[test]
    fn a_switch_takes_its_value_only_behind_an_equals_sign() {
        assert!(parse("tenantry serve --insecure-no-auth false").is_err());
        let Ok(Command::Serve(given)) = parse("tenantry serve --insecure-no-auth=false") else {
            panic!("serve")
        };
        assert_eq!(given.flags.values.get("server.insecure_no_auth").map(String::as_str), Some("false"));
    }
}

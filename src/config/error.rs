//! What can be wrong with a configuration, in one sentence each.

use std::path::PathBuf;

/// Why a configuration was refused. Every message names the flag, variable or file key to change.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// A value does not have the form or lies outside the range its setting asks for.
    #[error("{place} must be {expected}, but is {given}.")]
    Invalid {
        /// Where the value was given, such as ``flag `--grpc-listen` ``.
        place: String,
        /// What the setting accepts.
        expected: String,
        /// The value in quotes, or a remark that keeps a secret out of the message.
        given: String,
    },
    /// A setting without a default is needed and was not given.
    #[error("{key} is not set; give the flag `--{flag}`, the variable `{env}` or the file key `{key}`.")]
    Missing {
        /// The file key.
        key: &'static str,
        /// The flag without its dashes.
        flag: &'static str,
        /// The environment variable.
        env: String,
    },
    /// The file does not exist or may not be read.
    #[error("The configuration file `{path}` cannot be read: {reason}.")]
    FileUnreadable {
        /// The file as given.
        path: PathBuf,
        /// Why, in our words.
        reason: &'static str,
    },
    /// The file is not TOML.
    #[error("The configuration file `{path}` is not valid TOML at line {line}.")]
    FileMalformed {
        /// The file as given.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The file has a key that no setting has; most often a misspelling.
    #[error("The configuration file `{path}` sets `{key}`, which is no setting{hint}.")]
    UnknownKey {
        /// The file as given.
        path: PathBuf,
        /// The dotted key.
        key: String,
        /// Empty, or the nearest known key as the end of the sentence.
        hint: String,
    },
    /// Two settings exclude each other.
    #[error("{0}")]
    Conflict(String),
}

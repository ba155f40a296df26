//! What can go wrong with a private PostgreSQL, in one or two sentences each.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::cli::class;

/// Why the private PostgreSQL did not start or stop. Every message says what to do.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// No usable installation was found.
    #[error(
        "No PostgreSQL server of version {oldest} or later is installed. Install it (Debian: `apt-get install \
         postgresql`), or use your own database with `tenantry serve --database-url`."
    )]
    NotInstalled {
        /// The oldest major version that will do.
        oldest: u32,
    },
    /// The folder that was asked for has no server binaries.
    #[error("`{bin_dir}` has no usable `postgres`, `initdb` and `pg_ctl`.")]
    NoBinaries {
        /// The folder.
        bin_dir: PathBuf,
    },
    /// The cluster belongs to a version that is not installed.
    #[error(
        "The data directory `{data_dir}` was made by PostgreSQL {found}; installed: {installed}. \
         Install PostgreSQL {found}, or give another `--data-dir`."
    )]
    WrongVersion {
        /// The data directory.
        data_dir: PathBuf,
        /// The major version that made it.
        found: u32,
        /// The versions that are installed, for people.
        installed: String,
    },
    /// Another process works in the directory.
    #[error(
        "Another tenantry already uses the data directory `{data_dir}`. Stop it, or give another `--data-dir`."
    )]
    InUse {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// The chosen port is taken.
    #[error("Port {port} on 127.0.0.1 is in use. Give another `--dev-postgres-port`, or 0 for a free one.")]
    PortBusy {
        /// The port.
        port: u16,
    },
    /// This machine gives out no loopback port.
    #[error("No port can be opened on 127.0.0.1. Check that the loopback interface is up.")]
    NoLoopback,
    /// PostgreSQL cannot run as root, and the account it runs as instead cannot get into the directory.
    #[error(
        "PostgreSQL does not run as root, and the account {account}, which would run it, may not enter `{barrier}`. \
         Give a `--data-dir` outside it than `{data_dir}`, such as `/var/lib/tenantry`."
    )]
    Unreachable {
        /// The data directory.
        data_dir: PathBuf,
        /// The folder above it that is closed.
        barrier: PathBuf,
        /// The account's name or number.
        account: String,
    },
    /// The directory is somebody else's.
    #[error(
        "The data directory `{data_dir}` holds other files and nothing of tenantry's. Give an empty or a new \
         `--data-dir`."
    )]
    Foreign {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// There is a cluster but no password for it.
    #[error(
        "The password file `{path}` is missing or empty. Put it back, or remove the data directory to begin anew."
    )]
    PasswordMissing {
        /// Where the password should be.
        path: PathBuf,
    },
    /// The folder holds something that is no cluster.
    #[error("`{path}` is not a PostgreSQL cluster. Move it away, or give another `--data-dir`.")]
    NotACluster {
        /// The folder.
        path: PathBuf,
    },
    /// One of PostgreSQL's programs said no.
    #[error("PostgreSQL's `{program}` failed. What it said is in `{log}`.")]
    ProgramFailed {
        /// The program.
        program: &'static str,
        /// Its output.
        log: PathBuf,
    },
    /// The server ended before it took connections, or took none in time.
    #[error("The private PostgreSQL did not start. What it said is in `{log}`.")]
    NotStarted {
        /// Its output.
        log: PathBuf,
    },
    /// The server is still there though it was told to stop.
    #[error("The private PostgreSQL in `{data_dir}` does not stop. What it said is in `postgres.log` there.")]
    NotStopped {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// A program of the system is missing.
    #[error("The program `{program}` cannot be run. It comes with the package {package}.")]
    ProgramMissing {
        /// The program.
        program: String,
        /// Where Debian has it.
        package: &'static str,
    },
    /// The file system said no.
    #[error("Cannot {act} `{path}`: {reason}.")]
    Io {
        /// What was tried, as a verb.
        act: &'static str,
        /// With what.
        path: PathBuf,
        /// Why, in our words.
        reason: &'static str,
        /// The exit code of that.
        exit_code: u8,
    },
}

impl Error {
    /// The exit code of its class.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::NoBinaries { .. } => class::ARGUMENTS,
            Self::NotInstalled { .. } | Self::ProgramMissing { .. } => class::NOT_FOUND,
            Self::Unreachable { .. } => class::NOT_ALLOWED,
            Self::WrongVersion { .. }
            | Self::InUse { .. }
            | Self::PortBusy { .. }
            | Self::Foreign { .. }
            | Self::PasswordMissing { .. }
            | Self::NotACluster { .. } => class::CONFLICT,
            Self::NoLoopback
            | Self::ProgramFailed { .. }
            | Self::NotStarted { .. }
            | Self::NotStopped { .. } => class::INTERNAL,
            Self::Io { exit_code, .. } => *exit_code,
        }
    }

    /// For `map_err` behind a file system call.
    pub(super) fn io(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let (reason, exit_code) = reason(source.kind());
            Self::Io { act, path: path.to_owned(), reason, exit_code }
        }
    }
}

fn reason(kind: io::ErrorKind) -> (&'static str, u8) {
    match kind {
        io::ErrorKind::NotFound => ("it does not exist", class::INTERNAL),
        io::ErrorKind::PermissionDenied => ("permission denied", class::NOT_ALLOWED),
        io::ErrorKind::ReadOnlyFilesystem => ("the file system is read-only", class::NOT_ALLOWED),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ("the disk is full", class::INTERNAL),
        io::ErrorKind::NotADirectory => ("a part of the path is a file", class::ARGUMENTS),
        io::ErrorKind::AlreadyExists => ("something else is there", class::ARGUMENTS),
        io::ErrorKind::InvalidData => ("its content is damaged", class::INTERNAL),
        _ => ("the system refused", class::INTERNAL),
    }
}

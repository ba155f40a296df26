//! How a command ends: a sentence on standard error and an exit code by class.

use std::io::{self, Write as _};
use std::process::ExitCode;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::output::lines;

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// Something that is nobody's fault here.
    pub fn internal(error: &dyn std::fmt::Display) -> Self {
        Self { code: 1, message: error.to_string() }
    }

    /// The arguments do not fit together.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }

    /// The server was not reached.
    pub fn unreached(message: impl Into<String>) -> Self {
        Self { code: 6, message: message.into() }
    }

    /// An operation ended otherwise than asked for.
    pub fn unsuccessful(message: impl Into<String>) -> Self {
        Self { code: 7, message: message.into() }
    }

    /// Whether the server refused for this reason.
    pub fn is_of(&self, reason: &str) -> bool {
        self.message.ends_with(&format!(" [{reason}]"))
    }

    /// The exit code.
    pub const fn code(&self) -> u8 {
        self.code
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let code = match status.code() {
            Code::InvalidArgument | Code::OutOfRange => 2,
            Code::NotFound => 3,
            Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => 4,
            Code::Unauthenticated | Code::PermissionDenied => 5,
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::ResourceExhausted => 6,
            _ => 1,
        };
        let mut message = status.message().to_owned();
        if let Some(info) = status.get_details_error_info() {
            message.push_str(&format!(" [{}]", info.reason));
        }
        Self { code, message }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::internal(&error)
    }
}

/// Says why, and answers the exit code.
pub(super) fn finish(ran: Result<(), Failure>) -> ExitCode {
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nothing can be done about a standard error that is gone.
            let _ = writeln!(anstream::stderr(), "tenantry: {}", lines(&failure.message));
            ExitCode::from(failure.code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_of_failure_has_its_exit_code() {
        for (code, exit) in [
            (Code::InvalidArgument, 2),
            (Code::NotFound, 3),
            (Code::AlreadyExists, 4),
            (Code::FailedPrecondition, 4),
            (Code::PermissionDenied, 5),
            (Code::Unavailable, 6),
            (Code::Internal, 1),
        ] {
            assert_eq!(Failure::from(Status::new(code, "a sentence")).code(), exit, "{code:?}");
        }
    }
}

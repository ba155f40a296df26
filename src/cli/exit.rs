//! How a command ends: a sentence on standard error and an exit code by class.

use std::io::{self, Write as _};
use std::process::ExitCode;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::output::{is_reader_gone, lines};

/// The classes of failures, as exit codes.
pub mod class {
    /// Something that is nobody's fault here.
    pub const INTERNAL: u8 = 1;
    /// The arguments or settings are wrong.
    pub const ARGUMENTS: u8 = 2;
    /// It is not there.
    pub const NOT_FOUND: u8 = 3;
    /// It is in the way of something else, or in a state in which that cannot be done.
    pub const CONFLICT: u8 = 4;
    /// Somebody may not do that.
    pub const NOT_ALLOWED: u8 = 5;
    /// What is needed was not reached, or did not get done, in time.
    pub const NOT_IN_TIME: u8 = 6;
    /// An operation ended otherwise than asked for.
    pub const UNSUCCESSFUL: u8 = 7;
    /// There are differences, where that was asked for as an exit code.
    pub const DIFFERENT: u8 = 8;
}

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// Something that is nobody's fault here.
    pub fn internal(error: &dyn std::fmt::Display) -> Self {
        Self { code: class::INTERNAL, message: error.to_string() }
    }

    /// The arguments do not fit together.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: class::ARGUMENTS, message: message.into() }
    }

    /// Something is in the way.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self { code: class::CONFLICT, message: message.into() }
    }

    /// The server was not reached, or it is not done in time.
    pub fn unreached(message: impl Into<String>) -> Self {
        Self { code: class::NOT_IN_TIME, message: message.into() }
    }

    /// An operation ended otherwise than asked for.
    pub fn unsuccessful(message: impl Into<String>) -> Self {
        Self { code: class::UNSUCCESSFUL, message: message.into() }
    }

    /// There are differences, and the exit code is to tell.
    pub fn different() -> Self {
        let message = "what is there differs from what is given (--exit-code)".to_owned();
        Self { code: class::DIFFERENT, message }
    }

    /// The same; where it only was not seen to its end, with what becomes of it.
    #[must_use]
    pub fn unless_seen(mut self, becomes: &str) -> Self {
        if self.code == class::NOT_IN_TIME {
            self.message.push_str(&format!("; {becomes}"));
        }
        self
    }

    /// The same in other words.
    #[must_use]
    pub fn reworded(self, message: String) -> Self {
        Self { message, ..self }
    }

    /// The exit code; 0 where nothing failed but that nobody reads the standard output any more.
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
        if let Some(lost) = lost(&status) {
            return Self::unreached(lost);
        }
        let code = match status.code() {
            Code::InvalidArgument | Code::OutOfRange => class::ARGUMENTS,
            Code::NotFound => class::NOT_FOUND,
            Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => class::CONFLICT,
            Code::Unauthenticated | Code::PermissionDenied => class::NOT_ALLOWED,
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::ResourceExhausted => {
                class::NOT_IN_TIME
            }
            _ => class::INTERNAL,
        };
        let mut message = status.message().to_owned();
        if let Some(info) = status.get_details_error_info() {
            message.push_str(&format!(" [{}]", info.reason));
        }
        Self { code, message }
    }
}

/// What happened where the status is none of a server's: the client's library made it up.
fn lost(status: &Status) -> Option<String> {
    let mut cause = std::error::Error::source(status);
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    if let Some(cause) = cause {
        return Some(format!("the connection to the server was lost ({cause})"));
    }
    let is_no_grpc = status.message().starts_with("grpc-status header missing");
    is_no_grpc.then(|| "what answers there does not speak gRPC: is it a Tenantry server?".to_owned())
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if is_reader_gone(&error) {
            return Self { code: 0, message: String::new() };
        }
        Self::internal(&error)
    }
}

/// Says why, and answers the exit code.
pub(super) fn finish(ran: Result<(), Failure>) -> ExitCode {
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads on, so there was nothing left to do.
        Err(failure) if failure.code == 0 => ExitCode::SUCCESS,
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

    #[test]
    fn a_status_that_no_server_gave_is_a_lost_connection() {
        let broken = io::Error::new(io::ErrorKind::ConnectionReset, "connection reset");
        let failure = Failure::from(Status::from_error(Box::new(broken)));
        assert_eq!(failure.code(), 6, "{failure:?}");
        assert!(failure.message().contains("(connection reset)"), "{failure:?}");
    }
}

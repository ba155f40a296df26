//! Why the database did not do what it was asked.

use crate::domain;

/// What the driver says of a connection on which nothing can be written.
const NO_WRITES: &str = "database does not allow writes";

/// A failure of the store, for the log; callers see [`domain::error::Error`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was sent a change and has not answered in time; the change may or may not have been made.
    #[error("the database has not answered: {0}")]
    Unanswered(String),
    /// No connection, or none in time.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// It is reached, and takes no writes: a standby, or a primary that was told so. Nothing was changed.
    #[error("the database takes no writes: {0}")]
    ReadOnly(String),
    /// The database refused a statement.
    #[error("the database refused a statement: {}", said(.0))]
    Refused(#[source] tokio_postgres::Error),
    /// The database does not let this role do that.
    #[error("the database refuses its role: {0}")]
    Forbidden(String),
    /// The database is another program's.
    #[error("it holds tables of another program ({}); give Tenantry a database of its own", said(.0))]
    Foreign(#[source] tokio_postgres::Error),
    /// The database keeps text in another encoding than UTF-8.
    #[error(
        "its encoding is {0}, which cannot hold every name: make one with ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding(String),
    /// A row cannot be read: made by another version, or by hand.
    #[error("a row of {table} cannot be read: {why}")]
    Row {
        /// Where.
        table: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        use tokio_postgres::error::SqlState;
        let Some(state) = error.code() else {
            let said = said(&error);
            return if said == NO_WRITES { Self::ReadOnly(said) } else { Self::Unreachable(said) };
        };
        if *state == SqlState::READ_ONLY_SQL_TRANSACTION {
            return Self::ReadOnly(said(&error));
        }
        if *state == SqlState::INSUFFICIENT_PRIVILEGE {
            return Self::Forbidden(said(&error));
        }
        let gone = [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::QUERY_CANCELED,
            SqlState::TOO_MANY_CONNECTIONS,
            SqlState::DISK_FULL,
            SqlState::OUT_OF_MEMORY,
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
        ];
        // Connections, logins, and databases that are not there.
        let class = ["08", "28", "3D"].iter().any(|class| state.code().starts_with(class));
        if class || gone.contains(state) { Self::Unreachable(said(&error)) } else { Self::Refused(error) }
    }
}

impl From<deadpool_postgres::PoolError> for Error {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        match error {
            deadpool_postgres::PoolError::Backend(error) => error.into(),
            other => Self::Unreachable(other.to_string()),
        }
    }
}

impl From<Error> for domain::error::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Unreachable(_) => Self::unavailable(error),
            Error::Unanswered(_) => Self::unanswered(error),
            Error::ReadOnly(_) => Self::read_only(error),
            Error::Forbidden(_)
            | Error::Refused(_)
            | Error::Foreign(_)
            | Error::Encoding(_)
            | Error::Row { .. } => Self::bug(error),
        }
    }
}

/// What the database said, or else the innermost cause, without the words of the libraries around it.
fn said(error: &tokio_postgres::Error) -> String {
    if let Some(answer) = error.as_db_error() {
        let detail = answer.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
        return format!("{}{detail}", answer.message());
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    without_number(innermost)
}

/// What the system said, without its number.
pub fn without_number(error: &(impl std::error::Error + ?Sized)) -> String {
    error.to_string().split(" (os error").next().unwrap_or_default().to_owned()
}

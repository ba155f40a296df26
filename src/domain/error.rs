//! The one error type of the rules and use cases: a closed set of reasons, each with one code.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::filter;
use super::ids::InvalidId;
use super::lifecycle::IllegalTransition;
use super::violation::Violation;

/// What kind of failure it is. `grpc::status` is the only place that knows the matching gRPC codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The request can never succeed as it is.
    InvalidArgument,
    /// Something named does not exist.
    NotFound,
    /// Something to be made exists.
    AlreadyExists,
    /// The system is not in the state the request needs.
    FailedPrecondition,
    /// Lost against a concurrent change: read again, then try again.
    Aborted,
    /// Outside what is kept.
    OutOfRange,
    /// Too much was asked for.
    ResourceExhausted,
    /// What is stored cannot be read.
    DataLoss,
    /// Try again later.
    Unavailable,
    /// A bug of ours.
    Internal,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident $name:literal $code:ident;)*) => {
        /// Why a request failed, for machines. The names are part of the contract; `docs/ERRORS.md` explains each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name on the wire, for example `TENANT_NOT_FOUND`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The kind of failure.
            pub const fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)* }
            }
        }
    };
}

reasons! {
    /// A field's value is not acceptable.
    InvalidField "INVALID_FIELD" InvalidArgument;
    /// The filter cannot be read.
    InvalidFilter "INVALID_FILTER" InvalidArgument;
    /// The order cannot be read.
    InvalidOrder "INVALID_ORDER" InvalidArgument;
    /// The page token is not one of ours, or belongs to another filter or order.
    InvalidPageToken "INVALID_PAGE_TOKEN" InvalidArgument;
    /// The revision lies ahead of the log.
    InvalidRevision "INVALID_REVISION" InvalidArgument;
    /// The flag is of another type than asked for.
    TypeMismatch "TYPE_MISMATCH" InvalidArgument;
    /// The request id was used with another body.
    RequestIdReused "REQUEST_ID_REUSED" InvalidArgument;
    /// No such tenant.
    TenantNotFound "TENANT_NOT_FOUND" NotFound;
    /// No such tier.
    TierNotFound "TIER_NOT_FOUND" NotFound;
    /// No such flag.
    FlagNotFound "FLAG_NOT_FOUND" NotFound;
    /// The flag has no such variant.
    VariantNotFound "VARIANT_NOT_FOUND" NotFound;
    /// No such segment.
    SegmentNotFound "SEGMENT_NOT_FOUND" NotFound;
    /// No such operation.
    OperationNotFound "OPERATION_NOT_FOUND" NotFound;
    /// No such target system.
    TargetNotFound "TARGET_NOT_FOUND" NotFound;
    /// No such bulk operation.
    BulkOperationNotFound "BULK_OPERATION_NOT_FOUND" NotFound;
    /// The parent does not exist.
    ParentNotFound "PARENT_NOT_FOUND" NotFound;
    /// The tenant exists.
    TenantExists "TENANT_EXISTS" AlreadyExists;
    /// Another tenant holds a resource name, or one that reaches into it.
    ResourceNameTaken "RESOURCE_NAME_TAKEN" AlreadyExists;
    /// The tier exists.
    TierExists "TIER_EXISTS" AlreadyExists;
    /// The flag exists.
    FlagExists "FLAG_EXISTS" AlreadyExists;
    /// The segment exists.
    SegmentExists "SEGMENT_EXISTS" AlreadyExists;
    /// The parent is below the tenant.
    ParentCycle "PARENT_CYCLE" FailedPrecondition;
    /// Tenants are on the tier.
    TierInUse "TIER_IN_USE" FailedPrecondition;
    /// A default or an override uses the variant.
    VariantInUse "VARIANT_IN_USE" FailedPrecondition;
    /// Flags or segments would hang on each other in a circle.
    DependencyCycle "DEPENDENCY_CYCLE" FailedPrecondition;
    /// Flags that hang on the flag would no longer get what they need.
    DependentsWouldBreak "DEPENDENTS_WOULD_BREAK" FailedPrecondition;
    /// Rules or other segments use the segment.
    SegmentInUse "SEGMENT_IN_USE" FailedPrecondition;
    /// The state machine has no such move.
    IllegalTransition "ILLEGAL_TRANSITION" FailedPrecondition;
    /// The operation has ended.
    OperationEnded "OPERATION_ENDED" FailedPrecondition;
    /// The operation cannot be taken back any more.
    PointOfNoReturn "POINT_OF_NO_RETURN" FailedPrecondition;
    /// The operation's target needs nothing of the kind.
    TargetNotWaiting "TARGET_NOT_WAITING" FailedPrecondition;
    /// The data must be kept for longer.
    RetentionNotOver "RETENTION_NOT_OVER" FailedPrecondition;
    /// Tenants below it are in the way.
    ChildrenInTheWay "CHILDREN_IN_THE_WAY" FailedPrecondition;
    /// The filter matches more tenants than one bulk operation takes.
    TooManyTenants "TOO_MANY_TENANTS" FailedPrecondition;
    /// The tier is changed by `ChangeTier`.
    UseChangeTier "USE_CHANGE_TIER" FailedPrecondition;
    /// The region is changed by a migration.
    UseStartMigration "USE_START_MIGRATION" FailedPrecondition;
    /// The tenant can no longer be undeleted.
    PurgeTimePassed "PURGE_TIME_PASSED" FailedPrecondition;
    /// The freshness token is of another database.
    EpochMismatch "EPOCH_MISMATCH" FailedPrecondition;
    /// The resource changed since it was read.
    EtagMismatch "ETAG_MISMATCH" Aborted;
    /// Concurrent changes won 24 times in a row.
    ConcurrentChange "CONCURRENT_CHANGE" Aborted;
    /// Another operation of the tenant is open.
    OperationInProgress "OPERATION_IN_PROGRESS" Aborted;
    /// The log no longer reaches back that far.
    RevisionCompacted "REVISION_COMPACTED" OutOfRange;
    /// There is no room for more flags, or for more in a group.
    TooManyFlags "TOO_MANY_FLAGS" ResourceExhausted;
    /// The stream's reader is too slow.
    SlowReader "SLOW_READER" ResourceExhausted;
    /// A flag's rule cannot be evaluated.
    ParseError "PARSE_ERROR" DataLoss;
    /// A row of the database cannot be read.
    RowUnreadable "ROW_UNREADABLE" DataLoss;
    /// A flag's rule names a variant that the flag does not have.
    General "GENERAL" Internal;
    /// The database cannot be reached in time.
    DatabaseUnavailable "DATABASE_UNAVAILABLE" Unavailable;
    /// This replica's view is not there yet.
    ViewNotReady "VIEW_NOT_READY" Unavailable;
    /// The server is going down.
    ShuttingDown "SHUTTING_DOWN" Unavailable;
    /// A bug of ours.
    Bug "INTERNAL" Internal;
}

/// A failed request: a reason and metadata for machines, a sentence for people, the cause for the log.
#[derive(Debug)]
pub struct Error {
    /// Why.
    pub reason: Reason,
    /// One sentence for the caller, in our words.
    pub message: String,
    /// For machines: for example `tenant_id`, `allowed`.
    pub metadata: BTreeMap<&'static str, String>,
    /// The fields at fault; never empty for an invalid argument.
    pub violations: Vec<Violation>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// For the log, never for the caller.
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error with nothing but a reason and a sentence.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            metadata: BTreeMap::new(),
            violations: Vec::new(),
            retry_after: None,
            cause: None,
        }
    }

    /// One field at fault.
    pub fn field(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::invalid(Reason::InvalidField, vec![Violation::new(field, why)])
    }

    /// Fields at fault, and why in the sense of `reason`.
    pub fn invalid(reason: Reason, violations: Vec<Violation>) -> Self {
        let mut message = String::new();
        for violation in violations.iter().take(3) {
            if !message.is_empty() {
                message.push_str("; ");
            }
            message.push_str(&violation.field);
            message.push_str(": ");
            message.push_str(&violation.why);
        }
        if violations.len() > 3 {
            message.push_str("; and ");
            message.push_str(&(violations.len() - 3).to_string());
            message.push_str(" more");
        }
        Self { violations, ..Self::new(reason, message) }
    }

    /// The same error about an inner field, for example `tenant.` before `tier`.
    #[must_use]
    pub fn within(mut self, prefix: &str) -> Self {
        if self.violations.is_empty() {
            return self;
        }
        for violation in &mut self.violations {
            violation.field = format!("{prefix}{}", violation.field);
        }
        let reason = self.reason;
        Self { metadata: self.metadata, ..Self::invalid(reason, self.violations) }
    }

    /// The same error, with metadata.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.metadata.insert(key, value.to_string());
        self
    }

    /// The same error, with its cause for the log.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The same error, with a time after which to try again.
    #[must_use]
    pub const fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// The named resource does not exist.
    pub fn missing(reason: Reason, what: &str, key: &'static str, id: impl fmt::Display) -> Self {
        let id = id.to_string();
        Self::new(reason, format!("there is no {what} {}", super::text::quote(&id))).with(key, id)
    }

    /// The named resource exists.
    pub fn exists(reason: Reason, what: &str, key: &'static str, id: impl fmt::Display) -> Self {
        let id = id.to_string();
        Self::new(reason, format!("there is a {what} {} already", super::text::quote(&id))).with(key, id)
    }

    /// The database did not answer in time, or not at all.
    pub fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(Reason::DatabaseUnavailable, "the registry's database cannot be reached right now")
            .retry_after(Duration::from_secs(1))
            .caused_by(cause)
    }

    /// The database was sent a change and has not answered.
    pub fn unanswered(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let message = "the registry's database has not answered in time: the change may or may not have been made; the \
                       same request with the same request id finds out";
        Self::new(Reason::DatabaseUnavailable, message).retry_after(Duration::from_secs(1)).caused_by(cause)
    }

    /// The database is reached, and takes no writes.
    pub fn read_only(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let message =
            "the registry's database is read-only right now: nothing can be changed, and nothing was";
        Self::new(Reason::DatabaseUnavailable, message).retry_after(Duration::from_secs(1)).caused_by(cause)
    }

    /// The server goes, and the stream with it.
    pub fn shutting_down() -> Self {
        let message = "this replica is shutting down; open the stream again on another connection";
        Self::new(Reason::ShuttingDown, message).retry_after(Duration::from_millis(100))
    }

    /// Something that cannot happen happened.
    pub fn bug(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(Reason::Bug, "the server made a mistake; the request id leads to it in the log")
            .caused_by(cause)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// Names the field of an invalid id.
pub trait NameField<T> {
    /// `field` is the path in the request, for example `tenant.tier`.
    fn field(self, field: &str) -> Result<T, Error>;
}

impl<T> NameField<T> for Result<T, InvalidId> {
    fn field(self, field: &str) -> Result<T, Error> {
        self.map_err(|invalid| Error::field(field, invalid.to_string()))
    }
}

impl From<IllegalTransition> for Error {
    fn from(illegal: IllegalTransition) -> Self {
        let allowed: Vec<&str> = illegal.allowed.iter().map(|status| status.as_str()).collect();
        Self::new(Reason::IllegalTransition, illegal.to_string())
            .with("from", illegal.from)
            .with("to", illegal.verb.leads_to(illegal.from))
            .with("allowed", allowed.join(","))
    }
}

/// A filter that cannot be read, as an error about `field`.
pub fn invalid_filter(field: &str, error: &filter::Error) -> Error {
    Error::invalid(Reason::InvalidFilter, vec![Violation::new(field, error.to_string())])
}

/// An order that cannot be read.
pub fn invalid_order(error: &filter::Error) -> Error {
    Error::invalid(Reason::InvalidOrder, vec![Violation::new("order_by", error.to_string())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_within_a_message_names_the_whole_path() {
        let error = Error::field("tier", "must be set").within("requests[3].tenant.");
        assert_eq!(error.violations[0].field, "requests[3].tenant.tier");
        assert_eq!(error.message, "requests[3].tenant.tier: must be set");
    }

    #[test]
    fn reasons_are_distinct() {
        let mut names: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}

//! What it means that an object store did not do what it was asked.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::domain::text::quote;
use crate::participants::Failure;
use crate::participants::unreached::{Unreached, unreached_without_certificate};

/// Why a call brought no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The server answered, and this was its answer.
    Refused {
        /// The status of HTTP.
        status: u16,
        /// S3's word for it, such as `NoSuchKey`; empty for an answer to HEAD.
        code: String,
    },
    /// Nothing was sent that the server could have acted on, because of this.
    NotSent(Unreached),
    /// It may have been done: no answer came, or none that could be read.
    Unanswered,
}

impl<E: ProvideErrorMetadata> From<SdkError<E, HttpResponse>> for Fault {
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let code = error.code().unwrap_or_default().to_owned();
        let status = error.raw_response().map(|response| response.status().as_u16());
        match &error {
            SdkError::ServiceError(_) => Self::Refused { status: status.unwrap_or_default(), code },
            SdkError::ConstructionFailure(_) => Self::NotSent(Unreached::unmade()),
            // Only a connection that was never opened proves that nothing was sent.
            SdkError::DispatchFailure(dispatch) if dispatch.is_io() || dispatch.is_timeout() => {
                let unopened =
                    dispatch.as_connector_error().filter(|error| error.connection_metadata().is_none());
                unopened.map_or(Self::Unanswered, |error| Self::NotSent(unreached_without_certificate(error)))
            }
            _ => Self::Unanswered,
        }
    }
}

impl Fault {
    /// Whether the thing is not there: also where a bucket, a policy or a tag set is not.
    pub(super) const fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether it may still be done: nobody who does it has answered.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Self::Unanswered | Self::Refused { status: 502 | 504, .. })
    }

    /// Whether the credential has no right to it.
    pub(super) const fn is_denied(&self) -> bool {
        matches!(self, Self::Refused { status: 401 | 403, .. })
    }

    /// Whether the credential is one that the server does not know: it is refused for another reason than ours.
    pub(super) fn is_stranger(&self) -> bool {
        let strange = ["InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"];
        matches!(self, Self::Refused { code, .. } if strange.contains(&code.as_str()))
    }

    /// Whether the server knows no such call.
    pub(super) fn is_unknown_call(&self) -> bool {
        matches!(self, Self::Refused { status, code } if *status == 501 || code == "NotImplemented")
    }

    /// What becomes of what was being done, in words such as "the policy of the bucket cannot be written".
    pub(super) fn failing(&self, what: &str) -> Failure {
        match self {
            Self::NotSent(Unreached { words, cause }) => {
                Failure::retryable(format!("{what}: the object store {words}")).with_cause(cause.clone())
            }
            Self::Unanswered => Failure::unknown(format!("{what}: the object store did not answer in time")),
            // A credential of ours that is refused is replaced without anybody asking for the tenant's change again.
            Self::Refused { .. } if self.is_denied() => {
                Failure::retryable(format!("{what}: our own credential was refused"))
            }
            Self::Refused { status: 408 | 409 | 412 | 429 | 500.., code } => {
                Failure::retryable(format!("{what}: {}", word(code, "the object store is busy or failing")))
            }
            Self::Refused { code, .. } => Failure::permanent(format!("{what}: {}", word(code, "refused"))),
        }
    }
}

/// The server's own word, quoted so that it cannot pass for ours.
fn word(code: &str, otherwise: &str) -> String {
    if code.is_empty() { otherwise.to_owned() } else { format!("the object store says {}", quote(code)) }
}

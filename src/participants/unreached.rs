//! Why there is no connection, as far as somebody who mends it must know. The transports' own words are for the log.

use std::error::Error;
use std::io;
use std::sync::Arc;

use rustls::CertificateError;
use tokio_postgres::error::{DbError, SqlState};

/// Longest part of the transports' words that is logged.
const CAUSE_MAX: usize = 400;
/// How rustls, and what wraps it and keeps nothing but the text, begins to tell of an alert.
const ALERT: &str = "received fatal alert: ";
const CLOSES: &str = "it closes the connection";
/// What PostgreSQL's client says of a server on which nothing can be written.
const NO_WRITES: &str = "database does not allow writes";

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreached {
    /// The end of a sentence about a system.
    pub(super) words: String,
    /// What the transport says, where the words do not tell why.
    pub(super) cause: Option<String>,
}

impl Unreached {
    /// Of a request that could not even be made.
    pub(super) fn unmade() -> Self {
        Self { words: "cannot be reached".to_owned(), cause: None }
    }
}

/// Why there is no connection, of a system that can be shown a certificate of ours.
pub(super) fn unreached(error: &(dyn Error + 'static)) -> Unreached {
    because(error, " (`cert_file`, `key_file`)")
}

/// The same over TLS 1.3 to a server that may ask for it: by then the handshake is over for us, and some servers close without the
/// alert that would say why.
pub(super) fn unreached_by_tls(error: &(dyn Error + 'static)) -> Unreached {
    let told = unreached(error);
    if !told.words.ends_with(CLOSES) {
        return told;
    }
    let words = told.words
        + ", as one does that wants a certificate of ours, or another one (`cert_file`, `key_file`)";
    Unreached { words, ..told }
}

/// The same of a kind of target that has no such settings.
pub(super) fn unreached_without_certificate(error: &(dyn Error + 'static)) -> Unreached {
    because(error, ", and this kind of target has none")
}

fn because(error: &(dyn Error + 'static), ours: &str) -> Unreached {
    match chain(error).find_map(|error| why(error, ours)) {
        Some(why) => Unreached { words: format!("cannot be reached: {why}"), cause: None },
        None => Unreached { cause: Some(cause(error)), ..Unreached::unmade() },
    }
}

/// An error and all that it comes from.
fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| within(error).or_else(|| error.source()))
}

/// What an error carries that leaves itself out of its sources.
fn within<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    if let Some(shared) = error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
        return Some(shared.as_ref());
    }
    let carried = error.downcast_ref::<io::Error>()?.get_ref()?;
    Some(carried)
}

/// What one error of the chain tells by itself. `ours` is said of a certificate of ours.
fn why(error: &(dyn Error + 'static), ours: &str) -> Option<String> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return match error {
            rustls::Error::InvalidCertificate(wrong) => Some(format!("its certificate {}", told(wrong))),
            rustls::Error::InvalidMessage(_) => Some("it does not speak TLS at this port".to_owned()),
            _ => alert(&error.to_string(), ours),
        };
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        let text = error.to_string();
        return match error.kind() {
            io::ErrorKind::ConnectionRefused => Some("it refuses connections".to_owned()),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
                Some(CLOSES.to_owned())
            }
            // The resolver's errors have no kind of their own.
            _ if text.starts_with("failed to lookup address information") => {
                Some("its host's name cannot be resolved".to_owned())
            }
            _ if text == NO_WRITES => {
                Some("it is read-only: a hot standby, or `default_transaction_read_only` is on".to_owned())
            }
            // HTTP/2 keeps the text of an alert that comes after the handshake, and nothing else.
            _ => alert(&text, ours),
        };
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        // An alert that came before the request was sent is lost in this.
        return (error.is_canceled() || error.is_incomplete_message()).then(|| CLOSES.to_owned());
    }
    if let Some(error) = error.downcast_ref::<DbError>() {
        return refused(error.code()).map(str::to_owned);
    }
    // PostgreSQL's client tells it so and in no other way.
    let is_plain = error.downcast_ref::<tokio_postgres::Error>()?.source()?.to_string();
    (is_plain == "server does not support TLS").then(|| "it does not speak TLS at this port".to_owned())
}

/// Why a database lets nobody in.
fn refused(code: &SqlState) -> Option<&'static str> {
    match code.code() {
        code if code.starts_with("28") => Some("it does not accept our account"),
        "3D000" => Some("it has no database of this name"),
        "53300" => Some("it, the database or our account has too many connections already"),
        "57P03" => Some("it is starting or shutting down"),
        _ => None,
    }
}

/// What it means that the other side ended TLS with an alert. With TLS 1.3 a client's certificate is refused when the
/// connection is open already.
fn alert(text: &str, ours: &str) -> Option<String> {
    let name = text.strip_prefix(ALERT)?;
    Some(match name {
        "AccessDenied"
        | "BadCertificate"
        | "CertificateExpired"
        | "CertificateRequired"
        | "CertificateRevoked"
        | "CertificateUnknown"
        | "UnknownCA"
        | "UnsupportedCertificate" => {
            format!("it refuses our certificate, or asks for one{ours}")
        }
        "HandshakeFailure" => format!(
            "it ends the TLS handshake, as where it asks for a certificate of ours{ours}, or knows none of our ciphers"
        ),
        name => format!("it ends TLS with the alert {name}"),
    })
}

const fn told(wrong: &CertificateError) -> &'static str {
    match wrong {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired, by our clock",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet, by our clock"
        }
        CertificateError::UnknownIssuer => "is of no authority that we trust (`ca_file`)",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name"
        }
        CertificateError::Revoked => "was revoked",
        _ => "is refused",
    }
}

/// The words of all errors of a chain, each once.
fn cause(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = chain(error).map(ToString::to_string).collect();
    words.dedup();
    words.join(": ").chars().take(CAUSE_MAX).collect()
}

#[cfg(test)]
#[path = "unreached_tests.rs"]
mod tests;

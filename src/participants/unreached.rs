//! Why there is no connection, as far as somebody who mends it must know. The transports' own words are for the log.

use std::error::Error;
use std::io;
use std::sync::Arc;

use rustls::CertificateError;

/// The end of a sentence about a system to which there is no connection because of `error`.
pub(super) fn unreached(error: &(dyn Error + 'static)) -> String {
    let why = wrong_certificate(error).map(|what| format!(": its certificate {what}"));
    format!("cannot be reached{}", why.unwrap_or_default())
}

/// What is wrong with the certificate of the system; `None` where that is not why.
fn wrong_certificate(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(wrong)) = error.downcast_ref() {
            return Some(told(wrong));
        }
        next = within(error).or_else(|| error.source());
    }
    None
}

/// What an error carries that leaves itself out of its sources.
fn within<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    if let Some(shared) = error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
        return Some(shared.as_ref());
    }
    let carried = error.downcast_ref::<io::Error>()?.get_ref()?;
    Some(carried)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_refused_is_told_however_deep_it_is_and_nothing_else_is() {
        let expired = || rustls::Error::InvalidCertificate(CertificateError::Expired);
        let io = || io::Error::new(io::ErrorKind::InvalidData, expired());
        let shared: Arc<dyn Error + Send + Sync> = Arc::new(io());
        let words = "cannot be reached: its certificate has expired, by our clock";
        for error in [&expired() as &dyn Error, &io(), &io::Error::other(io()), &shared] {
            assert_eq!(unreached(error), words, "{error:?}");
        }
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        for error in [&reset as &dyn Error, &rustls::Error::DecryptError] {
            assert_eq!(unreached(error), "cannot be reached", "{error:?}");
        }
    }
}

use rustls::AlertDescription;

use super::*;

#[test]
fn a_certificate_that_is_refused_is_told_however_deep_it_is() {
    let expired = || rustls::Error::InvalidCertificate(CertificateError::Expired);
    let io = || io::Error::new(io::ErrorKind::InvalidData, expired());
    let shared: Arc<dyn Error + Send + Sync> = Arc::new(io());
    let words = "cannot be reached: its certificate has expired, by our clock";
    for error in [&expired() as &dyn Error, &io(), &io::Error::other(io()), &shared] {
        assert_eq!(unreached(error), Unreached { words: words.to_owned(), cause: None }, "{error:?}");
    }
}

#[test]
fn an_alert_is_told_whether_the_error_is_kept_or_its_text_alone() {
    for (description, words) in [
        (AlertDescription::CertificateRequired, "it refuses our certificate, or asks for one"),
        (AlertDescription::UnknownCA, "it refuses our certificate, or asks for one"),
        (AlertDescription::HandshakeFailure, "it ends the TLS handshake"),
        (AlertDescription::ProtocolVersion, "it ends TLS with the alert ProtocolVersion"),
    ] {
        let kept = rustls::Error::AlertReceived(description);
        let text = io::Error::new(io::ErrorKind::InvalidData, kept.to_string());
        for error in [&kept as &dyn Error, &text] {
            let told = unreached(error);
            assert!(told.words.starts_with(&format!("cannot be reached: {words}")), "{told:?}");
            assert_eq!(told.cause, None);
        }
        let told = unreached_without_certificate(&kept);
        assert!(!told.words.contains("cert_file"), "{told:?}");
    }
}

#[test]
fn what_is_not_known_is_for_the_log_in_the_transports_words() {
    let deep = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError));
    let told = unreached(&deep);
    assert_eq!(told.words, "cannot be reached");
    assert_eq!(told.cause, Some(rustls::Error::DecryptError.to_string()), "each text once");
    let long = unreached(&io::Error::other("x".repeat(2 * CAUSE_MAX)));
    assert_eq!(long.cause.unwrap().len(), CAUSE_MAX);
}

#[test]
fn over_tls_a_connection_that_is_closed_may_be_for_want_of_a_certificate_of_ours() {
    let closed = io::Error::from(io::ErrorKind::ConnectionReset);
    assert_eq!(unreached(&closed).words, "cannot be reached: it closes the connection");
    let words = unreached_by_tls(&closed).words;
    let why = "as one does that wants a certificate of ours, or another one (`cert_file`, `key_file`)";
    assert_eq!(words, format!("cannot be reached: it closes the connection, {why}"));
    let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    assert_eq!(unreached_by_tls(&refused), unreached(&refused));
}

//! Whom a database has to be before it is spoken to, as the URL's `sslmode` says.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::config;
use crate::config::database::SslMode;

/// How to encrypt; `authorities` is PEM text to trust in place of the system's certificates.
pub(super) fn client(mode: SslMode, authorities: Option<&str>) -> Result<ClientConfig, config::Error> {
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let verifier: Arc<dyn ServerCertVerifier> = match mode {
        SslMode::Disable | SslMode::Prefer => Arc::new(Lenient { taken: Taken::Anybody, algorithms }),
        SslMode::VerifyCa => {
            let copies = authorities.map(certificates).transpose()?.unwrap_or_default();
            let taken = Taken::AnyName { trusted: trusted(&provider, authorities)?, copies };
            Arc::new(Lenient { taken, algorithms })
        }
        SslMode::Require | SslMode::VerifyFull => trusted(&provider, authorities)?,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap_or_else(|_| unreachable!("the provider supports the default versions"));
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn trusted(
    provider: &Arc<CryptoProvider>,
    authorities: Option<&str>,
) -> Result<Arc<WebPkiServerVerifier>, config::Error> {
    let roots = Arc::new(roots(authorities)?);
    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build().map_err(|_| {
        let nobody =
            "there is no certificate to trust: the system has none and `database.ca_file` names none";
        config::Error::Conflict(nobody.to_owned())
    })
}

fn roots(authorities: Option<&str>) -> Result<RootCertStore, config::Error> {
    let mut roots = RootCertStore::empty();
    let Some(authorities) = authorities else {
        for certificate in rustls_native_certs::load_native_certs().certs {
            // One unreadable root among the system's must not keep the others from working.
            let _ = roots.add(certificate);
        }
        return Ok(roots);
    };
    for certificate in certificates(authorities)? {
        roots.add(certificate).map_err(|_| unusable())?;
    }
    Ok(roots)
}

fn certificates(authorities: &str) -> Result<Vec<CertificateDer<'static>>, config::Error> {
    CertificateDer::pem_slice_iter(authorities.as_bytes()).collect::<Result<_, _>>().map_err(|_| unusable())
}

fn unusable() -> config::Error {
    config::Error::Conflict("a certificate to trust cannot be read".to_owned())
}

/// Who is taken although the certificate does not prove the name.
#[derive(Debug)]
enum Taken {
    /// Whoever answers: what is sent is encrypted, and that is all that was promised.
    Anybody,
    /// Whoever has a certificate by a trusted authority, under whatever name; or one that we have a copy of, though it be
    /// no server's by its own words, as those that sign themselves often are.
    AnyName { trusted: Arc<WebPkiServerVerifier>, copies: Vec<CertificateDer<'static>> },
}

#[derive(Debug)]
struct Lenient {
    taken: Taken,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Taken::AnyName { trusted, copies } = &self.taken else {
            return Ok(ServerCertVerified::assertion());
        };
        if copies.contains(certificate) {
            return Ok(ServerCertVerified::assertion());
        }
        // The name is the last that is looked at.
        match trusted.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

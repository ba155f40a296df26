//! Whom a target trusts, and how it shows who it is.

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore, crypto};

use super::entry::{Endpoint, Entry};
use crate::config::{Error, Secret, file};

const CERTIFICATE: &str = "CERTIFICATE";
const PRIVATE_KEY: &str = "PRIVATE KEY";
const WITHOUT_TLS: &str = "left out, or the URL changed to one with TLS";

/// Certificates as PEM text, read when the program starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Authorities to trust in place of the system's.
    pub authorities: Option<String>,
    /// Our certificate, where the server asks for one, and its key.
    pub identity: Option<(String, Secret<String>)>,
}

impl Tls {
    /// Reads `ca_file`, `cert_file` and `key_file`. They make sense for an encrypted endpoint only.
    pub(super) fn read(entry: &mut Entry<'_>, endpoints: &[Endpoint]) -> Result<Self, Error> {
        let (ca, cert, key) = (entry.path("ca_file")?, entry.path("cert_file")?, entry.path("key_file")?);
        let given = [("ca_file", &ca), ("cert_file", &cert), ("key_file", &key)];
        if let Some((name, _)) = given.iter().find(|(_, path)| path.is_some())
            && !endpoints.iter().all(Endpoint::is_encrypted)
        {
            return Err(entry.wrong(name, WITHOUT_TLS, "given for a URL without TLS"));
        }
        let identity = match (cert, key) {
            (None, None) => None,
            (Some(cert), Some(key)) => {
                let cert = pem(entry, "cert_file", &cert, CERTIFICATE)?;
                let key = Secret::new(pem(entry, "key_file", &key, PRIVATE_KEY)?);
                check_pair(entry, &cert, &key)?;
                Some((cert, key))
            }
            (Some(_), None) => return Err(entry.wrong("key_file", "set beside `cert_file`", "missing")),
            (None, Some(_)) => return Err(entry.wrong("cert_file", "set beside `key_file`", "missing")),
        };
        let authorities = ca.map(|path| trusted(entry, &path)).transpose()?;
        Ok(Self { authorities, identity })
    }
}

/// Reads `ca_file` alone, for clients that show no certificate of their own.
pub(super) fn authorities(entry: &mut Entry<'_>, is_encrypted: bool) -> Result<Option<String>, Error> {
    let Some(path) = entry.path("ca_file")? else { return Ok(None) };
    if !is_encrypted {
        return Err(entry.wrong("ca_file", WITHOUT_TLS, "given for a URL without TLS"));
    }
    trusted(entry, &path).map(Some)
}

/// What clients need of `ca_file`: a certificate that they can read. Others beside it hurt nobody.
fn trusted(entry: &Entry<'_>, path: &std::path::Path) -> Result<String, Error> {
    let text = pem(entry, "ca_file", path, CERTIFICATE)?;
    let (read, _) = RootCertStore::empty()
        .add_parsable_certificates(CertificateDer::pem_slice_iter(text.as_bytes()).filter_map(Result::ok));
    if read == 0 { Err(unreadable(entry, "ca_file", CERTIFICATE)) } else { Ok(text) }
}

/// Fails unless the key is that of the certificate: no client is made with another one.
fn check_pair(entry: &Entry<'_>, cert: &str, key: &Secret<String>) -> Result<(), Error> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert.as_bytes()).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| unreadable(entry, "cert_file", CERTIFICATE))?;
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).ok();
    let key = key.and_then(|key| crypto::aws_lc_rs::sign::any_supported_type(&key).ok());
    let key = key.ok_or_else(|| unreadable(entry, "key_file", PRIVATE_KEY))?;
    match CertifiedKey::new(chain, key).keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(entry.wrong("key_file", "the key of the certificate in `cert_file`", "that of another"))
        }
        Err(_) => Err(unreadable(entry, "cert_file", CERTIFICATE)),
    }
}

fn unreadable(entry: &Entry<'_>, key: &str, label: &str) -> Error {
    entry.wrong(key, format!("a PEM file with a {}", label.to_lowercase()), "one that cannot be read")
}

fn pem(entry: &Entry<'_>, key: &str, path: &std::path::Path, label: &str) -> Result<String, Error> {
    file::pem(path, label).map_err(|why| entry.unusable(key, why))
}

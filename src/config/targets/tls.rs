//! Whom a target trusts, and how it shows who it is.

use super::entry::{Endpoint, Entry};
use crate::config::{Error, Secret, file};

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
                let cert = pem(entry, "cert_file", &cert, "CERTIFICATE")?;
                Some((cert, Secret::new(pem(entry, "key_file", &key, "PRIVATE KEY")?)))
            }
            (Some(_), None) => return Err(entry.wrong("key_file", "set beside `cert_file`", "missing")),
            (None, Some(_)) => return Err(entry.wrong("cert_file", "set beside `key_file`", "missing")),
        };
        let authorities = ca.map(|path| pem(entry, "ca_file", &path, "CERTIFICATE")).transpose()?;
        Ok(Self { authorities, identity })
    }
}

/// Reads `ca_file` alone, for clients that show no certificate of their own.
pub(super) fn authorities(entry: &mut Entry<'_>, is_encrypted: bool) -> Result<Option<String>, Error> {
    let Some(path) = entry.path("ca_file")? else { return Ok(None) };
    if !is_encrypted {
        return Err(entry.wrong("ca_file", WITHOUT_TLS, "given for a URL without TLS"));
    }
    pem(entry, "ca_file", &path, "CERTIFICATE").map(Some)
}

fn pem(entry: &Entry<'_>, key: &str, path: &std::path::Path, label: &str) -> Result<String, Error> {
    file::pem(path, label).map_err(|why| entry.unusable(key, why))
}

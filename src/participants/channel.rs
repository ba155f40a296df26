//! Connections to systems that speak gRPC.

use std::time::Duration;

use rustls::pki_types::ServerName;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::Unusable;
use crate::config::targets::{self, Tls};

/// Longest time to open a connection.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// A connection that is silent for this long is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// A connection for calls of at most `deadline`. Connects when first used, and again whenever the connection is lost.
pub(super) fn channel(
    endpoint: &targets::Endpoint,
    tls: &Tls,
    server_name: Option<&str>,
    deadline: Duration,
) -> Result<Channel, Unusable> {
    let unusable = |what: &str| Unusable(format!("its {what} cannot be used"));
    let mut connection = Endpoint::from_shared(endpoint.expose().to_owned())
        .map_err(|_| unusable("URL"))?
        .connect_timeout(CONNECT_MAX)
        .timeout(deadline)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(CONNECT_MAX)
        .tcp_nodelay(true);
    if endpoint.is_encrypted() {
        if server_name.is_some_and(|name| ServerName::try_from(name).is_err()) {
            return Err(unusable("`server_name`"));
        }
        // The files were read with the settings.
        let with_tls = connection.tls_config(client_tls(tls, server_name));
        connection =
            with_tls.map_err(|_| unusable("host's name, `ca_file`, or `cert_file` and `key_file`"))?;
    }
    Ok(connection.connect_lazy())
}

fn client_tls(settings: &Tls, server_name: Option<&str>) -> ClientTlsConfig {
    let mut tls = ClientTlsConfig::new();
    tls = match &settings.authorities {
        Some(authorities) => tls.ca_certificate(Certificate::from_pem(authorities)),
        None => tls.with_native_roots(),
    };
    if let Some((certificate, key)) = &settings.identity {
        tls = tls.identity(Identity::from_pem(certificate, key.expose()));
    }
    match server_name {
        Some(name) => tls.domain_name(name),
        None => tls,
    }
}

//! The connection to the object store.

use std::sync::Arc;
use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::future;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, ProvideCredentials, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, SharedCredentialsProvider, SharedHttpClient,
};
use aws_smithy_http_client::tls;
use tokio::sync::OnceCell;

use super::stamp::ServerClock;
use crate::config::targets::s3::S3 as Settings;

/// Longest time to open a connection.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Tries of one call, but of those that write what replicas share (`stamp.rs`): a connection that was closed while idle costs one of
/// them, and the engine has patience of its own.
const TRIES_MAX: u32 = 2;
/// Longest pause between the two.
const PAUSE: Duration = Duration::from_millis(50);

/// A client with our own credential; one call may take `deadline`. With the store's clock, as its answers show it.
pub(super) fn connect(settings: &Settings, deadline: Duration) -> (Client, ServerClock) {
    let clock = ServerClock::default();
    let http = http_client(settings);
    let region = Region::new(settings.region.clone());
    let credentials = credentials(settings, &http, &region);
    let config = unsigned(settings, http, deadline).credentials_provider(credentials);
    (Client::from_conf(config.interceptor(clock.clone()).build()), clock)
}

/// A client without a credential: anybody.
pub(super) fn anybody(settings: &Settings, deadline: Duration) -> Client {
    Client::from_conf(unsigned(settings, http_client(settings), deadline).allow_no_auth().build())
}

fn unsigned(settings: &Settings, http: SharedHttpClient, deadline: Duration) -> Builder {
    let timeouts =
        TimeoutConfig::builder().connect_timeout(CONNECT_MAX.min(deadline)).operation_timeout(deadline);
    let mut config = Builder::new();
    config.set_endpoint_url(settings.endpoint.as_ref().map(|endpoint| endpoint.expose().to_owned()));
    config
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(settings.region.clone()))
        .http_client(http)
        .force_path_style(settings.path_style)
        // Checksums in trailers are unknown to servers of the last years; those that a call needs are sent.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_config(RetryConfig::standard().with_max_attempts(TRIES_MAX).with_initial_backoff(PAUSE))
        .timeout_config(timeouts.build())
}

fn http_client(settings: &Settings) -> SharedHttpClient {
    let builder = aws_smithy_http_client::Builder::new();
    if settings.endpoint.as_ref().is_some_and(|endpoint| !endpoint.is_encrypted()) {
        return builder.build_http();
    }
    let builder = builder.tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc));
    let Some(authority) = &settings.authorities else { return builder.build_https() };
    let trusted = tls::TrustStore::empty().with_pem_certificate(authority.as_bytes());
    match tls::TlsContext::builder().with_trust_store(trusted).build() {
        Ok(context) => builder.tls_context(context).build_https(),
        Err(_) => builder.build_https(),
    }
}

fn credentials(settings: &Settings, http: &SharedHttpClient, region: &Region) -> SharedCredentialsProvider {
    match &settings.keys {
        Some(keys) => SharedCredentialsProvider::new(Credentials::new(
            &keys.access_key,
            keys.secret_key.expose(),
            None,
            None,
            "configuration",
        )),
        None => SharedCredentialsProvider::new(FromSurroundings {
            config: ProviderConfig::default()
                .with_http_client(http.clone())
                .with_region(Some(region.clone())),
            chain: Arc::default(),
        }),
    }
}

/// What AWS's own tools would use: environment, shared files, the role of the machine or the container. Looked for when
/// first needed.
#[derive(Debug, Clone)]
struct FromSurroundings {
    config: ProviderConfig,
    chain: Arc<OnceCell<DefaultCredentialsChain>>,
}

impl ProvideCredentials for FromSurroundings {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async move {
            let build = || DefaultCredentialsChain::builder().configure(self.config.clone()).build();
            self.chain.get_or_init(build).await.provide_credentials().await
        })
    }
}

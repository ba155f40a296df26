//! Why there is no connection, told of every kind of target in the same words: with real servers, since each transport
//! wraps its errors in its own way.

use tenantry::app::dev_servers::alertmanager::{self, Alertmanager};
use tenantry::app::dev_servers::redis::{Redis, Tls};
use tenantry::domain::lifecycle::Desired;
use tenantry::participants::{Failure, FailureKind};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use super::certificates::Certificates;
use super::qdrant::server::{KEY, Options, Qdrant};
use super::remote::serve;
use super::{blocking, closed, target, tenant};
use crate::support::{empty_database, sql};

const S3: &str = ", access_key = \"a\", secret_key = \"b\", deny = \"principals\", principals = [\"p{tenant_id}\"], \
                  layout = \"bucket\", records_bucket = \"records\"";
const REFUSED: &str = "it refuses our certificate, or asks for one (`cert_file`, `key_file`)";
/// What HTTP/1.1 tells where the server's alert comes before the request is sent.
const CLOSES: &str = "it closes the connection";
const NO_TLS: &str = "it does not speak TLS at this port";

/// What a target says of a server that it does not reach.
async fn said(settings: &str) -> Failure {
    let target = target(&format!("{settings}, deadline = \"20s\""));
    let failure = target.apply(&tenant("acme"), Desired::Suspended, 1).await.unwrap_err();
    assert_ne!(failure.kind, FailureKind::Permanent, "{settings}: {failure:?}");
    failure
}

async fn says(settings: &str, why: &str) {
    says_one_of(settings, &[why]).await;
}

async fn says_one_of(settings: &str, reasons: &[&str]) {
    let failure = said(settings).await;
    let told = failure.message.rsplit_once("cannot be reached: ");
    assert!(told.is_some_and(|(_, why)| reasons.contains(&why)), "{settings}: {failure:?}");
    assert_eq!(failure.cause, None, "{settings}");
}

/// A kind of target, the keys that it needs beside its URL, and a port of a real server.
type Server = (&'static str, String, u16);

fn settings((kind, more, port): &Server, scheme: &str, tls: &str) -> String {
    format!("kind = \"{kind}\", url = \"{scheme}://127.0.0.1:{port}\"{more}, {tls}")
}

fn vectors(server: &Qdrant) -> Server {
    ("qdrant", format!(", vector_size = 4, api_key = \"{KEY}\""), server.addresses[0].port())
}

async fn monitoring(web_config: Option<String>) -> Alertmanager {
    let options = alertmanager::Options { web_config, ..alertmanager::Options::default() };
    blocking(move || Alertmanager::start(&options).expect("Alertmanager starts")).await
}

/// A server that asks everybody for a certificate of the authority.
fn mutual(certificates: &Certificates) -> ServerTlsConfig {
    let [certificate, key, authority] =
        ["server.crt", "server.key", "authority.crt"].map(|file| certificates.pem(file));
    ServerTlsConfig::new()
        .identity(Identity::from_pem(certificate, key))
        .client_ca_root(Certificate::from_pem(authority))
}

#[tokio::test]
async fn a_server_that_wants_another_certificate_of_ours_or_one_at_all_says_so() {
    let certificates = Certificates::new().await;
    let [authority, certificate, key] =
        ["authority.crt", "server.crt", "server.key"].map(|file| certificates.path(file));
    let web = format!(
        "tls_server_config:\n  cert_file: {}\n  key_file: {}\n  client_auth_type: RequireAndVerifyClientCert\n  \
         client_ca_file: {}\n",
        certificate.display(),
        key.display(),
        authority.display(),
    );
    let redis = blocking(move || {
        let tls = Tls { authority: &authority, certificate: &certificate, key: &key };
        Redis::start_encrypted(&tls).expect("Redis starts")
    })
    .await;
    let (_documents, remote) = serve(Some(mutual(&certificates))).await;
    let alertmanager = monitoring(Some(web)).await;
    let qdrant = Qdrant::start(Options { tls: Some(mutual(&certificates)), ..Options::default() }).await;
    for (server, scheme) in [
        (("remote", String::new(), remote), "https"),
        (("alertmanager", String::new(), alertmanager.port()), "https"),
        (("redis", String::new(), redis.port()), "rediss"),
        (vectors(&qdrant), "https"),
    ] {
        for shown in [certificates.trust(), certificates.settings("impostor")] {
            let reasons: &[&str] = if server.0 == "alertmanager" { &[REFUSED, CLOSES] } else { &[REFUSED] };
            says_one_of(&settings(&server, scheme, &shown), reasons).await;
        }
    }
    // It has no such keys.
    let store = settings(&("s3", S3.to_owned(), alertmanager.port()), "https", &certificates.trust());
    let refused = "it refuses our certificate, or asks for one, and this kind of target has none";
    says_one_of(&store, &[refused, CLOSES]).await;
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_at_that_port_says_so() {
    let certificates = Certificates::new().await;
    let trust = certificates.trust();
    let (_documents, remote) = serve(None).await;
    let alertmanager = monitoring(None).await;
    let qdrant = Qdrant::start(Options::default()).await;
    for server in [
        ("remote", String::new(), remote),
        ("alertmanager", String::new(), alertmanager.port()),
        vectors(&qdrant),
        // Any server of HTTP will do.
        ("s3", S3.to_owned(), alertmanager.port()),
    ] {
        says(&settings(&server, "https", &trust), NO_TLS).await;
    }
    let database = empty_database().await;
    says(&format!("kind = \"postgres\", url = \"{database}?sslmode=require\", {trust}"), NO_TLS).await;
    // Redis waits for the end of a line.
    let redis = blocking(|| Redis::start().expect("Redis starts")).await;
    let late = said(&settings(&("redis", String::new(), redis.port()), "rediss", &trust)).await;
    let words = "the cache did not answer the TLS handshake in time: it may speak none at this port";
    assert_eq!((late.kind, late.message.as_str()), (FailureKind::Retryable, words));
}

#[tokio::test]
async fn a_server_that_wants_tls_is_told_from_one_that_is_not_there() {
    let certificates = Certificates::new().await;
    let (_documents, port) = serve(Some(mutual(&certificates))).await;
    says(&format!("kind = \"remote\", url = \"http://127.0.0.1:{port}\""), CLOSES).await;
    let web = format!(
        "tls_server_config:\n  cert_file: {}\n  key_file: {}\n",
        certificates.path("server.crt").display(),
        certificates.path("server.key").display(),
    );
    let server = monitoring(Some(web)).await;
    let plain = format!("kind = \"alertmanager\", url = \"http://127.0.0.1:{}\"", server.port());
    let failure = target(&plain).apply(&tenant("acme"), Desired::Suspended, 1).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Permanent);
    assert!(failure.message.ends_with("wants to be spoken to by https"), "{failure}");
}

#[tokio::test]
async fn a_closed_port_and_a_host_that_nobody_knows_are_told_apart() {
    let port = closed();
    // Longer than a label may be, so that no resolver is asked.
    let nowhere = "a".repeat(64);
    for (kind, scheme, more) in [
        ("remote", "http", ""),
        ("alertmanager", "http", ""),
        ("redis", "redis", ""),
        ("qdrant", "http", ", vector_size = 4, api_key = \"k\""),
        ("s3", "http", S3),
        ("postgres", "postgres", ""),
    ] {
        let at = |host: &str| format!("kind = \"{kind}\", url = \"{scheme}://{host}:{port}\"{more}");
        says(&at("127.0.0.1"), "it refuses connections").await;
        says(&at(&nowhere), "its host's name cannot be resolved").await;
    }
}

#[tokio::test]
async fn a_database_that_lets_us_in_nowhere_is_not_called_away() {
    let database = empty_database().await;
    let (server, name) = database.rsplit_once('/').unwrap();
    let (_, place) = server.rsplit_once('@').unwrap();
    sql(&database, "CREATE ROLE crowded LOGIN PASSWORD 'pass' CONNECTION LIMIT 0").await;
    for (url, why) in [
        (format!("postgres://nobody:guess@{place}/{name}"), "it does not accept our account"),
        (
            format!("postgres://crowded:pass@{place}/{name}"),
            "it, the database or our account has too many connections already",
        ),
        (format!("{server}/{name}_gone"), "it has no database of this name"),
    ] {
        says(&format!("kind = \"postgres\", url = \"{url}\""), why).await;
    }
}

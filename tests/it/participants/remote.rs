//! Services that speak `tenantry.participant.v1`: over mutual TLS, and by the reference that others copy.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use tenantry::config::{Config, Flags};
use tenantry::domain::lifecycle::Desired;
use tenantry::participants::FailureKind;
use tenantry::participants::stub::{Fault, Stub};
use tenantry::proto::participant::participant_client::ParticipantClient;
use tenantry::proto::participant::participant_server::{Participant, ParticipantServer as WireServer};
use tenantry::proto::participant::{
    ApplyRequest, ApplyResponse, ObserveRequest, ObserveResponse, State, TenantRef,
};
use tenantry::proto::v1;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status};

use super::certificates::Certificates;
use super::{blocking, bring, closed, holds_its_generation, mute, target, tenant, told};
use crate::support::{Replica, Setup};

#[path = "../../../docs/participant/participant.rs"]
#[allow(dead_code, unreachable_pub)] // It is a program of its own, with a `main` for those who run it.
mod reference;

use self::reference::pb::participant_server::ParticipantServer;

/// Serves the reference participant; answers its port.
pub(super) async fn serve(tls: Option<ServerTlsConfig>) -> (reference::Documents, u16) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let documents = reference::Documents::default();
    let mut server = Server::builder();
    if let Some(tls) = tls {
        server = server.tls_config(tls).unwrap();
    }
    let router = server.add_service(ParticipantServer::new(documents.clone()));
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    (documents, port)
}

#[tokio::test]
async fn the_reference_participant_keeps_the_contract_and_locks_the_tenant_out() {
    let (documents, port) = serve(None).await;
    let target = target(&format!("kind = \"remote\", url = \"http://127.0.0.1:{port}\""));
    let (acme, neighbour) = (tenant("acme"), tenant("acme-2"));
    for tenant in [&acme, &neighbour] {
        assert_eq!(target.observe(tenant).await.unwrap().state, None, "never heard of");
        bring(&target, tenant, Desired::Active, 1).await;
        documents.write(&tenant.uid.to_string(), "plan").unwrap();
    }
    let uid = acme.uid.to_string();
    for (generation, state, (reads, writes)) in [
        (2, Desired::ReadOnly, (true, false)),
        (3, Desired::Suspended, (false, false)),
        (4, Desired::Archived, (false, false)),
        (5, Desired::Active, (true, true)),
    ] {
        assert_eq!(bring(&target, &acme, state, generation).await, Some(state));
        assert_eq!(documents.read(&uid).is_ok(), reads, "{state}");
        assert_eq!(documents.write(&uid, "plan").is_ok(), writes, "{state}");
        assert!(documents.write(&neighbour.uid.to_string(), "plan").is_ok(), "{state}: the neighbour");
    }
    assert!(documents.read(&uid).is_ok_and(|all| all.contains(&"plan".to_owned())), "with its data");
    holds_its_generation(&target, &acme, Desired::Active, 5).await;
    bring(&target, &acme, Desired::Deleted, 6).await;
    assert!(documents.read(&uid).is_err());
    holds_its_generation(&target, &acme, Desired::Deleted, 6).await;
    keeps_its_own_rules(port).await;
}

/// What the contract says beyond what the cascade ever asks: who copies a reference, copies this.
async fn keeps_its_own_rules(port: u16) {
    let mut client = ParticipantClient::connect(format!("http://127.0.0.1:{port}")).await.unwrap();
    let known = tenant("rules").uid.to_string();
    let known = known.as_str();
    let refused = Some(Code::FailedPrecondition);
    let (active, deleted) = (State::Active as i32, State::Deleted as i32);
    for (what, uid, desired, generation, expected) in [
        ("nobody", "", active, 1, Some(Code::InvalidArgument)),
        ("no state", known, State::Unspecified as i32, 1, Some(Code::InvalidArgument)),
        ("a state that there is not", known, 99, 1, Some(Code::InvalidArgument)),
        ("no generation", known, active, 0, Some(Code::InvalidArgument)),
        ("a first change", known, active, 1, None),
        ("the same again", known, active, 1, None),
        ("its generation with another state", known, State::Suspended as i32, 1, refused),
        ("the removal", known, deleted, 3, None),
        ("the removal again", known, deleted, 3, None),
        ("what comes late", known, active, 1, refused),
        ("its generation with another state", known, active, 3, refused),
        ("what comes after the end", known, active, 4, refused),
    ] {
        let tenant = Some(TenantRef { uid: uid.to_owned(), ..TenantRef::default() });
        let answer = client.apply(ApplyRequest { tenant, desired, generation }).await;
        assert_eq!(answer.err().map(|status| status.code()), expected, "{what}");
    }
    let limited = tenant("limited").uid.to_string();
    for (what, generation, documents, expected) in [
        ("a first change", 1, Some(2), true),
        ("other limits of the same generation", 1, Some(7), false),
        ("the same limits in a new generation", 2, Some(2), false),
        ("other limits of the same state", 3, Some(1), true),
        ("no limit any more", 4, None, true),
    ] {
        let limits = documents.map(|most| ("documents".to_owned(), most)).into_iter().collect();
        let tenant = Some(TenantRef { uid: limited.clone(), limits, ..TenantRef::default() });
        let answer = client.apply(ApplyRequest { tenant, desired: active, generation }).await.unwrap();
        assert_eq!(answer.into_inner().changed, expected, "{what}");
    }
}

#[tokio::test]
async fn the_reference_participant_keeps_the_limits_of_the_newest_generation() {
    let (documents, port) = serve(None).await;
    let mut client = ParticipantClient::connect(format!("http://127.0.0.1:{port}")).await.unwrap();
    let uid = tenant("acme").uid.to_string();
    for (generation, most, writes) in [(1, Some(1), 1), (2, Some(3), 2), (3, Some(0), 0), (4, None, 5)] {
        let limits = most.map(|most| ("documents".to_owned(), most)).into_iter().collect();
        let tenant = Some(TenantRef { uid: uid.clone(), limits, ..TenantRef::default() });
        let desired = State::Active as i32;
        client.apply(ApplyRequest { tenant, desired, generation }).await.unwrap();
        let taken = (0..5).filter(|_| documents.write(&uid, "plan").is_ok()).count();
        assert_eq!(taken, writes, "generation {generation}");
    }
    assert_eq!(documents.read(&uid).unwrap().len(), 8, "what is there stays");
}

#[tokio::test]
async fn a_state_without_the_generation_that_was_applied_is_not_done() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("documents", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let made = replica.tenant("finance").await;
    // It takes each change, and tells the state: but whose that is, it does not say.
    stub.set_fault(&made.uid, Some(Fault::Unnumbered));
    let wait = Some(prost_types::Duration { seconds: 10, nanos: 0 });
    let suspend = v1::SuspendTenantRequest { tenant_id: "finance".into(), wait, ..Default::default() };
    let stuck = replica.lifecycle.suspend_tenant(suspend).await.unwrap().into_inner();
    assert_eq!(stub.held(&made.uid).unwrap().state, Desired::Suspended);
    assert_eq!(stuck.state(), v1::OperationState::NeedsOperator, "{stuck:?}");
    assert_eq!(stuck.targets[0].last_error, "still shows generation 0, not 2");
    stub.set_fault(&made.uid, None);
    let retry = v1::RetryTargetRequest {
        operation_id: stuck.operation_id,
        target: "documents".into(),
        wait,
        ..Default::default()
    };
    let ended = replica.lifecycle.retry_target(retry).await.unwrap().into_inner();
    assert_eq!(ended.state(), v1::OperationState::Succeeded, "{ended:?}");
    replica.stop().await;
}

#[tokio::test]
async fn a_service_with_mutual_tls_knows_us_and_we_know_it() {
    let certificates = Certificates::new().await;
    let [certificate, key, authority] =
        ["server.crt", "server.key", "authority.crt"].map(|file| certificates.pem(file));
    let (_documents, port) = serve(Some(reference::mutual(certificate, key, authority))).await;
    let at = |host: &str, more: &str| {
        target(&format!("kind = \"remote\", url = \"https://{host}:{port}\", {more}"))
    };
    let known = at("127.0.0.1", &certificates.settings("client"));
    assert_eq!(bring(&known, &tenant("acme"), Desired::Suspended, 1).await, Some(Desired::Suspended));
    let named = at("127.0.0.1", &format!("server_name = \"localhost\", {}", certificates.settings("client")));
    assert_eq!(bring(&named, &tenant("acme"), Desired::Suspended, 1).await, Some(Desired::Suspended));
    for (what, stranger) in [
        ("another authority's certificate", at("127.0.0.1", &certificates.settings("impostor"))),
        ("no certificate", at("127.0.0.1", &certificates.trust())),
        (
            "another name",
            at("127.0.0.1", &format!("server_name = \"elsewhere\", {}", certificates.settings("client"))),
        ),
    ] {
        let (kind, words) = told(stranger.apply(&tenant("acme"), Desired::Suspended, 1).await);
        // A client learns of some of it when the connection is open already.
        assert_ne!(kind, FailureKind::Permanent, "{what}");
        let why = match what {
            "another name" => "its certificate is for another name",
            _ => "it refuses our certificate, or asks for one (`cert_file`, `key_file`)",
        };
        assert_eq!(words, format!("cannot be reached: {why}"), "{what}");
    }
}

#[tokio::test]
async fn each_failure_has_its_class_and_our_words() {
    let (_listener, silent) = mute();
    for (port, kind, words) in [
        (closed(), FailureKind::Retryable, "cannot be reached: it refuses connections"),
        (silent, FailureKind::Unknown, "did not answer in time"),
    ] {
        let url = format!("http://127.0.0.1:{port}");
        let target = target(&format!("kind = \"remote\", url = \"{url}\", deadline = \"300ms\""));
        let seen = told(target.apply(&tenant("acme"), Desired::Suspended, 1).await);
        assert_eq!(seen, (kind, words.to_owned()), "{url}");
    }
}

/// A service that answers every call with the same status.
struct Answering(Code, &'static str);

#[tonic::async_trait]
impl Participant for Answering {
    async fn apply(&self, _: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        Err(Status::new(self.0, self.1))
    }

    async fn observe(&self, _: Request<ObserveRequest>) -> Result<Response<ObserveResponse>, Status> {
        Err(Status::new(self.0, self.1))
    }
}

#[tokio::test]
async fn what_the_service_says_of_itself_is_told_from_one_that_is_not_there() {
    for (code, said, words) in [
        // What a Python handler that throws arrives as.
        (
            Code::Unknown,
            "Exception calling application: 'acme'\n\u{1b}[2J",
            r#"failed with Unknown: "Exception calling application: 'acme'\n\u{1b}[2J""#,
        ),
        (Code::Unavailable, "no disk", r#"failed with Unavailable: "no disk""#),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Server::builder().add_service(WireServer::new(Answering(code, said)));
        tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        let target = target(&format!("kind = \"remote\", url = \"http://127.0.0.1:{port}\""));
        let expected = (FailureKind::Unknown, words.to_owned());
        let applied = target.apply(&tenant("acme"), Desired::Suspended, 1).await;
        assert_eq!(told(applied), expected);
        assert_eq!(told(target.observe(&tenant("acme")).await.map(drop)), expected);
    }
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_of_a_call_is_no_answer_of_the_service() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = tokio::io::AsyncReadExt::read(&mut socket, &mut [0; 64]).await;
        }
    });
    let target = target(&format!("kind = \"remote\", url = \"http://127.0.0.1:{port}\""));
    let seen = told(target.apply(&tenant("acme"), Desired::Suspended, 1).await);
    assert_eq!(seen, (FailureKind::Unknown, "cannot be reached: it closes the connection".to_owned()));
}

/// The Python reference, as a program of its own.
struct PythonParticipant {
    child: std::process::Child,
    port: u16,
}

impl PythonParticipant {
    async fn start(tls: &[std::path::PathBuf]) -> Self {
        let tls = tls.to_vec();
        let python = crate::support::programs::python("clients-venv", "tests/clients/requirements.txt").await;
        blocking(move || {
            let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
            let generated = tempfile::tempdir().unwrap();
            let made = Command::new(&python)
                .args(["-m", "grpc_tools.protoc", "-I"])
                .arg(root.join("proto"))
                .arg(format!("--python_out={}", generated.path().display()))
                .arg(format!("--grpc_python_out={}", generated.path().display()))
                .arg(root.join("proto/tenantry/participant/v1/participant.proto"))
                .output()
                .unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            let mut child = Command::new("setpriv")
                .args(["--pdeathsig", "KILL", "--"])
                .arg(&python)
                .arg(root.join("docs/participant/participant.py"))
                .arg("127.0.0.1:0")
                .args(tls)
                .env("PYTHONPATH", generated.path())
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            let port = line.trim().rsplit(' ').next().and_then(|port| port.parse().ok());
            Self { child, port: port.unwrap_or_else(|| panic!("it said: {line}")) }
        })
        .await
    }
}

impl Drop for PythonParticipant {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_python_reference_keeps_the_contract_and_its_generation_for_good() {
    let python = PythonParticipant::start(&[]).await;
    let target = target(&format!("kind = \"remote\", url = \"http://127.0.0.1:{}\"", python.port));
    let acme = tenant("acme");
    for (generation, state) in
        [(1, Desired::Active), (2, Desired::ReadOnly), (3, Desired::Suspended), (4, Desired::Archived)]
    {
        assert_eq!(bring(&target, &acme, state, generation).await, Some(state));
    }
    holds_its_generation(&target, &acme, Desired::Archived, 4).await;
    assert_eq!(bring(&target, &acme, Desired::Deleted, 5).await, Some(Desired::Deleted));
    holds_its_generation(&target, &acme, Desired::Deleted, 5).await;
    keeps_its_own_rules(python.port).await;
}

#[tokio::test]
async fn the_python_reference_speaks_mutual_tls() {
    let certificates = Certificates::new().await;
    let files = ["server.crt", "server.key", "authority.crt"].map(|file| certificates.path(file));
    let python = PythonParticipant::start(&files).await;
    let at = |who: String| {
        target(&format!("kind = \"remote\", url = \"https://127.0.0.1:{}\", {who}", python.port))
    };
    let known = at(certificates.settings("client"));
    assert_eq!(bring(&known, &tenant("acme"), Desired::Suspended, 1).await, Some(Desired::Suspended));
    for stranger in [certificates.settings("impostor"), certificates.trust()] {
        let (kind, words) = told(at(stranger).apply(&tenant("acme"), Desired::Suspended, 1).await);
        // A client learns late that its certificate was not taken: on a busy machine its time is over first. This server closes
        // the connection and does not say why.
        assert_ne!(kind, FailureKind::Permanent);
        let why = "it closes the connection, as one does that wants a certificate of ours, or another one (`cert_file`, \
                   `key_file`)";
        assert!(words == format!("cannot be reached: {why}") || words == "did not answer in time", "{words}");
    }
}

#[test]
fn the_copied_manifest_names_the_versions_that_are_tested_here() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let [ours, copied] = ["Cargo.toml", "docs/participant/Cargo.toml"]
        .map(|file| std::fs::read_to_string(root.join(file)).unwrap().parse::<toml::Table>().unwrap());
    let version = |dependency: &toml::Value| match dependency {
        toml::Value::Table(table) => table["version"].clone(),
        version => version.clone(),
    };
    for kind in ["dependencies", "build-dependencies"] {
        for (name, dependency) in copied[kind].as_table().unwrap() {
            assert_eq!(version(dependency), version(&ours[kind][name]), "{name}");
        }
    }
    assert_eq!(copied["package"]["edition"], ours["package"]["edition"]);
}

#[tokio::test]
async fn a_certificate_and_a_key_of_another_are_refused_before_anything_starts() {
    let certificates = Certificates::new().await;
    let path = |file: &str| certificates.path(file).display().to_string();
    std::fs::write(path("nonsense"), "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n")
        .unwrap();
    std::fs::write(path("no.key"), "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n").unwrap();
    let load = |kind: &str, [authority, certificate, key]: [&str; 3]| {
        let mut flags = Flags::default();
        let target = format!(
            "it = {{ {kind}, ca_file = {:?}, cert_file = {:?}, key_file = {:?} }}",
            path(authority),
            path(certificate),
            path(key)
        );
        flags.values.insert("cascade.targets", target);
        flags.values.insert("database.url", "postgres://nobody@127.0.0.1:1/none".to_owned());
        Config::load(&flags, |_| None).map(|_| ()).map_err(|error| error.to_string())
    };
    for kind in [
        "kind = \"remote\", url = \"https://a\"",
        "kind = \"redis\", url = \"rediss://a\"",
        "kind = \"qdrant\", url = \"https://a\", vector_size = 4",
        "kind = \"alertmanager\", url = \"https://a\"",
    ] {
        assert_eq!(load(kind, ["authority.crt", "client.crt", "client.key"]), Ok(()), "{kind}");
        for (files, place, words) in [
            (
                ["authority.crt", "client.crt", "server.key"],
                "key_file",
                "must be the key of the certificate in `cert_file`, but is that of another.",
            ),
            (
                ["authority.crt", "nonsense", "client.key"],
                "cert_file",
                "must be a PEM file with a certificate, but is one that cannot be read.",
            ),
            (
                ["authority.crt", "client.crt", "no.key"],
                "key_file",
                "must be a PEM file with a private key, but is one that cannot be read.",
            ),
            (
                ["nonsense", "client.crt", "client.key"],
                "ca_file",
                "must be a PEM file with a certificate, but is one that cannot be read.",
            ),
        ] {
            let refusal = load(kind, files).unwrap_err();
            assert!(refusal.contains(place) && refusal.ends_with(words), "{kind} {files:?}: {refusal}");
        }
    }
}

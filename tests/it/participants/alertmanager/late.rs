//! A replica that is held up between its look at the silences and its write, while another one goes on.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use tenantry::app::dev_servers::alertmanager::{Alertmanager, Options};
use tenantry::domain::lifecycle::Desired;
use tenantry::participants::{FailureKind, Participant, TenantRef};
use tokio::sync::Notify;

use super::super::{bring, target, tenant, told, until};
use super::{get, server};

/// The wire of the replica that is slow: the answers to what it asks with one method are held until they are let through.
struct Wire {
    url: String,
    gates: Arc<[Gate; 2]>,
}

#[derive(Default)]
struct Gate {
    /// The server has done it, and its answer is on the way.
    is_there: Notify,
    pass: Notify,
}

impl Wire {
    /// Holds the first look, and what is written after it.
    async fn to(server: &Alertmanager) -> Self {
        let gates: Arc<[Gate; 2]> = Arc::default();
        let (base, held) = (server.endpoint(), Arc::clone(&gates));
        let serve = move |request: Request| {
            let (base, held) = (base.clone(), Arc::clone(&held));
            // What the server was sent is done, also where nobody waits for it any more.
            async move { tokio::spawn(pass(base, held, request)).await.unwrap() }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(serve)).await });
        Self { url, gates }
    }

    fn look(&self) -> &Gate {
        &self.gates[0]
    }

    fn write(&self) -> &Gate {
        &self.gates[1]
    }

    fn target(&self) -> Arc<dyn Participant> {
        target(&format!("kind = \"alertmanager\", url = \"{}\", deadline = \"30s\"", self.url))
    }
}

async fn pass(base: String, gates: Arc<[Gate; 2]>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let url = format!("{base}{}", parts.uri);
    let sent = reqwest::Client::new().request(parts.method.clone(), url).headers(parts.headers);
    let answer = sent.body(to_bytes(body, 1 << 20).await.unwrap()).send().await.unwrap();
    let (status, bytes) = (answer.status().as_u16(), answer.bytes().await.unwrap());
    let gate = &gates[usize::from(parts.method != Method::GET)];
    gate.is_there.notify_one();
    gate.pass.notified().await;
    // Whatever comes later passes.
    gate.pass.notify_one();
    Response::builder().status(StatusCode::from_u16(status).unwrap()).body(Body::from(bytes)).unwrap()
}

async fn left(base: &str, tenant: &TenantRef) -> Vec<serde_json::Value> {
    let label = &tenant.names.monitoring_label;
    let mut silences = get(base, &format!("silences?filter=tenant%3D%22{label}%22")).await;
    silences.retain(|silence| silence["status"]["state"] != "expired");
    silences
}

#[tokio::test]
async fn a_replica_that_wakes_up_after_the_tenant_was_let_in_leaves_no_silence() {
    let server = server(Options::default()).await;
    let (base, wire) = (server.endpoint(), Wire::to(&server).await);
    let (slow, other) = (wire.target(), target(&format!("kind = \"alertmanager\", url = \"{base}\"")));
    for is_dropped in [false, true] {
        let wire = if is_dropped { &Wire::to(&server).await } else { &wire };
        let slow = if is_dropped { wire.target() } else { Arc::clone(&slow) };
        let finance = tenant(if is_dropped { "dropped" } else { "kept" });
        let theirs = finance.clone();
        let late = tokio::spawn(async move { slow.apply(&theirs, Desired::Suspended, 111).await });
        wire.look().is_there.notified().await;
        bring(&other, &finance, Desired::Suspended, 111).await;
        bring(&other, &finance, Desired::Active, 112).await;
        assert_eq!(left(&base, &finance).await.len(), 0);
        wire.look().pass.notify_one();
        wire.write().is_there.notified().await;
        assert_eq!(left(&base, &finance).await.len(), 1, "the late write has come");
        if is_dropped {
            // As the engine does with an attempt whose replica finds that others have taken over.
            late.abort();
            wire.write().pass.notify_one();
        } else {
            wire.write().pass.notify_one();
            let said = told(late.await.unwrap());
            assert_eq!(said, (FailureKind::Permanent, "a newer change was applied already".to_owned()));
        }
        until("no silence is left", async || left(&base, &finance).await.is_empty()).await;
        assert_eq!(other.observe(&finance).await.unwrap().state, Some(Desired::Active));
    }
}

#[tokio::test]
async fn a_replica_that_wakes_up_after_a_newer_suspension_lets_nobody_in() {
    let server = server(Options::default()).await;
    let base = server.endpoint();
    let other = target(&format!("kind = \"alertmanager\", url = \"{base}\""));
    for state in [Desired::Active, Desired::ReadOnly, Desired::Archived, Desired::Deleted] {
        let wire = Wire::to(&server).await;
        let slow = wire.target();
        let finance = tenant(&format!("t-{}", state.as_str().to_lowercase().replace('_', "-")));
        bring(&other, &finance, Desired::Suspended, 110).await;
        let theirs = finance.clone();
        let late = tokio::spawn(async move { slow.apply(&theirs, state, 111).await });
        wire.look().is_there.notified().await;
        bring(&other, &finance, Desired::Suspended, 112).await;
        wire.look().pass.notify_one();
        wire.write().pass.notify_one();
        let said = told(late.await.unwrap());
        assert_eq!(said.1, "a newer change was applied already", "{state}");
        let seen = other.observe(&finance).await.unwrap();
        assert_eq!(
            (seen.state, seen.generation, seen.amiss),
            (Some(Desired::Suspended), 112, None),
            "{state}"
        );
        assert_eq!(left(&base, &finance).await.len(), 1, "{state}");
    }
}

#[tokio::test]
async fn a_silence_that_is_left_beside_a_newer_one_that_silences_nothing_is_seen() {
    let server = server(Options::default()).await;
    let base = server.endpoint();
    let target = target(&format!("kind = \"alertmanager\", url = \"{base}\""));
    let finance = tenant("finance");
    bring(&target, &finance, Desired::ReadOnly, 2).await;
    let comment = format!("Tenant x is SUSPENDED. [uid={} state=SUSPENDED generation=1]", finance.uid);
    super::silence(&base, &finance, "2020-01-01T00:00:00Z", "tenantry", &comment).await;
    assert_eq!(target.observe(&finance).await.unwrap().state, Some(Desired::Suspended));
    assert_eq!(bring(&target, &finance, Desired::ReadOnly, 2).await, Some(Desired::ReadOnly));
    assert_eq!(left(&base, &finance).await.len(), 1);
}

//! A replica that is held up between its look at the silences and its write, or a write that is held up in the network, while
//! others go on.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use tenantry::app::dev_servers::alertmanager::{Alertmanager, Options};
use tenantry::domain::lifecycle::Desired;
use tenantry::participants::{FailureKind, Participant, TenantRef};
use tenantry::proto::v1;
use tokio::sync::{Notify, watch};

use super::super::{bring, target, tenant, told, until};
use super::{get, server};
use crate::lifecycle::{activate, suspend};
use crate::support::{Replica, Setup};

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
        let url = proxy(move |request| pass(base.clone(), Arc::clone(&held), request)).await;
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
    let gate = &gates[usize::from(request.method() != Method::GET)];
    let answer = forward(&base, request).await;
    gate.is_there.notify_one();
    gate.pass.notified().await;
    // Whatever comes later passes.
    gate.pass.notify_one();
    answer
}

/// A network in which the first writes are held before they arrive.
struct Network {
    url: String,
    /// How many writes were held.
    held: watch::Receiver<usize>,
    opens: watch::Sender<bool>,
}

/// What comes of a write that is held.
#[derive(Clone, Copy)]
enum Answer {
    /// What the server says, once the write has arrived.
    Late,
    /// None: who wrote it is gone by then.
    Never,
    /// A proxy's own, at once.
    GatewayTimeout,
}

impl Network {
    /// Holds so many writes.
    async fn to(server: &Alertmanager, writes: usize, answer: Answer) -> Self {
        let (held, opens) = (watch::Sender::new(0), watch::Sender::new(false));
        let (base, is_open, count) = (server.endpoint(), opens.subscribe(), held.subscribe());
        let url = proxy(move |request: Request| {
            let (base, held, mut is_open) = (base.clone(), held.clone(), is_open.clone());
            async move {
                let is_held = request.method() != Method::GET
                    && held.send_if_modified(|count| {
                        *count += 1;
                        *count <= writes
                    });
                if !is_held {
                    return forward(&base, request).await;
                }
                let arrives = tokio::spawn(async move {
                    is_open.wait_for(|is_open| *is_open).await.unwrap();
                    forward(&base, request).await
                });
                match answer {
                    Answer::Late => arrives.await.unwrap(),
                    Answer::Never => std::future::pending().await,
                    Answer::GatewayTimeout => {
                        Response::builder().status(StatusCode::GATEWAY_TIMEOUT).body(Body::empty()).unwrap()
                    }
                }
            }
        })
        .await;
        Self { url, held: count, opens }
    }

    async fn holds(&mut self, writes: usize) {
        self.held.wait_for(|held| *held >= writes).await.unwrap();
    }

    /// The writes that were held arrive, and are made good.
    async fn lets_go(&self, base: &str, writes: usize) {
        self.opens.send_replace(true);
        until("the late writes have come", async || silences(base).await == writes).await;
        until("no silence is left", async || silences(base).await == 0).await;
    }
}

/// A replica whose only target is the Alertmanager behind an address. The verifier has made its round for an hour.
async fn replica(database_url: Option<&str>, alertmanager: &str, deadline: &str) -> Replica {
    let targets = format!("alerts = {{ kind = \"alertmanager\", url = \"{alertmanager}\" }}");
    let settings = vec![
        ("cascade.targets", targets),
        ("cascade.verify_rate", "100".to_owned()),
        ("cascade.apply_deadline", deadline.to_owned()),
    ];
    let setup = Setup { settings, ..Setup::default() };
    match database_url {
        Some(url) => Replica::on(url, &setup).await,
        None => Replica::start(&setup).await,
    }
}

fn suspend_without_waiting(tenant_id: &str) -> v1::SuspendTenantRequest {
    v1::SuspendTenantRequest { wait: None, ..suspend(tenant_id) }
}

/// A proxy before a server. What it was sent is done, also where nobody waits for the answer any more.
async fn proxy<F: Future<Output = Response> + Send + 'static>(
    serve: impl Fn(Request) -> F + Clone + Send + Sync + 'static,
) -> String {
    let spawned = move |request: Request| {
        let served = serve(request);
        async move { tokio::spawn(served).await.unwrap() }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(spawned)).await });
    url
}

async fn forward(base: &str, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let url = format!("{base}{}", parts.uri);
    let sent = reqwest::Client::new().request(parts.method, url).headers(parts.headers);
    let answer = sent.body(to_bytes(body, 1 << 20).await.unwrap()).send().await.unwrap();
    let (status, bytes) = (answer.status().as_u16(), answer.bytes().await.unwrap());
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

/// The activation of a tenant without silences leaves none, by which a write that is still on its way could know of it.
#[tokio::test]
async fn a_suspension_that_was_overtaken_before_its_write_arrived_silences_nobody() {
    let server = server(Options::default()).await;
    let (base, mut network) = (server.endpoint(), Network::to(&server, 3, Answer::Late).await);
    let mut slow = replica(None, &base, "60s").await;
    let mut made = Vec::new();
    for tenant_id in ["here", "elsewhere", "aborted"] {
        made.push(slow.tenant(tenant_id).await);
    }
    let url = slow.database_url.clone();
    slow.stop().await;
    let (mut slow, mut other) =
        (replica(Some(&url), &network.url, "60s").await, replica(Some(&url), &base, "60s").await);
    let mut suspended = Vec::new();
    for tenant in &made {
        let request = suspend_without_waiting(&tenant.tenant_id);
        suspended.push(slow.lifecycle.suspend_tenant(request).await.unwrap().into_inner());
    }
    network.holds(3).await;
    let here = slow.lifecycle.activate_tenant(activate("here")).await.unwrap().into_inner();
    let elsewhere = other.lifecycle.activate_tenant(activate("elsewhere")).await.unwrap().into_inner();
    let abort = v1::AbortOperationRequest {
        operation_id: suspended[2].operation_id.clone(),
        reason: "not this one".into(),
        ..Default::default()
    };
    other.lifecycle.abort_operation(abort).await.unwrap();
    for activated in [here, elsewhere] {
        assert_eq!(activated.state(), v1::OperationState::Succeeded, "{activated:?}");
    }
    assert_eq!(other.settled("aborted").await.status(), v1::TenantStatus::Active);
    network.lets_go(&base, 3).await;
    for tenant in made {
        assert_eq!(other.settled(&tenant.tenant_id).await.status(), v1::TenantStatus::Active);
    }
    slow.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_write_that_arrives_after_its_replica_is_gone_silences_nobody() {
    let server = server(Options::default()).await;
    let (base, mut network) = (server.endpoint(), Network::to(&server, 1, Answer::Never).await);
    let mut slow = replica(None, &base, "60s").await;
    slow.tenant("finance").await;
    let url = slow.database_url.clone();
    slow.stop().await;
    let (mut slow, mut other) =
        (replica(Some(&url), &network.url, "60s").await, replica(Some(&url), &base, "60s").await);
    slow.lifecycle.suspend_tenant(suspend_without_waiting("finance")).await.unwrap();
    network.holds(1).await;
    slow.stop().await;
    assert_eq!(other.settled("finance").await.status(), v1::TenantStatus::Suspended);
    let activated = other.lifecycle.activate_tenant(activate("finance")).await.unwrap().into_inner();
    assert_eq!(activated.state(), v1::OperationState::Succeeded, "{activated:?}");
    assert_eq!(silences(&base).await, 0);
    network.lets_go(&base, 1).await;
    assert_eq!(other.settled("finance").await.status(), v1::TenantStatus::Active);
    other.stop().await;
}

#[tokio::test]
async fn a_write_that_was_given_up_and_arrives_after_another_one_silences_nobody() {
    for (deadline, answer) in [("500ms", Answer::Late), ("10s", Answer::GatewayTimeout)] {
        arrives_after_another_one(deadline, answer).await;
    }
}

async fn arrives_after_another_one(deadline: &str, answer: Answer) {
    let server = server(Options::default()).await;
    let (base, mut network) = (server.endpoint(), Network::to(&server, 1, answer).await);
    let mut replica = replica(None, &network.url, deadline).await;
    replica.tenant("finance").await;
    let suspended = replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap().into_inner();
    assert_eq!(suspended.state(), v1::OperationState::Succeeded, "{suspended:?}");
    assert_eq!(suspended.targets[0].attempts, 2, "{suspended:?}");
    network.holds(1).await;
    let activated = replica.lifecycle.activate_tenant(activate("finance")).await.unwrap().into_inner();
    assert_eq!(activated.state(), v1::OperationState::Succeeded, "{activated:?}");
    assert_eq!(silences(&base).await, 0);
    network.lets_go(&base, 1).await;
    assert_eq!(replica.settled("finance").await.status(), v1::TenantStatus::Active);
    replica.stop().await;
}

/// How many silences silence something now.
async fn silences(base: &str) -> usize {
    let all = get(base, "silences").await;
    all.iter().filter(|silence| silence["status"]["state"] == "active").count()
}

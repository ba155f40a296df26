//! Targets that answer, and do not say what one tenant is in.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Held, Stub};
use tenantry::proto::participant::participant_server::{Participant, ParticipantServer};
use tenantry::proto::participant::{ApplyRequest, ApplyResponse, ObserveRequest, ObserveResponse};
use tenantry::proto::v1;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::suspend;
use crate::participants::until;
use crate::support::{Replica, Setup, metrics};

/// A service that fails each look at one tenant, and serves all others.
struct BlindTo {
    stub: Stub,
    uid: Arc<Mutex<String>>,
}

#[tonic::async_trait]
impl Participant for BlindTo {
    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        self.stub.apply(request).await
    }

    async fn observe(&self, request: Request<ObserveRequest>) -> Result<Response<ObserveResponse>, Status> {
        let uid = request.get_ref().tenant.as_ref().map(|tenant| tenant.uid.clone()).unwrap_or_default();
        if *self.uid.lock().unwrap() == uid {
            return Err(Status::internal("its row cannot be read"));
        }
        self.stub.observe(request).await
    }
}

/// What a counter or gauge of a replica says.
async fn value(replica: &Replica, series: &str) -> Option<u64> {
    let text = metrics(replica).await;
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.and_then(|number| number.trim().parse().ok())
}

async fn failed(replica: &Replica, target: &str) -> u64 {
    let series = format!("tenantry_looks_failed_total{{target=\"{target}\"}}");
    value(replica, &series).await.expect("it is there before the first failure")
}

async fn rounds(replica: &Replica) -> u64 {
    value(replica, "tenantry_tenants_verified_total").await.unwrap_or_default()
}

/// Waits until the verifier has looked at all tenants twice more.
async fn two_rounds(replica: &Replica) {
    let before = rounds(replica).await;
    until("the verifier was round", async || rounds(replica).await > before + 4).await;
}

/// It was in `target list` alone, as the target's last error, while the tenant was let in there.
#[tokio::test]
async fn a_look_of_the_verifier_that_fails_at_a_target_that_answers_is_counted() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (stub, blind_to) = (Stub::start(Duration::ZERO).await.unwrap(), Arc::new(Mutex::new(String::new())));
    let service = BlindTo { stub: stub.clone(), uid: Arc::clone(&blind_to) };
    let router = Server::builder().add_service(ParticipantServer::new(service));
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    let setup = |settings| Setup {
        services: vec![("rails", endpoint.clone())],
        stubs: vec![("cache", stub.clone())],
        settings,
        ..Setup::default()
    };
    let mut replica = Replica::start(&setup(vec![])).await;
    let uid = replica.tenant("finance").await.uid;
    replica.tenant("hr").await;
    replica.lifecycle.suspend_tenant(suspend("finance")).await.unwrap();
    uid.clone_into(&mut blind_to.lock().unwrap());
    let look =
        v1::VerifyTenantRequest { tenant_id: "finance".into(), validate_only: true, ..Default::default() };
    let seen = replica.lifecycle.verify_tenant(look).await.unwrap().into_inner();
    let unknown = seen.targets.iter().filter(|check| check.result() == v1::CheckResult::Unknown);
    assert_eq!(unknown.map(|check| check.target.as_str()).collect::<Vec<_>>(), ["rails"], "{seen:?}");
    assert_eq!(failed(&replica, "rails").await, 0, "whoever asked was told");
    let url = replica.database_url.clone();
    replica.stop().await;

    let verifying =
        vec![("cascade.verify_rate", "1000".to_owned()), ("cascade.verify_interval", "1s".to_owned())];
    let mut replica = Replica::on(&url, &setup(verifying)).await;
    until("it is counted", async || failed(&replica, "rails").await >= 2).await;
    assert_eq!(failed(&replica, "cache").await, 0);
    assert_eq!(value(&replica, "tenantry_target_circuit{target=\"rails\"}").await, Some(0), "it answers");

    let pause =
        v1::PauseTargetRequest { target: "rails".into(), reason: "upgrade".into(), ..Default::default() };
    replica.lifecycle.pause_target(pause).await.unwrap();
    two_rounds(&replica).await;
    let before = failed(&replica, "rails").await;
    two_rounds(&replica).await;
    assert_eq!(failed(&replica, "rails").await, before, "one that is paused is not looked at");

    let resume = v1::ResumeTargetRequest { target: "rails".into(), ..Default::default() };
    replica.lifecycle.resume_target(resume).await.unwrap();
    blind_to.lock().unwrap().clear();
    let held = stub.held(&uid).unwrap();
    stub.put(&uid, Held { state: Desired::Active, ..held });
    until("it is repaired", async || stub.held(&uid).unwrap().state == Desired::Suspended).await;
    replica.stop().await;
}

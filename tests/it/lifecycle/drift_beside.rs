//! Looks at targets while operations begin, go on and end: what is on its way has not drifted, and nothing is ahead.

use std::sync::Arc;
use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Fault, Held, Stub};
use tenantry::proto::participant::participant_server::{Participant, ParticipantServer};
use tenantry::proto::participant::{ApplyRequest, ApplyResponse, ObserveRequest, ObserveResponse};
use tenantry::proto::v1;
use tokio::sync::Semaphore;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::{TEN_SECONDS, activate, suspend};
use crate::participants::until;
use crate::support::{Replica, Setup};

/// A target that answers one look late: with what it holds once it may.
struct LateOnce {
    stub: Stub,
    late: Arc<Semaphore>,
    go_on: Arc<Semaphore>,
}

#[tonic::async_trait]
impl Participant for LateOnce {
    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        self.stub.apply(request).await
    }

    async fn observe(&self, request: Request<ObserveRequest>) -> Result<Response<ObserveResponse>, Status> {
        if let Ok(late) = self.late.try_acquire() {
            late.forget();
            self.go_on.acquire().await.unwrap().forget();
        }
        self.stub.observe(request).await
    }
}

fn verify(validate_only: bool) -> v1::VerifyTenantRequest {
    v1::VerifyTenantRequest {
        tenant_id: "finance".into(),
        wait: TEN_SECONDS,
        validate_only,
        ..Default::default()
    }
}

fn results(seen: &v1::VerifyTenantResponse) -> Vec<v1::CheckResult> {
    seen.targets.iter().map(v1::TargetCheck::result).collect()
}

/// It was said to be ahead: that the registry had been restored, or that another one used the same target.
#[tokio::test]
async fn a_look_during_which_an_operation_begins_and_ends_finds_everything_as_it_should_be() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (late, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let service = LateOnce { stub, late: Arc::clone(&late), go_on: Arc::clone(&go_on) };
    let router = Server::builder().add_service(ParticipantServer::new(service));
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    let setup = Setup {
        services: vec![("rails", endpoint)],
        settings: vec![("cascade.apply_deadline", "30s".into())],
        ..Setup::default()
    };
    let mut replica = Replica::start(&setup).await;
    replica.tenant("finance").await;
    for validate_only in [true, false] {
        late.add_permits(1);
        let mut lifecycle = replica.lifecycle.clone();
        let looking = tokio::spawn(async move { lifecycle.verify_tenant(verify(validate_only)).await });
        until("it looks", async || late.available_permits() == 0).await;
        let moved = if validate_only {
            replica.lifecycle.suspend_tenant(suspend("finance")).await
        } else {
            replica.lifecycle.activate_tenant(activate("finance")).await
        };
        assert_eq!(moved.unwrap().into_inner().state(), v1::OperationState::Succeeded);
        go_on.add_permits(1);
        let seen = looking.await.unwrap().unwrap().into_inner();
        assert_eq!(results(&seen), [v1::CheckResult::AsDesired; 2], "{validate_only}: {seen:?}");
        assert!(seen.operation.is_none(), "nothing is to be repaired: {seen:?}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn what_an_open_operation_is_bringing_to_its_state_has_not_drifted() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup {
        stubs: vec![("cache", stub.clone())],
        settings: vec![("cascade.apply_deadline", "30s".into())],
        ..Setup::default()
    };
    let mut replica = Replica::start(&setup).await;
    let tenant = replica.tenant("finance").await;
    let generation = stub.held(&tenant.uid).unwrap().generation + 1;
    stub.set_fault("finance", Some(Fault::Halfway(Duration::from_secs(5))));
    let request = v1::SuspendTenantRequest { wait: None, ..suspend("finance") };
    let open = replica.lifecycle.suspend_tenant(request).await.unwrap().into_inner();
    let half = Some(Held { state: Desired::Active, generation });
    until("it is half way", async || stub.held(&tenant.uid) == half).await;
    let seen = replica.lifecycle.verify_tenant(verify(true)).await.unwrap().into_inner();
    let cache = &seen.targets[0];
    assert_eq!(cache.result(), v1::CheckResult::Unknown, "{seen:?}");
    let words = format!("is ACTIVE, and operation {} is bringing it to SUSPENDED", open.operation_id);
    assert!(cache.error.starts_with(&words), "{seen:?}");
    assert_eq!(replica.settled("finance").await.status(), v1::TenantStatus::Suspended);
    let seen = replica.lifecycle.verify_tenant(verify(true)).await.unwrap().into_inner();
    assert_eq!(results(&seen), [v1::CheckResult::AsDesired; 2], "{seen:?}");
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looks_beside_one_operation_after_the_other_give_no_false_alarm() {
    let stub = Stub::start(Duration::from_millis(1)).await.unwrap();
    let mut replica = Replica::start(&Setup { stubs: vec![("cache", stub)], ..Setup::default() }).await;
    replica.tenant("finance").await;
    let mut lifecycle = replica.lifecycle.clone();
    let moving = tokio::spawn(async move {
        for _ in 0..25 {
            lifecycle.suspend_tenant(suspend("finance")).await.unwrap();
            lifecycle.activate_tenant(activate("finance")).await.unwrap();
        }
    });
    while !moving.is_finished() {
        let seen = replica.lifecycle.verify_tenant(verify(true)).await.unwrap().into_inner();
        let is_alarm = |it: &v1::CheckResult| matches!(it, v1::CheckResult::Drifted | v1::CheckResult::Ahead);
        assert!(!results(&seen).iter().any(is_alarm), "{seen:?}");
    }
    moving.await.unwrap();
    replica.stop().await;
}

/// It went on showing what an attempt had met much earlier.
#[tokio::test]
async fn a_look_that_failed_is_the_last_error_of_its_target() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let mut replica =
        Replica::start(&Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() }).await;
    replica.tenant("finance").await;
    stub.set_fault("finance", Some(Fault::Hanging));
    let seen = replica.lifecycle.verify_tenant(verify(true)).await.unwrap().into_inner();
    let listed =
        replica.lifecycle.list_targets(v1::ListTargetsRequest::default()).await.unwrap().into_inner();
    let cache = listed.targets.iter().find(|target| target.target == "cache").unwrap();
    assert!(!cache.last_error.is_empty(), "{cache:?}");
    assert_eq!(cache.last_error, seen.targets[0].error, "{seen:?}");
    replica.stop().await;
}

//! A write of a policy that arrives after its holder has lost the lock, or is gone: what another replica answered holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::s3::S3;
use tenantry::participants::{FailureKind, Observed, Participant as _, TenantRef};
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

use super::client::Session;
use super::on_each_server;
use super::store::{Bucket, Store, bring, pool, prefix, seaweedfs};
use super::wire::Wire;
use crate::support::{Replica, Setup, sql};

/// One call of the replica that is late; it holds the lock for twice that and 5 s more.
const DEADLINE: Duration = Duration::from_secs(4);

on_each_server!(
    a_write_without_an_answer_that_arrives_after_another_replicas_is_made_good,
    a_write_that_was_kept_past_its_time_is_refused_by_the_store,
);

/// Two replicas and two tenants of one bucket. The first replica's next write of the policy, which suspends `acme`, is
/// kept on the way.
struct Stage {
    bucket: Bucket,
    wire: Wire,
    database_url: String,
    late: Arc<S3>,
    other: S3,
    acme: TenantRef,
    neighbour: TenantRef,
    /// The neighbour's client.
    session: Session,
    /// When the write was kept.
    kept: Instant,
}

impl Stage {
    /// The late replica runs on the runtime of `process`.
    async fn set(
        store: &'static Store,
        name: &str,
        process: &Handle,
        keep: fn(&Wire),
    ) -> (Self, JoinHandle<()>) {
        let bucket = store.bucket(name).await;
        // With the tables of the registry: the replicas leave their marks there.
        let registry = Replica::start(&Setup::default()).await;
        let database_url = registry.database_url.clone();
        registry.stop().await;
        let wire = Wire::to(&store.endpoint, name).await;
        let through = format!("url = '{}'", wire.endpoint);
        let late = Arc::new(bucket.target_within(DEADLINE, &through, Some(pool(&database_url))));
        // The lock goes by the store's address, so both take the same way.
        let other = bucket.target_of(&through, Some(pool(&database_url)));
        let (acme, neighbour) = (bucket.tenant("acme"), bucket.tenant("other"));
        for tenant in [&acme, &neighbour] {
            bring(&other, tenant, Desired::Active, 1).await;
        }
        let session = Session::begin(store.of("other"), name, &prefix("other")).await;
        keep(&wire);
        let (target, tenant) = (Arc::clone(&late), acme.clone());
        let suspending = process.spawn(async move {
            // As the engine does.
            while let Err(failure) = target.apply(&tenant, Desired::Suspended, 2).await {
                assert_ne!(failure.kind, FailureKind::Permanent, "{failure}");
                target.until_worth_trying(&tenant, 2).await;
            }
        });
        wire.kept().await;
        let kept = Instant::now();
        (Self { bucket, wire, database_url, late, other, acme, neighbour, session, kept }, suspending)
    }

    async fn neighbour_passes(&self, passes: bool, when: &str) {
        let seen = self.session.passes().await;
        assert!(seen.iter().all(|(_, passed)| *passed == passes), "{when}: {seen:?}");
    }

    /// The late write is the last word until it is made good; on a busy machine it may have had no time left, or have been
    /// made good already.
    async fn arrived(&self, status: u16) {
        assert!(matches!(status, 200 | 204 | 403), "{status}");
        let denied = self.bucket.denied().await;
        if self.kept.elapsed() < DEADLINE * 2 {
            assert_eq!((status == 403, denied), (false, 1), "the neighbour's denial is lost for now");
        }
    }

    /// After both have answered.
    async fn both_are_suspended(&self) {
        self.neighbour_passes(false, "after both have answered").await;
        for (target, tenant) in [(&*self.late, &self.neighbour), (&self.other, &self.acme)] {
            assert_eq!(target.observe(tenant).await, Ok(Observed::effect(Desired::Suspended, 2)));
        }
        assert_eq!(self.bucket.denied().await, 2);
    }
}

/// As the engine does while a change waits.
async fn suspend_neighbour(stage: &Stage) {
    while let Err(failure) = stage.other.apply(&stage.neighbour, Desired::Suspended, 2).await {
        assert_eq!(failure.kind, FailureKind::Waiting, "{failure}");
        stage.other.until_worth_trying(&stage.neighbour, 2).await;
    }
}

/// It is denied at once, and the denial may be overwritten: so it is not answered as long as it may.
async fn neighbour_waits(stage: &Stage) {
    let failure = stage.other.apply(&stage.neighbour, Desired::Suspended, 2).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Waiting, "{failure}");
    assert!(failure.message.contains("may still arrive"), "{failure}");
    stage.neighbour_passes(false, "suspended by the other replica").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_holder_overwrites_that_lost_its_lock_was_not_answered_yet() {
    let store = seaweedfs().await;
    let (stage, suspending) = Stage::set(store, "lost-lock", &Handle::current(), Wire::keep_next).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND state = 'idle in transaction'";
    sql(&stage.database_url, end).await;
    neighbour_waits(&stage).await;
    let status = stage.wire.let_go().await;
    // A busy machine may have needed longer than the write had.
    assert!(matches!(status, 200 | 204 | 403), "{status}");
    suspend_neighbour(&stage).await;
    stage.neighbour_passes(false, "answered by the other replica").await;
    suspending.await.unwrap();
    stage.both_are_suspended().await;
}

async fn a_write_without_an_answer_that_arrives_after_another_replicas_is_made_good(store: &'static Store) {
    // The other replica waits until the late one has given up its call, and with it the lock.
    let staged = Stage::set(store, "no-answer", &Handle::current(), Wire::keep_next).await;
    arrives_before_anything_is_answered(staged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_a_proxy_gave_up_undoes_nothing_that_was_answered() {
    let store = seaweedfs().await;
    let staged = Stage::set(store, "given-up", &Handle::current(), Wire::give_up_next).await;
    arrives_before_anything_is_answered(staged).await;
}

async fn arrives_before_anything_is_answered((stage, suspending): (Stage, JoinHandle<()>)) {
    neighbour_waits(&stage).await;
    let status = stage.wire.let_go().await;
    stage.arrived(status).await;
    suspend_neighbour(&stage).await;
    stage.neighbour_passes(false, "answered by the other replica").await;
    suspending.await.unwrap();
    stage.both_are_suspended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_of_a_replica_that_was_killed_undoes_nothing_that_was_answered() {
    let store = seaweedfs().await;
    let process = Runtime::new().unwrap();
    let (stage, suspending) = Stage::set(store, "killed", process.handle(), Wire::keep_next).await;
    process.shutdown_background();
    assert!(suspending.await.unwrap_err().is_cancelled());
    neighbour_waits(&stage).await;
    let status = stage.wire.let_go().await;
    stage.arrived(status).await;
    suspend_neighbour(&stage).await;
    stage.neighbour_passes(false, "answered by the other replica").await;
    assert_eq!(stage.bucket.denied().await, 1, "what the dead one asked for is nowhere on record");
    // The next one need not wait.
    bring(&stage.other, &stage.acme, Desired::Suspended, 2).await;
}

async fn a_write_that_was_kept_past_its_time_is_refused_by_the_store(store: &'static Store) {
    let (stage, suspending) = Stage::set(store, "past-its-time", &Handle::current(), Wire::keep_next).await;
    suspend_neighbour(&stage).await;
    suspending.await.unwrap();
    stage.both_are_suspended().await;
    assert_eq!(stage.wire.let_go().await, 403);
    stage.both_are_suspended().await;
}

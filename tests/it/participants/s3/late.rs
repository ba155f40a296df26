//! A write of a policy that arrives after its holder has lost the lock: what another replica wrote meanwhile holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::s3::S3;
use tenantry::participants::{FailureKind, Observed, Participant as _, TenantRef};
use tokio::task::JoinHandle;

use super::client::Session;
use super::on_each_server;
use super::store::{Bucket, Store, bring, pool, prefix};
use super::wire::Wire;
use crate::support::{empty_database, sql};

/// One call of the replica that is late; it holds the lock for twice that and 5 s more.
const DEADLINE: Duration = Duration::from_secs(4);

on_each_server!(
    a_holder_that_lost_its_lock_puts_back_what_it_has_overwritten_before_it_answers,
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
    async fn set(store: &'static Store, name: &str) -> (Self, JoinHandle<()>) {
        let bucket = store.bucket(name).await;
        let database_url = empty_database().await;
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
        wire.keep_next();
        let (target, tenant) = (Arc::clone(&late), acme.clone());
        let suspending = tokio::spawn(async move {
            // As the engine does on a busy machine.
            while let Err(failure) = target.apply(&tenant, Desired::Suspended, 2).await {
                assert_ne!(failure.kind, FailureKind::Permanent, "{failure}");
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

async fn a_holder_that_lost_its_lock_puts_back_what_it_has_overwritten_before_it_answers(
    store: &'static Store,
) {
    let (stage, suspending) = Stage::set(store, "lost-lock").await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND state = 'idle in transaction'";
    sql(&stage.database_url, end).await;
    bring(&stage.other, &stage.neighbour, Desired::Suspended, 2).await;
    stage.neighbour_passes(false, "suspended by the other replica").await;
    let status = stage.wire.let_go().await;
    // A busy machine may have needed longer than the write had.
    assert!(matches!(status, 200 | 204 | 403), "{status}");
    suspending.await.unwrap();
    stage.both_are_suspended().await;
}

async fn a_write_without_an_answer_that_arrives_after_another_replicas_is_made_good(store: &'static Store) {
    let (stage, suspending) = Stage::set(store, "no-answer").await;
    // It waits until the late one has given up its call, and with it the lock.
    bring(&stage.other, &stage.neighbour, Desired::Suspended, 2).await;
    stage.neighbour_passes(false, "suspended by the other replica").await;
    let status = stage.wire.let_go().await;
    stage.arrived(status).await;
    suspending.await.unwrap();
    stage.both_are_suspended().await;
}

async fn a_write_that_was_kept_past_its_time_is_refused_by_the_store(store: &'static Store) {
    let (stage, suspending) = Stage::set(store, "past-its-time").await;
    bring(&stage.other, &stage.neighbour, Desired::Suspended, 2).await;
    suspending.await.unwrap();
    stage.both_are_suspended().await;
    assert_eq!(stage.wire.let_go().await, 403);
    stage.both_are_suspended().await;
}

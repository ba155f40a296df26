//! Target systems, each against real servers.

mod alertmanager;
pub(crate) mod certificates;
mod former;
mod kept;
mod manual;
mod migrations;
mod no_row;
mod outside;
mod overreach;
mod owners;
mod passages;
pub(crate) mod postgres;
mod protection;
mod published;
mod qdrant;
mod redis;
mod remote;
mod removal;
mod replaced;
mod reused;
mod rights;
mod s3;
mod snapshots;
mod strangers;
mod transactions;
mod unreached;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tenantry::app::targets::participants;
use tenantry::config::{Config, Flags};
use tenantry::domain::ids::{TargetName, TenantId, TierId};
use tenantry::domain::lifecycle::Desired;
use tenantry::domain::operation::Place;
use tenantry::domain::tenant::ResourceNames;
use tenantry::participants::{Failure, FailureKind, Participant, TenantRef};
use tenantry::store::connect::Database;
use uuid::Uuid;

/// A tenant that no registry knows. Of the same id the later call has the later uid, as in life.
pub(crate) fn tenant(tenant_id: &str) -> TenantRef {
    let (tenant_id, uid) = (TenantId::parse(tenant_id).unwrap(), Uuid::now_v7());
    TenantRef {
        names: ResourceNames::derived(&tenant_id, uid),
        tenant_id,
        uid,
        tier: TierId::parse("gold").unwrap(),
        place: Place { region: "".into(), cell: "".into() },
        limits: BTreeMap::new(),
    }
}

/// A target as the program makes it of its configuration: the keys of one `[cascade.targets.it]`.
pub(crate) fn target(settings: &str) -> Arc<dyn Participant> {
    let mut flags = Flags::default();
    flags.values.insert("cascade.targets", format!("it = {{ {settings} }}"));
    // Nobody asks the registry here.
    flags.values.insert("database.url", "postgres://nobody@127.0.0.1:1/none".to_owned());
    let config = Config::load(&flags, |_| None).unwrap_or_else(|error| panic!("{error}")).config;
    let database = Database::new(&config.database).unwrap();
    let mut targets = participants(&config, &database).unwrap_or_else(|error| panic!("{error}"));
    targets.remove(&TargetName::parse("it").unwrap()).unwrap()
}

/// Applies and reads back, as the engine does; answers the state that was seen.
pub(crate) async fn bring(
    target: &Arc<dyn Participant>,
    tenant: &TenantRef,
    desired: Desired,
    generation: u64,
) -> Option<Desired> {
    target.apply(tenant, desired, generation).await.unwrap_or_else(|failure| panic!("{desired}: {failure}"));
    target.observe(tenant).await.unwrap_or_else(|failure| panic!("{desired}: {failure}")).state
}

/// Asserts that an older call is refused and changes nothing, and that the same one again does not hurt.
pub(crate) async fn holds_its_generation(
    target: &Arc<dyn Participant>,
    tenant: &TenantRef,
    now: Desired,
    generation: u64,
) {
    let before = target.observe(tenant).await.unwrap();
    assert_eq!(before.state, Some(now));
    for older in Desired::ALL {
        let (kind, words) = told(target.apply(tenant, older, generation - 1).await);
        assert_eq!(kind, FailureKind::Permanent, "{older}");
        // Another service's words are quoted.
        assert!(words.contains("a newer change was applied already"), "{older}: {words}");
    }
    assert_eq!(bring(target, tenant, now, generation).await, Some(now));
    assert_eq!(target.observe(tenant).await.unwrap(), before);
}

/// A loopback port that takes connections and never answers. It does so as long as the listener lives.
pub(crate) fn mute() -> (std::net::TcpListener, u16) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A loopback port at which nobody listens.
pub(crate) fn closed() -> u16 {
    mute().1
}

/// Runs blocking work of a test, such as starting a server, off its runtime.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Waits until something is true, as long as a busy machine may need.
pub(crate) async fn until(what: &str, mut is_true: impl AsyncFnMut() -> bool) {
    for _ in 0..1_200 {
        if is_true().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("it never came true: {what}");
}

/// The kind of a failure and its words.
pub(crate) fn told(result: Result<(), Failure>) -> (FailureKind, String) {
    let failure = result.unwrap_err();
    (failure.kind, failure.message)
}

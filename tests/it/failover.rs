//! What replicas do when acknowledged changes are lost: a standby that lagged is promoted, or a copy is put in place.

use std::time::Duration;

use tenantry::participants::stub::{Fault, Stub};
use tenantry::proto::v1;
use tenantry::proto::v1::watch_tenants_response::ChangeType;
use tenantry::services::openfeature::{OpenFeature, Question, Told};
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status, Streaming};

use crate::support::proxy::{Flow, Proxy};
use crate::support::{Replica, Setup, empty_database, metrics, new_tenant, page, reason, sql};

const PATIENCE: Duration = Duration::from_secs(10);

fn no_targets() -> Setup {
    Setup { no_targets: true, ..Setup::default() }
}

/// A replica whose database can fail over: it is behind a wire that can be cut, and keeps copies of its tables.
struct Failing {
    replica: Replica,
    proxy: Proxy,
}

impl Failing {
    async fn start(setup: &Setup) -> Self {
        let direct = empty_database().await;
        let mut seeding = Replica::on(&direct, &no_targets()).await;
        seeding.seed_tiers().await;
        seeding.stop().await;
        let (proxy, url) = Proxy::start(&direct).await;
        let mut replica = Replica::on(&url, setup).await;
        replica.database_url = direct;
        Self { replica, proxy }
    }

    /// What a standby has received so far.
    async fn copy(&self) {
        let copy = "DO $$ DECLARE name text; BEGIN \
             CREATE SCHEMA standby; \
             FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP \
               EXECUTE format('CREATE TABLE standby.%1$I AS TABLE public.%1$I', name); \
             END LOOP; END $$";
        sql(&self.replica.database_url, copy).await;
    }

    /// The standby takes over, with what it had received; nobody is connected to it yet.
    async fn fail_over(&self) {
        self.proxy.flow(Flow::Frozen);
        self.proxy.cut();
        self.set_back().await;
    }

    async fn set_back(&self) {
        let back = "DO $$ DECLARE name text; BEGIN \
             FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'standby' LOOP \
               EXECUTE format('DELETE FROM public.%I', name); \
               EXECUTE format('INSERT INTO public.%1$I SELECT * FROM standby.%1$I', name); \
             END LOOP; END $$";
        sql(&self.replica.database_url, back).await;
    }

    async fn stop(self) {
        self.replica.stop().await;
    }
}

async fn asked(replica: &mut Replica, tenant_id: &str, consistency: Option<&str>) -> Result<(), Status> {
    let mut request = Request::new(v1::GetTenantRequest { tenant_id: tenant_id.into() });
    if let Some(consistency) = consistency {
        request.metadata_mut().insert("tenantry-consistency", consistency.parse().unwrap());
    }
    replica.tenants.get_tenant(request).await.map(drop)
}

/// Waits until a plain read finds the tenant.
async fn seen(replica: &mut Replica, tenant_id: &str) {
    let found = timeout(PATIENCE, async {
        while asked(replica, tenant_id, None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("{tenant_id} is never seen"));
}

async fn is_gone(replica: &mut Replica, tenant_id: &str) {
    let gone = timeout(PATIENCE, async {
        while asked(replica, tenant_id, None).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    gone.await.unwrap_or_else(|_| panic!("{tenant_id} was lost and is served for ever"));
}

/// The next thing that is told, or why there is none.
async fn next<T>(stream: &mut Streaming<T>) -> Result<Option<T>, Status> {
    timeout(PATIENCE, stream.message()).await.expect("something is told, or the stream ends")
}

/// How a stream ends; before that it tells only what it may.
async fn ended<T: std::fmt::Debug>(stream: &mut Streaming<T>, may_be_told: impl Fn(&T) -> bool) -> Status {
    loop {
        match next(stream).await {
            Ok(Some(told)) => assert!(may_be_told(&told), "{told:?}"),
            Ok(None) => panic!("it ends without a word"),
            Err(status) => return status,
        }
    }
}

/// A watch that must end because its history is no more.
fn assert_begins_again(ended: &Status) {
    assert_eq!((ended.code(), reason(ended).as_str()), (Code::OutOfRange, "REVISION_COMPACTED"), "{ended:?}");
    assert!(ended.message().contains("set back"), "{ended:?}");
}

async fn replaced(replica: &Replica) -> u64 {
    let text = metrics(replica).await;
    let line = text.lines().find_map(|line| line.strip_prefix("tenantry_view_history_replaced_total "));
    line.expect("the metric is there").parse().unwrap()
}

#[tokio::test]
async fn lost_changes_are_not_served_once_the_new_log_has_overtaken_them() {
    let mut failing = Failing::start(&no_targets()).await;
    failing.replica.tenant("kept").await;
    failing.copy().await;
    // One is the replica's own change, one another's.
    failing.replica.tenant("lost-own").await;
    let mut other = Replica::on(&failing.replica.database_url, &no_targets()).await;
    other.tenant("lost-other").await;
    other.stop().await;
    seen(&mut failing.replica, "lost-other").await;
    assert_eq!(replaced(&failing.replica).await, 0);
    failing.fail_over().await;
    let mut promoted = Replica::on(&failing.replica.database_url, &no_targets()).await;
    for id in ["new1", "new2", "new3", "new4"] {
        promoted.tenant(id).await;
    }
    failing.proxy.flow(Flow::Open);
    // Once the database answers again, what is asked for as of now is so.
    let replica = &mut failing.replica;
    let answered = timeout(PATIENCE, async {
        loop {
            match asked(replica, "lost-own", Some("latest")).await {
                Err(status) if status.code() == Code::Unavailable => {}
                answer => return answer,
            }
        }
    });
    let error = answered.await.unwrap().expect_err("as of now it is not there");
    assert_eq!(reason(&error), "TENANT_NOT_FOUND");
    for id in ["kept", "new1", "new2", "new3", "new4"] {
        asked(replica, id, Some("latest")).await.unwrap_or_else(|error| panic!("{id}: {error:?}"));
    }
    is_gone(replica, "lost-own").await;
    is_gone(replica, "lost-other").await;
    assert_eq!(replaced(replica).await, 1);
    replica.holds_what_the_tables_say(&no_targets()).await;
    promoted.stop().await;
    failing.stop().await;
}

#[tokio::test]
async fn a_log_that_was_set_back_to_the_very_same_revision_is_noticed() {
    let mut failing = Failing::start(&no_targets()).await;
    failing.copy().await;
    failing.replica.tenant("lost").await;
    failing.fail_over().await;
    let mut promoted = Replica::on(&failing.replica.database_url, &no_targets()).await;
    promoted.tenant("new").await;
    failing.proxy.flow(Flow::Open);
    seen(&mut failing.replica, "new").await;
    is_gone(&mut failing.replica, "lost").await;
    promoted.stop().await;
    failing.stop().await;
}

#[tokio::test]
async fn what_is_committed_to_the_new_log_is_not_taken_into_the_view_of_the_old_one() {
    let mut failing = Failing::start(&no_targets()).await;
    failing.copy().await;
    failing.replica.tenant("lost").await;
    // The follower hears nothing yet; what writes is connected to the new primary already.
    failing.proxy.flow(Flow::FollowerHeld);
    failing.set_back().await;
    let mut promoted = Replica::on(&failing.replica.database_url, &no_targets()).await;
    promoted.tenant("new").await;
    // It follows, by its number, right after the lost one.
    let before = failing.replica.server.registry.view.snapshot().unwrap().revision;
    let mine = failing.replica.create("mine").await.unwrap();
    assert_eq!(mine.revision, i64::try_from(before.get()).unwrap() + 1);
    let view = failing.replica.server.registry.view.snapshot().unwrap();
    assert_eq!(view.revision, before, "half the one history and half the other");
    failing.proxy.flow(Flow::Open);
    seen(&mut failing.replica, "mine").await;
    seen(&mut failing.replica, "new").await;
    is_gone(&mut failing.replica, "lost").await;
    assert_eq!(replaced(&failing.replica).await, 1);
    failing.replica.holds_what_the_tables_say(&no_targets()).await;
    promoted.stop().await;
    failing.stop().await;
}

#[tokio::test]
async fn whoever_watches_tenants_is_told_to_begin_again() {
    let mut failing = Failing::start(&no_targets()).await;
    failing.replica.tenant("kept").await;
    failing.copy().await;
    let request = v1::WatchTenantsRequest { initial_snapshot: true, ..Default::default() };
    let mut watch = failing.replica.tenants.watch_tenants(request.clone()).await.unwrap().into_inner();
    failing.replica.tenant("lost").await;
    let revision = loop {
        let told = next(&mut watch).await.unwrap().unwrap();
        if told.r#type() == ChangeType::Changed {
            assert_eq!(told.tenant.unwrap().tenant_id, "lost");
            break told.revision;
        }
    };
    failing.fail_over().await;
    let mut promoted = Replica::on(&failing.replica.database_url, &no_targets()).await;
    promoted.tenant("new").await;
    promoted.tenant("newer").await;
    failing.proxy.flow(Flow::Open);
    assert_begins_again(&ended(&mut watch, |told| told.r#type() == ChangeType::Bookmark).await);
    // From where it was, it would miss what took the place of what it was told.
    let resumed = v1::WatchTenantsRequest { start_revision: revision, ..Default::default() };
    let mut watch = failing.replica.tenants.watch_tenants(resumed).await;
    let refused = match &mut watch {
        Ok(watch) => ended(watch.get_mut(), |_| false).await,
        Err(status) => status.clone(),
    };
    assert_begins_again(&refused);
    let mut watch = failing.replica.tenants.watch_tenants(request).await.unwrap().into_inner();
    let mut ids = Vec::new();
    while let Some(tenant) = next(&mut watch).await.unwrap().unwrap().tenant {
        ids.push(tenant.tenant_id);
    }
    assert_eq!(ids, ["kept", "new", "newer"]);
    promoted.stop().await;
    failing.stop().await;
}

#[tokio::test]
async fn whoever_watches_operations_is_told_to_begin_again() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..no_targets() };
    let mut failing = Failing::start(&setup).await;
    let (one, two) = (failing.replica.tenant("one").await, failing.replica.tenant("two").await);
    failing.copy().await;
    stub.set_fault(&one.uid, Some(Fault::Refusing));
    stub.set_fault(&two.uid, Some(Fault::Refusing));
    let lifecycle = &mut failing.replica.lifecycle;
    let suspend = v1::SuspendTenantRequest { tenant_id: "one".into(), ..Default::default() };
    let operation_id = lifecycle.suspend_tenant(suspend).await.unwrap().into_inner().operation_id;
    let bulk = v1::StartBulkOperationRequest {
        filter: "tenant_id = two".into(),
        verb: v1::OperationVerb::Suspend.into(),
        ..Default::default()
    };
    let bulk = lifecycle.start_bulk_operation(bulk).await.unwrap().into_inner();
    let watch = v1::WatchOperationRequest { operation_id };
    let mut operation = lifecycle.watch_operation(watch).await.unwrap().into_inner();
    let watch = v1::WatchBulkOperationRequest { bulk_operation_id: bulk.bulk_operation_id };
    let mut bulk = lifecycle.watch_bulk_operation(watch).await.unwrap().into_inner();
    assert!(next(&mut operation).await.unwrap().is_some() && next(&mut bulk).await.unwrap().is_some());
    failing.fail_over().await;
    failing.proxy.flow(Flow::Open);
    assert_begins_again(&ended(&mut operation, |_| true).await);
    assert_begins_again(&ended(&mut bulk, |_| true).await);
    stub.set_fault(&one.uid, None);
    stub.set_fault(&two.uid, None);
    failing.stop().await;
}

fn flag(key: &str, default_variant: &str) -> v1::CreateFlagRequest {
    let flag = v1::Flag {
        flag_key: key.into(),
        r#type: v1::FlagType::Boolean.into(),
        default_variant: default_variant.into(),
        ..Default::default()
    };
    v1::CreateFlagRequest { flag: Some(flag), ..Default::default() }
}

/// All flags of a tenant that are on.
async fn on(replica: &mut Replica) -> Vec<String> {
    let request = v1::EvaluateFlagsRequest { tenant_id: "kept".into(), ..Default::default() };
    let answer = replica.flags.evaluate_flags(request).await.unwrap().into_inner();
    answer.flags.into_iter().filter(|one| one.variant == "on").map(|one| one.flag_key).collect()
}

#[tokio::test]
async fn kept_answers_do_not_outlive_their_history() {
    let mut failing = Failing::start(&no_targets()).await;
    failing.replica.tenant("kept").await;
    failing.copy().await;
    failing.replica.flags.create_flag(flag("search", "on")).await.unwrap();
    for _ in 0..4 {
        assert_eq!(on(&mut failing.replica).await, ["search"]);
    }
    failing.fail_over().await;
    let mut promoted = Replica::on(&failing.replica.database_url, &no_targets()).await;
    promoted.flags.create_flag(flag("search", "off")).await.unwrap();
    failing.proxy.flow(Flow::Open);
    let answered = timeout(PATIENCE, async {
        while on(&mut failing.replica).await != [""; 0] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    answered.await.expect("the flag is off");
    promoted.stop().await;
    failing.stop().await;
}

#[tokio::test]
async fn streams_of_flags_go_on_and_tell_of_every_flag() {
    let mut failing = Failing::start(&no_targets()).await;
    failing.replica.flags.create_flag(flag("steady", "on")).await.unwrap();
    failing.copy().await;
    failing.replica.flags.create_flag(flag("lost", "on")).await.unwrap();
    let feature = OpenFeature::start(failing.replica.server.registry.clone(), CancellationToken::new());
    let mut told = feature.changes(Question::default(), None).unwrap();
    // What changed before is told at first.
    assert_eq!(told.next().await.unwrap().unwrap(), Told::Ready);
    while let Ok(told) = timeout(Duration::from_millis(300), told.next()).await {
        told.unwrap().unwrap();
    }
    failing.fail_over().await;
    failing.proxy.flow(Flow::Open);
    let changed = loop {
        match timeout(PATIENCE, told.next()).await.expect("it is told").unwrap().unwrap() {
            Told::Changed(part) => break part,
            other => assert_eq!(other, Told::KeepAlive),
        }
    };
    let changed: Vec<_> = changed.flags.iter().map(|(key, kind)| (key.as_str(), kind.as_str())).collect();
    assert_eq!(changed, [("lost", "delete"), ("steady", "update")]);
    failing.stop().await;
}

#[tokio::test]
async fn a_replica_that_has_started_over_is_ready_and_can_write() {
    let mut failing = Failing::start(&no_targets()).await;
    failing.copy().await;
    failing.replica.tenant("lost").await;
    failing.fail_over().await;
    failing.proxy.flow(Flow::Open);
    is_gone(&mut failing.replica, "lost").await;
    let ready = page(&failing.replica, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    // Under the very name that was lost, and at the revision that was.
    let request = v1::CreateTenantRequest { tenant: Some(new_tenant("lost")), ..Default::default() };
    let again = failing.replica.tenants.create_tenant(request).await.unwrap().into_inner();
    assert_eq!(failing.replica.get("lost").await, again);
    assert_eq!(replaced(&failing.replica).await, 1);
    failing.stop().await;
}

//! A purge leaves nothing: no collection, no alias, no snapshot that would come back with the name.

use std::time::Duration;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::{FailureKind, Observed};
use tonic::Code;

use super::client::Client;
use super::server::{Fault, KEY, Options, Qdrant};
use super::{Clients, at, collection, expected, named};
use crate::participants::{bring, target, told};

async fn cluster() -> Qdrant {
    Qdrant::start(Options { nodes: 2, ..Options::default() }).await
}

#[tokio::test]
async fn snapshots_go_first_then_the_collection_and_the_neighbour_keeps_its_own() {
    let server = cluster().await;
    let target = at(&server, "");
    let (finance, neighbour) = (named("finance", "fin"), named("finance-2", "fin2"));
    for tenant in [&finance, &neighbour] {
        bring(&target, tenant, Desired::Active, 1).await;
        let clients = Clients::of(&server.url(), tenant).await;
        clients.fill().await;
        clients.writer.take_snapshot().await.unwrap();
    }
    bring(&target, &finance, Desired::Archived, 2).await;
    assert_eq!((server.snapshot_files(0), server.snapshot_files(1)), (3, 1));
    assert_eq!(bring(&target, &finance, Desired::Deleted, 3).await, Some(Desired::Deleted));
    assert_eq!((server.snapshot_files(0), server.snapshot_files(1)), (1, 0), "the neighbour's is left");
    assert_eq!(server.collections(), [collection(&neighbour).as_str(), "tenantry.records"]);
    assert_eq!(server.aliases(), [("fin2".to_owned(), collection(&neighbour))]);
    let clients = Clients::of(&server.url(), &neighbour).await;
    assert_eq!(clients.meet().await, expected(Desired::Active));
    // Again, and too late.
    assert_eq!(bring(&target, &finance, Desired::Deleted, 3).await, Some(Desired::Deleted));
    let (kind, words) = told(target.apply(&finance, Desired::Active, 2).await);
    assert_eq!((kind, words.as_str()), (FailureKind::Permanent, "a newer change was applied already"));
    assert_eq!(server.collections().len(), 2, "and a late call makes nothing");
}

#[tokio::test]
async fn snapshots_that_outlived_their_collection_are_found_and_removed() {
    let server = cluster().await;
    let target = at(&server, "");
    let finance = named("finance", "fin");
    bring(&target, &finance, Desired::Active, 1).await;
    let admin = Client::with(&server.urls()[1], KEY, &collection(&finance)).await;
    admin.take_snapshot().await.unwrap();
    admin.drop_collection().await.unwrap();
    assert_eq!(server.snapshot_files(1), 1, "a snapshot outlives its collection");
    assert_eq!(bring(&target, &finance, Desired::Deleted, 2).await, Some(Desired::Deleted));
    assert_eq!(server.snapshot_files(1), 0);
    admin.make_collection().await.unwrap();
    assert_eq!(target.observe(&finance).await.unwrap().state, Some(Desired::Suspended), "it is back");
}

#[tokio::test]
async fn an_archive_has_a_snapshot_of_its_own_and_only_one() {
    let server = cluster().await;
    let target = at(&server, "");
    let finance = named("finance", "fin");
    bring(&target, &finance, Desired::Active, 1).await;
    let clients = Clients::of(&server.url(), &finance).await;
    clients.writer.take_snapshot().await.unwrap();
    for _ in 0..3 {
        assert_eq!(bring(&target, &finance, Desired::Archived, 2).await, Some(Desired::Archived));
        assert_eq!((server.snapshot_files(0), server.snapshot_files(1)), (2, 1));
    }
    // As after a purge that was called off before it began: still the same data.
    assert_eq!(bring(&target, &finance, Desired::Archived, 3).await, Some(Desired::Archived));
    assert_eq!(server.snapshot_files(0), 2);
    bring(&target, &finance, Desired::Active, 4).await;
    clients.fill().await;
    assert_eq!(bring(&target, &finance, Desired::Archived, 5).await, Some(Desired::Archived));
    assert_eq!(
        (server.snapshot_files(0), server.snapshot_files(1)),
        (3, 2),
        "what was written since is kept"
    );
    assert_eq!(clients.writer.nearest([1.0; 4]).await, Err(Code::Unauthenticated));
}

#[tokio::test]
async fn a_purge_that_runs_out_of_time_says_how_far_it_came_and_goes_on_from_there() {
    let server = cluster().await;
    let finance = named("finance", "fin");
    bring(&at(&server, ""), &finance, Desired::Active, 1).await;
    let clients = Clients::of(&server.url(), &finance).await;
    clients.fill().await;
    for _ in 0..60 {
        clients.writer.take_snapshot().await.unwrap();
    }
    bring(&at(&server, ""), &finance, Desired::Suspended, 2).await;
    let hasty = target(&format!(
        "kind = \"qdrant\", urls = {:?}, vector_size = 4, api_key = \"{KEY}\", deadline = \"1s\"",
        server.urls()
    ));
    server.fault(Fault::Slow(Duration::from_millis(25)));
    let (mut attempts, mut left) = (0, server.snapshot_files(0));
    loop {
        attempts += 1;
        let purged = hasty.apply(&finance, Desired::Deleted, 3).await;
        if server.snapshot_files(0) == 0 {
            // The last of it may find no time to say so.
            break;
        }
        let failure = purged.unwrap_err();
        // A busy machine may not even begin in time.
        if failure.kind == FailureKind::Unfinished {
            let removed = left - server.snapshot_files(0);
            let words = format!("{removed} snapshots were removed, and there are more");
            assert!(removed > 0 && failure.message == words, "{failure}, {removed} are gone");
        } else {
            assert_eq!(failure.kind, FailureKind::Unknown, "{failure}");
        }
        let seen = at(&server, "").observe(&finance).await.unwrap();
        assert_eq!(seen.state, Some(Desired::Suspended), "denied, and not said to be gone");
        left = server.snapshot_files(0);
    }
    assert!(attempts > 1, "it had time for all");
    server.fault(Fault::None);
    assert_eq!(bring(&at(&server, ""), &finance, Desired::Deleted, 3).await, Some(Desired::Deleted));
    assert_eq!((server.snapshot_files(0), server.collections()), (0, vec!["tenantry.records".to_owned()]));
}

#[tokio::test]
async fn a_purged_tenant_is_remembered_for_a_month_and_forgotten_with_the_next_purge() {
    let server = cluster().await;
    let target = at(&server, "");
    let [old, young, living, next, last] =
        ["old", "young", "living", "next", "last"].map(|id| named(id, &format!("ns-{id}")));
    for tenant in [&old, &young, &next, &last] {
        bring(&target, tenant, Desired::Active, 1).await;
        if [&old, &young].contains(&tenant) {
            bring(&target, tenant, Desired::Deleted, 2).await;
        }
    }
    // One that is suspended for years is not forgotten.
    bring(&target, &living, Desired::Suspended, 1).await;
    let day = Duration::from_hours(24);
    server.purged_earlier(&old, day * 32);
    server.purged_earlier(&young, day * 30);
    assert!(server.remembers(&old), "nothing happens by itself");
    bring(&target, &next, Desired::Deleted, 2).await;
    let remembered = [&old, &young, &living, &next].map(|tenant| server.remembers(tenant));
    assert_eq!(remembered, [false, true, true, true]);
    let (kind, words) = told(target.apply(&young, Desired::Active, 1).await);
    assert_eq!((kind, words.as_str()), (FailureKind::Permanent, "a newer change was applied already"));
    assert_eq!(target.observe(&old).await, Ok(Observed::UNKNOWN_TENANT));
    server.purged_earlier(&young, day * 2);
    bring(&target, &last, Desired::Deleted, 2).await;
    assert!(!server.remembers(&young) && server.remembers(&living));
}

#[tokio::test]
async fn a_node_that_lags_keeps_a_change_from_being_called_done_until_it_has_caught_up() {
    for lagging in [0, 1] {
        let server = cluster().await;
        let target = at(&server, "");
        let finance = named("finance", "fin");
        bring(&target, &finance, Desired::Active, 1).await;
        let there = Clients::of(&server.urls()[lagging], &finance).await;
        there.fill().await;
        for (before, wanted, generation) in [
            (Desired::Active, Desired::Suspended, 2),
            (Desired::Suspended, Desired::Active, 3),
            (Desired::Active, Desired::ReadOnly, 4),
            (Desired::ReadOnly, Desired::Archived, 5),
        ] {
            server.lag(Some(lagging));
            let applied = target.apply(&finance, wanted, generation).await;
            let read = there.meet().await.0;
            assert_eq!(read, expected(before).0, "{wanted} is not true at node {lagging}");
            match applied {
                Ok(()) => {
                    let seen = target.observe(&finance).await;
                    let is_done = seen
                        .as_ref()
                        .is_ok_and(|seen| seen.state == Some(wanted) && seen.generation == generation);
                    assert!(!is_done, "{wanted} at node {lagging}: {seen:?}");
                }
                // Its own words are not there when it reads them back.
                Err(failure) => assert_eq!(failure.kind, FailureKind::Retryable, "{wanted}: {failure}"),
            }
            server.lag(None);
            assert_eq!(bring(&target, &finance, wanted, generation).await, Some(wanted));
            assert_eq!(there.meet().await, expected(wanted), "{wanted}");
        }
        assert_eq!(bring(&target, &finance, Desired::Deleted, 6).await, Some(Desired::Deleted));
    }
}

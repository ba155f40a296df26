//! A purge leaves nothing: no collection, no alias, no snapshot that would come back with the name.

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::FailureKind;
use tonic::Code;

use super::client::Client;
use super::server::{KEY, Options, Qdrant};
use super::{Clients, at, collection, expected, named};
use crate::participants::{bring, told};

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

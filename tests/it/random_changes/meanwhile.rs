//! While random changes are made: what a view holds at a revision is what the tables held at that revision, and no view ever
//! goes back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tenantry::domain::ids::Revision;
use tenantry::store::connect::Database;
use tenantry::view::{Snapshot, View, follower};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Writer, contents};
use crate::support::{Replica, Setup, reason};

const WRITERS: u64 = 4;
/// How many revisions are compared on each replica, at least.
const COMPARED_MIN: usize = 10;

/// What a view published, by revision; it fails where a view goes back or publishes one revision twice.
type Published = Arc<Mutex<BTreeMap<Revision, Arc<Snapshot>>>>;

fn record(view: Arc<View>) -> (Published, tokio::task::JoinHandle<()>) {
    let published = Published::default();
    let into = Arc::clone(&published);
    let recording = tokio::spawn(async move {
        let mut revisions = view.revisions();
        let mut last = Revision::ZERO;
        while revisions.changed().await.is_ok() {
            let snapshot = view.snapshot().unwrap();
            assert!(snapshot.revision >= last, "{} after {last}", snapshot.revision);
            last = snapshot.revision;
            into.lock().unwrap().insert(last, snapshot);
        }
    });
    (published, recording)
}

/// The tables, read by a view of its own in one transaction.
async fn tables(database: &Database) -> Arc<Snapshot> {
    let patience = Duration::from_mins(1);
    let (view, stop) = (Arc::new(View::new(patience, patience, 10_000)), CancellationToken::new());
    let (_unread, to_read) = watch::channel(Revision::ZERO);
    let following = follower::follow(Arc::clone(&view), database.clone(), to_read, patience, stop.clone());
    let following = tokio::spawn(following);
    view.loaded().await;
    let snapshot = view.snapshot().unwrap();
    stop.cancel();
    following.await.unwrap();
    snapshot
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_at_a_revision_is_what_the_tables_are_at_it_while_others_write() {
    let seed = std::env::var("TEST_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    let first = Replica::start(&Setup::default()).await;
    let second = Replica::on(&first.database_url, &Setup::default()).await;
    let recorded = [&first, &second].map(|replica| record(Arc::clone(&replica.server.registry.view)));
    let stop = CancellationToken::new();
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..WRITERS {
        let at = if number % 2 == 0 { &first } else { &second };
        let mut writer = Writer::new(seed.wrapping_add(number), at);
        let stop = stop.clone();
        writers.spawn(async move {
            while !stop.is_cancelled() {
                let (made, reasons) = writer.change().await;
                if let Err(error) = made {
                    let expected = reasons.contains(&reason(&error).as_str());
                    assert!(expected, "TEST_SEED={seed}: {error:?}");
                }
            }
        });
    }
    let mut compared = [0; 2];
    while compared.iter().any(|compared| *compared < COMPARED_MIN) {
        let wanted = tables(&first.server.registry.database).await;
        for (place, replica) in [&first, &second].into_iter().enumerate() {
            let (published, recording) = &recorded[place];
            let view = &replica.server.registry.view;
            view.at_least(wanted.revision, Duration::from_secs(10)).await.unwrap();
            assert!(!recording.is_finished(), "TEST_SEED={seed}: a view went back");
            // Of changes that come close together a view publishes only the last.
            let own = published.lock().unwrap().get(&wanted.revision).cloned();
            if let Some(own) = own {
                assert_eq!(contents(&own), contents(&wanted), "TEST_SEED={seed}");
                compared[place] += 1;
            }
        }
        for (published, _) in &recorded {
            // What is older cannot be compared any more.
            let mut published = published.lock().unwrap();
            *published = published.split_off(&wanted.revision);
        }
    }
    stop.cancel();
    while let Some(written) = writers.join_next().await {
        written.unwrap();
    }
    for (_, recording) in recorded {
        recording.abort();
    }
    first.stop().await;
    second.stop().await;
}

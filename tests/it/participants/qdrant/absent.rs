//! A node of several is down, or says nothing.

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::FailureKind;

use super::server::{KEY, Options, Qdrant};
use super::{Clients, at, expected};
use crate::participants::{bring, closed, mute, target, tenant, told};

async fn two_nodes() -> Qdrant {
    Qdrant::start(Options { nodes: 2, ..Options::default() }).await
}

#[tokio::test]
async fn whichever_node_is_down_a_change_takes_effect_at_the_other() {
    for down in [0, 1] {
        let mut server = two_nodes().await;
        let target = at(&server, "");
        let (finance, hr) = (tenant("finance"), tenant("hr"));
        bring(&target, &finance, Desired::Active, 1).await;
        let clients = Clients::of(&server.urls()[1 - down], &finance).await;
        clients.fill().await;
        server.stop(down).await;
        let gone = format!("node {}: the vector database cannot be reached", server.addresses[down]);
        for (state, generation) in [(Desired::ReadOnly, 2), (Desired::Suspended, 3), (Desired::Active, 4)] {
            target.apply(&finance, state, generation).await.unwrap();
            assert_eq!(clients.meet().await, expected(state), "{state} without node {down}");
            // The other may be back with what it had.
            let seen = target.observe(&finance).await.unwrap_err().message;
            assert!(seen.starts_with(&gone), "{state}: {seen}");
        }
        target.apply(&hr, Desired::Active, 1).await.unwrap();
        target.apply(&finance, Desired::Suspended, 5).await.unwrap();
        let (_, words) = told(target.apply(&finance, Desired::Archived, 6).await);
        assert!(words.starts_with(&gone), "each node takes its own snapshot: {words}");
        assert_eq!(clients.meet().await, expected(Desired::Suspended));
        server.start_again(down).await;
        assert_eq!(bring(&target, &finance, Desired::Archived, 6).await, Some(Desired::Archived));
        assert_eq!((server.snapshot_files(0), server.snapshot_files(1)), (1, 1));
        assert_eq!(bring(&target, &hr, Desired::Active, 1).await, Some(Desired::Active));
        server.stop(down).await;
        let words = told(target.apply(&finance, Desired::Deleted, 7).await).1;
        assert!(words.starts_with(&gone), "{words}");
        server.start_again(down).await;
        assert_eq!(bring(&target, &finance, Desired::Deleted, 7).await, Some(Desired::Deleted));
        assert_eq!((server.snapshot_files(0), server.snapshot_files(1)), (0, 0));
    }
}

#[tokio::test]
async fn a_first_node_that_says_nothing_leaves_time_for_the_next() {
    let server = two_nodes().await;
    let finance = tenant("finance");
    bring(&at(&server, ""), &finance, Desired::Active, 1).await;
    let clients = Clients::of(&server.url(), &finance).await;
    clients.fill().await;
    let (_listener, silent) = mute();
    let urls = [format!("http://127.0.0.1:{silent}"), server.url()];
    let settings = format!("kind = \"qdrant\", vector_size = 4, api_key = \"{KEY}\", deadline = \"4s\"");
    let hampered = target(&format!("{settings}, urls = {urls:?}"));
    hampered.apply(&finance, Desired::Suspended, 2).await.unwrap();
    assert_eq!(clients.meet().await, expected(Desired::Suspended));
    // Nobody answers: each is named.
    let absent = closed();
    let urls = [format!("http://127.0.0.1:{silent}"), format!("http://127.0.0.1:{absent}")];
    let (kind, words) =
        told(target(&format!("{settings}, urls = {urls:?}")).apply(&finance, Desired::Active, 3).await);
    assert_eq!(kind, FailureKind::Unknown);
    let expected = format!(
        "node 127.0.0.1:{silent}: the vector database did not answer in time; node 127.0.0.1:{absent}: the vector \
         database cannot be reached: it refuses connections"
    );
    assert_eq!(words, expected);
}

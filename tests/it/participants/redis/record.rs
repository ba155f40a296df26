//! The tenant's record is not there, or is something else.

use redis::AsyncCommands as _;
use tenantry::domain::lifecycle::Desired;
use tenantry::participants::FailureKind;

use super::{bring, connect, key, server, sound, target, tenant, told, with_users};

#[tokio::test]
async fn a_tenant_without_its_record_is_drift_also_where_it_is_to_be_let_in() {
    let server = server().await;
    let mut admin = connect(&server.url()).await.unwrap();
    for target in
        [with_users(&server.url()), target(&format!("kind = \"redis\", url = \"{}\"", server.url()))]
    {
        let finance = tenant("finance");
        let record = format!("tenantry:tenant:{}", finance.uid);
        bring(&target, &finance, Desired::Active, 1).await;
        admin.set::<_, _, ()>(key(&finance, "a"), "x").await.unwrap();
        // Applications that ask for it serve the tenant no longer.
        admin.del::<_, ()>(&record).await.unwrap();
        let seen = target.observe(&finance).await.unwrap();
        assert_eq!((seen.state, seen.generation), (Some(Desired::Active), 0));
        assert!(seen.amiss.is_some_and(|why| why.contains(&format!("record {record} is missing"))));
        assert_eq!(bring(&target, &finance, Desired::Active, 1).await, Some(Desired::Active));
        assert_eq!(sound(&target, &finance).await, Some(Desired::Active), "mended");
    }
}

#[tokio::test]
async fn a_record_of_another_type_is_named_and_is_made_anew_once_it_is_deleted() {
    let server = server().await;
    let mut admin = connect(&server.url()).await.unwrap();
    let (target, finance) = (with_users(&server.url()), tenant("finance"));
    let record = format!("tenantry:tenant:{}", finance.uid);
    bring(&target, &finance, Desired::Active, 1).await;
    admin.del::<_, ()>(&record).await.unwrap();
    admin.set::<_, _, ()>(&record, "SUSPENDED").await.unwrap();
    let words = format!("the tenant's record {record} is not a hash: delete that key, then retry");
    for (state, generation) in [(Desired::Active, 1), (Desired::Suspended, 2)] {
        let refused = told(target.apply(&finance, state, generation).await);
        assert_eq!(refused, (FailureKind::Permanent, words.clone()), "{state}");
        assert_eq!(target.observe(&finance).await.unwrap_err().message, words, "{state}");
    }
    admin.del::<_, ()>(&record).await.unwrap();
    assert_eq!(bring(&target, &finance, Desired::Suspended, 2).await, Some(Desired::Suspended));
}

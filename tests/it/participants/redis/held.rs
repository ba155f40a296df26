//! One tenant's script holds the cache for everybody.

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::FailureKind;

use super::{bring, client, connect, enrol, key, server, tenant, told, until, with_users};

#[tokio::test]
async fn a_script_that_does_not_end_is_named_with_what_ends_it_and_then_its_tenant_is_locked_out() {
    let server = server().await;
    let mut admin = connect(&server.url()).await.unwrap();
    let set = redis::cmd("CONFIG").arg("SET").arg("busy-reply-threshold").arg(100).to_owned();
    set.exec_async(&mut admin).await.unwrap();
    let (target, finance) = (with_users(&server.url()), tenant("finance"));
    bring(&target, &finance, Desired::Active, 1).await;
    enrol(&mut admin, &finance).await;
    let mut theirs = client(&server.url(), &finance).await.unwrap();
    let script = redis::cmd("EVAL").arg("while true do end").arg(0).to_owned();
    let running = tokio::spawn(async move { script.exec_async(&mut theirs).await });
    until("the server says that it is busy", async || {
        let get: redis::RedisResult<()> =
            redis::cmd("GET").arg(key(&finance, "a")).query_async(&mut admin).await;
        get.is_err_and(|error| error.code() == Some("BUSY"))
    })
    .await;
    let words = "a script holds the cache, which answers nobody else: `SCRIPT KILL` there ends it (a function: \
                 `FUNCTION KILL`), or `SHUTDOWN NOSAVE` where it has written";
    // By the connection that it has, and by a new one.
    for target in [&target, &with_users(&server.url())] {
        let refused = told(target.apply(&finance, Desired::Suspended, 2).await);
        assert_eq!(refused, (FailureKind::Retryable, words.to_owned()));
        assert_eq!(target.observe(&finance).await.unwrap_err().message, words);
    }
    redis::cmd("SCRIPT").arg("KILL").exec_async(&mut admin).await.unwrap();
    running.await.unwrap().unwrap_err();
    assert_eq!(bring(&target, &finance, Desired::Suspended, 2).await, Some(Desired::Suspended));
    assert!(client(&server.url(), &finance).await.is_err());
}

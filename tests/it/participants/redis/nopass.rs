//! A tenant's own user that needs no password: somebody set it so by hand, and anybody logs in as the tenant.

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands as _, RedisResult};
use tenantry::domain::lifecycle::Desired;
use tenantry::participants::TenantRef;

use super::cluster::{cluster, connected, say, with_users_at};
use super::{bring, client, connect, enrol, key, server, set_user, sound, tenant, user, with_users};

/// Somebody who has no password of the tenant's.
async fn stranger(url: &str, tenant: &TenantRef) -> RedisResult<MultiplexedConnection> {
    let (_, place) = url.rsplit_once('@').unwrap();
    connect(&format!("redis://{}:guessed@{place}", user(tenant))).await
}

#[tokio::test]
async fn a_tenants_user_without_a_password_is_drift_and_a_repair_closes_it_until_the_platform_sets_one() {
    let server = server().await;
    let url = server.url();
    let mut admin = connect(&url).await.unwrap();
    let (target, finance) = (with_users(&url), tenant("finance"));
    for (state, generation) in [(Desired::Active, 1), (Desired::ReadOnly, 2)] {
        bring(&target, &finance, state, generation).await;
        enrol(&mut admin, &finance).await;
        set_user(&mut admin, &finance, &["nopass"]).await;
        let mut theirs = stranger(&url, &finance).await.unwrap();
        theirs.get::<_, Option<String>>(key(&finance, "a")).await.unwrap();
        let seen = target.observe(&finance).await.unwrap();
        let words = format!(
            "anybody may log in as the tenant: its user needs no password (`nopass`) at 127.0.0.1:{}; set one there \
             (`ACL SETUSER {} resetpass >…`)",
            server.port(),
            user(&finance)
        );
        assert_eq!((seen.state, seen.amiss), (Some(state), Some(words)));
        // No password is invented.
        bring(&target, &finance, state, generation).await;
        assert_eq!(sound(&target, &finance).await, Some(state), "mended");
        assert!(theirs.get::<_, Option<String>>(key(&finance, "a")).await.is_err(), "{state}: it is out");
        assert!(stranger(&url, &finance).await.is_err(), "{state}");
        enrol(&mut admin, &finance).await;
        assert!(client(&url, &finance).await.is_ok(), "{state}: the platform has set one");
        assert_eq!(sound(&target, &finance).await, Some(state));
    }
}

#[tokio::test]
async fn a_suspended_tenants_user_without_a_password_is_no_drift_and_lets_nobody_in_once_it_is_on() {
    let server = server().await;
    let url = server.url();
    let mut admin = connect(&url).await.unwrap();
    let (target, finance) = (with_users(&url), tenant("finance"));
    bring(&target, &finance, Desired::Suspended, 1).await;
    set_user(&mut admin, &finance, &["nopass"]).await;
    assert_eq!(sound(&target, &finance).await, Some(Desired::Suspended));
    assert_eq!(bring(&target, &finance, Desired::Active, 2).await, Some(Desired::Active));
    assert!(stranger(&url, &finance).await.is_err());
}

#[tokio::test]
async fn no_password_is_never_brought_to_other_nodes_of_a_cluster_however_many_have_none() {
    let cluster = cluster().await;
    let urls = cluster.urls();
    let mut nodes = connected(&urls).await;
    let (target, finance) = (with_users_at(&urls[0]), tenant("finance"));
    bring(&target, &finance, Desired::Active, 1).await;
    for (having_none, is_known) in [(1, true), (3, true), (4, false)] {
        for node in &mut nodes {
            enrol(node, &finance).await;
        }
        for node in &mut nodes[..having_none] {
            set_user(node, &finance, &["nopass"]).await;
        }
        assert_eq!(sound(&target, &finance).await, None, "{having_none}");
        bring(&target, &finance, Desired::Active, 1).await;
        assert_eq!(sound(&target, &finance).await, Some(Desired::Active), "{having_none}: mended");
        for (url, node) in urls.iter().zip(&mut nodes) {
            assert!(stranger(url, &finance).await.is_err(), "{having_none}: {url}");
            assert_eq!(client(url, &finance).await.is_ok(), is_known, "{having_none}: {url}");
            say::<String>(node, &["PING"]).await.unwrap();
        }
    }
}

//! A server that lets anybody in without a login, as Redis does by default.

use redis::AsyncCommands as _;
use tenantry::domain::lifecycle::{Desired, Verification};

use super::{bring, connect, key, server, tenant, with_users};

const OPEN: &[&str] = &["SETUSER", "default", "on", "nopass"];

#[tokio::test]
async fn where_anybody_gets_in_without_a_login_no_state_is_proven_and_it_is_said_why() {
    let server = server().await;
    let mut admin = connect(&server.url()).await.unwrap();
    // An account of our own gets in whatever becomes of `default`.
    let account = ["SETUSER", "plane", "on", ">pass", "~*", "&*", "+@all"];
    redis::cmd("ACL").arg(&account).exec_async(&mut admin).await.unwrap();
    let url = format!("redis://plane:pass@127.0.0.1:{}", server.port());
    let (target, finance) = (with_users(&url), tenant("finance"));
    let words = format!(
        "anybody may use the cache without a login: its user `default` is on and has no password at 127.0.0.1:{} \
         (`requirepass`, or `ACL SETUSER default off`)",
        server.port()
    );
    for (state, generation) in Desired::ALL.into_iter().zip(1..) {
        redis::cmd("ACL").arg(OPEN).exec_async(&mut admin).await.unwrap();
        assert_eq!(bring(&target, &finance, state, generation).await, Some(state));
        let mut anybody = connect(&format!("redis://127.0.0.1:{}", server.port())).await.unwrap();
        anybody.get::<_, Option<String>>(key(&finance, "a")).await.unwrap();
        let seen = target.observe(&finance).await.unwrap();
        assert_eq!(seen.verification, Verification::PolicyOnly, "{state}");
        assert_eq!((seen.unproven.as_deref(), seen.amiss), (Some(words.as_str()), None), "{state}");
        for closed in
            [&["SETUSER", "default", "resetpass", ">administrator"][..], &["SETUSER", "default", "off"]]
        {
            redis::cmd("ACL").arg(closed).exec_async(&mut admin).await.unwrap();
            let seen = target.observe(&finance).await.unwrap();
            assert_eq!(
                (seen.verification, seen.unproven),
                (Verification::Effect, None),
                "{state}: {closed:?}"
            );
        }
    }
}

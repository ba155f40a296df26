//! A tenant whose prefix a later one has, which a registry that was restored has forgotten.

use redis::AsyncCommands as _;
use tenantry::domain::lifecycle::Desired;
use tenantry::participants::FailureKind;

use super::{bring, client, connect, enrol, named, server, told, with_users};

#[tokio::test]
async fn nothing_that_is_asked_for_a_tenant_reaches_the_later_one_that_has_its_prefix() {
    let server = server().await;
    let (target, url) = (with_users(&server.url()), server.url());
    let mut admin = connect(&url).await.unwrap();
    for (left_in, prefix, later_prefix) in [
        (Desired::Deleted, "s5:", "s5:"),
        (Desired::Active, "s6:", "s6:"),
        (Desired::Suspended, "s7:", "s7:a:b:"),
        (Desired::Suspended, "s8:a:b:", "s8:"),
    ] {
        let former = named("finance", prefix);
        assert_eq!(bring(&target, &former, Desired::Active, 1).await, Some(Desired::Active));
        assert_eq!(bring(&target, &former, left_in, 5).await, Some(left_in));
        let later = named("finance", later_prefix);
        assert_eq!(bring(&target, &later, Desired::Active, 1).await, Some(Desired::Active));
        enrol(&mut admin, &later).await;
        let mut theirs = client(&url, &later).await.unwrap();
        let data = format!("{}data", if prefix.len() > later_prefix.len() { prefix } else { later_prefix });
        theirs.set::<_, _, ()>(&data, "theirs").await.unwrap();
        let words = format!("is another tenant's now, of the uid {}: skip this target", later.uid);
        for (state, generation) in
            [(Desired::Deleted, 5)].into_iter().chain(Desired::ALL.into_iter().zip(6..))
        {
            let (kind, why) = told(target.apply(&former, state, generation).await);
            assert_eq!((kind, why.ends_with(&words)), (FailureKind::Permanent, true), "{state}: {why}");
            assert_eq!(
                theirs.get::<_, Option<String>>(&data).await.unwrap().as_deref(),
                Some("theirs"),
                "{state}"
            );
        }
        let seen = target.observe(&former).await.unwrap();
        let found = if left_in == Desired::Deleted { Desired::Deleted } else { Desired::Suspended };
        assert_eq!((seen.state, seen.generation), (Some(found), 5), "the other's keys are its own");
        assert!(seen.amiss.or(seen.unproven).unwrap().ends_with(&words));
        // Whoever is purged is in nobody's way.
        bring(&target, &later, Desired::Deleted, 2).await;
        assert_eq!(bring(&target, &former, Desired::Deleted, 20).await, Some(Desired::Deleted));
    }
}

#[tokio::test]
async fn a_tenant_from_before_prefixes_were_claimed_is_protected_once_it_is_looked_at() {
    let server = server().await;
    let target = with_users(&server.url());
    let mut admin = connect(&server.url()).await.unwrap();
    let (former, later) = (named("finance", "s5:"), named("finance", "s5:"));
    bring(&target, &later, Desired::Active, 1).await;
    for claim in admin.keys::<_, Vec<String>>("tenantry:tenant:at:*").await.unwrap() {
        admin.del::<_, ()>(claim).await.unwrap();
    }
    admin.set::<_, _, ()>("s5:data", "theirs").await.unwrap();
    assert_eq!(target.observe(&later).await.unwrap().state, Some(Desired::Active));
    assert_eq!(told(target.apply(&former, Desired::Suspended, 1).await).0, FailureKind::Permanent);
    assert_eq!(admin.get::<_, String>("s5:data").await.unwrap(), "theirs");
}

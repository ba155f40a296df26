//! The tenant's record is not there, or is something else.

use redis::AsyncCommands as _;
use tenantry::domain::lifecycle::{Desired, Verification};
use tenantry::participants::FailureKind;

use super::cluster::{cluster, connected, say, with_users_at};
use super::{
    bring, client, code, connect, enrol, key, server, set_user, sound, target, tenant, told, with_users,
};

/// What no change of a tenant at generation 1 explains: the highest that is believed, the first that no double holds, the last.
const NONSENSE: [&str; 3] = ["4503599627370400", "9007199254740993", "9223372036854775807"];

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
        let seen = target.observe(&finance).await.unwrap();
        assert_eq!((seen.state, seen.generation, seen.amiss), (Some(state), 0, Some(words.clone())));
    }
    admin.del::<_, ()>(&record).await.unwrap();
    assert_eq!(bring(&target, &finance, Desired::Suspended, 2).await, Some(Desired::Suspended));
}

#[tokio::test]
async fn a_number_that_is_too_high_or_far_ahead_keeps_nobody_in_and_no_late_call_undoes_a_newer_one() {
    let server = server().await;
    let url = server.url();
    let mut admin = connect(&url).await.unwrap();
    let (target, finance) = (with_users(&url), tenant("finance"));
    let record = format!("tenantry:tenant:{}", finance.uid);
    bring(&target, &finance, Desired::Active, 1).await;
    enrol(&mut admin, &finance).await;
    for number in NONSENSE {
        set_user(&mut admin, &finance, &["on", "+@write"]).await;
        let mut at_work = client(&url, &finance).await.unwrap();
        admin.hset::<_, _, _, ()>(&record, "generation", number).await.unwrap();
        let (_, said) = told(target.apply(&finance, Desired::ReadOnly, 2).await);
        assert!(said.contains("a newer change was applied already"), "{number}: {said}");
        assert_eq!(code(at_work.set::<_, _, ()>(key(&finance, "a"), "x").await), "NOPERM", "{number}");
        for (state, generation) in [(Desired::Suspended, 3), (Desired::Archived, 4), (Desired::Deleted, 5)] {
            set_user(&mut admin, &finance, &["on"]).await;
            let (kind, said) = told(target.apply(&finance, state, generation).await);
            assert_eq!(kind, FailureKind::Permanent, "{number}: {said}");
            assert!(client(&url, &finance).await.is_err(), "{number}: {state}");
        }
        assert!(say::<String>(&mut at_work, &["PING"]).await.is_err(), "{number}: its connections are ended");
        // The number gives nobody access.
        told(target.apply(&finance, Desired::Active, 6).await);
        assert!(client(&url, &finance).await.is_err(), "{number}");
        let held: String = admin.hget(&record, "generation").await.unwrap();
        assert_eq!(held, number, "whoever mends it, mends it");
    }
    // Once it is mended.
    admin.hset::<_, _, _, ()>(&record, "generation", 5).await.unwrap();
    assert_eq!(bring(&target, &finance, Desired::Active, 1_000_005).await, Some(Desired::Active));
    // As far ahead as an honest one can be, of a late call.
    let mut at_work = client(&url, &finance).await.unwrap();
    let (kind, said) = told(target.apply(&finance, Desired::Suspended, 5).await);
    assert!(kind == FailureKind::Permanent && said.contains("a newer change was applied already"), "{said}");
    assert!(say::<String>(&mut at_work, &["PING"]).await.is_ok(), "it is not even disturbed");
    assert_eq!(sound(&target, &finance).await, Some(Desired::Active));
}

#[tokio::test]
async fn a_number_that_is_too_high_keeps_nobody_in_at_any_node_of_a_cluster() {
    let cluster = cluster().await;
    let urls = cluster.urls();
    let mut nodes = connected(&urls).await;
    let (target, finance) = (with_users_at(&urls[0]), tenant("finance"));
    let record = format!("tenantry:tenant:{}", finance.uid);
    bring(&target, &finance, Desired::Active, 1).await;
    for node in &mut nodes {
        enrol(node, &finance).await;
    }
    for number in NONSENSE {
        for node in &mut nodes {
            set_user(node, &finance, &["on"]).await;
            // The others say who has it.
            let _: redis::RedisResult<()> = say(node, &["HSET", &record, "generation", number]).await;
        }
        told(target.apply(&finance, Desired::Suspended, 2).await);
        for url in &urls {
            assert!(client(url, &finance).await.is_err(), "{number}: {url}");
        }
    }
}

#[tokio::test]
async fn a_record_whose_number_is_none_is_named_and_keeps_nobody_in() {
    let server = server().await;
    let url = server.url();
    let mut admin = connect(&url).await.unwrap();
    let (target, finance) = (with_users(&url), tenant("finance"));
    let record = format!("tenantry:tenant:{}", finance.uid);
    for number in ["abc", "", "nan", "99999999999999999999"] {
        bring(&target, &finance, Desired::Active, 1).await;
        enrol(&mut admin, &finance).await;
        admin.hset::<_, _, _, ()>(&record, "generation", number).await.unwrap();
        let words = format!(
            "the tenant's record {record} has a generation that is no number, \"{number}\": delete that key, then retry"
        );
        for state in [Desired::Active, Desired::Suspended] {
            let refused = told(target.apply(&finance, state, 2).await);
            assert_eq!(refused, (FailureKind::Permanent, words.clone()), "{state}");
            let seen = target.observe(&finance).await.unwrap();
            assert!(seen.amiss.is_some_and(|why| why.contains(&words)), "{state}");
        }
        assert!(client(&url, &finance).await.is_err(), "{number}");
        admin.del::<_, ()>(&record).await.unwrap();
    }
    bring(&target, &finance, Desired::Active, 1).await;
    admin.hset::<_, _, _, ()>(&record, "generation", -5).await.unwrap();
    let seen = target.observe(&finance).await.unwrap().amiss.unwrap();
    assert!(seen.contains(&record) && seen.contains("\"-5\""), "{seen}");
    // It is older than any change.
    assert_eq!(bring(&target, &finance, Desired::Suspended, 2).await, Some(Desired::Suspended));
}

/// The verifier could not judge such a tenant, and so said nothing while it was let in.
#[tokio::test]
async fn a_tenant_whose_record_cannot_be_read_is_drift_and_in_what_its_user_and_its_keys_let_through() {
    let server = server().await;
    let mut admin = connect(&server.url()).await.unwrap();
    let target = with_users(&server.url());
    let broken = |record: &str| {
        let text = ["SET", record, "x"].map(str::to_owned).to_vec();
        let number = ["HSET", record, "generation", "abc"].map(str::to_owned).to_vec();
        let state = ["HSET", record, "applied", "abc"].map(str::to_owned).to_vec();
        [(text, "is not a hash"), (number, "no number"), (state, "a state that is none")]
    };
    for way in 0..3 {
        let finance = tenant("finance");
        let record = format!("tenantry:tenant:{}", finance.uid);
        let (command, words) = broken(&record)[way].clone();
        bring(&target, &finance, Desired::Suspended, 1).await;
        if way == 0 {
            admin.del::<_, ()>(&record).await.unwrap();
        }
        redis::cmd(&command[0]).arg(&command[1..]).exec_async(&mut admin).await.unwrap();
        let seen = async || {
            let seen = target.observe(&finance).await.unwrap();
            let amiss = seen.amiss.unwrap();
            assert!(amiss.contains(&record) && amiss.contains(words), "{amiss}");
            let generation = u64::from(words.contains("none"));
            assert_eq!((seen.generation, seen.verification), (generation, Verification::Effect), "{words}");
            seen.state
        };
        assert_eq!(seen().await, Some(Desired::Suspended), "{words}: it is locked out");
        admin.set::<_, _, ()>(key(&finance, "a"), "x").await.unwrap();
        assert_eq!(seen().await, Some(Desired::Active), "{words}: it has keys");
        admin.del::<_, ()>(key(&finance, "a")).await.unwrap();
        set_user(&mut admin, &finance, &["on", ">pass", "+@all", "~*"]).await;
        assert_eq!(seen().await, Some(Desired::Active), "{words}: its user was opened");
        let mut theirs = client(&server.url(), &finance).await.unwrap();
        // As a repair does.
        let _ = target.apply(&finance, Desired::Suspended, 2).await;
        assert!(say::<String>(&mut theirs, &["PING"]).await.is_err(), "{words}: it is locked out again");
        if words.contains("none") {
            assert_eq!(sound(&target, &finance).await, Some(Desired::Suspended), "written anew");
        } else {
            assert_eq!(
                seen().await,
                Some(Desired::Suspended),
                "{words}: and the record waits for an operator"
            );
        }
    }
}

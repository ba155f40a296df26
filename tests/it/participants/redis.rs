//! The cache: real Redis servers, and clients with the tenants' own credentials.

mod cluster;
mod held;
mod lost;
mod nopass;
mod open;
mod record;
mod taken_over;

use std::sync::Arc;

use futures_util::StreamExt as _;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands as _, Client, RedisError, RedisResult};
use tenantry::app::dev_servers::redis::{Redis, Tls};
use tenantry::domain::lifecycle::{Desired, Verification};
use tenantry::participants::{FailureKind, Participant, TenantRef};

use super::certificates::Certificates;
use super::{blocking, bring, closed, holds_its_generation, mute, target, tenant, told, until};

async fn server() -> Redis {
    blocking(|| Redis::start().expect("Redis starts")).await
}

pub(super) async fn connect(url: &str) -> RedisResult<MultiplexedConnection> {
    Client::open(url)?.get_multiplexed_async_connection().await
}

fn user(tenant: &TenantRef) -> String {
    format!("t-{}", tenant.uid.simple())
}

/// Gives the tenant's user a password, as a platform does when it makes a tenant.
pub(super) async fn enrol(admin: &mut MultiplexedConnection, tenant: &TenantRef) {
    let set: RedisResult<()> =
        redis::cmd("ACL").arg("SETUSER").arg(user(tenant)).arg(">pass").query_async(admin).await;
    set.unwrap();
}

/// The tenant's own client.
pub(super) async fn client(url: &str, tenant: &TenantRef) -> RedisResult<MultiplexedConnection> {
    let (_, place) = url.rsplit_once('@').unwrap();
    connect(&format!("redis://{}:pass@{place}", user(tenant))).await
}

fn key(tenant: &TenantRef, name: &str) -> String {
    format!("{}{name}", tenant.names.cache_prefix)
}

fn code<T>(result: Result<T, RedisError>) -> String {
    result.err().and_then(|error| error.code().map(str::to_owned)).unwrap_or_default()
}

/// A tenant whose names were chosen.
fn named(tenant_id: &str, prefix: &str) -> TenantRef {
    let mut tenant = tenant(tenant_id);
    prefix.clone_into(&mut tenant.names.cache_prefix);
    tenant
}

fn with_users(url: &str) -> Arc<dyn Participant> {
    target(&format!("kind = \"redis\", url = \"{url}\", users = \"acl\""))
}

#[tokio::test]
async fn a_tenants_own_client_is_refused_and_let_in_while_the_neighbour_never_notices() {
    let server = server().await;
    let url = server.url();
    let target = with_users(&url);
    let mut admin = connect(&url).await.unwrap();
    let (finance, neighbour) = (named("finance", "t:1:"), named("finance-2", "t:12:"));
    for tenant in [&finance, &neighbour] {
        assert_eq!(bring(&target, tenant, Desired::Active, 1).await, Some(Desired::Active));
        enrol(&mut admin, tenant).await;
    }
    let mut theirs = client(&url, &neighbour).await.unwrap();
    theirs.set::<_, _, ()>(key(&neighbour, "a"), "theirs").await.unwrap();
    let mut ours = client(&url, &finance).await.unwrap();
    let mut generation = 1;
    for state in [
        Desired::Suspended,
        Desired::Active,
        Desired::ReadOnly,
        Desired::Active,
        Desired::Archived,
        Desired::Suspended,
        Desired::ReadOnly,
        Desired::Active,
    ] {
        if let Ok(mut connection) = client(&url, &finance).await {
            let _: RedisResult<()> = connection.set(key(&finance, "a"), "ours").await;
        }
        generation += 1;
        assert_eq!(bring(&target, &finance, state, generation).await, Some(state));
        let lets_in = matches!(state, Desired::Active | Desired::ReadOnly);
        let again = client(&url, &finance).await;
        assert_eq!(again.is_ok(), lets_in, "{state}: a new connection");
        if let Ok(mut again) = again {
            let read: RedisResult<Option<String>> = again.get(key(&finance, "a")).await;
            assert!(read.is_ok(), "{state}: {read:?}");
            let written: RedisResult<()> = again.set(key(&finance, "a"), "ours").await;
            assert_eq!(code(written), if state == Desired::Active { "" } else { "NOPERM" }, "{state}");
            for foreign in ["t:12:a", "other", "tenantry:tenant:x"] {
                assert_eq!(code(again.get::<_, Option<String>>(foreign).await), "NOPERM", "{foreign}");
            }
            let all: RedisResult<Vec<String>> = redis::cmd("SCAN").arg(0).query_async(&mut again).await;
            assert_eq!(code(all), "NOPERM", "nobody looks at others' keys");
            ours = again;
        } else {
            let read: RedisResult<Option<String>> = ours.get(key(&finance, "a")).await;
            assert!(read.is_err(), "{state}: a connection from before: {read:?}");
            let left: Vec<String> = admin.keys("t:1:*").await.unwrap();
            assert!(left.is_empty(), "{state}: {left:?}");
        }
        assert_eq!(theirs.get::<_, String>(key(&neighbour, "a")).await.unwrap(), "theirs", "{state}");
        theirs.set::<_, _, ()>(key(&neighbour, "a"), "theirs").await.unwrap();
    }
    holds_its_generation(&target, &finance, Desired::Active, generation).await;
    assert_eq!(target.observe(&finance).await.unwrap().verification, Verification::Effect);
    assert_eq!(bring(&target, &finance, Desired::Deleted, 20).await, Some(Desired::Deleted));
    let users: Vec<String> = redis::cmd("ACL").arg("USERS").query_async(&mut admin).await.unwrap();
    assert!(!users.contains(&user(&finance)) && users.contains(&user(&neighbour)), "{users:?}");
}

#[tokio::test]
async fn thousands_of_keys_go_in_batches_and_only_the_tenants() {
    let server = server().await;
    let target = target(&format!("kind = \"redis\", url = \"{}\", batch = 50", server.url()));
    let mut admin = connect(&server.url()).await.unwrap();
    let (big, neighbour) = (named("big", "t:7:"), named("small", "t:77:"));
    for tenant in [&big, &neighbour] {
        bring(&target, tenant, Desired::Active, 1).await;
    }
    let mut fill = redis::pipe();
    for number in 0..5_000 {
        fill.set(key(&big, &format!("{number}")), "x").ignore();
    }
    for number in 0..100 {
        fill.set(key(&neighbour, &format!("{number}")), "x").ignore();
    }
    fill.exec_async(&mut admin).await.unwrap();
    assert_eq!(bring(&target, &big, Desired::Suspended, 2).await, Some(Desired::Suspended));
    assert_eq!(admin.keys::<_, Vec<String>>("t:7:*").await.unwrap().len(), 0);
    assert_eq!(admin.keys::<_, Vec<String>>("t:77:*").await.unwrap().len(), 100);
    let seen = target.observe(&big).await.unwrap();
    assert_eq!((seen.generation, seen.verification), (2, Verification::PolicyOnly), "no client was tried");
}

#[tokio::test]
async fn a_suspension_is_told_to_whoever_keeps_copies_and_stands_in_the_record() {
    let server = server().await;
    let target = target(&format!("kind = \"redis\", url = \"{}\"", server.url()));
    let mut listening = Client::open(server.url()).unwrap().get_async_pubsub().await.unwrap();
    listening.subscribe("tenantry:invalidate").await.unwrap();
    let finance = tenant("finance");
    bring(&target, &finance, Desired::Suspended, 3).await;
    let told: String = listening.on_message().next().await.unwrap().get_payload().unwrap();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["tenant_id"], &told["state"], &told["generation"]),
        (&"finance".into(), &"SUSPENDED".into(), &3.into())
    );
    assert_eq!(told["prefix"], finance.names.cache_prefix);
    let mut admin = connect(&server.url()).await.unwrap();
    let state: String = admin.hget(format!("tenantry:tenant:{}", finance.uid), "state").await.unwrap();
    assert_eq!(state, "SUSPENDED");
}

#[tokio::test]
async fn what_somebody_changed_by_hand_is_seen() {
    let server = server().await;
    let target = with_users(&server.url());
    let mut admin = connect(&server.url()).await.unwrap();
    let finance = tenant("finance");
    bring(&target, &finance, Desired::Suspended, 1).await;
    let open = ["SETUSER", &user(&finance), "on", "~*", "+@all"];
    redis::cmd("ACL").arg(&open[..]).exec_async(&mut admin).await.unwrap();
    assert_eq!(target.observe(&finance).await.unwrap().state, Some(Desired::Active), "let in by hand");
    assert_eq!(bring(&target, &finance, Desired::Suspended, 1).await, Some(Desired::Suspended), "mended");
    admin.set::<_, _, ()>(key(&finance, "late"), "x").await.unwrap();
    assert_eq!(target.observe(&finance).await.unwrap().state, Some(Desired::Active), "data is back");
    assert_eq!(bring(&target, &finance, Desired::Suspended, 1).await, Some(Desired::Suspended), "mended");
    bring(&target, &finance, Desired::Active, 2).await;
    redis::cmd("ACL").arg("SETUSER").arg(user(&finance)).arg("off").exec_async(&mut admin).await.unwrap();
    assert_eq!(target.observe(&finance).await.unwrap().state, Some(Desired::Suspended), "shut by hand");
    let record = format!("tenantry:tenant:{}", finance.uid);
    admin.del::<_, ()>(&record).await.unwrap();
    admin.set::<_, _, ()>(key(&finance, "left"), "x").await.unwrap();
    assert_eq!(target.observe(&finance).await.unwrap().state, Some(Desired::Active), "a key is left");
    redis::cmd("FLUSHALL").exec_async(&mut admin).await.unwrap();
    assert_eq!(target.observe(&finance).await.unwrap().state, None, "the cache lost its records");
}

/// What people do by hand to the user of a tenant.
const BY_HAND: [&[&str]; 5] = [
    &["on", "~*", "+@all"],
    &["on", "~*", "+@read"],
    &["on", "nocommands"],
    &["on", "~*", "+set", "-get"],
    &["off"],
];

/// The state that it is seen in, where nothing is amiss.
async fn sound(target: &Arc<dyn Participant>, tenant: &TenantRef) -> Option<Desired> {
    let seen = target.observe(tenant).await.unwrap();
    seen.state.filter(|_| seen.amiss.is_none())
}

async fn set_user(admin: &mut MultiplexedConnection, tenant: &TenantRef, rules: &[&str]) {
    redis::cmd("ACL").arg("SETUSER").arg(user(tenant)).arg(rules).exec_async(admin).await.unwrap();
}

#[tokio::test]
async fn whatever_part_somebody_changes_by_hand_it_is_no_longer_the_state_that_was_wanted() {
    let server = server().await;
    let mut admin = connect(&server.url()).await.unwrap();
    let finance = tenant("finance");
    let record = format!("tenantry:tenant:{}", finance.uid);
    let plain = format!("kind = \"redis\", url = \"{}\"", server.url());
    let (target, without_users) = (with_users(&server.url()), self::target(&plain));
    let words = Desired::ALL.map(Desired::as_str).into_iter().chain(["active", ""]);
    for (wanted, generation) in
        [Desired::Active, Desired::ReadOnly, Desired::Suspended, Desired::Archived].into_iter().zip(1..)
    {
        let seen = async || sound(&target, &finance).await;
        bring(&target, &finance, wanted, generation).await;
        if matches!(wanted, Desired::Active | Desired::ReadOnly) {
            // A tenant that is let in has keys; they are no reason to take a closed door for an open one.
            admin.set::<_, _, ()>(key(&finance, "a"), "x").await.unwrap();
        }
        for told in words.clone().filter(|told| *told != wanted.as_str()) {
            admin.hset::<_, _, _, ()>(&record, "state", told).await.unwrap();
            assert_ne!(seen().await, Some(wanted), "the record says {told:?}");
            let policy = without_users.observe(&finance).await.unwrap();
            assert_ne!(policy.state, Some(wanted), "the record says {told:?}, and there are no users");
            for rules in BY_HAND {
                set_user(&mut admin, &finance, rules).await;
                assert_ne!(seen().await, Some(wanted), "the record says {told:?}, the user has {rules:?}");
            }
            assert_eq!(bring(&target, &finance, wanted, generation).await, Some(wanted), "mended");
        }
        // Any rules but ours are a change by hand, and a user that is off lets nobody in whatever its rules.
        let is_shut = matches!(wanted, Desired::Suspended | Desired::Archived);
        for rules in BY_HAND {
            set_user(&mut admin, &finance, &["resetkeys", "nocommands"]).await;
            set_user(&mut admin, &finance, rules).await;
            let is_wanted = seen().await == Some(wanted);
            assert_eq!(is_wanted, is_shut && rules == ["off"], "{wanted}: the user has {rules:?}");
            assert_eq!(bring(&target, &finance, wanted, generation).await, Some(wanted), "mended");
        }
    }
}

#[tokio::test]
async fn a_user_with_more_or_less_than_its_state_gives_it_is_drift_and_another_password_is_not() {
    let server = server().await;
    let target = with_users(&server.url());
    let mut admin = connect(&server.url()).await.unwrap();
    let finance = tenant("finance");
    for (wanted, generation) in [(Desired::Active, 1), (Desired::ReadOnly, 2)] {
        bring(&target, &finance, wanted, generation).await;
        set_user(&mut admin, &finance, &[">another"]).await;
        assert_eq!(sound(&target, &finance).await, Some(wanted), "a password");
        for rules in [
            &["~*", "+@all", "&*"][..],
            &["-@all", "+get", "+set"],
            &["~other:*"],
            &["&other:*"],
            &["(+@all ~*)"],
            &["+client|tracking"],
            &["+select"],
            // As users were before they were kept in one database.
            &["+copy", "+move", "+select", "+client|tracking"],
        ] {
            set_user(&mut admin, &finance, rules).await;
            assert_ne!(sound(&target, &finance).await, Some(wanted), "{wanted}: {rules:?}");
            bring(&target, &finance, wanted, generation).await;
            assert_eq!(sound(&target, &finance).await, Some(wanted), "{rules:?} is mended");
        }
    }
    let users: Vec<String> = redis::cmd("ACL").arg("USERS").query_async(&mut admin).await.unwrap();
    assert_eq!(users, ["default".to_owned(), user(&finance)], "comparing leaves no user behind");
}

#[tokio::test]
async fn what_a_user_may_beyond_its_state_is_said_and_does_not_make_it_suspended() {
    let server = server().await;
    let target = with_users(&server.url());
    let mut admin = connect(&server.url()).await.unwrap();
    let finance = named("finance", "t:1:");
    for (rules, words) in [
        (
            &["+cluster|slots"][..],
            "the user has other rules than ACTIVE gives (commands with +cluster|slots)",
        ),
        (&["~other:*"], "(keys with ~other:*)"),
        (&["~*"], "(keys with ~* and without ~t:1:*)"),
        (&["(+get ~*)"], "(other selectors)"),
    ] {
        bring(&target, &finance, Desired::Active, 1).await;
        set_user(&mut admin, &finance, rules).await;
        let seen = target.observe(&finance).await.unwrap();
        assert_eq!(seen.state, Some(Desired::Active), "{rules:?}: it is let in");
        let amiss = seen.amiss.unwrap();
        assert!(amiss.contains(words) && amiss.contains(&server.port().to_string()), "{rules:?}: {amiss}");
    }
    bring(&target, &finance, Desired::Suspended, 2).await;
    set_user(&mut admin, &finance, &["on"]).await;
    let seen = target.observe(&finance).await.unwrap();
    assert_eq!(seen.state, Some(Desired::Active));
    assert!(seen.amiss.unwrap().starts_with("the user is on at "));
}

#[tokio::test]
async fn a_tenants_client_stays_in_its_database_and_hears_of_no_key_but_its_own() {
    let server = server().await;
    let mut admin = connect(&server.url()).await.unwrap();
    let finance = tenant("finance");
    for database in [0, 3] {
        let url = format!("{}/{database}", server.url());
        let target = with_users(&url);
        bring(&target, &finance, Desired::Active, 1).await;
        enrol(&mut admin, &finance).await;
        // As client libraries do when they connect.
        let mut ours = client(&url, &finance).await.unwrap();
        for greeting in [&["PING"][..], &["CLIENT", "SETNAME", "x"], &["CLIENT", "ID"], &["HELLO", "3"]] {
            let greeted = redis::cmd(greeting[0]).arg(&greeting[1..]).exec_async(&mut ours).await;
            assert!(greeted.is_ok(), "{greeting:?}: {greeted:?}");
        }
        let own = key(&finance, "a");
        ours.set::<_, _, ()>(&own, "x").await.unwrap();
        for refused in [
            &["SELECT", "1"][..],
            &["MOVE", &own, "1"],
            &["COPY", &own, &own, "DB", "1"],
            &["SWAPDB", "0", "1"],
            &["CLIENT", "TRACKING", "ON", "BCAST"],
            &["CLIENT", "LIST"],
            &["EVAL", "return redis.call('SELECT', 1)", "0"],
        ] {
            let said = redis::cmd(refused[0]).arg(&refused[1..]).exec_async(&mut ours).await;
            assert!(said.is_err(), "{refused:?} in database {database}");
        }
        assert_eq!(target.observe(&finance).await.unwrap().state, Some(Desired::Active), "{database}");
    }
}

#[tokio::test]
async fn a_tenants_keys_go_from_every_database_of_the_server() {
    let server = server().await;
    let target = with_users(&server.url());
    let mut elsewhere = connect(&format!("{}/3", server.url())).await.unwrap();
    let (finance, neighbour) = (named("finance", "t:1:"), named("finance-2", "t:12:"));
    bring(&target, &finance, Desired::Active, 1).await;
    let theirs = key(&neighbour, "a");
    elsewhere.set::<_, _, ()>(&theirs, "x").await.unwrap();
    for (state, generation) in [(Desired::Suspended, 2), (Desired::Deleted, 3)] {
        elsewhere.set::<_, _, ()>(key(&finance, "a"), "x").await.unwrap();
        assert_ne!(target.observe(&finance).await.unwrap().state, Some(state), "a key in database 3");
        assert_eq!(bring(&target, &finance, state, generation).await, Some(state));
        let left: Vec<String> = elsewhere.keys("*").await.unwrap();
        assert_eq!(left, [theirs.as_str()], "{state}");
    }
}

#[tokio::test]
async fn a_server_with_mutual_tls_is_reached_by_those_whom_it_knows() {
    let certificates = Certificates::new().await;
    let [authority, certificate, key] =
        ["authority.crt", "server.crt", "server.key"].map(|file| certificates.path(file));
    let server = blocking(move || {
        Redis::start_encrypted(&Tls { authority: &authority, certificate: &certificate, key: &key })
            .expect("Redis starts")
    })
    .await;
    let url = format!("kind = \"redis\", url = \"rediss://127.0.0.1:{}\"", server.port());
    let known = target(&format!("{url}, {}", certificates.settings("client")));
    assert_eq!(bring(&known, &tenant("finance"), Desired::Suspended, 1).await, Some(Desired::Suspended));
    for stranger in [certificates.settings("impostor"), certificates.trust()] {
        let (kind, words) =
            told(target(&format!("{url}, {stranger}")).apply(&tenant("hr"), Desired::Active, 1).await);
        assert!(matches!(kind, FailureKind::Retryable | FailureKind::Unknown), "{words}");
        assert!(words.contains("cannot be reached"), "{words}");
    }
    let (_, words) = told(target(&url).apply(&tenant("hr"), Desired::Active, 1).await);
    assert_eq!(
        words,
        "the cache cannot be reached: its certificate is of no authority that we trust (`ca_file`)"
    );
}

#[tokio::test]
async fn each_failure_has_its_class_and_our_words() {
    let server = server().await;
    let finance = tenant("finance");
    let mut admin = connect(&server.url()).await.unwrap();
    let weak = ["SETUSER", "weak", "on", ">pass", "~*", "+ping", "+client"];
    redis::cmd("ACL").arg(&weak[..]).exec_async(&mut admin).await.unwrap();
    let (later, never) = (FailureKind::Retryable, FailureKind::Permanent);
    let weak = ", username = \"weak\", password = ";
    for (url, extra, kind, words) in [
        (
            format!("redis://127.0.0.1:{}", closed()),
            String::new(),
            later,
            "the cache cannot be reached: it refuses connections",
        ),
        (server.url(), format!("{weak}\"wrong\""), later, "the cache does not accept our password"),
        (server.url(), format!("{weak}\"pass\""), never, "our account may not run a command that this needs"),
        (server.url(), ", mode = \"cluster\"".to_owned(), later, "the cache answered with an error"),
    ] {
        let target = target(&format!("kind = \"redis\", url = \"{url}\"{extra}"));
        let seen = told(target.apply(&finance, Desired::Suspended, 1).await);
        assert_eq!(seen, (kind, words.to_owned()), "{url}{extra}");
    }
    let (_listener, silent) = mute();
    let target =
        target(&format!("kind = \"redis\", url = \"redis://127.0.0.1:{silent}\", deadline = \"200ms\""));
    let (_, words) = told(target.apply(&finance, Desired::Suspended, 1).await);
    assert_eq!(words, "the cache did not answer in time");
}

#[tokio::test]
async fn a_server_that_was_started_again_is_found_again() {
    let first = server().await;
    let port = first.port();
    let target = target(&format!("kind = \"redis\", url = \"{}\"", first.url()));
    let finance = tenant("finance");
    bring(&target, &finance, Desired::Active, 1).await;
    blocking(move || drop(first)).await;
    assert!(target.observe(&finance).await.is_err());
    let _second = blocking(move || Redis::start_at(port).expect("Redis starts")).await;
    until("it is seen again, without its records", async || {
        target.observe(&finance).await.is_ok_and(|seen| seen.state.is_none())
    })
    .await;
    assert_eq!(bring(&target, &finance, Desired::Suspended, 2).await, Some(Desired::Suspended));
}

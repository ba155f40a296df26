//! A cluster of three and a replica, with users of the tenants' own at every node.

use std::process::Command;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands as _, RedisResult};
use tenantry::app::dev_servers::redis::Cluster;
use tenantry::domain::lifecycle::{Desired, Verification};
use tenantry::participants::{FailureKind, Participant};

use super::super::{blocking, bring, holds_its_generation, target, tenant, told, until};
use super::{client, code, connect, enrol, key, named, set_user, sound, user};
use crate::support::programs::{must_run, python, root};

pub(super) async fn cluster() -> Arc<Cluster> {
    Arc::new(blocking(|| Cluster::start().expect("a cluster starts")).await)
}

/// One node is enough to find the others.
pub(super) fn with_users_at(url: &str) -> Arc<dyn Participant> {
    target(&format!("kind = \"redis\", mode = \"cluster\", urls = [\"{url}\"], users = \"acl\""))
}

/// Connections to all nodes, once every node tells clients of the replica.
pub(super) async fn connected(urls: &[String]) -> Vec<MultiplexedConnection> {
    let mut nodes = Vec::new();
    for url in urls {
        nodes.push(connect(url).await.unwrap());
    }
    let replica = port(&urls[3]);
    for node in &mut nodes {
        until("every node tells of the replica", async || {
            let told: redis::Value = redis::cmd("CLUSTER").arg("SLOTS").query_async(node).await.unwrap();
            format!("{told:?}").contains(replica)
        })
        .await;
    }
    nodes
}

fn port(url: &str) -> &str {
    url.rsplit(':').next().unwrap()
}

/// As it is named to people.
pub(super) fn address(url: &str) -> &str {
    url.rsplit('@').next().unwrap()
}

pub(super) async fn say<T: redis::FromRedisValue>(
    node: &mut MultiplexedConnection,
    words: &[&str],
) -> RedisResult<T> {
    redis::cmd(words[0]).arg(&words[1..]).query_async(node).await
}

/// A server that hangs, until this is dropped: it keeps what it has in memory.
pub(super) struct Hung(String);

impl Hung {
    pub(super) async fn new(node: &mut MultiplexedConnection) -> Self {
        let told: String = say(node, &["INFO", "server"]).await.unwrap();
        let process = told.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap();
        assert!(Command::new("kill").args(["-STOP", process]).status().unwrap().success());
        Self(process.to_owned())
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-CONT", &self.0]).status();
    }
}

async fn is_failed(node: &mut MultiplexedConnection, id: &str) -> bool {
    let told: String = say(node, &["CLUSTER", "NODES"]).await.unwrap();
    let line = told.lines().find(|line| line.starts_with(id)).unwrap();
    line.split(' ').nth(2).unwrap().split(',').any(|flag| flag == "fail")
}

/// What clients send before they serve anybody, and none of it shows others' keys.
const GREETINGS: [&[&str]; 14] = [
    &["CLUSTER", "SLOTS"],
    &["CLUSTER", "SHARDS"],
    &["CLUSTER", "NODES"],
    &["CLUSTER", "INFO"],
    &["CLUSTER", "MYID"],
    &["CLUSTER", "KEYSLOT", "a"],
    &["READONLY"],
    &["READWRITE"],
    &["ASKING"],
    &["COMMAND"],
    &["CLIENT", "SETNAME", "a"],
    &["CLIENT", "ID"],
    &["PING"],
    &["SELECT", "0"],
];
const REFUSED: [&[&str]; 11] = [
    &["CLUSTER", "GETKEYSINSLOT", "0", "10"],
    &["CLUSTER", "COUNTKEYSINSLOT", "0"],
    &["CLUSTER", "FORGET", "0000000000000000000000000000000000000000"],
    &["CLUSTER", "FAILOVER"],
    &["CLUSTER", "RESET"],
    &["CLUSTER", "DELSLOTS", "0"],
    &["INFO", "keyspace"],
    &["SCAN", "0"],
    &["DBSIZE"],
    &["CLIENT", "LIST"],
    &["ACL", "LIST"],
];

#[tokio::test]
async fn a_client_of_a_cluster_finds_its_way_to_its_own_keys_and_to_no_others() {
    let cluster = cluster().await;
    let urls = cluster.urls();
    let target = with_users_at(&urls[0]);
    let finance = tenant("finance");
    for (state, generation) in [(Desired::Active, 1), (Desired::ReadOnly, 2)] {
        bring(&target, &finance, state, generation).await;
        assert_eq!(sound(&target, &finance).await, Some(state));
        for url in &urls {
            let mut admin = connect(url).await.unwrap();
            enrol(&mut admin, &finance).await;
            let mut ours = client(url, &finance).await.unwrap();
            for words in GREETINGS {
                let said: RedisResult<redis::Value> = say(&mut ours, words).await;
                assert!(said.is_ok(), "{state}: {words:?}: {said:?}");
            }
            for words in REFUSED {
                let said: RedisResult<redis::Value> = say(&mut ours, words).await;
                assert_eq!(code(said), "NOPERM", "{state}: {words:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordinary_client_of_a_cluster_is_served_refused_and_served_again() {
    let python = python("redis-venv", "tests/clients/redis/requirements.txt").await;
    let cluster = cluster().await;
    let urls = cluster.urls();
    let mut nodes = connected(&urls).await;
    let target = with_users_at(&urls[0]);
    let finance = tenant("finance");
    for (generation, (state, wanted)) in (1..).zip([
        (Desired::Active, "served 100"),
        (Desired::Suspended, "refused"),
        (Desired::ReadOnly, "refused NoPermissionError"),
        (Desired::Active, "served 100"),
    ]) {
        assert_eq!(bring(&target, &finance, state, generation).await, Some(state));
        for node in &mut nodes {
            enrol(node, &finance).await;
        }
        let mut command = Command::new(&python);
        command.arg(root().join("tests/clients/redis/tenant.py"));
        command.args([port(&urls[1]), &user(&finance), "pass", &finance.names.cache_prefix]);
        let said = must_run(command).await;
        assert!(said.contains(wanted), "{state}: {said}");
    }
}

#[tokio::test]
async fn a_suspension_waits_for_a_node_that_hangs_since_it_would_let_the_tenant_in_when_it_is_back() {
    let cluster = cluster().await;
    let urls = cluster.urls();
    let mut nodes = connected(&urls).await;
    let target = with_users_at(&urls[0]);
    let (finance, neighbour) = (named("finance", "t:1:"), named("finance-2", "t:12:"));
    bring(&target, &finance, Desired::Active, 1).await;
    for node in &mut nodes {
        enrol(node, &finance).await;
    }
    let id: String = say(&mut nodes[3], &["CLUSTER", "MYID"]).await.unwrap();
    let hung = Hung::new(&mut nodes[3]).await;
    let waits = async |generation| {
        let (kind, words) = told(target.apply(&finance, Desired::Suspended, generation).await);
        assert_eq!(kind, FailureKind::Waiting, "{words}");
        assert!(words.contains(address(&urls[3])), "{words}");
    };
    waits(2).await;
    until("the cluster takes it for failed", async || is_failed(&mut nodes[0], &id).await).await;
    waits(2).await;
    for url in &urls[..3] {
        assert!(client(url, &finance).await.is_err(), "{url} refuses the tenant");
    }
    let seen = target.observe(&finance).await.unwrap();
    assert_eq!((seen.state, seen.verification), (Some(Desired::Suspended), Verification::PolicyOnly));
    // Who is let in has nothing to wait for.
    assert_eq!(bring(&target, &neighbour, Desired::Active, 1).await, Some(Desired::Active));
    assert_eq!(target.observe(&neighbour).await.unwrap().verification, Verification::Effect);
    drop(hung);
    assert!(client(&urls[3], &finance).await.is_ok(), "its user is still on");
    until("it is told", async || target.apply(&finance, Desired::Suspended, 2).await.is_ok()).await;
    assert!(client(&urls[3], &finance).await.is_err(), "it refuses the tenant");
    let seen = target.observe(&finance).await.unwrap();
    assert_eq!((seen.state, seen.verification), (Some(Desired::Suspended), Verification::Effect));
    until("the cluster has it back", async || !is_failed(&mut nodes[0], &id).await).await;
    assert_ne!(sound(&target, &neighbour).await, Some(Desired::Active), "it lacks the new tenant's user");
    bring(&target, &neighbour, Desired::Active, 1).await;
    assert_eq!(sound(&target, &neighbour).await, Some(Desired::Active));
    // Gone for good.
    let _hung = Hung::new(&mut nodes[3]).await;
    waits(3).await;
    for node in &mut nodes[..3] {
        say::<()>(node, &["CLUSTER", "FORGET", &id]).await.unwrap();
    }
    assert_eq!(bring(&target, &finance, Desired::Suspended, 3).await, Some(Desired::Suspended));
}

#[tokio::test]
async fn while_a_primary_hangs_the_others_refuse_the_tenant_already() {
    let cluster = cluster().await;
    let urls = cluster.urls();
    let mut nodes = connected(&urls).await;
    for node in &mut nodes {
        say::<()>(node, &["CONFIG", "SET", "cluster-require-full-coverage", "no"]).await.unwrap();
    }
    let target = with_users_at(&urls[0]);
    let finance = tenant("finance");
    bring(&target, &finance, Desired::Active, 1).await;
    // The record's own node is needed for any change.
    let record = format!("tenantry:tenant:{}", finance.uid);
    let has_record = nodes[1].exists::<_, bool>(&record).await.is_ok();
    let hangs = if has_record { 2 } else { 1 };
    for node in &mut nodes {
        enrol(node, &finance).await;
    }
    let hung = Hung::new(&mut nodes[hangs]).await;
    let (kind, words) = told(target.apply(&finance, Desired::Suspended, 2).await);
    assert_eq!(kind, FailureKind::Waiting, "{words}");
    assert!(words.contains(address(&urls[hangs])), "{words}");
    let others = (0..4).filter(|node| *node != hangs);
    for url in others.map(|node| &urls[node]) {
        assert!(client(url, &finance).await.is_err(), "{url} refuses the tenant");
    }
    let unseen = target.observe(&finance).await.unwrap_err();
    assert!(unseen.message.contains(address(&urls[hangs])), "{unseen}");
    drop(hung);
    until("it is told", async || target.apply(&finance, Desired::Suspended, 2).await.is_ok()).await;
    assert!(client(&urls[hangs], &finance).await.is_err(), "it refuses the tenant");
    assert_eq!(sound(&target, &finance).await, Some(Desired::Suspended));
}

#[tokio::test]
async fn a_node_that_lost_its_users_gets_them_back_with_the_passwords_of_the_others() {
    let cluster = cluster().await;
    let urls = cluster.urls();
    let mut nodes = connected(&urls).await;
    let target = with_users_at(&urls[0]);
    let finance = tenant("finance");
    bring(&target, &finance, Desired::Active, 1).await;
    for node in &mut nodes {
        enrol(node, &finance).await;
    }
    let mends = async |what: &str, generation| {
        bring(&target, &finance, Desired::Active, generation).await;
        assert_eq!(sound(&target, &finance).await, Some(Desired::Active), "{what}");
        for url in &urls {
            assert!(client(url, &finance).await.is_ok(), "{what}: {url} lets the tenant in");
        }
    };
    for lost in [3, 1] {
        say::<()>(&mut nodes[lost], &["ACL", "DELUSER", &user(&finance)]).await.unwrap();
        let seen = target.observe(&finance).await.unwrap();
        assert_ne!(seen.state, Some(Desired::Active));
        let words = format!("there is no user at {}", address(&urls[lost]));
        assert_eq!(seen.amiss, Some(words));
        mends("a user is gone", 1).await;
    }
    for rules in [&["resetpass"][..], &["resetpass", ">old"], &[">further"], &["nopass"]] {
        set_user(&mut nodes[2], &finance, rules).await;
        let amiss = target.observe(&finance).await.unwrap().amiss.unwrap();
        let other = format!("the user has other passwords than at most nodes at {}", address(&urls[2]));
        let none = format!("its user needs no password (`nopass`) at {};", address(&urls[2]));
        assert!(amiss == other || (rules == ["nopass"] && amiss.contains(&none)), "{rules:?}: {amiss}");
        mends("other passwords", 1).await;
        assert_eq!(said_by(&urls[2], &finance, "old").await, "WRONGPASS", "{rules:?}");
    }
    bring(&target, &finance, Desired::Suspended, 2).await;
    say::<()>(&mut nodes[0], &["ACL", "DELUSER", &user(&finance)]).await.unwrap();
    assert_eq!(sound(&target, &finance).await, Some(Desired::Suspended), "nobody is let in");
    mends("a user was gone while it was suspended", 3).await;
    for node in &mut nodes[..2] {
        set_user(node, &finance, &["resetpass", ">new"]).await;
    }
    bring(&target, &finance, Desired::Active, 3).await;
    let amiss = target.observe(&finance).await.unwrap().amiss.unwrap();
    assert!(amiss.contains("no more than half") && amiss.contains(address(&urls[3])), "{amiss}");
    assert!(client(&urls[3], &finance).await.is_ok(), "nobody can know which is right");
}

/// What a node says to the tenant's user with a password.
async fn said_by(url: &str, tenant: &tenantry::participants::TenantRef, password: &str) -> String {
    let mut anybody = connect(url).await.unwrap();
    code(say::<()>(&mut anybody, &["AUTH", &user(tenant), password]).await)
}

#[tokio::test]
async fn a_door_that_is_open_at_one_node_is_seen_whatever_the_record_says() {
    let cluster = Arc::new(blocking(|| Cluster::start().expect("a cluster starts")).await);
    let urls = cluster.urls();
    let target = with_users_at(&urls[0]);
    let finance = tenant("finance");
    bring(&target, &finance, Desired::Suspended, 1).await;
    for open in &urls[..3] {
        let mut node = connect(open).await.unwrap();
        set_user(&mut node, &finance, &["on", ">pass", "~*", "+@all"]).await;
        assert!(client(open, &finance).await.is_ok(), "it logs in at {open}");
        assert_ne!(target.observe(&finance).await.unwrap().state, Some(Desired::Suspended), "{open}");
        for told in ["ACTIVE", "READ_ONLY", "ARCHIVED"] {
            for url in &urls[..3] {
                // Whichever node has the record takes it.
                let mut any = connect(url).await.unwrap();
                let record = format!("tenantry:tenant:{}", finance.uid);
                let _: RedisResult<()> = any.hset(record, "state", told).await;
            }
            let seen = target.observe(&finance).await.unwrap().state;
            assert_ne!(seen, Some(Desired::Suspended), "{open}, and the record says {told}");
        }
        assert_eq!(bring(&target, &finance, Desired::Suspended, 1).await, Some(Desired::Suspended), "mended");
        assert!(client(open, &finance).await.is_err(), "it no longer logs in at {open}");
    }
}

#[tokio::test]
async fn a_cluster_and_its_replica_follow_as_one() {
    let cluster = Arc::new(blocking(|| Cluster::start().expect("a cluster starts")).await);
    let urls = cluster.urls();
    // One node is enough to find the others.
    let target = with_users_at(&urls[1]);
    let (finance, neighbour) = (named("finance", "t:1:"), named("finance-2", "t:12:"));
    let mut nodes = connected(&urls).await;
    for tenant in [&finance, &neighbour] {
        assert_eq!(bring(&target, tenant, Desired::Active, 1).await, Some(Desired::Active));
        for node in &mut nodes {
            enrol(node, tenant).await;
        }
        for number in 0..300 {
            // Whichever node has the slot takes it; the others say where it is.
            for node in &mut nodes[..3] {
                let _: RedisResult<()> = node.set(key(tenant, &format!("{number}")), "x").await;
            }
        }
    }
    let mut held = async |prefix: &str| {
        let mut all = Vec::new();
        for node in &mut nodes[..3] {
            all.push(node.keys::<_, Vec<String>>(format!("{prefix}*")).await.unwrap().len());
        }
        all
    };
    assert!(held("t:1:").await.iter().all(|count| *count > 20), "the keys are spread");
    assert_eq!(bring(&target, &finance, Desired::Suspended, 2).await, Some(Desired::Suspended));
    assert_eq!(held("t:1:").await, [0, 0, 0]);
    assert_eq!(held("t:12:").await.iter().sum::<usize>(), 300);
    for url in &urls {
        assert!(client(url, &finance).await.is_err(), "{url} refuses the tenant, the replica too");
        assert!(client(url, &neighbour).await.is_ok(), "{url} lets the neighbour in");
    }
    holds_its_generation(&target, &finance, Desired::Suspended, 2).await;
    assert_eq!(bring(&target, &finance, Desired::Active, 3).await, Some(Desired::Active));
    for url in &urls {
        assert!(client(url, &finance).await.is_ok(), "{url} lets the tenant in again");
    }
}

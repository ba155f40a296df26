//! The node that holds a tenant's record is gone, or takes no writes.

use std::process::Command;
use std::sync::Arc;

use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tenantry::app::dev_servers::redis::Cluster;
use tenantry::domain::lifecycle::{Desired, Verification};
use tenantry::participants::{FailureKind, Participant, TenantRef};

use super::super::{bring, tenant, told, until};
use super::cluster::{Hung, address, cluster, connected, say, with_users_at};
use super::{client, code, connect, enrol, key, server, set_user, sound, user, with_users};

/// Slots of the second node, and how they are shown.
const SLOTS: std::ops::RangeInclusive<u16> = 5_462..=10_923;
const SHOWN: &str = "5462-10923";

/// A cluster that serves on without some of its slots, and a tenant each whose record is at the second and the third node,
/// let in everywhere.
struct Scene {
    _cluster: Arc<Cluster>,
    urls: Vec<String>,
    nodes: Vec<MultiplexedConnection>,
    target: Arc<dyn Participant>,
    finance: TenantRef,
    neighbour: TenantRef,
}

impl Scene {
    async fn new() -> Self {
        let cluster = cluster().await;
        let urls = cluster.urls();
        let mut nodes = connected(&urls).await;
        let target = with_users_at(&urls[0]);
        let finance = recorded(&mut nodes[0], "finance", |slot| SLOTS.contains(&slot)).await;
        let neighbour = recorded(&mut nodes[0], "hr", |slot| slot > *SLOTS.end()).await;
        for node in &mut nodes {
            say::<()>(node, &["CONFIG", "SET", "cluster-require-full-coverage", "no"]).await.unwrap();
        }
        for tenant in [&finance, &neighbour] {
            bring(&target, tenant, Desired::Active, 1).await;
            for node in &mut nodes {
                enrol(node, tenant).await;
            }
        }
        Self { _cluster: cluster, urls, nodes, target, finance, neighbour }
    }

    /// The nodes that are left when the second is gone.
    fn living(&self) -> impl Iterator<Item = &String> {
        self.urls.iter().enumerate().filter(|(node, _)| *node != 1).map(|(_, url)| url)
    }

    async fn let_in(&self, tenant: &TenantRef) -> Vec<bool> {
        let mut all = Vec::new();
        for url in self.living() {
            all.push(client(url, tenant).await.is_ok());
        }
        all
    }

    /// Ends the second node, as a machine that breaks; answers its id.
    async fn lose(&mut self) -> String {
        let id: String = say(&mut self.nodes[1], &["CLUSTER", "MYID"]).await.unwrap();
        let about: String = say(&mut self.nodes[1], &["INFO", "server"]).await.unwrap();
        let process = about.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap();
        assert!(Command::new("kill").args(["-KILL", process]).status().unwrap().success());
        let url = self.urls[1].clone();
        until("it is gone", async || connect(&url).await.is_err()).await;
        id
    }

    async fn waits(&self, tenant: &TenantRef, state: Desired, generation: u64, words: &[&str]) {
        let (kind, said) = told(self.target.apply(tenant, state, generation).await);
        assert_eq!(kind, FailureKind::Waiting, "{said}");
        for words in words {
            assert!(said.contains(words), "{said}");
        }
    }
}

/// A tenant whose record is in one of some slots.
async fn recorded(
    node: &mut MultiplexedConnection,
    tenant_id: &str,
    wanted: impl Fn(u16) -> bool,
) -> TenantRef {
    loop {
        let tenant = tenant(tenant_id);
        let record = format!("tenantry:tenant:{}", tenant.uid);
        if wanted(say(node, &["CLUSTER", "KEYSLOT", &record]).await.unwrap()) {
            return tenant;
        }
    }
}

/// What a tenant's client is told by a node about a read and a write.
async fn told_at(at_work: &mut MultiplexedConnection, tenant: &TenantRef) -> [String; 2] {
    let key = key(tenant, "a");
    let read: RedisResult<redis::Value> = say(at_work, &["GET", &key]).await;
    let written: RedisResult<redis::Value> = say(at_work, &["SET", &key, "x"]).await;
    [code(read), code(written)]
}

#[tokio::test]
async fn without_the_node_of_its_record_a_tenant_loses_access_at_every_other_and_gets_it_back() {
    let mut scene = Scene::new().await;
    let finance = scene.finance.clone();
    scene.lose().await;
    let gone = address(&scene.urls[1]).to_owned();
    let mut at_work = client(&scene.urls[2], &finance).await.unwrap();
    scene.waits(&finance, Desired::ReadOnly, 2, &["nodes that were not told", &gone]).await;
    let [read, written] = told_at(&mut at_work, &finance).await;
    assert!(read != "NOPERM" && written == "NOPERM", "{read} {written}");
    for (state, generation) in [(Desired::Suspended, 3), (Desired::Archived, 4), (Desired::Deleted, 5)] {
        if generation > 3 {
            for node in [0, 2, 3] {
                set_user(&mut scene.nodes[node], &finance, &["on"]).await;
            }
        }
        scene.waits(&finance, state, generation, &["nodes that were not told", &gone]).await;
        assert_eq!(scene.let_in(&finance).await, [false; 3], "{state}");
        assert!(say::<String>(&mut at_work, &["PING"]).await.is_err(), "{state}: its connections are ended");
        let unseen = scene.target.observe(&finance).await.unwrap_err();
        assert!(unseen.message.contains(&gone), "{unseen}");
    }
    assert_eq!(scene.let_in(&scene.neighbour).await, [true; 3]);
    // Reading only is no way in for whom a newer change may have locked out; nor is it known whether more may be given.
    scene.waits(&finance, Desired::ReadOnly, 6, &[&gone]).await;
    let (kind, said) = told(scene.target.apply(&finance, Desired::Active, 7).await);
    assert!(kind == FailureKind::Retryable && said.contains(&gone), "{said}");
    assert_eq!(scene.let_in(&finance).await, [false; 3]);
}

#[tokio::test]
async fn once_a_lost_node_is_forgotten_its_slots_are_named_and_what_mends_them_mends_every_step() {
    let mut scene = Scene::new().await;
    let (finance, neighbour) = (scene.finance.clone(), scene.neighbour.clone());
    let id = scene.lose().await;
    for node in [0, 2, 3] {
        say::<()>(&mut scene.nodes[node], &["CLUSTER", "FORGET", &id]).await.unwrap();
    }
    // The record of the one is lost, that of the other is there.
    for tenant in [&finance, &neighbour] {
        scene.waits(tenant, Desired::Suspended, 2, &[SHOWN, "`redis-cli --cluster fix 127.0.0.1:"]).await;
        assert_eq!(scene.let_in(tenant).await, [false; 3], "{}", tenant.tenant_id);
        let unseen = scene.target.observe(tenant).await.unwrap_err();
        assert!(unseen.message.contains(SHOWN), "{unseen}");
    }
    // What could be done for more access is done as well.
    scene.waits(&neighbour, Desired::Active, 3, &[SHOWN]).await;
    assert_eq!(scene.let_in(&neighbour).await, [true; 3]);
    // As an operator who says yes to whatever it asks.
    let answered = "yes yes | redis-cli --cluster fix \"$1\"";
    let url = &scene.urls[0];
    let (_, password) = url.split_once("//:").unwrap();
    let mut fix = Command::new("sh");
    fix.args(["-c", answered, "sh", address(url)]).env("REDISCLI_AUTH", password.split('@').next().unwrap());
    let fixed = fix.output().unwrap();
    assert!(fixed.status.success(), "{}", String::from_utf8_lossy(&fixed.stdout));
    for tenant in [&finance, &neighbour] {
        until("the nodes agree", async || scene.target.apply(tenant, Desired::Suspended, 4).await.is_ok())
            .await;
        let seen = scene.target.observe(tenant).await.unwrap();
        assert_eq!((seen.state, seen.verification), (Some(Desired::Suspended), Verification::Effect));
        bring(&scene.target, tenant, Desired::Active, 5).await;
        assert_eq!(sound(&scene.target, tenant).await, Some(Desired::Active));
        assert_eq!(scene.let_in(tenant).await, [true; 3]);
    }
}

#[tokio::test]
async fn a_late_suspension_that_cannot_read_the_record_is_drift_and_the_newest_change_undoes_it() {
    let mut scene = Scene::new().await;
    let finance = scene.finance.clone();
    bring(&scene.target, &finance, Desired::Active, 3).await;
    let hung = Hung::new(&mut scene.nodes[1]).await;
    // Nobody can know that it is late. It never says that it was done.
    scene.waits(&finance, Desired::Suspended, 2, &[address(&scene.urls[1])]).await;
    assert_eq!(scene.let_in(&finance).await, [false; 3]);
    drop(hung);
    until("the node is back", async || scene.target.observe(&finance).await.is_ok()).await;
    let (kind, said) = told(scene.target.apply(&finance, Desired::Suspended, 2).await);
    assert!(kind == FailureKind::Permanent && said.contains("a newer change was applied already"), "{said}");
    let seen = scene.target.observe(&finance).await.unwrap();
    assert!(seen.state != Some(Desired::Active) && seen.generation == 3, "what a repair looks for: {seen:?}");
    bring(&scene.target, &finance, Desired::Active, 3).await;
    assert_eq!(sound(&scene.target, &finance).await, Some(Desired::Active));
    assert_eq!(scene.let_in(&finance).await, [true; 3]);
}

#[tokio::test]
async fn a_record_that_takes_no_writes_keeps_nobody_in_and_refuses_older_calls_all_the_same() {
    let server = server().await;
    let url = server.url();
    let mut admin = connect(&url).await.unwrap();
    let (target, finance) = (with_users(&url), tenant("finance"));
    bring(&target, &finance, Desired::Active, 3).await;
    enrol(&mut admin, &finance).await;
    say::<()>(&mut admin, &["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
    let mut at_work = client(&url, &finance).await.unwrap();
    let (kind, said) = told(target.apply(&finance, Desired::Suspended, 2).await);
    assert!(kind == FailureKind::Permanent && said.contains("a newer change was applied already"), "{said}");
    assert!(say::<String>(&mut at_work, &["PING"]).await.is_ok(), "it is not even disturbed");
    for state in [Desired::Suspended, Desired::Deleted] {
        let (kind, said) = told(target.apply(&finance, state, 4).await);
        assert_eq!((kind, said.as_str()), (FailureKind::Retryable, "the cache is out of memory"));
        assert!(client(&url, &finance).await.is_err(), "{state}");
    }
    assert!(say::<String>(&mut at_work, &["PING"]).await.is_err());
    let users: Vec<String> = say(&mut admin, &["ACL", "USERS"]).await.unwrap();
    assert!(users.contains(&user(&finance)), "its passwords are not thrown away before the record says so");
    say::<()>(&mut admin, &["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
    bring(&target, &finance, Desired::Active, 5).await;
    assert!(client(&url, &finance).await.is_ok());
}

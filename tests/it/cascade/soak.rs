//! `make soak`: the real program is killed at random moments, a thousand times, while tenants are moved and targets
//! misbehave. Two replicas share a database; one of them, or both, die in the middle of work and in the middle of
//! recovery. Nothing that was acknowledged may be lost, done twice, or called true where a target says otherwise.
//!
//! `SOAK_KILLS` and `SOAK_SEED` choose how many kills and which chances; both are printed.

// What it found is printed.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Fault, Stub};
use tenantry::proto::v1;

use super::processes::Process;
use super::verbs::{Clients, Verb, assert_true, stubs};
use crate::support::{Replica, Setup, new_tenant};

const TENANTS: usize = 24;
const WORKERS: u64 = 6;

/// What is known of all that was asked.
#[derive(Default)]
struct Known {
    /// Operations whose begin a client was told of.
    acknowledged: Mutex<Vec<String>>,
    /// Requests that were asked again after no answer came, and were answered.
    repeated: AtomicU64,
    /// Requests that were refused: another operation was open, or the state had changed.
    refused: AtomicU64,
    /// Looks at a tenant beside its targets.
    looks: AtomicU64,
    stop: AtomicBool,
}

/// Where the replicas serve right now.
type Addresses = Arc<Mutex<[String; 2]>>;

struct Worker {
    chance: fastrand::Rng,
    addresses: Addresses,
    stubs: Vec<(&'static str, Stub)>,
    known: Arc<Known>,
    clients: Option<Clients>,
}

impl Worker {
    async fn run(mut self) {
        while !self.known.stop.load(Ordering::Relaxed) {
            let tenant_id = format!("t{}", self.chance.usize(..TENANTS));
            let worked = tokio::time::timeout(Duration::from_secs(3), self.work(&tenant_id)).await;
            if !matches!(worked, Ok(Some(()))) {
                // Whoever it talked to may be dead.
                self.clients = None;
                tokio::time::sleep(Duration::from_millis(self.chance.u64(1..20))).await;
            }
        }
    }

    /// Looks at a tenant, and asks the next verb of it. `None` when no answer came.
    async fn work(&mut self, tenant_id: &str) -> Option<()> {
        let mut clients = self.connect().await?;
        let tenant = look(&mut clients, tenant_id).await?;
        let held: Vec<bool> = self
            .stubs
            .iter()
            .map(|(_, stub)| {
                let held = stub.held(&tenant.uid);
                held.is_some_and(|held| matches!(held.state, Desired::Active | Desired::ReadOnly))
            })
            .collect();
        let again = look(&mut clients, tenant_id).await?;
        if again.revision == tenant.revision && tenant.operation_id.is_empty() {
            let locked = tenant.status() == v1::TenantStatus::Suspended;
            assert!(!locked || !held.contains(&true), "{tenant_id} is suspended, and a target lets it in");
            let open = matches!(tenant.status(), v1::TenantStatus::Active | v1::TenantStatus::Migrating);
            assert!(!open || !held.contains(&false), "{tenant_id} is let in, and a target does not");
            self.known.looks.fetch_add(1, Ordering::Relaxed);
        }
        let verb = match tenant.status() {
            v1::TenantStatus::Active if self.chance.u8(..4) == 0 => Verb::StartMigration,
            v1::TenantStatus::Active => Verb::Suspend,
            v1::TenantStatus::Migrating => Verb::FinishMigration,
            _ => Verb::Activate,
        };
        let request_id = uuid::Uuid::now_v7().to_string();
        for attempt in 0..3 {
            let mut clients = self.connect().await?;
            match verb.ask_as(&mut clients, tenant_id, 0, &request_id).await {
                Ok(operation) => {
                    self.known.repeated.fetch_add(u64::from(attempt > 0), Ordering::Relaxed);
                    self.known.acknowledged.lock().unwrap().push(operation.operation_id);
                    return Some(());
                }
                Err(status)
                    if matches!(status.code(), tonic::Code::Aborted | tonic::Code::FailedPrecondition) =>
                {
                    self.known.refused.fetch_add(1, Ordering::Relaxed);
                    return Some(());
                }
                // Nobody knows whether it was taken: the same request, at another replica perhaps.
                Err(_) => self.clients = None,
            }
        }
        None
    }

    async fn connect(&mut self) -> Option<Clients> {
        if self.clients.is_none() {
            let address = self.addresses.lock().unwrap()[self.chance.usize(..2)].clone();
            // At first nobody serves.
            let endpoint = tonic::transport::Channel::from_shared(format!("http://{address}")).ok()?;
            let endpoint =
                endpoint.connect_timeout(Duration::from_millis(500)).timeout(Duration::from_secs(2));
            self.clients = Some(Clients::over(endpoint.connect().await.ok()?));
        }
        self.clients.clone()
    }
}

async fn look(clients: &mut Clients, tenant_id: &str) -> Option<v1::Tenant> {
    let mut request = tonic::Request::new(v1::GetTenantRequest { tenant_id: tenant_id.to_owned() });
    request.metadata_mut().insert("tenantry-consistency", "latest".parse().unwrap());
    clients.tenants.get_tenant(request).await.ok().map(tonic::Response::into_inner)
}

/// Targets misbehave for a while, now and then, towards one tenant.
async fn misbehave(stubs: Vec<(&'static str, Stub)>, known: Arc<Known>, seed: u64) {
    let mut chance = fastrand::Rng::with_seed(seed);
    while !known.stop.load(Ordering::Relaxed) {
        let stub = &stubs[chance.usize(..stubs.len())].1;
        let tenant_id = format!("t{}", chance.usize(..TENANTS));
        let fault = match chance.u8(..6) {
            0 => Fault::Failing(chance.u32(1..4)),
            1 => Fault::DroppingReplies(chance.u32(1..4)),
            2 => Fault::Late(Duration::from_millis(chance.u64(1..200))),
            3 => Fault::Halfway(Duration::from_millis(chance.u64(1..200))),
            4 => Fault::Hanging,
            _ => Fault::Lying,
        };
        stub.set_fault(&tenant_id, Some(fault));
        tokio::time::sleep(Duration::from_millis(chance.u64(5..300))).await;
        stub.set_fault(&tenant_id, None);
    }
}

/// Kills one replica after another, or both, at any moment: while they work, and while they start.
async fn kill(
    url: &str,
    stubs: &[(&'static str, Stub)],
    addresses: &Addresses,
    kills: u64,
    chance: &mut fastrand::Rng,
) {
    let mut replicas = [Process::serve(url, stubs), Process::serve(url, stubs)];
    *addresses.lock().unwrap() = replicas.each_ref().map(|process| process.grpc.clone());
    for replica in &replicas {
        replica.clients().await;
    }
    let mut done = 0;
    while done < kills {
        let pause = if chance.u8(..4) == 0 { chance.u64(..60) } else { chance.u64(60..600) };
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let both = chance.u8(..5) == 0;
        let first = chance.usize(..2);
        for place in if both { vec![0, 1] } else { vec![first] } {
            let dead = std::mem::replace(&mut replicas[place], Process::serve(url, stubs));
            dead.kill_and_forget();
            addresses.lock().unwrap()[place].clone_from(&replicas[place].grpc);
            done += 1;
        }
        if done % 100 < 2 {
            println!("soak: {done} kills");
        }
    }
    for replica in replicas {
        replica.kill_and_forget();
    }
}

/// What became of everything that was acknowledged.
async fn settle(clients: &mut Clients, known: &Known) -> BTreeMap<&'static str, u64> {
    let acknowledged = known.acknowledged.lock().unwrap().clone();
    let mut ends: BTreeMap<&'static str, u64> = BTreeMap::new();
    for operation_id in &acknowledged {
        let mut ended = clients.ended(operation_id).await;
        if ended.state() == v1::OperationState::NeedsOperator {
            let failed = ended.targets.iter().filter(|step| step.state() != v1::TargetState::Verified);
            for step in failed.cloned().collect::<Vec<_>>() {
                let request = v1::RetryTargetRequest {
                    operation_id: operation_id.clone(),
                    target: step.target,
                    ..Default::default()
                };
                clients.lifecycle.retry_target(request).await.unwrap();
            }
            *ends.entry("retried by an operator").or_default() += 1;
            ended = clients.ended(operation_id).await;
        }
        *ends.entry(ended.state().as_str_name()).or_default() += 1;
    }
    ends
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make soak"]
async fn nothing_is_lost_doubled_or_untrue_after_a_thousand_kills() {
    let from_env = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = from_env("SOAK_SEED").unwrap_or_else(|| fastrand::u64(..));
    let kills = from_env("SOAK_KILLS").unwrap_or(1_000);
    println!("soak: SOAK_SEED={seed} SOAK_KILLS={kills}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let began = Instant::now();
    let stubs = stubs(Duration::from_millis(3)).await;
    let setup = Setup { stubs: stubs.clone(), ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    for number in 0..TENANTS {
        let request =
            v1::CreateTenantRequest { tenant: Some(new_tenant(&format!("t{number}"))), ..Default::default() };
        replica.tenants.create_tenant(request).await.unwrap();
    }
    for number in 0..TENANTS {
        replica.settled(&format!("t{number}")).await;
    }
    let url = replica.database_url.clone();
    replica.stop().await;

    let known = Arc::new(Known::default());
    let addresses = Addresses::default();
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..WORKERS {
        let worker = Worker {
            chance: fastrand::Rng::with_seed(seed.wrapping_add(worker + 1)),
            addresses: Arc::clone(&addresses),
            stubs: stubs.clone(),
            known: Arc::clone(&known),
            clients: None,
        };
        tasks.spawn(worker.run());
    }
    tasks.spawn(misbehave(stubs.clone(), Arc::clone(&known), seed));
    kill(&url, &stubs, &addresses, kills, &mut chance).await;
    known.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }

    let last = Process::serve(&url, &stubs);
    let mut clients = last.clients().await;
    let ends = settle(&mut clients, &known).await;
    let mut effects = 0;
    for number in 0..TENANTS {
        let tenant = clients.get(&format!("t{number}")).await;
        assert_eq!(tenant.operation_id, "", "{tenant:?}");
        assert_true(&tenant, &stubs, "at the end");
        let wanted = match tenant.status() {
            v1::TenantStatus::Active => Desired::Active,
            v1::TenantStatus::Migrating => Desired::ReadOnly,
            _ => Desired::Suspended,
        };
        for (name, stub) in &stubs {
            assert_eq!(stub.held(&tenant.uid).unwrap().state, wanted, "{name}: {tenant:?}");
            effects += stub.effects(&tenant.uid).len();
        }
    }
    last.kill_and_forget();
    let acknowledged = known.acknowledged.lock().unwrap().len();
    println!(
        "soak: {kills} kills in {:.0?}: {acknowledged} operations acknowledged ({} after repeating the request), \
         {} refused, {} looks, {effects} effects; ended as {ends:?}; 0 lost, 0 doubled, 0 untrue",
        began.elapsed(),
        known.repeated.load(Ordering::Relaxed),
        known.refused.load(Ordering::Relaxed),
        known.looks.load(Ordering::Relaxed),
    );
}

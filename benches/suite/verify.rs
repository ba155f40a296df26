//! What the background verifier costs those who read: the latency of `GetTenant` with it and without, in turns.

use std::time::{Duration, Instant};

use clap::Args;
use tenantry::domain::lifecycle::Desired;
use tenantry::participants::stub::{Held, Stub};
use tenantry::proto::v1::{
    GetTenantRequest, ListOperationsRequest, lifecycle_client::LifecycleClient,
    tenant_registry_client::TenantRegistryClient,
};

use crate::served::{Database, Served, runtime};

/// Options of `verify`.
#[derive(Args)]
pub(crate) struct Options {
    /// How many tenants.
    #[arg(long, default_value_t = 100_000)]
    tenants: usize,
    /// Tenants verified in a second.
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// Slices of each.
    #[arg(long, default_value_t = 12)]
    slices: usize,
}

const SLICE: Duration = Duration::from_secs(3);
/// Readers, each of which asks again 4 ms after its answer: about 2,000 reads a second.
const READERS: usize = 8;
const PACE: Duration = Duration::from_millis(4);

/// Runs it.
pub(crate) fn run(options: &Options) {
    let database = Database::start(false);
    runtime().block_on(async {
        let stub = Stub::start(Duration::ZERO).await.unwrap();
        let served = Served::start(&database, &[]).await;
        served.seed_tier().await;
        let uids = served.make_tenants(options.tenants).await;
        drop(served);
        for uid in &uids {
            stub.put(uid, Held { state: Desired::Active, generation: 1 });
        }
        let arguments = |rate: u32| {
            let target = format!("cache={}", stub.endpoint());
            [
                "--participants",
                &target,
                "--cascade-verify-interval",
                "1s",
                "--cascade-verify-rate",
                &rate.to_string(),
            ]
            .map(str::to_owned)
        };
        let without = Served::start(&database, &arguments(0)).await;
        let with = Served::start(&database, &arguments(options.rate)).await;
        let (mut slow, mut fast) = (Vec::new(), Vec::new());
        let before = stub.calls();
        for _ in 0..options.slices {
            // The one that is not measured stands still, so that it costs nothing.
            with.signal("-STOP");
            fast.extend(read(&without, options.tenants).await);
            with.signal("-CONT");
            without.signal("-STOP");
            slow.extend(read(&with, options.tenants).await);
            without.signal("-CONT");
        }
        let looked = stub.calls() - before;
        let seconds = SLICE.as_secs_f64() * count(options.slices);
        println!(
            "{} tenants, {READERS} readers; {looked} looks in {seconds:.0} s, {:.0} a second",
            options.tenants,
            count(usize::try_from(looked).unwrap()) / seconds
        );
        let (without_us, with_us) = (percentiles(&mut fast), percentiles(&mut slow));
        for (name, at) in [("without", &without_us), ("with", &with_us)] {
            println!("{name:<8} p50 {:.0} us, p99 {:.0} us of {} reads", at[0], at[1], at[2]);
        }
        println!(
            "with : without  p50 {:.2}, p99 {:.2}",
            with_us[0] / without_us[0],
            with_us[1] / without_us[1]
        );
        let drifted = ListOperationsRequest { page_size: 1, ..Default::default() };
        let answer = LifecycleClient::new(without.channel().await).list_operations(drifted).await.unwrap();
        assert_eq!(answer.into_inner().total_size, 0, "nothing had drifted");
    });
}

/// Reads for one slice; answers how long each took, in microseconds.
async fn read(served: &Served, tenants: usize) -> Vec<f64> {
    let mut readers = tokio::task::JoinSet::new();
    for reader in 0..READERS {
        let mut client = TenantRegistryClient::new(served.channel().await);
        readers.spawn(async move {
            let mut chance = fastrand::Rng::with_seed(u64::try_from(reader).unwrap());
            let (until, mut took) = (Instant::now() + SLICE, Vec::new());
            while Instant::now() < until {
                let tenant_id = format!("tenant-{:07}", chance.usize(..tenants));
                let began = Instant::now();
                client.get_tenant(GetTenantRequest { tenant_id }).await.unwrap();
                took.push(began.elapsed().as_secs_f64() * 1e6);
                tokio::time::sleep(PACE).await;
            }
            // The first ones open the connection.
            took.split_off(took.len().min(20))
        });
    }
    readers.join_all().await.concat()
}

fn percentiles(took: &mut [f64]) -> [f64; 3] {
    took.sort_unstable_by(f64::total_cmp);
    [took[took.len() / 2], took[took.len() * 99 / 100], count(took.len())]
}

// Counts of a bench fit a float's 52 bits.
#[allow(clippy::cast_precision_loss)]
fn count(number: usize) -> f64 {
    number as f64
}

//! Loading the view: how long a server needs to read all tenants, and how much memory each takes.

use std::time::Instant;

use clap::Args;
use tenantry::proto::v1::{GetStatisticsRequest, tenant_registry_client::TenantRegistryClient};

use crate::served::{BATCH, Database, Served, runtime};

/// Options of `view`.
#[derive(Args)]
pub(crate) struct Options {
    /// How many tenants.
    #[arg(long, default_value_t = 1_000_000)]
    tenants: usize,
}

/// Runs it.
pub(crate) fn run(options: &Options) {
    let database = Database::start(false);
    runtime().block_on(async {
        let served = Served::start(&database, &[]).await;
        served.seed_tier().await;
        let (empty, empty_ready) = (served.resident(), served.ready_after);
        let began = Instant::now();
        served.make_tenants(options.tenants).await;
        let rate = rate(options.tenants, began);
        println!("made {} tenants by BatchCreateTenants of {BATCH}: {rate:.0} a second", options.tenants);
        drop(served);
        let served = Served::start(&database, &[]).await;
        let channel = served.channel().await;
        let answer =
            TenantRegistryClient::new(channel).get_statistics(GetStatisticsRequest {}).await.unwrap();
        assert_eq!(usize::try_from(answer.into_inner().total).unwrap(), options.tenants);
        let each = served.resident().saturating_sub(empty) / u64::try_from(options.tenants).unwrap();
        println!(
            "loaded in {:.1?} ({empty_ready:.1?} with none), {each} bytes of memory a tenant",
            served.ready_after
        );
    });
}

// Counts of a bench fit a float's 52 bits.
#[allow(clippy::cast_precision_loss)]
fn rate(count: usize, began: Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64()
}

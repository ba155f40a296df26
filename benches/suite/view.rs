//! Loading the view: how long a server needs to read all tenants, and how much memory each takes.

use std::time::Instant;

use clap::Args;
use tenantry::proto::v1::{
    BatchCreateTenantsRequest, CreateTenantRequest, GetStatisticsRequest,
    batch_create_tenants_response::result::Outcome, tenant_registry_client::TenantRegistryClient,
};

use crate::served::{Database, Served, runtime, tenant};

/// Options of `view`.
#[derive(Args)]
pub(crate) struct Options {
    /// How many tenants.
    #[arg(long, default_value_t = 1_000_000)]
    tenants: usize,
}

const BATCH: usize = 1_000;

/// Runs it.
pub(crate) fn run(options: &Options) {
    let database = Database::start(false);
    runtime().block_on(async {
        let served = Served::start(&database, &[]).await;
        served.seed_tier().await;
        let (empty, empty_ready) = (served.resident(), served.ready_after);
        let began = Instant::now();
        let mut batches = tokio::task::JoinSet::new();
        let mut next = 0;
        while next < options.tenants || !batches.is_empty() {
            while batches.len() < 4 && next < options.tenants {
                let last = (next + BATCH).min(options.tenants);
                let requests = (next..last)
                    .map(|number| CreateTenantRequest {
                        tenant: Some(tenant(format!("tenant-{number:07}"))),
                        ..Default::default()
                    })
                    .collect();
                let channel = served.channel().await;
                batches.spawn(async move {
                    let mut tenants = TenantRegistryClient::new(channel).max_decoding_message_size(64 << 20);
                    let request = BatchCreateTenantsRequest { requests };
                    let answer = tenants.batch_create_tenants(request).await.unwrap().into_inner();
                    for result in answer.results {
                        assert!(matches!(result.outcome, Some(Outcome::Tenant(_))), "{result:?}");
                    }
                });
                next = last;
            }
            batches.join_next().await.unwrap().unwrap();
        }
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

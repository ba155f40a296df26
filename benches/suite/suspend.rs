//! How long a suspension takes beside its slowest target, and a thousand at once beside what the targets take: four
//! stubs and PostgreSQL. First with stubs that take 20 ms, where the machine is what bounds a thousand at once, then with
//! stubs that take 200 ms, as an object store or a managed service may, where the targets do.

use std::time::{Duration, Instant};

use tenantry::{
    participants::stub::Stub,
    proto::v1::{
        ActivateTenantRequest, CreateTenantRequest, ListOperationsRequest, OperationState,
        SuspendTenantRequest, lifecycle_client::LifecycleClient,
        tenant_registry_client::TenantRegistryClient,
    },
};

use tonic::transport::Channel;

use crate::served::{Database, Served, runtime, tenant};

/// What a call to a stub takes, and how often one tenant is suspended and activated.
const RUNS: [(Duration, usize); 2] = [(Duration::from_millis(20), 60), (Duration::from_millis(200), 10)];
/// Tenants that are suspended at once.
const MANY: usize = 1_000;
/// Attempts of one target at once, as configured where nothing is said.
const PLACES: usize = 64;

/// Calls that a connection takes at once.
const STREAMS: usize = 100;

/// Runs it.
pub(crate) fn run() {
    for (latency, rounds) in RUNS {
        let database = Database::start(true);
        runtime().block_on(measured(&database, latency, rounds));
    }
}

async fn measured(database: &Database, latency: Duration, rounds: usize) {
    let mut arguments = vec!["--participants".to_owned(), "postgres=postgres".to_owned()];
    let mut stubs = Vec::new();
    for name in ["cache", "monitoring", "object-store", "vector-db"] {
        let stub = Stub::start(latency).await.unwrap();
        arguments.extend(["--participants".to_owned(), format!("{name}={}", stub.endpoint())]);
        stubs.push(stub);
    }
    let served = Served::start(database, &arguments).await;
    served.seed_tier().await;
    let mut tenants = TenantRegistryClient::new(served.channel().await);
    let request = CreateTenantRequest { tenant: Some(tenant("acme".to_owned())), ..Default::default() };
    tenants.create_tenant(request).await.unwrap();
    let mut lifecycle = LifecycleClient::new(served.channel().await);
    provisioned(&mut lifecycle).await;
    let wait = Some(prost_types::Duration { seconds: 20, nanos: 0 });
    let (mut down, mut up) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let request = SuspendTenantRequest { tenant_id: "acme".to_owned(), wait, ..Default::default() };
        let began = Instant::now();
        let ended = lifecycle.suspend_tenant(request).await.unwrap().into_inner();
        assert_eq!(ended.state(), OperationState::Succeeded);
        down.push(began.elapsed());
        let request = ActivateTenantRequest { tenant_id: "acme".to_owned(), wait, ..Default::default() };
        let began = Instant::now();
        let ended = lifecycle.activate_tenant(request).await.unwrap().into_inner();
        assert_eq!(ended.state(), OperationState::Succeeded);
        up.push(began.elapsed());
    }
    many(&served, latency).await;
    println!("four targets of {} ms and PostgreSQL with fsync, one after the other", latency.as_millis());
    for (verb, mut took) in [("suspend", down), ("activate", up)] {
        took.sort_unstable();
        let (least, middle, most) = (took[0], took[took.len() / 2], took[took.len() * 9 / 10]);
        println!("{verb:<9} least {least:.1?}, p50 {middle:.1?}, p90 {most:.1?} of {}", took.len());
    }
}

/// Until it is provisioned, no tenant can be suspended.
async fn provisioned(lifecycle: &mut LifecycleClient<Channel>) {
    let open =
        || ListOperationsRequest { filter: "open = true".to_owned(), page_size: 1, ..Default::default() };
    while lifecycle.list_operations(open()).await.unwrap().into_inner().total_size > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Suspends many tenants at once. A target takes so many attempts at a time, of its latency each: no engine is faster.
async fn many(served: &Served, latency: Duration) {
    served.make_tenants(MANY).await;
    // A connection takes so many calls at once, and each of these waits for the end of its operation.
    let mut connections = Vec::new();
    for _ in 0..MANY.div_ceil(STREAMS) {
        connections.push(LifecycleClient::new(served.channel().await));
    }
    provisioned(&mut connections[0]).await;
    let mut asked = tokio::task::JoinSet::new();
    let began = Instant::now();
    for number in 0..MANY {
        let mut lifecycle = connections[number % connections.len()].clone();
        asked.spawn(async move {
            let wait = Some(prost_types::Duration { seconds: 30, nanos: 0 });
            let tenant_id = format!("tenant-{number:07}");
            let request = SuspendTenantRequest { tenant_id, wait, ..Default::default() };
            lifecycle.suspend_tenant(request).await.unwrap().into_inner().state()
        });
    }
    while let Some(state) = asked.join_next().await {
        assert_eq!(state.unwrap(), OperationState::Succeeded);
    }
    let took = began.elapsed();
    let bound = latency * u32::try_from(MANY.div_ceil(PLACES)).unwrap();
    println!(
        "{MANY} suspensions at once: {took:.0?}; {PLACES} places of {} ms each allow {bound:.0?}: {:.2}",
        latency.as_millis(),
        took.as_secs_f64() / bound.as_secs_f64()
    );
}

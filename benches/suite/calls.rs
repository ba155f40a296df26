//! Real calls of the real server, beside echoes that answer as many bytes: one behind a usual tonic server, one behind our
//! own edge with the same logging.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use bytes::Bytes;
use clap::Args;
use prost::Message;
use tenantry::proto::{
    flagd::evaluation::v1::ResolveAllRequest,
    v1::{
        CreateFlagRequest, CreateTenantRequest, EvaluateFlagRequest, EvaluateFlagsRequest, Flag, FlagType,
        GetTenantRequest, SetTierDefaultRequest, feature_flags_client::FeatureFlagsClient,
        tenant_registry_client::TenantRegistryClient,
    },
};

use crate::{
    client::{self, Case, Load},
    echo::{self, Echo},
    edge::in_turns,
    served::{Database, Served, runtime, tenant},
    target::Target,
};

/// Options of `calls`.
#[derive(Args)]
pub(crate) struct Options {
    /// Slices per server and case.
    #[arg(long, default_value_t = 6)]
    slices: usize,
    /// Length of a slice.
    #[arg(long, default_value_t = 700)]
    slice_ms: u64,
}

const TENANT: &str = "acme-production-eu";
const FLAGS: usize = 50;
/// Tenants that are read by turns.
const TENANTS: usize = 1_000;

/// Runs it.
pub(crate) fn run(options: &Options) {
    let database = Database::start(false);
    // flagd's protocol and OFREP share an address of their own.
    let openfeature = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let served = runtime().block_on(async {
        let served = Served::start(&database, &arguments(openfeature)).await;
        seed(&served).await;
        served
    });
    let mut summary = Vec::new();
    let ours = cases().into_iter().map(|case| (served.address, case));
    let bulk = bulk_of_openfeature().into_iter().map(|case| (openfeature, case));
    for (address, mut case) in ours.chain(bulk) {
        let ours = Target::attach("tenantry".to_owned(), address, served.pid());
        let bytes = client::reply_bytes(address, &case);
        // Of many tenants one has a shorter revision than another.
        case.reply_bytes = (case.requests.len() == 1).then_some(bytes);
        let plain = Target::spawn(Echo::Tonic, bytes);
        let alike = Target::spawn(Echo::EdgeLogged, bytes);
        for load in [
            Load { connections: 4, streams: 16, threads: 1 },
            Load { connections: 64, streams: 1, threads: 1 },
        ] {
            let name = format!(
                "{}, reply of {bytes} bytes, {} connections x {} streams",
                case.name, load.connections, load.streams
            );
            let echo = echo::case(case.requests[0].len(), bytes);
            let rivals = [(&plain, echo.clone()), (&alike, echo), (&ours, case.clone())];
            let slice = Duration::from_millis(options.slice_ms);
            let tallies = in_turns(&name, &rivals, &load, options.slices, slice);
            summary.push(format!(
                "{:<26} {:>2} x {:>2}: {:.2} of a usual echo (aim: 1), {:.2} of an echo behind our edge (aim: 0.8)",
                case.name,
                load.connections,
                load.streams,
                tallies[2].to(&tallies[0]),
                tallies[2].to(&tallies[1]),
            ));
        }
    }
    println!("\nSummary, middle of the rounds:\n{}", summary.join("\n"));
}

fn arguments(openfeature: SocketAddr) -> Vec<String> {
    let address = openfeature.to_string();
    [
        "--participants",
        "",
        "--openfeature-evaluation-listen",
        &address,
        "--openfeature-ofrep-listen",
        &address,
    ]
    .map(str::to_owned)
    .to_vec()
}

async fn seed(served: &Served) {
    served.seed_tier().await;
    let mut tenants = TenantRegistryClient::new(served.channel().await);
    let request = CreateTenantRequest { tenant: Some(tenant(TENANT.to_owned())), ..Default::default() };
    tenants.create_tenant(request).await.unwrap();
    served.make_tenants(TENANTS).await;
    let mut flags = FeatureFlagsClient::new(served.channel().await);
    for number in 0..FLAGS {
        let flag_key = format!("feature-{number:02}");
        let flag =
            Flag { flag_key: flag_key.clone(), r#type: FlagType::Boolean.into(), ..Default::default() };
        flags.create_flag(CreateFlagRequest { flag: Some(flag), ..Default::default() }).await.unwrap();
        if number % 2 == 0 {
            let (tier_id, variant) = ("gold".to_owned(), "on".to_owned());
            let request = SetTierDefaultRequest { flag_key, tier_id, variant, ..Default::default() };
            flags.set_tier_default(request).await.unwrap();
        }
    }
}

fn cases() -> Vec<Case> {
    let tenant_id = || TENANT.to_owned();
    let case = |name: &str, path: &str, requests: Vec<Vec<u8>>| Case {
        name: name.to_owned(),
        path: format!("/tenantry.v1.{path}"),
        is_json: false,
        requests: requests.into_iter().map(Bytes::from).collect(),
        reply_bytes: None,
    };
    let one =
        EvaluateFlagRequest { tenant_id: tenant_id(), flag_key: "feature-00".to_owned(), context: None };
    let all = EvaluateFlagsRequest { tenant_id: tenant_id(), flag_keys: vec![], context: None };
    // Answers about flags by name are not kept, so this is what one costs that is made anew.
    let flag_keys = (0..FLAGS).map(|number| format!("feature-{number:02}")).collect();
    let named = EvaluateFlagsRequest { flag_keys, ..all.clone() };
    let get = (0..TENANTS).map(|number| GetTenantRequest { tenant_id: format!("tenant-{number:07}") });
    vec![
        case("GetTenant", "TenantRegistry/GetTenant", get.map(|get| get.encode_to_vec()).collect()),
        case("EvaluateFlag", "FeatureFlags/EvaluateFlag", vec![one.encode_to_vec()]),
        case("EvaluateFlags (50)", "FeatureFlags/EvaluateFlags", vec![all.encode_to_vec()]),
        case("EvaluateFlags (50, by name)", "FeatureFlags/EvaluateFlags", vec![named.encode_to_vec()]),
    ]
}

/// All flags of the tenant, as the clients of OpenFeature ask for them.
fn bulk_of_openfeature() -> [Case; 2] {
    let tenant_id =
        prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(TENANT.to_owned())) };
    let context = prost_types::Struct { fields: [("tenantId".to_owned(), tenant_id)].into() };
    let every = ResolveAllRequest { context: Some(context) };
    let ofrep = serde_json::json!({"context": {"tenantId": TENANT}}).to_string();
    [
        Case {
            name: "flagd's ResolveAll (50)".to_owned(),
            path: "/flagd.evaluation.v1.Service/ResolveAll".to_owned(),
            is_json: false,
            requests: vec![every.encode_to_vec().into()],
            reply_bytes: None,
        },
        Case {
            name: "OFREP, all (50)".to_owned(),
            path: "/ofrep/v1/evaluate/flags".to_owned(),
            is_json: true,
            requests: vec![ofrep.into()],
            reply_bytes: None,
        },
    ]
}

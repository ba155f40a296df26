//! Tenants made per second over gRPC, beside pgbench writing the same rows, one transaction each with the head locked.
//! Every commit is on disk before it is answered, for both.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use clap::Args;
use tenantry::proto::v1::{
    BatchCreateTenantsRequest, CreateTenantRequest, batch_create_tenants_response::result::Outcome,
    tenant_registry_client::TenantRegistryClient,
};

use crate::served::{Database, Served, runtime, tenant};

/// Options of `create`.
#[derive(Args)]
pub(crate) struct Options {
    /// Slices for each number of clients.
    #[arg(long, default_value_t = 3)]
    slices: usize,
    /// Length of a slice.
    #[arg(long, default_value_t = 3)]
    slice_seconds: u64,
    /// Numbers of clients.
    #[arg(long, value_delimiter = ',', default_value = "1,8,32,128")]
    clients: Vec<usize>,
    /// Leave the batches out.
    #[arg(long)]
    no_batches: bool,
}

const TEMPLATE: &str = "template";

/// Runs it.
pub(crate) fn run(options: &Options) {
    let database = Database::start(true);
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("create.sql");
    runtime().block_on(async {
        let served = Served::start(&database, &[]).await;
        served.seed_tier().await;
        let request = CreateTenantRequest { tenant: Some(tenant(TEMPLATE.to_owned())), ..Default::default() };
        TenantRegistryClient::new(served.channel().await).create_tenant(request).await.unwrap();
        fs::write(&script, pgbench_script(&database).await).unwrap();
        println!("{:>8} {:>12} {:>12}   ours : pgbench, each slice", "clients", "ours/s", "pgbench/s");
        for &clients in &options.clients {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for slice in 0..options.slices {
                let length = Duration::from_secs(options.slice_seconds);
                ours.push(create(&served, clients, length, &format!("c{clients}-{slice}")).await);
                theirs.push(pgbench(&database, &script, clients, options.slice_seconds));
            }
            let mut ratios = String::new();
            for (ours, theirs) in ours.iter().zip(&theirs) {
                write!(ratios, "{:.2} ", ours / theirs).unwrap();
            }
            println!("{clients:>8} {:>12.0} {:>12.0}   {ratios}", middle(&mut ours), middle(&mut theirs));
        }
        for size in [100, 1_000].into_iter().filter(|_| !options.no_batches) {
            println!("BatchCreateTenants of {size}: {:.0} tenants/s", batches(&served, size).await);
        }
    });
}

fn middle(rates: &mut [f64]) -> f64 {
    rates.sort_unstable_by(f64::total_cmp);
    rates[rates.len() / 2]
}

// Counts of a bench fit a float's 52 bits.
#[allow(clippy::cast_precision_loss)]
fn rate(count: usize, began: Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64()
}

/// Closed loops of `CreateTenant`, over at most four connections.
async fn create(served: &Served, clients: usize, length: Duration, prefix: &str) -> f64 {
    let mut channels = Vec::new();
    for _ in 0..clients.min(4) {
        channels.push(served.channel().await);
    }
    let began = Instant::now();
    let mut loops = tokio::task::JoinSet::new();
    for client in 0..clients {
        let mut tenants = TenantRegistryClient::new(channels[client % channels.len()].clone());
        let prefix = format!("{prefix}-{client}");
        loops.spawn(async move {
            let mut made = 0;
            while began.elapsed() < length {
                let tenant = Some(tenant(format!("{prefix}-{made}")));
                tenants.create_tenant(CreateTenantRequest { tenant, ..Default::default() }).await.unwrap();
                made += 1;
            }
            made
        });
    }
    let made: usize = loops.join_all().await.into_iter().sum();
    rate(made, began)
}

async fn batches(served: &Served, size: usize) -> f64 {
    let mut tenants = TenantRegistryClient::new(served.channel().await).max_decoding_message_size(64 << 20);
    let (mut made, began) = (0, Instant::now());
    while made < 20_000 {
        let requests = (made..made + size)
            .map(|number| CreateTenantRequest {
                tenant: Some(tenant(format!("b{size}-{number}"))),
                ..Default::default()
            })
            .collect();
        let answer = tenants.batch_create_tenants(BatchCreateTenantsRequest { requests }).await.unwrap();
        let results = answer.into_inner().results;
        assert!(results.iter().all(|result| matches!(result.outcome, Some(Outcome::Tenant(_)))));
        made += size;
    }
    rate(made, began)
}

/// A statement that writes the rows that the template's creation wrote, in one round trip with its transaction.
async fn pgbench_script(database: &Database) -> String {
    let (client, connection) = tokio_postgres::connect(&database.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let insert = |table: &'static str, of: &'static str, own: &'static [(&'static str, &'static str)]| {
        let client = &client;
        async move {
            let columns = "SELECT column_name FROM information_schema.columns \
                           WHERE table_name = $1 AND table_schema = 'public' ORDER BY ordinal_position";
            let columns: Vec<String> =
                client.query(columns, &[&table]).await.unwrap().iter().map(|row| row.get(0)).collect();
            let mut values = Vec::new();
            for column in &columns {
                let value = match own.iter().find(|(name, _)| name == column) {
                    Some((_, value)) => (*value).to_owned(),
                    None => literal(client, table, column, of).await,
                };
                values.push(value);
            }
            format!("INSERT INTO {table} ({}) SELECT {} FROM head", columns.join(", "), values.join(", "))
        }
    };
    let made = insert(
        "tenant",
        "tenant_id = 'template'",
        &[("tenant_id", "'p' || :n"), ("uid", "gen_random_uuid()"), ("revision", "head.revision")],
    )
    .await;
    let of = "revision = (SELECT revision FROM tenant WHERE tenant_id = 'template')";
    let logged = insert(
        "log",
        of,
        &[("revision", "head.revision"), ("subject", "'p' || :n"), ("request_id", "gen_random_uuid()")],
    )
    .await;
    let kept =
        insert("request", of, &[("revision", "head.revision"), ("request_id", "gen_random_uuid()")]).await;
    format!(
        "\\set n random(1, 900000000000000)\n\\startpipeline\nBEGIN;\nSELECT revision FROM log_head FOR UPDATE;\n\
         WITH head AS (UPDATE log_head SET revision = revision + 1 RETURNING revision), made AS ({made}), \
         logged AS ({logged}), kept AS ({kept}) SELECT revision FROM head;\nCOMMIT;\n\\endpipeline\n"
    )
}

/// A value as SQL text, typed, so that it can stand in a SELECT.
async fn literal(client: &tokio_postgres::Client, table: &str, column: &str, of: &str) -> String {
    let sql = format!(
        "SELECT coalesce(quote_literal({column}::text), 'NULL') || '::' || format_type(a.atttypid, NULL) \
         FROM {table}, pg_attribute a WHERE {of} AND a.attrelid = '{table}'::regclass AND a.attname = '{column}'"
    );
    client.query_one(&sql, &[]).await.unwrap().get(0)
}

fn pgbench(database: &Database, script: &Path, clients: usize, seconds: u64) -> f64 {
    let output = Command::new(program())
        .args(["-n", "-M", "prepared", "-j", "2", "-c", &clients.to_string(), "-T", &seconds.to_string()])
        .arg("-f")
        .arg(script)
        .arg(database.url())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("actually processed: 0\n") {
        // On a busy machine many clients queue for the head for longer than a slice.
        return 0.0;
    }
    let tps = text.lines().find_map(|line| line.strip_prefix("tps = "));
    let tps = tps.and_then(|rest| rest.split(' ').next()).and_then(|tps| tps.parse().ok());
    tps.unwrap_or_else(|| panic!("pgbench: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// pgbench of the newest PostgreSQL, or the one on the path.
fn program() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> =
        versions.map(|version| version.path().join("bin/pgbench")).filter(|path| path.exists()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| PathBuf::from("pgbench"))
}

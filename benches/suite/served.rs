//! The real program on a database of its own.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tenantry::{
    app::dev_postgres::{Options, PrivatePostgres},
    proto::v1::{
        BatchCreateTenantsRequest, CreateTenantRequest, CreateTierRequest, GetStatisticsRequest, Tenant,
        Tier, batch_create_tenants_response::result::Outcome, tenant_registry_client::TenantRegistryClient,
        tiers_client::TiersClient,
    },
};
use tonic::transport::Channel;

/// The program, built with the bench.
const PROGRAM: &str = env!("CARGO_BIN_EXE_tenantry");

/// A database in a temporary folder.
pub(crate) struct Database {
    postgres: PrivatePostgres,
    _folder: tempfile::TempDir,
}

impl Database {
    /// `durable`: every commit is on disk before it is answered.
    pub(crate) fn start(durable: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = Options::kept_in(folder.path().join("data"));
        options.settings.push(("max_connections".to_owned(), "300".to_owned()));
        if !durable {
            options.settings.push(("fsync".to_owned(), "off".to_owned()));
            options.settings.push(("synchronous_commit".to_owned(), "off".to_owned()));
        }
        // PostgreSQL's own account has to pass through.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(folder.path(), open).unwrap();
        let postgres = PrivatePostgres::start(&options).expect("PostgreSQL starts");
        let migrated =
            Command::new(PROGRAM).args(["migrate", "--database-url", &postgres.url()]).output().unwrap();
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        Self { postgres, _folder: folder }
    }

    pub(crate) fn url(&self) -> String {
        self.postgres.url()
    }
}

/// `tenantry serve` as a process.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    /// From the start of the process to its first answer.
    pub(crate) ready_after: Duration,
    child: Child,
}

impl Served {
    /// Starts it and waits until it answers.
    pub(crate) async fn start(database: &Database, arguments: &[String]) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        // Without a target a tenant is active at once: what is measured is the registry, not a cascade.
        let none = ["--participants".to_owned(), String::new()];
        let arguments = if arguments.is_empty() { none.as_slice() } else { arguments };
        let began = Instant::now();
        let child = Command::new(PROGRAM)
            .args(["serve", "--insecure-no-auth", "--http-listen", "127.0.0.1:0"])
            .args(["--grpc-listen", &address.to_string(), "--database-url", &database.url()])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut served = Self { address, ready_after: Duration::ZERO, child };
        while served.try_answer().await.is_none() {
            assert!(served.child.try_wait().unwrap().is_none(), "the server ended");
            assert!(began.elapsed() < Duration::from_mins(5), "the server does not answer");
            thread::sleep(Duration::from_millis(10));
        }
        served.ready_after = began.elapsed();
        served
    }

    async fn try_answer(&self) -> Option<()> {
        let channel =
            Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.ok()?;
        TenantRegistryClient::new(channel).get_statistics(GetStatisticsRequest {}).await.ok().map(drop)
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory in use, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
    }

    /// Makes so many tenants, `tenant-0000000` and on; answers their uids.
    pub(crate) async fn make_tenants(&self, count: usize) -> Vec<String> {
        let mut uids = Vec::with_capacity(count);
        let mut batches = tokio::task::JoinSet::new();
        let mut next = 0;
        while next < count || !batches.is_empty() {
            while batches.len() < 4 && next < count {
                let last = (next + BATCH).min(count);
                let channel = self.channel().await;
                batches.spawn(make_batch(channel, next..last));
                next = last;
            }
            uids.extend(batches.join_next().await.unwrap().unwrap());
        }
        uids
    }

    /// Stops the process in its tracks, or lets it go on.
    pub(crate) fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap().success());
    }

    /// Makes the tier `gold`.
    pub(crate) async fn seed_tier(&self) {
        let tier = Tier {
            tier_id: "gold".to_owned(),
            display_name: "Gold".to_owned(),
            sla_target: 0.999,
            ..Default::default()
        };
        let request = CreateTierRequest { tier: Some(tier), ..Default::default() };
        TiersClient::new(self.channel().await).create_tier(request).await.unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tenants in one batch.
pub(crate) const BATCH: usize = 1_000;

async fn make_batch(channel: Channel, numbers: std::ops::Range<usize>) -> Vec<String> {
    let mut requests: Vec<_> = numbers
        .map(|number| CreateTenantRequest {
            tenant: Some(tenant(format!("tenant-{number:07}"))),
            ..Default::default()
        })
        .collect();
    let mut tenants = TenantRegistryClient::new(channel).max_decoding_message_size(64 << 20);
    let mut uids = Vec::with_capacity(requests.len());
    while !requests.is_empty() {
        let batch = BatchCreateTenantsRequest { requests: requests.clone() };
        let results = tenants.batch_create_tenants(batch).await.unwrap().into_inner().results;
        let mut again = Vec::new();
        for (request, result) in requests.into_iter().zip(results) {
            match result.outcome {
                Some(Outcome::Tenant(tenant)) => uids.push(tenant.uid),
                // The database is busy with their cascades.
                Some(Outcome::Error(error)) if error.code == tonic::Code::Unavailable as i32 => {
                    again.push(request);
                }
                other => panic!("{other:?}"),
            }
        }
        requests = again;
    }
    uids
}

/// A tenant as platforms have them.
pub(crate) fn tenant(tenant_id: String) -> Tenant {
    Tenant {
        display_name: format!("Tenant {tenant_id}"),
        tenant_id,
        tier: "gold".to_owned(),
        business_unit: "retail".to_owned(),
        cost_center: "cc-1204".to_owned(),
        owner: "owner@example.com".to_owned(),
        region: "eu-west-1".to_owned(),
        compliance_frameworks: vec!["GDPR".to_owned(), "SOX".to_owned()],
        labels: [("env".to_owned(), "prod".to_owned()), ("team".to_owned(), "blue".to_owned())].into(),
        ..Default::default()
    }
}

/// A runtime for the bench's own client.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

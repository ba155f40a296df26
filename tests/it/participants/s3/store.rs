//! The servers, one of each kind for the whole run, and a tenant's surroundings in them.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use deadpool_postgres::{Manager, Pool};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tenantry::app::dev_servers::Login;
use tenantry::app::dev_servers::ceph::Ceph;
use tenantry::app::dev_servers::seaweedfs::{Identity, SeaweedFs};
use tenantry::app::dev_servers::versitygw::VersityGw;
use tenantry::config::targets::Target;
use tenantry::config::{Config, Flags};
use tenantry::domain::lifecycle::Desired;
use tenantry::participants::s3::S3;
use tenantry::participants::{Observed, Participant as _, TenantRef};
use tokio::sync::OnceCell;

use super::client::client;
use crate::participants::tenant;
use crate::support::programs::weed;

/// Tenants that the servers know. One name is the beginning of another, in ids and in prefixes.
pub(crate) const TENANTS: [&str; 3] = ["acme", "acme2", "other"];
/// Somebody whom no suspension may touch.
pub(crate) const NEIGHBOUR: &str = "acme-neighbour";
const OURS: &str = "control-plane";
/// One call to a server that shares two cores with all other tests.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A running server.
pub(crate) struct Store {
    pub endpoint: String,
    /// How a policy names a user.
    pub principal: &'static str,
    /// What it says is how it stays until the process ends.
    _server: Box<dyn std::any::Any + Send + Sync>,
}

/// The one SeaweedFS.
pub(crate) async fn seaweedfs() -> &'static Store {
    static STORE: OnceCell<Store> = OnceCell::const_new();
    STORE
        .get_or_init(|| async {
            let weed = weed().await;
            tokio::task::spawn_blocking(move || {
                let may = |actions: &[&str]| actions.iter().map(ToString::to_string).collect::<Vec<_>>();
                let people: Vec<Identity> = users()
                    .map(|user| Identity {
                        login: Login::of(user),
                        actions: may(if user == OURS {
                            &["Admin"]
                        } else {
                            &["Read", "Write", "List", "Tagging"]
                        }),
                    })
                    .collect();
                let server = SeaweedFs::start(&weed, &people).expect("SeaweedFS starts");
                Store {
                    endpoint: server.endpoint(),
                    principal: SeaweedFs::PRINCIPAL,
                    _server: Box::new(server),
                }
            })
            .await
            .unwrap()
        })
        .await
}

/// The one Ceph.
pub(crate) async fn ceph() -> &'static Store {
    static STORE: OnceCell<Store> = OnceCell::const_new();
    STORE
        .get_or_init(|| async {
            tokio::task::spawn_blocking(|| {
                let users: Vec<Login> = users().map(Login::of).collect();
                let server = Ceph::start(&users).expect("Ceph starts");
                Store { endpoint: server.endpoint(), principal: Ceph::PRINCIPAL, _server: Box::new(server) }
            })
            .await
            .unwrap()
        })
        .await
}

/// The one versitygw, where that program is installed.
#[allow(clippy::print_stdout)] // Nothing is left out silently.
pub(crate) async fn versitygw() -> Option<&'static Store> {
    static STORE: OnceCell<Option<Store>> = OnceCell::const_new();
    let start = || {
        let Some(program) = versitygw_program() else {
            println!(
                "versitygw is not installed, so nothing is tried with it: \
                 go install github.com/versity/versitygw/cmd/versitygw@v1.8.0"
            );
            return None;
        };
        let users: Vec<Login> = users().filter(|user| *user != OURS).map(Login::of).collect();
        let server = VersityGw::start(&program, &Login::of(OURS), &users).expect("versitygw starts");
        Some(Store {
            endpoint: server.endpoint(),
            principal: VersityGw::PRINCIPAL,
            _server: Box::new(server),
        })
    };
    STORE.get_or_init(|| async move { tokio::task::spawn_blocking(start).await.unwrap() }).await.as_ref()
}

/// On the path, or where Go puts what it installs.
fn versitygw_program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join("go/bin"));
    std::env::split_paths(&path)
        .chain(home)
        .map(|folder| folder.join("versitygw"))
        .find(|file| file.is_file())
}

fn users() -> impl Iterator<Item = &'static str> {
    TENANTS.into_iter().chain([NEIGHBOUR, OURS])
}

impl Store {
    /// A client with the control plane's credential.
    pub(crate) fn ours(&self) -> Client {
        client(&self.endpoint, OURS)
    }

    /// A client with somebody's own credential.
    pub(crate) fn of(&self, user: &str) -> Client {
        client(&self.endpoint, user)
    }

    /// A shared bucket of its own for a test, where the site lets every tenant use its prefix.
    pub(crate) async fn bucket(&'static self, name: &str) -> Bucket {
        self.made(name, false).await
    }

    /// One in which objects can be locked.
    pub(crate) async fn bucket_with_locks(&'static self, name: &str) -> Bucket {
        self.made(name, true).await
    }

    async fn made(&'static self, name: &str, locks: bool) -> Bucket {
        let bucket = Bucket { store: self, name: name.to_owned(), credentials: Arc::new(credentials()) };
        let create = self.ours().create_bucket().bucket(name);
        create.object_lock_enabled_for_bucket(locks).send().await.expect("a bucket is made");
        bucket.grant().await;
        bucket
    }
}

/// The probe credentials of all that the servers know.
fn credentials() -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    for (profile, user) in TENANTS.into_iter().map(|user| (user, user)).chain([("NEIGHBOUR", NEIGHBOUR)]) {
        let Login { user, secret } = Login::of(user);
        writeln!(file, "[{profile}]\naws_access_key_id = {user}\naws_secret_access_key = {secret}\n")
            .unwrap();
    }
    file.flush().unwrap();
    file
}

/// A bucket under test.
#[derive(Clone)]
pub(crate) struct Bucket {
    pub store: &'static Store,
    pub name: String,
    pub credentials: Arc<NamedTempFile>,
}

impl Bucket {
    /// Writes the site's own policy: what Tenantry must leave alone.
    async fn grant(&self) {
        let policy = self.site_policy().to_string();
        let put = self.store.ours().put_bucket_policy().bucket(&self.name).policy(policy);
        put.send().await.expect("the site's policy is written");
    }

    pub(crate) fn site_policy(&self) -> Value {
        let bucket = format!("arn:aws:s3:::{}", self.name);
        let allow = |user: &str, prefix: &str| {
            let principal = json!({ "AWS": [format!("{}{user}", self.store.principal)] });
            [
                json!({ "Sid": format!("Objects{}", user.replace('-', "")), "Effect": "Allow", "Principal": principal,
                    "Action": ["s3:*"], "Resource": [format!("{bucket}/{prefix}*")] }),
                json!({ "Sid": format!("Lists{}", user.replace('-', "")), "Effect": "Allow", "Principal": principal,
                    "Action": ["s3:ListBucket"], "Resource": [bucket],
                    "Condition": { "StringLike": { "s3:prefix": [format!("{prefix}*")] } } }),
            ]
        };
        let mut statements: Vec<Value> = TENANTS.iter().flat_map(|user| allow(user, &prefix(user))).collect();
        statements.extend(allow(NEIGHBOUR, "public/"));
        json!({ "Version": "2012-10-17", "Statement": statements })
    }

    /// The settings of a target here, with more of them laid over.
    pub(crate) fn settings(&self, more: &str) -> String {
        let Login { user, secret } = Login::of(OURS);
        let (endpoint, principal) = (&self.store.endpoint, self.store.principal);
        let mut table: toml::Table = format!(
            "kind = 's3'\nurl = '{endpoint}'\naccess_key = '{user}'\nsecret_key = '{secret}'\ndeadline = '30s'\n\
             deny = 'principals'\nprincipals = ['{principal}{{tenant_id}}']\nneighbour_key = 'public/hello'\n\
             probe_credentials_file = '{}'\n",
            self.credentials.path().display()
        )
        .parse()
        .unwrap();
        table.extend(more.parse::<toml::Table>().unwrap());
        table.retain(|_, value| value.as_str() != Some("none"));
        toml::Table::from_iter([("store".to_owned(), table.into())]).to_string()
    }

    /// A target of this process alone.
    pub(crate) fn target(&self, more: &str) -> S3 {
        self.target_of(more, None)
    }

    /// A target of one replica of several, which take turns by a database.
    pub(crate) fn target_of(&self, more: &str, pool: Option<Pool>) -> S3 {
        self.target_within(DEADLINE, more, pool)
    }

    /// One that gives up a call after a time.
    pub(crate) fn target_within(&self, deadline: Duration, more: &str, pool: Option<Pool>) -> S3 {
        let mut flags = Flags::default();
        flags.values.insert("cascade.targets", self.settings(more));
        let config = Config::load(&flags, |_| None).expect("the settings are valid").config;
        match &config.cascade.targets["store"] {
            Target::S3(settings) => S3::new((**settings).clone(), deadline, pool),
            other => panic!("another kind: {other:?}"),
        }
    }

    /// A tenant whose prefix derives from its id.
    pub(crate) fn tenant(&self, tenant_id: &str) -> TenantRef {
        tenant_in(&self.name, tenant_id)
    }

    /// The bucket's policy as it is stored.
    pub(crate) async fn policy(&self) -> Option<Value> {
        let answer = self.store.ours().get_bucket_policy().bucket(&self.name).send().await.ok()?;
        Some(serde_json::from_str(&answer.policy?).unwrap())
    }

    /// How many principals the stored policy denies.
    pub(crate) async fn denied(&self) -> usize {
        let policy = self.policy().await.expect("there is a policy");
        let statements = policy["Statement"].as_array().unwrap().iter();
        let denied = statements.filter(|statement| statement["Effect"] == "Deny");
        denied.map(|statement| statement["Principal"]["AWS"].as_array().map_or(1, Vec::len)).sum()
    }
}

/// Connections of one replica to the database by which all take turns.
pub(crate) fn pool(url: &str) -> Pool {
    let manager = Manager::new(url.parse().unwrap(), tokio_postgres::NoTls);
    Pool::builder(manager).max_size(4).build().unwrap()
}

/// What all keys of a tenant start with.
pub(crate) fn prefix(tenant_id: &str) -> String {
    format!("t/{tenant_id}/")
}

/// Brings a tenant to a state and reads it back as an ordinary client.
pub(crate) async fn bring(target: &S3, tenant: &TenantRef, state: Desired, generation: u64) {
    target.apply(tenant, state, generation).await.unwrap_or_else(|failure| panic!("{state}: {failure}"));
    let seen = target.observe(tenant).await.unwrap_or_else(|failure| panic!("{state}: {failure}"));
    assert_eq!(seen, Observed::effect(state, generation));
}

/// A tenant in a bucket, whose prefix derives from its id.
pub(crate) fn tenant_in(bucket: &str, tenant_id: &str) -> TenantRef {
    let mut tenant = tenant(tenant_id);
    bucket.clone_into(&mut tenant.names.bucket);
    tenant.names.bucket_prefix = prefix(tenant_id);
    tenant
}

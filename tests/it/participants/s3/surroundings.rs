//! Our own credential where the settings have none: found where AWS's tools look, by the real program.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tenantry::app::dev_servers::Login;
use tenantry::proto::v1;
use tenantry::proto::v1::tenant_registry_client::TenantRegistryClient;
use tonic::transport::Channel;

use super::store::{Bucket, seaweedfs};
use crate::support::{Replica, Setup, empty_database, new_tenant, program};

/// The real program, ended with the test.
struct Served {
    child: Child,
    channel: Channel,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

async fn serve(bucket: &Bucket, surroundings: &[(&str, &str)]) -> Served {
    let database_url = empty_database().await;
    let mut replica = Replica::on(&database_url, &Setup { no_targets: true, ..Setup::default() }).await;
    replica.seed_tiers().await;
    replica.stop().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(program());
    command.args(["serve", "--insecure-no-auth", "--database-url", &database_url]);
    command.args(["--grpc-listen", &format!("127.0.0.1:{port}"), "--http-listen", "127.0.0.1:0"]);
    command.args(["--targets", &bucket.settings("access_key = 'none'\nsecret_key = 'none'")]);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"] {
        command.env_remove(name);
    }
    command.env("AWS_EC2_METADATA_DISABLED", "true").envs(surroundings.iter().copied());
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let endpoint = Channel::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    let served = Served { child, channel: endpoint.connect_lazy() };
    let mut tenants = TenantRegistryClient::new(served.channel.clone());
    for _ in 0..600 {
        if tenants.get_statistics(v1::GetStatisticsRequest {}).await.is_ok() {
            return served;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the program does not serve");
}

/// Whether a new tenant becomes ACTIVE, which takes a record and an object in the bucket.
async fn makes_a_tenant(served: &Served, bucket: &Bucket) -> bool {
    let mut tenants = TenantRegistryClient::new(served.channel.clone());
    let names = v1::ResourceNames {
        bucket: bucket.name.clone(),
        bucket_prefix: "t/acme/".to_owned(),
        ..Default::default()
    };
    let tenant = v1::Tenant { resource_names: Some(names), ..new_tenant("acme") };
    tenants
        .create_tenant(v1::CreateTenantRequest { tenant: Some(tenant), ..Default::default() })
        .await
        .unwrap();
    for _ in 0..400 {
        let request = v1::GetTenantRequest { tenant_id: "acme".to_owned() };
        if tenants.get_tenant(request).await.unwrap().into_inner().status() == v1::TenantStatus::Active {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_is_found_in_the_environment_and_in_a_shared_file() {
    let store = seaweedfs().await;
    let Login { user, secret } = Login::of("control-plane");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "[default]\naws_access_key_id = {user}\naws_secret_access_key = {secret}\n").unwrap();
    let path = file.path().display().to_string();
    for (name, surroundings) in [
        ("environment", vec![("AWS_ACCESS_KEY_ID", user.as_str()), ("AWS_SECRET_ACCESS_KEY", &secret)]),
        ("shared-file", vec![("AWS_SHARED_CREDENTIALS_FILE", path.as_str())]),
    ] {
        let bucket = store.bucket(name).await;
        let served = serve(&bucket, &surroundings).await;
        assert!(makes_a_tenant(&served, &bucket).await, "{name}");
    }
}

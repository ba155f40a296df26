//! SeaweedFS with one bucket for all tenants, where its program is installed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;

use super::super::Error;
use super::super::dev_servers::Login;
use super::super::dev_servers::program::{self, Folder};
use super::super::dev_servers::seaweedfs::{Identity, SeaweedFs};
use super::clients::Served;
use super::{TENANTS, failed};

/// The program, looked for on the PATH.
const PROGRAM: &str = "weed";
/// What tenants' resource names say where nobody chose others.
const BUCKET: &str = "tenants";
const OURS: &str = "control-plane";

/// A running server.
pub(super) struct ObjectStore {
    server: SeaweedFs,
    credentials: Folder,
}

impl ObjectStore {
    /// Starts one; `None` where the program is not installed.
    pub(super) fn start() -> Result<Option<Self>, program::Error> {
        let person = |user: &str, actions: &[&str]| Identity {
            login: Login::of(user),
            actions: actions.iter().map(ToString::to_string).collect(),
        };
        let mut people: Vec<Identity> =
            TENANTS.iter().map(|id| person(id, &["Read:tenants", "Write:tenants", "List:tenants"])).collect();
        people.push(person(OURS, &["Admin"]));
        let server = match SeaweedFs::start(Path::new(PROGRAM), &people) {
            Err(program::Error::NotReady { log, .. }) if log.contains("failed to execute") => {
                return Ok(None);
            }
            started => started?,
        };
        let credentials = Folder::new("credentials")?;
        let profiles = TENANTS.map(Login::of).map(|Login { user, secret }| {
            format!("[{user}]\naws_access_key_id = {user}\naws_secret_access_key = {secret}\n")
        });
        fs::write(credentials.path().join("tenants"), profiles.concat())?;
        Ok(Some(Self { server, credentials }))
    }

    /// Makes the bucket.
    pub(super) async fn prepare(&self) -> Result<(), Error> {
        let made = self.client(OURS).create_bucket().bucket(BUCKET).send().await;
        made.map(drop).map_err(|error| failed(format!("the bucket cannot be made: {error:?}")))
    }

    /// The settings of the target.
    pub(super) fn target(&self) -> String {
        let Login { user, secret } = Login::of(OURS);
        format!(
            "documents = {{ kind = \"s3\", url = \"{}\", access_key = \"{user}\", secret_key = \"{secret}\", \
             deny = \"principals\", principals = [\"{}{{tenant_id}}\"], probe_credentials_file = \"{}\" }}\n",
            self.server.endpoint(),
            SeaweedFs::PRINCIPAL,
            self.credentials.path().join("tenants").display(),
        )
    }

    /// The tenant's own client, with an object and a link to it that it signed.
    pub(super) async fn tenant(&self, tenant_id: &str, prefix: &str) -> Result<Documents, Error> {
        let client = self.client(tenant_id);
        let key = format!("{prefix}report");
        let documents = Documents { client, key, link: String::new() };
        documents.write().await.map_err(|code| failed(format!("the object store says {code}")))?;
        let lasting = PresigningConfig::expires_in(Duration::from_hours(1)).map_err(failed)?;
        let get = documents.client.get_object().bucket(BUCKET).key(&documents.key);
        let link = get.presigned(lasting).await.map_err(failed)?.uri().to_owned();
        Ok(Documents { link, ..documents })
    }

    fn client(&self, user: &str) -> Client {
        let Login { user, secret } = Login::of(user);
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(self.server.endpoint())
            .force_path_style(true)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .credentials_provider(Credentials::new(user, secret, None, None, "demo"));
        Client::from_conf(config.build())
    }
}

/// A tenant's client of the object store.
pub(super) struct Documents {
    client: Client,
    key: String,
    link: String,
}

impl Documents {
    /// Writes its object, reads it, and opens the link.
    pub(super) async fn tries(&self) -> Result<(Served, String), Error> {
        let (written, read) = (self.write().await, self.read().await);
        let linked = reqwest::get(&self.link).await.map_err(failed)?.status().as_u16();
        Ok(match (written, read, linked) {
            (Ok(()), Ok(text), 200) => {
                (Served::Yes, format!("writes and reads its object, the link it signed opens: {text}"))
            }
            (Err(write), Err(read), 403) => (
                Served::No,
                format!("may not write ({write}) nor read ({read}), the link it signed earlier answers 403"),
            ),
            (written, read, linked) => {
                // Some of it passes, and some does not: neither served nor locked out.
                return Err(failed(format!("writes: {written:?}, reads: {read:?}, the link: {linked}")));
            }
        })
    }

    async fn write(&self) -> Result<(), String> {
        let body = ByteStream::from_static(b"third quarter");
        let put = self.client.put_object().bucket(BUCKET).key(&self.key).body(body);
        put.send().await.map(drop).map_err(|error| code(&error))
    }

    async fn read(&self) -> Result<String, String> {
        let get = self.client.get_object().bucket(BUCKET).key(&self.key).send().await;
        let body =
            get.map_err(|error| code(&error))?.body.collect().await.map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&body.into_bytes()).into_owned())
    }
}

/// The server's word for why not.
fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> String {
    error.code().unwrap_or("no answer").to_owned()
}

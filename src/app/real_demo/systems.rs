//! The systems of the story, and the server that drives them.

use tokio_postgres::{Client, NoTls};

use super::super::dev_postgres::{Options, PrivatePostgres};
use super::super::dev_servers::alertmanager::{self, Alertmanager};
use super::super::dev_servers::redis::Redis;
use super::super::server::{self, Server};
use super::super::{Error, dev};
use super::failed;
use super::object_store::ObjectStore;
use crate::config::dev::SeedCatalogue;
use crate::config::{Config, Flags};

/// The role of the application's sessions, and the account it logs in with.
const ROLE: &str = "orders_app";
const LOGIN: &str = "orders_login";

/// Everything that runs.
pub(super) struct Systems {
    server: Server,
    postgres: PrivatePostgres,
    pub(super) redis: Redis,
    pub(super) alertmanager: Alertmanager,
    pub(super) object_store: Option<ObjectStore>,
    application: String,
}

impl Systems {
    /// Starts them all, and a server that knows them as targets.
    pub(super) async fn start() -> Result<Self, Error> {
        let postgres = dev::blocking(|| PrivatePostgres::start(&Options::ephemeral())).await??;
        let redis = dev::blocking(Redis::start).await?.map_err(failed)?;
        let alertmanager = dev::blocking(|| Alertmanager::start(&alertmanager::Options::default()));
        let alertmanager = alertmanager.await?.map_err(failed)?;
        let object_store = dev::blocking(ObjectStore::start).await?.map_err(failed)?;
        let application = make_database(&postgres.url()).await?;
        let mut targets = format!(
            "orders = {{ kind = \"postgres\", url = \"{application}\", role = \"{ROLE}\", install = true }}\n\
             cache = {{ kind = \"redis\", url = \"{}\", users = \"acl\" }}\n\
             monitoring = {{ kind = \"alertmanager\", url = \"{}\" }}\n",
            redis.url(),
            alertmanager.endpoint(),
        );
        if let Some(store) = &object_store {
            store.prepare().await?;
            targets.push_str(&store.target());
        }
        let mut flags = Flags::default();
        for (key, value) in [
            ("server.grpc_listen", "127.0.0.1:0"),
            ("server.http_listen", "127.0.0.1:0"),
            ("server.insecure_no_auth", "true"),
            ("cascade.targets", &targets),
            ("database.url", &postgres.url()),
        ] {
            flags.values.insert(key, value.to_owned());
        }
        // Nothing of this machine's environment: the story is the same everywhere.
        let config = Config::load(&flags, |_| None)?.config;
        let server = Server::start(&config, server::prepare(&config, true).await?).await?;
        dev::seed(&server.registry, SeedCatalogue::Gcc).await?;
        Ok(Self { server, postgres, redis, alertmanager, object_store, application })
    }

    /// Where the registry is served.
    pub(super) fn grpc(&self) -> std::net::SocketAddr {
        self.server.grpc
    }

    /// The application's database as its administrator.
    pub(super) async fn administrator(&self) -> Result<Client, Error> {
        connect(&self.application).await
    }

    /// The application's database as the application logs in.
    pub(super) async fn client(&self) -> Result<Client, Error> {
        let place = self.application.rsplit_once('@').map_or("", |(_, place)| place);
        connect(&format!("postgres://{LOGIN}:{LOGIN}@{place}")).await
    }

    /// Ends them in order.
    pub(super) async fn stop(self) -> Result<(), Error> {
        self.server.stop().await;
        let (postgres, others) = (self.postgres, (self.redis, self.alertmanager, self.object_store));
        dev::blocking(move || {
            drop(others);
            postgres.stop()
        })
        .await??;
        Ok(())
    }
}

/// Makes the application's database beside the registry's; answers its URL.
async fn make_database(registry: &str) -> Result<String, Error> {
    let client = connect(registry).await?;
    client.batch_execute("CREATE DATABASE orders").await.map_err(failed)?;
    let place = registry.rsplit_once('/').map_or("", |(place, _)| place);
    Ok(format!("{place}/orders"))
}

async fn connect(url: &str) -> Result<Client, Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.map_err(failed)?;
    tokio::spawn(connection);
    Ok(client)
}

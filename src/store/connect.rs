//! Connections: a pool for short statements, single ones for the writer and the follower, which hold theirs, and pools of
//! their own for targets that are in the same database: a thousand tenants being provisioned must not keep out a caller.

use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio_postgres::Client;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Error, tls};
use crate::config;

/// Said with the connection, so that it holds from the first statement on, whatever the role or the database is set to.
const OWN_SETTINGS: &str =
    "-c search_path=pg_catalog,pg_temp -c role=none -c row_security=on -c quote_all_identifiers=off";

/// The first statement of each session.
const DURABLE: &str = include_str!("sql/session/durable.sql");

/// How to reach the registry's database.
#[derive(Clone)]
pub struct Database {
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
    pool: Pool,
    settings: config::Database,
}

impl Database {
    /// Prepares connections; none is opened yet.
    ///
    /// # Errors
    ///
    /// Where there is no usable URL, or no usable certificate to trust.
    pub fn new(settings: &config::Database) -> Result<Self, config::Error> {
        Self::with_options(settings, "")
    }

    /// The same for a target system, in whose database others may make functions and operators too: one that fits a call of ours
    /// more exactly than the server's own must not run as us. A lock is waited for at most `lock_timeout`.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn of_a_target(settings: &config::Database, lock_timeout: Duration) -> Result<Self, config::Error> {
        let lock_timeout = lock_timeout.as_millis().max(1);
        Self::with_options(settings, &format!(" {OWN_SETTINGS} -c lock_timeout={lock_timeout}"))
    }

    fn with_options(settings: &config::Database, more: &str) -> Result<Self, config::Error> {
        let url = settings.required_url()?;
        let mut config = url.config().clone();
        config
            .application_name("tenantry")
            .connect_timeout(settings.connect_timeout)
            .tcp_user_timeout(settings.tcp_user_timeout)
            .keepalives_idle(settings.keepalive_idle)
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            // A replica that is stopped in the middle of a transaction must not hold its locks for as long as it stands
            // still: no transaction of ours waits for anything but the database.
            // Short statements over JSON look costly to the planner; compiling each of them took seconds a batch.
            .options(format!(
                "-c statement_timeout={0} -c idle_in_transaction_session_timeout={0} -c timezone=UTC \
                 -c client_min_messages=error -c jit=off{more}",
                settings.statement_timeout.as_millis()
            ));
        let tls = MakeRustlsConnect::new(tls::client(url.mode(), settings.authorities.as_deref())?);
        let pool = pool(&config, &tls, settings)?;
        Ok(Self { config, tls, pool, settings: settings.clone() })
    }

    /// A pooled connection, for one short statement or transaction.
    pub async fn pooled(&self) -> Result<deadpool_postgres::Object, Error> {
        Ok(self.pool.get().await?)
    }

    /// So many connections apart from the pool, for a target system that is in this database. They have the settings of
    /// [`Self::of_a_target`].
    pub fn separate_pool(&self, connections: usize) -> Result<Pool, config::Error> {
        let mut config = self.config.clone();
        let options = config.get_options().unwrap_or_default().to_owned();
        config.options(format!("{options} {OWN_SETTINGS}"));
        self.pool_of(&config, connections)
    }

    /// So many connections apart from the pool, for who works on the registry's own tables and holds one for longer.
    pub fn further_pool(&self, connections: usize) -> Result<Pool, config::Error> {
        self.pool_of(&self.config, connections)
    }

    fn pool_of(&self, config: &tokio_postgres::Config, connections: usize) -> Result<Pool, config::Error> {
        let settings = config::Database { pool_size: connections, ..self.settings.clone() };
        pool(config, &self.tls, &settings)
    }

    /// The pool alone, for a target system that is a database of its own.
    pub fn into_pool(self) -> Pool {
        self.pool
    }

    /// A connection of one's own. `on_notice` is called with the payload of every notification that arrives on it.
    pub async fn dedicated(&self, on_notice: impl Fn(&str) + Send + 'static) -> Result<Client, Error> {
        let connect = self.config.connect(self.tls.clone());
        let (client, mut connection) =
            tokio::time::timeout(self.settings.connect_timeout, connect)
                .await
                .map_err(|_| Error::Unreachable("no connection in time".to_owned()))??;
        tokio::spawn(async move {
            while let Some(Ok(message)) =
                std::future::poll_fn(|context| connection.poll_message(context)).await
            {
                if let tokio_postgres::AsyncMessage::Notification(notification) = message {
                    on_notice(notification.payload());
                }
            }
        });
        client.batch_execute(DURABLE).await?;
        Ok(client)
    }

    /// Longest time one statement may take.
    pub const fn statement_timeout(&self) -> Duration {
        self.settings.statement_timeout
    }
}

fn pool(
    config: &tokio_postgres::Config,
    tls: &MakeRustlsConnect,
    settings: &config::Database,
) -> Result<Pool, config::Error> {
    let manager = Manager::from_config(
        config.clone(),
        tls.clone(),
        // A transaction left open by whoever had the connection before must not reach the next one. Begun first, so that
        // the database does not warn, each time, that there is none.
        ManagerConfig { recycling_method: RecyclingMethod::Custom("BEGIN; ROLLBACK".to_owned()) },
    );
    Pool::builder(manager)
        .max_size(settings.pool_size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(settings.pool_wait_timeout))
        .create_timeout(Some(settings.connect_timeout))
        .recycle_timeout(Some(settings.pool_wait_timeout))
        .post_create(Hook::async_fn(|client, _| {
            Box::pin(async move { client.batch_execute(DURABLE).await.map_err(HookError::Backend) })
        }))
        .pre_recycle(Hook::sync_fn(|client, _| {
            if client.is_closed() { Err(HookError::message("closed")) } else { Ok(()) }
        }))
        .build()
        .map_err(|error| config::Error::Conflict(format!("the pool cannot be built: {error}")))
}

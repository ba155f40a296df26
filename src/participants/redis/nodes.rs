//! The servers of a cache: one, or the nodes of a cluster as it is right now.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    FromRedisValue, IntoConnectionInfo as _, RedisError, ServerErrorKind, TlsCertificates,
};

use super::super::{Failure, Unusable};
use super::layout::{Layout, Member};
use crate::config;

/// Longest time to open a connection: as long as the other targets take.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Slots of a cluster, by its specification.
const SLOTS: u32 = 16_384;

/// One server.
#[derive(Clone)]
pub(super) struct Node {
    /// Host and port, as people know it.
    address: String,
    connection: MultiplexedConnection,
}

impl Node {
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Whether it says anything within that time. Also what it may not say to us is an answer.
    async fn answers(&self, patience: Duration) -> bool {
        let ping = redis::cmd("PING");
        match tokio::time::timeout(patience, self.run::<redis::Value>(&ping)).await {
            Ok(Err(error)) => matches!(error.kind(), ErrorKind::Server(_)),
            Ok(Ok(_)) => true,
            Err(_) => false,
        }
    }

    /// Runs one command.
    pub(super) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        command.query_async(&mut self.connection.clone()).await
    }

    /// Runs a pipeline in one round trip and answers what its commands answered.
    pub(super) async fn run_all<T: FromRedisValue>(
        &self,
        commands: &redis::Pipeline,
    ) -> Result<T, RedisError> {
        commands.query_async(&mut self.connection.clone()).await
    }

    /// Runs many commands in one round trip; one that fails does not keep the others from running.
    pub(super) async fn run_each(&self, commands: &redis::Pipeline) -> Result<(), RedisError> {
        commands.exec_async(&mut self.connection.clone()).await
    }
}

/// A node that the cluster knows and we could not reach.
pub(super) struct Missing {
    /// Host and port; its id where the cluster itself has lost them.
    pub(super) address: String,
    /// Why, in our words.
    pub(super) why: String,
    /// Whether keys are to be there.
    pub(super) has_slots: bool,
    /// Whether it has none, and the cluster takes it for failed: it serves nobody then, until it is back.
    pub(super) is_failed: bool,
}

/// The servers at one moment.
pub(super) struct Cluster {
    /// First and last slot, and which of the primaries has them; `None` where that one is missing.
    slots: Vec<(u16, u16, Option<usize>)>,
    primaries: Vec<Node>,
    /// Replicas, and nodes that hold no slots.
    others: Vec<Node>,
    missing: Vec<Missing>,
    /// The primaries' further databases that hold keys.
    databases: Vec<Node>,
}

impl Cluster {
    /// Wherever keys are looked for.
    pub(super) fn holders(&self) -> impl Iterator<Item = &Node> {
        self.primaries.iter().chain(&self.databases)
    }

    /// The servers that hold keys.
    pub(super) fn primaries(&self) -> &[Node] {
        &self.primaries
    }

    /// Every server that we reached: to each of them a client can connect.
    pub(super) fn all(&self) -> impl Iterator<Item = &Node> {
        self.primaries.iter().chain(&self.others)
    }

    /// Those that we did not reach.
    pub(super) fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// What failed at one node; of several nodes it says at which.
    pub(super) fn at(&self, node: &Node, error: RedisError) -> Failure {
        let Failure { kind, message } = failure(error);
        let is_one = self.slots.is_empty();
        Failure { kind, message: if is_one { message } else { format!("node {}: {message}", node.address) } }
    }

    /// The server that holds a key.
    pub(super) async fn holder(&self, key: &str) -> Result<&Node, Failure> {
        let nobody = || Failure::retryable("the node that holds the tenant's record cannot be reached");
        let first = self.primaries.first().ok_or_else(nobody)?;
        if self.slots.is_empty() {
            return Ok(first);
        }
        let slot: u16 = first.run(redis::cmd("CLUSTER").arg("KEYSLOT").arg(key)).await.map_err(failure)?;
        let holder = self.slots.iter().find(|(from, to, _)| (*from..=*to).contains(&slot));
        holder.and_then(|(_, _, index)| self.primaries.get((*index)?)).ok_or_else(nobody)
    }
}

/// How the servers are reached.
pub(super) struct Nodes {
    seeds: Vec<ConnectionInfo>,
    is_cluster: bool,
    /// Whether keys are looked for in every database, and not in that of the URL alone.
    everywhere: bool,
    deadline: Duration,
    /// By address and database. A connection that broke is opened again by the next call.
    open: Mutex<HashMap<String, MultiplexedConnection>>,
}

impl Nodes {
    pub(super) fn new(settings: &config::targets::Redis, deadline: Duration) -> Result<Self, Unusable> {
        let seeds =
            settings.endpoints.iter().map(|endpoint| seed(endpoint, settings)).collect::<Result<_, _>>()?;
        // A user is one of the whole server, and so is what it may have left in any database.
        let everywhere = settings.user_prefix.is_some();
        Ok(Self { seeds, is_cluster: settings.is_cluster, everywhere, deadline, open: Mutex::default() })
    }

    /// The database of the URL: the one in which tenants' keys are to be.
    pub(super) fn database(&self) -> i64 {
        self.seeds.first().map_or(0, |seed| seed.redis_settings().db())
    }

    /// The servers as they are now; of a cluster, asked from the first node that answers.
    pub(super) async fn cluster(&self) -> Result<Cluster, Failure> {
        let mut failed = None;
        for seed in &self.seeds {
            match self.told_by(seed).await {
                Ok(cluster) => return Ok(cluster),
                Err(failure) => failed = Some(failure),
            }
        }
        Err(failed.unwrap_or_else(|| Failure::permanent("no server is configured")))
    }

    async fn told_by(&self, seed: &ConnectionInfo) -> Result<Cluster, Failure> {
        let node = self.node(seed.clone()).await?;
        if !self.is_cluster {
            let databases = self.further_databases(&node, seed).await?;
            let (slots, others, missing) = (Vec::new(), Vec::new(), Vec::new());
            return Ok(Cluster { slots, primaries: vec![node], others, missing, databases });
        }
        let ranges: Vec<Vec<redis::Value>> =
            node.run(redis::cmd("CLUSTER").arg("SLOTS")).await.map_err(failure)?;
        // The slots leave out whoever is failed, or has not caught up with its primary yet.
        let members: String = node.run(redis::cmd("CLUSTER").arg("NODES")).await.map_err(failure)?;
        let layout = Layout::read(&ranges, &members, seed.addr())
            .ok_or_else(|| Failure::retryable("the cluster does not say who holds its slots"))?;
        if layout.covered() != SLOTS {
            return Err(Failure::retryable("the cluster has slots that no node holds"));
        }
        let (mut primaries, mut databases) = (Vec::new(), Vec::new());
        let (mut others, mut missing, mut reached) = (Vec::new(), Vec::new(), Vec::new());
        for (host, port) in &layout.primaries {
            let place = at(seed, host, *port);
            match self.reach(place.clone(), self.little()).await {
                Ok(node) => {
                    databases.extend(self.further_databases(&node, &place).await?);
                    reached.push(Some(primaries.len()));
                    primaries.push(node);
                }
                Err(Failure { message: why, .. }) => {
                    let address = place.addr().to_string();
                    missing.push(Missing { address, why, has_slots: true, is_failed: false });
                    reached.push(None);
                }
            }
        }
        for found in join_all(layout.others.iter().map(|member| self.other(seed, member))).await {
            match found {
                Ok(node) => others.push(node),
                Err(gone) => missing.push(gone),
            }
        }
        let slots = layout.slots.iter();
        let slots = slots.map(|(from, to, index)| (*from, *to, reached.get(*index).copied().flatten()));
        Ok(Cluster { slots: slots.collect(), primaries, others, missing, databases })
    }

    /// How long one node of several is waited for: those that do not answer are to leave time for the others.
    fn little(&self) -> Duration {
        CONNECT_MAX.min(self.deadline / 4)
    }

    /// A node that holds no slots.
    async fn other(&self, seed: &ConnectionInfo, member: &Member) -> Result<Node, Missing> {
        let missing = |address, why| Missing { address, why, has_slots: false, is_failed: member.is_failed };
        let Some((host, port)) = &member.place else {
            return Err(missing(member.id.clone(), "the cluster does not know its address".to_owned()));
        };
        let place = at(seed, host, *port);
        let address = place.addr().to_string();
        let found = self.reach(place, self.little()).await;
        found.map_err(|failure| missing(address, failure.message))
    }

    /// The databases of a server that hold keys, but for the one that the node is connected to.
    async fn further_databases(&self, node: &Node, place: &ConnectionInfo) -> Result<Vec<Node>, Failure> {
        if !self.everywhere {
            return Ok(Vec::new());
        }
        let told: String = node.run(redis::cmd("INFO").arg("keyspace")).await.map_err(failure)?;
        let mut further = Vec::new();
        for database in databases(&told).filter(|database| *database != place.redis_settings().db()) {
            let settings = place.redis_settings().clone().set_db(database);
            further.push(self.node(place.clone().set_redis_settings(settings)).await?);
        }
        Ok(further)
    }

    async fn node(&self, info: ConnectionInfo) -> Result<Node, Failure> {
        self.reach(info, CONNECT_MAX.min(self.deadline)).await
    }

    async fn reach(&self, info: ConnectionInfo, patience: Duration) -> Result<Node, Failure> {
        let address = info.addr().to_string();
        let key = format!("{address}/{}", info.redis_settings().db());
        let known = self.open().get(&key).cloned();
        if let Some(connection) = known {
            let node = Node { address: address.clone(), connection };
            // A connection that the server has closed, or that hangs, shows it here, before anything was asked of it.
            if node.answers(patience).await {
                return Ok(node);
            }
            self.open().remove(&key);
        }
        let timing = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(patience))
            .set_response_timeout(Some(self.deadline));
        let client = Client::open(info).map_err(failure)?;
        // Nothing was asked of it yet, so nothing can have happened.
        let opened = tokio::time::timeout(patience, async {
            let connection = client.get_multiplexed_async_connection_with_config(&timing).await;
            let connection = connection.map_err(|error| Failure::retryable(failure(error).message))?;
            let node = Node { address, connection };
            // A process that hangs is still connected to.
            if node.answers(patience).await { Ok(node) } else { Err(silent()) }
        });
        let node = opened.await.unwrap_or_else(|_| Err(silent()))?;
        self.open().insert(key, node.connection.clone());
        Ok(node)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, MultiplexedConnection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn seed(
    endpoint: &config::targets::Endpoint,
    settings: &config::targets::Redis,
) -> Result<ConnectionInfo, Unusable> {
    let unusable = |_| Unusable("its URL or one of its certificates cannot be used".to_owned());
    let info = endpoint.expose().into_connection_info().map_err(unusable)?;
    let mut account = info.redis_settings().clone();
    if let Some(username) = &settings.username {
        account = account.set_username(username);
    }
    if let Some(password) = &settings.password {
        account = account.set_password(password.expose());
    }
    let info = info.set_redis_settings(account);
    if !endpoint.is_encrypted() {
        return Ok(info);
    }
    let bytes = |text: &str| text.as_bytes().to_vec();
    let certificates = TlsCertificates {
        root_cert: settings.tls.authorities.as_deref().map(bytes),
        client_tls: settings.tls.identity.as_ref().map(|(certificate, key)| ClientTlsConfig {
            client_cert: bytes(certificate),
            client_key: bytes(key.expose()),
        }),
    };
    let client = Client::build_with_tls(info, certificates).map_err(unusable)?;
    Ok(client.get_connection_info().clone())
}

/// The same account and encryption at another place.
fn at(seed: &ConnectionInfo, host: &str, port: u16) -> ConnectionInfo {
    let address = match seed.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
            host: host.to_owned(),
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host.to_owned(), port),
    };
    seed.clone().set_addr(address)
}

/// The databases that `INFO keyspace` names: those that hold keys.
fn databases(told: &str) -> impl Iterator<Item = i64> {
    told.lines().filter_map(|line| line.strip_prefix("db")?.split_once(':')?.0.parse().ok())
}

/// What a failed command means. The server's own words are for the log.
#[allow(clippy::needless_pass_by_value)] // The shape that map_err wants.
pub(super) fn failure(error: RedisError) -> Failure {
    tracing::warn!(error = %error, "the cache failed");
    match error.kind() {
        _ if error.is_timeout() => Failure::unknown("the cache did not answer in time"),
        ErrorKind::Io => Failure::unknown("the cache cannot be reached"),
        ErrorKind::AuthenticationFailed => Failure::retryable("the cache does not accept our password"),
        ErrorKind::Server(ServerErrorKind::NoPerm) => lacking(),
        // So it is told of a command inside a script.
        _ if error.detail().is_some_and(|words| words.contains("can't run this command")) => lacking(),
        ErrorKind::Server(ServerErrorKind::ReadOnly) => {
            Failure::retryable("the cache is a read-only replica")
        }
        ErrorKind::Server(kind) if kind != ServerErrorKind::ResponseError => {
            Failure::retryable("the cache cannot do it at the moment")
        }
        _ if error.code() == Some("OOM") => Failure::retryable("the cache is out of memory"),
        _ => Failure::retryable("the cache answered with an error"),
    }
}

fn silent() -> Failure {
    Failure::retryable("the cache did not answer in time")
}

fn lacking() -> Failure {
    Failure::permanent("our account may not run a command that this needs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_those_that_hold_keys() {
        let told = "# Keyspace\r\ndb0:keys=2,expires=0,avg_ttl=0\r\ndb11:keys=1,expires=0,avg_ttl=0\r\n";
        assert_eq!(databases(told).collect::<Vec<_>>(), [0, 11]);
        assert_eq!(databases("# Keyspace\r\n").count(), 0);
    }
}

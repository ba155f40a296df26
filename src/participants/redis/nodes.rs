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

use super::super::unreached::{Unreached, unreached};
use super::super::{Failure, FailureKind, Unusable};
use super::layout::{Layout, Member};
use crate::config;

/// Longest time to open a connection: as long as the other targets take.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// What a server says for as long as a script runs, once that has taken its `busy-reply-threshold`.
const BUSY: &str = "BUSY";
/// Most ranges of slots that are shown.
const RANGES_MAX: usize = 4;

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
            Ok(Err(error)) => matches!(error.kind(), ErrorKind::Server(_)) || error.code() == Some(BUSY),
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

/// What a seed tells: itself, or who belongs to its cluster.
enum Told {
    One(Cluster),
    Several(Layout),
}

/// The servers at one moment.
#[derive(Default)]
pub(super) struct Cluster {
    /// First and last slot, and which of the primaries has them, or the address of the one that is missing.
    slots: Vec<(u16, u16, Result<usize, String>)>,
    /// First and last slot of those that nobody has: who had them, the cluster no longer knows.
    uncovered: Vec<(u16, u16)>,
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

    /// Which slots nobody has, and what helps; `None` where each has its node.
    pub(super) fn uncovered(&self) -> Option<String> {
        let shown = self.uncovered.iter().take(RANGES_MAX).map(|(from, to)| format!("{from}-{to}"));
        let mut slots = shown.collect::<Vec<_>>().join(", ");
        if self.uncovered.len() > RANGES_MAX {
            slots.push_str(" and others");
        }
        let fix = self.all().next().map(|node| format!(" {}", node.address)).unwrap_or_default();
        (!slots.is_empty()).then(|| {
            format!(
                "no node of the cluster holds the slots {slots}, and who had them is not known: bring that node back, \
                 or, where it is gone for good, run `redis-cli --cluster fix{fix}`"
            )
        })
    }

    /// What failed at one node; of several nodes it says at which.
    pub(super) fn at(&self, node: &Node, error: RedisError) -> Failure {
        let failure = failure(error);
        if self.slots.is_empty() {
            return failure;
        }
        Failure { message: format!("node {}: {}", node.address, failure.message), ..failure }
    }

    /// The server that holds a key.
    pub(super) async fn holder(&self, key: &str) -> Result<&Node, Failure> {
        let first = self.primaries.first();
        let first = first.ok_or_else(|| Failure::retryable("no node that holds slots can be reached"))?;
        if self.slots.is_empty() {
            return Ok(first);
        }
        let slot: u16 = first.run(redis::cmd("CLUSTER").arg("KEYSLOT").arg(key)).await.map_err(failure)?;
        match self.slots.iter().find(|(from, to, _)| (*from..=*to).contains(&slot)) {
            Some((_, _, Ok(index))) => Ok(self.primaries.get(*index).unwrap_or(first)),
            Some((_, _, Err(address))) => Err(Failure::retryable(format!(
                "the node that holds the tenant's record cannot be reached: {address}"
            ))),
            None => Err(Failure::retryable(format!(
                "the tenant's record is in slot {slot}: {}",
                self.uncovered().unwrap_or_default()
            ))),
        }
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

    /// The servers as they are now; of a cluster, asked from the first node that answers and knows who holds each slot,
    /// else from the one that knows of most.
    pub(super) async fn cluster(&self) -> Result<Cluster, Failure> {
        let (mut failed, mut partial) = (None, None);
        for seed in &self.seeds {
            match self.told_by(seed).await {
                Ok(Told::One(cluster)) => return Ok(cluster),
                Ok(Told::Several(layout)) if layout.lacks() == 0 => {
                    return self.reach_all(seed, &layout).await;
                }
                Ok(Told::Several(layout)) => {
                    if partial.as_ref().is_none_or(|(_, known): &(_, Layout)| known.lacks() > layout.lacks())
                    {
                        partial = Some((seed, layout));
                    }
                }
                Err(failure) => failed = Some(failure),
            }
        }
        match partial {
            Some((seed, layout)) => self.reach_all(seed, &layout).await,
            None => Err(failed.unwrap_or_else(|| Failure::permanent("no server is configured"))),
        }
    }

    async fn told_by(&self, seed: &ConnectionInfo) -> Result<Told, Failure> {
        let node = self.node(seed.clone()).await?;
        if !self.is_cluster {
            let databases = self.further_databases(&node, seed).await?;
            return Ok(Told::One(Cluster { primaries: vec![node], databases, ..Cluster::default() }));
        }
        let ranges: Vec<Vec<redis::Value>> =
            node.run(redis::cmd("CLUSTER").arg("SLOTS")).await.map_err(failure)?;
        // The slots leave out whoever is failed, or has not caught up with its primary yet.
        let members: String = node.run(redis::cmd("CLUSTER").arg("NODES")).await.map_err(failure)?;
        Layout::read(&ranges, &members, seed.addr())
            .map(Told::Several)
            .ok_or_else(|| Failure::retryable("the cluster does not say who holds its slots"))
    }

    async fn reach_all(&self, seed: &ConnectionInfo, layout: &Layout) -> Result<Cluster, Failure> {
        let mut cluster = Cluster { uncovered: layout.uncovered(), ..Cluster::default() };
        let mut reached = Vec::new();
        for (host, port) in &layout.primaries {
            let place = at(seed, host, *port);
            match self.reach(place.clone(), self.little()).await {
                Ok(node) => {
                    cluster.databases.extend(self.further_databases(&node, &place).await?);
                    reached.push(Ok(cluster.primaries.len()));
                    cluster.primaries.push(node);
                }
                Err(Failure { message: why, .. }) => {
                    let address = place.addr().to_string();
                    reached.push(Err(address.clone()));
                    cluster.missing.push(Missing { address, why, has_slots: true, is_failed: false });
                }
            }
        }
        for found in join_all(layout.others.iter().map(|member| self.other(seed, member))).await {
            match found {
                Ok(node) => cluster.others.push(node),
                Err(gone) => cluster.missing.push(gone),
            }
        }
        let slots = layout.slots.iter();
        cluster.slots =
            slots.filter_map(|(from, to, index)| Some((*from, *to, reached.get(*index)?.clone()))).collect();
        Ok(cluster)
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
        let is_encrypted = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let client = Client::open(info).map_err(failure)?;
        // Nothing was asked of it yet, so nothing can have happened.
        let opened = tokio::time::timeout(patience, async {
            let connection = client.get_multiplexed_async_connection_with_config(&timing).await;
            let connection = connection.map_err(|error| {
                if error.is_timeout() {
                    return late(is_encrypted);
                }
                Failure { kind: FailureKind::Retryable, ..failure(error) }
            })?;
            let node = Node { address, connection };
            // A process that hangs is still connected to.
            if node.answers(patience).await { Ok(node) } else { Err(silent()) }
        });
        let node = opened.await.unwrap_or_else(|_| Err(late(is_encrypted)))?;
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
    let unusable = |what: &str| Unusable(format!("its {what} cannot be used"));
    let info = endpoint.expose().into_connection_info().map_err(|_| unusable("URL"))?;
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
    let client = Client::build_with_tls(info, certificates);
    let client = client.map_err(|_| unusable("`ca_file`, or `cert_file` and `key_file`"))?;
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
        ErrorKind::Io => {
            let Unreached { words, cause } = unreached(&error);
            Failure::unknown(format!("the cache {words}")).with_cause(cause)
        }
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
        _ if error.code() == Some(BUSY) => Failure::retryable(
            "a script holds the cache, which answers nobody else: `SCRIPT KILL` there ends it (a function: `FUNCTION KILL`), or \
             `SHUTDOWN NOSAVE` where it has written",
        ),
        _ if error.code() == Some("OOM") => Failure::retryable("the cache is out of memory"),
        _ => Failure::retryable("the cache answered with an error"),
    }
}

/// Of a connection that was not opened. A server that speaks no TLS waits for the end of a line.
fn late(is_encrypted: bool) -> Failure {
    if is_encrypted {
        return Failure::retryable(
            "the cache did not answer the TLS handshake in time: it may speak none at this port",
        );
    }
    silent()
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

//! The tenant's own user, where it has one: what it may do is enforced by the servers themselves.
//!
//! The rules are ours, the passwords are the platform's: they are never touched, but for deletion. Users do not travel
//! between the nodes of a cluster, so every node is told and asked. Needs Redis 7.

use redis::{RedisError, Value};

use super::super::{Failure, TenantRef};
use super::keys::pattern;
use super::nodes::{Cluster, Node, failure};
use super::state::Door;
use crate::domain::lifecycle::Desired;

/// What the user may read with: nothing that looks at other tenants' keys or at the server itself.
const READ: &[&str] = &["+@read", "+@connection", "+@transaction", "+@pubsub"];
/// What takes it beyond reading.
const WRITE: &[&str] = &["+@write", "+eval", "+evalsha"];
/// What lies in those categories and is not bounded by key patterns.
const NEVER: &[&str] =
    &["-@dangerous", "-@admin", "-scan", "-randomkey", "-dbsize", "-keys", "-pubsub", "-function", "-script"];

/// The users of all tenants.
pub(super) struct Users {
    prefix: String,
}

impl Users {
    pub(super) const fn new(prefix: String) -> Self {
        Self { prefix }
    }

    fn name(&self, tenant: &TenantRef) -> String {
        format!("{}{}", self.prefix, tenant.uid.simple())
    }

    /// Tells every node what the user may do from now on, and ends its connections where that is nothing.
    pub(super) async fn set(
        &self,
        cluster: &Cluster,
        tenant: &TenantRef,
        state: Desired,
    ) -> Result<(), Failure> {
        let name = self.name(tenant);
        for node in cluster.all() {
            if state == Desired::Deleted {
                node.run::<u32>(redis::cmd("ACL").arg("DELUSER").arg(&name)).await.map_err(failure)?;
            } else {
                let mut set = redis::cmd("ACL");
                set.arg("SETUSER").arg(&name);
                for rule in rules(&tenant.names.cache_prefix, state) {
                    set.arg(rule);
                }
                node.run::<()>(&set).await.map_err(failure)?;
            }
            if !super::lets_in(state) {
                let kill = redis::cmd("CLIENT").arg("KILL").arg("USER").arg(&name).to_owned();
                // An older server refuses the name of a user that is not there, and then nobody is connected as it.
                if let Err(error) = node.run::<u32>(&kill).await
                    && state != Desired::Deleted
                {
                    return Err(failure(error));
                }
            }
            keep(node).await?;
        }
        Ok(())
    }

    /// What the user gets at each node: a client chooses its own.
    pub(super) async fn doors(&self, cluster: &Cluster, tenant: &TenantRef) -> Result<Vec<Door>, Failure> {
        let name = self.name(tenant);
        let mut doors = Vec::new();
        for node in cluster.all() {
            doors.push(door(node, &name, &tenant.names.cache_prefix).await.map_err(failure)?);
        }
        Ok(doors)
    }
}

fn rules(prefix: &str, state: Desired) -> Vec<String> {
    let mut rules = vec!["resetkeys".to_owned(), "resetchannels".to_owned(), "nocommands".to_owned()];
    if !super::lets_in(state) {
        rules.push("off".to_owned());
        return rules;
    }
    rules.extend([format!("~{}", pattern(prefix)), format!("&{}", pattern(prefix))]);
    let write = if state == Desired::Active { WRITE } else { &[] };
    rules.extend(READ.iter().chain(write).chain(NEVER).map(|rule| (*rule).to_owned()));
    rules.push("on".to_owned());
    rules
}

/// Users live in memory; where the server has a file for them, they go there too.
async fn keep(node: &Node) -> Result<(), Failure> {
    match node.run::<()>(redis::cmd("ACL").arg("SAVE")).await {
        Err(error)
            if error.detail().is_some_and(|words| words.contains("not configured to use an ACL file")) =>
        {
            Ok(())
        }
        kept => kept.map_err(failure),
    }
}

/// Asks the server itself what it would let the user do.
async fn door(node: &Node, name: &str, prefix: &str) -> Result<Door, RedisError> {
    let about: Value = node.run(redis::cmd("ACL").arg("GETUSER").arg(name)).await?;
    if !is_on(&about) {
        return Ok(Door::Shut);
    }
    let key = format!("{prefix}probe");
    let reads = passes(node, name, &["GET", &key]).await?;
    Ok(match (reads, passes(node, name, &["SET", &key, "probe"]).await?) {
        (true, true) => Door::Writes,
        (true, false) => Door::Reads,
        (false, _) => Door::Ajar,
    })
}

/// Whether the server would let the user do something. A refusal is a text that says why.
async fn passes(node: &Node, name: &str, command: &[&str]) -> Result<bool, RedisError> {
    let mut ask = redis::cmd("ACL");
    ask.arg("DRYRUN").arg(name).arg(command);
    node.run::<String>(&ask).await.map(|said| said == "OK")
}

/// Whether the user exists and can log in: `flags` is the list behind its name, in either form of the protocol.
fn is_on(about: &Value) -> bool {
    let pairs: Vec<(&Value, &Value)> = match about {
        Value::Array(flat) => flat.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect(),
        Value::Map(pairs) => pairs.iter().map(|(name, value)| (name, value)).collect(),
        _ => return false,
    };
    let is_text = |value: &Value, wanted: &str| match value {
        Value::BulkString(bytes) => bytes == wanted.as_bytes(),
        Value::SimpleString(text) => text == wanted,
        _ => false,
    };
    pairs.iter().any(|(name, value)| {
        let flags = match value {
            Value::Array(flags) | Value::Set(flags) => flags.as_slice(),
            _ => &[],
        };
        is_text(name, "flags") && flags.iter().any(|flag| is_text(flag, "on"))
    })
}

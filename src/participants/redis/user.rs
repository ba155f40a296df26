//! The tenant's own user, where it has one: what it may do is enforced by the servers themselves.
//!
//! The rules are ours, the passwords are the platform's: they are never touched, but for deletion. Users do not travel
//! between the nodes of a cluster, so every node is told and asked. Needs Redis 7.

use redis::{RedisError, Value};

use super::super::{Failure, TenantRef};
use super::keys::pattern;
use super::nodes::{Cluster, Node, failure};
use crate::domain::lifecycle::Desired;

/// What the user may read with: nothing that looks at other tenants' keys or at the server itself.
const READ: &[&str] = &["+@read", "+@connection", "+@transaction", "+@pubsub"];
/// What takes it beyond reading.
const WRITE: &[&str] = &["+@write", "+eval", "+evalsha"];
/// What lies in those categories and is not bounded by key patterns.
const NEVER: &[&str] =
    &["-@dangerous", "-@admin", "-scan", "-randomkey", "-dbsize", "-keys", "-pubsub", "-function", "-script"];

/// What the user can do with a key of its tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grant {
    /// Nothing, or it cannot log in, or it does not exist.
    Nothing,
    /// Read.
    Read,
    /// Read and write.
    Write,
}

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

    /// What a client gets that chooses its node. While the tenant is to be locked out, one open door counts; while it
    /// is to be let in, one closed door does.
    pub(super) async fn grant(
        &self,
        cluster: &Cluster,
        tenant: &TenantRef,
        named: Desired,
    ) -> Result<Grant, Failure> {
        let name = self.name(tenant);
        let mut grants = Vec::new();
        for node in cluster.all() {
            grants.push(grant(node, &name, &tenant.names.cache_prefix).await.map_err(failure)?);
        }
        let grants = grants.into_iter();
        let seen = if super::lets_in(named) { grants.min() } else { grants.max() };
        Ok(seen.unwrap_or(Grant::Nothing))
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
async fn grant(node: &Node, name: &str, prefix: &str) -> Result<Grant, RedisError> {
    let about: Value = node.run(redis::cmd("ACL").arg("GETUSER").arg(name)).await?;
    if !is_on(&about) {
        return Ok(Grant::Nothing);
    }
    let key = format!("{prefix}probe");
    let mut grant = Grant::Nothing;
    for (next, command) in [(Grant::Read, ["GET", &key, ""]), (Grant::Write, ["SET", &key, "probe"])] {
        let mut ask = redis::cmd("ACL");
        ask.arg("DRYRUN").arg(name);
        for word in command.into_iter().filter(|word| !word.is_empty()) {
            ask.arg(word);
        }
        // A refusal is a text that says why.
        if node.run::<String>(&ask).await? == "OK" {
            grant = next;
        }
    }
    Ok(grant)
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

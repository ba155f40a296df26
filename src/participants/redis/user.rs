//! The tenant's own user, where it has one: what it may do is enforced by the servers themselves.
//!
//! The rules are ours, the passwords are the platform's: they are never touched, but for deletion. Users do not travel
//! between the nodes of a cluster, so every node is told and asked. Needs Redis 7.

use redis::{Cmd, RedisError, Value};

use super::super::{Failure, TenantRef};
use super::keys::pattern;
use super::nodes::{Cluster, Node, failure};
use super::state::Door;
use crate::domain::lifecycle::Desired;

/// What the user may read with: nothing that looks at other tenants' keys or at the server itself.
const READ: &[&str] = &["+@read", "+@connection", "+@transaction", "+@pubsub"];
/// What takes it beyond reading.
const WRITE: &[&str] = &["+@write", "+eval", "+evalsha"];
/// What lies in those categories and is not bounded by key patterns, or leads to another database: patterns know none.
const NEVER: &[&str] = &[
    "-@dangerous",
    "-@admin",
    "-scan",
    "-randomkey",
    "-dbsize",
    "-keys",
    "-pubsub",
    "-function",
    "-script",
    "-client|tracking",
    "-select",
    "-move",
    "-swapdb",
    "-copy",
];
/// What of a user is ours: its rules. Its flags say whether it is on, its passwords are the platform's.
const RULES: [&str; 4] = ["commands", "keys", "channels", "selectors"];

/// The users of all tenants.
pub(super) struct Users {
    prefix: String,
    /// The one in which their keys are.
    database: i64,
}

impl Users {
    pub(super) const fn new(prefix: String, database: i64) -> Self {
        Self { prefix, database }
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
                let set = acl(&["SETUSER", &name], &self.rules(tenant, state));
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
        let mut doors = Vec::new();
        for node in cluster.all() {
            doors.push(self.door(node, tenant).await.map_err(failure)?);
        }
        Ok(doors)
    }

    /// Compares the user with one that has the rules we would write. Only the server itself can say how it shows those, so
    /// it makes such a user for a moment that nobody else sees.
    async fn door(&self, node: &Node, tenant: &TenantRef) -> Result<Door, RedisError> {
        let name = self.name(tenant);
        let model = format!("{}model", self.prefix);
        let mut ask = redis::pipe();
        ask.atomic();
        for state in [Desired::Active, Desired::ReadOnly] {
            ask.add_command(acl(&["SETUSER", &model], &self.rules(tenant, state))).ignore();
            ask.add_command(acl(&["GETUSER", &model], &[]));
        }
        ask.add_command(acl(&["DELUSER", &model], &[])).ignore();
        ask.add_command(acl(&["GETUSER", &name], &[]));
        let (writer, reader, user): (Value, Value, Value) = node.run_all(&ask).await?;
        let has_rules_of = |model| RULES.iter().all(|rule| field(&user, rule) == field(model, rule));
        if !is_on(&user) {
            Ok(Door::Shut)
        } else if has_rules_of(&writer) {
            Ok(Door::Writes)
        } else if has_rules_of(&reader) {
            Ok(Door::Reads)
        } else {
            tracing::warn!(user = name, "the user of a tenant has other rules than it was given");
            Ok(Door::Unknown)
        }
    }

    fn rules(&self, tenant: &TenantRef, state: Desired) -> Vec<String> {
        let mut rules =
            ["resetkeys", "resetchannels", "clearselectors", "nocommands"].map(str::to_owned).to_vec();
        if !super::lets_in(state) {
            rules.push("off".to_owned());
            return rules;
        }
        let pattern = pattern(&tenant.names.cache_prefix);
        rules.extend([format!("~{pattern}"), format!("&{pattern}")]);
        let write = if state == Desired::Active { WRITE } else { &[] };
        rules.extend(READ.iter().chain(write).chain(NEVER).map(|rule| (*rule).to_owned()));
        // Where it is not the first, clients ask for it as they connect.
        rules.push(format!("+select|{}", self.database));
        rules.push("on".to_owned());
        rules
    }
}

fn acl(words: &[&str], rules: &[String]) -> Cmd {
    redis::cmd("ACL").arg(words).arg(rules).to_owned()
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

/// Whether the user exists and can log in.
fn is_on(user: &Value) -> bool {
    let flags = match field(user, "flags") {
        Some(Value::Array(flags) | Value::Set(flags)) => flags.as_slice(),
        _ => &[],
    };
    flags.iter().any(|flag| is_text(flag, "on"))
}

/// What stands behind a name in what is told of a user, in either form of the protocol.
fn field<'a>(user: &'a Value, wanted: &str) -> Option<&'a Value> {
    match user {
        Value::Array(flat) => {
            flat.chunks_exact(2).find(|pair| is_text(&pair[0], wanted)).map(|pair| &pair[1])
        }
        Value::Map(pairs) => pairs.iter().find(|(name, _)| is_text(name, wanted)).map(|(_, value)| value),
        _ => None,
    }
}

fn is_text(value: &Value, wanted: &str) -> bool {
    match value {
        Value::BulkString(bytes) => bytes == wanted.as_bytes(),
        Value::SimpleString(text) => text == wanted,
        _ => false,
    }
}

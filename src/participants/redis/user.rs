//! The tenant's own user, where it has one: what it may do is enforced by the servers themselves.
//!
//! The rules are ours, the passwords are the platform's: they are only brought to where most nodes have them, and go with a
//! deletion. That none is needed is never meant, and taken away. Users do not travel between the nodes of a cluster, so every node is
//! told and asked. Needs Redis 7.

use redis::{Cmd, RedisError, Value};

use super::super::{Failure, FailureKind, TenantRef};
use super::keys::pattern;
use super::login::{Logins, NONE_NEEDED};
use super::nodes::{Cluster, Node};
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
/// What clients of a cluster ask before anything else: where the keys are to be. None of it tells of a key; COUNTKEYSINSLOT
/// and GETKEYSINSLOT would. INFO is left out: no rule bounds which sections it is asked for, and clients do without.
const TOPOLOGY: &[&str] = &[
    "+cluster|slots",
    "+cluster|shards",
    "+cluster|nodes",
    "+cluster|info",
    "+cluster|myid",
    "+cluster|keyslot",
    "+readonly",
    "+readwrite",
    "+asking",
];
/// Most words of a difference that are shown of each kind.
const WORDS_MAX: usize = 6;
/// What of a user is ours: its rules. Its flags say whether it is on, its passwords are the platform's.
const RULES: [&str; 4] = ["commands", "keys", "channels", "selectors"];

/// The users of all tenants.
pub(super) struct Users {
    prefix: String,
    /// The one in which their keys are.
    database: i64,
    is_cluster: bool,
}

/// What was seen of a tenant's user.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// What it gets at each node: a client chooses its own.
    pub(super) doors: Vec<Door>,
    /// Where it is not as it should be, and what differs there.
    pub(super) amiss: Option<String>,
    /// Why what it gets is not all that a client can get there.
    pub(super) unproven: Option<String>,
}

/// A node's answer: the users that it would make for two states, the one that is there, and the one that a client is without a
/// login.
struct Told {
    writer: Value,
    reader: Value,
    user: Value,
    anybody: Value,
}

impl Users {
    pub(super) const fn new(prefix: String, database: i64, is_cluster: bool) -> Self {
        Self { prefix, database, is_cluster }
    }

    fn name(&self, tenant: &TenantRef) -> String {
        format!("{}{}", self.prefix, tenant.uid.simple())
    }

    /// Tells every node what the user may do from now on, and ends its connections where that is nothing. A node that does
    /// not take it keeps none of the others from it.
    pub(super) async fn set(
        &self,
        cluster: &Cluster,
        tenant: &TenantRef,
        state: Desired,
    ) -> Result<(), Failure> {
        let name = self.name(tenant);
        let mut logins = Logins::default();
        for node in cluster.all().filter(|_| state != Desired::Deleted) {
            // One that cannot be asked shows it when it is told.
            let user = node.run(&acl(&["GETUSER", &name], &[])).await.unwrap_or(Value::Nil);
            logins.add(node.address(), &user);
        }
        let mut failed = None;
        for node in cluster.all() {
            let mut rules = self.rules(tenant, state);
            rules.extend(logins.missing_at(node.address()));
            let mut set = set_at(node, &name, &rules, state).await;
            if set.is_ok() && logins.is_open_at(node.address()) {
                // Whoever came in without a password is not to stay.
                set = end_connections(node, &name).await;
            }
            if let Err(error) = set {
                failed = Some(graver(failed, cluster.at(node, error)));
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Takes from the user, at every node, what it has no right to in a state of less access, and never gives it anything:
    /// whoever does not know whether the state is the newest may do this and no more. The user stays, with its passwords.
    pub(super) async fn restrict(
        &self,
        cluster: &Cluster,
        tenant: &TenantRef,
        state: Desired,
    ) -> Result<(), Failure> {
        let (state, rules) = if super::lets_in(state) {
            let less = WRITE.iter().map(|rule| rule.replacen('+', "-", 1));
            (Desired::ReadOnly, less.collect())
        } else {
            (Desired::Suspended, self.rules(tenant, Desired::Suspended))
        };
        let name = self.name(tenant);
        let mut failed = None;
        for node in cluster.all() {
            if let Err(error) = set_at(node, &name, &rules, state).await {
                failed = Some(graver(failed, cluster.at(node, error)));
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// What the user gets at each node, and what differs from a state, where that is known.
    pub(super) async fn look(
        &self,
        cluster: &Cluster,
        tenant: &TenantRef,
        wanted: Option<Desired>,
    ) -> Result<Seen, Failure> {
        let (mut seen, mut logins, mut amiss) = (Seen::default(), Logins::default(), Vec::new());
        let (mut open, mut without_password) = (Vec::new(), Vec::new());
        for node in cluster.all() {
            let told = self.ask(node, tenant).await.map_err(|error| cluster.at(node, error))?;
            let (door, differs) = told.judge(wanted);
            seen.doors.push(door);
            amiss.extend(differs.map(|differs| format!("{differs} at {}", node.address())));
            if told.user != Value::Nil {
                logins.add(node.address(), &told.user);
            }
            for (who, nodes) in [(&told.anybody, &mut open), (&told.user, &mut without_password)] {
                if is_on(who) && has_flag(who, NONE_NEEDED) {
                    nodes.push(node.address());
                }
            }
        }
        seen.unproven = (!open.is_empty()).then(|| {
            format!(
                "anybody may use the cache without a login: its user `default` is on and has no password at {} (`requirepass`, or \
                 `ACL SETUSER default off`)",
                open.join(", ")
            )
        });
        if !without_password.is_empty() {
            amiss.push(format!(
                "anybody may log in as the tenant: its user needs no password (`nopass`) at {}; set one there (`ACL SETUSER {} \
                 resetpass >…`)",
                without_password.join(", "),
                self.name(tenant)
            ));
        }
        if wanted.is_some_and(super::lets_in) {
            amiss.extend(logins.differing());
        }
        if !amiss.is_empty() {
            tracing::warn!(user = self.name(tenant), amiss = ?amiss, "the user of a tenant is not as it was made");
            seen.amiss = Some(amiss.join("; "));
        }
        Ok(seen)
    }

    /// Compares the user with one that has the rules we would write. Only the server itself can say how it shows those, so
    /// it makes such a user for a moment that nobody else sees.
    async fn ask(&self, node: &Node, tenant: &TenantRef) -> Result<Told, RedisError> {
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
        ask.add_command(acl(&["GETUSER", "default"], &[]));
        let (writer, reader, user, anybody) = node.run_all(&ask).await?;
        Ok(Told { writer, reader, user, anybody })
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
        if self.is_cluster {
            rules.extend(TOPOLOGY.iter().map(|rule| (*rule).to_owned()));
        }
        // Where it is not the first, clients ask for it as they connect.
        rules.push(format!("+select|{}", self.database));
        rules.push("on".to_owned());
        rules
    }
}

fn acl(words: &[&str], rules: &[String]) -> Cmd {
    redis::cmd("ACL").arg(words).arg(rules).to_owned()
}

async fn set_at(node: &Node, name: &str, rules: &[String], state: Desired) -> Result<(), RedisError> {
    if state == Desired::Deleted {
        node.run::<u32>(&acl(&["DELUSER", name], &[])).await?;
    } else {
        node.run::<()>(&acl(&["SETUSER", name], rules)).await?;
    }
    // An older server refuses the name of a user that is not there, and then nobody is connected as it.
    if !super::lets_in(state)
        && let Err(error) = end_connections(node, name).await
        && state != Desired::Deleted
    {
        return Err(error);
    }
    keep(node).await
}

/// Of two failures the one that leaves open what became of the change: it may come yet.
fn graver(known: Option<Failure>, new: Failure) -> Failure {
    let is_open = |failure: &Failure| failure.kind == FailureKind::Unknown;
    known.filter(|known| is_open(known) || !is_open(&new)).unwrap_or(new)
}

async fn end_connections(node: &Node, name: &str) -> Result<(), RedisError> {
    node.run::<u32>(redis::cmd("CLIENT").arg("KILL").arg("USER").arg(name)).await.map(drop)
}

/// Users live in memory; where the server has a file for them, they go there too.
async fn keep(node: &Node) -> Result<(), RedisError> {
    match node.run::<()>(redis::cmd("ACL").arg("SAVE")).await {
        Err(error)
            if error.detail().is_some_and(|words| words.contains("not configured to use an ACL file")) =>
        {
            Ok(())
        }
        kept => kept,
    }
}

impl Told {
    /// What the user gets, and what of it is not as in the wanted state, where that is known. Of a user that is on with rules that are
    /// none of ours, anything is to be expected.
    fn judge(&self, wanted: Option<Desired>) -> (Door, Option<String>) {
        if !is_on(&self.user) {
            let gone = if self.user == Value::Nil { "there is no user" } else { "the user is off" };
            return (Door::Shut, wanted.filter(|wanted| super::lets_in(*wanted)).map(|_| gone.to_owned()));
        }
        let is_reader = differences(&self.user, &self.reader).is_empty();
        let door = if is_reader { Door::Reads } else { Door::Writes };
        let Some(wanted) = wanted else { return (door, None) };
        if !super::lets_in(wanted) {
            return (door, Some("the user is on".to_owned()));
        }
        let model = if wanted == Desired::Active { &self.writer } else { &self.reader };
        let differences = differences(&self.user, model);
        let words = || format!("the user has other rules than {wanted} gives ({})", differences.join(", "));
        (door, (!differences.is_empty()).then(words))
    }
}

/// What a user has other than the model, in words.
fn differences(user: &Value, model: &Value) -> Vec<String> {
    let differs = RULES.into_iter().filter(|rule| field(user, rule) != field(model, rule));
    differs
        .map(|rule| {
            let (has, given) = (field(user, rule).map(words), field(model, rule).map(words));
            let (has, given) = (has.unwrap_or_default(), given.unwrap_or_default());
            let mut told = Vec::new();
            for (kind, these, those) in [("with", &has, &given), ("without", &given, &has)] {
                let these: Vec<&str> =
                    these.iter().filter(|word| !those.contains(word)).map(String::as_str).collect();
                if !these.is_empty() {
                    let further = if these.len() > WORDS_MAX { " and others" } else { "" };
                    told.push(format!("{kind} {}{further}", these[..these.len().min(WORDS_MAX)].join(" ")));
                }
            }
            if told.is_empty() { format!("other {rule}") } else { format!("{rule} {}", told.join(" and ")) }
        })
        .collect()
}

/// The words of what a field says; none of what is no text.
fn words(value: &Value) -> Vec<String> {
    let text = redis::from_redis_value_ref::<String>(value).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// Whether the user exists and can log in.
fn is_on(user: &Value) -> bool {
    has_flag(user, "on")
}

pub(super) fn has_flag(user: &Value, wanted: &str) -> bool {
    list(user, "flags").iter().any(|flag| is_text(flag, wanted))
}

/// The parts of what is told of a user under a name.
pub(super) fn list<'a>(user: &'a Value, name: &str) -> &'a [Value] {
    match field(user, name) {
        Some(Value::Array(parts) | Value::Set(parts)) => parts,
        _ => &[],
    }
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

//! Transactions that see the database as it was before a change, or have written what is not committed.
//!
//! Policies ask the access row as the transaction sees it. One that reads committed rows meets the change with its next
//! statement; one that reads repeatably, a cursor and a statement that runs go on as before until they end. And whatever was
//! written before the change comes into force with its commit, which asks no policy. So a state is not in force, and no purge
//! is whole, before the last of them is gone. Seen from outside, one that reads committed rows and idles after a query is no
//! different: most drivers leave the query's portal, and with it the snapshot, until the next statement.
//!
//! Which tenant a session of the application is busy with, nobody outside it can know: those of other tenants are waited
//! for as well, and are ended as well where that is configured. What was not found at first, right after the change, began
//! after it and is not waited for, by no later attempt either, with two exceptions. Where one that is waited for leaves its
//! session, it may be any of the prepared ones. And while it is open, it may hand its snapshot on (`pg_export_snapshot`) to one
//! that begins later, and goes on after it: so when all are gone, whoever has a snapshot from before the change by then is
//! waited for, too, and so on. Beside a long writer from before the change, which may be anybody's, new snapshots look as old:
//! there, where all of a later set are gone within a second, as those of a busy application are, none is looked for any more.
//!
//! Whoever waits in an attempt keeps one of the target's few places from others: so it waits for a moment, and not where another
//! tenant has waited for the same transaction for longer. What is left is waited for between attempts (`awaited`).

use std::time::{Duration, Instant};

use deadpool_postgres::Object;
use tokio_postgres::error::SqlState;

use super::super::access::failure;
use super::super::{Failure, TenantRef};
use super::awaited::{Awaited, Remembered};

/// How soon to look whether they are gone, at first; then half as often each time.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(5);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(50);
/// How long they may go on before they are ended.
pub(super) const GRACE: Duration = Duration::from_secs(1);
/// How long an attempt waits before it says for whom, and gives its place up.
const IN_PLACE_MAX: Duration = Duration::from_secs(2);
/// Transactions of each kind that a failure names.
const NAMED_MAX: usize = 5;

/// Who is waited for, and how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience<'a> {
    /// The application's role: its sessions log in as it or as a member of it.
    pub(super) role: &'a str,
    /// Whether to end them after a moment.
    pub(super) ends: bool,
    /// When to stop and say how many are left.
    pub(super) until: Instant,
}

/// A transaction of the application.
#[derive(Debug, Clone)]
pub(super) struct Old {
    pub(super) id: Id,
    /// Whose it is, by what name, and since when.
    pub(super) words: String,
}

/// What tells one from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Id {
    /// Of a session: its process, and the transaction's virtual number.
    Running { pid: i32, transaction: String },
    /// Of none any more: the transaction's number.
    Prepared { transaction: String },
}

impl Old {
    fn pid(&self) -> Option<i32> {
        match self.id {
            Id::Running { pid, .. } => Some(pid),
            Id::Prepared { .. } => None,
        }
    }

    pub(super) fn is_among(&self, others: &[Self]) -> bool {
        others.iter().any(|other| other.id == self.id)
    }
}

/// Those that are there, by a change's number.
#[derive(Debug, Default)]
struct Found {
    change: u32,
    old: Vec<Old>,
    /// Those of them that have a snapshot from before the change, or may have written with one.
    behind: Vec<Old>,
    /// Whether one of these has a snapshot that new ones cannot look like.
    is_handed_on: bool,
}

/// Waits until none is left that began before the tenant's row was written, or has its snapshot from one that did.
pub(super) async fn wait(
    client: &Object,
    tenant: &TenantRef,
    generation: u64,
    remembered: &Remembered,
    patience: Patience<'_>,
) -> Result<(), Failure> {
    let until = patience.until.min(Instant::now() + IN_PLACE_MAX);
    let patience = Patience { until, ..patience };
    let now = find(client, tenant, patience.role).await?;
    let before = remembered.awaited().get(&tenant.uid).filter(|before| before.change == now.change).cloned();
    // Where nobody was there at first, nobody can have handed anything on.
    let mut looks_on = before.is_some() || !now.old.is_empty();
    let since = Instant::now();
    let mut left = match before {
        Some(before) => Awaited { old: still_there(&before.old, now.old), generation, ..before },
        None => Awaited { change: now.change, generation, old: now.old, since, is_first: true },
    };
    while looks_on {
        until_gone(client, tenant, remembered, patience, &mut left).await?;
        let next = find(client, tenant, patience.role).await?;
        let is_for_certain = left.is_first || next.is_handed_on || left.since.elapsed() >= GRACE;
        looks_on = !next.behind.is_empty() && is_for_certain;
        left = Awaited { old: next.behind, since: Instant::now(), is_first: false, ..left };
    }
    remembered.awaited().remove(&tenant.uid);
    Ok(())
}

/// Waits until none of a set is left.
async fn until_gone(
    client: &Object,
    tenant: &TenantRef,
    remembered: &Remembered,
    patience: Patience<'_>,
    left: &mut Awaited,
) -> Result<(), Failure> {
    let mut look_again = LOOK_AGAIN_MIN;
    while !left.old.is_empty() {
        // At once: an attempt may be cut off anywhere.
        remembered.awaited().insert(tenant.uid, left.clone());
        if patience.ends && (left.since.elapsed() >= GRACE || Instant::now() >= patience.until) {
            end(client, &left.old).await?;
        }
        if Instant::now() >= patience.until || (!patience.ends && remembered.knows_of(tenant.uid, left)) {
            let elder = elder(client, tenant, &left.old).await?;
            return Err(Failure::waiting(still(&left.old) + &elder));
        }
        tokio::time::sleep(look_again).await;
        look_again = (look_again * 2).min(LOOK_AGAIN_MAX);
        left.old = still_there(&left.old, find(client, tenant, patience.role).await?.old);
    }
    Ok(())
}

/// A transaction's number, which SQL has no type for that is sent.
pub(super) fn number(sent: i64) -> u32 {
    u32::try_from(sent).unwrap_or_default()
}

/// Those of `before` that are there by now. A session's that is gone may be any of the prepared ones.
fn still_there(before: &[Old], mut now: Vec<Old>) -> Vec<Old> {
    let any_left = before.iter().any(|one| one.pid().is_some() && !one.is_among(&now));
    now.retain(|one| one.is_among(before) || (any_left && one.pid().is_none()));
    now
}

async fn find(client: &Object, tenant: &TenantRef, role: &str) -> Result<Found, Failure> {
    let id = tenant.tenant_id.as_str();
    let rows = client
        .query(include_str!("../sql/old/find.sql"), &[&id, &tenant.uid, &role])
        .await
        .map_err(failure)?;
    let mut found = Found::default();
    for row in rows {
        found.change = number(row.get(0));
        let Some(transaction) = row.get(2) else { continue };
        let id = match row.get(1) {
            Some(pid) => Id::Running { pid, transaction },
            None => Id::Prepared { transaction },
        };
        let one = Old { id, words: row.get(3) };
        if row.get(4) {
            found.behind.push(one.clone());
        }
        found.is_handed_on |= row.get::<_, bool>(5);
        found.old.push(one);
    }
    Ok(found)
}

/// The writer that makes newer transactions look as old as it, as words to follow those of who is waited for: one of any login, in any
/// database of the server, and none of these.
async fn elder(client: &Object, tenant: &TenantRef, old: &[Old]) -> Result<String, Failure> {
    let id = tenant.tenant_id.as_str();
    let known: Vec<i32> = old.iter().filter_map(Old::pid).collect();
    let row = client
        .query_opt(include_str!("../sql/old/elder.sql"), &[&id, &tenant.uid, &known])
        .await
        .map_err(failure)?;
    Ok(row.map_or_else(String::new, |row| {
        let pid: i32 = row.get(0);
        format!("; while process {pid} has a write open that began before the change, newer ones may look as old and be waited for as well")
    }))
}

/// A prepared one is another system's to decide, and ends by its owner alone.
async fn end(client: &Object, old: &[Old]) -> Result<(), Failure> {
    for one in old {
        let Id::Running { pid, transaction } = &one.id else { continue };
        tracing::warn!(pid, "a transaction that began before a tenant was locked out is ended");
        let ended = client.execute(include_str!("../sql/old/end.sql"), &[pid, transaction]).await;
        ended.map_err(|error| match error.code() {
            Some(state) if *state == SqlState::INSUFFICIENT_PRIVILEGE => Failure::permanent(
                "our database user may not end the application's sessions: it must be a member of pg_signal_backend",
            ),
            _ => failure(error),
        })?;
    }
    Ok(())
}

fn still(old: &[Old]) -> String {
    let (mut processes, mut prepared) = (Vec::new(), Vec::new());
    for one in old {
        match one.id {
            Id::Running { pid, .. } => processes.push(format!("process {pid} of {}", one.words)),
            Id::Prepared { .. } => prepared.push(one.words.as_str()),
        }
    }
    let mut named = Vec::new();
    if !processes.is_empty() {
        named.push(listed(&processes));
    }
    if !prepared.is_empty() {
        named.push(format!(
            "prepared: {}; their owners end them with `COMMIT PREPARED` or `ROLLBACK PREPARED`",
            listed(&prepared)
        ));
    }
    let transactions = if old.len() == 1 { "transaction" } else { "transactions" };
    format!(
        "{} {transactions} from before the change may still see the tenant as it was, or commit what was written for it \
         before ({})",
        old.len(),
        named.join("; ")
    )
}

fn listed<T: AsRef<str>>(named: &[T]) -> String {
    let mut text = named.iter().take(NAMED_MAX).map(T::as_ref).collect::<Vec<_>>().join(", ");
    if named.len() > NAMED_MAX {
        text.push_str(", …");
    }
    text
}

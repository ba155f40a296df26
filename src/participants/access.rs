//! The access row that policies ask: the same in the registry's own database and in applications'.

use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use tokio_postgres::GenericClient;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::successor::Successor;
use super::unreached::{Unreached, unreached_without_certificate};
use super::{Failure, TenantRef};
use crate::domain::lifecycle::Desired;

/// How the codes of errors begin whose words are the server's own and name things of the database. Those of others quote what
/// was in a row, or are an application's.
const NAMES_THINGS: [&str; 10] = ["0A", "25", "40", "42P", "427", "428", "53", "54", "55", "57"];

/// Said where a lock was waited for in vain.
pub(super) const LOCKED: &str = "the database did not give a lock in time";

/// Longest part of the server's own words in ours.
const DENIED_MAX: usize = 120;

pub(super) async fn connection(pool: &Pool) -> Result<Object, Failure> {
    pool.get().await.map_err(|error| {
        let Unreached { words, cause } = unreached_without_certificate(&error);
        Failure::retryable(format!("the database {words}")).with_cause(cause)
    })
}

/// Ends work that takes too long. The connection of an abandoned statement is cleaned up when it is used again.
pub(super) async fn in_time<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, Failure>> + Send,
) -> Result<T, Failure> {
    let ended = tokio::time::timeout(deadline, work).await;
    ended.unwrap_or_else(|_| Err(Failure::unknown("the database did not answer in time")))
}

/// Writes the row, unless a newer one is there. Both statements are sent before either is answered.
pub(super) async fn grant(
    client: &impl GenericClient,
    tenant: &TenantRef,
    desired: Desired,
    generation: u64,
) -> Result<(), Failure> {
    let (id, generation_held) = (tenant.tenant_id.as_str(), stored(generation));
    let state = desired.as_str();
    let parameters: [(&(dyn ToSql + Sync), Type); 4] =
        [(&id, Type::TEXT), (&tenant.uid, Type::UUID), (&state, Type::TEXT), (&generation_held, Type::INT8)];
    let write = client.query_typed(include_str!("sql/access/grant.sql"), &parameters);
    let (_, found) = tokio::try_join!(biased; async { write.await.map_err(failure) }, find(client, tenant))?;
    match found {
        Some((_, applied)) if applied == generation => Ok(()),
        _ => Err(refused(client, tenant).await?),
    }
}

/// Why a change is not taken: for a newer one, or for another tenant of the same id.
pub(super) async fn refused(client: &impl GenericClient, tenant: &TenantRef) -> Result<Failure, Failure> {
    Ok(Failure::permanent(match other(client, tenant).await? {
        None => "a newer change was applied already".to_owned(),
        Some(other) if other.is_later => {
            format!("a newer change was applied already, for another tenant with this id: uid {}", other.uid)
        }
        Some(other) => other.stays(tenant),
    }))
}

/// Another tenant that has the access row of this id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Other {
    uid: Uuid,
    state: String,
    /// Whether it came after the tenant that is asked for.
    is_later: bool,
}

impl Other {
    /// Whether its purge reached this database.
    pub(super) fn is_purged(&self) -> bool {
        self.state == Desired::Deleted.as_str()
    }

    /// Whether the tenant that is asked for would come upon what it left.
    pub(super) const fn is_former(&self) -> bool {
        !self.is_later
    }

    /// As the one whose rows and access those of this id are now.
    pub(super) fn successor(&self, tenant: &TenantRef) -> Option<Successor> {
        let what = format!("the id {}", tenant.tenant_id);
        (self.is_later && !self.is_purged()).then_some(Successor { uid: self.uid, what })
    }

    /// That it is in the way, and how to be rid of it.
    pub(super) fn stays(&self, tenant: &TenantRef) -> String {
        let Self { uid, state, .. } = self;
        format!(
            "rows and access of another tenant with this id, uid {uid} ({state}), are still there, and would be this one's: \
             purge them, `SELECT tenancy.forget('{}', '{uid}')` in this database, then retry",
            tenant.tenant_id
        )
    }
}

/// The other tenant that has the access row of this id, if one has.
pub(super) async fn other(client: &impl GenericClient, tenant: &TenantRef) -> Result<Option<Other>, Failure> {
    let id = tenant.tenant_id.as_str();
    let row = client
        .query_typed_opt(
            include_str!("sql/access/other.sql"),
            &[(&id, Type::TEXT), (&tenant.uid, Type::UUID)],
        )
        .await
        .map_err(failure)?;
    Ok(row.map(|row| {
        let uid: Uuid = row.get(0);
        Other { uid, state: row.get(1), is_later: uid > tenant.uid }
    }))
}

/// The row's state and generation; `None` where there is none for this tenant.
pub(super) async fn find(
    client: &impl GenericClient,
    tenant: &TenantRef,
) -> Result<Option<(Desired, u64)>, Failure> {
    let id = tenant.tenant_id.as_str();
    let row = client
        .query_typed_opt(include_str!("sql/access/find.sql"), &[(&id, Type::TEXT), (&tenant.uid, Type::UUID)])
        .await
        .map_err(failure)?;
    let Some(row) = row else { return Ok(None) };
    let name: &str = row.get(0);
    let state = Desired::named(name);
    let state = state.ok_or_else(|| Failure::retryable("the access row has a state of another version"))?;
    Ok(Some((state, u64::try_from(row.get::<_, i64>(1)).unwrap_or_default())))
}

/// Claims the tenant for the rest of the transaction, as its sessions do.
pub(super) async fn become_tenant(client: &impl GenericClient, tenant: &TenantRef) -> Result<(), Failure> {
    client
        .query_typed_one(include_str!("sql/access/become.sql"), &[(&tenant.tenant_id.as_str(), Type::TEXT)])
        .await
        .map(drop)
        .map_err(failure)
}

/// A generation as the column holds it.
pub(super) fn stored(generation: u64) -> i64 {
    i64::try_from(generation).unwrap_or(i64::MAX)
}

/// What was denied, as the server says it: "permission denied for table document". It names things of the database, and
/// nothing of a tenant.
pub(super) fn denied(error: &tokio_postgres::Error) -> String {
    let message = error.as_db_error().map_or("permission denied", |error| error.message());
    message.chars().take(DENIED_MAX).collect()
}

/// What a failed statement means.
#[allow(clippy::needless_pass_by_value)] // The shape that map_err wants.
pub(super) fn failure(error: tokio_postgres::Error) -> Failure {
    tracing::warn!(error = ?error, "the postgres target failed");
    let Some(said) = error.as_db_error() else {
        return Failure::unknown("the connection to the database broke");
    };
    let state = said.code();
    if *state == SqlState::INSUFFICIENT_PRIVILEGE {
        return Failure::permanent(format!(
            "our database user lacks a right ({}): it must see every row and be able to act as the role",
            denied(&error)
        ));
    }
    if *state == SqlState::LOCK_NOT_AVAILABLE {
        return Failure::unknown(LOCKED);
    }
    if *state == SqlState::QUERY_CANCELED {
        return Failure::unknown("the database did not answer in time");
    }
    if *state == SqlState::READ_ONLY_SQL_TRANSACTION {
        return Failure::retryable(
            "the database is read-only: a hot standby, or `default_transaction_read_only` is on",
        );
    }
    let table = said.table().map(|table| [said.schema().unwrap_or_default(), table].join("."));
    Failure::retryable(not_done(state.code(), table.as_deref(), said.message()))
}

/// Says of an error what may be said: its code, the table that it was about, and the words where they are the server's own.
fn not_done(code: &str, table: Option<&str>, words: &str) -> String {
    let at = table.map(|table| format!(", at {table}")).unwrap_or_default();
    let words: String = if NAMES_THINGS.iter().any(|class| code.starts_with(class)) {
        format!(": {words}").chars().take(DENIED_MAX).collect()
    } else {
        "; its words are in our log".to_owned()
    };
    format!("the database did not do what it was asked (SQLSTATE {code}{at}{words})")
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;

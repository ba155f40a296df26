//! Being an ordinary client for a moment.

use deadpool_postgres::Pool;
use tokio_postgres::error::DbError;
use tokio_postgres::{GenericClient, Transaction};

use super::super::access::{LOCKED, become_tenant, connection, failure};
use super::super::{Failure, TenantRef};

/// The code of `tenancy.tenant_tables` where it names no table.
const OVERREACH: &str = "TN001";

/// The code of what goes through the tables where it cannot go through one of them, and says which and why.
const IN_THE_WAY: &str = "TN002";

/// The code of the schema's statements where there is one that others own.
const NOT_OURS: &str = "TN003";

/// What an ordinary client can do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) reads: bool,
    pub(super) writes: bool,
    /// A table of the application whose rows it sees although it should see none.
    pub(super) visible: Option<String>,
}

/// What a statement that goes through the application's tables failed for: also that none is touched, because the application
/// could have its code run there.
#[allow(clippy::needless_pass_by_value)] // The shape that map_err wants.
pub(super) fn untouched(error: tokio_postgres::Error) -> Failure {
    if let Some(what) = said(&error, OVERREACH) {
        return Failure::permanent(overreaches(what));
    }
    if let Some(what) = said(&error, IN_THE_WAY) {
        tracing::warn!(error = ?error, "rows of a tenant cannot be looked for or removed");
        return Failure::permanent(format!("rows of the tenant cannot be looked for or removed: {what}"));
    }
    failure(error)
}

/// What the schema could not be made for: others own it.
pub(super) fn not_ours(error: &tokio_postgres::Error) -> Option<Failure> {
    said(error, NOT_OURS).map(Failure::permanent)
}

/// The words of our own functions, where they refused with this code.
fn said<'a>(error: &'a tokio_postgres::Error, code: &str) -> Option<&'a str> {
    error.as_db_error().filter(|error| error.code().code() == code).map(DbError::message)
}

/// What came of work, with whoever holds a lock on a table of ours named where it waited for one in vain.
pub(super) async fn with_lockers<T>(pool: &Pool, ended: Result<T, Failure>) -> Result<T, Failure> {
    let Err(failed) = ended else { return ended };
    if failed.message != LOCKED {
        return Err(failed);
    }
    let client = connection(pool).await?;
    let rows = client.query(include_str!("../sql/access/lockers.sql"), &[]).await.map_err(failure)?;
    let named: Vec<String> = rows
        .iter()
        .map(|row| format!("process {} locks {}", row.get::<_, i32>(0), row.get::<_, &str>(1)))
        .collect();
    if named.is_empty() {
        return Err(failed);
    }
    Err(Failure::unknown(format!("{LOCKED}: {}", named.join(", "))))
}

/// Has the database remember what protected tables are called by now, so that another one of that name is found.
pub(super) async fn learn_names(client: &impl GenericClient) -> Result<(), Failure> {
    client.execute(include_str!("../sql/install/names.sql"), &[]).await.map(drop).map_err(failure)
}

pub(super) fn overreaches(what: &str) -> String {
    format!(
        "somebody could have code of their own run as our database user, or let tenants in: {what}; revoke that, or \
         give it to a role of which the application is no member (`ALTER … OWNER TO`); who is trusted and no client is granted EXECUTE on \
         `tenancy.protect(regclass)`; until then no row is looked at or removed"
    )
}

/// Tries, in a transaction that the caller rolls back. Only where nothing is `opened`.
pub(super) async fn probe(
    transaction: &Transaction<'_>,
    tenant: &TenantRef,
    role: &str,
) -> Result<Seen, Failure> {
    let id = tenant.tenant_id.as_str();
    transaction.execute(include_str!("../sql/probe/prepare.sql"), &[&id]).await.map_err(failure)?;
    transaction.query_one(include_str!("../sql/probe/as_role.sql"), &[&role]).await.map_err(failure)?;
    become_tenant(transaction, tenant).await?;
    let rows = transaction.query_one(include_str!("../sql/probe/read.sql"), &[]).await.map_err(failure)?;
    let reads = rows.get::<_, i64>(0) > 0;
    let writes = transaction.execute(include_str!("../sql/probe/write.sql"), &[]).await.map_err(failure)? > 0;
    let visible = if reads {
        None
    } else {
        transaction.query_one(include_str!("../sql/probe/visible.sql"), &[]).await.map_err(untouched)?.get(0)
    };
    Ok(Seen { reads, writes, visible })
}

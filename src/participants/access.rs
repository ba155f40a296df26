//! The access row that policies ask: the same in the registry's own database and in applications'.

use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use tokio_postgres::GenericClient;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use super::{Failure, TenantRef};
use crate::domain::lifecycle::Desired;

pub(super) async fn connection(pool: &Pool) -> Result<Object, Failure> {
    pool.get().await.map_err(|error| {
        tracing::warn!(error = %error, "the postgres target has no connection");
        Failure::retryable("the database cannot be reached")
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
        _ => Err(Failure::permanent("a newer change was applied already")),
    }
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
    let state = Desired::ALL.into_iter().find(|state| state.as_str() == name);
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

/// What a failed statement means. The server's own words are for the log.
#[allow(clippy::needless_pass_by_value)] // The shape that map_err wants.
pub(super) fn failure(error: tokio_postgres::Error) -> Failure {
    tracing::warn!(error = ?error, "the postgres target failed");
    let Some(state) = error.code() else { return Failure::unknown("the connection to the database broke") };
    if *state == SqlState::INSUFFICIENT_PRIVILEGE {
        return Failure::permanent(
            "our database user lacks a right: it must see every row and be able to act as the role",
        );
    }
    if *state == SqlState::QUERY_CANCELED {
        return Failure::unknown("the database did not answer in time");
    }
    Failure::retryable("the database did not do what it was asked")
}

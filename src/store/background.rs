//! Work that one replica does for all.

use tokio_postgres::GenericClient;

use super::Error;
use super::operations::{Lease, lease_ms};

/// Takes or keeps a piece of work, such as `verify`, for the lease's length by the database's clock; answers how far
/// it got, or `None` where another replica has it.
pub async fn work_claim(
    client: &impl GenericClient,
    work: &str,
    lease: Lease,
) -> Result<Option<String>, Error> {
    let sql = include_str!("sql/background/claim.sql");
    let row = client.query_opt(sql, &[&work, &lease.owner, &lease_ms(lease.length)]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// Remembers how far a piece of work got, for whoever has it next. Nothing is written where another has it already.
pub async fn work_progress(
    client: &impl GenericClient,
    work: &str,
    lease: Lease,
    progress: &str,
) -> Result<(), Error> {
    let sql = include_str!("sql/background/progress.sql");
    client.execute(sql, &[&work, &lease.owner, &progress]).await?;
    Ok(())
}

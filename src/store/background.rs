//! Work that one replica does for all.

use jiff::Timestamp;
use tokio_postgres::GenericClient;
use uuid::Uuid;

use super::Error;
use super::operations::{Lease, lease_ms};

/// The time by the database's clock, by which leases run out and operations fall due.
pub async fn database_time(client: &impl GenericClient) -> Result<Timestamp, Error> {
    let row = client.query_one(include_str!("sql/background/time.sql"), &[]).await?;
    Timestamp::from_microsecond(row.get(0))
        .map_err(|error| Error::Row { table: "the clock", why: error.to_string() })
}

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

/// Leaves what this replica does for all, for others to take at once.
pub async fn work_release(client: &impl GenericClient, owner: Uuid) -> Result<u64, Error> {
    Ok(client.execute(include_str!("sql/background/release.sql"), &[&owner]).await?)
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

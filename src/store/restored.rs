//! A registry whose database was restored from a backup.

use jiff::Timestamp;
use tokio_postgres::GenericClient;

use super::Error;

/// What the registry has taken note of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// Tenants of which every target is to be looked at.
    pub tenants: i64,
    /// Operations among them that were open in the backup.
    pub operations: i64,
    /// Scheduled operations of the backup that were ended: all but suspensions.
    pub scheduled: i64,
    /// Bulk operations of the backup that begin no more tenants: all but suspensions.
    pub bulks: i64,
}

/// Until when a replica holds a lease; `None` where none does.
pub async fn served_until(client: &impl GenericClient) -> Result<Option<Timestamp>, Error> {
    let row = client.query_one(include_str!("sql/restored/served.sql"), &[]).await?;
    Ok(row.get::<_, Option<i64>>(0).and_then(|time| Timestamp::from_microsecond(time).ok()))
}

/// Has the registry know that its database was restored. To be called while no replica runs.
pub async fn note(client: &impl GenericClient) -> Result<Noted, Error> {
    let row = client.query_one(include_str!("sql/restored/note.sql"), &[]).await?;
    Ok(Noted { tenants: row.get(0), operations: row.get(1), scheduled: row.get(2), bulks: row.get(3) })
}

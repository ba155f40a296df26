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

/// What shows that a replica serves on the database, or did when the backup was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Until when a replica holds a lease; `None` where none does.
    pub lease_until: Option<Timestamp>,
    /// Connections of this program beside our own, as far as our user may see.
    pub connections: i64,
}

/// Looks whether a replica serves on the database.
pub async fn served(client: &impl GenericClient) -> Result<Served, Error> {
    let row = client.query_one(include_str!("sql/restored/served.sql"), &[]).await?;
    let lease_until = row.get::<_, Option<i64>>(0).and_then(|time| Timestamp::from_microsecond(time).ok());
    Ok(Served { lease_until, connections: row.get(1) })
}

/// Has the registry know that its database was restored. To be called while no replica runs.
pub async fn note(client: &impl GenericClient) -> Result<Noted, Error> {
    let row = client.query_one(include_str!("sql/restored/note.sql"), &[]).await?;
    Ok(Noted { tenants: row.get(0), operations: row.get(1), scheduled: row.get(2), bulks: row.get(3) })
}

//! Which targets operations reached, those too that ended long ago.

use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Error;
use crate::domain::ids::{TargetName, TenantId};

/// A target that a tenant's operations reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Which target.
    pub target: TargetName,
    /// Of the last operation that reached it.
    pub generation: u64,
    /// Whether that one went on without it.
    pub skipped: bool,
}

/// Every target that an operation reached.
pub async fn targets_reached(client: &impl GenericClient) -> Result<Vec<TargetName>, Error> {
    let rows = client.query_typed(include_str!("sql/target/reached.sql"), &[]).await?;
    rows.iter().map(|row| name(row.get(0))).collect()
}

/// The targets that the operations on a tenant reached, but for those given.
pub async fn targets_reached_by(
    client: &impl GenericClient,
    (tenant_id, uid): (&TenantId, Uuid),
    but_for: &[TargetName],
) -> Result<Vec<Reached>, Error> {
    let but_for: Vec<&str> = but_for.iter().map(TargetName::as_str).collect();
    let sql = include_str!("sql/target/reached_by_tenant.sql");
    let id = tenant_id.as_str();
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
        [(&id, Type::TEXT), (&uid, Type::UUID), (&but_for, Type::TEXT_ARRAY)];
    let rows = client.query_typed(sql, &parameters).await?;
    let reached = |row: &tokio_postgres::Row| {
        let generation = u64::try_from(row.get::<_, i64>(1)).unwrap_or_default();
        Ok(Reached { target: name(row.get(0))?, generation, skipped: row.get(2) })
    };
    rows.iter().map(reached).collect()
}

fn name(text: &str) -> Result<TargetName, Error> {
    TargetName::parse(text).map_err(|error| Error::Row { table: "target_reached", why: error.to_string() })
}

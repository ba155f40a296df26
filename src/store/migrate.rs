//! Numbered migrations inside the binary, each in a transaction of its own.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::Error;

/// Every migration, in order. One that was released never changes; each is safe while the version before still runs.
const MIGRATIONS: &[(i32, &str, &str)] = &[
    (1, "registry", include_str!("migrations/0001_registry.sql")),
    (2, "tenancy", include_str!("migrations/0002_tenancy.sql")),
    (3, "flag model", include_str!("migrations/0003_flag_model.sql")),
    (4, "lifecycle", include_str!("migrations/0004_lifecycle.sql")),
    (5, "old operations", include_str!("migrations/0005_old_operations.sql")),
    (6, "resource names", include_str!("migrations/0006_resource_names.sql")),
    (7, "flagd files", include_str!("migrations/0007_flagd_files.sql")),
    (8, "names by the domain", include_str!("migrations/0008_names_by_the_domain.sql")),
    (9, "bulk evaluations", include_str!("migrations/0009_bulk_evaluations.sql")),
    (10, "flag extensions", include_str!("migrations/0010_flag_extensions.sql")),
    (11, "newer decisions", include_str!("migrations/0011_newer_decisions.sql")),
    (12, "target places", include_str!("migrations/0012_target_places.sql")),
    (13, "targets reached", include_str!("migrations/0013_targets_reached.sql")),
    (14, "undecided targets", include_str!("migrations/0014_undecided_targets.sql")),
    (15, "published tables", include_str!("migrations/0015_published_tables.sql")),
];

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The version that was found.
    pub from: i32,
    /// The version there is now.
    pub to: i32,
}

/// The newest version that this program knows.
pub fn newest() -> i32 {
    MIGRATIONS.last().map_or(0, |(number, _, _)| *number)
}

/// The version of the database's schema; 0 where there is none.
pub async fn version(client: &Client) -> Result<i32, Error> {
    let known: bool = client.query_one(include_str!("sql/migration/known.sql"), &[]).await?.get(0);
    if !known {
        return Ok(0);
    }
    let row = client.query_one(include_str!("sql/migration/version.sql"), &[]).await;
    Ok(row.map_err(|error| foreign(error.into()))?.get(0))
}

/// Brings the schema up to this program's version. Several replicas may do so at once: they queue on one lock.
pub async fn migrate(client: &mut Client) -> Result<Report, Error> {
    let encoding: String = client.query_one(include_str!("sql/migration/encoding.sql"), &[]).await?.get(0);
    if encoding != "UTF8" {
        return Err(Error::Encoding(encoding));
    }
    version(client).await?;
    let mut from = None;
    for (number, name, sql) in MIGRATIONS {
        let transaction = client.transaction().await?;
        if from.is_none() {
            // With the first one, so that a database that refuses it is left as it was.
            transaction.batch_execute(include_str!("sql/migration/prepare.sql")).await?;
        }
        transaction.batch_execute(include_str!("sql/migration/lock.sql")).await?;
        let found: i32 = transaction.query_one(include_str!("sql/migration/version.sql"), &[]).await?.get(0);
        from.get_or_insert(found);
        if found < *number {
            let done = transaction.batch_execute(sql).await.map_err(Error::from);
            done.map_err(|error| if found == 0 { foreign(error) } else { error })?;
            transaction.execute(include_str!("sql/migration/record.sql"), &[number, name]).await?;
        }
        transaction.commit().await?;
    }
    let to = version(client).await?;
    Ok(Report { from: from.unwrap_or(to), to })
}

/// A table that is in the way of the first ones was made by another program.
fn foreign(error: Error) -> Error {
    match error {
        Error::Refused(cause)
            if [Some(&SqlState::DUPLICATE_TABLE), Some(&SqlState::UNDEFINED_COLUMN)]
                .contains(&cause.code()) =>
        {
            Error::Foreign(cause)
        }
        other => other,
    }
}

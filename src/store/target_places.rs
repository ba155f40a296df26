//! Where targets keep tenants' things, as noted when a server last started with them.

use std::collections::BTreeMap;

use tokio_postgres::{Client, Transaction};

use super::Error;

/// Where a target keeps tenants' things, as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configured {
    /// Which target.
    pub target: String,
    /// The settings that decide the place.
    pub place: String,
    /// The place from which somebody says that tenants' things were moved.
    pub moved_from: Option<String>,
}

/// A target whose noted place is another than the configured one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Which target.
    pub target: String,
    /// The place that was noted.
    pub from: String,
    /// The place that is configured.
    pub to: String,
}

/// What became of the configured places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// They are noted; these in place of others.
    Noted(Vec<Moved>),
    /// Nothing was noted: tenants' things are still where this target no longer looks.
    Refused(Moved),
}

/// Notes the places that are new, that nobody needs the former of, or that things were moved to; all or none.
pub async fn note(client: &mut Client, configured: &[Configured]) -> Result<Outcome, Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(include_str!("sql/target/lock_places.sql")).await?;
    let noted = noted(&transaction, configured).await?;
    let has_tenants: bool = transaction.query_one(include_str!("sql/tenant/any.sql"), &[]).await?.get(0);
    let mut replaced = Vec::new();
    for it in configured {
        if let Some(from) = noted.get(&it.target).filter(|from| **from != it.place) {
            let moved = Moved { target: it.target.clone(), from: from.clone(), to: it.place.clone() };
            if has_tenants && it.moved_from.as_ref() != Some(from) {
                return Ok(Outcome::Refused(moved));
            }
            replaced.push(moved);
        }
        transaction.execute(include_str!("sql/target/note_place.sql"), &[&it.target, &it.place]).await?;
    }
    transaction.commit().await?;
    Ok(Outcome::Noted(replaced))
}

async fn noted(
    transaction: &Transaction<'_>,
    configured: &[Configured],
) -> Result<BTreeMap<String, String>, Error> {
    let targets: Vec<&str> = configured.iter().map(|it| it.target.as_str()).collect();
    let rows = transaction.query(include_str!("sql/target/places.sql"), &[&targets]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

//! How often, and when last, flags were evaluated. Off the log: it is no state of anything.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_postgres::GenericClient;
use tokio_postgres::types::Json;

use super::Error;

/// Evaluations since they were last written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// Which flag.
    pub flag_key: String,
    /// For which tenant; empty for those that were too many to be told apart, and for none.
    pub tenant_id: String,
    /// How many.
    pub evaluations: u64,
    /// The last of them.
    pub last_time: Timestamp,
}

/// Evaluations of all flags at once since they were last written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CountedBulk {
    /// The flag set, where only its flags were asked for; the empty name is that of flags without a set.
    pub flag_set: Option<String>,
    /// When the newest flag was made that was there.
    pub newest_flag_time: Timestamp,
    /// How many.
    pub evaluations: u64,
    /// The last of them.
    pub last_time: Timestamp,
}

/// What is known of a flag's evaluations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// By name.
    pub evaluations: u64,
    /// Together with all others.
    pub bulk_evaluations: u64,
    /// For how many tenants by name.
    pub tenants: u64,
    /// The last of either.
    pub last_time: Option<Timestamp>,
    /// The tenants that evaluated it last by name, the latest first.
    pub latest: Vec<TenantTally>,
}

/// What is known of a tenant's evaluations of a flag.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TenantTally {
    /// Which tenant; it may be deleted by now.
    pub tenant_id: String,
    /// How often.
    pub evaluations: u64,
    /// When last.
    pub last_time: Timestamp,
}

/// Adds evaluations to those that are known.
pub async fn add(client: &impl GenericClient, counted: &[Counted]) -> Result<(), Error> {
    client.execute(include_str!("sql/flag/add_evaluations.sql"), &[&Json(counted)]).await?;
    Ok(())
}

/// Adds evaluations of all flags at once to those that are known.
pub async fn add_bulk(client: &impl GenericClient, counted: &[CountedBulk]) -> Result<(), Error> {
    client.execute(include_str!("sql/flag/add_bulk_evaluations.sql"), &[&Json(counted)]).await?;
    Ok(())
}

/// Takes away what was last counted more than 400 days ago, and puts together what counts for the same flags. Up to 1,000
/// rows of each; answers whether there may be more.
pub async fn tidy_bulk(client: &impl GenericClient) -> Result<bool, Error> {
    const ROWS_MAX: u64 = 1_000;
    let forgotten = client.execute(include_str!("sql/flag/forget_bulk_evaluations.sql"), &[]).await?;
    let folded: i64 = client.query_one(include_str!("sql/flag/fold_bulk_evaluations.sql"), &[]).await?.get(0);
    Ok(forgotten >= ROWS_MAX || u64::try_from(folded).unwrap_or_default() >= ROWS_MAX)
}

/// What is known of some flags' evaluations, by key. Evaluations of all flags at once count for every flag that was
/// there then and in the set that was asked for.
pub async fn tallies(client: &impl GenericClient, keys: &[&str]) -> Result<BTreeMap<String, Tally>, Error> {
    let rows = client.query(include_str!("sql/flag/tallies.sql"), &[&keys]).await?;
    let count = |number: i64| u64::try_from(number).unwrap_or_default();
    rows.iter()
        .map(|row| {
            let tally = Tally {
                evaluations: count(row.get(1)),
                bulk_evaluations: count(row.get(2)),
                tenants: count(row.get(3)),
                last_time: row.get(4),
                latest: row.try_get::<_, Json<_>>(5)?.0,
            };
            Ok((row.get(0), tally))
        })
        .collect()
}

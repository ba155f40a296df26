//! Rows as the view reads them. One that cannot be read is told by name, and keeps no other from being read.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio_postgres::types::{FromSql, Json, ToSql, Type};
use tokio_postgres::{GenericClient, Row};

use super::Error;
use crate::domain::ids::Revision;

/// Rows by the change that left them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    after: Revision,
    until: Revision,
}

impl Range {
    /// All that changed after a revision.
    pub const fn after(after: Revision) -> Self {
        Self { after, until: Revision(i64::MAX as u64) }
    }

    /// What one change left.
    pub const fn of(revision: Revision) -> Self {
        Self { after: Revision(revision.get().saturating_sub(1)), until: revision }
    }

    /// The parameters of a statement.
    pub(super) fn bounds(self) -> [(i64, Type); 2] {
        [(self.after.as_i64(), Type::INT8), (self.until.as_i64(), Type::INT8)]
    }
}

/// A row that cannot be read: made by another version of the program, or by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its table.
    pub table: &'static str,
    /// Its key; of several columns, with a blank between.
    pub key: String,
    /// The change that left it.
    pub revision: Revision,
    /// What is wrong with it.
    pub why: String,
}

/// Rows that were read, and those that could not be.
#[derive(Debug)]
pub struct Found<T> {
    /// Those that were read.
    pub rows: Vec<T>,
    /// The others.
    pub unreadable: Vec<Unreadable>,
}

/// A table whose rows are read as JSON, and the columns of its key.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) key: &'static [&'static str],
}

/// Reads every row of a one-column JSON statement as one of our own types.
pub(super) async fn rows_as<T: DeserializeOwned>(
    client: &impl GenericClient,
    table: &Table,
    sql: &'static str,
    range: Range,
) -> Result<Found<T>, Error> {
    let [after, until] = range.bounds();
    rows_with(client, table, sql, &[(&after.0, after.1), (&until.0, until.1)]).await
}

/// The same of a statement with other parameters.
pub(super) async fn rows_with<T: DeserializeOwned>(
    client: &impl GenericClient,
    table: &Table,
    sql: &'static str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Found<T>, Error> {
    let rows = client.query_typed(sql, parameters).await?;
    let mut found = Found { rows: Vec::with_capacity(rows.len()), unreadable: Vec::new() };
    for row in &rows {
        match row.try_get::<_, Json<T>>(0) {
            Ok(json) => found.rows.push(json.0),
            Err(error) => found.unreadable.push(unreadable(row, table, format!("{error:?}"))),
        }
    }
    Ok(found)
}

/// JSON as its bytes stand: what cannot be read as one of our types may have numbers that no type holds.
struct Members(std::collections::BTreeMap<String, Box<RawValue>>);

impl<'a> FromSql<'a> for Members {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        // A jsonb begins with the number of its format.
        let text = raw.strip_prefix(&[1]).unwrap_or(raw);
        Ok(Self(serde_json::from_slice(text)?))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSONB
    }
}

fn unreadable(row: &Row, table: &Table, why: String) -> Unreadable {
    let members = row.try_get::<_, Members>(0).map(|members| members.0).unwrap_or_default();
    let text = |name: &str| -> String {
        let raw = members.get(name).map_or("", |raw| raw.get());
        serde_json::from_str(raw).unwrap_or_else(|_| raw.to_owned())
    };
    let key: Vec<String> = table.key.iter().map(|name| text(name)).collect();
    let revision = text("revision").parse().map(Revision).unwrap_or_default();
    Unreadable { table: table.name, key: key.join(" "), revision, why }
}

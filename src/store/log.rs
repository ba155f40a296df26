//! The log: what a change consists of, where the log stands, what it says.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, GenericClient, Row};
use uuid::Uuid;

use super::Error;
use super::committed::Rows;
use super::reading::{Found, Unreadable};
use crate::domain::event::{Entry, Event};
use crate::domain::ids::{RequestId, Revision};

/// A change of as many bytes takes no longer than any.
const SMALL_BYTES: usize = 256 << 10;
/// Of a larger one the database does as much in a second, on a busy machine.
const BYTES_PER_SECOND: usize = 128 << 10;
/// As long as the rpcs that make large changes may take.
const EXTRA_MAX: Duration = Duration::from_mins(1);

/// What makes a repeated request get the same answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idempotency {
    /// The caller's, or made by the server: then nobody can repeat it, but an ambiguous commit can be looked up.
    pub request_id: RequestId,
    /// Of the method and the body.
    pub digest: [u8; 32],
}

/// One conditional change: all of it, or nothing.
#[derive(Debug, Clone)]
pub struct Change {
    /// A statement made by `change_sql!`.
    pub(super) sql: &'static str,
    /// The statement's own parameter, as JSON.
    pub(super) row: Vec<u8>,
    /// What it is a repetition of, if anything.
    pub(super) idempotency: Idempotency,
    /// What a repetition is answered with; the revision is kept beside it.
    pub(super) reply: Vec<u8>,
    /// The event, as the bytes that stay.
    pub(super) entry: Vec<u8>,
    pub(super) kind: &'static str,
    pub(super) subject: String,
    pub(super) actor: String,
    /// What it leaves in the tables, where its author knows all of it.
    pub(super) leaves: Option<Rows>,
}

/// Who makes a change, when, and under which request.
#[derive(Debug, Clone)]
pub struct Context {
    /// Who.
    pub actor: String,
    /// When.
    pub now: Timestamp,
    /// Under which request.
    pub idempotency: Idempotency,
}

impl Change {
    /// How much longer than others it may take, to be made and to be seen, for its size.
    pub fn extra_time(&self) -> Duration {
        let bytes = self.row.len() + self.reply.len() + self.entry.len();
        let seconds = bytes.saturating_sub(SMALL_BYTES).div_ceil(BYTES_PER_SECOND);
        Duration::from_secs(seconds as u64).min(EXTRA_MAX)
    }

    /// Puts a change together.
    pub(super) fn new(
        sql: &'static str,
        row: impl Serialize,
        event: Event,
        context: &Context,
        reply: &impl Serialize,
    ) -> Self {
        let kind = event.kind();
        let subject = event.subject().to_owned();
        let entry = Entry { actor: context.actor.clone(), time: context.now, event };
        Self {
            sql,
            row: json(&row),
            idempotency: context.idempotency,
            reply: json(reply),
            entry: json(&entry),
            kind,
            subject,
            actor: context.actor.clone(),
            leaves: None,
        }
    }

    /// Says what the change leaves in the tables: these rows as they stand, but for their revision, and nothing else
    /// that a view holds.
    pub(super) fn leaving(self, rows: Rows) -> Self {
        Self { leaves: Some(rows), ..self }
    }
}

/// JSON of one of our own types. They have no maps with keys that are not text and no floats that are not finite,
/// which is all that serialisation could fail on; an empty text would be refused by the database, never lost.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// As [`json`], for a parameter.
pub(super) fn json_value(value: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was made, as this revision.
    Applied(Revision),
    /// What it was decided on is no longer so: decide again.
    Conflict,
}

/// The answer that a request got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Of the body that was answered.
    pub digest: Vec<u8>,
    /// The revision of the change; 0 where there was none.
    pub revision: Revision,
    /// The answer.
    pub reply: Vec<u8>,
}

/// Tells an entry of the log from every other that stood, or could come to stand, under the same revision: where changes
/// were lost, others take their revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Of the request that made it: of no other in one log.
    pub request_id: Uuid,
    /// When, to the microsecond, as the database noted it: a request that is made once more, after its first change was
    /// lost, leaves another.
    pub time: SystemTime,
}

impl Mark {
    /// Reads the columns `request_id` and `record_time`, which are null where there is no entry.
    pub(super) fn read(row: &Row, request_id: usize) -> Option<Self> {
        let id: Option<Uuid> = row.get(request_id);
        id.zip(row.get(request_id + 1)).map(|(request_id, time)| Self { request_id, time })
    }
}

/// Where the log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The newest revision.
    pub revision: Revision,
    /// Revisions up to this one can no longer be told apart.
    pub compacted: Revision,
    /// Which log it is.
    pub epoch: Uuid,
    /// Signs page tokens, on every replica alike. Never leaves the server.
    pub page_key: Uuid,
    /// Whether the transaction that read this may not write. Outside of one that says so: whether the database may not.
    pub read_only: bool,
    /// The newest entry.
    pub newest: Option<Mark>,
    /// The entry at the revision that was asked about.
    pub seen: Option<Mark>,
}

/// Reads where the log stands, and which entry it has at a revision `seen`.
pub async fn head(client: &impl GenericClient, seen: Revision) -> Result<Head, Error> {
    let row =
        client.query_typed_one(include_str!("sql/log/head.sql"), &[(&seen.as_i64(), Type::INT8)]).await?;
    Ok(Head {
        revision: revision(row.get(0)),
        compacted: revision(row.get(1)),
        epoch: row.get(2),
        page_key: row.get(3),
        read_only: row.get(4),
        newest: Mark::read(&row, 5),
        seen: Mark::read(&row, 7),
    })
}

/// Begins to read several tables as they are at one moment; ended by [`end_reading`].
pub async fn begin_reading(client: &Client) -> Result<(), Error> {
    Ok(client.batch_execute(include_str!("sql/log/begin_read.sql")).await?)
}

/// Ends what [`begin_reading`] began.
pub async fn end_reading(client: &Client) -> Result<(), Error> {
    Ok(client.batch_execute("COMMIT").await?)
}

/// Finds the answer that a request got, if it was made in the last 24 h.
pub async fn find_request(client: &impl GenericClient, id: RequestId) -> Result<Option<Kept>, Error> {
    let rows =
        client.query_typed(include_str!("sql/log/find_request.sql"), &[(&id.uuid(), Type::UUID)]).await?;
    Ok(rows.first().map(|row| Kept { digest: row.get(0), revision: revision(row.get(1)), reply: row.get(2) }))
}

/// Keeps the answer of a request that led to no change; whether it was not answered meanwhile.
pub async fn keep_request(
    client: &impl GenericClient,
    idempotency: Idempotency,
    reply: &[u8],
) -> Result<bool, Error> {
    let (id, digest) = (idempotency.request_id.uuid(), idempotency.digest.as_slice());
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(&id, Type::UUID), (&digest, Type::BYTEA), (&reply, Type::BYTEA)];
    Ok(client.query_typed_opt(include_str!("sql/log/keep_request.sql"), &parameters).await?.is_some())
}

/// Drops answers that are older than 24 h; answers how many.
pub async fn forget_requests(client: &impl GenericClient) -> Result<u64, Error> {
    Ok(client.execute(include_str!("sql/log/forget_requests.sql"), &[]).await?)
}

/// Tells other replicas that there is something to read, up to this revision.
pub async fn notify(client: &impl GenericClient, newest: Revision) -> Result<(), Error> {
    let payload = newest.get().to_string();
    client.query_typed(include_str!("sql/log/notify.sql"), &[(&payload, Type::TEXT)]).await?;
    Ok(())
}

/// The revision that [`notify`] told, if the text is of it.
pub fn notified(payload: &str) -> Option<Revision> {
    payload.parse().ok().map(Revision)
}

/// Asks to be told.
pub async fn listen(client: &impl GenericClient) -> Result<(), Error> {
    Ok(client.batch_execute(include_str!("sql/log/listen.sql")).await?)
}

/// What was removed after a revision, in order; an entry that cannot be read is left out, and told.
pub async fn removals_after(client: &impl GenericClient, after: Revision) -> Result<Found<Event>, Error> {
    let rows = client
        .query_typed(include_str!("sql/log/removals_after.sql"), &[(&after.as_i64(), Type::INT8)])
        .await?;
    let mut found = Found { rows: Vec::with_capacity(rows.len()), unreadable: Vec::new() };
    for row in &rows {
        match serde_json::from_slice::<Entry>(row.get(0)) {
            Ok(entry) => found.rows.push(entry.event),
            Err(error) => {
                let revision = revision(row.get(1));
                let key = revision.to_string();
                found.unreadable.push(Unreadable { table: "log", key, revision, why: error.to_string() });
            }
        }
    }
    Ok(found)
}

/// What was done to flags not long ago.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lately {
    /// In no particular order.
    pub events: Vec<Event>,
    /// Whether every entry could be read.
    pub is_whole: bool,
}

/// Reads what was done to flags within so long a time, by the clock of the database.
pub async fn flags_lately(client: &impl GenericClient, window: Duration) -> Result<Lately, Error> {
    let mut lately = Lately { events: Vec::new(), is_whole: true };
    let (seconds, mut before) = (window.as_secs_f64(), Some(i64::MAX));
    while let Some(revision) = before.take() {
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&revision, Type::INT8), (&seconds, Type::FLOAT8)];
        for row in client.query_typed(include_str!("sql/log/flags_lately.sql"), &parameters).await? {
            match row.get::<_, Option<&[u8]>>(1).map(serde_json::from_slice::<Entry>) {
                Some(Ok(entry)) => lately.events.push(entry.event),
                Some(Err(_)) => lately.is_whole = false,
                None => before = Some(row.get(0)),
            }
        }
    }
    Ok(lately)
}

/// A row of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Its place.
    pub revision: Revision,
    /// The event's kind.
    pub kind: String,
    /// What it happened to.
    pub subject: String,
    /// The entry, as written.
    pub entry: Vec<u8>,
}

/// Reads entries after a revision, at most `limit`.
pub async fn entries(client: &impl GenericClient, after: Revision, limit: i64) -> Result<Vec<Logged>, Error> {
    let rows = client.query(include_str!("sql/log/entries.sql"), &[&after.as_i64(), &limit]).await?;
    Ok(rows
        .iter()
        .map(|row| Logged {
            revision: revision(row.get(0)),
            kind: row.get(1),
            subject: row.get(2),
            entry: row.get(5),
        })
        .collect())
}

/// A revision column; the schema keeps them from being negative.
pub(super) fn revision(number: i64) -> Revision {
    Revision::from_i64(number).unwrap_or_default()
}

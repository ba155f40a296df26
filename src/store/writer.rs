//! The writer: one task a replica that combines concurrent changes into one transaction.
//!
//! ```text
//! BEGIN · lock the head · change · change · … · advance the head · COMMIT      one pipeline, one round trip
//! ```
//!
//! The head is locked first, so every change sees the final state of all before it and two replicas cannot deadlock.
//! While one transaction is in flight the next one gathers; there is no timer.
//!
//! * A change that finds its condition unmet changes nothing and answers [`Outcome::Conflict`].
//! * A change that fails rolls the transaction back; then every change goes alone, so that it hurts only itself.
//! * When the connection breaks, nobody knows whether the commit happened. A new connection locks the head, which
//!   waits for the former transaction's end, and looks every change up by its request id before it is made again.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use futures_util::poll;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Statement};

use super::Error;
use super::committed::{Committed, Log};
use super::connect::Database;
use super::log::{self, Change, Kept, Outcome};

/// Most changes in one transaction. More gain nothing (measured: 128 a transaction give 25–39 k rows/s) and make the
/// first of them wait.
const BATCH_MAX: usize = 128;
/// Changes that may wait; more callers wait to be let in.
const QUEUE_MAX: usize = 1_024;
/// How long a change may wait for a database that cannot be reached. The caller hears within 2 s.
const PATIENCE: Duration = Duration::from_millis(1_800);
/// The pause between attempts to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// What a submitted change came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// Made now, or not for a conflict.
    Done(Outcome),
    /// The request was answered before.
    Repeated(Kept),
}

struct Job {
    change: Change,
    deadline: Instant,
    answer: oneshot::Sender<Result<Submitted, Error>>,
}

/// A handle to the writer task. It ends when the last handle is dropped, after what it has been given is done.
#[derive(Clone, Debug)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    /// Starts the task. `tell` hears of every commit before those who wait for it do: what it does delays them.
    pub fn start(database: Database, tell: impl Fn(Committed) + Send + 'static) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let task = Task { database, queue, tell: Box::new(tell), session: None };
        tokio::spawn(task.run());
        Self { jobs }
    }

    /// Makes a change.
    ///
    /// # Errors
    ///
    /// `Unreachable` within 2 s where there is no database: the change may or may not have been made, and the same
    /// request id finds out.
    pub async fn submit(&self, change: Change) -> Result<Submitted, Error> {
        let gone = || Error::Unreachable("the writer has stopped".to_owned());
        let (answer, result) = oneshot::channel();
        let deadline = Instant::now() + PATIENCE;
        let job = Job { change, deadline, answer };
        match tokio::time::timeout(PATIENCE, self.jobs.send(job)).await {
            Ok(sent) => sent.map_err(|_| gone())?,
            Err(_) => return Err(Error::Unreachable("too many changes are waiting".to_owned())),
        }
        // The task may be held up in an earlier transaction for longer than this caller waits.
        match tokio::time::timeout_at(deadline, result).await {
            Ok(answered) => answered.map_err(|_| gone())?,
            Err(_) => Err(Error::Unreachable("no answer in time".to_owned())),
        }
    }
}

/// A connection and what was prepared on it.
struct Session {
    client: Client,
    lock: Statement,
    advance: Statement,
    prepared: HashMap<&'static str, Statement>,
}

struct Task {
    database: Database,
    queue: mpsc::Receiver<Job>,
    tell: Box<dyn Fn(Committed) + Send>,
    session: Option<Session>,
}

/// How a transaction ended.
enum End {
    /// Committed to this log; one outcome a change.
    Committed(Log, Vec<Outcome>),
    /// Rolled back, for one of its changes.
    RolledBack(Error),
    /// Nobody knows.
    Unknown(Error),
}

impl Task {
    async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while self.queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
            // Whoever gave up before its turn is not served: it was told that nothing is known.
            let now = Instant::now();
            let mut jobs: VecDeque<Job> = batch.drain(..).filter(|job| !job.answer.is_closed()).collect();
            jobs.retain(|job| job.deadline > now);
            self.write(jobs).await;
        }
    }

    async fn write(&mut self, jobs: VecDeque<Job>) {
        if jobs.is_empty() {
            return;
        }
        let repeated = repeats_itself(&jobs);
        match if repeated {
            End::RolledBack(Error::Unreachable(String::new()))
        } else {
            self.transaction(&jobs).await
        } {
            End::Committed(log, outcomes) => self.answer(log, jobs, outcomes),
            // One of them is at fault; alone, each hurts only itself.
            End::RolledBack(_) | End::Unknown(_) => {
                for job in jobs {
                    self.write_alone(job).await;
                }
            }
        }
    }

    /// Makes one change for certain, or tells why not.
    async fn write_alone(&mut self, job: Job) {
        if job.answer.is_closed() {
            return;
        }
        let mut jobs = VecDeque::from([job]);
        let result = loop {
            let request_id = jobs[0].change.idempotency.request_id;
            let found = self.find(request_id).await;
            let error = match found {
                Ok(Some(kept)) => break Ok(Submitted::Repeated(kept)),
                Ok(None) => match self.transaction(&jobs).await {
                    End::Committed(log, outcomes) => return self.answer(log, jobs, outcomes),
                    End::RolledBack(error @ Error::Refused(_)) if !is_repetition(&error) => break Err(error),
                    End::RolledBack(error) | End::Unknown(error) => error,
                },
                Err(error) => error,
            };
            if Instant::now() + RECONNECT_PAUSE >= jobs[0].deadline {
                break Err(error);
            }
            tracing::warn!(error = %error, "a change is tried again");
            tokio::time::sleep(RECONNECT_PAUSE).await;
        };
        if let Ok(Submitted::Repeated(Kept { revision, .. })) = &result {
            // What it left, and when, is not known here.
            (self.tell)(Committed { log: None, first: *revision, changes: vec![None] });
        }
        if let Some(job) = jobs.pop_front() {
            // A caller that has gone away has no use for the answer; the request id keeps it.
            let _ = job.answer.send(result);
        }
    }

    fn answer(&self, log: Log, mut jobs: VecDeque<Job>, outcomes: Vec<Outcome>) {
        let mut first = None;
        let mut changes = Vec::with_capacity(outcomes.len());
        for (job, outcome) in jobs.iter_mut().zip(&outcomes) {
            let Outcome::Applied(revision) = outcome else { continue };
            first.get_or_insert(*revision);
            changes.push(job.change.leaves.take().map(|rows| rows.at(*revision)));
        }
        if let Some(first) = first {
            (self.tell)(Committed { log: Some(log), first, changes });
        }
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            let _ = job.answer.send(Ok(Submitted::Done(outcome)));
        }
    }

    /// Looks a request up, behind the lock: a transaction of a former connection that is still committing has ended
    /// before this answers.
    async fn find(&mut self, request_id: crate::domain::ids::RequestId) -> Result<Option<Kept>, Error> {
        let limit = self.database.statement_timeout();
        let found = tokio::time::timeout(limit, async {
            let session = self.session().await?;
            session.client.batch_execute("BEGIN").await?;
            session.client.query_one(&session.lock, &[]).await?;
            let found = log::find_request(&session.client, request_id).await;
            session.client.batch_execute("COMMIT").await?;
            found
        })
        .await
        .unwrap_or_else(|_| Err(Error::Unreachable("no answer in time".to_owned())));
        if found.is_err() {
            self.session = None;
        }
        found
    }

    /// Runs one transaction. A session that is not known to be idle afterwards is given up.
    async fn transaction(&mut self, jobs: &VecDeque<Job>) -> End {
        let limit = self.database.statement_timeout();
        let work = async {
            match self.session().await {
                Ok(session) => session.transaction(jobs).await,
                Err(error) => End::Unknown(error),
            }
        };
        let end = match tokio::time::timeout(limit, work).await {
            Ok(end) => end,
            Err(_) => End::Unknown(Error::Unreachable("no answer in time".to_owned())),
        };
        if matches!(end, End::Unknown(_)) {
            self.session = None;
        }
        end
    }

    async fn session(&mut self) -> Result<&mut Session, Error> {
        if self.session.as_ref().is_some_and(|session| session.client.is_closed()) {
            self.session = None;
        }
        let session = match self.session.take() {
            Some(session) => session,
            None => Session::open(&self.database).await?,
        };
        Ok(self.session.insert(session))
    }
}

impl Session {
    async fn open(database: &Database) -> Result<Self, Error> {
        let client = database.dedicated(|_| {}).await?;
        client.batch_execute(include_str!("sql/log/plan_once.sql")).await?;
        let lock = client.prepare(include_str!("sql/log/lock.sql")).await?;
        let advance = client.prepare(include_str!("sql/log/advance.sql")).await?;
        Ok(Self { client, lock, advance, prepared: HashMap::new() })
    }

    async fn transaction(&mut self, jobs: &VecDeque<Job>) -> End {
        for job in jobs {
            let sql = job.change.sql;
            if !self.prepared.contains_key(sql) {
                match self.client.prepare(sql).await {
                    Ok(statement) => self.prepared.insert(sql, statement),
                    Err(error) => return rolled_back_or_unknown(error),
                };
            }
        }
        let mut begin = Box::pin(self.client.batch_execute("BEGIN"));
        let mut lock = Box::pin(self.client.query_one(&self.lock, &[]));
        let mut changes: Vec<_> = jobs
            .iter()
            .map(|job| Box::pin(execute(&self.client, &self.prepared[job.change.sql], &job.change)))
            .collect();
        let mut advance = Box::pin(self.client.execute(&self.advance, &[]));
        let mut commit = Box::pin(self.client.batch_execute("COMMIT"));
        // The first poll of each sends it; in this order, without waiting for an answer in between.
        let started = Sent::new(&mut begin).await;
        let locked = Sent::new(&mut lock).await;
        let mut sent = Vec::with_capacity(changes.len());
        for change in &mut changes {
            sent.push(Sent::new(change).await);
        }
        let advanced = Sent::new(&mut advance).await;
        let committed = Sent::new(&mut commit).await;

        let mut failed = started.answer().await.err();
        let locked = match locked.answer().await {
            Ok(row) => Some(Log { epoch: row.get(0), compacted: log::revision(row.get(1)) }),
            Err(error) => {
                failed = failed.or(Some(error));
                None
            }
        };
        let mut outcomes = Vec::with_capacity(sent.len());
        for change in sent {
            match change.answer().await {
                Ok(outcome) => outcomes.push(outcome),
                // Those after the first only say that the transaction has failed.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed = failed.or(advanced.answer().await.err());
        match (committed.answer().await, locked, failed) {
            (Ok(()), Some(log), None) => End::Committed(log, outcomes),
            // PostgreSQL answers COMMIT of a failed transaction with a rollback, and not with an error.
            (Ok(()), _, Some(error)) => End::RolledBack(error.into()),
            (Ok(()), None, None) => End::Unknown(Error::Unreachable("the head was not locked".to_owned())),
            (Err(error), ..) => End::Unknown(error.into()),
        }
    }
}

async fn execute(
    client: &Client,
    statement: &Statement,
    change: &Change,
) -> Result<Outcome, tokio_postgres::Error> {
    let request_id = change.idempotency.request_id.uuid();
    let digest = change.idempotency.digest.as_slice();
    let row = client
        .query_opt(
            statement,
            &[
                &request_id,
                &digest,
                &change.reply,
                &change.entry,
                &change.kind,
                &change.subject,
                &change.actor,
                &Jsonb(&change.row),
            ],
        )
        .await?;
    Ok(row.map_or(Outcome::Conflict, |row| Outcome::Applied(log::revision(row.get(0)))))
}

/// JSON that is text already.
#[derive(Debug)]
struct Jsonb<'a>(&'a [u8]);

impl ToSql for Jsonb<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        // The version of the binary form.
        out.put_u8(1);
        out.put_slice(self.0);
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::JSONB
    }

    to_sql_checked!();
}

/// A request that was sent, and its answer if it is there already.
struct Sent<'a, F: Future> {
    future: Pin<&'a mut F>,
    answer: Option<F::Output>,
}

impl<'a, F: Future> Sent<'a, F> {
    async fn new(future: &'a mut Pin<Box<F>>) -> Self {
        let mut future = future.as_mut();
        let answer = match poll!(future.as_mut()) {
            std::task::Poll::Ready(answer) => Some(answer),
            std::task::Poll::Pending => None,
        };
        Self { future, answer }
    }

    async fn answer(self) -> F::Output {
        match self.answer {
            Some(answer) => answer,
            None => self.future.await,
        }
    }
}

fn rolled_back_or_unknown(error: tokio_postgres::Error) -> End {
    match Error::from(error) {
        refused @ Error::Refused(_) => End::RolledBack(refused),
        other => End::Unknown(other),
    }
}

/// Two changes of one request can meet in one batch, when a client repeats it at once.
fn repeats_itself(jobs: &VecDeque<Job>) -> bool {
    let mut ids: Vec<_> = jobs.iter().map(|job| job.change.idempotency.request_id).collect();
    ids.sort_unstable();
    ids.windows(2).any(|pair| pair[0] == pair[1])
}

/// Whether the database refused a change because its request was answered in the meantime.
fn is_repetition(error: &Error) -> bool {
    match error {
        Error::Refused(error) => {
            error.as_db_error().is_some_and(|error| error.constraint() == Some("request_pkey"))
        }
        _ => false,
    }
}

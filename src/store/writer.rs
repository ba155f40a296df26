//! The writer: one task a replica that combines concurrent changes into one transaction.
//!
//! ```text
//! BEGIN · lock the head · change · change · … · advance the head · COMMIT      one pipeline, one round trip
//! ```
//!
//! The head is locked first, so every change sees the final state of all before it and two replicas cannot deadlock.
//! While one transaction is in flight the next one gathers; there is no timer. Callers go first: what the engine writes
//! of a thousand tenants that are being provisioned waits behind them, and has a few places of every transaction so that
//! it is never kept out.
//!
//! * A change that finds its condition unmet changes nothing and answers [`Outcome::Conflict`].
//! * A change whose request was answered before changes nothing (log/open.sql), and is answered the same.
//! * A change that fails rolls the transaction back; then every change goes alone, so that it hurts only itself.
//! * When the connection breaks, nobody knows whether the commit happened, and every change is made again under its
//!   request id. The lock of the head waits for the former transaction's end; where that begins only later, it is what
//!   finds its requests answered.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_postgres::{Client, Row, Statement};
use uuid::Uuid;

use super::Error;
use super::committed::{Committed, Log};
use super::connect::Database;
use super::log::{self, Change, Kept, Mark, Outcome};
use super::pipeline::{Jsonb, Sent};

/// Most changes in one transaction. More gain nothing (measured: 128 a transaction give 25–39 k rows/s) and make the
/// first of them wait.
const BATCH_MAX: usize = 128;
/// Places of a transaction that callers leave to the background: an eighth.
const BACKGROUND_MIN: usize = 16;
/// Changes that may wait, of callers and of the background each; more wait to be let in.
const QUEUE_MAX: usize = 1_024;
/// How long a caller waits for a database that does not get on. It hears within 2 s.
const CALLER_PATIENCE: Duration = Duration::from_millis(1_800);
/// How long the engine waits likewise: nobody would rather have an error, and what is written again costs those who wait
/// behind it. Also how long anybody waits for its turn while the database gets on.
const PATIENCE: Duration = Duration::from_secs(30);
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
    /// Set once its transaction is begun: from then on only the database knows whether it is made.
    begun: Arc<AtomicBool>,
    answer: oneshot::Sender<Result<Submitted, Error>>,
}

/// A handle to the writer task. It ends when the last handle is dropped, after what it has been given is done.
#[derive(Clone, Debug)]
pub struct Writer {
    callers: mpsc::Sender<Job>,
    background: mpsc::Sender<Job>,
    /// When the last transaction was committed, or will be late: one of a large change takes its time, and is no reason
    /// to take the database for gone.
    committed: watch::Receiver<Instant>,
    /// Whether the last transaction was refused because nothing can be written.
    read_only: Arc<AtomicBool>,
}

impl Writer {
    /// Starts the task. `tell` hears of every commit before those who wait for it do: what it does delays them.
    pub fn start(database: Database, tell: impl Fn(Committed) + Send + 'static) -> Self {
        let (callers, asked) = mpsc::channel(QUEUE_MAX);
        let (background, engine) = mpsc::channel(QUEUE_MAX);
        let (commit, committed) = watch::channel(Instant::now());
        let queues = Queues { callers: asked, background: engine };
        let read_only = Arc::new(AtomicBool::new(false));
        let refused = Arc::clone(&read_only);
        let task = Task { database, tell: Box::new(tell), commit, refused, session: None };
        tokio::spawn(task.run(queues));
        Self { callers, background, committed, read_only }
    }

    /// Makes a change that a caller waits for.
    ///
    /// # Errors
    ///
    /// `Unreachable` within 2 s where there is no database: the change may or may not have been made, and the same
    /// request id finds out. While the database gets on, a change waits for its turn, however many stand before it.
    /// `Unanswered` where it was sent there. A large change has as much longer as its size needs, and so has what waits
    /// behind it. `ReadOnly` where it is there and takes no writes.
    pub async fn submit(&self, change: Change) -> Result<Submitted, Error> {
        self.wait_for(&self.callers, change, CALLER_PATIENCE).await
    }

    /// Makes a change of the server's own accord: behind those of callers, and with more patience.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit), within 30 s.
    pub async fn submit_in_background(&self, change: Change) -> Result<Submitted, Error> {
        self.wait_for(&self.background, change, PATIENCE).await
    }

    async fn wait_for(
        &self,
        queue: &mpsc::Sender<Job>,
        change: Change,
        patience: Duration,
    ) -> Result<Submitted, Error> {
        let (answer, result) = oneshot::channel();
        let asked = Instant::now();
        let begun = Arc::new(AtomicBool::new(false));
        let (patience, longest) = (patience + change.extra_time(), PATIENCE + change.extra_time());
        let job = Job { change, begun: Arc::clone(&begun), answer };
        let written = async {
            let gone = || Error::Unreachable("the writer has stopped".to_owned());
            queue.send(job).await.map_err(|_| gone())?;
            result.await.map_err(|_| gone())?
        };
        tokio::pin!(written);
        let mut until = asked + patience;
        loop {
            if let Ok(written) = tokio::time::timeout_at(until, &mut written).await {
                return written;
            }
            let next = (*self.committed.borrow() + patience).min(asked + longest);
            if next <= until {
                let why = "no answer in time".to_owned();
                return Err(match self.read_only.load(Ordering::Relaxed) {
                    true => Error::ReadOnly(why),
                    false if begun.load(Ordering::Relaxed) => Error::Unanswered(why),
                    false => Error::Unreachable(why),
                });
            }
            until = next;
        }
    }
}

/// What waits to be written.
struct Queues {
    callers: mpsc::Receiver<Job>,
    background: mpsc::Receiver<Job>,
}

impl Queues {
    /// What goes into the next transaction, callers first; waits for the first. Empty once all handles are gone.
    async fn gather(&mut self) -> Vec<Job> {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let first = tokio::select! {
            biased;
            job = self.callers.recv() => job,
            job = self.background.recv() => job,
        };
        batch.extend(first);
        top_up(&mut batch, &mut self.callers, BATCH_MAX - BACKGROUND_MIN);
        top_up(&mut batch, &mut self.background, BATCH_MAX);
        top_up(&mut batch, &mut self.callers, BATCH_MAX);
        batch
    }
}

fn top_up(batch: &mut Vec<Job>, queue: &mut mpsc::Receiver<Job>, until: usize) {
    while batch.len() < until
        && let Ok(job) = queue.try_recv()
    {
        batch.push(job);
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
    tell: Box<dyn Fn(Committed) + Send>,
    commit: watch::Sender<Instant>,
    refused: Arc<AtomicBool>,
    session: Option<Session>,
}

/// How a transaction ended.
enum End {
    /// Committed to this log; one answer a change.
    Committed(Log, Vec<Result<Submitted, Error>>),
    /// Rolled back, for one of its changes.
    RolledBack(Error),
    /// Nobody knows.
    Unknown(Error),
}

impl Task {
    async fn run(mut self, mut queues: Queues) {
        loop {
            let batch = queues.gather().await;
            if batch.is_empty() {
                return;
            }
            // Whoever gave up before its turn is not served: it was told that nothing is known.
            let jobs: Vec<Job> = batch.into_iter().filter(|job| !job.answer.is_closed()).collect();
            if !jobs.is_empty() {
                self.write(jobs).await;
            }
        }
    }

    async fn write(&mut self, jobs: Vec<Job>) {
        match self.transaction(&jobs).await {
            End::Committed(log, answers) => self.answer(log, jobs, answers),
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
        let deadline = Instant::now() + CALLER_PATIENCE + job.change.extra_time();
        let jobs = [job];
        let error = loop {
            let [job] = &jobs;
            if job.answer.is_closed() {
                return;
            }
            let error = match self.transaction(&jobs).await {
                End::Committed(log, answers) => return self.answer(log, jobs.into(), answers),
                // Whoever is behind it need not wait for what is known already.
                End::RolledBack(error @ (Error::Refused(_) | Error::Forbidden(_) | Error::ReadOnly(_))) => {
                    break error;
                }
                End::RolledBack(error) | End::Unknown(error) => error,
            };
            if matches!(error, Error::Refused(_) | Error::Forbidden(_))
                || Instant::now() + RECONNECT_PAUSE >= deadline
            {
                break error;
            }
            tracing::warn!(error = %error, "a change is tried again");
            tokio::time::sleep(RECONNECT_PAUSE).await;
        };
        let [job] = jobs;
        let error = match error {
            // One of the attempts may have been made all the same.
            Error::Unreachable(why) if job.begun.load(Ordering::Relaxed) => Error::Unanswered(why),
            error => error,
        };
        // A caller that has gone away has no use for it.
        let _ = job.answer.send(Err(error));
    }

    fn answer(&self, log: Log, mut jobs: Vec<Job>, answers: Vec<Result<Submitted, Error>>) {
        let mut first = None;
        let mut changes = Vec::with_capacity(answers.len());
        for (job, answer) in jobs.iter_mut().zip(&answers) {
            match answer {
                Ok(Submitted::Done(Outcome::Applied(revision))) => {
                    first.get_or_insert(*revision);
                    changes.push(job.change.leaves.take().map(|rows| rows.at(*revision)));
                }
                Ok(Submitted::Repeated(Kept { revision, .. })) => {
                    // What it left, and when, is not known here.
                    (self.tell)(Committed { log: None, first: *revision, changes: vec![None] });
                }
                Ok(Submitted::Done(Outcome::Conflict)) | Err(_) => {}
            }
        }
        if let Some(first) = first {
            (self.tell)(Committed { log: Some(log), first, changes });
        }
        for (job, answer) in jobs.into_iter().zip(answers) {
            // A caller that has gone away has no use for the answer; the request id keeps it.
            let _ = job.answer.send(answer);
        }
    }

    /// Runs one transaction. A session that is not known to be idle afterwards is given up.
    async fn transaction(&mut self, jobs: &[Job]) -> End {
        let extra = jobs.iter().map(|job| job.change.extra_time()).max().unwrap_or_default();
        let usual = self.database.statement_timeout();
        let longer = Some(extra).filter(|extra| *extra > usual);
        let limit = longer.unwrap_or(usual);
        if !extra.is_zero() {
            self.commit.send_replace(Instant::now() + extra);
        }
        let work = async {
            match self.session().await {
                Ok(session) => session.transaction(jobs, longer).await,
                Err(error) => End::Unknown(error),
            }
        };
        let end = match tokio::time::timeout(limit, work).await {
            Ok(end) => end,
            Err(_) => End::Unknown(Error::Unanswered("no answer in time".to_owned())),
        };
        let is_refused =
            matches!(end, End::RolledBack(Error::ReadOnly(_)) | End::Unknown(Error::ReadOnly(_)));
        self.refused.store(is_refused, Ordering::Relaxed);
        if matches!(end, End::Unknown(_) | End::RolledBack(Error::ReadOnly(_))) {
            // A new connection may lead to a primary.
            self.session = None;
        }
        if matches!(end, End::RolledBack(_)) {
            for job in jobs {
                job.begun.store(false, Ordering::Relaxed);
            }
        }
        if matches!(end, End::Committed(..)) || !extra.is_zero() {
            self.commit.send_replace(Instant::now());
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

    /// `longer` is how long a statement may take, where that is longer than elsewhere.
    async fn transaction(&mut self, jobs: &[Job], longer: Option<Duration>) -> End {
        for job in jobs {
            let sql = job.change.sql;
            if !self.prepared.contains_key(sql) {
                match self.client.prepare(sql).await {
                    Ok(statement) => self.prepared.insert(sql, statement),
                    Err(error) => return rolled_back_or_unknown(error),
                };
            }
        }
        let begin = match longer {
            None => "BEGIN".to_owned(),
            Some(limit) => format!("BEGIN; SET LOCAL statement_timeout = {}", limit.as_millis()),
        };
        let mut begin = Box::pin(self.client.batch_execute(&begin));
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
        for job in jobs {
            job.begun.store(true, Ordering::Relaxed);
        }

        let mut failed = started.answer().await.err();
        let locked = match locked.answer().await {
            Ok(row) => Some((locked_log(&row), row.get(3))),
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
            (Ok(()), Some((log, time)), None) => {
                let last = last_of(jobs, &outcomes).map(|request_id| Mark { request_id, time });
                End::Committed(Log { last, ..log }, self.tell_repeated(jobs, outcomes).await)
            }
            // PostgreSQL answers COMMIT of a failed transaction with a rollback, and not with an error.
            (Ok(()), _, Some(error)) => End::RolledBack(error.into()),
            (Ok(()), None, None) => End::Unknown(Error::Unreachable("the head was not locked".to_owned())),
            (Err(error), ..) => End::Unknown(error.into()),
        }
    }

    /// Tells the requests that were answered before from those that are in conflict: neither changed anything.
    async fn tell_repeated(&self, jobs: &[Job], outcomes: Vec<Outcome>) -> Vec<Result<Submitted, Error>> {
        let mut answers = Vec::with_capacity(outcomes.len());
        for (job, outcome) in jobs.iter().zip(outcomes) {
            answers.push(match outcome {
                Outcome::Applied(_) => Ok(Submitted::Done(outcome)),
                Outcome::Conflict => log::find_request(&self.client, job.change.idempotency.request_id)
                    .await
                    .map(|kept| kept.map_or(Submitted::Done(outcome), Submitted::Repeated)),
            });
        }
        answers
    }
}

fn locked_log(row: &Row) -> Log {
    let compacted = log::revision(row.get(1));
    Log { epoch: row.get(0), compacted, before: Mark::read(row, 4), last: None }
}

/// The request of the last change that was made.
fn last_of(jobs: &[Job], outcomes: &[Outcome]) -> Option<Uuid> {
    let mut made = jobs.iter().zip(outcomes).rev().filter(|(_, outcome)| **outcome != Outcome::Conflict);
    made.next().map(|(job, _)| job.change.idempotency.request_id.uuid())
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

fn rolled_back_or_unknown(error: tokio_postgres::Error) -> End {
    match Error::from(error) {
        refused @ (Error::Refused(_) | Error::Forbidden(_) | Error::ReadOnly(_)) => End::RolledBack(refused),
        other => End::Unknown(other),
    }
}

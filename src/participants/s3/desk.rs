//! Edits of bucket policies: gathered by bucket, made one document at a time, read back.
//!
//! Many tenants share a bucket and so a policy. Whoever comes while one edit is under way waits for it together with all
//! others, and then one round serves them all: 1,000 tenants that are suspended at once cost a few dozen writes, not
//! 1,000. A round runs in a task of its own, so that an attempt that is given up cannot stop in the middle of it.
//!
//! A bucket is in doubt from the first write of a round until it is known that the round was the only one of its time.
//! Where that is not known, or a write got no answer, by this replica or another (`lock.rs`), the round is made again as soon as
//! nothing of it can arrive any more, and then for all tenants of the bucket: whoever wrote meanwhile may have been overwritten. So it
//! is where a tenant is to be denied by its record and the policy does not name it: whoever took it out may have taken out others.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use futures_util::future::join_all;
use tokio::sync::{Semaphore, oneshot};

use super::super::{Failure, FailureKind};
use super::claims;
use super::denial;
use super::doubts::Doubts;
use super::fault::Fault;
use super::lock::{Held, Left, Lock};
use super::place::Place;
use super::policy::{Denial, Policy};
use super::probe::{Neighbour, Prober};
use super::record::{self, Record};
use super::roster::Roster;
use super::round::Round;
use super::stamp::Stamp;
use crate::domain::lifecycle::Desired;
use crate::domain::operation::is_explained;

/// Edits in one round. Bounds the time of a round: each has a record to read and to write.
const ROUND_MAX: usize = 64;
/// Buckets edited at once. Each holds a connection to the registry's database.
pub(super) const BUCKETS_MAX: usize = 4;
/// How often a policy is written that somebody who knows nothing of our lock has overwritten at the same moment.
const WRITES_MAX: u32 = 3;
/// How often a round that is in doubt is made again before those who wait are told so. The next round makes it again.
const REPEATS_MAX: u32 = 3;
/// How long a round waits until it can be made again. Where it takes longer, those who wait are told so, and come again.
const DOUBT_MAX: Duration = Duration::from_secs(1);
/// How much later it is made again than everything has arrived: a mark in the database is a few milliseconds older there.
const MARGIN: Duration = Duration::from_millis(50);

/// What is to become of one tenant in its bucket's policy.
#[derive(Debug, Clone)]
pub(super) struct Edit {
    /// Whose.
    pub place: Place,
    /// What is denied from now on.
    pub denial: Option<Denial>,
    /// What is remembered afterwards, and of which change: one that was overtaken is refused.
    pub record: Record,
}

pub(super) type Outcome = Result<(), Failure>;

/// What came of a turn.
struct Made {
    outcomes: Vec<Outcome>,
    /// Whether the policy was seen to say all that it has to.
    is_whole: bool,
    /// Whether something of it may still arrive.
    is_open: bool,
}

struct Waiting {
    edit: Edit,
    reply: oneshot::Sender<Outcome>,
}

/// Where edits are handed in.
#[derive(Clone)]
pub(super) struct Desk {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    lock: Lock,
    prober: Arc<Prober>,
    bounds: Bounds,
    doubts: Doubts,
    /// By bucket; an entry is there while a task works on the bucket.
    waiting: Mutex<HashMap<String, Vec<Waiting>>>,
    slots: Semaphore,
}

/// What an edit may cost, and whom it may name.
pub(super) struct Bounds {
    /// Bytes of a policy.
    pub policy: usize,
    /// How long one look at the records, and one change of a policy, may take.
    pub turn: Duration,
    /// How tenants' principals are called.
    pub principals: Vec<String>,
}

impl Desk {
    pub(super) fn new(client: Client, lock: Lock, prober: Arc<Prober>, bounds: Bounds) -> Self {
        let (waiting, doubts) = (Mutex::default(), Doubts::default());
        let slots = Semaphore::new(BUCKETS_MAX);
        Self { shared: Arc::new(Shared { client, lock, prober, bounds, doubts, waiting, slots }) }
    }

    /// Until when a bucket is in doubt; `None` where it is not.
    pub(super) fn doubt(&self, bucket: &str) -> Option<Instant> {
        self.shared.doubts.of(bucket)
    }

    /// Makes an edit; answers when it was read back and remembered.
    pub(super) async fn submit(&self, edit: Edit) -> Outcome {
        let (reply, answer) = oneshot::channel();
        let bucket = edit.place.bucket.clone();
        match self.shared.waiting().entry(bucket.clone()) {
            Entry::Occupied(mut others) => others.get_mut().push(Waiting { edit, reply }),
            Entry::Vacant(free) => {
                free.insert(vec![Waiting { edit, reply }]);
                tokio::spawn(serve(Arc::clone(&self.shared), bucket));
            }
        }
        answer.await.unwrap_or_else(|_| Err(Failure::unknown("the server is going down")))
    }
}

/// The work on one bucket. Where it ends before its time, those who wait are told rather than left.
struct Service {
    shared: Arc<Shared>,
    bucket: String,
    is_done: bool,
}

impl Drop for Service {
    fn drop(&mut self) {
        if !self.is_done {
            self.shared.waiting().remove(&self.bucket);
        }
    }
}

/// Serves a bucket until nobody waits.
async fn serve(shared: Arc<Shared>, bucket: String) {
    let mut service = Service { shared: Arc::clone(&shared), bucket: bucket.clone(), is_done: false };
    let Ok(_slot) = shared.slots.acquire().await else { return };
    while let Some(round) = shared.next_round(&bucket) {
        let (edits, replies): (Vec<Edit>, Vec<_>) =
            round.into_iter().map(|waiting| (waiting.edit, waiting.reply)).unzip();
        let outcomes = shared.round(&bucket, &edits).await;
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            // Whoever asked may have given up.
            let _ = reply.send(outcome);
        }
    }
    service.is_done = true;
}

fn refuse_all(edits: &[Edit], failure: &Failure) -> Vec<Outcome> {
    edits.iter().map(|_| Err(failure.clone())).collect()
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, HashMap<String, Vec<Waiting>>> {
        // A panic while it was held leaves a map that is still a map.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_round(&self, bucket: &str) -> Option<Vec<Waiting>> {
        let mut waiting = self.waiting();
        let queue = waiting.get_mut(bucket)?;
        let rest = queue.split_off(queue.len().min(ROUND_MAX));
        let round = std::mem::replace(queue, rest);
        if round.is_empty() {
            waiting.remove(bucket);
            return None;
        }
        Some(round)
    }

    /// Makes the edits, and makes them again while the bucket is in doubt.
    async fn round(&self, bucket: &str, edits: &[Edit]) -> Vec<Outcome> {
        let mut outcomes = self.turn(bucket, edits).await;
        let mut unproven = Failure::unknown("the turn to edit the bucket's policy was lost each time");
        for _ in 0..REPEATS_MAX {
            let Some(until) = self.doubts.of(bucket) else { return outcomes };
            if until.saturating_duration_since(Instant::now()) > DOUBT_MAX {
                unproven = Failure::waiting(
                    "a write of the bucket's policy got no answer, or was another replica's that is gone, and may still arrive: \
                     once it cannot, the policy is written for all tenants",
                );
                break;
            }
            tracing::warn!(
                bucket,
                "the policy may lack what it has to say; it is made again for all tenants"
            );
            tokio::time::sleep_until((until + MARGIN).into()).await;
            outcomes = self.turn(bucket, edits).await;
        }
        if self.doubts.of(bucket).is_some() {
            let made = outcomes.iter_mut().filter(|outcome| outcome.is_ok());
            made.for_each(|outcome| *outcome = Err(unproven.clone()));
        }
        outcomes
    }

    /// One turn: takes the lock, edits, gives it back. Leaves the bucket in doubt where it was not the only one.
    async fn turn(&self, bucket: &str, edits: &[Edit]) -> Vec<Outcome> {
        let is_over = |until: &Instant| *until <= Instant::now();
        let mut roster = self.doubts.of(bucket).filter(is_over).map(|_| Roster::default());
        if let Some(roster) = &mut roster
            && let Err(failure) = self.refresh(roster, edits).await
        {
            return refuse_all(edits, &failure);
        }
        let held = match self.lock.take(bucket).await {
            Ok(held) => held,
            Err(failure) => return refuse_all(edits, &failure),
        };
        let others = held.doubt();
        // What comes late comes before this, or never.
        let is_settled = others.is_none_or(|until| roster.is_some() && is_over(&until));
        let made = tokio::time::timeout(self.bounds.turn, self.make(&held, bucket, edits, roster)).await;
        let made = made.unwrap_or_else(|_| Made {
            outcomes: refuse_all(edits, &Failure::unknown("the bucket's policy was not edited in time")),
            is_whole: false,
            is_open: true,
        });
        let left = match (made.is_open, made.is_whole && is_settled) {
            (true, _) => Left::Open,
            (false, true) => Left::Whole,
            (false, false) => Left::Arrived,
        };
        let was_alone = held.release(left).await;
        self.doubts.end(bucket, left, was_alone, others);
        made.outcomes
    }

    async fn refresh(&self, roster: &mut Roster, edits: &[Edit]) -> Outcome {
        let read = tokio::time::timeout(self.bounds.turn, roster.refresh(&self.client, edits)).await;
        read.unwrap_or_else(|_| {
            Err(Failure::unknown("the records of the bucket's tenants were not read in time"))
        })
    }

    async fn make(&self, held: &Held, bucket: &str, edits: &[Edit], roster: Option<Roster>) -> Made {
        let is_doubtful = roster.is_some();
        let mut said = Vec::new();
        if let Some(mut roster) = roster {
            if let Err(failure) = self.refresh(&mut roster, edits).await {
                return Made { outcomes: refuse_all(edits, &failure), is_whole: false, is_open: false };
            }
            said = roster.said(&self.bounds.principals);
        }
        // Records are read and written under the lock too, so that an old change cannot pass a new one.
        let (unclaimed, known) = self.known(edits).await;
        let denied = |record: &Record| denial(record.state).is_some();
        let is_recorded =
            |known: &Result<Option<Record>, Failure>| matches!(known, Ok(Some(record)) if denied(record));
        let recorded = edits.iter().zip(&known).filter(|(_, known)| is_recorded(known));
        let mut round = Round {
            held,
            bucket,
            edits,
            said: &said,
            unclaimed,
            recorded: recorded.map(|(edit, _)| edit.place.principals.as_slice()).collect(),
            is_robbed: false,
            neighbour: None,
            outcomes: known.into_iter().map(|known| known.map(drop)).collect(),
            is_whole: !is_doubtful,
            is_open: AtomicBool::new(false),
        };
        self.edit_policy(&mut round).await;
        let remembered = round.outcomes.iter().enumerate().map(async |(index, outcome)| match outcome {
            Ok(()) => self.remember(&round, index).await,
            refused => refused.clone(),
        });
        let outcomes = join_all(remembered).await;
        let is_whole = round.is_whole && (is_doubtful || !round.is_robbed);
        Made { outcomes, is_whole, is_open: round.is_open.into_inner() }
    }

    /// Of each edit the claims that are missing and the record from before, unless something speaks against it.
    async fn known(&self, edits: &[Edit]) -> (Vec<Vec<String>>, Vec<Result<Option<Record>, Failure>>) {
        let known =
            join_all(edits.iter().map(async |edit| match claims::check(&self.client, edit, edits).await {
                Ok(missing) => (missing, self.not_overtaken(edit).await),
                Err(failure) => (Vec::new(), Err(failure)),
            }));
        known.await.into_iter().unzip()
    }

    /// The record from before. One that is too far ahead to be of a newer change keeps nobody in; it is not written over.
    async fn not_overtaken(&self, edit: &Edit) -> Result<Option<Record>, Failure> {
        let record = record::read(&self.client, &edit.place).await;
        let record = record.map_err(|fault| fault.failing("the tenant's record cannot be read"))?;
        match record {
            Some(record) if record.generation > edit.record.generation => {
                let is_explained = is_explained(record.generation, edit.record.generation);
                let locks_out = edit.denial == Some(Denial::Everything);
                if locks_out && !is_explained { Ok(Some(record)) } else { Err(overtaken()) }
            }
            known => Ok(known),
        }
    }

    async fn remember(&self, round: &Round<'_>, index: usize) -> Outcome {
        let Edit { place, record, .. } = &round.edits[index];
        if record.state != Desired::Deleted {
            claims::make(&self.client, place, &round.unclaimed[index]).await?;
        }
        match record::read(&self.client, place).await {
            Ok(Some(known)) if known == *record => return Ok(()),
            Ok(Some(known)) if known.generation > record.generation => return Err(overtaken()),
            _ => {}
        }
        let stamp = self.stamp(round).await?;
        let written = record::write(&self.client, place, record, &stamp).await;
        written.map_err(|fault| round.not_written(&fault, "the tenant's record cannot be written"))
    }

    /// Before each write: it is the holder's only while the time lasts, and whether it was is known at the end.
    async fn stamp(&self, round: &Round<'_>) -> Result<Stamp, Failure> {
        let stamp = round.held.stamp(round.bucket).await?;
        let stamp =
            stamp.ok_or_else(|| Failure::retryable("the turn to edit the bucket's policy was over"))?;
        self.doubts.begin(round.bucket, round.held.until());
        Ok(stamp)
    }

    /// Makes all edits with one write; where the server refuses that document, each with its own, so that one tenant's
    /// unknown principal does not keep the others open.
    async fn edit_policy(&self, round: &mut Round<'_>) {
        let open = round.open();
        match self.write_policy(round, &open).await {
            Err(failure) if failure.kind == FailureKind::Permanent && open.len() > 1 => {
                for index in round.open() {
                    if let Err(failure) = self.write_policy(round, &[index]).await {
                        round.outcomes[index] = Err(failure);
                    }
                }
            }
            Err(failure) => {
                for index in round.open() {
                    round.outcomes[index] = Err(failure.clone());
                }
            }
            Ok(()) => {}
        }
    }

    async fn write_policy(&self, round: &mut Round<'_>, open: &[usize]) -> Outcome {
        for _ in 0..WRITES_MAX {
            let before = read_policy(&self.client, round.bucket).await?;
            round.is_robbed |= round.recorded.iter().any(|principals| !before.names(principals));
            let wanted = round.merge(&before, open, self.bounds.policy);
            if wanted.says_the_same(&before) {
                round.is_whole = true;
                return Ok(());
            }
            let denies_more = wanted.denies_more_than(&before);
            if denies_more && round.neighbour.is_none() {
                round.neighbour = Some(self.prober.neighbour(round.bucket).await);
            }
            self.put_policy(round, &wanted).await?;
            let after = read_policy(&self.client, round.bucket).await?;
            if !after.says_the_same(&wanted) {
                continue;
            }
            round.is_whole = true;
            return if denies_more { self.spare_neighbour(round, &before).await } else { Ok(()) };
        }
        Err(Failure::retryable("somebody else keeps overwriting the bucket's policy"))
    }

    /// Takes back a denial that locks out a neighbour who got in before it. Of one who did not, nobody knows what locks it out: the
    /// denial stays, and whoever reads the tenant's state back is told that this is not proven.
    async fn spare_neighbour(&self, round: &Round<'_>, before: &Policy) -> Outcome {
        match &round.neighbour {
            Some(Ok(Neighbour::Passes)) => {}
            Some(Err(failure)) => return Err(failure.clone()),
            _ => return Ok(()),
        }
        if !matches!(self.prober.neighbour(round.bucket).await?, Neighbour::Refused(_)) {
            return Ok(());
        }
        self.put_policy(round, before).await?;
        Err(Failure::permanent(
            "the denial locks out others than the tenant and was taken back: this object store needs another form of \
             denial",
        ))
    }

    async fn put_policy(&self, round: &Round<'_>, policy: &Policy) -> Outcome {
        let (client, bucket) = (&self.client, round.bucket);
        let only_now = self.stamp(round).await?.config();
        let done: Result<(), Fault> = if let Some(text) = policy.render() {
            let put = client.put_bucket_policy().bucket(bucket).policy(text).customize();
            put.config_override(only_now).send().await.map(drop).map_err(Fault::from)
        } else {
            let delete = client.delete_bucket_policy().bucket(bucket).customize();
            match delete.config_override(only_now).send().await.map_err(Fault::from) {
                // Where there is none any more, some servers say 404 and some 204.
                Err(fault) if fault.is_missing() => Ok(()),
                other => other.map(drop),
            }
        };
        done.map_err(|fault| round.not_written(&fault, "the bucket's policy cannot be written"))
    }
}

/// A bucket's policy; one without is empty.
pub(super) async fn read_policy(client: &Client, bucket: &str) -> Result<Policy, Failure> {
    let text = match client.get_bucket_policy().bucket(bucket).send().await.map_err(Fault::from) {
        Ok(answer) => answer.policy,
        Err(Fault::Refused { status: 404, code }) if code != "NoSuchBucket" => None,
        Err(fault) => return Err(fault.failing("the bucket's policy cannot be read")),
    };
    Policy::parse(bucket, text.as_deref())
        .map_err(|_| Failure::permanent("the bucket's policy is no document that could be added to"))
}

fn overtaken() -> Failure {
    Failure::permanent("a newer change was applied already")
}

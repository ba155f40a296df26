//! Changing: decide on a snapshot, make one conditional change, answer repeated requests the same.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Registry, new_id, now};
use crate::domain::error::{Error, Reason};
use crate::domain::ids::{RequestId, Revision};
use crate::domain::violation::Violation;
use crate::store;
use crate::store::log::{self, Change, Context, Idempotency, Kept, Outcome};
use crate::store::writer::Submitted;
use crate::view::Snapshot;
use crate::view::snapshot::unreadable;

/// How often a change is decided when concurrent ones win. Of those that are after the same thing at once, one wins each
/// time: so many can be, and each has its turn.
const DECISIONS_MAX: usize = 24;
/// How long a change waits to be seen in this replica's own view before it answers anyway, a large one longer: a read of
/// the same client then carries the token in its metadata and waits itself.
const SEEN_MAX: Duration = Duration::from_secs(1);
/// How long a decision waits for the view to catch up with the database.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);
/// How long the look for a repeated request may take: as the writer, within 2 s.
const FIND_MAX: Duration = Duration::from_millis(1_800);

/// Who asks for a change, and how.
#[derive(Debug, Clone)]
pub struct Command {
    /// Who.
    pub actor: String,
    /// The caller's id for this request, if it has one.
    pub request_id: Option<RequestId>,
    /// Of the method and the body without the request id.
    pub digest: [u8; 32],
    /// Check all, change nothing.
    pub validate_only: bool,
}

/// What a decision came to.
pub enum Decision<T> {
    /// Make this change; answer that once it is made.
    Make(Box<Change>, T),
    /// It is so already.
    Nothing(T),
}

/// An answer that can be kept, and knows its revision only once it was made.
pub trait Reply: Serialize + DeserializeOwned + Send {
    /// Puts the change's revision in.
    fn set_revision(&mut self, revision: Revision);
}

/// For what answers nothing.
impl Reply for () {
    fn set_revision(&mut self, _: Revision) {}
}

impl Registry {
    /// Decides and makes a change. `decide` may be called several times, each time on a newer snapshot.
    ///
    /// A request that was answered before is found by the change's own statement, or looked up where nothing is made.
    pub(super) async fn change<T: Reply>(
        &self,
        command: &Command,
        decide: impl Fn(&Snapshot, &Context) -> Result<Decision<T>, Error> + Send,
    ) -> Result<T, Error> {
        let request_id = command.request_id.unwrap_or_else(|| RequestId::from_uuid(new_id()));
        let idempotency = Idempotency { request_id, digest: command.digest };
        let mut snapshot = self.view.snapshot()?;
        let mut caught_up = false;
        let mut conflicts = 0;
        loop {
            let context = Context { actor: command.actor.clone(), now: now(), idempotency };
            let decided = decide(&snapshot, &context);
            // The view may lag behind another replica: nothing is refused, and nothing is called done already, for what
            // it has not seen yet. A change that is made needs no such care: its statement has its own conditions.
            if !caught_up && !matches!(decided, Ok(Decision::Make(..))) {
                let newer = self.latest(CATCH_UP_MAX).await?;
                caught_up = true;
                if (newer.history, newer.revision) != (snapshot.history, snapshot.revision) {
                    snapshot = newer;
                    continue;
                }
            }
            // What stands in the way may be this very request's own change, made meanwhile by whoever was asked first.
            if !matches!(decided, Ok(Decision::Make(..)))
                && let Some(answer) = self.answered(command).await?
            {
                return Ok(answer);
            }
            let (change, mut answer) = match decided? {
                Decision::Nothing(answer) => return self.keep(command, answer).await,
                Decision::Make(_, answer) if command.validate_only => return Ok(answer),
                Decision::Make(change, answer) => (change, answer),
            };
            let seen_max = SEEN_MAX + change.extra_time();
            match self.writer.submit(*change).await? {
                Submitted::Done(Outcome::Applied(revision)) => {
                    answer.set_revision(revision);
                    // Best effort: the change is made, whatever this replica sees of it.
                    let _ = self.view.at_least(revision, seen_max).await;
                    return Ok(answer);
                }
                Submitted::Repeated(kept) => return repeated(command, &kept),
                Submitted::Done(Outcome::Conflict) => {
                    conflicts += 1;
                    if conflicts == DECISIONS_MAX && !snapshot.unreadable.is_empty() {
                        // Most likely one of them is in the way: what it was before is all that is known here.
                        return Err(unreadable(snapshot.unreadable.values().map(|row| &**row)));
                    }
                    if conflicts == DECISIONS_MAX {
                        return Err(Error::new(
                            Reason::ConcurrentChange,
                            "others kept changing the same thing; read it again, then try again",
                        )
                        .retry_after(Duration::from_millis(100)));
                    }
                    snapshot = self.latest(CATCH_UP_MAX).await?;
                    caught_up = true;
                }
            }
        }
    }

    /// Keeps the answer of a request that led to no change: repeated later, when others have changed things, it must
    /// still lead to none.
    async fn keep<T: Reply>(&self, command: &Command, answer: T) -> Result<T, Error> {
        let Some(request_id) = command.request_id.filter(|_| !command.validate_only) else {
            return Ok(answer);
        };
        let idempotency = Idempotency { request_id, digest: command.digest };
        let reply = serde_json::to_vec(&answer).map_err(Error::bug)?;
        let kept = self.in_time(async {
            let client = self.database.pooled().await?;
            log::keep_request(&**client, idempotency, &reply).await
        });
        if kept.await? {
            return Ok(answer);
        }
        Ok(self.answered(command).await?.unwrap_or(answer))
    }

    /// What the command's request was answered, if it was made before.
    pub(super) async fn answered<T: Reply>(&self, command: &Command) -> Result<Option<T>, Error> {
        let Some(request_id) = command.request_id else { return Ok(None) };
        let kept = self.find_request(request_id).await?;
        kept.map(|kept| repeated(command, &kept)).transpose()
    }

    async fn find_request(&self, request_id: RequestId) -> Result<Option<Kept>, Error> {
        let find = async {
            let client = self.database.pooled().await?;
            log::find_request(&**client, request_id).await
        };
        self.in_time(find).await
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, store::Error>> + Send,
    ) -> Result<T, Error> {
        let done = tokio::time::timeout(FIND_MAX, work).await;
        Ok(done.map_err(|_| Error::unavailable("a request could not be looked up in time"))??)
    }
}

fn repeated<T: Reply>(command: &Command, kept: &Kept) -> Result<T, Error> {
    if kept.digest != command.digest {
        let violation = Violation::new(
            "request_id",
            "was used in the last 24 hours with another body or method; take a new one for a new request",
        );
        return Err(Error::invalid(Reason::RequestIdReused, vec![violation]));
    }
    let mut answer: T = serde_json::from_slice(&kept.reply).map_err(Error::bug)?;
    if kept.revision != Revision::ZERO {
        answer.set_revision(kept.revision);
    }
    Ok(answer)
}

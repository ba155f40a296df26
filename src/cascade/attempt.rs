//! One attempt of one target: wait for its turn, apply, read back. And a look without changing anything.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;

use super::gate::{Class, Pass};
use super::{Engine, Inner, Target};
use crate::domain::ids::TargetName;
use crate::domain::lifecycle::{Desired, Verification};
use crate::domain::operation::{ERROR_MAX, Outcome, Unseen, is_believable};
use crate::participants::{Failure, FailureKind, Observed, TenantRef};

/// Longest look at a target that has failed: one that hangs is not to keep its place as long again.
const LOOK_AFTER_MAX: Duration = Duration::from_secs(2);

/// Longest wait for what a target says an attempt hangs on, before it is asked again and says for whom by then.
const WORTH_TRYING_MAX: Duration = Duration::from_secs(10);

/// What is to be done at a target.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) target: TargetName,
    pub(super) tenant: TenantRef,
    pub(super) desired: Desired,
    pub(super) generation: u64,
    pub(super) class: Class,
    /// It was seen in the desired state: it is looked at, and nothing is applied.
    pub(super) only_look: bool,
    /// It is to get access, or the registry was restored, and it was not looked at yet: it may hold a newer change, which the registry
    /// has forgotten, and to lock the tenant out.
    pub(super) look_first: Option<LookFirst>,
    /// Another target may know better: it is looked at, and asked for nothing.
    pub(super) held_back: bool,
}

/// What a look before anything is asked of a target goes by.
#[derive(Debug, Clone)]
pub(super) struct LookFirst {
    /// What it may hold without anybody else having told it.
    pub(super) may_hold: Unseen,
    /// Whether it may have nothing of the tenant.
    pub(super) may_be_missing: bool,
    /// Where it is told that it was looked at.
    pub(super) seen: Seen,
}

/// Targets that were looked at before anything was applied.
pub(super) type Seen = Arc<Mutex<BTreeSet<TargetName>>>;

/// How an attempt ended.
enum Ended {
    /// It was read back.
    Seen(Observed),
    /// It holds a newer change than was asked for, or another one under the same number.
    Ahead(Observed),
    /// It has nothing of the tenant, and is to give it access.
    Missing,
    /// It was looked at, and asked for nothing.
    LookedAt(Option<Desired>),
}

/// What a look at one target found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Which target.
    pub target: TargetName,
    /// What it was seen in, or why that cannot be told.
    pub found: Result<Observed, String>,
    /// Whether it was asked and did not tell: not where it was left alone.
    pub failed: bool,
}

/// Applies, then reads back: only what was seen counts. The wait for a place and for the circuit is not part of the
/// attempt: it has no deadline, and costs no attempt.
pub(super) async fn try_target(inner: &Inner, task: &Task) -> Outcome {
    let Some(system) = inner.targets.get(&task.target) else {
        return Outcome::Retryable("this target is not in the server's configuration".to_owned());
    };
    if !task.only_look && !task.held_back {
        let worth_trying = system.participant.until_worth_trying(&task.tenant, task.generation);
        tokio::select! {
            _ = tokio::time::timeout(WORTH_TRYING_MAX, worth_trying) => {}
            () = inner.stop.cancelled() => {}
        }
    }
    let Some(pass) = system.gate.enter(task.class).await else {
        return Outcome::Retryable("the server is going down".to_owned());
    };
    let ended = tokio::time::timeout(inner.settings.attempt_max, attempt(system, task))
        .await
        .unwrap_or_else(|_| Err(Failure::unknown("did not answer in time")));
    if ended.as_ref().is_err_and(|failure| failure.kind == FailureKind::Unknown) {
        inner.expect_stragglers(&task.tenant.tenant_id);
    }
    let trial = pass.is_trial();
    report(inner, system, pass, task, &ended);
    match ended {
        Ok(Ended::Ahead(seen)) => Outcome::Ahead(seen.generation, seen.state),
        Ok(Ended::Missing) => Outcome::Missing,
        Ok(Ended::LookedAt(state)) => Outcome::LookedAt(state),
        Ok(Ended::Seen(seen)) if task.only_look => judge_again(inner, &seen, task),
        Ok(Ended::Seen(seen)) => judge(seen, task, system.participant.keeps_generation()),
        Err(failure) => failed(&failure, trial),
    }
}

async fn attempt(system: &Target, task: &Task) -> Result<Ended, Failure> {
    let observe = async || {
        system.participant.observe(&task.tenant).await.map_err(|failure| Failure {
            // What cannot be seen may be seen later, whatever the reason.
            kind: FailureKind::Unknown,
            ..failure
        })
    };
    let mut state = None;
    if let Some(LookFirst { may_hold, may_be_missing, seen: looked_at }) = &task.look_first {
        if !system.participant.is_in_the_registry() {
            let seen = believed(observe().await?, task.generation)?;
            if task.is_behind(&seen, Some(may_hold)) {
                return Ok(Ended::Ahead(seen));
            }
            if seen.state.is_none() && !may_be_missing {
                return Ok(Ended::Missing);
            }
            state = seen.state;
        }
        looked_at.lock().unwrap_or_else(PoisonError::into_inner).insert(task.target.clone());
    }
    if task.held_back {
        return Ok(Ended::LookedAt(state));
    }
    if !task.only_look
        && let Err(failure) = system.participant.apply(&task.tenant, task.desired, task.generation).await
    {
        return look_after(system, task, failure).await;
    }
    let seen = believed(observe().await?, task.generation)?;
    Ok(if task.is_behind(&seen, None) { Ended::Ahead(seen) } else { Ended::Seen(seen) })
}

/// Looks at a target that did not say that it made the change. It may refuse because of what it holds; and where nobody knows
/// what became of the change, it may have been made. Then it would be asked for again and again, and the answer be lost
/// each time. A look that shows neither is part of the attempt that failed.
async fn look_after(system: &Target, task: &Task, failure: Failure) -> Result<Ended, Failure> {
    let participant = &system.participant;
    let refuses = failure.kind == FailureKind::Permanent;
    let may_have_been_made = failure.kind == FailureKind::Unknown && participant.tells_what_became();
    if !(refuses || may_have_been_made) {
        return Err(failure);
    }
    let look = tokio::time::timeout(LOOK_AFTER_MAX, participant.observe(&task.tenant)).await;
    let Ok(Ok(seen)) = look else { return Err(failure) };
    let seen = believed(seen, task.generation)?;
    let this_alone = Unseen::of_one(task.generation, task.desired);
    if task.is_behind(&seen, (refuses && participant.keeps_generation()).then_some(&this_alone)) {
        return Ok(Ended::Ahead(seen));
    }
    if refuses || !task.is_met_by(&seen) {
        return Err(failure);
    }
    tracing::warn!(error = %failure.message, "the change was made, but that was not answered");
    Ok(Ended::Seen(seen))
}

/// What was seen, unless its number makes no sense: to go beyond that would spoil the tenant's generation at every target.
/// Whoever mends the target mends the number.
fn believed(seen: Observed, asked: u64) -> Result<Observed, Failure> {
    if is_believable(seen.generation, asked) {
        return Ok(seen);
    }
    let number = seen.generation;
    Err(Failure::retryable(format!("answered with generation {number}, which is too high to be true")))
}

impl Task {
    /// Whether what was seen is this change and no other. The state alone may have been there before, and so may what has
    /// nothing of the tenant.
    fn is_met_by(&self, seen: &Observed) -> bool {
        seen.generation == self.generation
            && seen.state == Some(self.desired)
            && seen.asked.is_none()
            && seen.amiss.is_none()
    }

    /// Whether what was seen comes from a newer change; or, where it is known what it `may_hold`, from one that nobody here asked for.
    fn is_behind(&self, seen: &Observed, may_hold: Option<&Unseen>) -> bool {
        seen.generation > self.generation
            || may_hold.is_some_and(|may_hold| may_hold.is_by_others(seen.generation, seen.was_asked()))
    }
}

fn report(inner: &Inner, system: &Target, pass: Pass<'_>, task: &Task, ended: &Result<Ended, Failure>) {
    // Whoever refuses, or got on, is there.
    let answered = ended.as_ref().map_or_else(
        |failure| !matches!(failure.kind, FailureKind::Retryable | FailureKind::Unknown),
        |_| true,
    );
    pass.ended(task.tenant.uid, answered);
    let outcome = match ended {
        Ok(_) => "answered",
        Err(failure) => match failure.kind {
            FailureKind::Permanent => "refused",
            FailureKind::Unfinished => "unfinished",
            FailureKind::Waiting => "waiting",
            FailureKind::Retryable | FailureKind::Unknown => "failed",
        },
    };
    inner.counts.attempts.with_label_values(&[task.target.as_str(), outcome]).inc();
    if let Err(failure) = ended {
        system.remember_error(&task.target, failure);
    }
}

/// What follows from what was read back.
fn judge(seen: Observed, task: &Task, keeps_generation: bool) -> Outcome {
    let (desired, generation) = (task.desired, task.generation);
    let told = seen.generation != 0 || keeps_generation;
    match seen.state {
        // The same state as before may be there without anything having been applied.
        Some(state) if state == desired && told && seen.generation < generation => {
            Outcome::Retryable(format!("still shows generation {}, not {generation}", seen.generation))
        }
        Some(state) => match seen.amiss {
            Some(why) => Outcome::Amiss(state, shortened(&why)),
            None => read_back(state, seen.verification, seen.unproven),
        },
        // What has never heard of a tenant, or forgot it, has nothing of it.
        None if desired == Desired::Deleted => read_back(desired, seen.verification, seen.unproven),
        None => Outcome::Retryable("took the change, but does not know the tenant".to_owned()),
    }
}

/// What follows from what is seen of a target that had been seen in the desired state, at this or an earlier generation.
fn judge_again(inner: &Inner, seen: &Observed, task: &Task) -> Outcome {
    let known = seen.state.or_else(|| (task.desired == Desired::Deleted).then_some(Desired::Deleted));
    if known == Some(task.desired) && seen.amiss.is_none() {
        return read_back(task.desired, seen.verification, seen.unproven.clone());
    }
    inner.counts.drifts.with_label_values(&[task.target.as_str()]).inc();
    Outcome::Drifted(seen.state, seen.amiss.as_deref().map(shortened).unwrap_or_default())
}

fn read_back(state: Desired, verification: Verification, unproven: Option<String>) -> Outcome {
    match unproven {
        Some(why) => Outcome::Unproven(state, shortened(&why)),
        None => Outcome::Observed(state, verification),
    }
}

fn shortened(message: &str) -> String {
    message.chars().take(ERROR_MAX).collect()
}

fn failed(failure: &Failure, trial: bool) -> Outcome {
    let message = shortened(&failure.message);
    match failure.kind {
        FailureKind::Permanent => Outcome::Permanent(message),
        // That the target is down was known before: whoever looks whether it is back pays no attempt for it.
        FailureKind::Retryable | FailureKind::Unknown if trial => Outcome::Waiting(message),
        FailureKind::Retryable | FailureKind::Unknown => Outcome::Retryable(message),
        FailureKind::Unfinished => Outcome::Unfinished(message),
        FailureKind::Waiting => Outcome::Waiting(message),
    }
}

impl Engine {
    /// Looks at every target of a tenant without changing anything, all at once, in order of their names. A target that
    /// is paused, or whose circuit is open, is not looked at. `asked` is the tenant's generation.
    pub async fn look(&self, tenant: &TenantRef, asked: u64) -> Vec<Look> {
        self.look_at_some(tenant, asked, |_| true).await
    }

    /// As [`look`](Self::look), at those targets alone that are `wanted`.
    pub async fn look_at_some(
        &self,
        tenant: &TenantRef,
        asked: u64,
        wanted: impl Fn(&TargetName) -> bool,
    ) -> Vec<Look> {
        let wanted = self.inner.targets.keys().filter(|target| wanted(target));
        join_all(wanted.map(|target| self.look_at(target, tenant, asked))).await
    }

    async fn look_at(&self, target: &TargetName, tenant: &TenantRef, asked: u64) -> Look {
        let look = tokio::time::timeout(self.inner.settings.attempt_max, self.see(target, tenant, asked));
        let seen = look.await.unwrap_or_else(|_| Ok(Err("did not answer in time".to_owned())));
        let failed = matches!(seen, Ok(Err(_)));
        let found = seen.unwrap_or_else(|left_alone| Err(left_alone.to_owned()));
        Look { target: target.clone(), found, failed }
    }

    /// What a target told; or why it was left alone.
    async fn see(
        &self,
        target: &TargetName,
        tenant: &TenantRef,
        asked: u64,
    ) -> Result<Result<Observed, String>, &'static str> {
        let inner: &Arc<Inner> = &self.inner;
        let paused = inner.view.snapshot().is_ok_and(|snapshot| snapshot.paused(target).is_some());
        let system = inner.targets.get(target).filter(|_| !paused).ok_or("is paused")?;
        let pass = system.gate.enter_if_closed().await;
        let pass = pass.ok_or("is left alone for now: it has not answered lately")?;
        let seen = system.participant.observe(tenant).await;
        pass.ended(tenant.uid, seen.is_ok());
        Ok(seen.and_then(|seen| believed(seen, asked)).map_err(|failure| {
            system.remember_error(target, &failure);
            failure.message
        }))
    }
}

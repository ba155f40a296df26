//! How an operation comes to be: asked for now or for later, or in place of one that is open.

use jiff::Timestamp;
use uuid::Uuid;

use super::{Details, Operation, PlaceChange, State, Step, TargetState, TierChange, generation_after};
use crate::domain::ids::{OperationId, Revision, TargetName, TenantId};
use crate::domain::lifecycle::{IllegalTransition, Status, Verb, desired_by, transition};
use crate::domain::tenant::Tenant;

/// Who asks for an operation, and why.
#[derive(Debug, Clone)]
pub struct Request {
    /// The new operation's id.
    pub operation_id: OperationId,
    /// What is asked for.
    pub verb: Verb,
    /// In the caller's words.
    pub reason: String,
    /// Who.
    pub actor: String,
    /// What the verb needs to know beside the tenant.
    pub details: Details,
    /// The bulk operation that it is part of.
    pub bulk_id: Option<OperationId>,
}

impl Operation {
    /// An operation that takes a tenant from its confirmed status to where the verb leads, over `targets`.
    ///
    /// # Errors
    ///
    /// Where the state machine has no such move.
    pub fn start(
        tenant: &Tenant,
        request: Request,
        targets: &[TargetName],
        generation: u64,
        now: Timestamp,
    ) -> Result<Self, IllegalTransition> {
        let to_status = transition(tenant.status, request.verb)?;
        let desired = desired_by(request.verb, to_status);
        let steps = targets.iter().map(|target| Step::pending(target.clone(), desired)).collect();
        Ok(Self { generation, steps, ..Self::fresh(whose(tenant), tenant.status, to_status, request, now) })
    }

    /// An operation that says that a tenant stays in the status that it is in. Nothing is to be done in any target: it has
    /// ended already.
    pub fn confirm(tenant: &Tenant, request: Request, now: Timestamp) -> Self {
        let stays = Self::fresh(whose(tenant), tenant.status, tenant.status, request, now);
        Self { generation: tenant.generation, state: State::Succeeded, finish_time: Some(now), ..stays }
    }

    /// An operation that begins at `at`. Whether the move is legal is decided then: much may happen before.
    pub fn schedule(tenant: &Tenant, request: Request, at: Timestamp, now: Timestamp) -> Self {
        let to_status = request.verb.leads_to(tenant.status);
        Self {
            state: State::Scheduled,
            schedule_time: Some(at),
            generation: tenant.generation,
            ..Self::fresh(whose(tenant), tenant.status, to_status, request, now)
        }
    }

    /// What is asked of the tenant by this operation, to be asked once more under the same id.
    pub fn request(&self) -> Request {
        Request {
            operation_id: self.operation_id,
            verb: self.verb,
            reason: self.reason.clone(),
            actor: self.actor.clone(),
            details: self.details.clone(),
            bulk_id: self.bulk_id,
        }
    }

    /// The operation that `begun` is, now that the time of this scheduled one has come.
    #[must_use]
    pub fn begun_as(&self, begun: Self) -> Self {
        Self { schedule_time: self.schedule_time, create_time: self.create_time, ..begun }
    }

    /// Whether it is a newer decision about the same thing than a scheduled operation that has not begun in time: it is under
    /// way, or done, and was asked for when the other was due already.
    pub fn overrules(&self, scheduled: &Self) -> bool {
        let counts = self.state.is_open() || self.state == State::Succeeded;
        let due =
            scheduled.schedule_time.map_or(scheduled.create_time, |time| time.max(scheduled.create_time));
        counts
            && self.verb.decides_over(scheduled.verb)
            && self.tenant_uid == scheduled.tenant_uid
            && self.create_time > due
    }

    /// What others wait for while it is open, for people.
    pub fn awaited(&self) -> String {
        let needs = if self.state == State::NeedsOperator { ", which needs an operator" } else { "" };
        format!("waits for operation {} ({}){needs}", self.operation_id, self.verb)
    }

    /// Ends a scheduled operation that could not begin when its time came.
    pub fn fail_to_begin(&mut self, why: String, now: Timestamp) {
        self.state = State::Failed;
        self.error = why;
        self.finish_time = Some(now);
        self.update_time = now;
    }

    /// A running operation that has no steps and no generation yet.
    fn fresh(
        (tenant_id, uid): (TenantId, Uuid),
        from_status: Status,
        to_status: Status,
        request: Request,
        now: Timestamp,
    ) -> Self {
        Self {
            operation_id: request.operation_id,
            tenant_id,
            tenant_uid: uid,
            verb: request.verb,
            from_status,
            to_status,
            state: State::Running,
            reason: request.reason,
            actor: request.actor,
            generation: 0,
            steps: Vec::new(),
            error: String::new(),
            backward: false,
            abort_reason: String::new(),
            schedule_time: None,
            details: request.details,
            bulk_id: request.bulk_id,
            create_time: now,
            update_time: now,
            finish_time: None,
            revision: Revision::ZERO,
        }
    }

    /// An operation that takes the tenant back to its confirmed status while `open` was leading away from it.
    /// `None` unless the verb leads there: only a reversal may take over. Past the point of no return nothing leads
    /// back.
    pub fn reversal(open: &Self, request: Request, now: Timestamp) -> Option<Self> {
        open.is_reversed_by(request.verb).then(|| Self::anew(open, request, open.from_status, now))
    }

    fn is_reversed_by(&self, verb: Verb) -> bool {
        // The verb must be legal from where the open operation leads, as if that had been reached.
        let leads_back = || transition(self.to_status, verb).is_ok_and(|status| status == self.from_status);
        !self.is_forward_only() && verb.moves() && leads_back()
    }

    /// An activation in place of a suspension that took an activation back. The tenant's confirmed status is the one before both,
    /// so this is the state machine's move from there, and leads back there where a target refuses. `None` in any other case.
    pub fn resumption(open: &Self, request: Request, now: Timestamp) -> Option<Self> {
        let to_status = open.resumed_by(request.verb)?;
        Some(Self::anew(open, request, to_status, now))
    }

    fn resumed_by(&self, verb: Verb) -> Option<Status> {
        let is_resumed = matches!((self.verb, verb), (Verb::Suspend, Verb::Activate));
        transition(self.from_status, verb).ok().filter(|_| is_resumed)
    }

    /// The same verb once more, where automatic retries have stopped: every target starts afresh under a new
    /// generation. It may lead elsewhere this time, to another tier or place; where it came from stays, should it be taken
    /// back. `None` in any other case.
    pub fn again(open: &Self, request: Request, now: Timestamp) -> Option<Self> {
        if !open.begins_anew_by(request.verb) {
            return None;
        }
        let mut details = request.details.clone();
        details.tier = match (details.tier, open.details.tier.clone()) {
            (Some(asked), Some(before)) => Some(TierChange { from: before.from, ..asked }),
            (asked, before) => before.or(asked),
        };
        details.place = match (details.place, open.details.place.clone()) {
            (Some(asked), Some(before)) if request.verb == Verb::StartMigration => {
                Some(PlaceChange { from: before.from, ..asked })
            }
            (asked, before) => before.or(asked),
        };
        Some(Self::anew(open, Request { details, ..request }, open.to_status, now))
    }

    fn begins_anew_by(&self, verb: Verb) -> bool {
        self.state == State::NeedsOperator && self.verb == verb && !self.backward
    }

    /// Any legal verb in place of a repair: whoever moves a tenant brings every target to a new state anyway.
    pub fn in_place_of_repair(open: &Self, request: Request, now: Timestamp) -> Option<Self> {
        if open.verb != Verb::Repair {
            return None;
        }
        let to_status = transition(open.from_status, request.verb).ok()?;
        Some(Self::anew(open, request, to_status, now))
    }

    /// A verb towards less access in place of an operation that leads to more, or keeps it: a tenant is denied at once,
    /// whatever its open operation waits for. The move is made from the confirmed status, so it is one of the state
    /// machine; the state before is still the same, should it be taken back. Past its point of no return a purge gives way
    /// to nothing, and the end of a migration to a suspension alone: targets may let the tenant in already. The migration
    /// counts as done then, and the state before is the one that it was to end in.
    pub fn denial(open: &Self, request: Request, now: Timestamp) -> Option<Self> {
        let (from_status, to_status) = open.denied_by(request.verb)?;
        Some(Self { from_status, ..Self::anew(open, request, to_status, now) })
    }

    /// From where to where a verb towards less access leads in its place.
    fn denied_by(&self, verb: Verb) -> Option<(Status, Status)> {
        let from_status = if self.gives_way_as_done(verb) {
            self.to_status
        } else if self.is_forward_only() || !verb.moves() {
            return None;
        } else {
            self.from_status
        };
        let to_status = transition(from_status, verb).ok()?;
        let denies = |status: Status| status.is_more_open_than(to_status);
        (denies(from_status) && denies(self.heading())).then_some((from_status, to_status))
    }

    /// The verbs that take over from it as it is now, of those that can be asked for, where it is no repair: that gives way to all
    /// that are legal.
    pub fn gives_way_to(&self) -> impl Iterator<Item = Verb> {
        let takes_over = |verb: Verb| {
            self.is_reversed_by(verb)
                || self.resumed_by(verb).is_some()
                || self.begins_anew_by(verb)
                || self.denied_by(verb).is_some()
        };
        let asked_for = |verb: &Verb| !matches!(verb, Verb::Provision | Verb::Purge);
        Verb::ALL.into_iter().filter(asked_for).filter(move |verb| takes_over(*verb))
    }

    /// Whether it cannot be taken back, and still ends where `verb` is asked for: as if it had been brought to its end.
    pub fn gives_way_as_done(&self, verb: Verb) -> bool {
        matches!((self.verb, verb), (Verb::FinishMigration { .. }, Verb::Suspend)) && self.is_forward_only()
    }

    fn anew(open: &Self, request: Request, to_status: Status, now: Timestamp) -> Self {
        let desired = desired_by(request.verb, to_status);
        let steps = open.steps.iter().map(|step| Step::pending(step.target.clone(), desired)).collect();
        let tenant = (open.tenant_id.clone(), open.tenant_uid);
        let generation = generation_after(open.generation);
        let mut anew =
            Self { generation, steps, ..Self::fresh(tenant, open.from_status, to_status, request, now) };
        anew.inherit_undecided(open.left_undecided().as_ref(), now);
        anew.inherit_adopted(open);
        anew
    }

    /// Goes without the targets that were named when it was asked for, before anything is tried there: one that refuses for good
    /// would have all of them brought back first. Answers the first that is none of it.
    pub fn go_without(&mut self) -> Option<TargetName> {
        for target in &self.details.wish.skip {
            let Some(step) = self.steps.iter_mut().find(|step| step.target == *target) else {
                return Some(target.clone());
            };
            step.state = TargetState::Skipped;
            step.skip_reason.clone_from(&self.reason);
        }
        None
    }

    /// Adds targets that were not there when the operation it took over from began.
    pub fn aim_at(&mut self, targets: &[TargetName]) {
        let desired = desired_by(self.verb, self.to_status);
        for target in targets {
            if let Err(place) = self.steps.binary_search_by(|step| step.target.cmp(target)) {
                self.steps.insert(place, Step::pending(target.clone(), desired));
            }
        }
    }

    /// Adds targets that may have something of the tenant and are not asked for anything, each with why.
    pub fn leave_unasked<'a>(&mut self, targets: impl Iterator<Item = (&'a TargetName, &'static str)>) {
        let desired = desired_by(self.verb, self.to_status);
        for (target, why) in targets {
            if let Err(place) = self.steps.binary_search_by(|step| step.target.cmp(target)) {
                let mut step = Step::pending(target.clone(), desired);
                step.state = TargetState::Skipped;
                why.clone_into(&mut step.skip_reason);
                self.steps.insert(place, step);
            }
        }
    }
}

fn whose(tenant: &Tenant) -> (TenantId, Uuid) {
    (tenant.tenant_id.clone(), tenant.uid)
}

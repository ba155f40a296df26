//! Asking for a change of a tenant's state, now or later: `suspend_tenant`, `activate_tenant`, `start_migration`,
//! `finish_migration`, `archive_tenant`, `delete_tenant`, `undelete_tenant`, `change_tier`.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::children;
use super::in_the_way::in_progress;
use super::missing::Elsewhere;
use super::older_bulks::{InOlderBulks, Known};
use super::operations::operation_at_hand;
use crate::cascade::Class;
use crate::domain::error::{Error, Reason};
use crate::domain::ids::{OperationId, TenantId};
use crate::domain::lifecycle::{Status, Toward, Verb, can_undelete, desired_by, toward, transition};
use crate::domain::operation::{
    Children, Details, GENERATION_MAX, Operation, PlaceChange, Request, TierChange, Wish, generation_after,
};
use crate::domain::tenant::Tenant;
use crate::services::change::Decision;
use crate::services::tenant_registry::{get_tenant, tier_not_found};
use crate::services::tiers::check_etag;
use crate::services::{Command, Registry, new_id};
use crate::store::background::database_time;
use crate::store::bulks::Begun;
use crate::store::log::{Change, Context};
use crate::store::operations::{Start, operation_schedule, operation_start};
use crate::view::{Record, Snapshot};

/// The longest time a verb may wait for the operation's end.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// By how much the time to begin may have passed: the caller's clock may be behind, and the call takes a while.
const PAST_MAX: SignedDuration = SignedDuration::from_mins(1);

/// A verb on a tenant.
#[derive(Debug, Clone)]
pub struct StartOperation {
    /// Which tenant.
    pub tenant_id: TenantId,
    /// What is asked for.
    pub verb: Verb,
    /// Why, in the caller's words.
    pub reason: String,
    /// Refuse if the tenant changed since.
    pub etag: Option<String>,
    /// How long to wait for the end.
    pub wait: Duration,
    /// When to begin; `None` for now.
    pub at: Option<Timestamp>,
    /// What is asked for beside the verb.
    pub wish: Wish,
    /// The bulk operation that it is part of.
    pub bulk_id: Option<OperationId>,
}

/// What is decided: the tenant and the operation as they will be, and the one that ends for it.
pub(super) struct Decided {
    pub(super) tenant: Tenant,
    pub(super) operation: Operation,
    pub(super) superseded: Option<Operation>,
    pub(super) children: Option<Begun>,
}

impl Registry {
    /// Opens or schedules the operation and, if asked to, waits for its end. A repeated request is answered with the
    /// same operation as it is now. Where it is only validated, each target is looked at and the plan says what would
    /// change there.
    pub async fn start_operation(
        &self,
        start: &StartOperation,
        command: &Command,
    ) -> Result<Operation, Error> {
        let operation_id = OperationId::from_uuid(new_id());
        self.check_at(start, command).await?;
        let mut waiting = if start.at.is_some() && command.validate_only {
            // As when its time comes.
            self.waiting_elsewhere(start.verb, &start.wish).await?
        } else {
            self.waiting_below(start.verb, &start.wish).await?
        };
        let mut operation = match self.open(start, operation_id, &waiting, command).await {
            Err(refusal) => {
                let refusal = self.naming_what_opens_later(start, refusal);
                waiting.insert(self.in_older_bulk(start, refusal).await?);
                self.open(start, operation_id, &waiting, command).await?
            }
            Ok(operation) => operation,
        };
        if command.validate_only {
            // Nobody can ask for what was not begun.
            operation.details.children_bulk = None;
            return Ok(operation);
        }
        if operation.operation_id == operation_id && operation.state.is_driven() {
            self.engine.started(operation_id, Class::First);
        }
        if operation.details.children_bulk.is_some() {
            self.bulk_news.notify_one();
        }
        Ok(self.wait_for_end(operation, start.wait).await)
    }

    /// Decides and makes the change that opens or schedules the operation.
    async fn open(
        &self,
        start: &StartOperation,
        operation_id: OperationId,
        waiting: &InOlderBulks,
        command: &Command,
    ) -> Result<Operation, Error> {
        let elsewhere = match start.at {
            // It is asked when it begins.
            Some(_) if !command.validate_only => Elsewhere::default(),
            _ => self.elsewhere(&start.tenant_id, start.verb).await?,
        };
        self.change(command, |snapshot, context| {
            let record = get_tenant(snapshot, &start.tenant_id)?;
            check_etag(start.etag.as_deref(), record.tenant.revision)?;
            let request = request(start, operation_id, &record.tenant, snapshot, context)?;
            let known = Known { snapshot, waiting, elsewhere: &elsewhere };
            if let Some(at) = start.at {
                if start.verb == Verb::Delete && record.tenant.status == Status::Archived {
                    check_times(&record.tenant, start.verb, at)?;
                }
                let mut operation = Operation::schedule(&record.tenant, request, at, context.now);
                if command.validate_only {
                    self.foresee(&mut operation, known, record, &Context { now: at, ..context.clone() })?;
                    // Nothing is made, and what would be refused is said of the newest that there is.
                    return Ok(Decision::Nothing(operation));
                }
                let change = operation_schedule(&operation, context);
                return Ok(Decision::Make(Box::new(change), operation));
            }
            let decided = self.decide(known, record, request, context)?;
            if decided.superseded.is_some() && !command.validate_only {
                // Also where the change is not made after all: a look too many does no harm.
                self.engine.expect_stragglers(&start.tenant_id);
            }
            let change = self.opening(record, &decided, false, context);
            Ok(Decision::Make(Box::new(change), decided.operation))
        })
        .await
    }

    /// Fills in what a scheduled operation would do if everything else were as it is now when its time comes, or why it would
    /// be refused then.
    fn foresee(
        &self,
        scheduled: &mut Operation,
        known: Known<'_>,
        record: &Record,
        then: &Context,
    ) -> Result<(), Error> {
        match self.decide(known, record, scheduled.request(), then) {
            Ok(decided) => scheduled.steps = decided.operation.steps,
            Err(error) if error.reason == Reason::Bug => return Err(error),
            Err(error) => {
                scheduled.aim_at(&self.targets);
                self.aim_elsewhere(scheduled, known.snapshot, known.elsewhere, &record.tenant);
                scheduled.error = format!("would be refused as things are now: {}", error.message);
            }
        }
        Ok(())
    }

    /// Refuses to schedule for a time that has passed by the database's clock, which decides what is due.
    async fn check_at(&self, start: &StartOperation, command: &Command) -> Result<(), Error> {
        let Some(at) = start.at else { return Ok(()) };
        let now = {
            let client = self.database.pooled().await?;
            database_time(&**client).await?
        };
        // What was asked for in time is answered as it was.
        if now.duration_since(at) <= PAST_MAX || self.answered::<Operation>(command).await?.is_some() {
            return Ok(());
        }
        Err(Error::field("at", "must not be in the past; leave it out to begin at once"))
    }

    /// The change that opens what was decided.
    pub(super) fn opening(
        &self,
        record: &Record,
        decided: &Decided,
        scheduled: bool,
        context: &Context,
    ) -> Change {
        let operation = &decided.operation;
        let less = toward(operation.from_status, operation.to_status) == Toward::LessAccess;
        let closes = less && operation.from_status != operation.to_status;
        operation_start(
            &Start {
                tenant: &decided.tenant,
                expected: record.tenant.revision,
                operation,
                scheduled,
                superseded: decided.superseded.as_ref(),
                deny: closes.then(|| desired_by(operation.verb, operation.to_status)),
                children: decided.children.as_ref(),
            },
            self.lease,
            context,
        )
    }

    /// What becomes of the tenant and who ends for it. Of tenants that are `waiting` in older bulk operations, those below that are
    /// where the verb leads follow too, and the tenant itself is said to stay there.
    pub(super) fn decide(
        &self,
        Known { snapshot, waiting, elsewhere }: Known<'_>,
        record: &Record,
        mut request: Request,
        context: &Context,
    ) -> Result<Decided, Error> {
        let mut tenant = record.tenant.clone();
        check_generation(&tenant)?;
        let to_status = request.verb.leads_to(tenant.status);
        let follow = match request.details.wish.children {
            Children::Ignore => None,
            Children::Block => {
                children::check(snapshot, &tenant.tenant_id, to_status)?;
                None
            }
            Children::Follow => children::follow(snapshot, &tenant.tenant_id, &request, waiting, context.now),
        };
        request.details.children_bulk = follow.as_ref().map(|begun| begun.bulk.bulk_id);
        let (mut operation, superseded) = match tenant.operation_id {
            None if confirms(&tenant, &request, follow.is_some(), waiting) => {
                check_retention(&tenant, &request, context)?;
                (Operation::confirm(&tenant, request, context.now), None)
            }
            None => {
                // The state machine speaks first: what is illegal for another reason is not yet its turn.
                transition(tenant.status, request.verb)?;
                check_times(&tenant, request.verb, context.now)?;
                let generation = generation_after(tenant.generation);
                (Operation::start(&tenant, request, &self.targets, generation, context.now)?, None)
            }
            Some(open_id) => {
                let open = operation_at_hand(snapshot, open_id).map_err(Error::bug)?;
                let verb = request.verb;
                let mut next = take_over(&open, &tenant, &request, context)?;
                check_times(&tenant, verb, context.now)?;
                // Steps are those of today: a system may have joined since.
                next.aim_at(&self.targets);
                let mut ended = (*open).clone();
                ended.supersede(next.operation_id, context.now);
                if open.gives_way_as_done(next.verb) {
                    tenant.end_migration(&open, context.now);
                    ended.error.push_str("; the migration counts as done");
                } else {
                    tenant.leave_migration(next.verb);
                }
                (next, Some(ended))
            }
        };
        if tenant.operation_id.is_none() {
            operation.inherit_undecided(tenant.undecided.as_deref(), context.now);
        }
        if operation.state.is_driven() {
            self.aim_elsewhere(&mut operation, snapshot, elsewhere, &tenant);
            if let Some(target) = operation.go_without() {
                return Err(Error::missing(
                    Reason::TargetNotFound,
                    "target in this operation with the name",
                    "target",
                    target,
                ));
            }
        }
        // Without any target it is done already. Only with the end of a purge the tenant goes: that is for the driver.
        if operation.verb != Verb::Purge {
            operation.settle(context.now);
        }
        tenant.follow(&operation, context.now);
        check_tier(snapshot, &tenant)?;
        Ok(Decided { tenant, operation, superseded, children: follow })
    }

    /// Waits until the engine has nothing more to do for an operation, at most `wait`; answers it as it is then. Where only
    /// paused targets are left, nothing comes of waiting: the answer says which they are.
    pub(super) async fn wait_for_end(&self, operation: Operation, wait: Duration) -> Operation {
        let (id, started) = (operation.operation_id, operation.revision);
        let newest = || {
            let snapshot = self.view.snapshot().ok()?;
            let found = snapshot.operations.get(&id).filter(|found| found.revision >= started)?;
            let waits = found.only_waits(|step| snapshot.paused(&step.target).is_some());
            Some((Arc::clone(found), waits))
        };
        let ended = async {
            let mut revisions = self.view.revisions();
            loop {
                revisions.borrow_and_update();
                if newest().is_some_and(|(operation, waits)| waits || !operation.state.is_driven())
                    || revisions.changed().await.is_err()
                {
                    return;
                }
            }
        };
        if !wait.is_zero() {
            // Too slow is no failure: the caller gets the running operation. Neither is a server that ends, which another
            // replica, or the next start, goes on for.
            let ended = self.drain.run_until_cancelled(ended);
            let _ = tokio::time::timeout(wait, ended).await;
        }
        newest().map_or(operation, |(operation, _)| (*operation).clone())
    }
}

/// What is asked of the tenant as it is.
fn request(
    start: &StartOperation,
    operation_id: OperationId,
    tenant: &Tenant,
    snapshot: &Snapshot,
    context: &Context,
) -> Result<Request, Error> {
    let details = details(&start.wish, start.verb, tenant, snapshot)?;
    Ok(Request {
        operation_id,
        verb: start.verb,
        reason: start.reason.clone(),
        actor: context.actor.clone(),
        details,
        bulk_id: start.bulk_id,
    })
}

/// What a wish means for a tenant as it is.
pub(super) fn details(
    wish: &Wish,
    verb: Verb,
    tenant: &Tenant,
    snapshot: &Snapshot,
) -> Result<Details, Error> {
    let mut details = Details { wish: wish.clone(), ..Details::default() };
    match (verb, &wish.to, &wish.tier) {
        (Verb::StartMigration, Some(to), _) => {
            let from = tenant.place();
            let mut place = to.clone();
            if place.region.is_empty() {
                place.region.clone_from(&from.region);
            }
            if place == from {
                return Err(Error::field("to_region", "must lead to another place than the tenant is in"));
            }
            details.place = Some(PlaceChange { from, to: place });
        }
        (Verb::FinishMigration { .. }, Some(home), _) => {
            details.place = Some(PlaceChange { from: home.clone(), to: home.clone() });
        }
        (Verb::FinishMigration { .. }, None, _) => details.place = tenant.migration().cloned(),
        (Verb::ChangeTier, _, Some(to)) => {
            if !snapshot.tiers.contains_key(to) {
                return Err(tier_not_found(to));
            }
            // To the tier that it is on already: targets take over limits that were changed since.
            details.tier = Some(TierChange { from: tenant.profile.tier.clone(), to: to.clone() });
        }
        _ => {}
    }
    Ok(details)
}

/// Whether a verb finds the tenant where it leads, and yet decides something: that it stays there, while a bulk operation is about
/// to take it elsewhere; that those below follow; or for how long its data is kept.
fn confirms(tenant: &Tenant, request: &Request, follow: bool, waiting: &InOlderBulks) -> bool {
    let Request { verb, details, .. } = request;
    let is_there = verb.leads_to(tenant.status) == tenant.status;
    let keeps = *verb == Verb::Archive && details.wish.retention_seconds.is_some();
    let leads = matches!(verb, Verb::Activate | Verb::Suspend | Verb::Archive | Verb::Delete);
    waiting.contains(&tenant.uid) && verb.can_confirm(tenant.status) || is_there && (leads && follow || keeps)
}

/// Refuses to keep an archived tenant's data for less long than was asked for before, unless that is meant.
fn check_retention(tenant: &Tenant, request: &Request, context: &Context) -> Result<(), Error> {
    let wish = &request.details.wish;
    let (Some(seconds), Some(now)) = (wish.retention_seconds, tenant.retain_time.as_deref()) else {
        return Ok(());
    };
    let until = context.now.checked_add(SignedDuration::from_secs(seconds));
    if request.verb != Verb::Archive || wish.shortens || until.is_ok_and(|until| until >= *now) {
        return Ok(());
    }
    let why = format!(
        "the tenant's data is kept until {now}, and that would end earlier: say `shorten_retention` where that is meant \
         (`tenantry tenant archive {} --retention-days DAYS --shorten-retention`)",
        tenant.tenant_id
    );
    Err(Error::new(Reason::RetentionNotOver, why).with("retain_time", now))
}

/// Refuses where no generation is left: no target would take another change. Only by hand a number gets so high.
fn check_generation(tenant: &Tenant) -> Result<(), Error> {
    if tenant.generation < GENERATION_MAX {
        return Ok(());
    }
    let why = format!(
        "tenant \"{}\" is at generation {}, beyond which no target can be asked for anything: an operator has to correct it",
        tenant.tenant_id, tenant.generation
    );
    let spent = Error::new(Reason::IllegalTransition, why).with("tenant_id", &tenant.tenant_id);
    Err(spent.with("generation", tenant.generation))
}

/// Refuses where the tenant would be on a tier that does not exist. The service lets nobody take a tier away from under a
/// tenant, but a database can have been changed by hand.
pub(super) fn check_tier(snapshot: &Snapshot, tenant: &Tenant) -> Result<(), Error> {
    let tier_id = &tenant.profile.tier;
    if snapshot.tiers.contains_key(tier_id) {
        return Ok(());
    }
    let why = format!(
        "tenant \"{}\" is on tier \"{tier_id}\", which does not exist: create that tier, or change the tenant's tier",
        tenant.tenant_id
    );
    let missing = Error::new(Reason::TierNotFound, why).with("tier_id", tier_id);
    Err(snapshot.missing("tier", tier_id.as_str(), missing.with("tenant_id", &tenant.tenant_id)))
}

/// The operation that takes over from an open one.
fn take_over(
    open: &Operation,
    tenant: &Tenant,
    request: &Request,
    context: &Context,
) -> Result<Operation, Error> {
    let mut back = request.clone();
    if matches!(back.verb, Verb::FinishMigration { .. }) && back.details.place.is_some() {
        // The migration that it takes back has not begun anywhere: the tenant stays where it is.
        back.details.place = Some(PlaceChange { from: tenant.place(), to: tenant.place() });
    }
    Operation::reversal(open, back, context.now)
        .or_else(|| Operation::resumption(open, request.clone(), context.now))
        .or_else(|| Operation::again(open, request.clone(), context.now))
        .or_else(|| Operation::in_place_of_repair(open, request.clone(), context.now))
        .or_else(|| Operation::denial(open, request.clone(), context.now))
        .ok_or_else(|| {
            // After a repair the tenant is what it was: what is illegal then need not wait for its end.
            let illegal = transition(tenant.status, request.verb).err().filter(|_| open.verb == Verb::Repair);
            illegal.map_or_else(|| in_progress(open), Error::from)
        })
}

/// Refuses what a time forbids, where the verb begins at `begin`.
pub(super) fn check_times(tenant: &Tenant, verb: Verb, begin: Timestamp) -> Result<(), Error> {
    match (verb, tenant.purge_time.as_deref().copied(), tenant.retain_time.as_deref().copied()) {
        (Verb::Undelete, Some(purge_time), _) if !can_undelete(begin, purge_time) => Err(Error::new(
            Reason::PurgeTimePassed,
            format!("the tenant could be undeleted until {purge_time}"),
        )
        .with("purge_time", purge_time)),
        (Verb::Delete, _, Some(retain_time)) if begin < retain_time => Err(Error::new(
            Reason::RetentionNotOver,
            format!(
                "the tenant's data must be kept until {retain_time}; what shortens that is `tenantry tenant archive {} \
                 --retention-days DAYS --shorten-retention`",
                tenant.tenant_id
            ),
        )
        .with("retain_time", retain_time)),
        _ => Ok(()),
    }
}

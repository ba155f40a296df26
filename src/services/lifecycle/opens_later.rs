//! What is scheduled to give access to tenants that somebody asks to keep out, and that are out already (docs/adr/0024). Asking
//! for less access leaves it; so whoever asks is told.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::domain::error::{Error, Reason};
use crate::domain::lifecycle::{Status, Verb, transition};
use crate::domain::operation::{Operation, State};
use crate::domain::tenant::Tenant;
use crate::services::{Registry, StartOperation};
use crate::view::Snapshot;

/// The scheduled operations of all tenants, by the tenant's uid.
pub(super) struct Scheduled<'a>(HashMap<Uuid, Vec<&'a Arc<Operation>>>);

impl<'a> Scheduled<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let mut by_tenant: HashMap<Uuid, Vec<&Arc<Operation>>> = HashMap::new();
        for operation in snapshot.operations.values().filter(|it| it.state == State::Scheduled) {
            by_tenant.entry(operation.tenant_uid).or_default().push(operation);
        }
        Self(by_tenant)
    }

    /// The first that leads a tenant, from where it is or is being brought, to more access than a verb that closes leaves to
    /// it. `None` where the tenant has more than that as it is: what the verb is refused for then is another matter.
    pub(super) fn opens(
        &self,
        snapshot: &Snapshot,
        tenant: &Tenant,
        verb: Verb,
    ) -> Option<(&'a Arc<Operation>, Status)> {
        let open = snapshot.open_operation(&tenant.tenant_id);
        let is = open.map_or(tenant.status, |open| open.heading());
        let closed = verb.leads_to(is);
        if !verb.closes() || is.is_more_open_than(closed) {
            return None;
        }
        let scheduled = self.0.get(&tenant.uid).into_iter().flatten();
        let opening = scheduled.filter_map(|operation| {
            let to = transition(is, operation.verb).ok()?;
            to.is_more_open_than(closed).then_some((*operation, to))
        });
        opening.min_by_key(|(operation, _)| operation.schedule_time)
    }
}

/// What it is and how it is taken back, for people.
pub(super) fn told((operation, to): (&Operation, Status)) -> String {
    let (id, verb) = (operation.operation_id, operation.verb);
    let time = operation.schedule_time.map_or_else(String::new, |time| format!(" for {time}"));
    format!("operation {id} ({verb}) is scheduled{time}, to {to}: `tenantry operation abort {id}`")
}

impl Registry {
    /// A refusal; of a verb that is to keep a tenant out, with what is scheduled to let it in.
    pub(super) fn naming_what_opens_later(&self, start: &StartOperation, refusal: Error) -> Error {
        let is_there = start.verb.closes()
            && matches!(refusal.reason, Reason::IllegalTransition | Reason::OperationInProgress);
        let Some(snapshot) = self.view.snapshot().ok().filter(|_| is_there) else { return refusal };
        let Some(record) = snapshot.tenant(&start.tenant_id) else { return refusal };
        let opening = Scheduled::of(&snapshot).opens(&snapshot, &record.tenant, start.verb);
        let Some((operation, to)) = opening else { return refusal };
        let message = format!("{}; {}", refusal.message, told((operation, to)));
        let named = Error { message, ..refusal }
            .with("scheduled_operation_id", operation.operation_id)
            .with("scheduled_verb", operation.verb);
        match operation.schedule_time {
            Some(time) => named.with("schedule_time", time),
            None => named,
        }
    }
}

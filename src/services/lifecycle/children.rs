//! The tenants below one that moves.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::older_bulks::InOlderBulks;
use super::opens_later::{Scheduled, told};
use super::start::check_times;
use crate::domain::bulk::{Bulk, Item, ItemState};
use crate::domain::error::{Error, Reason};
use crate::domain::ids::{OperationId, TenantId};
use crate::domain::lifecycle::{Status, Verb, transition};
use crate::domain::operation::{Children, Operation, Request, Wish};
use crate::domain::tenant::Tenant;
use crate::services::{Registry, new_id};
use crate::store::bulks::Begun;
use crate::view::{Record, Snapshot};

/// How many tenants that are in the way an error names.
const NAMED_MAX: usize = 5;

/// Every tenant below one, nearest first.
fn below<'a>(snapshot: &'a Snapshot, tenant_id: &TenantId) -> Vec<&'a Arc<Record>> {
    let mut by_parent: BTreeMap<&TenantId, Vec<&Arc<Record>>> = BTreeMap::new();
    for record in snapshot.tenants.values() {
        if let Some(parent) = &record.tenant.profile.parent {
            by_parent.entry(parent).or_default().push(record);
        }
    }
    let mut found: Vec<&Arc<Record>> = by_parent.remove(tenant_id).unwrap_or_default();
    let mut next = 0;
    // Each parent's list is taken once, so this ends whatever the parents are.
    while let Some(record) = found.get(next) {
        let children = by_parent.remove(&record.tenant.tenant_id).unwrap_or_default();
        found.extend(children);
        next += 1;
    }
    found
}

/// Refuses where a tenant below has more access than the state that is asked for.
pub(super) fn check(snapshot: &Snapshot, tenant_id: &TenantId, to: Status) -> Result<(), Error> {
    let in_the_way: Vec<&str> = below(snapshot, tenant_id)
        .into_iter()
        .filter(|record| record.tenant.status.is_more_open_than(to))
        .map(|record| record.tenant.tenant_id.as_str())
        .collect();
    if in_the_way.is_empty() {
        return Ok(());
    }
    let named = in_the_way[..in_the_way.len().min(NAMED_MAX)].join(",");
    let (tenants, have) = if in_the_way.len() == 1 { ("tenant", "has") } else { ("tenants", "have") };
    Err(Error::new(
        Reason::ChildrenInTheWay,
        format!("{} {tenants} below it {have} more access than {to} grants: {named}", in_the_way.len()),
    )
    .with("children", named)
    .with("count", in_the_way.len()))
}

/// The bulk operation in which the tenants below follow; `None` where none of them is meant.
pub(super) fn follow(
    snapshot: &Snapshot,
    tenant_id: &TenantId,
    request: &Request,
    waiting: &InOlderBulks,
    now: Timestamp,
) -> Option<Begun> {
    let items = followers(snapshot, tenant_id, request.verb, waiting, now);
    let mut bulk = Bulk {
        parent: Some(tenant_id.clone()),
        // Those below are all in it: none of them has anyone to take along. And what one goes without is said of it alone.
        wish: Wish { children: Children::Ignore, skip: Vec::new(), ..request.details.wish.clone() },
        reason: request.reason.clone(),
        actor: request.actor.clone(),
        ..Bulk::new(OperationId::from_uuid(new_id()), request.verb, items.len(), now)
    };
    bulk.settle(&items, now);
    (!items.is_empty()).then_some(Begun { bulk, items })
}

/// The part of each tenant below in a verb that begins at `begin`, nearest first, but of those that it is not meant for.
fn followers(
    snapshot: &Snapshot,
    tenant_id: &TenantId,
    verb: Verb,
    waiting: &InOlderBulks,
    begin: Timestamp,
) -> Vec<Item> {
    let asked = OnMany { snapshot, verb, begin, waiting, scheduled: Scheduled::of(snapshot) };
    below(snapshot, tenant_id).into_iter().filter_map(|record| item(&asked, &record.tenant)).collect()
}

impl Registry {
    /// Who would follow a plan, nearest first; nobody unless children are to.
    ///
    /// # Errors
    ///
    /// When the database cannot be asked who waits in older bulk operations.
    pub async fn followers(&self, plan: &Operation) -> Result<Vec<Item>, Error> {
        let wish = &plan.details.wish;
        if wish.children != Children::Follow {
            return Ok(Vec::new());
        }
        let waiting = self.waiting_below(plan.verb, wish).await?;
        let begin = plan.schedule_time.unwrap_or(plan.create_time);
        Ok(followers(&*self.view.snapshot()?, &plan.tenant_id, plan.verb, &waiting, begin))
    }
}

/// A verb that is asked of many tenants.
pub(super) struct OnMany<'a> {
    /// All that this replica has seen.
    pub(super) snapshot: &'a Snapshot,
    /// What is asked of each.
    pub(super) verb: Verb,
    /// When.
    pub(super) begin: Timestamp,
    /// Who waits in older bulk operations that lead elsewhere.
    pub(super) waiting: &'a InOlderBulks,
    /// What is scheduled.
    pub(super) scheduled: Scheduled<'a>,
}

/// A tenant's part in a verb on many tenants; `None` where that is not meant for it. Whoever keeps more access than the verb is to
/// leave it, and cannot take the verb, has failed already: so it does not leave an older bulk operation either, which may be
/// about to lock it out. So has whoever is where a verb that closes leads, and is scheduled to leave it, and whoever a time forbids
/// the verb at `begin`.
pub(super) fn item(asked: &OnMany<'_>, tenant: &Tenant) -> Option<Item> {
    let &OnMany { snapshot, verb, begin, waiting, ref scheduled } = asked;
    let refusal =
        transition(tenant.status, verb).err().filter(|_| !is_moved(snapshot, tenant, verb, waiting));
    let stays_open = verb.closes() && tenant.status.is_more_open_than(verb.leads_to(tenant.status));
    let error = match refusal {
        None => check_times(tenant, verb, begin).err().map(|refusal| refusal.message),
        Some(refusal) if stays_open => Some(refusal.to_string()),
        Some(_) => Some(opens_again(snapshot, tenant, verb, scheduled)?),
    };
    Some(Item {
        tenant_id: tenant.tenant_id.clone(),
        tenant_uid: tenant.uid,
        state: if error.is_some() { ItemState::Failed } else { ItemState::Waiting },
        operation_id: None,
        error: error.unwrap_or_default(),
        overruled: None,
        is_blocked: false,
    })
}

/// That a tenant is where a verb that closes leads, and what is scheduled to take it from there; `None` where nothing is.
pub(super) fn opens_again(
    snapshot: &Snapshot,
    tenant: &Tenant,
    verb: Verb,
    scheduled: &Scheduled<'_>,
) -> Option<String> {
    let (operation, to) = scheduled.opens(snapshot, tenant, verb)?;
    Some(format!("is {}, and {}", tenant.status, told((operation, to))))
}

/// Whether a verb on many tenants comes to its end at one: it can take the verb, or its open operation leads where a verb that
/// closes does, or it is where the verb leads and waits in an older bulk operation that is about to take it elsewhere. There it
/// leaves that one, and has arrived at its turn.
fn is_moved(snapshot: &Snapshot, tenant: &Tenant, verb: Verb, waiting: &InOlderBulks) -> bool {
    let to = verb.leads_to(tenant.status);
    let open = snapshot.open_operation(&tenant.tenant_id);
    let on_its_way = open.is_some_and(|open| open.heading() == to && tenant.status.is_more_open_than(to));
    can_take(snapshot, tenant, verb)
        || verb.closes() && on_its_way
        || verb.moves() && to == tenant.status && waiting.contains(&tenant.uid)
}

/// Whether a tenant can take a verb: in the status that it is in, or in the one that its open operation leads to. There the
/// verb takes over from that operation, or waits for its end.
fn can_take(snapshot: &Snapshot, tenant: &Tenant, verb: Verb) -> bool {
    let open = snapshot.open_operation(&tenant.tenant_id);
    let soon = open.map(|open| open.heading());
    [Some(tenant.status), soon].into_iter().flatten().any(|status| transition(status, verb).is_ok())
}

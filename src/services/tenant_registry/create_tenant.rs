//! Making tenants.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::task::unconstrained;
use uuid::Uuid;

use super::{Shown, check_parent, tier_not_found};
use crate::cascade::Class;
use crate::config::targets::Target;
use crate::domain::error::{Error, Reason};
use crate::domain::ids::{OperationId, TenantId};
use crate::domain::lifecycle::Verb;
use crate::domain::operation::{Details, Operation, Request};
use crate::domain::tenant::{NewTenant, Tenant};
use crate::domain::violation::Violation;
use crate::services::change::Decision;
use crate::services::{Command, Registry, new_id};
use crate::store::log::Context;
use crate::store::tenants;
use crate::view::Snapshot;

/// Most tenants in one batch.
pub const BATCH_MAX: usize = 1_000;
/// How many items of a batch are under way at once: as many as the writer combines into one transaction, twice, so
/// that one batch gathers while the other commits.
const CONCURRENT_MAX: usize = 256;

/// What the server makes of its own accord; the same however often it has to decide.
#[derive(Clone, Copy)]
struct Ids {
    uid: Uuid,
    operation_id: OperationId,
}

impl Registry {
    /// Makes a tenant. With target systems it starts as PROVISIONING, and an operation makes it ACTIVE; without any it
    /// is ACTIVE at once.
    pub async fn create_tenant(&self, new: NewTenant, command: &Command) -> Result<Shown, Error> {
        self.create(&new, command, Class::First, false).await
    }

    async fn create(
        &self,
        new: &NewTenant,
        command: &Command,
        class: Class,
        parent_is_coming: bool,
    ) -> Result<Shown, Error> {
        let parent_is_coming = AtomicBool::new(parent_is_coming);
        let ids = Ids { uid: new_id(), operation_id: OperationId::from_uuid(new_id()) };
        let shown = self
            .change(command, |snapshot, context| {
                // Believed once: if the change is decided again, it did not come.
                if !parent_is_coming.swap(false, Ordering::Relaxed) {
                    check_parent(snapshot, new.profile.parent.as_ref(), &new.tenant_id)?;
                }
                let (tenant, operation) = self.decide_create(snapshot, new, ids, context)?;
                let shown =
                    Shown { tier: snapshot.tiers.get(&tenant.profile.tier).cloned(), tenant, health: None };
                let change =
                    tenants::tenant_create(&shown.tenant, operation.as_ref(), self.lease, context, &shown);
                Ok(Decision::Make(Box::new(change), shown))
            })
            .await?;
        if let Some(operation_id) = shown.tenant.operation_id
            && !command.validate_only
        {
            self.engine.started(operation_id, class);
        }
        Ok(shown)
    }

    fn decide_create(
        &self,
        snapshot: &Snapshot,
        new: &NewTenant,
        Ids { uid, operation_id }: Ids,
        context: &Context,
    ) -> Result<(Tenant, Option<Operation>), Error> {
        if snapshot.tenants.contains_key(&new.tenant_id) {
            return Err(tenant_exists(&new.tenant_id));
        }
        if snapshot.flags.has_set(new.tenant_id.as_str()) {
            let why = "must not be the name of a flag set; clients select both by flagSetId";
            return Err(Error::field("tenant.tenant_id", why));
        }
        if !snapshot.tiers.contains_key(&new.profile.tier) {
            return Err(tier_not_found(&new.profile.tier));
        }
        let mut tenant = Tenant::provisioning(
            new.tenant_id.clone(),
            uid,
            new.profile.clone(),
            context.actor.as_str().into(),
            context.now,
        );
        tenant.resource_names = new.resource_names.complete(&new.tenant_id, uid);
        self.check_bucket(&new.resource_names.bucket)?;
        check_names(snapshot, &tenant)?;
        let request = Request {
            operation_id,
            verb: Verb::Provision,
            reason: String::new(),
            actor: context.actor.clone(),
            details: Details::default(),
            bulk_id: None,
        };
        let mut operation =
            Operation::start(&tenant, request, &self.targets, tenant.generation, context.now)?;
        // Whoever is ACTIVE is so everywhere: a target that only other replicas have counts as well.
        operation.aim_at(&self.missing_targets(snapshot));
        operation.settle(context.now);
        tenant.follow(&operation, context.now);
        let operation = operation.state.is_open().then_some(operation);
        Ok((tenant, operation))
    }

    /// A bucket that is one tenant's alone at some target, or full of records, is nobody's to share. Of whatever store: one has
    /// several addresses, and there are other names. The target refuses it too, where replicas have other settings.
    fn check_bucket(&self, chosen: &str) -> Result<(), Error> {
        let own = self.settings.targets.iter().filter_map(|(target, settings)| match settings {
            Target::S3(settings) => Some((target, settings.layout.own()?)),
            _ => None,
        });
        match own.into_iter().find(|(_, own)| own.iter().any(|names| names.has(chosen))) {
            None => Ok(()),
            Some((target, [names, records])) => Err(Error::field(
                "tenant.resource_names.bucket",
                format!(
                    "must not be a bucket that the target {target} has for itself ({names} for each tenant, {records} for \
                     records): choose another, or leave it empty"
                ),
            )),
        }
    }

    /// Makes many tenants, each on its own, parents before their children. One result an item, in order.
    ///
    /// The writer makes changes in the order in which they are asked for, so a child need not wait until its parent is
    /// seen: its statement finds the parent, made a moment before in the same transaction. Where that does not come true,
    /// or nothing is made, it is looked at again once it is known what became of the parent.
    pub async fn batch_create_tenants(
        &self,
        items: Vec<Result<(NewTenant, Command), Error>>,
    ) -> Vec<Result<Shown, Error>> {
        let batch =
            Batch::of(&items.iter().map(|item| item.as_ref().ok().map(|(new, _)| new)).collect::<Vec<_>>());
        let (mut results, mut good) = (BTreeMap::new(), BTreeMap::new());
        for (place, item) in items.into_iter().enumerate() {
            match item {
                Ok(item) => drop(good.insert(place, item)),
                Err(error) => drop(results.insert(place, Err(error))),
            }
        }
        let asked: Vec<_> = batch.order.iter().filter_map(|place| Some((*place, good.get(place)?))).collect();
        let mut making = Vec::with_capacity(asked.len());
        for (place, (new, command)) in asked.iter().copied() {
            let made = self.create(new, command, Class::Second, batch.makers.contains_key(&place));
            // Asked for in the order in which they are polled first: none may be put off for the sake of other tasks.
            making.push(unconstrained(async move { (place, made.await) }));
        }
        let making = stream::iter(making).buffer_unordered(CONCURRENT_MAX);
        results.extend(making.collect::<Vec<_>>().await);
        for (place, (new, command)) in asked {
            let Some(maker) = batch.makers.get(&place) else { continue };
            let parent_made = results.get(maker).is_some_and(Result::is_ok);
            let again = match results.get(&place) {
                Some(Ok(_)) => command.validate_only && !parent_made,
                Some(Err(error)) => error.reason == Reason::ParentNotFound && parent_made,
                None => false,
            };
            if again {
                results.insert(place, self.create(new, command, Class::Second, false).await);
            }
        }
        for place in &batch.circle {
            let Some((new, _)) = good.get(place) else { continue };
            if let Some(result @ Err(Error { reason: Reason::ParentNotFound, .. })) = results.get_mut(place) {
                *result = Err(in_a_circle(new));
            }
        }
        // What was only tried left no trace: an id that an earlier item takes is not free any more.
        let mut taken = HashSet::new();
        for (place, (new, command)) in &good {
            let Some(result) = results.get_mut(place).filter(|result| result.is_ok()) else { continue };
            if !taken.insert(&new.tenant_id) && command.validate_only {
                *result = Err(tenant_exists(&new.tenant_id));
            }
        }
        results.into_values().collect()
    }
}

fn tenant_exists(tenant_id: &TenantId) -> Error {
    Error::exists(Reason::TenantExists, "tenant", "tenant_id", tenant_id)
}

fn in_a_circle(new: &NewTenant) -> Error {
    let parent = new.profile.parent.as_ref().map_or("", |parent| parent.as_str());
    let why = format!(
        "tenant \"{parent}\" cannot be the parent: in this batch it stands below \"{}\", so neither can be made first",
        new.tenant_id
    );
    Error::new(Reason::ParentCycle, why).with("tenant_id", &new.tenant_id).with("parent", parent)
}

/// In which order the items of a batch are made.
struct Batch {
    /// Their places, parents before children.
    order: Vec<usize>,
    /// Of each item whose parent is made by an earlier one: which.
    makers: HashMap<usize, usize>,
    /// Items that stand below themselves.
    circle: Vec<usize>,
}

impl Batch {
    fn of(items: &[Option<&NewTenant>]) -> Self {
        let turns = turns(items);
        let mut order: Vec<_> = (0..items.len()).collect();
        order.sort_by_key(|place| turns[*place]);
        let all = makers(items);
        let maker = |place: usize| {
            let maker = *all.get(items[place]?.profile.parent.as_ref()?)?;
            (turns[maker] < turns[place]).then_some((place, maker))
        };
        let parent = |place: usize| all.get(items[place]?.profile.parent.as_ref()?).copied();
        // Along its parents, each item is met at most once before one of a circle comes again.
        let is_met_again = |place: &usize| {
            std::iter::successors(parent(*place), |next| parent(*next))
                .take(items.len())
                .any(|above| above == *place)
        };
        let circle = (0..items.len()).filter(is_met_again).collect();
        Self { makers: (0..items.len()).filter_map(maker).collect(), order, circle }
    }
}

/// The item that makes each tenant: the first of those with its id.
fn makers<'a>(items: &[Option<&'a NewTenant>]) -> HashMap<&'a TenantId, usize> {
    let mut makers = HashMap::new();
    for (place, new) in items.iter().enumerate() {
        if let Some(new) = new {
            makers.entry(&new.tenant_id).or_insert(place);
        }
    }
    makers
}

/// When each item of a batch is made: behind the item that makes its parent, and behind an earlier one of the same id, so
/// that the first of two gets it. Parents in a circle wait for nobody, and are refused.
fn turns(items: &[Option<&NewTenant>]) -> Vec<usize> {
    let makers = makers(items);
    let parent = |place: usize| makers.get(items[place]?.profile.parent.as_ref()?).copied();
    let above =
        |place: usize| std::iter::successors(parent(place), |next| parent(*next)).take(items.len()).count();
    let depth = |place: usize| Some(above(place)).filter(|depth| *depth < items.len()).unwrap_or_default();
    let mut last: HashMap<&TenantId, usize> = HashMap::new();
    let mut turns = Vec::with_capacity(items.len());
    for (place, new) in items.iter().enumerate() {
        let mut turn = depth(place);
        if let Some(new) = new {
            turn = last.get(&new.tenant_id).map_or(turn, |before| turn.max(before + 1));
            last.insert(&new.tenant_id, turn);
        }
        turns.push(turn);
    }
    turns
}

/// Whose names they are is not told: the caller need not be allowed to see that tenant.
fn check_names(snapshot: &Snapshot, new: &Tenant) -> Result<(), Error> {
    let taken = snapshot.names_taken(new);
    let Some(first) = taken.first() else { return Ok(()) };
    let why = "another tenant has this name, or a prefix that contains it or lies in it";
    let violations = taken.iter().map(|claim| Violation::new(claim.kind.field(), why)).collect();
    Err(Error::invalid(Reason::ResourceNameTaken, violations)
        .with("resource_name", &first.name)
        .within("tenant."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::TierId;
    use crate::domain::tenant::{ChosenNames, Profile};

    fn new(tenant_id: &str, parent: &str) -> NewTenant {
        let mut profile = Profile::minimal(tenant_id, TierId::parse("gold").unwrap());
        profile.parent = TenantId::parse(parent).ok();
        let tenant_id = TenantId::parse(tenant_id).unwrap();
        NewTenant { tenant_id, profile, resource_names: ChosenNames::default() }
    }

    fn turns_of(items: &[(&str, &str)]) -> Vec<usize> {
        let items: Vec<_> = items.iter().map(|(id, parent)| new(id, parent)).collect();
        turns(&items.iter().map(Some).collect::<Vec<_>>())
    }

    #[test]
    fn a_batch_makes_parents_before_their_children_wherever_they_stand() {
        assert_eq!(turns_of(&[("c", "b"), ("b", "a"), ("a", "elsewhere"), ("d", "a")]), [2, 1, 0, 1]);
    }

    #[test]
    fn of_two_items_with_one_id_the_first_is_made_first() {
        assert_eq!(turns_of(&[("a", "p"), ("a", ""), ("p", "")]), [1, 2, 0]);
    }

    #[test]
    fn parents_in_a_circle_wait_for_nobody() {
        assert_eq!(turns_of(&[("a", "b"), ("b", "a"), ("self", "self")]), [0, 0, 0]);
        assert_eq!(turns(&[None]), [0]);
        let items: Vec<_> = [("c", "a"), ("a", "b"), ("b", "a"), ("d", "elsewhere"), ("self", "self")]
            .iter()
            .map(|(id, parent)| new(id, parent))
            .collect();
        // One that stands below a circle is not in it.
        assert_eq!(Batch::of(&items.iter().map(Some).collect::<Vec<_>>()).circle, [1, 2, 4]);
    }
}

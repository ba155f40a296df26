//! Making tenants.

use futures_util::StreamExt as _;
use futures_util::stream;
use uuid::Uuid;

use super::{Shown, check_parent, tier_not_found};
use crate::domain::error::{Error, Reason};
use crate::domain::ids::OperationId;
use crate::domain::lifecycle::Verb;
use crate::domain::operation::{Details, Operation, Request};
use crate::domain::tenant::{NewTenant, Tenant};
use crate::domain::violation::Violation;
use crate::services::change::Decision;
use crate::services::{Command, Registry};
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
        let ids = Ids { uid: Uuid::now_v7(), operation_id: OperationId::from_uuid(Uuid::now_v7()) };
        let shown = self
            .change(command, |snapshot, context| {
                let (tenant, operation) = self.decide_create(snapshot, &new, ids, context)?;
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
            self.engine.started(operation_id);
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
            return Err(Error::exists(Reason::TenantExists, "tenant", "tenant_id", &new.tenant_id));
        }
        if snapshot.flags.has_set(new.tenant_id.as_str()) {
            let why = "must not be the name of a flag set; clients select both by flagSetId";
            return Err(Error::field("tenant.tenant_id", why));
        }
        if !snapshot.tiers.contains_key(&new.profile.tier) {
            return Err(tier_not_found(&new.profile.tier));
        }
        check_parent(snapshot, new.profile.parent.as_ref(), &new.tenant_id)?;
        let mut tenant = Tenant::provisioning(
            new.tenant_id.clone(),
            uid,
            new.profile.clone(),
            context.actor.as_str().into(),
            context.now,
        );
        tenant.resource_names = new.resource_names.complete(&new.tenant_id, uid);
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
        operation.settle(context.now);
        tenant.follow(&operation, context.now);
        let operation = operation.state.is_open().then_some(operation);
        Ok((tenant, operation))
    }

    /// Makes many tenants, each on its own. One result an item, in order.
    pub async fn batch_create_tenants(
        &self,
        items: Vec<Result<(NewTenant, Command), Error>>,
    ) -> Vec<Result<Shown, Error>> {
        stream::iter(items)
            .map(|item| async {
                let (new, command) = item?;
                self.create_tenant(new, &command).await
            })
            .buffered(CONCURRENT_MAX)
            .collect()
            .await
    }
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

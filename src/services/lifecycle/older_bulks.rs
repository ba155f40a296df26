//! Bulk operations in which tenants still wait when something newer is asked for (docs/adr/0024).

use std::collections::HashSet;
use std::time::Duration;

use uuid::Uuid;

use super::missing::Elsewhere;
use crate::domain::error::{Error, Reason};
use crate::domain::lifecycle::Verb;
use crate::domain::operation::{Children, Wish};
use crate::domain::overruling::Overruling;
use crate::services::{Registry, StartOperation};
use crate::store::bulks::{bulk_about_to_move, tenants_waiting_elsewhere};
use crate::view::Snapshot;

/// The uids of tenants that wait in bulk operations which lead elsewhere than what is asked for.
pub(super) type InOlderBulks = HashSet<Uuid>;

/// What is known where a verb on one tenant is decided.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    /// All that this replica has seen.
    pub(super) snapshot: &'a Snapshot,
    /// Who waits in older bulk operations, as far as that was asked.
    pub(super) waiting: &'a InOlderBulks,
    /// What the tenant's operations reached elsewhere, as far as that was asked.
    pub(super) elsewhere: &'a Elsewhere,
}

/// How long a choice among many tenants waits for this replica to have seen what others decided before.
const SEEN_MAX: Duration = Duration::from_secs(1);

impl Registry {
    /// Who waits in a bulk operation that leads elsewhere than a verb does. Then this replica has seen what was decided before:
    /// whoever does not wait any more is under way there.
    pub(super) async fn waiting_elsewhere(&self, verb: Verb, wish: &Wish) -> Result<InOlderBulks, Error> {
        let Some(decision) = Overruling::of(verb, wish, String::new()) else {
            return Ok(InOlderBulks::new());
        };
        let waiting = {
            let client = self.database.pooled().await?;
            tenants_waiting_elsewhere(&**client, &decision).await?
        };
        self.latest(SEEN_MAX).await?;
        Ok(waiting)
    }

    /// As [`waiting_elsewhere`](Self::waiting_elsewhere), where the tenants below follow; else nobody.
    pub(super) async fn waiting_below(&self, verb: Verb, wish: &Wish) -> Result<InOlderBulks, Error> {
        match wish.children {
            Children::Follow => self.waiting_elsewhere(verb, wish).await,
            Children::Ignore | Children::Block => Ok(InOlderBulks::new()),
        }
    }

    /// The tenant's uid, where a verb was refused because the tenant is there already, while a bulk operation is about to take
    /// it elsewhere: whoever asks means it to stay. The refusal, naming that bulk operation, where the verb cannot say so.
    pub(super) async fn in_older_bulk(&self, start: &StartOperation, refusal: Error) -> Result<Uuid, Error> {
        let is_there = matches!(refusal.reason, Reason::IllegalTransition | Reason::OperationInProgress);
        let snapshot = self.view.snapshot()?;
        let Some(record) = snapshot.tenant(&start.tenant_id).filter(|_| is_there) else {
            return Err(refusal);
        };
        let tenant = &record.tenant;
        let open = snapshot.open_operation(&tenant.tenant_id);
        let heading = open.map_or(tenant.status, |open| open.heading());
        let stays = start.verb.moves() && start.verb.leads_to(tenant.status) == heading;
        let decision = Overruling::of(start.verb, &start.wish, String::new());
        let Some(decision) = decision.filter(|_| stays && start.bulk_id.is_none()) else {
            return Err(refusal);
        };
        let bulk = {
            let client = self.database.pooled().await?;
            bulk_about_to_move(&**client, &decision, tenant.uid).await?
        };
        let Some((bulk_id, verb)) = bulk else { return Err(refusal) };
        if open.is_none() && start.verb.can_confirm(tenant.status) {
            return Ok(tenant.uid);
        }
        let about = "is about to move it: `tenantry bulk abort";
        let message = format!("{}; bulk operation {bulk_id} ({verb}) {about} {bulk_id}`", refusal.message);
        Err(Error { message, ..refusal }.with("bulk_operation_id", bulk_id))
    }
}

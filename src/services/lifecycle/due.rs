//! What begins by itself when its time has come: scheduled operations, and the purge of deleted tenants. One replica
//! does it for all; what is due is asked of the database, so that replicas whose clocks disagree do the same.

use std::collections::HashSet;
use std::time::Duration;

use jiff::SignedDuration;

use super::missing::Elsewhere;
use super::older_bulks::{InOlderBulks, Known};
use super::operations::operation_at_hand;
use super::start::details;
use super::{background_command, background_context};
use crate::cascade::Class;
use crate::domain::error::{Error, Reason};
use crate::domain::ids::{OperationId, TenantId};
use crate::domain::lifecycle::Verb;
use crate::domain::operation::{Operation, Request, State, Wish};
use crate::services::change::Decision;
use crate::services::tenant_registry::get_tenant;
use crate::services::{Command, Registry, StartOperation};
use crate::store::background::work_claim;
use crate::store::log::Context;
use crate::store::operations::{
    operation_intervene, operations_scheduled_due, tenants_purge_due, tenants_purge_held,
};
use crate::view::Snapshot;

/// What is begun in one look; the rest is begun in the next.
const BEGIN_MAX: u8 = 64;
/// How often is looked.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Most tenants that are counted, and named once each, because their children keep them from being purged.
const HELD_MAX: i64 = 1_000;
/// The work's name.
const WORK: &str = "due";

/// Looks until told to stop. A look that fails is logged, and the next one tries again.
pub(super) async fn run(registry: Registry) {
    let interval = LOOK_INTERVAL.min(registry.lease.length / 3);
    let mut waiting = Waiting::default();
    loop {
        tokio::time::sleep(interval.mul_f64(0.9 + fastrand::f64() * 0.2)).await;
        if let Err(error) = look(&registry, &mut waiting).await {
            tracing::warn!(error = %error, "what is due could not be begun");
        }
    }
}

/// What is due and cannot begin. Each is logged once.
#[derive(Default)]
struct Waiting {
    operations: HashSet<OperationId>,
    /// Tenants whose purge waits for their children.
    purges: HashSet<TenantId>,
}

/// Begins what can begin. What cannot is `waiting` from then on; it takes nobody else's place.
async fn look(registry: &Registry, waiting: &mut Waiting) -> Result<(), Error> {
    let (scheduled, purges, held_purges) = {
        let client = registry.database.pooled().await?;
        if work_claim(&**client, WORK, registry.lease).await?.is_none() {
            *waiting = Waiting::default();
            registry.purges_held.set(0);
            return Ok(());
        }
        let scheduled = operations_scheduled_due(&**client).await?;
        let purges = tenants_purge_due(&**client, i64::from(BEGIN_MAX)).await?;
        (scheduled, purges, tenants_purge_held(&**client, HELD_MAX).await?)
    };
    registry.purges_held.set(i64::try_from(held_purges.len()).unwrap_or(i64::MAX));
    for tenant_id in held_purges.iter().filter(|tenant_id| !waiting.purges.contains(*tenant_id)) {
        tracing::warn!(tenant_id = %tenant_id, "a purge waits: other tenants still name this one as their parent");
    }
    waiting.purges = held_purges.into_iter().collect();
    let snapshot = registry.view.snapshot()?;
    let (held, free): (Vec<_>, Vec<_>) =
        scheduled.into_iter().partition(|operation_id| registry.is_held(&snapshot, *operation_id));
    for operation_id in held.iter().filter(|operation_id| !waiting.operations.contains(operation_id)) {
        let open =
            snapshot.operations.get(operation_id).and_then(|due| snapshot.open_operation(&due.tenant_id));
        let why = open.map_or_else(|| "it is not at hand".to_owned(), |open| open.awaited());
        tracing::warn!(operation_id = %operation_id, why, "a scheduled operation waits");
    }
    waiting.operations = held.into_iter().collect();
    for operation_id in free.into_iter().take(usize::from(BEGIN_MAX)) {
        if let Err(error) = registry.begin_scheduled(operation_id).await {
            tracing::warn!(error = %error, operation_id = %operation_id, "a scheduled operation waits");
        }
    }
    for tenant_id in purges {
        if let Err(error) = registry.purge(&tenant_id).await {
            tracing::warn!(error = %error, tenant_id = %tenant_id, "a purge waits");
        }
    }
    Ok(())
}

impl Registry {
    /// Why a scheduled operation whose time has come has not begun, for people; `None` where nothing is in its way.
    pub fn waits_for(&self, snapshot: &Snapshot, operation: &Operation) -> Option<String> {
        let due = operation.is_due_for(SignedDuration::ZERO, crate::services::now());
        snapshot.open_operation(&operation.tenant_id).filter(|_| due).map(|open| open.awaited())
    }

    /// Whether an operation whose time has come must wait: its tenant has another open that it cannot take over from, or
    /// this replica has not seen it yet.
    fn is_held(&self, snapshot: &Snapshot, operation_id: OperationId) -> bool {
        let Some(scheduled) = snapshot.operations.get(&operation_id) else { return true };
        let begun = || {
            let context = background_context(&scheduled.actor);
            let (waiting, elsewhere) = (InOlderBulks::default(), Elsewhere::default());
            let known = Known { snapshot, waiting: &waiting, elsewhere: &elsewhere };
            self.decide_begin(known, operation_id, &context)
        };
        snapshot.open_operation(&scheduled.tenant_id).is_some()
            && begun().is_err_and(|error| error.reason == Reason::OperationInProgress)
    }

    /// Begins an operation whose time has come. One that is illegal by now, or that a newer decision overrules, ends as
    /// failed; one whose tenant has another operation open waits for its end.
    async fn begin_scheduled(&self, operation_id: OperationId) -> Result<(), Error> {
        let scheduled = operation_at_hand(&*self.view.snapshot()?, operation_id)?;
        let waiting = self.waiting_elsewhere(scheduled.verb, &scheduled.details.wish).await?;
        let elsewhere = self.elsewhere(&scheduled.tenant_id, scheduled.verb).await?;
        let command = Command { actor: scheduled.actor.clone(), ..background_command() };
        let begun = self
            .change(&command, |snapshot, context| {
                let known = Known { snapshot, waiting: &waiting, elsewhere: &elsewhere };
                self.decide_begin(known, operation_id, context)
            })
            .await?;
        if begun.state.is_driven() {
            self.engine.started(operation_id, Class::First);
        }
        self.bulk_news.notify_one();
        Ok(())
    }

    fn decide_begin(
        &self,
        known: Known<'_>,
        operation_id: OperationId,
        context: &Context,
    ) -> Result<Decision<Operation>, Error> {
        let snapshot = known.snapshot;
        let scheduled = operation_at_hand(snapshot, operation_id)?;
        if scheduled.state != State::Scheduled {
            return Ok(Decision::Nothing((*scheduled).clone()));
        }
        let newer = snapshot.operations.values().rev();
        let mut newer = newer.take_while(|other| Some(other.create_time) > scheduled.schedule_time);
        if let Some(newer) = newer.find(|newer| newer.overrules(&scheduled)) {
            let why = format!(
                "operation {} ({}) was asked for after its time had come",
                newer.operation_id, newer.verb
            );
            return Ok(not_begun(&scheduled, &why, context));
        }
        let asked = get_tenant(snapshot, &scheduled.tenant_id).and_then(|record| {
            let wish = &scheduled.details.wish;
            let details = details(wish, scheduled.verb, &record.tenant, snapshot)?;
            let request = Request { details, ..scheduled.request() };
            let decided = self.decide(known, record, request, context)?;
            Ok((record, decided))
        });
        match asked {
            Ok((record, mut decided)) => {
                decided.operation = scheduled.begun_as(decided.operation);
                if decided.superseded.is_some() {
                    self.engine.expect_stragglers(&scheduled.tenant_id);
                }
                let change = self.opening(record, &decided, true, context);
                Ok(Decision::Make(Box::new(change), decided.operation))
            }
            Err(error) if error.reason == Reason::OperationInProgress => Err(error),
            Err(error) => Ok(not_begun(&scheduled, &error.message, context)),
        }
    }

    /// Removes a tenant for good whose purge time has passed.
    async fn purge(&self, tenant_id: &TenantId) -> Result<(), Error> {
        let start = StartOperation {
            tenant_id: tenant_id.clone(),
            verb: Verb::Purge,
            reason: "its purge time has passed".to_owned(),
            etag: None,
            wait: Duration::ZERO,
            at: None,
            wish: Wish::default(),
            bulk_id: None,
        };
        self.start_operation(&start, &background_command()).await.map(drop)
    }
}

/// The end of a scheduled operation that cannot begin any more.
fn not_begun(scheduled: &Operation, why: &str, context: &Context) -> Decision<Operation> {
    let mut failed = scheduled.clone();
    failed.fail_to_begin(format!("could not begin: {why}"), context.now);
    let change = operation_intervene(&failed, scheduled.revision, None, context);
    Decision::Make(Box::new(change), failed)
}

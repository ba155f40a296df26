//! A tenant's targets are looked at while operations begin, go on and end: what was seen meanwhile is judged anew.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::verify::Check;
use crate::domain::error::Error;
use crate::domain::ids::{OperationId, TargetName, TenantId};
use crate::domain::lifecycle::Status;
use crate::domain::operation::{State, Step};
use crate::services::Registry;
use crate::services::tenant_registry::get_tenant;
use crate::view::{Record, Snapshot};

/// How often targets are looked at that are changed each time.
const LOOKS_MAX: u32 = 5;
/// The pause before a drifted target is looked at again: what is only on its way is no drift. Longer than this replica's view
/// takes to learn what another one does.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What was found of a tenant, and by what it was judged.
pub(super) struct Looked {
    /// The tenant, as it was when the look began.
    pub(super) record: Arc<Record>,
    /// The registry at that time.
    pub(super) snapshot: Arc<Snapshot>,
    /// Each target.
    pub(super) checks: Vec<Check>,
}

/// What a check goes by. As long as it is the same, what was found of the target is true of it.
#[derive(PartialEq)]
struct Basis<'a> {
    tenant: (Uuid, Status, u64, Option<OperationId>),
    operation: Option<(State, u64)>,
    step: Option<&'a Step>,
}

impl<'a> Basis<'a> {
    fn of(snapshot: &'a Snapshot, tenant_id: &TenantId, target: &TargetName) -> Option<Self> {
        let tenant = &snapshot.tenant(tenant_id)?.tenant;
        let open = snapshot.open_operation(tenant_id);
        Some(Self {
            tenant: (tenant.uid, tenant.status, tenant.generation, tenant.operation_id),
            operation: open.map(|open| (open.state, open.generation)),
            step: open.and_then(|open| open.steps.iter().find(|step| step.target == *target)),
        })
    }
}

impl Registry {
    /// Looks at those targets of a tenant that are `wanted`. What is not as it should be was so at two looks, and nothing was asked
    /// of that target meanwhile; where that never is so, it cannot be told.
    ///
    /// # Errors
    ///
    /// Where there is no such tenant, or no longer.
    pub(super) async fn look_until_settled(
        &self,
        tenant_id: &TenantId,
        wanted: impl Fn(&TargetName) -> bool,
    ) -> Result<Looked, Error> {
        let mut looked = self.look_once(tenant_id, &wanted).await?;
        for looks in 2..=LOOKS_MAX {
            if !looked.checks.iter().any(Check::drifted) {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            let before = std::mem::replace(&mut looked, self.look_once(tenant_id, &wanted).await?).snapshot;
            let now = self.view.snapshot()?;
            let is_moved = |check: &Check| {
                let target = &check.target;
                check.drifted() && Basis::of(&before, tenant_id, target) != Basis::of(&now, tenant_id, target)
            };
            if !looked.checks.iter().any(is_moved) {
                break;
            }
            if looks == LOOKS_MAX {
                for check in looked.checks.iter_mut().filter(|check| is_moved(check)) {
                    check.found = Err("is being changed: look again".to_owned());
                    check.is_ahead = false;
                }
            }
        }
        Ok(looked)
    }

    async fn look_once(
        &self,
        tenant_id: &TenantId,
        wanted: impl Fn(&TargetName) -> bool,
    ) -> Result<Looked, Error> {
        let snapshot = self.view.snapshot()?;
        let record = Arc::clone(get_tenant(&snapshot, tenant_id)?);
        let checks = self.check_some(&snapshot, &record, wanted).await;
        Ok(Looked { record, snapshot, checks })
    }
}

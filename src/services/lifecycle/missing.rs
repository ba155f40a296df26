//! Targets that operations reach and this replica does not have: another replica drives them, or did. A tenant must not be
//! called suspended here that such a target still lets in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, Registry as Prometheus};
use uuid::Uuid;

use crate::domain::error::Error;
use crate::domain::ids::{TargetName, TenantId};
use crate::domain::lifecycle::Verb;
use crate::domain::operation::{Operation, TargetState};
use crate::domain::tenant::Tenant;
use crate::services::Registry;
use crate::store::targets_reached::{Reached, targets_reached_by};
use crate::view::Snapshot;

/// Why a target that is missing cannot be looked at.
pub(super) const NOT_HERE: &str = "this replica does not have it";
/// How soon after one look another is worth it.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What a tenant's operations reached of the targets that this replica does not have, as far as that had to be asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Elsewhere {
    /// Of which tenant: its id can be used again.
    uid: Uuid,
    reached: Vec<Reached>,
}

/// The last operation of a tenant that reached a target: its generation, and whether it went on without the target.
type Last<'a> = BTreeMap<&'a TargetName, (u64, bool)>;

impl Registry {
    /// Targets that operations reached, however long ago, and that this replica does not have; but for those that were taken
    /// away on purpose.
    pub fn missing_targets(&self, snapshot: &Snapshot) -> Vec<TargetName> {
        self.absent_targets(snapshot).filter(|target| !self.is_retired(target)).cloned().collect()
    }

    fn absent_targets<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = &'a TargetName> {
        snapshot.operations.targets().filter(|target| !self.targets.contains(target))
    }

    fn is_retired(&self, target: &TargetName) -> bool {
        self.settings.retired_targets.contains(target.as_str())
    }

    /// What a tenant's operations say of the targets that this replica does not have, those too that are not in memory. Nothing
    /// is asked where there is no such target that the verb has to know of: a purge also has to name those that were
    /// taken away on purpose.
    pub(super) async fn elsewhere(&self, tenant_id: &TenantId, verb: Verb) -> Result<Elsewhere, Error> {
        let snapshot = self.view.snapshot()?;
        let matters = |target: &TargetName| verb == Verb::Purge || !self.is_retired(target);
        let record = snapshot.tenant(tenant_id).filter(|_| self.absent_targets(&snapshot).any(matters));
        let Some(record) = record else { return Ok(Elsewhere::default()) };
        let uid = record.tenant.uid;
        let client = self.database.pooled().await?;
        let reached = targets_reached_by(&**client, (tenant_id, uid), &self.targets).await?;
        Ok(Elsewhere { uid, reached })
    }

    /// Has an operation reach the targets that this replica does not have and that the tenant is in: one of them lets the tenant
    /// in, or keeps it out. A purge says of the others that they keep what they have.
    pub(super) fn aim_elsewhere(
        &self,
        operation: &mut Operation,
        snapshot: &Snapshot,
        elsewhere: &Elsewhere,
        tenant: &Tenant,
    ) {
        let mut missing = self.missing_targets(snapshot);
        if missing.is_empty() && operation.verb != Verb::Purge {
            return;
        }
        let last = last_reached(snapshot, elsewhere, tenant);
        // Where the last of its operations went on without the target, this one does, too.
        missing.retain(|target| last.get(target).is_some_and(|(_, skipped)| !skipped));
        operation.aim_at(&missing);
        if operation.verb == Verb::Purge {
            let others = last.into_keys().filter(|target| !self.targets.contains(target));
            let why =
                |target| if self.is_retired(target) { "it is retired" } else { "it was skipped before" };
            operation.leave_unasked(others.map(|target| (target, why(target))));
        }
    }

    /// Those that are `wanted` of the missing targets that a tenant is in, or may be in for all that can be told: it still is
    /// where an operation went on without the target.
    pub(super) async fn missing_of(
        &self,
        snapshot: &Snapshot,
        tenant: &Tenant,
        wanted: impl Fn(&TargetName) -> bool,
    ) -> Vec<TargetName> {
        let mut missing = self.missing_targets(snapshot);
        missing.retain(&wanted);
        if missing.is_empty() {
            return missing;
        }
        if let Ok(elsewhere) = self.elsewhere(&tenant.tenant_id, Verb::Repair).await {
            let last = last_reached(snapshot, &elsewhere, tenant);
            missing.retain(|target| last.contains_key(target));
        }
        missing
    }
}

/// The targets that a tenant's operations reached, by what was asked and by what happened since. The last operation is the one
/// of the highest generation: one that was scheduled began after others that were asked for later.
fn last_reached<'a>(snapshot: &'a Snapshot, elsewhere: &'a Elsewhere, tenant: &Tenant) -> Last<'a> {
    let asked = elsewhere.reached.iter().filter(|_| elsewhere.uid == tenant.uid);
    let mut last: Last<'a> = asked.map(|it| (&it.target, (it.generation, it.skipped))).collect();
    for one in snapshot.operations.values().filter(|one| one.tenant_uid == tenant.uid) {
        for step in &one.steps {
            let known = last.entry(&step.target).or_default();
            if known.0 <= one.generation {
                // Skipped in a repair, a target is taken as it is, and not given up.
                let skipped = step.state == TargetState::Skipped && one.verb != Verb::Repair;
                *known = (one.generation, skipped);
            }
        }
    }
    last
}

/// Tells the log of each target that is missing, when that is first seen; and at first of names that are retired and that no
/// operation ever reached.
pub(super) async fn run(registry: Registry) {
    registry.view.loaded().await;
    if let Ok(snapshot) = registry.view.snapshot() {
        tell_of_strange_names(&registry, &snapshot);
    }
    let mut revisions = registry.view.revisions();
    let mut told = BTreeSet::new();
    loop {
        revisions.borrow_and_update();
        if let Ok(snapshot) = registry.view.snapshot() {
            let missing: BTreeSet<_> = registry.missing_targets(&snapshot).into_iter().collect();
            for target in missing.difference(&told) {
                tracing::warn!(
                    target_system = target.as_str(),
                    "operations reach a target that this replica does not have: every replica needs the same targets; \
                     one that was taken away on purpose belongs into `cascade.retired_targets`"
                );
            }
            told = missing;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
        if revisions.changed().await.is_err() {
            return;
        }
    }
}

/// Most likely such a name is written wrongly, and the target that it was to be is missing. It may also be that the settings are
/// those of several registries, so it keeps nobody from starting.
fn tell_of_strange_names(registry: &Registry, snapshot: &Snapshot) {
    let known: Vec<&str> = snapshot.operations.targets().map(TargetName::as_str).collect();
    let retired = registry.settings.retired_targets.iter();
    for name in retired.filter(|name| !known.contains(&name.as_str())) {
        tracing::warn!(
            target_system = name.as_str(),
            known = known.join(", "),
            "`cascade.retired_targets` names a target that no operation of this registry's tenants ever reached: is it written \
             as one of those that are known?"
        );
    }
}

/// Counted whenever somebody looks.
struct Counted {
    registry: Registry,
    missing: IntGauge,
}

impl Collector for Counted {
    fn desc(&self) -> Vec<&Desc> {
        self.missing.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        if let Ok(snapshot) = self.registry.view.snapshot() {
            let missing = self.registry.missing_targets(&snapshot).len();
            self.missing.set(i64::try_from(missing).unwrap_or(i64::MAX));
        }
        self.missing.collect()
    }
}

/// Puts `tenantry_targets_missing` and `tenantry_purges_held` among the metrics.
///
/// # Errors
///
/// When there is a metric of one of these names already.
pub fn register_metrics(prometheus: &Prometheus, registry: &Registry) -> Result<(), prometheus::Error> {
    let missing = IntGauge::new(
        "tenantry_targets_missing",
        "Targets that operations reached and this replica does not have; the log names them.",
    )?;
    prometheus.register(Box::new(registry.purges_held.clone()))?;
    prometheus.register(Box::new(Counted { registry: registry.clone(), missing }))
}

//! Targets that operations reach and this replica does not have: another replica drives them, or did. A tenant must not be
//! called suspended here that such a target still lets in.

use std::collections::BTreeSet;
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, Registry as Prometheus};

use crate::domain::ids::TargetName;
use crate::domain::operation::TargetState;
use crate::domain::tenant::Tenant;
use crate::services::Registry;
use crate::view::Snapshot;

/// Why a target that is missing cannot be looked at.
pub(super) const NOT_HERE: &str = "this replica does not have it";
/// How soon after one look another is worth it.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

impl Registry {
    /// Targets of the operations at hand that this replica does not have, but for those that were taken away on purpose.
    pub fn missing_targets(&self, snapshot: &Snapshot) -> Vec<TargetName> {
        let is_known = |target: &TargetName| {
            self.targets.contains(target) || self.settings.retired_targets.contains(target.as_str())
        };
        snapshot.operations.targets().filter(|target| !is_known(target)).cloned().collect()
    }

    /// Those of them that a tenant is in: its newest operation there did not go on without the target.
    pub(super) fn missing_targets_of(&self, snapshot: &Snapshot, tenant: &Tenant) -> Vec<TargetName> {
        let mut missing = self.missing_targets(snapshot);
        missing.retain(|target| {
            let own = snapshot.operations.values().rev().filter(|one| one.tenant_uid == tenant.uid);
            let newest = own.flat_map(|one| &one.steps).find(|step| step.target == *target);
            newest.is_some_and(|step| step.state != TargetState::Skipped)
        });
        missing
    }
}

/// Tells the log of each target that is missing, when that is first seen.
pub(super) async fn run(registry: Registry) {
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
        "Targets of operations that this replica does not have; the log names them.",
    )?;
    prometheus.register(Box::new(registry.purges_held.clone()))?;
    prometheus.register(Box::new(Counted { registry: registry.clone(), missing }))
}

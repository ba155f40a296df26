//! How many flags there are, and how many tenants have too many of their own, as metrics.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::{IntGauge, Registry, proto::MetricFamily};

use crate::view::View;

/// Read from the newest snapshot whenever somebody looks.
struct FlagMetrics {
    view: Arc<View>,
    flags: IntGauge,
    crowded: IntGauge,
}

impl Collector for FlagMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.flags.desc().into_iter().chain(self.crowded.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        if let Ok(snapshot) = self.view.snapshot() {
            let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
            self.flags.set(count(snapshot.flags.len()));
            self.crowded.set(count(snapshot.flags.crowded_tenants()));
        }
        self.flags.collect().into_iter().chain(self.crowded.collect()).collect()
    }
}

/// Puts `tenantry_flags` and `tenantry_flags_crowded_tenants` among the metrics.
///
/// # Errors
///
/// When there are metrics of these names already.
pub fn register_metrics(registry: &Registry, view: &Arc<View>) -> Result<(), prometheus::Error> {
    let flags = IntGauge::new("tenantry_flags", "Flags that there are.")?;
    let crowded = IntGauge::new(
        "tenantry_flags_crowded_tenants",
        "Tenants with something of their own of more than 50 flags.",
    )?;
    registry.register(Box::new(FlagMetrics { view: Arc::clone(view), flags, crowded }))
}

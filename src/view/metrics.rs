//! How many rows the view cannot read, as a metric.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::{IntGaugeVec, Opts, Registry, proto::MetricFamily};

use super::View;

/// Read from the newest snapshot whenever somebody looks.
struct Unreadable {
    view: Arc<View>,
    rows: IntGaugeVec,
}

impl Collector for Unreadable {
    fn desc(&self) -> Vec<&Desc> {
        self.rows.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.rows.reset();
        if let Ok(snapshot) = self.view.snapshot() {
            for (table, _) in snapshot.unreadable.keys() {
                self.rows.with_label_values(&[table]).inc();
            }
        }
        self.rows.collect()
    }
}

/// Puts `tenantry_view_unreadable_rows`, by table, among the metrics.
///
/// # Errors
///
/// When there is a metric of that name already.
pub fn register_metrics(registry: &Registry, view: &Arc<View>) -> Result<(), prometheus::Error> {
    let rows = Opts::new("tenantry_view_unreadable_rows", "Rows of the database that cannot be read.");
    let rows = IntGaugeVec::new(rows, &["table"])?;
    registry.register(Box::new(Unreadable { view: Arc::clone(view), rows }))
}

//! What Prometheus hears of the view: how far it is, for how long the database has been silent, what it cannot read.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::{Gauge, IntGauge, IntGaugeVec, Opts, Registry, proto::MetricFamily};

use super::View;

/// Read from the newest snapshot whenever somebody looks.
struct Looked {
    view: Arc<View>,
    rows: IntGaugeVec,
    revision: IntGauge,
    silence: Gauge,
}

impl Collector for Looked {
    fn desc(&self) -> Vec<&Desc> {
        let own = [self.rows.desc(), self.revision.desc(), self.silence.desc()];
        own.into_iter().flatten().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.rows.reset();
        self.silence.set(self.view.silence().as_secs_f64());
        if let Ok(snapshot) = self.view.snapshot() {
            self.revision.set(snapshot.revision.as_i64());
            for (table, _) in snapshot.unreadable.keys() {
                self.rows.with_label_values(&[table]).inc();
            }
        }
        [self.rows.collect(), self.revision.collect(), self.silence.collect()].into_iter().flatten().collect()
    }
}

/// Puts `tenantry_view_unreadable_rows`, by table, `tenantry_view_revision` and `tenantry_view_silence_seconds` among the
/// metrics.
///
/// # Errors
///
/// When there is a metric of that name already.
pub fn register_metrics(registry: &Registry, view: &Arc<View>) -> Result<(), prometheus::Error> {
    let rows = Opts::new("tenantry_view_unreadable_rows", "Rows of the database that cannot be read.");
    let rows = IntGaugeVec::new(rows, &["table"])?;
    let revision = IntGauge::new("tenantry_view_revision", "The newest revision that this replica serves.")?;
    let silence = Gauge::new(
        "tenantry_view_silence_seconds",
        "Time since the database last answered this replica, in seconds.",
    )?;
    registry.register(Box::new(Looked { view: Arc::clone(view), rows, revision, silence }))
}

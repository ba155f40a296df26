//! What Prometheus hears of the view: how far it is, for how long the database has been silent and whether it takes writes,
//! what cannot be read, how often it was set back.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::{Gauge, IntCounter, IntGauge, IntGaugeVec, Opts, Registry, proto::MetricFamily};

use super::View;

/// Read from the newest snapshot whenever somebody looks.
struct Looked {
    view: Arc<View>,
    rows: IntGaugeVec,
    revision: IntGauge,
    silence: Gauge,
    read_only: IntGauge,
    replaced: IntCounter,
}

impl Collector for Looked {
    fn desc(&self) -> Vec<&Desc> {
        let own = [self.rows.desc(), self.revision.desc(), self.silence.desc()];
        let own = own.into_iter().chain([self.read_only.desc(), self.replaced.desc()]);
        own.flatten().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.rows.reset();
        self.silence.set(self.view.silence().as_secs_f64());
        self.read_only.set(self.view.is_read_only().into());
        if let Ok(snapshot) = self.view.snapshot() {
            self.revision.set(snapshot.revision.as_i64());
            self.replaced.reset();
            self.replaced.inc_by(snapshot.history);
            for (table, _) in snapshot.unreadable.keys() {
                self.rows.with_label_values(&[table]).inc();
            }
        }
        let own = [self.rows.collect(), self.revision.collect(), self.silence.collect()];
        own.into_iter().chain([self.read_only.collect(), self.replaced.collect()]).flatten().collect()
    }
}

/// Puts `tenantry_view_unreadable_rows`, by table, `tenantry_view_revision`, `tenantry_view_silence_seconds`,
/// `tenantry_database_read_only` and `tenantry_view_history_replaced_total` among the metrics.
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
    let read_only = IntGauge::new(
        "tenantry_database_read_only",
        "1 while the database takes no writes, as this replica finds it: every change fails.",
    )?;
    let replaced = IntCounter::new(
        "tenantry_view_history_replaced_total",
        "How often the database was found set back to an earlier state, or replaced: acknowledged changes are lost.",
    )?;
    let view = Arc::clone(view);
    registry.register(Box::new(Looked { view, rows, revision, silence, read_only, replaced }))
}

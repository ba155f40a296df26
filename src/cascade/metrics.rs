//! What the engine tells Prometheus.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Error, Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::{CircuitState, Engine};
use crate::domain::operation::State;
use crate::store::clock::{self, now};

/// What is counted as it happens.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    /// Attempts by target and outcome: `answered`, `refused`, `failed`.
    pub(super) attempts: IntCounterVec,
    /// Tenants that were looked at by the verifier.
    pub(super) verified: IntCounter,
    /// Targets found in another state than the registry says.
    pub(super) drifts: IntCounterVec,
    /// Looks of the verifier at targets that did not tell what a tenant is in.
    pub(super) failed_looks: IntCounterVec,
}

impl Counts {
    pub(super) fn new() -> Result<Self, Error> {
        let attempts = Opts::new("tenantry_target_attempts_total", "Attempts of targets, by how they ended.");
        let drifts =
            Opts::new("tenantry_drift_found_total", "Targets found in another state than the registry says.");
        let failed_looks = Opts::new(
            "tenantry_looks_failed_total",
            "Looks in the background at targets that did not tell what a tenant is in.",
        );
        Ok(Self {
            attempts: IntCounterVec::new(attempts, &["target", "outcome"])?,
            verified: IntCounter::new(
                "tenantry_tenants_verified_total",
                "Tenants whose targets were looked at in the background.",
            )?,
            drifts: IntCounterVec::new(drifts, &["target"])?,
            failed_looks: IntCounterVec::new(failed_looks, &["target"])?,
        })
    }
}

/// What is read when it is asked for.
struct Gauges {
    engine: Engine,
    operations: IntGaugeVec,
    stuck: IntGauge,
    circuits: IntGaugeVec,
    paused: IntGaugeVec,
    in_flight: IntGaugeVec,
    clock: Gauge,
}

impl Engine {
    /// Registers `tenantry_operations` (by state, of those that have not ended), `tenantry_operations_stuck`,
    /// `tenantry_target_attempts_total` (by target and outcome), `tenantry_target_circuit` (0 closed, 1 probing, 2 open), `tenantry_target_paused`,
    /// `tenantry_target_in_flight`, `tenantry_tenants_verified_total`, `tenantry_drift_found_total` and `tenantry_looks_failed_total`.
    ///
    /// # Errors
    ///
    /// When the registry has metrics of these names already.
    pub fn register(&self, registry: &Registry) -> Result<(), Error> {
        let counts = &self.inner.counts;
        // A series that is born with its first event has not grown when it is first seen.
        for target in self.inner.targets.keys() {
            counts.drifts.with_label_values(&[target.as_str()]);
            counts.failed_looks.with_label_values(&[target.as_str()]);
        }
        registry.register(Box::new(counts.attempts.clone()))?;
        registry.register(Box::new(counts.verified.clone()))?;
        registry.register(Box::new(counts.drifts.clone()))?;
        registry.register(Box::new(counts.failed_looks.clone()))?;
        let gauge = |name: &str, help: &str, label: &str| IntGaugeVec::new(Opts::new(name, help), &[label]);
        registry.register(Box::new(Gauges {
            engine: self.clone(),
            operations: gauge("tenantry_operations", "Operations that have not ended, by state.", "state")?,
            stuck: IntGauge::new(
                "tenantry_operations_stuck",
                "Operations that somebody should look at: they do not get on, or are overdue.",
            )?,
            circuits: gauge(
                "tenantry_target_circuit",
                "Whether this replica tries a target: 0 yes, 1 with a few probes, 2 no.",
                "target",
            )?,
            paused: gauge("tenantry_target_paused", "Whether an operator paused a target.", "target")?,
            in_flight: gauge("tenantry_target_in_flight", "Attempts under way on this replica.", "target")?,
            clock: Gauge::new(
                "tenantry_clock_ahead_seconds",
                "How far this machine's clock is ahead of the database's, which counts; 0 while that is little.",
            )?,
        }))
    }
}

impl Gauges {
    fn all(&self) -> [&dyn Collector; 6] {
        [&self.operations, &self.stuck, &self.circuits, &self.paused, &self.in_flight, &self.clock]
    }
}

impl Collector for Gauges {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(|gauge| gauge.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let snapshot = self.engine.inner.view.snapshot().ok();
        let operations = || snapshot.iter().flat_map(|snapshot| snapshot.operations.values());
        for state in [State::Running, State::Reverting, State::NeedsOperator, State::Scheduled] {
            let found = operations().filter(|operation| operation.state == state).count();
            self.operations.with_label_values(&[state.as_str()]).set(count(found));
        }
        self.clock.set(clock::ahead().as_secs_f64());
        let now = now();
        self.stuck.set(count(operations().filter(|operation| operation.is_stuck(now)).count()));
        for (target, system) in &self.engine.inner.targets {
            let labels = [target.as_str()];
            self.circuits.with_label_values(&labels).set(match system.gate.state() {
                CircuitState::Closed => 0,
                CircuitState::Probing => 1,
                CircuitState::Open => 2,
            });
            let paused = snapshot.as_ref().is_some_and(|snapshot| snapshot.paused(target).is_some());
            self.paused.with_label_values(&labels).set(i64::from(paused));
            self.in_flight.with_label_values(&labels).set(count(system.gate.in_flight()));
        }
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}

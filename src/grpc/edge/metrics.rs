//! What is counted of calls and connections.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use tonic::Code;

use crate::proto::DESCRIPTOR_SET;

/// Counters of the edge, and the registry that they and others are in.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    calls: IntCounterVec,
    seconds: HistogramVec,
    connections: IntGauge,
    refused: IntCounter,
    /// Paths that have a label of their own: those of our methods. Others are counted together, because a caller can
    /// make up as many as it likes.
    methods: std::sync::Arc<std::collections::BTreeSet<String>>,
}

impl Metrics {
    /// Counters at zero.
    #[allow(clippy::missing_panics_doc)]
    pub fn new() -> Self {
        let registry = Registry::new();
        let labels = ["method", "code"];
        let buckets =
            vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        let calls = IntCounterVec::new(
            Opts::new("tenantry_calls_total", "Calls answered, by method and code."),
            &labels,
        );
        let seconds = HistogramVec::new(
            HistogramOpts::new("tenantry_call_seconds", "Time until a call's answer, by method.")
                .buckets(buckets),
            &["method"],
        );
        let connections = IntGauge::new("tenantry_connections", "Open connections.");
        let refused = IntCounter::new("tenantry_connections_refused_total", "Connections over a limit.");
        // Names and labels are constants: a test makes one.
        let (Ok(calls), Ok(seconds), Ok(connections), Ok(refused)) = (calls, seconds, connections, refused)
        else {
            unreachable!("names of metrics are valid")
        };
        for collector in [
            Box::new(calls.clone()) as Box<dyn prometheus::core::Collector>,
            Box::new(seconds.clone()),
            Box::new(connections.clone()),
            Box::new(refused.clone()),
        ] {
            if let Err(error) = registry.register(collector) {
                tracing::error!(error = %error, "a metric could not be registered");
            }
        }
        Self { registry, calls, seconds, connections, refused, methods: std::sync::Arc::new(methods()) }
    }

    /// What `/metrics` shows.
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    pub(super) fn call(&self, path: &str, code: Code, took: Duration) {
        let method = if self.methods.contains(path) { path } else { "other" };
        self.calls.with_label_values(&[method, &format!("{code:?}")]).inc();
        self.seconds.with_label_values(&[method]).observe(took.as_secs_f64());
    }

    pub(super) fn connections_open(&self, count: usize) {
        self.connections.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn connection_refused(&self) {
        self.refused.inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn methods() -> std::collections::BTreeSet<String> {
    let pool = prost_reflect::DescriptorPool::decode(DESCRIPTOR_SET).unwrap_or_default();
    pool.services()
        .flat_map(|service| {
            let methods =
                service.methods().map(|method| format!("/{}/{}", service.full_name(), method.name()));
            methods.collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_paths_share_one_label() {
        let metrics = Metrics::new();
        metrics.call("/tenantry.v1.Tiers/GetTier", Code::Ok, Duration::ZERO);
        metrics.call("/made/up", Code::Unimplemented, Duration::ZERO);
        metrics.call("/made/up/2", Code::Unimplemented, Duration::ZERO);
        assert_eq!(metrics.calls.with_label_values(&["/tenantry.v1.Tiers/GetTier", "Ok"]).get(), 1);
        assert_eq!(metrics.calls.with_label_values(&["other", "Unimplemented"]).get(), 2);
    }
}

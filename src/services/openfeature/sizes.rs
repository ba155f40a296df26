//! How large flag sets are, as metrics: in-process clients do not take any size.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::{Collector, Desc};
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry, proto::MetricFamily};

use super::scope::Scope;
use super::sets::Sets;
use crate::domain::flag::CLIENT_BYTES_MAX;

/// What is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Selected {
    All,
    FlagSet,
    Tenant,
    TenantAndFlagSet,
}

impl Selected {
    const ALL: [Self; 4] = [Self::All, Self::FlagSet, Self::Tenant, Self::TenantAndFlagSet];

    pub(super) const fn of(has_tenant: bool, has_flag_set: bool) -> Self {
        match (has_tenant, has_flag_set) {
            (false, false) => Self::All,
            (false, true) => Self::FlagSet,
            (true, false) => Self::Tenant,
            (true, true) => Self::TenantAndFlagSet,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::FlagSet => "flag_set",
            Self::Tenant => "tenant",
            Self::TenantAndFlagSet => "tenant_and_flag_set",
        }
    }
}

/// How often a set was handed out that clients do not take unless told to, by what was selected.
#[derive(Debug, Default)]
pub(super) struct TooLarge([AtomicU64; Selected::ALL.len()]);

impl TooLarge {
    /// Counts a set that is handed out.
    pub(super) fn count(&self, scope: &Scope, bytes: usize) {
        let selected = Selected::of(scope.tenant.is_some(), scope.flag_set.is_some());
        if bytes > CLIENT_BYTES_MAX
            && let Some(count) = self.0.get(selected as usize)
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn get(&self, selected: Selected) -> u64 {
        self.0.get(selected as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

/// Looked at whenever somebody asks.
struct Looked {
    sets: Arc<Sets>,
    largest: IntGaugeVec,
    too_large: IntCounterVec,
}

impl Collector for Looked {
    fn desc(&self) -> Vec<&Desc> {
        self.largest.desc().into_iter().chain(self.too_large.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let sizes = self.sets.sizes();
        self.too_large.reset();
        for selected in Selected::ALL {
            let of_these = sizes.iter().filter(|(other, _)| *other == selected).map(|(_, bytes)| *bytes);
            let largest = of_these.max().unwrap_or_default();
            let label = &[selected.as_str()];
            self.largest.with_label_values(label).set(i64::try_from(largest).unwrap_or(i64::MAX));
            self.too_large.with_label_values(label).inc_by(self.sets.too_large.get(selected));
        }
        self.largest.collect().into_iter().chain(self.too_large.collect()).collect()
    }
}

/// Puts `tenantry_flag_set_largest_bytes` and `tenantry_flag_sets_too_large_total`, by what is selected, among the metrics.
///
/// # Errors
///
/// When there are metrics of these names already.
pub(super) fn register_metrics(registry: &Registry, sets: &Arc<Sets>) -> Result<(), prometheus::Error> {
    let largest = Opts::new(
        "tenantry_flag_set_largest_bytes",
        "The largest flag set that in-process providers have a stream of on this replica, by what they select.",
    );
    let too_large = Opts::new(
        "tenantry_flag_sets_too_large_total",
        "Flag sets handed out that are larger than the 4 MiB that in-process clients take unless told otherwise.",
    );
    registry.register(Box::new(Looked {
        sets: Arc::clone(sets),
        largest: IntGaugeVec::new(largest, &["selector"])?,
        too_large: IntCounterVec::new(too_large, &["selector"])?,
    }))
}

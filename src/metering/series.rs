//! How often flags are evaluated, by flag and by tenant, as metrics.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::{IntCounter, IntCounterVec, Opts, Registry, proto::MetricFamily};

use crate::domain::ids::{FlagKey, TenantId};

/// Most flags that have a series of their own; others share one.
const FLAGS_MAX: usize = 1_000;
/// The series of those flags.
const OTHER: &str = "other";

/// The series. Cheap to clone.
#[derive(Clone)]
pub(super) struct Series {
    by_flag: IntCounterVec,
    by_tenant: IntCounterVec,
    /// Evaluations for a tenant that are in their flag's series alone.
    pub(super) left_out: IntCounter,
    pub(super) bulk: IntCounter,
    /// Counted evaluations that could not be written.
    pub(super) dropped: IntCounter,
    known: Arc<Mutex<Known>>,
    /// Most series by flag and tenant.
    tenants_max: usize,
}

/// What has a series of its own.
#[derive(Default)]
struct Known {
    flags: HashMap<FlagKey, HashSet<TenantId>>,
    /// Of all flags together.
    tenants: usize,
}

impl Known {
    fn has_flag(&mut self, flag: &FlagKey) -> bool {
        if self.flags.contains_key(flag) {
            return true;
        }
        let is_room = self.flags.len() < FLAGS_MAX;
        if is_room {
            self.flags.insert(flag.clone(), HashSet::new());
        }
        is_room
    }

    fn has_tenant(&mut self, flag: &FlagKey, tenant: &TenantId, tenants_max: usize) -> bool {
        let Some(tenants) = self.flags.get_mut(flag) else { return false };
        if tenants.contains(tenant) {
            return true;
        }
        let is_room = self.tenants < tenants_max;
        if is_room {
            tenants.insert(tenant.clone());
            self.tenants += 1;
        }
        is_room
    }
}

impl Series {
    pub(super) fn new(tenants_max: usize) -> Result<Self, prometheus::Error> {
        Ok(Self {
            by_flag: IntCounterVec::new(
                Opts::new(
                    "tenantry_flag_evaluations_total",
                    "Evaluations of flags by name; flags beyond the first 1,000 share the series \"other\".",
                ),
                &["flag_key"],
            )?,
            by_tenant: IntCounterVec::new(
                Opts::new(
                    "tenantry_flag_evaluations_by_tenant_total",
                    "Evaluations of flags by name for a tenant; as many series as flags.tenant_series allows.",
                ),
                &["flag_key", "tenant_id"],
            )?,
            left_out: IntCounter::new(
                "tenantry_flag_evaluations_by_tenant_left_out_total",
                "Evaluations of flags by name for a tenant that are counted by the flag alone, for want of a series.",
            )?,
            bulk: IntCounter::new(
                "tenantry_flag_bulk_evaluations_total",
                "Evaluations of all flags of a tenant at once.",
            )?,
            dropped: IntCounter::new(
                "tenantry_flag_evaluations_dropped_total",
                "Counted evaluations that could not be written to the database.",
            )?,
            known: Arc::default(),
            tenants_max,
        })
    }

    /// Puts them all among the metrics. Whenever somebody looks, the series of what is no longer there go first: of flags, for
    /// which no tenant is given, and of tenants.
    pub(super) fn register(
        &self,
        registry: &Registry,
        is_there: impl Fn(&FlagKey, Option<&TenantId>) -> bool + Send + Sync + 'static,
    ) -> Result<(), prometheus::Error> {
        registry.register(Box::new(Looked { series: self.clone(), is_there }))
    }

    /// Adds evaluations of a flag by name.
    pub(super) fn count(&self, flag: &FlagKey, tenant: Option<&TenantId>, evaluations: u64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let series = if known.has_flag(flag) { flag.as_str() } else { OTHER };
        self.by_flag.with_label_values(&[series]).inc_by(evaluations);
        let Some(tenant) = tenant else { return };
        if known.has_tenant(flag, tenant, self.tenants_max) {
            self.by_tenant.with_label_values(&[flag.as_str(), tenant.as_str()]).inc_by(evaluations);
        } else {
            self.left_out.inc_by(evaluations);
        }
    }

    fn forget(&self, is_there: impl Fn(&FlagKey, Option<&TenantId>) -> bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.flags.retain(|flag, tenants| {
            let is_flag_there = is_there(flag, None);
            tenants.retain(|tenant| {
                let stays = is_flag_there && is_there(flag, Some(tenant));
                if !stays {
                    // It fails only where there is none.
                    let _ = self.by_tenant.remove_label_values(&[flag.as_str(), tenant.as_str()]);
                }
                stays
            });
            if !is_flag_there {
                let _ = self.by_flag.remove_label_values(&[flag.as_str()]);
            }
            is_flag_there
        });
        known.tenants = known.flags.values().map(HashSet::len).sum();
    }

    fn parts(&self) -> [&dyn Collector; 5] {
        [&self.by_flag, &self.by_tenant, &self.left_out, &self.bulk, &self.dropped]
    }
}

/// The series as they are when somebody looks.
struct Looked<F> {
    series: Series,
    is_there: F,
}

impl<F: Fn(&FlagKey, Option<&TenantId>) -> bool + Send + Sync> Collector for Looked<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.series.parts().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.series.forget(&self.is_there);
        self.series.parts().into_iter().flat_map(Collector::collect).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flag(name: &str) -> FlagKey {
        FlagKey::parse(name).unwrap()
    }

    fn tenant(id: &str) -> TenantId {
        TenantId::parse(id).unwrap()
    }

    /// Every series with labels and its number, as one text each.
    fn told(series: &Series) -> Vec<String> {
        let text = |family: MetricFamily| {
            let of_one = |metric: &prometheus::proto::Metric| {
                let labels = metric.get_label().iter().map(|label| format!("{} ", label.value()));
                format!("{}{}", labels.collect::<String>(), metric.get_counter().get_value())
            };
            family.get_metric().iter().map(of_one).collect::<Vec<_>>()
        };
        let families = series.by_flag.collect().into_iter().chain(series.by_tenant.collect());
        let mut told: Vec<String> = families.flat_map(text).collect();
        told.sort_unstable();
        told
    }

    #[test]
    fn flags_beyond_the_first_thousand_share_a_series() {
        let series = Series::new(10).unwrap();
        for number in 0..FLAGS_MAX + 3 {
            series.count(&flag(&format!("f{number}")), None, 1);
        }
        assert_eq!(series.by_flag.with_label_values(&[OTHER]).get(), 3);
        series.count(&flag("f1001"), Some(&tenant("hr")), 1);
        assert_eq!(series.left_out.get(), 1, "it has no series by tenant, either");
    }

    #[test]
    fn as_many_tenants_as_are_allowed_have_a_series_and_the_rest_is_counted_by_the_flag() {
        let series = Series::new(2).unwrap();
        for id in ["hr", "finance", "ops", "hr", "ops"] {
            series.count(&flag("search"), Some(&tenant(id)), 10);
        }
        series.count(&flag("search"), None, 1);
        assert_eq!(told(&series), ["search 51", "search finance 10", "search hr 20"]);
        assert_eq!(series.left_out.get(), 20);
        let none = Series::new(0).unwrap();
        none.count(&flag("search"), Some(&tenant("hr")), 1);
        assert_eq!(told(&none), ["search 1"]);
    }

    #[test]
    fn what_is_gone_leaves_and_makes_room() {
        let series = Series::new(3).unwrap();
        for key in ["search", "export"] {
            series.count(&flag(key), Some(&tenant("hr")), 1);
        }
        series.count(&flag("search"), Some(&tenant("ops")), 1);
        series.forget(|flag, tenant| {
            flag.as_str() != "export" && tenant.is_none_or(|tenant| tenant.as_str() != "ops")
        });
        assert_eq!(told(&series), ["search 2", "search hr 1"]);
        for id in ["a", "b", "c"] {
            series.count(&flag("basket"), Some(&tenant(id)), 1);
        }
        assert_eq!(told(&series), ["basket 3", "basket a 1", "basket b 1", "search 2", "search hr 1"]);
    }
}

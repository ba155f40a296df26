//! Evaluations of flags, counted in memory and written every few seconds.
//!
//! A caller adds to one of several maps under a lock that nobody else is likely to hold; a task takes them all and adds
//! them to the table. A replica that dies loses what it has counted since: these are counts for people who tidy up
//! flags, not for bills.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus::Registry;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::series::Series;
use crate::domain::flag::CompiledFlags;
use crate::domain::ids::{FlagKey, TenantId};
use crate::store::Error;
use crate::store::connect::Database;
use crate::store::evaluations::{self, Counted, CountedBulk};

/// Maps that share the work: twice the threads of a usual server, so that two rarely meet.
const STRIPES: usize = 16;
/// Most pairs of flag and tenant that one map tells apart between two writes: 16 of them are about 20 MiB. More are
/// counted for the flag alone.
const PAIRS_MAX: usize = 10_000;
/// Most flags in lists of flags that one map holds between two writes; those of further lists are counted one by one.
const NAMED_MAX: usize = 10_000;
/// Time between two writes.
const INTERVAL: Duration = Duration::from_secs(5);
/// Longest time of one write.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// Most rows of one statement.
const ROWS_MAX: usize = 5_000;
/// Time between two looks for counts that need not be kept as they are; rows come in by the day, not by the second.
const TIDY_EVERY: Duration = Duration::from_hours(1);
/// Most statements of such a look: what is left waits for the next one.
const TIDY_STEPS_MAX: usize = 20;
#[derive(Clone, Copy)]
struct Count {
    evaluations: u64,
    last: Timestamp,
}

type Pairs = HashMap<FlagKey, HashMap<Option<TenantId>, Count>>;

#[derive(Default)]
struct Stripe {
    pairs: Pairs,
    pair_count: usize,
    /// Evaluations for tenants that were too many to be told apart.
    unnamed: u64,
    /// By the address of the list, which nothing else can have while it is held here.
    named: HashMap<usize, Named>,
    named_flags: usize,
    bulk: Bulk,
}

/// Evaluations of the same flags for the same tenant, again and again.
struct Named {
    flags: Arc<[FlagKey]>,
    tenant: TenantId,
    count: Count,
}

/// Evaluations of all flags at once: by the flag set, where only one was asked for, and by when the newest flag was made
/// that was there. As many as there are sets, times the flags that are made between two writes.
type Bulk = HashMap<(Option<String>, Timestamp), Count>;

impl Stripe {
    fn count(&mut self, flag: &FlagKey, tenant: Option<&TenantId>, now: Timestamp) {
        let Self { pairs, pair_count, unnamed, .. } = self;
        if !pairs.contains_key(flag) {
            pairs.insert(flag.clone(), HashMap::new());
        }
        let Some(of_flag) = pairs.get_mut(flag) else { return };
        let tenant = tenant.cloned();
        if let Some(count) = of_flag.get_mut(&tenant) {
            count.add(now);
            return;
        }
        // Counted for nobody in particular where too many are told apart.
        let is_room = *pair_count < PAIRS_MAX;
        *unnamed += u64::from(!is_room && tenant.is_some());
        let place = if is_room { tenant } else { None };
        *pair_count += usize::from(!of_flag.contains_key(&place));
        of_flag.entry(place).or_insert(Count::none(now)).add(now);
    }
}

/// Counts evaluations. Cheap to clone.
#[derive(Clone)]
pub struct Evaluations {
    stripes: Arc<[Mutex<Stripe>]>,
    series: Series,
}

impl std::fmt::Debug for Evaluations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evaluations").finish_non_exhaustive()
    }
}

thread_local! {
    /// Which map this thread adds to.
    static STRIPE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES
    };
}

impl Evaluations {
    /// Makes counters that nobody writes yet. In the metrics at most `tenant_series` pairs of flag and tenant have a series;
    /// further ones are counted by their flag alone.
    ///
    /// # Errors
    ///
    /// Where a metric's name is none, which a test would show.
    pub fn new(tenant_series: usize) -> Result<Self, prometheus::Error> {
        let stripes = (0..STRIPES).map(|_| Mutex::default()).collect();
        Ok(Self { stripes, series: Series::new(tenant_series)? })
    }

    /// Puts `tenantry_flag_evaluations_total`, `tenantry_flag_evaluations_by_tenant_total`,
    /// `tenantry_flag_evaluations_by_tenant_left_out_total`, `tenantry_flag_bulk_evaluations_total` and
    /// `tenantry_flag_evaluations_dropped_total` among the metrics. `is_there` tells whether there is still such a flag or,
    /// where one is given, such a tenant; the series of what is gone are not told any more.
    ///
    /// # Errors
    ///
    /// When there are metrics of these names already.
    pub fn register(
        &self,
        registry: &Registry,
        is_there: impl Fn(&FlagKey, Option<&TenantId>) -> bool + Send + Sync + 'static,
    ) -> Result<(), prometheus::Error> {
        self.series.register(registry, is_there)
    }

    /// Counts one evaluation of one flag.
    pub fn count(&self, flag: &FlagKey, tenant: Option<&TenantId>, now: Timestamp) {
        self.stripe().count(flag, tenant, now);
    }

    /// Counts one evaluation of each of some flags for a tenant; the same list is always of the same tenant. A list that
    /// comes again costs as much as one flag.
    pub fn count_named(&self, flags: &Arc<[FlagKey]>, tenant: &TenantId, now: Timestamp) {
        let mut stripe = self.stripe();
        let address = Arc::as_ptr(flags).addr();
        if let Some(named) = stripe.named.get_mut(&address) {
            named.count.add(now);
        } else if stripe.named_flags + flags.len() <= NAMED_MAX {
            let mut count = Count::none(now);
            count.add(now);
            stripe.named_flags += flags.len();
            stripe.named.insert(address, Named { flags: Arc::clone(flags), tenant: tenant.clone(), count });
        } else {
            for flag in &**flags {
                stripe.count(flag, Some(tenant), now);
            }
        }
    }

    /// Counts one evaluation of all flags, or of those of one set. Where there are none, nothing was evaluated.
    pub fn count_all(&self, flags: &CompiledFlags, flag_set: Option<&str>, now: Timestamp) {
        let is_there = |name: &str| name.is_empty() || flags.has_set(name);
        let Some(newest) = flags.newest().filter(|_| flag_set.is_none_or(is_there)) else { return };
        let place = (flag_set.map(str::to_owned), newest);
        self.stripe().bulk.entry(place).or_insert(Count::none(now)).add(now);
    }

    fn stripe(&self) -> std::sync::MutexGuard<'_, Stripe> {
        let place = STRIPE.with(|place| *place);
        // Whoever panicked while adding left at most one count out.
        self.stripes[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what was counted, every few seconds and once more at the end.
    pub async fn write(self, database: Database, stop: CancellationToken) {
        let mut tidied = Instant::now();
        loop {
            let ended = tokio::select! {
                () = tokio::time::sleep(INTERVAL) => false,
                () = stop.cancelled() => true,
            };
            self.flush(&database).await;
            if ended {
                return;
            }
            if tidied.elapsed() >= TIDY_EVERY {
                tidied = Instant::now();
                self.tidy(&database).await;
            }
        }
    }

    /// Takes away counts of bulk evaluations that are too old to matter, and puts together those that count for the same
    /// flags: as many rows stay as there are flags and sets, whatever came and went.
    pub async fn tidy(&self, database: &Database) {
        let step = async || evaluations::tidy_bulk(&**database.pooled().await?).await;
        for _ in 0..TIDY_STEPS_MAX {
            match tokio::time::timeout(WRITE_MAX, step()).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return,
                Ok(Err(error)) => {
                    tracing::warn!(error = %error, "old counts of flag evaluations could not be tidied up");
                    return;
                }
                Err(_) => {
                    tracing::warn!("old counts of flag evaluations could not be tidied up in time");
                    return;
                }
            }
        }
    }

    /// Writes what was counted so far.
    pub async fn flush(&self, database: &Database) {
        let (counted, bulk) = self.take();
        for rows in counted.chunks(ROWS_MAX) {
            let add = async { evaluations::add(&**database.pooled().await?, rows).await };
            self.written(add, rows.iter().map(|row| row.evaluations)).await;
        }
        for rows in bulk.chunks(ROWS_MAX) {
            let add = async { evaluations::add_bulk(&**database.pooled().await?, rows).await };
            self.written(add, rows.iter().map(|row| row.evaluations)).await;
        }
    }

    async fn written(&self, add: impl Future<Output = Result<(), Error>>, counts: impl Iterator<Item = u64>) {
        let added = tokio::time::timeout(WRITE_MAX, add).await;
        if !matches!(added, Ok(Ok(()))) {
            let lost: u64 = counts.sum();
            self.series.dropped.inc_by(lost);
            tracing::warn!(evaluations = lost, "counts of flag evaluations could not be written");
        }
    }

    fn take(&self) -> (Vec<Counted>, Vec<CountedBulk>) {
        let mut by_name: HashMap<(FlagKey, Option<TenantId>), Count> = HashMap::new();
        let mut bulk = Bulk::new();
        for stripe in &*self.stripes {
            let taken = std::mem::take(&mut *stripe.lock().unwrap_or_else(PoisonError::into_inner));
            self.series.left_out.inc_by(taken.unnamed);
            for (place, count) in taken.bulk {
                self.series.bulk.inc_by(count.evaluations);
                bulk.entry(place).or_insert(Count::none(count.last)).merge(count);
            }
            for named in taken.named.into_values() {
                for flag in &*named.flags {
                    self.series.count(flag, Some(&named.tenant), named.count.evaluations);
                    let place = (flag.clone(), Some(named.tenant.clone()));
                    by_name.entry(place).or_insert(Count::none(named.count.last)).merge(named.count);
                }
            }
            for (flag, tenants) in taken.pairs {
                for (tenant, count) in tenants {
                    self.series.count(&flag, tenant.as_ref(), count.evaluations);
                    by_name.entry((flag.clone(), tenant)).or_insert(Count::none(count.last)).merge(count);
                }
            }
        }
        let counted = |((flag_key, tenant_id), count): ((FlagKey, Option<TenantId>), Count)| Counted {
            flag_key: flag_key.to_string(),
            tenant_id: tenant_id.map(|tenant| tenant.to_string()).unwrap_or_default(),
            evaluations: count.evaluations,
            last_time: count.last,
        };
        let counted_bulk = |((flag_set, newest_flag_time), count): (_, Count)| CountedBulk {
            flag_set,
            newest_flag_time,
            evaluations: count.evaluations,
            last_time: count.last,
        };
        (by_name.into_iter().map(counted).collect(), bulk.into_iter().map(counted_bulk).collect())
    }
}

impl Count {
    const fn none(now: Timestamp) -> Self {
        Self { evaluations: 0, last: now }
    }

    fn add(&mut self, now: Timestamp) {
        self.merge(Self { evaluations: 1, last: now });
    }

    fn merge(&mut self, other: Self) {
        self.evaluations += other.evaluations;
        self.last = self.last.max(other.last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::flag::{FlagType, Settings};
    use crate::domain::ids::Revision;

    fn flag(name: &str) -> FlagKey {
        FlagKey::parse(name).unwrap()
    }

    fn tenant(id: &str) -> TenantId {
        TenantId::parse(id).unwrap()
    }

    fn flags_with(name: &str, flag_set: &str, made: Timestamp) -> CompiledFlags {
        let mut settings = Settings::new(flag(name), FlagType::Boolean);
        flag_set.clone_into(&mut settings.flag_set);
        CompiledFlags::new().with_flag(Arc::new(settings.into_flag(Revision(1), made)))
    }

    #[test]
    fn flags_counted_by_the_list_count_as_one_by_one_also_where_there_are_too_many_lists() {
        let counters = Evaluations::new(10_000).unwrap();
        let list = |names: &[&str]| names.iter().map(|name| flag(name)).collect::<Arc<[_]>>();
        let again = list(&["search", "search", "basket"]);
        for second in 0..5 {
            let now = Timestamp::from_second(second).unwrap();
            counters.count_named(&again, &tenant("finance"), now);
        }
        counters.count(&flag("search"), Some(&tenant("finance")), Timestamp::UNIX_EPOCH);
        let lists = NAMED_MAX + 7;
        for _ in 0..lists {
            counters.count_named(&list(&["basket"]), &tenant("hr"), Timestamp::UNIX_EPOCH);
        }
        assert!(counters.stripe().named_flags <= NAMED_MAX);
        let (mut taken, _) = counters.take();
        taken.sort_unstable_by(|a, b| (&a.flag_key, &a.tenant_id).cmp(&(&b.flag_key, &b.tenant_id)));
        let shown: Vec<_> = taken
            .iter()
            .map(|row| (row.flag_key.as_str(), row.tenant_id.as_str(), row.evaluations, row.last_time))
            .collect();
        let (zero, four) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(4).unwrap());
        let hr = u64::try_from(lists).unwrap();
        assert_eq!(
            shown,
            [("basket", "finance", 5, four), ("basket", "hr", hr, zero), ("search", "finance", 11, four)]
        );
        assert!(counters.take().0.is_empty());
    }

    #[test]
    fn what_is_counted_on_many_threads_adds_up_and_is_taken_once() {
        let counters = Evaluations::new(10_000).unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let flags = flags_with("search", "", now);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        counters.count(&flag("search"), Some(&tenant("finance")), now);
                        counters.count_all(&flags, None, now);
                    }
                    counters.count(&flag("search"), None, now);
                });
            }
        });
        let (mut taken, bulk) = counters.take();
        taken.sort_unstable_by(|a, b| (&a.flag_key, &a.tenant_id).cmp(&(&b.flag_key, &b.tenant_id)));
        let shown: Vec<_> = taken
            .iter()
            .map(|row| (row.flag_key.as_str(), row.tenant_id.as_str(), row.evaluations))
            .collect();
        assert_eq!(shown, [("search", "", 8), ("search", "finance", 8_000)]);
        assert_eq!(bulk.iter().map(|row| row.evaluations).collect::<Vec<_>>(), [8_000]);
        assert_eq!(counters.take(), (Vec::new(), Vec::new()));
        assert_eq!(counters.series.bulk.get(), 8_000);
    }

    #[test]
    fn with_too_many_tenants_the_flag_is_counted_all_the_same() {
        let counters = Evaluations::new(10_000).unwrap();
        let many = PAIRS_MAX + 500;
        for number in 0..many {
            counters.count(&flag("search"), Some(&tenant(&format!("t{number}"))), Timestamp::UNIX_EPOCH);
        }
        let (taken, _) = counters.take();
        assert_eq!(taken.len(), PAIRS_MAX + 1);
        assert_eq!(taken.iter().map(|row| row.evaluations).sum::<u64>(), many as u64);
        let rest = taken.iter().find(|row| row.tenant_id.is_empty()).unwrap();
        assert_eq!(rest.evaluations, 500);
        assert_eq!(counters.series.left_out.get(), 500);
    }

    #[test]
    fn all_flags_are_counted_by_the_set_asked_for_and_only_where_there_is_such_a_set() {
        let counters = Evaluations::new(10_000).unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let flags = flags_with("search", "web", now);
        counters.count_all(&CompiledFlags::new(), None, now);
        for set in [None, Some(""), Some("web"), Some("web"), Some("no-such-set")] {
            counters.count_all(&flags, set, now);
        }
        let (_, mut bulk) = counters.take();
        bulk.sort_unstable_by(|a, b| a.flag_set.cmp(&b.flag_set));
        let shown: Vec<_> = bulk.iter().map(|row| (row.flag_set.as_deref(), row.evaluations)).collect();
        assert_eq!(shown, [(None, 1), (Some(""), 1), (Some("web"), 2)]);
    }
}

//! Listing flags.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::{get_flag, order_is_by_key};
use crate::domain::error::{Error, invalid_filter, invalid_order};
use crate::domain::filter::flag::{Row, SCHEMA};
use crate::domain::filter::{Filter, OrderBy};
use crate::domain::flag::Flag;
use crate::domain::flag::stale::{Staleness, staleness};
use crate::domain::ids::{FlagKey, VariantName};
use crate::services::Registry;
use crate::services::paging::{Keyed, Page, PageRequest, Query, page, page_by_key};
use crate::store::evaluations::{self, Tally};
use crate::view::Snapshot;

/// Which flags, in which order.
#[derive(Debug, Clone, Default)]
pub struct ListFlags {
    /// AIP-160; empty for all.
    pub filter: String,
    /// Fields; empty for the key.
    pub order_by: String,
}

impl ListFlags {
    /// Lists one page.
    pub fn run(&self, snapshot: &Snapshot, request: &PageRequest) -> Result<Page<Arc<Flag>>, Error> {
        let order = OrderBy::parse(&self.order_by, &SCHEMA).map_err(|error| invalid_order(&error))?;
        let rows = self.rows(snapshot, |_| true)?;
        let parts = ["flags", &self.filter, &self.order_by];
        let query = Query { parts: &parts, order: &order, sorted: order_is_by_key(&order) };
        Ok(flags_of(page(snapshot, request, &query, rows)?))
    }

    fn rows(&self, snapshot: &Snapshot, wanted: impl Fn(&Flag) -> bool) -> Result<Vec<Row>, Error> {
        let filter =
            Filter::parse(&self.filter, &SCHEMA).map_err(|error| invalid_filter("filter", &error))?;
        let flags = snapshot.flags.flags().filter(|flag| wanted(flag));
        Ok(flags.map(|flag| Row(Arc::clone(flag))).filter(|row| filter.matches(row)).collect())
    }
}

fn flags_of(page: Page<Row>) -> Page<Arc<Flag>> {
    Page {
        items: page.items.into_iter().map(|row| row.0).collect(),
        next_token: page.next_token,
        total: page.total,
    }
}

/// A flag that should go.
#[derive(Debug, Clone, PartialEq)]
pub struct StaleFlag {
    /// The flag.
    pub flag: Arc<Flag>,
    /// Why.
    pub staleness: Staleness,
    /// How it is used.
    pub tally: Tally,
}

impl Registry {
    /// Lists flags that should go, with how often and when last they were evaluated.
    pub async fn list_stale_flags(
        &self,
        snapshot: &Snapshot,
        list: &ListFlags,
        request: &PageRequest,
        now: Timestamp,
    ) -> Result<Page<StaleFlag>, Error> {
        let order = OrderBy::parse("", &SCHEMA).map_err(Error::bug)?;
        let rows = list.rows(snapshot, |flag| staleness(flag, now).is_some())?;
        let parts = ["stale flags", &list.filter];
        let query = Query { parts: &parts, order: &order, sorted: true };
        let page = flags_of(page(snapshot, request, &query, rows)?);
        let keys: Vec<_> = page.items.iter().map(|flag| flag.key().as_str()).collect();
        let mut tallies = self.tallies(&keys).await?;
        let stale = |flag: Arc<Flag>| {
            let staleness = staleness(&flag, now)?;
            let tally = tallies.remove(flag.key().as_str()).unwrap_or_default();
            Some(StaleFlag { flag, staleness, tally })
        };
        let items = page.items.into_iter().filter_map(stale).collect();
        Ok(Page { items, next_token: page.next_token, total: page.total })
    }

    async fn tallies(&self, keys: &[&str]) -> Result<BTreeMap<String, Tally>, Error> {
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let client = self.database.pooled().await?;
        Ok(evaluations::tallies(&**client, keys).await?)
    }
}

/// A flag that hangs on another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    /// The flag.
    pub flag: FlagKey,
    /// What it needs.
    pub needs: FlagKey,
    /// Which variants of it will do; none for a kill switch.
    pub variants: Vec<VariantName>,
}

/// Lists the flags that hang on a flag, directly and through others.
pub fn list_dependents(
    snapshot: &Snapshot,
    flag_key: &FlagKey,
    request: &PageRequest,
) -> Result<Page<Dependent>, Error> {
    get_flag(snapshot, flag_key)?;
    let mut found: BTreeMap<(FlagKey, FlagKey), Dependent> = BTreeMap::new();
    let mut waiting = vec![flag_key.clone()];
    while let Some(needed) = waiting.pop() {
        for key in snapshot.flags.dependents(needed.as_str()) {
            let place = (key.clone(), needed.clone());
            if found.contains_key(&place) {
                continue;
            }
            let flag = get_flag(snapshot, key)?;
            let of_needed = flag.settings.prerequisites.iter().filter(|other| other.flag_key == needed);
            let variants = of_needed.flat_map(|other| other.variants.iter().cloned()).collect();
            found.insert(place, Dependent { flag: key.clone(), needs: needed.clone(), variants });
            waiting.push(key.clone());
        }
    }
    let keyed = |(_, item): (_, Dependent)| Keyed { key: format!("{} {}", item.flag, item.needs), item };
    let mut items: Vec<_> = found.into_iter().map(keyed).collect();
    items.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    page_by_key(snapshot, request, &["dependents", flag_key.as_str()], false, items)
}

//! Reading operations: from the view, and those that ended long ago from their table.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::error::{Error, Reason, invalid_filter};
use crate::domain::filter::Filter;
use crate::domain::filter::operation::{Row, SCHEMA};
use crate::domain::ids::{OperationId, TenantId};
use crate::domain::operation::{Operation, State};
use crate::services::paging::{Keys, Page, PageRequest};
use crate::services::tenant_registry::not_found;
use crate::services::{Registry, now};
use crate::store::operations::{Ended, operations_by_ids, operations_ended};
use crate::store::reading::{Found, Unreadable};
use crate::view::Snapshot;
use crate::view::snapshot::unreadable;

/// So many old operations are looked at for one page; few of them may fit the filter.
const LOOK_MAX: usize = 10_000;
/// So many are read at once.
const BATCH: usize = 1_000;

/// Which operations.
#[derive(Debug, Clone, Default)]
pub struct ListOperations {
    /// Which page.
    pub page: PageRequest,
    /// Only this tenant's.
    pub tenant_id: Option<TenantId>,
    /// Only in this state.
    pub state: Option<State>,
    /// AIP-160; empty for all.
    pub filter: String,
}

/// What is asked for, understood.
struct Asked<'a> {
    request: &'a ListOperations,
    filter: Filter,
    now: Timestamp,
}

impl Asked<'_> {
    fn fits(&self, operation: &Operation) -> bool {
        self.request.tenant_id.as_ref().is_none_or(|id| operation.tenant_id == *id)
            && self.request.state.is_none_or(|state| operation.state == state)
            && (self.filter.is_all() || self.filter.matches(&Row::of(operation, self.now)))
    }
}

/// Old operations that fit.
#[derive(Default)]
struct Old {
    found: Vec<Operation>,
    /// How far was looked, where there may be more behind it.
    looked_until: Option<OperationId>,
}

impl Registry {
    /// Reads an operation.
    ///
    /// # Errors
    ///
    /// Where there is none; where it ended long ago and the database cannot be asked.
    pub async fn operation(
        &self,
        snapshot: &Snapshot,
        operation_id: OperationId,
    ) -> Result<Arc<Operation>, Error> {
        let at_hand = operation_at_hand(snapshot, operation_id);
        if at_hand.is_ok() {
            return at_hand;
        }
        let old = self.old_operations(snapshot, &[operation_id]).await?;
        if !old.unreadable.is_empty() {
            return Err(unreadable(&old.unreadable));
        }
        old.rows.into_iter().next().map(Arc::new).map_or(at_hand, Ok)
    }

    /// Those of some operations that ended long ago; the view has the others, if there are any.
    pub(super) async fn old_operations(
        &self,
        snapshot: &Snapshot,
        ids: &[OperationId],
    ) -> Result<Found<Operation>, Error> {
        let left_out = snapshot.operations.left_out();
        let old: Vec<_> = ids.iter().copied().filter(|id| Some(*id) <= left_out).collect();
        if old.is_empty() {
            return Ok(Found { rows: Vec::new(), unreadable: Vec::new() });
        }
        let client = self.database.pooled().await?;
        let found = operations_by_ids(&**client, &old).await?;
        found.unreadable.iter().for_each(tell);
        Ok(found)
    }

    /// Lists operations, newest first. Old ones are listed behind the others, but not counted.
    pub async fn list_operations(
        &self,
        snapshot: &Snapshot,
        request: &ListOperations,
    ) -> Result<Page<Arc<Operation>>, Error> {
        let filter =
            Filter::parse(&request.filter, &SCHEMA).map_err(|error| invalid_filter("filter", &error))?;
        let asked = Asked { request, filter, now: now() };
        let tenant = request.tenant_id.as_ref().map_or("", TenantId::as_str);
        let query = ["operations", tenant, request.state.map_or("", State::as_str), &request.filter];
        let keys = Keys::of(snapshot, &query);
        let after = keys.after(&request.page)?.and_then(|key| OperationId::parse(&key).ok());
        let known = snapshot.operations.values().filter(|operation| asked.fits(operation));
        let mut fitting: BTreeMap<_, _> =
            known.map(|operation| (operation.operation_id, Arc::clone(operation))).collect();
        let total = fitting.len();
        // A page that ends before the old ones begin needs none of them.
        let newer = fitting.keys().filter(|id| {
            Some(**id) > snapshot.operations.left_out() && after.is_none_or(|after| **id < after)
        });
        let old = if newer.count() > request.page.size {
            Old::default()
        } else {
            self.old_that_fit(snapshot, &asked, after).await?
        };
        if let Some(tenant_id) = &request.tenant_id
            && total == 0
            && old.found.is_empty()
            && !self.is_known(snapshot, tenant_id).await?
        {
            return Err(not_found(tenant_id));
        }
        for operation in old.found {
            fitting.entry(operation.operation_id).or_insert_with(|| Arc::new(operation));
        }
        if let Some(until) = old.looked_until {
            fitting = fitting.split_off(&until);
        }
        let mut left = fitting.into_iter().rev().filter(|(id, _)| after.is_none_or(|after| *id < after));
        let items: Vec<_> = left.by_ref().take(request.page.size).map(|(_, operation)| operation).collect();
        let last = if left.next().is_some() {
            items.last().map(|operation| operation.operation_id)
        } else {
            old.looked_until
        };
        let next_token = last.map_or_else(String::new, |last| keys.token(&last.to_string()));
        Ok(Page { items, next_token, total })
    }

    /// Old operations that fit, enough for a page and one more.
    async fn old_that_fit(
        &self,
        snapshot: &Snapshot,
        asked: &Asked<'_>,
        after: Option<OperationId>,
    ) -> Result<Old, Error> {
        let mut old = Old::default();
        let Some(youngest) = snapshot.operations.left_out() else { return Ok(old) };
        if asked.request.state.is_some_and(|state| state.is_open() || state == State::Scheduled) {
            return Ok(old);
        }
        let client = self.database.pooled().await?;
        let (tenant_id, state) = (asked.request.tenant_id.as_ref(), asked.request.state);
        let mut before = after;
        for _ in 0..LOOK_MAX / BATCH {
            let batch = Ended { youngest, before, tenant_id, state, limit: BATCH };
            let batch = operations_ended(&**client, &batch).await?;
            batch.unreadable.iter().for_each(tell);
            let is_last = batch.rows.len() + batch.unreadable.len() < BATCH;
            before = oldest(&batch).or(before);
            old.found.extend(batch.rows.into_iter().filter(|operation| asked.fits(operation)));
            old.looked_until = before.filter(|_| !is_last);
            if is_last || old.found.len() > asked.request.page.size {
                break;
            }
        }
        Ok(old)
    }

    /// Whether a tenant is there, or was until it was purged: then its operations are.
    async fn is_known(&self, snapshot: &Snapshot, tenant_id: &TenantId) -> Result<bool, Error> {
        let is_of = |operation: &Arc<Operation>| operation.tenant_id == *tenant_id;
        if snapshot.tenant(tenant_id).is_some() || snapshot.operations.values().any(is_of) {
            return Ok(true);
        }
        let Some(youngest) = snapshot.operations.left_out() else { return Ok(false) };
        let client = self.database.pooled().await?;
        let any = Ended { youngest, before: None, tenant_id: Some(tenant_id), state: None, limit: 1 };
        let found = operations_ended(&**client, &any).await?;
        Ok(!found.rows.is_empty() || !found.unreadable.is_empty())
    }
}

/// The last of a batch, whether or not it can be read: a listing goes on behind it.
fn oldest(batch: &Found<Operation>) -> Option<OperationId> {
    let read = batch.rows.iter().map(|operation| operation.operation_id);
    read.chain(batch.unreadable.iter().filter_map(|row| OperationId::parse(&row.key).ok())).min()
}

/// Nobody keeps an old operation in memory, so it is told each time that it is asked for.
fn tell(row: &Unreadable) {
    tracing::warn!(
        table = row.table,
        key = row.key.as_str(),
        revision = row.revision.get(),
        why = row.why.as_str(),
        "an old operation cannot be read and is left out"
    );
}

/// An operation that has not ended, or not long ago.
pub(super) fn operation_at_hand(
    snapshot: &Snapshot,
    operation_id: OperationId,
) -> Result<Arc<Operation>, Error> {
    let not_found = || Error::missing(Reason::OperationNotFound, "operation", "operation_id", operation_id);
    let found = snapshot.operations.get(&operation_id).cloned();
    found.ok_or_else(|| snapshot.missing("operation", &operation_id.to_string(), not_found()))
}

//! A verb on many tenants: `start_bulk_operation`, `abort_bulk_operation`, and what became of them.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::children::{OnMany, item};
use super::opens_later::Scheduled;
use crate::domain::bulk::{Bulk, Item, TENANTS_MAX};
use crate::domain::error::{Error, Reason};
use crate::domain::filter::Filter;
use crate::domain::ids::{OperationId, Revision};
use crate::domain::lifecycle::Verb;
use crate::domain::operation::Wish;
use crate::services::change::{Decision, Reply};
use crate::services::paging::{Keyed, Page, PageRequest, page_by_key};
use crate::services::tenant_registry::tier_not_found;
use crate::services::{Command, Registry, new_id};
use crate::store::bulks::{Begun, bulk_advance, bulk_start};
use crate::view::{Snapshot, View};

impl Reply for Bulk {
    fn set_revision(&mut self, revision: Revision) {
        self.revision = revision;
    }
}

/// A verb is asked of many tenants.
#[derive(Debug, Clone)]
pub struct StartBulk {
    /// Which tenants; of those that match, the ones that can take the verb now or once their open operation has ended,
    /// those that are where it leads while an older bulk operation is about to take them elsewhere, and, for a verb that closes,
    /// as failed, those that have more access and cannot take it, or are there and scheduled to have more again. As failed, too, those
    /// that a time forbids it.
    pub filter: Filter,
    /// The filter as it was written.
    pub filter_text: String,
    /// What is asked of each.
    pub verb: Verb,
    /// What is asked for beside it.
    pub wish: Wish,
    /// Why.
    pub reason: String,
    /// Operations at once.
    pub concurrent_max: u32,
}

/// Reads a bulk operation.
pub fn get_bulk(snapshot: &Snapshot, bulk_id: OperationId) -> Result<Arc<Bulk>, Error> {
    snapshot.bulks.get(&bulk_id).cloned().ok_or_else(|| {
        Error::missing(Reason::BulkOperationNotFound, "bulk operation", "bulk_operation_id", bulk_id)
    })
}

/// Lists bulk operations, newest first.
pub fn list_bulks(snapshot: &Snapshot, request: &PageRequest) -> Result<Page<Arc<Bulk>>, Error> {
    let items = snapshot
        .bulks
        .iter()
        .rev()
        .map(|(id, bulk)| Keyed { key: id.to_string(), item: Arc::clone(bulk) })
        .collect();
    page_by_key(snapshot, request, &["bulk_operations"], true, items)
}

impl Registry {
    /// Chooses the tenants and takes the bulk operation up; older ones that have not begun them lose them to it.
    pub async fn start_bulk(&self, start: &StartBulk, command: &Command) -> Result<Bulk, Error> {
        let bulk_id = OperationId::from_uuid(new_id());
        let waiting = self.waiting_elsewhere(start.verb, &start.wish).await?;
        let bulk = self
            .change(command, |snapshot, context| {
                if let Some(tier) =
                    start.wish.tier.as_ref().filter(|tier| !snapshot.tiers.contains_key(*tier))
                {
                    return Err(tier_not_found(tier));
                }
                let asked = OnMany {
                    snapshot,
                    verb: start.verb,
                    begin: context.now,
                    waiting: &waiting,
                    scheduled: Scheduled::of(snapshot),
                };
                let items: Vec<Item> = snapshot
                    .tenants
                    .values()
                    .filter(|record| start.filter.matches(&snapshot.row(record)))
                    .filter_map(|record| item(&asked, &record.tenant))
                    .collect();
                if items.len() > TENANTS_MAX {
                    return Err(too_many(items.len()));
                }
                let mut bulk = Bulk {
                    filter: start.filter_text.clone(),
                    wish: start.wish.clone(),
                    reason: start.reason.clone(),
                    actor: context.actor.clone(),
                    concurrent_max: start.concurrent_max,
                    ..Bulk::new(bulk_id, start.verb, items.len(), context.now)
                };
                bulk.settle(&items, context.now);
                let begun = Begun { bulk, items };
                Ok(Decision::Make(Box::new(bulk_start(&begun, context)), begun.bulk))
            })
            .await?;
        self.bulk_news.notify_one();
        Ok(bulk)
    }

    /// Begins no more tenants.
    pub async fn abort_bulk(&self, bulk_id: OperationId, command: &Command) -> Result<Bulk, Error> {
        let bulk = self
            .change(command, |snapshot, context| {
                let bulk = get_bulk(snapshot, bulk_id)?;
                let mut next = (*bulk).clone();
                if !next.cancel(context.now) {
                    return Err(Error::new(
                        Reason::OperationEnded,
                        "the bulk operation has ended, or is being ended already",
                    )
                    .with("bulk_operation_id", bulk_id)
                    .with("state", bulk.state.as_str()));
                }
                let change = bulk_advance(&next, bulk.revision, None, &[], context);
                Ok(Decision::Make(Box::new(change), next))
            })
            .await?;
        self.bulk_news.notify_one();
        Ok(bulk)
    }

    /// Tells a bulk operation as it is now, then at every change, until it ended.
    pub fn watch_bulk(
        &self,
        bulk_id: OperationId,
    ) -> Result<mpsc::Receiver<Result<Arc<Bulk>, Error>>, Error> {
        let mut revisions = self.view.revisions();
        revisions.borrow_and_update();
        let snapshot = self.view.snapshot()?;
        let (history, mut bulk) = (snapshot.history, get_bulk(&snapshot, bulk_id)?);
        let view = Arc::clone(&self.view);
        let (told, receiver) = mpsc::channel(16);
        tokio::spawn(async move {
            let patience = view.slow_reader_after();
            let mut seen = None;
            loop {
                if seen != Some(bulk.revision) {
                    seen = Some(bulk.revision);
                    if told.send_timeout(Ok(Arc::clone(&bulk)), patience).await.is_err() {
                        let _ = told.send_timeout(Err(view.slow_reader()), patience).await;
                        return;
                    }
                    if bulk.finish_time.is_some() {
                        return;
                    }
                }
                tokio::select! {
                    changed = revisions.changed() => if changed.is_err() { return },
                    () = told.closed() => return,
                }
                let Ok(now) = view.snapshot() else { continue };
                if now.history != history {
                    let _ = told.send_timeout(Err(View::replaced()), patience).await;
                    return;
                }
                bulk = now.bulks.get(&bulk_id).map_or(bulk, Arc::clone);
            }
        });
        Ok(receiver)
    }
}

fn too_many(found: usize) -> Error {
    Error::new(
        Reason::TooManyTenants,
        format!("{found} tenants match, and a bulk operation takes {TENANTS_MAX}: narrow the filter"),
    )
    .with("found", found)
    .with("maximum", TENANTS_MAX)
}

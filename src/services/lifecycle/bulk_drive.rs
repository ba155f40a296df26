//! Driving bulk operations: begins the tenants' operations, as many at once as was asked for, and counts.
//!
//! Each bulk operation is one replica's at a time. Another that takes it over asks for the same operations under the
//! same request ids, so no tenant is moved twice.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use futures_util::StreamExt as _;
use futures_util::stream;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use uuid::Uuid;

use super::children::opens_again;
use super::opens_later::Scheduled;
use super::{background_command, background_context};
use crate::domain::bulk::{Bulk, BulkState, Item, ItemState};
use crate::domain::error::{Code, Error, Reason};
use crate::domain::ids::{OperationId, RequestId};
use crate::domain::lifecycle::{Access, Verb};
use crate::domain::operation::{Operation, State};
use crate::domain::tenant::Tenant;
use crate::services::{Command, Registry, StartOperation};
use crate::store::background::work_claim;
use crate::store::bulks::{bulk_advance, bulk_items, bulk_overruled};
use crate::store::log::Outcome;
use crate::store::writer::Submitted;
use crate::view::Snapshot;

/// How often is looked for bulk operations that nobody drives.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Progress is written at most this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// What changes within so short a time is looked at together.
const GATHER: Duration = Duration::from_millis(10);
/// A suspension that lasts longer takes no place: the registry denies the tenant by then, each target that answers has been told,
/// and those that have not begun are let in everywhere. Whether a target hangs is known only after its deadline.
const DENIAL_HOLDS_UP: SignedDuration = SignedDuration::from_secs(2);
/// Operations that are asked for at once: as many as one transaction of the writer takes, halved.
const ASK_MAX: usize = 64;

/// By place, the operations that are in the way of tenants that wait, as they were when they refused.
type InTheWay = HashMap<usize, (OperationId, State)>;
type Mine = Arc<Mutex<HashSet<OperationId>>>;

/// Drives what nobody else drives, until told to stop.
pub(super) async fn run(registry: Registry) {
    let mine = Mine::default();
    registry.view.loaded().await;
    loop {
        if let Ok(snapshot) = registry.view.snapshot() {
            for bulk in snapshot.bulks.values().filter(|bulk| bulk.state.is_driven()) {
                take(&registry, &mine, bulk.bulk_id).await;
            }
        }
        tokio::select! {
            () = registry.bulk_news.notified() => {}
            () = tokio::time::sleep(LOOK_INTERVAL.min(registry.lease.length / 3)) => {}
        }
    }
}

async fn take(registry: &Registry, mine: &Mine, bulk_id: OperationId) {
    if locked(mine).contains(&bulk_id) || !claim(registry, bulk_id).await.unwrap_or(false) {
        return;
    }
    locked(mine).insert(bulk_id);
    let (registry, mine) = (registry.clone(), Arc::clone(mine));
    tokio::spawn(async move {
        if let Err(error) = drive(&registry, bulk_id).await {
            tracing::warn!(error = %error, bulk_id = %bulk_id, "a bulk operation pauses");
        }
        locked(&mine).remove(&bulk_id);
    });
}

fn locked(mine: &Mine) -> std::sync::MutexGuard<'_, HashSet<OperationId>> {
    mine.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn claim(registry: &Registry, bulk_id: OperationId) -> Result<bool, Error> {
    let client = registry.database.pooled().await?;
    Ok(work_claim(&**client, &format!("bulk/{bulk_id}"), registry.lease).await?.is_some())
}

/// Drives one to its end, or until it is another replica's.
async fn drive(registry: &Registry, bulk_id: OperationId) -> Result<(), Error> {
    let mut items = {
        let client = registry.database.pooled().await?;
        bulk_items(&**client, bulk_id).await?
    };
    let mut revisions = registry.view.revisions();
    let mut claimed = Instant::now();
    // As they were written last, and when.
    let mut written = (items.clone(), Instant::now());
    let mut in_the_way = InTheWay::new();
    loop {
        revisions.borrow_and_update();
        let snapshot = registry.view.snapshot()?;
        let Some(bulk) = snapshot.bulks.get(&bulk_id).filter(|bulk| bulk.state.is_driven()) else {
            return Ok(());
        };
        observe(registry, &snapshot, &mut items).await?;
        leave_to_newer(registry, bulk_id, &mut items).await?;
        if bulk.state == BulkState::Cancelling {
            give_up_waiting(&mut items);
        }
        while begin(registry, bulk, &mut items, &mut in_the_way).await? {}
        let all_done = items.iter().all(|item| item.state.is_done());
        if all_done || written.1.elapsed() >= PROGRESS_INTERVAL {
            let pairs = items.iter().zip(&written.0);
            let changed: Vec<Item> =
                pairs.filter(|(now, before)| now != before).map(|(now, _)| now.clone()).collect();
            if all_done || !changed.is_empty() {
                write(registry, bulk, &items, &changed).await?;
                written = (items.clone(), Instant::now());
            }
        }
        if claimed.elapsed() > registry.lease.length / 4 {
            claimed = Instant::now();
            if !claim(registry, bulk_id).await? {
                return Ok(());
            }
        }
        tokio::time::sleep(GATHER).await;
        let wait = PROGRESS_INTERVAL.min(registry.lease.length / 4);
        let _ = tokio::time::timeout(wait, revisions.changed()).await;
    }
}

/// What has become of operations that were begun.
async fn observe(registry: &Registry, snapshot: &Snapshot, items: &mut [Item]) -> Result<(), Error> {
    // Whoever takes over after a long time finds operations that ended long ago.
    let mut old = Vec::new();
    for item in items.iter_mut().filter(|item| !item.state.is_done()) {
        let Some(id) = item.operation_id else { continue };
        match snapshot.operations.get(&id) {
            Some(operation) => item.follow(operation),
            None => old.push(id),
        }
    }
    let old = registry.old_operations(snapshot, &old).await?;
    let old: HashMap<_, _> =
        old.rows.iter().map(|operation| (Some(operation.operation_id), operation)).collect();
    for item in items.iter_mut().filter(|item| item.operation_id.is_some()) {
        if let Some(operation) = old.get(&item.operation_id) {
            item.follow(operation);
        }
    }
    Ok(())
}

/// Ends those that somebody decided otherwise about before they were begun. None of them can be begun any more: the database
/// sees to that, whatever is known here.
async fn leave_to_newer(registry: &Registry, bulk_id: OperationId, items: &mut [Item]) -> Result<(), Error> {
    if items.iter().all(|item| item.state != ItemState::Waiting) {
        return Ok(());
    }
    let client = registry.database.pooled().await?;
    let mut overruled: HashMap<_, _> = bulk_overruled(&**client, bulk_id).await?.into_iter().collect();
    if overruled.is_empty() {
        return Ok(());
    }
    for item in items {
        if let Some(why) = overruled.remove(&item.tenant_uid) {
            item.overrule(why);
        }
    }
    Ok(())
}

fn give_up_waiting(items: &mut [Item]) {
    for item in items.iter_mut().filter(|item| item.state == ItemState::Waiting) {
        item.state = ItemState::Failed;
        "the bulk operation was aborted before it was begun".clone_into(&mut item.error);
    }
}

/// How many of those that run wait only for targets that are paused, whose circuit is open, or that go on failing, or take away
/// all access and last.
fn held_up(registry: &Registry, snapshot: &Snapshot, items: &[Item]) -> usize {
    let held: Vec<_> = registry.held_targets(snapshot).into_iter().map(|(target, _)| target).collect();
    let now = crate::services::now();
    let running = items.iter().filter(|item| item.state == ItemState::Running);
    let operations = running.filter_map(|item| snapshot.operations.get(&item.operation_id?));
    operations
        .filter(|operation| {
            // Of a target that is held, or that has just failed, this replica knows; of another replica's circuit it sees
            // only that nothing is tried for longer than an attempt and a pause take.
            operation.only_waits(|step| step.keeps_failing() || held.contains(&step.target))
                || denies_for_long(operation, now)
                || (operation.state.is_driven()
                    && now.duration_since(operation.update_time) > registry.engine.silence_max())
        })
        .count()
}

/// Whether an operation that takes away all access has been under way for so long that it should keep no other from beginning.
fn denies_for_long(operation: &Operation, now: Timestamp) -> bool {
    let takes_all = operation.from_status.access() > Access::None
        && operation.heading().access() == Access::None
        && operation.state.is_driven();
    takes_all && now.duration_since(operation.create_time) > DENIAL_HOLDS_UP
}

/// A tenant that is where a verb leads to, and nowhere on its way.
fn there<'a>(snapshot: &'a Snapshot, item: &Item, verb: Verb) -> Option<&'a Tenant> {
    let record = snapshot.tenant(&item.tenant_id).filter(|record| record.tenant.uid == item.tenant_uid)?;
    let tenant = &record.tenant;
    let is_there =
        verb.moves() && tenant.operation_id.is_none() && verb.leads_to(tenant.status) == tenant.status;
    is_there.then_some(tenant)
}

/// Notes that a verb was refused; where what the tenant waited for has brought it there, it has arrived, unless it is scheduled to
/// leave again what the verb is to keep it in.
fn refused(snapshot: &Snapshot, item: &mut Item, verb: Verb, error: Error) {
    let there = there(snapshot, item, verb).filter(|_| error.reason == Reason::IllegalTransition);
    let opens = there.map(|tenant| opens_again(snapshot, tenant, verb, &Scheduled::of(snapshot)));
    (item.state, item.error) = match opens {
        None => (ItemState::Failed, error.message),
        Some(Some(opens)) => (ItemState::Failed, opens),
        Some(None) => (ItemState::Succeeded, String::new()),
    };
}

/// Begins as many as there is room for. Answers whether some that were asked for turned out to wait for another operation,
/// so that there is room for others; they are passed by until that changes.
async fn begin(
    registry: &Registry,
    bulk: &Arc<Bulk>,
    items: &mut [Item],
    in_the_way: &mut InTheWay,
) -> Result<bool, Error> {
    let snapshot = registry.view.snapshot()?;
    in_the_way.retain(|place, other| {
        let Some(item) = items.get_mut(*place).filter(|item| item.state == ItemState::Waiting) else {
            return false;
        };
        let stays = snapshot
            .open_operation(&item.tenant_id)
            .is_some_and(|open| (open.operation_id, open.state) == *other);
        if !stays {
            item.error.clear();
            item.is_blocked = false;
        }
        stays
    });
    let room = bulk.room(items, held_up(registry, &snapshot, items));
    let waiting = items.iter().enumerate();
    let waiting =
        waiting.filter(|(place, item)| item.state == ItemState::Waiting && !in_the_way.contains_key(place));
    let waiting: Vec<(usize, Item)> = waiting.take(room).map(|(place, item)| (place, item.clone())).collect();
    let asked = waiting.into_iter().map(|(place, item)| {
        let (registry, bulk) = (registry.clone(), Arc::clone(bulk));
        async move { (place, ask(&registry, &bulk, &item).await) }
    });
    let mut answers = stream::iter(asked).buffer_unordered(ASK_MAX);
    let mut room_again = false;
    while let Some((place, answer)) = answers.next().await {
        let Some(item) = items.get_mut(place) else { continue };
        match answer {
            Ok(operation) => {
                item.operation_id = Some(operation.operation_id);
                // It may have ended before it was answered.
                item.follow(&operation);
            }
            Err(error) if error.reason == Reason::OperationInProgress => {
                if let Some(open) = registry.view.snapshot()?.open_operation(&item.tenant_id) {
                    item.error = open.awaited();
                    item.is_blocked = open.state == State::NeedsOperator;
                    in_the_way.insert(place, (open.operation_id, open.state));
                    room_again = true;
                }
            }
            // It waits for whoever changes it right now, or for the database.
            Err(error) if matches!(error.reason.code(), Code::Unavailable | Code::Aborted) => {
                item.error = error.message;
            }
            Err(error) => refused(&*registry.view.snapshot()?, item, bulk.verb, error),
        }
    }
    Ok(room_again)
}

async fn ask(registry: &Registry, bulk: &Bulk, item: &Item) -> Result<Operation, Error> {
    let snapshot = registry.view.snapshot()?;
    let same = snapshot.tenant(&item.tenant_id).is_some_and(|record| record.tenant.uid == item.tenant_uid);
    if !same {
        return Err(Error::missing(Reason::TenantNotFound, "tenant", "tenant_id", &item.tenant_id));
    }
    let start = StartOperation {
        tenant_id: item.tenant_id.clone(),
        verb: bulk.verb,
        reason: bulk.reason.clone(),
        etag: None,
        wait: Duration::ZERO,
        at: None,
        wish: bulk.wish.clone(),
        bulk_id: Some(bulk.bulk_id),
    };
    let command = Command {
        actor: bulk.actor.clone(),
        request_id: Some(request_id(bulk.bulk_id, item.tenant_uid)),
        ..background_command()
    };
    registry.start_operation(&start, &command).await
}

/// The same for every replica that asks for the same.
fn request_id(bulk_id: OperationId, tenant_uid: Uuid) -> RequestId {
    let bytes = [bulk_id.uuid().into_bytes(), tenant_uid.into_bytes()].concat();
    let hash = digest::digest(&digest::SHA256, &bytes);
    let mut short = [0; 16];
    short.copy_from_slice(&hash.as_ref()[..16]);
    RequestId::from_uuid(uuid::Builder::from_custom_bytes(short).into_uuid())
}

async fn write(registry: &Registry, bulk: &Bulk, items: &[Item], changed: &[Item]) -> Result<(), Error> {
    let context = background_context(&bulk.actor);
    let mut next = bulk.clone();
    next.settle(items, context.now);
    let change = bulk_advance(&next, bulk.revision, Some(registry.lease.owner), changed, &context);
    match registry.writer.submit_in_background(change).await? {
        Submitted::Done(Outcome::Applied(revision)) => {
            registry.view.at_least(revision, Duration::from_secs(5)).await.map(drop)
        }
        // Somebody aborted it, or it is another's: look again from the start.
        Submitted::Done(Outcome::Conflict) => {
            Err(Error::new(Reason::ConcurrentChange, "the bulk operation was changed meanwhile"))
        }
        Submitted::Repeated(_) => Ok(()),
    }
}

/// Verbs that can be asked of many tenants at once.
pub const BULK_VERBS: [Verb; 10] = [
    Verb::Activate,
    Verb::Suspend,
    Verb::StartMigration,
    Verb::FinishMigration { to: crate::domain::lifecycle::MigrationEnd::Active },
    Verb::FinishMigration { to: crate::domain::lifecycle::MigrationEnd::Suspended },
    Verb::Archive,
    Verb::Delete,
    Verb::Undelete,
    Verb::ChangeTier,
    Verb::Repair,
];

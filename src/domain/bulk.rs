//! A verb on many tenants: which of them are under way, and what has become of all.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::column::null_as_default;
use super::ids::{OperationId, Revision, TenantId};
use super::lifecycle::Verb;
use super::operation::{Operation, State, Wish, verb_name};

/// Most tenants of one bulk operation: their ids and uids are written in one statement, about 100 bytes each, and
/// PostgreSQL takes a parameter of 10 MB without trouble.
pub const TENANTS_MAX: usize = 100_000;
/// Most operations of one bulk operation at once; the targets' own limits are lower.
pub const CONCURRENT_MAX: u32 = 1_000;
/// Most operations of one bulk operation that only wait for a target and so take no place. Each is a task that sleeps and
/// a lease that is renewed: so many cost a replica little, and beyond them a target that is down should be seen to.
pub const HELD_UP_MAX: usize = 10_000;
/// Where the caller names no number.
pub const CONCURRENT_DEFAULT: u32 = 20;

/// Where a bulk operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BulkState {
    /// Tenants are being moved.
    Running,
    /// Every tenant was moved.
    Succeeded,
    /// All have been tried, and at least one was not moved.
    Failed,
    /// No more are begun; those under way go on to their end.
    Cancelling,
    /// Ended before all had been begun.
    Cancelled,
}

impl BulkState {
    /// Every state, in the order of the contract.
    pub const ALL: [Self; 5] =
        [Self::Running, Self::Succeeded, Self::Failed, Self::Cancelling, Self::Cancelled];

    /// The name in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Cancelling => "CANCELLING",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// Whether something is left to do.
    pub const fn is_driven(self) -> bool {
        matches!(self, Self::Running | Self::Cancelling)
    }
}

/// A verb on many tenants, as stored: the serialised names are the columns' names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bulk {
    /// Made by the server (`UUIDv7`).
    pub bulk_id: OperationId,
    /// What is asked of each tenant.
    #[serde(with = "verb_name")]
    pub verb: Verb,
    /// What is asked for beside the verb.
    #[serde(default)]
    pub wish: Wish,
    /// The filter by which the tenants were chosen, once, when it was asked for; empty for all below `parent`.
    pub filter: String,
    /// The tenant whose children follow it.
    pub parent: Option<TenantId>,
    /// Why, as given by the caller.
    pub reason: String,
    /// Who asked.
    pub actor: String,
    /// Where it stands.
    pub state: BulkState,
    /// Operations at once, without those that only wait for a target.
    pub concurrent_max: u32,
    /// How many tenants there are.
    pub total: u32,
    /// Not begun.
    pub waiting: u32,
    /// Under way.
    pub running: u32,
    /// Under way, but automatic retries have stopped; or not begun, and waiting for another operation of which that is true.
    pub needs_operator: u32,
    /// Moved.
    pub succeeded: u32,
    /// Refused, brought back, or never begun.
    pub failed: u32,
    /// Of those that failed, the ones never begun because somebody decided otherwise about the tenant later.
    #[serde(default, deserialize_with = "null_as_default")]
    pub overruled: u32,
    /// Why the first of those that failed did, and what the first that another operation is in the way of wait for.
    #[serde(default, deserialize_with = "null_as_default")]
    pub error: String,
    /// When it was asked for.
    pub create_time: Timestamp,
    /// When it last changed.
    pub update_time: Timestamp,
    /// When it ended.
    pub finish_time: Option<Timestamp>,
    /// The revision of its last change; set by the log.
    #[serde(default)]
    pub revision: Revision,
}

/// Where one tenant of a bulk operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ItemState {
    /// Not begun.
    Waiting,
    /// Its operation is open.
    Running,
    /// Its operation is open, but automatic retries have stopped.
    NeedsOperator,
    /// Moved.
    Succeeded,
    /// Refused, brought back, or never begun.
    Failed,
}

impl ItemState {
    /// Whether nothing more will become of it.
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }

    /// Where a tenant stands whose operation is in `state`.
    pub const fn of(state: State) -> Self {
        match state {
            State::Running | State::Reverting | State::Scheduled => Self::Running,
            State::NeedsOperator => Self::NeedsOperator,
            State::Succeeded => Self::Succeeded,
            State::Failed | State::Superseded | State::Cancelled => Self::Failed,
        }
    }
}

/// One tenant of a bulk operation, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Which tenant.
    pub tenant_id: TenantId,
    /// A tenant made anew under the same id is another one.
    pub tenant_uid: Uuid,
    /// Where it stands.
    pub state: ItemState,
    /// Its operation, once there is one.
    pub operation_id: Option<OperationId>,
    /// Why it failed, or what it waits for before it can begin, for people.
    pub error: String,
    /// Which newer decision about the tenant took it out before it was begun, for people. Set by the database, with that
    /// decision.
    #[serde(default)]
    pub overruled: Option<String>,
    /// Whether what it waits for needs an operator. Only its driver knows: it asks again where it takes the work over.
    #[serde(skip)]
    pub is_blocked: bool,
}

impl Item {
    /// Ends it before it was begun: somebody decided otherwise about the tenant.
    pub fn overrule(&mut self, why: String) {
        if self.state == ItemState::Waiting {
            self.state = ItemState::Failed;
            self.error.clone_from(&why);
            self.overruled = Some(why);
            self.is_blocked = false;
        }
    }

    /// Notes what has become of its operation.
    pub fn follow(&mut self, operation: &Operation) {
        self.state = ItemState::of(operation.state);
        self.error.clone_from(&operation.error);
    }
}

/// So many are told of with a bulk operation; each of those that began has its own operation to tell of it.
const FAILURES_TOLD: usize = 5;
/// Longest text of one of them, in characters.
const FAILURE_MAX: usize = 200;

/// Who failed and why; then, who waits for what.
fn failures(items: &[Item]) -> String {
    let failed = items.iter().filter(|item| item.state == ItemState::Failed);
    let held = items.iter().filter(|item| item.state == ItemState::Waiting && !item.error.is_empty());
    let mut failed = failed.chain(held);
    let told = failed.by_ref().take(FAILURES_TOLD).map(|item| {
        let why: String = item.error.chars().take(FAILURE_MAX).collect();
        format!("{}: {why}", item.tenant_id)
    });
    let mut told: Vec<_> = told.collect();
    let more = failed.count();
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    told.join("; ")
}

impl Bulk {
    /// One of so many tenants that has not begun; what the caller leaves open is empty.
    pub fn new(bulk_id: OperationId, verb: Verb, total: usize, now: Timestamp) -> Self {
        let total = u32::try_from(total).unwrap_or(u32::MAX);
        Self {
            bulk_id,
            verb,
            wish: Wish::default(),
            filter: String::new(),
            parent: None,
            reason: String::new(),
            actor: String::new(),
            state: BulkState::Running,
            concurrent_max: CONCURRENT_DEFAULT,
            total,
            waiting: total,
            running: 0,
            needs_operator: 0,
            succeeded: 0,
            failed: 0,
            overruled: 0,
            error: String::new(),
            create_time: now,
            update_time: now,
            finish_time: None,
            revision: Revision::ZERO,
        }
    }

    /// Counts anew, and ends when nothing is left to do.
    pub fn settle(&mut self, items: &[Item], now: Timestamp) {
        let count = |state: ItemState| {
            u32::try_from(items.iter().filter(|item| item.state == state).count()).unwrap_or(u32::MAX)
        };
        let blocked = items.iter().filter(|item| item.state == ItemState::Waiting && item.is_blocked);
        let blocked = u32::try_from(blocked.count()).unwrap_or(u32::MAX);
        self.waiting = count(ItemState::Waiting) - blocked;
        self.running = count(ItemState::Running);
        self.needs_operator = count(ItemState::NeedsOperator) + blocked;
        self.succeeded = count(ItemState::Succeeded);
        self.failed = count(ItemState::Failed);
        let overruled =
            items.iter().filter(|item| item.state == ItemState::Failed && item.overruled.is_some());
        self.overruled = u32::try_from(overruled.count()).unwrap_or(u32::MAX);
        self.error = failures(items);
        self.update_time = now;
        if self.state.is_driven() && self.waiting + self.running + self.needs_operator == 0 {
            self.state = match self.state {
                BulkState::Cancelling => BulkState::Cancelled,
                _ if self.failed == 0 => BulkState::Succeeded,
                _ => BulkState::Failed,
            };
            self.finish_time = Some(now);
        }
    }

    /// How many more may be begun now, while `held_up` of those that run have done all they can and wait for a target.
    pub fn room(&self, items: &[Item], held_up: usize) -> usize {
        if self.state != BulkState::Running {
            return 0;
        }
        // What waits for an operator holds nobody else up, and neither does what waits for a target that is away: the
        // others are to be denied where they can be.
        let running = items.iter().filter(|item| item.state == ItemState::Running).count();
        let running = running.saturating_sub(held_up.min(HELD_UP_MAX));
        usize::try_from(self.concurrent_max).unwrap_or(usize::MAX).saturating_sub(running)
    }

    /// No more are begun. Answers whether it was running.
    pub fn cancel(&mut self, now: Timestamp) -> bool {
        if self.state != BulkState::Running {
            return false;
        }
        self.state = BulkState::Cancelling;
        self.update_time = now;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::TenantId;

    fn bulk(concurrent_max: u32) -> Bulk {
        let bulk_id = OperationId::from_uuid(Uuid::nil());
        Bulk { concurrent_max, ..Bulk::new(bulk_id, Verb::Suspend, 3, Timestamp::UNIX_EPOCH) }
    }

    fn items(states: &[ItemState]) -> Vec<Item> {
        let item = |state: &ItemState| Item {
            tenant_id: TenantId::parse("finance").unwrap(),
            tenant_uid: Uuid::nil(),
            state: *state,
            operation_id: None,
            error: String::new(),
            overruled: None,
            is_blocked: false,
        };
        states.iter().map(item).collect()
    }

    #[test]
    fn the_first_of_those_that_failed_are_told_with_the_whole() {
        let mut bulk = bulk(1);
        let items: Vec<_> = (0..7)
            .map(|number| Item {
                tenant_id: TenantId::parse(&format!("t{number}")).unwrap(),
                tenant_uid: Uuid::nil(),
                state: if number == 0 { ItemState::Succeeded } else { ItemState::Failed },
                operation_id: None,
                error: "x".repeat(300),
                overruled: None,
                is_blocked: false,
            })
            .collect();
        bulk.settle(&items, Timestamp::UNIX_EPOCH);
        let why = "x".repeat(200);
        assert_eq!(bulk.error, format!("t1: {why}; t2: {why}; t3: {why}; t4: {why}; t5: {why}; and 1 more"));
        bulk.settle(&items[..1], Timestamp::UNIX_EPOCH);
        assert_eq!(bulk.error, "");
    }

    #[test]
    fn what_needs_an_operator_leaves_its_place_to_others_and_keeps_the_whole_open() {
        let mut bulk = bulk(2);
        let items = items(&[ItemState::NeedsOperator, ItemState::Running, ItemState::Succeeded]);
        assert_eq!(bulk.room(&items, 0), 1);
        assert_eq!(bulk.room(&items, 1), 2, "nor what only waits for a target");
        bulk.settle(&items, Timestamp::UNIX_EPOCH);
        assert_eq!((bulk.state, bulk.needs_operator, bulk.finish_time), (BulkState::Running, 1, None));
    }

    #[test]
    fn what_waits_for_an_operation_that_needs_an_operator_needs_one_too() {
        let mut bulk = bulk(2);
        let mut items = items(&[ItemState::Waiting, ItemState::Waiting, ItemState::Succeeded]);
        items[0].is_blocked = true;
        bulk.settle(&items, Timestamp::UNIX_EPOCH);
        assert_eq!((bulk.waiting, bulk.needs_operator, bulk.finish_time), (1, 1, None));
    }

    #[test]
    fn who_is_overruled_before_it_is_begun_fails_and_is_counted_and_who_is_under_way_goes_on() {
        let mut bulk = bulk(2);
        let mut items = items(&[ItemState::Waiting, ItemState::Running]);
        for item in &mut items {
            item.overrule("asked for later".to_owned());
        }
        bulk.settle(&items, Timestamp::UNIX_EPOCH);
        assert_eq!((bulk.running, bulk.failed, bulk.overruled), (1, 1, 1));
        assert_eq!(bulk.error, "finance: asked for later");
    }

    #[test]
    fn it_fails_if_one_of_many_was_not_moved() {
        let mut all = bulk(2);
        all.settle(&items(&[ItemState::Succeeded; 3]), Timestamp::UNIX_EPOCH);
        assert_eq!(all.state, BulkState::Succeeded);
        let mut some = bulk(2);
        some.settle(&items(&[ItemState::Succeeded, ItemState::Failed]), Timestamp::UNIX_EPOCH);
        assert_eq!((some.state, some.failed), (BulkState::Failed, 1));
    }

    #[test]
    fn once_cancelled_nothing_more_begins_and_it_ends_with_what_is_under_way() {
        let mut bulk = bulk(2);
        assert!(bulk.cancel(Timestamp::UNIX_EPOCH));
        assert!(!bulk.cancel(Timestamp::UNIX_EPOCH));
        assert_eq!(bulk.room(&items(&[ItemState::Waiting]), 0), 0);
        bulk.settle(&items(&[ItemState::Running, ItemState::Failed]), Timestamp::UNIX_EPOCH);
        assert_eq!(bulk.state, BulkState::Cancelling);
        bulk.settle(&items(&[ItemState::Succeeded, ItemState::Failed]), Timestamp::UNIX_EPOCH);
        assert_eq!(bulk.state, BulkState::Cancelled);
    }
}

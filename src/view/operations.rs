//! The operations that are at hand.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::domain::ids::{OperationId, Revision, TargetName};
use crate::domain::operation::Operation;

/// Every operation that has not ended, and of those that have, the ones that ended last; older ones are in the table
/// alone. Every tenant ever made left at least one behind, so all of them would be most of the view.
#[derive(Debug, Clone, Default)]
pub struct Operations {
    /// By id: by age, because ids are `UUIDv7`.
    by_id: OrdMap<OperationId, Arc<Operation>>,
    /// Those that have ended, in the order in which they did. Not by id: whoever waits for the end of an old operation
    /// must find it here.
    ended: OrdSet<(Revision, OperationId)>,
    /// Those that any operation reached, of those in the table alone, too.
    targets: OrdSet<TargetName>,
    /// How many that have ended are kept.
    kept_max: usize,
    /// The youngest of those that are in the table alone.
    left_out: Option<OperationId>,
}

impl Operations {
    /// None yet; of those that have ended, about `kept_max` will be kept.
    pub fn new(kept_max: usize) -> Self {
        Self { kept_max, ..Self::default() }
    }

    /// An operation, if it is at hand.
    pub fn get(&self, id: &OperationId) -> Option<&Arc<Operation>> {
        self.by_id.get(id)
    }

    /// All that are at hand, oldest first.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Arc<Operation>> {
        self.by_id.values()
    }

    /// The targets that any operation reached, however long ago.
    pub fn targets(&self) -> impl Iterator<Item = &TargetName> {
        self.targets.iter()
    }

    /// Notes targets that operations in the table alone reached.
    pub(super) fn reached(&mut self, targets: impl IntoIterator<Item = TargetName>) {
        self.targets.extend(targets);
    }

    /// The youngest operation that is in the table alone: one that is younger is here, or there is none such. `None` while
    /// all are here.
    pub fn left_out(&self) -> Option<OperationId> {
        self.left_out
    }

    /// Notes that the table has some that were not read, the youngest being this one.
    pub(super) fn leave_out(&mut self, youngest: Option<OperationId>) {
        self.left_out = self.left_out.max(youngest);
    }

    /// Takes an operation as it is now, and lets those go that ended longest ago.
    pub(super) fn take(&mut self, operation: Operation) {
        let id = operation.operation_id;
        let ended = operation.finish_time.is_some().then_some((operation.revision, id));
        for step in &operation.steps {
            if !self.targets.contains(&step.target) {
                self.targets.insert(step.target.clone());
            }
        }
        if let Some(before) = self.by_id.insert(id, Arc::new(operation)) {
            self.ended.remove(&(before.revision, id));
        }
        self.ended.extend(ended);
        while self.ended.len() > self.kept_max {
            let Some((_, oldest)) = self.ended.remove_min() else { return };
            self.by_id.remove(&oldest);
            self.leave_out(Some(oldest));
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::lifecycle::Desired;
    use crate::domain::operation::Step;

    fn id(number: u64) -> OperationId {
        OperationId::from_uuid(uuid::Uuid::from_u128((0x7000_8000 << 48) + u128::from(number)))
    }

    fn operation(number: u64, revision: u64, ended: bool) -> Operation {
        let json = serde_json::json!({
            "operation_id": id(number), "tenant_id": "finance", "tenant_uid": uuid::Uuid::nil(), "verb": "SUSPEND",
            "from_status": "ACTIVE", "to_status": "SUSPENDED", "state": if ended { "SUCCEEDED" } else { "RUNNING" },
            "reason": "", "actor": "ada", "generation": 1, "steps": [], "error": "",
            "create_time": Timestamp::UNIX_EPOCH, "update_time": Timestamp::UNIX_EPOCH,
            "finish_time": ended.then_some(Timestamp::UNIX_EPOCH), "revision": revision,
        });
        serde_json::from_value(json).unwrap()
    }

    fn reaching(number: u64, target: &str) -> Operation {
        let mut reaching = operation(number, number, true);
        reaching.steps = vec![Step::pending(TargetName::parse(target).unwrap(), Desired::Active)];
        reaching
    }

    #[test]
    fn a_target_is_known_for_good_once_an_operation_reached_it() {
        let mut operations = Operations::new(2);
        let names = |operations: &Operations| -> Vec<String> {
            operations.targets().map(ToString::to_string).collect()
        };
        operations.reached([TargetName::parse("archive").unwrap()]);
        operations.take(reaching(1, "cache"));
        for number in 2..=4 {
            operations.take(reaching(number, "orders"));
        }
        assert_eq!(operations.get(&id(1)), None);
        assert_eq!(names(&operations), ["archive", "cache", "orders"]);
    }

    fn ids(operations: &Operations) -> Vec<OperationId> {
        operations.values().map(|operation| operation.operation_id).collect()
    }

    #[test]
    fn those_that_ended_longest_ago_go_and_open_ones_stay() {
        let mut operations = Operations::new(2);
        operations.take(operation(1, 1, false));
        for number in 2..=3 {
            operations.take(operation(number, number, true));
        }
        assert_eq!((ids(&operations), operations.left_out()), (vec![id(1), id(2), id(3)], None));
        operations.take(operation(4, 4, true));
        assert_eq!((ids(&operations), operations.left_out()), (vec![id(1), id(3), id(4)], Some(id(2))));
    }

    #[test]
    fn an_old_one_that_ends_now_is_seen_to_end() {
        let mut operations = Operations::new(2);
        operations.take(operation(1, 1, false));
        for number in 2..=3 {
            operations.take(operation(number, number, true));
        }
        operations.take(operation(1, 4, true));
        assert_eq!(ids(&operations), [id(1), id(3)]);
        assert!(operations.get(&id(1)).is_some_and(|operation| operation.finish_time.is_some()));
        // What is younger than the one left out is here; the older one happens to be.
        assert_eq!(operations.left_out(), Some(id(2)));
    }

    #[test]
    fn one_that_changes_again_counts_once() {
        let mut operations = Operations::new(2);
        for revision in 1..=9 {
            operations.take(operation(1, revision, true));
        }
        operations.take(operation(2, 10, true));
        assert_eq!((ids(&operations), operations.left_out()), (vec![id(1), id(2)], None));
    }
}

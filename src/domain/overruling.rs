//! A decision about tenants, and which older bulk operations it takes them out of before these have got to them.

use serde::{Serialize, Serializer};

use super::bulk::Bulk;
use super::lifecycle::Verb;
use super::operation::{Operation, Wish, verb_name};

/// A newer decision, as the database is asked about it: it counts in place of every bulk operation that has not begun a
/// tenant, asks for one of `verbs`, and does not ask for the very same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overruling {
    /// What was decided.
    pub verb: Verbal,
    /// What was asked for beside the verb.
    pub wish: Wish,
    /// The verbs that decide the same thing, this one among them.
    pub verbs: Vec<Verbal>,
    /// Why a tenant was not begun, for people.
    pub why: String,
}

/// A verb by the name that columns hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verbal(pub Verb);

impl Serialize for Verbal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        verb_name::serialize(&self.0, serializer)
    }
}

impl Overruling {
    /// What an operation overrules. `None` where it decides nothing of its own: where it is part of a bulk operation, that was
    /// the decision; and a repair keeps what others decided.
    pub fn by_operation(operation: &Operation) -> Option<Self> {
        let Operation { operation_id, verb, details, .. } = operation;
        let decides = operation.bulk_id.is_none();
        let why = format!("operation {operation_id} ({verb}) was asked for later");
        decides.then(|| Self::of(*verb, &details.wish, why)).flatten()
    }

    /// What a bulk operation overrules, for each of its tenants.
    pub fn by_bulk(bulk: &Bulk) -> Option<Self> {
        let why = format!("bulk operation {} ({}) was asked for later", bulk.bulk_id, bulk.verb);
        Self::of(bulk.verb, &bulk.wish, why)
    }

    /// What a verb overrules. `None` for one that decides neither over a tenant's state or place nor over its tier.
    pub fn of(verb: Verb, wish: &Wish, why: String) -> Option<Self> {
        let verbs: Vec<_> =
            Verb::ALL.into_iter().filter(|other| verb.decides_over(*other)).map(Verbal).collect();
        (!verbs.is_empty()).then(|| Self { verb: Verbal(verb), wish: wish.clone(), verbs, why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::lifecycle::MigrationEnd;

    fn overruled(verb: Verb) -> Vec<Verb> {
        let of = Overruling::of(verb, &Wish::default(), String::new());
        of.map_or_else(Vec::new, |of| of.verbs.iter().map(|verb| verb.0).collect())
    }

    #[test]
    fn a_move_counts_before_earlier_moves_and_a_change_of_tier_before_earlier_ones() {
        let moves = overruled(Verb::Suspend);
        assert!(moves.contains(&Verb::Activate) && moves.contains(&Verb::StartMigration));
        assert!(!moves.contains(&Verb::ChangeTier) && !moves.contains(&Verb::Repair));
        assert_eq!(overruled(Verb::ChangeTier), [Verb::ChangeTier]);
        assert_eq!(overruled(Verb::Repair), []);
    }

    #[test]
    fn verbs_go_by_the_names_of_the_columns() {
        let end = Verb::FinishMigration { to: MigrationEnd::Suspended };
        assert_eq!(serde_json::to_value(Verbal(end)).unwrap(), "FINISH_MIGRATION_SUSPENDED");
    }
}

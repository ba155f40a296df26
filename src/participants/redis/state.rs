//! From what each part lets through to the state that it amounts to.
//!
//! The record that applications ask is one way in, the tenant's user at each node is another. They were made to agree, so
//! where one of them differs somebody changed it, and what is answered is never the state that we brought them to.

use super::record::Record;
use crate::domain::lifecycle::Desired;

/// What one way in lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Door {
    /// Nothing: no login, no answer that lets anybody in.
    Shut,
    /// Reads.
    Reads,
    /// Reads and writes, or whatever else rules that are none of ours let through.
    Writes,
}

impl Door {
    /// As it is in a state.
    const fn of(state: Desired) -> Self {
        match state {
            Desired::Active => Self::Writes,
            Desired::ReadOnly => Self::Reads,
            Desired::Suspended | Desired::Archived | Desired::Deleted => Self::Shut,
        }
    }
}

/// The state in which the record and the user at every node are.
pub(super) fn state_of(record: &Record, users: &[Door]) -> Desired {
    let told = record.told.map_or(Door::Shut, Door::of);
    let least = users.iter().copied().fold(told, Door::min);
    let most = users.iter().copied().fold(told, Door::max);
    let wanted = record.held().state;
    if least == most && most == Door::of(wanted) {
        // Locked out by all: which kind of that, the record says. What it should not say is not what we wrote.
        return record.told.unwrap_or(match record.applied {
            Some(Desired::Suspended) => Desired::Archived,
            _ => Desired::Suspended,
        });
    }
    match record.applied {
        Some(Desired::Active) if least == Door::Reads => Desired::ReadOnly,
        Some(Desired::ReadOnly) if most >= Door::Writes => Desired::Active,
        Some(Desired::Active | Desired::ReadOnly) => Desired::Suspended,
        // To be locked out, or nobody knows: one open door counts.
        Some(Desired::Suspended | Desired::Archived | Desired::Deleted) | None if most >= Door::Writes => {
            Desired::Active
        }
        Some(Desired::Suspended | Desired::Archived | Desired::Deleted) | None => Desired::ReadOnly,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOORS: [Door; 3] = [Door::Shut, Door::Reads, Door::Writes];

    fn record(told: Option<Desired>, applied: Option<Desired>) -> Record {
        Record { told, applied, generation: 1 }
    }

    #[test]
    fn a_state_is_seen_where_every_part_agrees_and_nowhere_else() {
        for wanted in Desired::ALL {
            for told in Desired::ALL.into_iter().map(Some).chain([None]) {
                for users in DOORS.into_iter().flat_map(|a| DOORS.map(|b| vec![a, b])).chain([vec![]]) {
                    let agrees = told == Some(wanted) && users.iter().all(|door| *door == Door::of(wanted));
                    let seen = state_of(&record(told, Some(wanted)), &users);
                    assert_eq!(seen == wanted, agrees, "{wanted}: {told:?} {users:?} is seen as {seen}");
                }
            }
        }
    }

    #[test]
    fn where_it_is_not_known_what_was_written_one_open_door_counts() {
        for (told, user, seen) in [
            (Desired::Suspended, Door::Shut, Desired::Suspended),
            (Desired::Archived, Door::Shut, Desired::Archived),
            (Desired::ReadOnly, Door::Reads, Desired::ReadOnly),
            (Desired::Active, Door::Shut, Desired::Active),
            (Desired::Suspended, Door::Reads, Desired::ReadOnly),
            (Desired::Suspended, Door::Writes, Desired::Active),
        ] {
            assert_eq!(state_of(&record(Some(told), None), &[user]), seen, "{told} {user:?}");
        }
    }
}

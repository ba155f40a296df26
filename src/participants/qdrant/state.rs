//! From what was seen to the state that it amounts to.

use super::super::Failure;
use super::lets_in;
use super::probe::{Door, Doors};
use crate::domain::lifecycle::Desired;

/// What stands, besides the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Whether something answers to the alias.
    pub(super) alias: bool,
    /// Whether the alias leads to the tenant's collection.
    pub(super) leads: bool,
    /// Whether all that the record's state asks to be kept or gone is: a snapshot, the collection.
    pub(super) is_complete: bool,
}

/// The state that an ordinary client finds the tenant in. What a client got decides; that it was refused counts only
/// while the record refuses it.
pub(super) fn state_of(named: Desired, seen: Option<Doors>, standing: Standing) -> Result<Desired, Failure> {
    let named_open = lets_in(named);
    let doors = seen.unwrap_or_else(|| promised(named, standing));
    match (doors.read, doors.write) {
        (Door::Open, Door::Open) if standing.leads => Ok(Desired::Active),
        (Door::Open, Door::Shut) if standing.leads => Ok(Desired::ReadOnly),
        (Door::Shut, _) if named_open => Err(Failure::retryable(
            "the tenant's token is refused what its record grants: tokens are checked against another collection",
        )),
        (Door::Shut, Door::Shut) if !standing.alias => Ok(locked(named, standing)),
        // Half open. Of one that is to be let in, a closed door counts; of one that is to be locked out, an open one.
        _ if named_open => Ok(Desired::Suspended),
        _ => Ok(Desired::Active),
    }
}

/// What tokens would meet where none can be tried.
fn promised(named: Desired, standing: Standing) -> Doors {
    let open = if standing.leads { Door::Open } else { Door::Nowhere };
    match named {
        Desired::Active => Doors { read: open, write: open },
        Desired::ReadOnly => Doors { read: open, write: Door::Shut },
        _ => Doors { read: Door::Shut, write: Door::Shut },
    }
}

fn locked(named: Desired, standing: Standing) -> Desired {
    match named {
        state @ (Desired::Archived | Desired::Deleted) if standing.is_complete => state,
        _ => Desired::Suspended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Doors = Doors { read: Door::Open, write: Door::Open };
    const READS: Doors = Doors { read: Door::Open, write: Door::Shut };
    const SHUT: Doors = Doors { read: Door::Shut, write: Door::Shut };
    const NOWHERE: Doors = Doors { read: Door::Nowhere, write: Door::Nowhere };

    const fn standing(alias: bool, leads: bool, is_complete: bool) -> Standing {
        Standing { alias, leads, is_complete }
    }

    #[test]
    fn what_a_client_got_decides_over_what_is_recorded() {
        let (up, down) = (standing(true, true, true), standing(false, false, true));
        for (named, seen, standing, state) in [
            (Desired::Active, Some(OPEN), up, Desired::Active),
            (Desired::ReadOnly, Some(READS), up, Desired::ReadOnly),
            (Desired::Suspended, Some(SHUT), down, Desired::Suspended),
            (Desired::Archived, Some(SHUT), down, Desired::Archived),
            (Desired::Deleted, Some(SHUT), down, Desired::Deleted),
            // Without the snapshot, or with the collection.
            (Desired::Archived, Some(SHUT), self::standing(false, false, false), Desired::Suspended),
            (Desired::Deleted, Some(SHUT), self::standing(false, false, false), Desired::Suspended),
            // A record without effect: the server checks no tokens.
            (Desired::Suspended, Some(OPEN), up, Desired::Active),
            (Desired::Suspended, Some(NOWHERE), down, Desired::Active),
            // Half a suspension is none.
            (Desired::Suspended, Some(SHUT), up, Desired::Active),
            // The alias is gone, or leads elsewhere.
            (Desired::Active, Some(NOWHERE), down, Desired::Suspended),
            (Desired::Active, Some(OPEN), self::standing(true, false, true), Desired::Suspended),
            // Where no token can be tried.
            (Desired::Active, None, up, Desired::Active),
            (Desired::ReadOnly, None, up, Desired::ReadOnly),
            (Desired::Active, None, down, Desired::Suspended),
            (Desired::Suspended, None, down, Desired::Suspended),
            (Desired::Suspended, None, up, Desired::Active),
        ] {
            assert_eq!(state_of(named, seen, standing), Ok(state), "{named:?} {seen:?} {standing:?}");
        }
    }

    #[test]
    fn a_refusal_that_is_not_ours_proves_nothing() {
        for named in [Desired::Active, Desired::ReadOnly] {
            let seen = state_of(named, Some(SHUT), standing(false, false, true));
            assert!(seen.is_err(), "{named}: {seen:?}");
        }
    }
}

//! What is missing between the silences that there are and the state that is wanted. Pure.

use std::cmp::Reverse;

use crate::domain::lifecycle::Desired;

/// What a silence of ours is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It silences the tenant's alerts.
    Deny,
    /// It matches no alert, and holds what was applied.
    Note,
}

/// What was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) state: Desired,
    pub(super) generation: u64,
}

/// Where a silence is in its life, by Alertmanager's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// It silences.
    Active,
    /// It will silence by itself, and until then does nothing.
    Pending,
    /// It has ended.
    Expired,
}

/// A silence of ours for one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Silence {
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) held: Held,
    pub(super) phase: Phase,
    /// Whether it is there until somebody ends it: as we made it, and nobody has shortened it.
    pub(super) lasts: bool,
}

/// One thing to do. What a silence holds is never changed: a call that was held up on its way could put something older there, and
/// nothing would tell any more what was newer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Make a silence.
    Create(Kind, Held),
    /// Put one that begins now in the place of a pending one.
    Begin(Silence, Held),
    /// End the one with this id.
    Expire(String),
}

impl Silence {
    /// Whether it silences, or will.
    pub(super) fn is_left(&self) -> bool {
        self.phase != Phase::Expired
    }
}

/// What was applied last, by the silences that there are.
pub(super) fn newest(silences: &[Silence]) -> Option<Held> {
    silences.iter().map(|silence| silence.held).max_by_key(|held| held.generation)
}

/// What to do next; nothing when the wanted state is there and noted. What comes of it must be looked at again.
pub(super) fn plan(silences: &[Silence], wanted: Held) -> Vec<Action> {
    // A pending one silences sooner or later, so it is ended like an active one.
    let mut left: Vec<&Silence> = silences.iter().filter(|silence| silence.is_left()).collect();
    // The same one for every replica that looks.
    left.sort_by_key(|silence| (silence.phase, Reverse(silence.held.generation), silence.id.clone()));
    let Some(kind) = kept(wanted.state) else { return end(silences, &left, wanted) };
    let is_kept = |silence: &Silence| silence.kind == kind && silence.held == wanted && silence.lasts;
    let Some(kept) = left.iter().find(|silence| silence.phase == Phase::Active && is_kept(silence)) else {
        let is_pending = |silence: &&&Silence| silence.phase == Phase::Pending && silence.kind == kind;
        return vec![match left.iter().find(is_pending) {
            Some(pending) => Action::Begin((*pending).clone(), wanted),
            None => Action::Create(kind, wanted),
        }];
    };
    // Only now: the tenant's alerts are silenced without a gap.
    left.iter()
        .filter(|silence| silence.id != kept.id)
        .map(|silence| Action::Expire(silence.id.clone()))
        .collect()
}

/// Which silence is there while a tenant is in a state.
const fn kept(state: Desired) -> Option<Kind> {
    match state {
        Desired::Suspended | Desired::Archived => Some(Kind::Deny),
        // Alerts reach people, as for an active tenant: only the note tells the two apart.
        Desired::ReadOnly => Some(Kind::Note),
        Desired::Active | Desired::Deleted => None,
    }
}

/// Ends what is left, once a silence holds why.
fn end(silences: &[Silence], left: &[&Silence], wanted: Held) -> Vec<Action> {
    let is_noted = silences.iter().any(|silence| silence.held == wanted);
    // That there is none means active; only deletion has to be told apart.
    if is_noted || (left.is_empty() && wanted.state == Desired::Active) {
        return left.iter().map(|silence| Action::Expire(silence.id.clone())).collect();
    }
    vec![Action::Create(Kind::Note, wanted)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn held(state: Desired, generation: u64) -> Held {
        Held { state, generation }
    }

    fn made(silences: &mut Vec<Silence>, kind: Kind, held: Held, phase: Phase) {
        let id = format!("{:03}", silences.len());
        silences.push(Silence { id, kind, held, phase, lasts: true });
    }

    fn of_phase(silences: &[Silence], phase: Phase) -> Vec<&Silence> {
        silences.iter().filter(|silence| silence.phase == phase).collect()
    }

    /// Carries actions out as Alertmanager does.
    fn act(silences: &mut Vec<Silence>, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Create(kind, held) => made(silences, kind, held, Phase::Active),
                Action::Begin(which, held) => {
                    silences.iter_mut().find(|silence| silence.id == which.id).unwrap().phase =
                        Phase::Expired;
                    made(silences, which.kind, held, Phase::Active);
                }
                Action::Expire(id) => {
                    silences.iter_mut().find(|silence| silence.id == id).unwrap().phase = Phase::Expired;
                }
            }
        }
    }

    fn settle(silences: &mut Vec<Silence>, wanted: Held) -> u32 {
        for round in 0..8 {
            let actions = plan(silences, wanted);
            if actions.is_empty() {
                return round;
            }
            act(silences, actions);
        }
        panic!("it does not settle: {silences:?}");
    }

    #[test]
    fn every_state_is_reached_from_every_other_and_stays() {
        for first in Desired::ALL {
            for second in Desired::ALL {
                let mut silences = Vec::new();
                settle(&mut silences, held(first, 1));
                settle(&mut silences, held(second, 2));
                let active = of_phase(&silences, Phase::Active);
                assert_eq!(active.first().map(|silence| silence.kind), kept(second), "{first} {second}");
                assert!(active.len() <= 1, "{first} {second}: {active:?}");
                assert!(active.iter().all(|silence| silence.held == held(second, 2)), "{active:?}");
                assert_eq!(settle(&mut silences, held(second, 2)), 0, "again has no effect");
            }
        }
    }

    #[test]
    fn an_active_tenant_that_was_never_locked_out_has_no_silence() {
        assert_eq!(plan(&[], held(Desired::Active, 1)), []);
    }

    #[test]
    fn of_two_made_at_once_every_replica_keeps_the_same() {
        let mut silences = Vec::new();
        act(&mut silences, vec![Action::Create(Kind::Deny, held(Desired::Suspended, 1)); 2]);
        let mut reversed: Vec<Silence> = silences.iter().rev().cloned().collect();
        let wanted = held(Desired::Suspended, 1);
        assert_eq!(plan(&silences, wanted), plan(&reversed, wanted));
        settle(&mut reversed, wanted);
        assert_eq!(of_phase(&reversed, Phase::Active).len(), 1);
    }

    #[test]
    fn an_end_is_noted_before_it_is_made() {
        let mut silences = Vec::new();
        settle(&mut silences, held(Desired::Suspended, 1));
        let wanted = held(Desired::Active, 2);
        assert_eq!(plan(&silences, wanted), [Action::Create(Kind::Note, wanted)]);
        settle(&mut silences, wanted);
        assert_eq!(newest(&silences), Some(wanted), "older calls are refused by it");
    }

    #[test]
    fn one_that_was_shortened_is_replaced_without_a_gap() {
        let mut silences = Vec::new();
        let wanted = held(Desired::Suspended, 1);
        settle(&mut silences, wanted);
        silences[0].lasts = false;
        assert_eq!(plan(&silences, wanted), [Action::Create(Kind::Deny, wanted)]);
        settle(&mut silences, wanted);
        assert_eq!(of_phase(&silences, Phase::Active).len(), 1);
    }

    #[test]
    fn of_many_that_are_pending_one_is_begun_where_it_is_wanted_and_all_others_end() {
        for state in Desired::ALL {
            for kind in [Kind::Deny, Kind::Note] {
                let mut silences = Vec::new();
                for _ in 0..3 {
                    made(&mut silences, kind, held(Desired::Suspended, 1), Phase::Pending);
                }
                let before = silences.len();
                settle(&mut silences, held(state, 2));
                assert_eq!(of_phase(&silences, Phase::Pending), Vec::<&Silence>::new(), "{state}");
                let active = of_phase(&silences, Phase::Active);
                assert_eq!(
                    active.iter().map(|one| one.kind).collect::<Vec<_>>(),
                    Vec::from_iter(kept(state))
                );
                assert!(silences.len() <= before + 1, "{state}: no more than one is posted");
            }
        }
    }
}

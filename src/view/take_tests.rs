use super::*;
use crate::domain::ids::TierId;
use crate::domain::tenant::{Profile, Tenant};
use crate::store::committed::{Log, Rows};
use crate::store::log::Mark;
use jiff::Timestamp;
use std::time::SystemTime;
use uuid::Uuid;

const EPOCH: Uuid = Uuid::from_u128(7);

/// A view of the log `EPOCH` at revision 10, with nothing in it.
fn view() -> View {
    let view = View::new(Duration::from_secs(1), Duration::from_secs(1), 100);
    view.start_over(at(10), Delta::default());
    view
}

fn at(revision: u64) -> Snapshot {
    Snapshot::empty(EPOCH, Uuid::nil(), 100).successor(Revision(revision), mark(revision), Revision::ZERO)
}

/// The log's entry at a revision.
fn mark(revision: u64) -> Option<Mark> {
    let request_id = Uuid::from_u128(revision.into());
    (revision > 0).then_some(Mark { request_id, time: SystemTime::UNIX_EPOCH })
}

fn tenant(id: &str, revision: u64) -> Rows {
    let profile = Profile::minimal("Finance", TierId::parse("gold").unwrap());
    let id = TenantId::parse(id).unwrap();
    let tenant = Tenant::provisioning(id, Uuid::nil(), profile, "ada".into(), Timestamp::UNIX_EPOCH);
    Rows { tenant: Some(Tenant { revision: Revision(revision), ..tenant }), ..Rows::default() }
}

fn committed(first: u64, changes: Vec<Option<Rows>>) -> Committed {
    let last = mark(first + changes.len() as u64 - 1);
    let log = Log { epoch: EPOCH, compacted: Revision(4), before: mark(first - 1), last };
    Committed { log: Some(log), first: Revision(first), changes }
}

#[test]
fn what_follows_the_view_without_a_gap_is_taken_in_and_told() {
    let view = view();
    let mut deltas = view.deltas();
    assert!(view.take(committed(11, vec![Some(tenant("a", 11)), Some(tenant("b", 12))])));
    let snapshot = view.snapshot().unwrap();
    assert_eq!((snapshot.revision, snapshot.mark), (Revision(12), mark(12)));
    assert_eq!(snapshot.compacted, Revision(4));
    assert_eq!(snapshot.tenant(&TenantId::parse("b").unwrap()).unwrap().tenant.revision, Revision(12));
    assert!(view.has(Revision(12)) && !view.has(Revision(13)));
    let delta = deltas.try_recv().unwrap();
    assert_eq!((delta.revision, delta.tenants.len()), (Revision(12), 2));
}

#[test]
fn nothing_is_taken_in_over_a_gap_of_another_log_or_without_its_rows() {
    let view = view();
    let gap = committed(12, vec![Some(tenant("a", 12))]);
    let again = committed(10, vec![Some(tenant("a", 10))]);
    let of = |change: fn(Log) -> Log| {
        let own = committed(11, vec![Some(tenant("a", 11))]);
        Committed { log: own.log.map(change), ..own }
    };
    let foreign = of(|log| Log { epoch: Uuid::nil(), ..log });
    // The same number follows on an entry that was lost, or that took the place of a lost one.
    let other_request = of(|log| Log { before: mark(99), ..log });
    let same_request_again = of(|log| {
        let later = |mark: Mark| Mark { time: mark.time + Duration::from_micros(1), ..mark };
        Log { before: log.before.map(later), ..log }
    });
    let after_others = of(|log| Log { before: None, ..log });
    let found = Committed { log: None, ..committed(11, vec![Some(tenant("a", 11))]) };
    let unsaid = committed(11, vec![Some(tenant("a", 11)), None]);
    let others = [other_request, same_request_again, after_others];
    for refused in [gap, again, foreign, found, unsaid].into_iter().chain(others) {
        assert!(!view.take(refused.clone()), "{refused:?}");
        assert_eq!(view.snapshot().unwrap().revision, Revision(10));
    }
    assert!(view.snapshot().unwrap().tenants.is_empty());
}

#[test]
fn nothing_is_taken_in_before_the_first_load() {
    let view = View::new(Duration::from_secs(1), Duration::from_secs(1), 100);
    assert!(!view.take(committed(1, vec![Some(tenant("a", 1))])));
}

#[test]
fn what_was_read_meanwhile_neither_turns_the_view_back_nor_is_lost() {
    let view = view();
    assert!(view.take(committed(11, vec![Some(tenant("a", 11)), Some(tenant("b", 12))])));
    let base = view.snapshot().unwrap();
    assert!(view.advance(&base, at(13), Delta::default()));
    assert_eq!(view.snapshot().unwrap().revision, Revision(13));
    // That it goes on from what the view has come to by itself is not known: it must be read again.
    assert!(!view.advance(&base, at(14), Delta::default()));
    assert!(view.advance(&base, at(12), Delta::default()), "the view has all of it");
    assert_eq!(view.snapshot().unwrap().revision, Revision(13));
    // A restored database: the log goes on from an earlier place.
    view.start_over(at(3), Delta::default());
    assert_eq!(view.snapshot().unwrap().revision, Revision(3));
}

#[test]
fn rows_that_became_readable_are_taken_in_at_the_same_revision_but_only_onto_what_they_were_read_for() {
    let view = view();
    let base = view.snapshot().unwrap();
    let repaired = at(10);
    view.advance(&base, repaired, Delta::default());
    let newer = view.snapshot().unwrap();
    assert!(!Arc::ptr_eq(&newer, &base));
    view.advance(&base, at(10), Delta::default());
    assert!(Arc::ptr_eq(&view.snapshot().unwrap(), &newer), "it was made of an older one");
}

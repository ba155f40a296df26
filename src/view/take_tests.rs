use super::*;
use crate::domain::ids::TierId;
use crate::domain::tenant::{Profile, Tenant};
use crate::store::committed::{Log, Rows};
use jiff::Timestamp;
use uuid::Uuid;

const EPOCH: Uuid = Uuid::from_u128(7);

/// A view of the log `EPOCH` at revision 10, with nothing in it.
fn view() -> View {
    let view = View::new(Duration::from_secs(1), Duration::from_secs(1), 100);
    view.start_over(at(10), Delta::default());
    view
}

fn at(revision: u64) -> Snapshot {
    Snapshot::empty(EPOCH, Uuid::nil(), 100).successor(Revision(revision), Revision::ZERO)
}

fn tenant(id: &str, revision: u64) -> Rows {
    let profile = Profile::minimal("Finance", TierId::parse("gold").unwrap());
    let id = TenantId::parse(id).unwrap();
    let tenant = Tenant::provisioning(id, Uuid::nil(), profile, "ada".into(), Timestamp::UNIX_EPOCH);
    Rows { tenant: Some(Tenant { revision: Revision(revision), ..tenant }), ..Rows::default() }
}

fn committed(first: u64, changes: Vec<Option<Rows>>) -> Committed {
    let log = Log { epoch: EPOCH, compacted: Revision(4) };
    Committed { log: Some(log), first: Revision(first), changes }
}

#[test]
fn what_follows_the_view_without_a_gap_is_taken_in_and_told() {
    let view = view();
    let mut deltas = view.deltas();
    assert!(view.take(committed(11, vec![Some(tenant("a", 11)), Some(tenant("b", 12))])));
    let snapshot = view.snapshot().unwrap();
    assert_eq!((snapshot.revision, snapshot.compacted), (Revision(12), Revision(4)));
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
    let foreign = Committed {
        log: Some(Log { epoch: Uuid::nil(), compacted: Revision(4) }),
        ..committed(11, vec![Some(tenant("a", 11))])
    };
    let found = Committed { log: None, ..committed(11, vec![Some(tenant("a", 11))]) };
    let unsaid = committed(11, vec![Some(tenant("a", 11)), None]);
    for refused in [gap, again, foreign, found, unsaid] {
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
    view.advance(&base, at(11), Delta::default());
    assert_eq!(view.snapshot().unwrap().revision, Revision(12));
    view.advance(&base, at(13), Delta::default());
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

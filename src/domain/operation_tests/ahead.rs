//! Targets that hold a newer generation.

use super::*;

fn cache() -> TargetName {
    TargetName::parse("cache").unwrap()
}

/// An operation of generation 2 on one target.
fn on_one_target(from: Status, verb: Verb) -> Operation {
    Operation::start(&tenant(from), request(verb, 1), &[cache()], 2, now(0)).unwrap()
}

/// The target turns out to hold a generation in a state; answers whether the operation goes on by itself.
fn meets(operation: &mut Operation, generation: u64, held: Desired) -> bool {
    let outcome = Outcome::Ahead(generation, Some(held));
    let attempt = Attempt { target: cache(), generation: operation.generation, outcome };
    operation.record(attempt, PACE, now(0));
    operation.settle(now(0));
    operation.state.is_driven()
}

fn said() -> Adoption {
    Adoption { actor: "ada".into(), reason: "it has paid".into(), time: now(0) }
}

#[test]
fn what_gives_no_more_access_goes_beyond_by_itself_and_only_once_for_a_target() {
    let mut operation = on_one_target(Status::Active, Verb::Suspend);
    assert!(meets(&mut operation, 9, Desired::Active));
    assert_eq!(operation.generation, 10);
    // Another registry outbids it: they must not go on like that.
    assert!(!meets(&mut operation, 11, Desired::Active));
    assert_eq!((operation.state, operation.waits_behind(&cache())), (State::NeedsOperator, Some(11)));
    operation.retry_target(&cache(), Some(said()), now(0)).unwrap();
    assert_eq!((operation.state, operation.generation), (State::Running, 12));
}

#[test]
fn what_gives_more_access_waits_and_is_neither_done_nor_turned_back_by_itself() {
    for (from, verb, held) in [
        (Status::Suspended, Verb::Activate, Desired::Suspended),
        (Status::Active, Verb::StartMigration, Desired::Archived),
        (Status::Active, Verb::Repair, Desired::ReadOnly),
        // Data that is gone does not come back, and what may be wanted must not go.
        (Status::Active, Verb::Repair, Desired::Deleted),
        (Status::Suspended, Verb::Activate, Desired::Deleted),
        (Status::Deleted, Verb::Undelete, Desired::Deleted),
        (Status::Deleted, Verb::Purge, Desired::Active),
    ] {
        let mut operation = on_one_target(from, verb);
        assert!(!meets(&mut operation, 2, held), "{verb}");
        assert_eq!(
            (operation.state, operation.backward, operation.generation),
            (State::NeedsOperator, false, 2)
        );
        assert!(operation.error.contains("holds another generation, 2 ("), "{}", operation.error);
        operation.retry_target(&cache(), Some(said()), now(0)).unwrap();
        assert_eq!((operation.state, operation.generation), (State::Running, 3), "{verb}");
        assert_eq!(operation.details.ahead[0].adoption, Some(said()));
        let again = operation.retry_target(&cache(), Some(said()), now(0));
        assert_eq!(again, Err(Refusal::NotAhead), "{verb}");
    }
}

#[test]
fn whoever_takes_over_or_turns_back_knows_what_was_not_decided() {
    let mut waiting = on_one_target(Status::Active, Verb::Repair);
    assert!(!meets(&mut waiting, 9, Desired::Suspended));
    let tier = Operation::in_place_of_repair(&waiting, request(Verb::ChangeTier, 2), now(0)).unwrap();
    assert_eq!((tier.generation, tier.waits_behind(&cache())), (3, Some(9)));
    assert_eq!(tier.steps[0].state, TargetState::NeedsOperator);
    let denial = Operation::in_place_of_repair(&waiting, request(Verb::Suspend, 2), now(0)).unwrap();
    assert_eq!((denial.generation, denial.waits_behind(&cache())), (10, None));
    let mut activation = on_one_target(Status::Suspended, Verb::Activate);
    assert!(!meets(&mut activation, 9, Desired::Suspended));
    activation.abort("a mistake".into(), now(0)).unwrap();
    assert_eq!((activation.state, activation.generation), (State::Reverting, 10));
}

/// After an abort or a skip the registry's generation was the target's, and the next repair let the tenant in.
#[test]
fn what_was_not_decided_outlives_the_operation_however_it_ends() {
    let aborted = |operation: &mut Operation| operation.abort("not now".into(), now(0)).unwrap();
    let skipped =
        |operation: &mut Operation| operation.skip_target(&cache(), "not now".into(), now(0)).unwrap();
    for end in [&aborted as &dyn Fn(&mut Operation), &skipped] {
        let mut repair = on_one_target(Status::Active, Verb::Repair);
        assert!(!meets(&mut repair, 2, Desired::Suspended));
        end(&mut repair);
        assert!(!repair.state.is_open());
        let mut tenant = tenant(Status::Active);
        tenant.follow(&repair, now(0));
        assert!(tenant.undecided.as_ref().unwrap().is_ahead(&cache(), 2, Some(Desired::Suspended)));
        // Whatever is asked next waits behind it as well, until it gives no more access.
        for (verb, waits) in [(Verb::Repair, true), (Verb::StartMigration, true), (Verb::Suspend, false)] {
            let mut next = Operation::start(&tenant, request(verb, 2), &[cache()], 3, now(0)).unwrap();
            next.inherit_undecided(tenant.undecided.as_deref(), now(0));
            next.settle(now(0));
            assert_eq!(
                (next.state.is_driven(), next.waits_behind(&cache()).is_some()),
                (!waits, waits),
                "{verb}"
            );
            if waits {
                next.retry_target(&cache(), Some(said()), now(0)).unwrap();
            }
            let met = Outcome::Observed(next.steps[0].desired, Verification::Effect);
            let attempt = Attempt { target: cache(), generation: next.generation, outcome: met };
            next.record(attempt, PACE, now(0));
            assert_eq!(next.left_undecided(), None, "{verb}: it is decided");
        }
    }
}

#[test]
fn whoever_takes_access_away_goes_without_targets_that_have_removed_everything() {
    for (from, verb) in [
        (Status::Active, Verb::Suspend),
        (Status::Suspended, Verb::Archive),
        (Status::Archived, Verb::Delete),
        (Status::Deleted, Verb::Repair),
    ] {
        let mut operation = on_one_target(from, verb);
        meets(&mut operation, 9, Desired::Deleted);
        assert_eq!((operation.state, operation.generation), (State::Succeeded, 2), "{verb}");
        let step = &operation.steps[0];
        assert_eq!(step.state, TargetState::Skipped, "{verb}");
        assert!(step.skip_reason.contains("holds a newer generation, 9 (DELETED)"), "{step:?}");
        // Nor does what follows bring them back, once its number is the higher one.
        let mut next = on_one_target(from, verb);
        next.generation = 12;
        next.inherit_undecided(operation.left_undecided().as_ref(), now(0));
        next.settle(now(0));
        assert_eq!((next.state, next.steps[0].state), (State::Succeeded, TargetState::Skipped), "{verb}");
    }
    let mut purge = on_one_target(Status::Deleted, Verb::Purge);
    let repaired = {
        let mut repair = on_one_target(Status::Deleted, Verb::Repair);
        meets(&mut repair, 9, Desired::Deleted);
        repair.left_undecided()
    };
    purge.inherit_undecided(repaired.as_ref(), now(0));
    assert_eq!(purge.steps[0].state, TargetState::Pending, "a purge asks it: {:?}", purge.steps[0]);
    let mut repair = on_one_target(Status::Active, Verb::Repair);
    assert!(!meets(&mut repair, 9, Desired::Deleted));
    let mut denial = Operation::in_place_of_repair(&repair, request(Verb::Suspend, 2), now(0)).unwrap();
    denial.settle(now(0));
    assert_eq!(denial.state, State::Succeeded);
}

#[test]
fn nothing_goes_far_beyond_by_itself() {
    let mut near = on_one_target(Status::Active, Verb::Suspend);
    assert!(meets(&mut near, 1_000_002, Desired::Active));
    let mut far = on_one_target(Status::Active, Verb::Suspend);
    assert!(!meets(&mut far, 1_000_003, Desired::Active));
    assert_eq!((far.state, far.generation), (State::NeedsOperator, 2));
    assert!(far.error.contains("further ahead than a restore of it explains"), "{}", far.error);
    far.retry_target(&cache(), Some(said()), now(0)).unwrap();
    assert_eq!(far.generation, 1_000_004);
}

#[test]
fn a_number_that_a_version_before_believed_is_not_adopted() {
    let mut waiting = on_one_target(Status::Active, Verb::Repair);
    assert!(!meets(&mut waiting, 9, Desired::Suspended));
    waiting.details.ahead[0].generation = (1 << 63) - 1;
    assert_eq!(waiting.retry_target(&cache(), Some(said()), now(0)), Err(Refusal::NotAhead));
    let denial = Operation::in_place_of_repair(&waiting, request(Verb::Suspend, 2), now(0)).unwrap();
    assert_eq!((denial.state, denial.generation), (State::Running, 3));
    waiting.retry_target(&cache(), None, now(0)).unwrap();
    assert_eq!((waiting.state, waiting.generation), (State::Running, 2), "it is looked at again");
}

#[test]
fn the_last_generation_is_never_passed() {
    let mut operation = on_one_target(Status::Suspended, Verb::Activate);
    operation.generation = GENERATION_MAX;
    operation.abort("a mistake".into(), now(0)).unwrap();
    assert_eq!(operation.generation, GENERATION_MAX);
    operation.generation = u64::MAX;
    let drifted = Outcome::Drifted(None, String::new());
    operation.record(Attempt { target: cache(), generation: u64::MAX, outcome: drifted }, PACE, now(0));
    assert_eq!(operation.generation, u64::MAX);
    assert!(is_believable(GENERATION_MAX, GENERATION_MAX), "what it was asked for, it may hold");
    assert!(!is_believable(GENERATION_MAX, 2));
}

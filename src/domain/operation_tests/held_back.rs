//! Targets that wait for what another one knows.

use super::*;

fn looked_at(operation: &mut Operation, target: &TargetName, held: Option<Desired>) {
    // As the engine does, once nothing unasked was found.
    operation.was_looked_at(target);
    let generation = operation.generation;
    tried(operation, target, generation, Outcome::LookedAt(held), now(1));
    operation.settle(now(1));
}

/// A target turns out to hold what was not asked for.
fn found(operation: &mut Operation, outcome: Outcome) {
    tried(operation, &targets()[0], 2, outcome, now(1));
    operation.settle(now(1));
}

fn due(operation: &Operation) -> Vec<&TargetName> {
    operation.due(now(1)).map(|step| &step.target).collect()
}

/// An operation of generation 2, in a registry that was restored or not.
fn begun(from: Status, verb: Verb, is_restored: bool) -> Operation {
    let mut operation = Operation::start(&tenant(from), request(verb, 1), &targets(), 2, now(0)).unwrap();
    operation.inherit_undecided(None, now(0));
    operation.details.restored = is_restored.then_some(2);
    operation
}

#[test]
fn after_a_restore_nothing_is_given_before_every_target_was_looked_at() {
    let [first, second, third] = targets().try_into().unwrap();
    let mut up = begun(Status::Suspended, Verb::Activate, true);
    assert_eq!(due(&up).len(), 3, "all are looked at");
    assert!(up.steps.iter().all(|step| up.is_held_back(step)));
    looked_at(&mut up, &first, Some(Desired::Suspended));
    looked_at(&mut up, &second, Some(Desired::Suspended));
    assert_eq!(due(&up), [&third], "there is nothing more to do at those that were");
    assert_eq!(up.next_due(|step| step.target == third), None);
    assert!(up.steps[0].last_error.contains(&format!("nobody could look at {third} since")), "{up:?}");
    looked_at(&mut up, &third, Some(Desired::Suspended));
    assert_eq!(due(&up).len(), 3);
    assert!(!up.steps.iter().any(|step| up.is_held_back(step)));
    // Nobody is held up by what takes access away.
    let down = begun(Status::Active, Verb::Suspend, true);
    assert!(!down.steps.iter().any(|step| down.is_held_back(step)));
}

#[test]
fn a_target_that_is_skipped_holds_up_no_other() {
    let mut up = begun(Status::Suspended, Verb::Activate, true);
    for target in &targets()[..2] {
        looked_at(&mut up, target, Some(Desired::Suspended));
    }
    up.skip_target(&targets()[2], "down for good".into(), now(1)).unwrap();
    assert_eq!(due(&up).len(), 2);
}

#[test]
fn what_one_target_knows_holds_up_those_that_would_give_more_and_an_operator_decides() {
    let others = |operation: &Operation| due(operation).len();
    for (from, verb, held, is_held_up) in [
        (Status::Suspended, Verb::Activate, Desired::Suspended, true),
        (Status::Active, Verb::Repair, Desired::ReadOnly, true),
        (Status::Active, Verb::ChangeTier, Desired::Archived, true),
        (Status::Migrating, Verb::Repair, Desired::ReadOnly, false),
        (Status::Suspended, Verb::Archive, Desired::Suspended, false),
    ] {
        let mut operation = begun(from, verb, false);
        found(&mut operation, Outcome::Ahead(9, Some(held)));
        if !is_held_up {
            assert_eq!(others(&operation), 3, "{verb}: it goes beyond that by itself");
            continue;
        }
        assert_eq!((others(&operation), operation.state), (0, State::NeedsOperator), "{verb}");
        assert!(operation.error.contains("first decide what counts at"), "{verb}: {operation:?}");
        let counts = || Adoption { actor: "ada".into(), reason: "paid".into(), time: now(1) };
        // At one of those that wait for it.
        let mut one = operation.clone();
        one.retry_target(&targets()[1], None, now(1)).unwrap();
        assert_eq!((others(&one), one.state), (0, State::NeedsOperator), "{verb}: nothing was said");
        one.retry_target(&targets()[1], Some(counts()), now(1)).unwrap();
        assert_eq!((due(&one), one.state), (vec![&targets()[1]], State::Running), "{verb}");
        // At the one that knows.
        let mut all = operation.clone();
        all.retry_target(&targets()[0], Some(counts()), now(1)).unwrap();
        assert_eq!((others(&all), all.generation), (3, 10), "{verb}");
        // Without it.
        operation.skip_target(&targets()[0], "later".into(), now(1)).unwrap();
        assert_eq!((others(&operation), operation.state), (2, State::Running), "{verb}");
    }
}

/// A bucket that goes with the data tells nothing of a purge.
#[test]
fn after_a_restore_a_target_that_has_nothing_of_the_tenant_waits_until_somebody_says_so() {
    let [first, ..]: [TargetName; 3] = targets().try_into().unwrap();
    for (from, verb, is_restored, may_be) in [
        (Status::Active, Verb::Repair, true, false),
        (Status::Suspended, Verb::Activate, true, false),
        (Status::Active, Verb::Repair, false, true),
        (Status::Active, Verb::Suspend, true, false),
        (Status::Deleted, Verb::Purge, true, true),
        (Status::Provisioning, Verb::Provision, true, true),
    ] {
        let mut operation = begun(from, verb, is_restored);
        assert_eq!(operation.may_be_missing(&operation.steps[0]), may_be, "{verb}, {is_restored}");
        if may_be {
            continue;
        }
        found(&mut operation, Outcome::Missing);
        if verb.closes() {
            assert_eq!(operation.steps[0].state, TargetState::Pending, "{verb}");
            assert!(operation.went_beyond() && operation.may_be_missing(&operation.steps[0]), "{verb}");
            continue;
        }
        assert_eq!(operation.steps[0].state, TargetState::NeedsOperator, "{verb}");
        // Nor is it once the operation has gone on without it.
        let mut skipped = operation.clone();
        skipped.skip_target(&first, "later".into(), now(1)).unwrap();
        let mut next = begun(from, verb, false);
        next.inherit_undecided(skipped.left_undecided().as_ref(), now(2));
        assert_eq!(next.steps[0].state, TargetState::NeedsOperator, "{verb}");
        next.found(&[drift(&first, None)], now(2));
        assert!(next.steps[0].last_error.starts_with("has nothing of the tenant"), "{verb}: {next:?}");
        next.retry_target(&first, None, now(2)).unwrap();
        assert!(next.looks_first(&next.steps[0]) && !next.may_be_missing(&next.steps[0]), "{verb}");
        let counts = Adoption { actor: "ada".into(), reason: "emptied".into(), time: now(1) };
        operation.retry_target(&first, Some(counts), now(1)).unwrap();
        assert!(operation.may_be_missing(&operation.steps[0]), "{verb}: it is asked for once");
    }
}

/// They filled the list in which undeletions are looked for.
#[test]
fn a_repair_that_passes_by_what_is_gone_is_not_listed_as_one_that_went_beyond_something() {
    let gone = || Outcome::Ahead(9, Some(Desired::Deleted));
    let mut repair = begun(Status::Deleted, Verb::Repair, false);
    found(&mut repair, gone());
    let mut denial = begun(Status::Active, Verb::Suspend, false);
    found(&mut denial, gone());
    assert_eq!([&repair, &denial].map(|it| it.steps[0].state), [TargetState::Skipped; 2]);
    assert_eq!([&repair, &denial].map(Operation::went_beyond), [false, true]);
}

/// Each named the others, and all waited for ever.
#[test]
fn targets_that_all_wait_for_a_decision_are_looked_at_again_when_they_are_retried() {
    let mut operation = begun(Status::Suspended, Verb::Activate, false);
    for target in &targets() {
        tried(&mut operation, target, 2, Outcome::Ahead(9, Some(Desired::Suspended)), now(1));
    }
    operation.settle(now(1));
    for (number, target) in targets().iter().enumerate() {
        operation.retry_target(target, None, now(1)).unwrap();
        assert_eq!(due(&operation).len(), number + 1, "{operation:?}");
        assert!(operation.is_held_back(&operation.steps[number]), "nothing is asked of it there");
    }
    // One of them is as the registry knows it by then: it waits for the others alone.
    looked_at(&mut operation, &targets()[0], Some(Desired::Suspended));
    assert_eq!(operation.waits_behind(&targets()[0]), None);
    assert_eq!(due(&operation).len(), 2);
}

/// A tenant that was archived, or purged, since the backup passed for SUSPENDED again, and nobody was told.
#[test]
fn a_repair_undoes_nothing_that_was_closed_further_since_the_backup() {
    for (outcome, waits) in [
        (Outcome::Ahead(9, Some(Desired::Suspended)), false),
        (Outcome::Ahead(9, Some(Desired::Active)), false),
        (Outcome::Ahead(9, Some(Desired::Archived)), true),
        (Outcome::Missing, true),
    ] {
        let mut repair = begun(Status::Suspended, Verb::Repair, true);
        found(&mut repair, outcome.clone());
        assert_eq!(repair.steps[0].state == TargetState::NeedsOperator, waits, "{outcome:?}");
        let mut archive = Operation::in_place_of_repair(&repair, request(Verb::Archive, 2), now(2)).unwrap();
        archive.settle(now(2));
        assert_eq!(archive.steps[0].state, TargetState::Pending, "{outcome:?}");
    }
}

/// Only what had drifted was in the report, so that it was let in before anybody had looked at the others.
#[test]
fn a_report_after_a_restore_is_acted_on_only_once_every_target_was_looked_at() {
    let [first, second, third] = targets().try_into().unwrap();
    let mut report = begun(Status::Active, Verb::Repair, true);
    let found = drift(&first, Some(Desired::Suspended));
    report.found(std::slice::from_ref(&found), now(1));
    report.report_only(&[found], now(1));
    assert_eq!((report.state, due(&report).len()), (State::NeedsOperator, 0), "nothing is tried by itself");
    report.retry_target(&first, None, now(2)).unwrap();
    assert_eq!(due(&report), [&second, &third]);
    looked_at(&mut report, &second, Some(Desired::Active));
    assert_eq!(due(&report), [&third]);
    looked_at(&mut report, &third, Some(Desired::Active));
    assert_eq!(due(&report).len(), 3);
}

/// The next that was found had it asked again.
#[test]
fn a_target_that_waits_and_is_skipped_stays_so_whatever_becomes_of_the_others() {
    let [first, second, _] = targets().try_into().unwrap();
    let mut operation = begun(Status::Suspended, Verb::Activate, false);
    for target in [&first, &second] {
        tried(&mut operation, target, 2, Outcome::Ahead(9, Some(Desired::Suspended)), now(1));
    }
    operation.settle(now(1));
    operation.skip_target(&first, "later".into(), now(1)).unwrap();
    operation.retry_target(&second, None, now(1)).unwrap();
    tried(&mut operation, &second, 2, Outcome::Ahead(9, Some(Desired::Suspended)), now(2));
    assert_eq!(operation.steps[0].state, TargetState::Skipped);
}

use super::*;
use crate::domain::ids::TierId;
use crate::domain::lifecycle::MigrationEnd;
use crate::domain::tenant::{Profile, Tenant};

#[path = "operation_tests/again.rs"]
mod again;
#[path = "operation_tests/ahead.rs"]
mod ahead;
#[path = "operation_tests/held_back.rs"]
mod held_back;
#[path = "operation_tests/stuck.rs"]
mod stuck;
#[path = "operation_tests/unseen.rs"]
mod unseen;
#[path = "operation_tests/unwritten.rs"]
mod unwritten;

const PACE: Patience = Patience { attempts_max: 3 };

fn now(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn tenant(status: Status) -> Tenant {
    let profile = Profile::minimal("Finance", TierId::parse("gold").unwrap());
    let mut tenant = Tenant::provisioning(
        TenantId::parse("finance").unwrap(),
        Uuid::from_u128(7),
        profile,
        "ada".into(),
        now(0),
    );
    tenant.status = status;
    tenant
}

fn request(verb: Verb, number: u128) -> Request {
    let id = OperationId::from_uuid(Uuid::from_u128((7 << 76) | (2 << 62) | number));
    Request {
        operation_id: id,
        verb,
        reason: "unpaid".into(),
        actor: "ada".into(),
        details: Details::default(),
        bulk_id: None,
    }
}

fn targets() -> Vec<TargetName> {
    ["cache", "postgres", "vector-db"].iter().map(|name| TargetName::parse(name).unwrap()).collect()
}

fn started(from: Status, verb: Verb) -> Operation {
    Operation::start(&tenant(from), request(verb, 1), &targets(), 2, now(0)).unwrap()
}

fn tried(operation: &mut Operation, target: &TargetName, generation: u64, outcome: Outcome, time: Timestamp) {
    operation.record(Attempt { target: target.clone(), generation, outcome }, PACE, time);
}

fn seen(state: Desired) -> Outcome {
    Outcome::Observed(state, Verification::Effect)
}

fn drift(target: &TargetName, observed: Option<Desired>) -> Drift {
    Drift { target: target.clone(), observed, why: String::new(), ahead: None }
}

fn all_observed(operation: &mut Operation, state: Desired) {
    for target in targets() {
        let generation = operation.generation;
        tried(operation, &target, generation, seen(state), now(1));
    }
    operation.settle(now(1));
}

#[test]
fn it_succeeds_only_once_every_target_was_seen_in_the_desired_state() {
    let mut operation = started(Status::Active, Verb::Suspend);
    for (index, target) in targets().iter().enumerate() {
        assert_eq!(operation.confirmed(), None, "after {index}");
        tried(&mut operation, target, 2, seen(Desired::Suspended), now(1));
        operation.settle(now(1));
    }
    assert_eq!(operation.state, State::Succeeded);
    assert_eq!(operation.confirmed(), Some(Status::Suspended));
    assert_eq!(operation.finish_time, Some(now(1)));
}

#[test]
fn long_work_in_parts_does_not_use_up_the_patience() {
    let mut operation = started(Status::Active, Verb::Suspend);
    let target = &targets()[0];
    for part in 0..10 {
        tried(&mut operation, target, 2, Outcome::Unfinished(format!("part {part}")), now(part));
        operation.settle(now(part));
        assert_eq!((operation.steps[0].state, operation.steps[0].attempts), (TargetState::Retrying, 0));
    }
    assert_eq!(operation.steps[0].last_error, "part 9");
    assert!(operation.next_due(|_| false).is_some_and(|due| due < now(10)), "it goes on at once");
    tried(&mut operation, target, 2, seen(Desired::Suspended), now(11));
    assert_eq!(operation.steps[0].state, TargetState::Verified);
}

#[test]
fn what_waits_for_somebody_else_does_not_use_up_the_patience_either() {
    let mut operation = started(Status::Active, Verb::Suspend);
    let target = &targets()[0];
    for second in 0..10 {
        tried(&mut operation, target, 2, Outcome::Waiting("a transaction".into()), now(second));
        operation.settle(now(second));
        assert_eq!((operation.steps[0].state, operation.steps[0].attempts), (TargetState::Retrying, 1));
    }
}

#[test]
fn a_target_that_lies_is_not_verified() {
    let mut operation = started(Status::Active, Verb::Suspend);
    all_observed(&mut operation, Desired::Active);
    assert_eq!(operation.state, State::Running);
    assert!(operation.steps.iter().all(|step| step.state == TargetState::Retrying));
    assert!(operation.steps[0].last_error.contains("ACTIVE"));
}

#[test]
fn towards_more_access_a_refusal_turns_all_targets_back_under_a_new_generation() {
    let mut operation = started(Status::Suspended, Verb::Activate);
    let names = targets();
    tried(&mut operation, &names[0], 2, Outcome::Permanent("no".into()), now(1));
    operation.settle(now(1));
    assert_eq!(operation.state, State::Running, "the others have not been tried");
    tried(&mut operation, &names[1], 2, seen(Desired::Active), now(1));
    tried(&mut operation, &names[2], 2, Outcome::Retryable("timeout".into()), now(1));
    operation.settle(now(1));
    assert_eq!((operation.state, operation.generation), (State::Reverting, 3));
    assert!(operation.steps.iter().all(|step| step.desired == Desired::Suspended));
    all_observed(&mut operation, Desired::Suspended);
    assert_eq!((operation.state, operation.confirmed()), (State::Failed, Some(Status::Suspended)));
    assert!(operation.error.contains("cache: no"));
}

#[test]
fn towards_less_access_a_refusal_waits_for_an_operator_and_nothing_turns_back() {
    let mut operation = started(Status::Active, Verb::Suspend);
    let names = targets();
    tried(&mut operation, &names[0], 2, Outcome::Permanent("no".into()), now(1));
    tried(&mut operation, &names[1], 2, seen(Desired::Suspended), now(1));
    tried(&mut operation, &names[2], 2, seen(Desired::Suspended), now(1));
    operation.settle(now(1));
    assert_eq!(
        (operation.state, operation.confirmed(), operation.generation),
        (State::NeedsOperator, None, 2)
    );
}

#[test]
fn retries_stop_at_the_limit_and_reverting_gets_twice_as_many() {
    let mut operation = started(Status::Suspended, Verb::Activate);
    let names = targets();
    tried(&mut operation, &names[1], 2, seen(Desired::Active), now(1));
    tried(&mut operation, &names[2], 2, seen(Desired::Active), now(1));
    for _ in 0..3 {
        tried(&mut operation, &names[0], 2, Outcome::Retryable("timeout".into()), now(1));
        operation.settle(now(1));
    }
    assert_eq!(operation.state, State::Reverting);
    for attempt in 0..6 {
        assert_eq!(operation.state, State::Reverting, "attempt {attempt}");
        for name in &names {
            tried(&mut operation, name, 3, Outcome::Retryable("timeout".into()), now(1));
        }
        operation.settle(now(1));
    }
    assert_eq!(operation.state, State::NeedsOperator);
}

#[test]
fn results_of_an_older_generation_change_nothing() {
    let mut operation = started(Status::Active, Verb::Suspend);
    let before = operation.clone();
    tried(&mut operation, &targets()[0], 1, seen(Desired::Suspended), now(9));
    operation.settle(now(9));
    assert_eq!(operation, before);
}

#[test]
fn only_a_reversal_takes_over_from_an_open_operation() {
    let suspending = started(Status::Active, Verb::Suspend);
    let back = Operation::reversal(&suspending, request(Verb::Activate, 2), now(2)).unwrap();
    assert_eq!((back.from_status, back.to_status, back.generation), (Status::Active, Status::Active, 3));
    assert!(
        back.steps.iter().all(|step| step.desired == Desired::Active && step.state == TargetState::Pending)
    );
    assert!(Operation::reversal(&suspending, request(Verb::Archive, 2), now(2)).is_none());
    assert!(Operation::reversal(&suspending, request(Verb::Suspend, 2), now(2)).is_none());
}

#[test]
fn what_takes_over_from_an_open_operation_can_be_named_and_nothing_does_from_a_provisioning() {
    let named = |open: &Operation| open.gives_way_to().map(Verb::as_str).collect::<Vec<_>>();
    assert_eq!(named(&started(Status::Suspended, Verb::Archive)), [""; 0], "nothing leads back from there");
    assert_eq!(named(&started(Status::Suspended, Verb::Activate)), ["SUSPEND", "ARCHIVE"]);
    assert_eq!(named(&started(Status::Active, Verb::ChangeTier)), ["SUSPEND", "START_MIGRATION"]);
    let mut suspending = started(Status::Active, Verb::Suspend);
    assert_eq!(named(&suspending), ["ACTIVATE"]);
    suspending.state = State::NeedsOperator;
    assert_eq!(named(&suspending), ["ACTIVATE", "SUSPEND"], "the same begins anew");
    let mut provisioning = started(Status::Provisioning, Verb::Provision);
    assert_eq!(named(&provisioning), [""; 0]);
    provisioning.abort("a mistake".into(), now(1)).unwrap();
    assert_eq!(named(&provisioning), [""; 0]);
    let mut purging = started(Status::Deleted, Verb::Purge);
    purging.state = State::NeedsOperator;
    assert_eq!(named(&purging), [""; 0], "nobody asks for a purge");
}

#[test]
fn a_move_to_less_access_takes_over_from_what_leads_to_more_or_keeps_it() {
    let denial = |open: &Operation, verb| Operation::denial(open, request(verb, 2), now(2));
    let changing = started(Status::Active, Verb::ChangeTier);
    let denied = denial(&changing, Verb::Suspend).unwrap();
    assert_eq!(
        (denied.from_status, denied.to_status, denied.generation),
        (Status::Active, Status::Suspended, 3)
    );
    assert!(denial(&changing, Verb::ChangeTier).is_none(), "that denies nothing");
    assert!(denial(&started(Status::Active, Verb::StartMigration), Verb::Suspend).is_some());
    let mut suspending = started(Status::Active, Verb::Suspend);
    for verb in [Verb::Suspend, Verb::StartMigration, Verb::Archive] {
        assert!(
            denial(&suspending, verb).is_none(),
            "{verb}: it is denied already, or there is no such move"
        );
    }
    suspending.abort("wrong tenant".into(), now(1)).unwrap();
    assert!(denial(&suspending, Verb::Suspend).is_some(), "it was leading back");
    assert!(denial(&started(Status::Deleted, Verb::Purge), Verb::Undelete).is_none());
}

#[test]
fn without_targets_it_succeeds_at_once() {
    let mut operation =
        Operation::start(&tenant(Status::Active), request(Verb::Suspend, 1), &[], 2, now(0)).unwrap();
    operation.settle(now(0));
    assert_eq!(operation.state, State::Succeeded);
}

fn stuck_suspension() -> Operation {
    let mut operation = started(Status::Active, Verb::Suspend);
    let names = targets();
    tried(&mut operation, &names[0], 2, Outcome::Permanent("no".into()), now(1));
    tried(&mut operation, &names[1], 2, seen(Desired::Suspended), now(1));
    tried(&mut operation, &names[2], 2, seen(Desired::Suspended), now(1));
    operation.settle(now(1));
    assert_eq!(operation.state, State::NeedsOperator);
    operation
}

#[test]
fn a_target_that_is_retried_starts_from_the_first_attempt_and_ends_the_operation() {
    let mut operation = stuck_suspension();
    let cache = &targets()[0];
    operation.retry_target(cache, None, now(2)).unwrap();
    assert_eq!((operation.state, operation.steps[0].attempts), (State::Running, 0));
    assert_eq!(operation.due(now(2)).count(), 1);
    tried(&mut operation, cache, 2, seen(Desired::Suspended), now(3));
    operation.settle(now(3));
    assert_eq!((operation.state, operation.error.as_str()), (State::Succeeded, ""));
    assert_eq!(operation.retry_target(cache, None, now(4)), Err(Refusal::Ended));
}

#[test]
fn a_skipped_target_holds_nothing_up_and_its_late_results_change_nothing() {
    let mut operation = started(Status::Active, Verb::Suspend);
    let names = targets();
    operation.skip_target(&names[0], "decommissioned".into(), now(1)).unwrap();
    assert_eq!(operation.state, State::Running);
    tried(&mut operation, &names[0], 2, seen(Desired::Suspended), now(2));
    assert_eq!(operation.steps[0].state, TargetState::Skipped);
    all_observed(&mut operation, Desired::Suspended);
    assert_eq!((operation.state, operation.confirmed()), (State::Succeeded, Some(Status::Suspended)));
    let mut stuck = stuck_suspension();
    assert_eq!(stuck.skip_target(&names[1], "no".into(), now(2)), Err(Refusal::TargetDone));
    stuck.skip_target(&names[0], "gone".into(), now(2)).unwrap();
    assert_eq!((stuck.state, stuck.steps[0].skip_reason.as_str()), (State::Succeeded, "gone"));
}

#[test]
fn an_aborted_operation_brings_every_target_back_and_ends_as_cancelled() {
    let mut operation = started(Status::Active, Verb::Suspend);
    operation.abort("wrong tenant".into(), now(1)).unwrap();
    assert_eq!(
        (operation.state, operation.generation, operation.heading()),
        (State::Reverting, 3, Status::Active)
    );
    assert_eq!(operation.abort("again".into(), now(1)), Err(Refusal::TurnedBack));
    all_observed(&mut operation, Desired::Active);
    assert_eq!((operation.state, operation.confirmed()), (State::Cancelled, Some(Status::Active)));
    assert_eq!(operation.abort("again".into(), now(2)), Err(Refusal::Ended));
}

#[test]
fn an_operation_that_is_stuck_on_its_way_back_goes_on_back() {
    let mut operation = started(Status::Active, Verb::Suspend);
    operation.abort("wrong tenant".into(), now(1)).unwrap();
    for name in &targets() {
        tried(&mut operation, name, 3, Outcome::Permanent("no".into()), now(2));
    }
    operation.settle(now(2));
    assert_eq!((operation.state, operation.heading()), (State::NeedsOperator, Status::Active));
    operation.retry_target(&targets()[0], None, now(3)).unwrap();
    assert_eq!((operation.state, operation.steps[0].desired), (State::Reverting, Desired::Active));
}

#[test]
fn a_scheduled_operation_that_is_aborted_never_begins() {
    let mut operation =
        Operation::schedule(&tenant(Status::Active), request(Verb::Suspend, 1), now(60), now(0));
    assert_eq!((operation.state, operation.schedule_time), (State::Scheduled, Some(now(60))));
    assert_eq!(operation.retry_target(&targets()[0], None, now(1)), Err(Refusal::NotBegun));
    operation.abort("not needed".into(), now(1)).unwrap();
    assert_eq!((operation.state, operation.finish_time), (State::Cancelled, Some(now(1))));
}

#[test]
fn a_migration_to_another_place_only_goes_forward_once_it_is_being_finished() {
    let place = |region: &str| Place { region: region.into(), cell: "".into() };
    let mut asked = request(Verb::FinishMigration { to: MigrationEnd::Active }, 1);
    asked.details.place = Some(PlaceChange { from: place("eu"), to: place("me") });
    let mut operation = Operation::start(&tenant(Status::Migrating), asked, &targets(), 2, now(0)).unwrap();
    assert_eq!(operation.abort("no".into(), now(1)), Err(Refusal::PointOfNoReturn));
    for name in &targets() {
        tried(&mut operation, name, 2, Outcome::Permanent("no".into()), now(2));
    }
    operation.settle(now(2));
    assert_eq!((operation.state, operation.generation), (State::NeedsOperator, 2), "nothing turned back");
    let back = Operation::reversal(&operation, request(Verb::StartMigration, 2), now(3));
    assert!(back.is_none());
    for verb in Verb::ALL.into_iter().filter(|verb| *verb != Verb::Suspend) {
        assert!(Operation::denial(&operation, request(verb, 2), now(3)).is_none(), "{verb}");
    }
    let denied = Operation::denial(&operation, request(Verb::Suspend, 2), now(3)).unwrap();
    assert_eq!(
        (denied.from_status, denied.to_status, denied.generation),
        (Status::Active, Status::Suspended, 3),
        "the migration counts as done"
    );
}

#[test]
fn a_suspension_has_nothing_to_take_over_from_a_migration_that_ends_suspended_nor_from_a_purge() {
    let place = |region: &str| Place { region: region.into(), cell: "".into() };
    let mut asked = request(Verb::FinishMigration { to: MigrationEnd::Suspended }, 1);
    asked.details.place = Some(PlaceChange { from: place("eu"), to: place("me") });
    let ending = Operation::start(&tenant(Status::Migrating), asked, &targets(), 2, now(0)).unwrap();
    for open in [ending, started(Status::Deleted, Verb::Purge)] {
        assert!(Operation::denial(&open, request(Verb::Suspend, 2), now(1)).is_none());
    }
}

#[test]
fn reported_drift_waits_for_an_operator_and_any_verb_may_take_its_place() {
    let mut operation = started(Status::Suspended, Verb::Repair);
    let drift = drift(&targets()[1], Some(Desired::Active));
    operation.found(std::slice::from_ref(&drift), now(1));
    operation.report_only(&[drift], now(1));
    assert_eq!((operation.state, operation.steps.len()), (State::NeedsOperator, 1));
    assert!(operation.steps[0].last_error.contains("ACTIVE, not SUSPENDED"));
    let next = Operation::in_place_of_repair(&operation, request(Verb::Archive, 2), now(2)).unwrap();
    assert_eq!((next.to_status, next.generation), (Status::Archived, 3));
    operation.retry_target(&targets()[1], None, now(2)).unwrap();
    assert_eq!(operation.state, State::Running);
}

#[test]
fn a_time_of_a_replica_whose_clock_is_ahead_holds_nothing_up() {
    let mut operation = started(Status::Active, Verb::Suspend);
    let cache = &targets()[0];
    tried(&mut operation, cache, 2, Outcome::Retryable("no".into()), now(3_600));
    assert!(operation.due(now(0)).any(|step| step.target == *cache), "an hour behind");
    tried(&mut operation, cache, 2, Outcome::Retryable("no".into()), now(0));
    assert!(!operation.due(now(0)).any(|step| step.target == *cache), "a pause by the same clock counts");
}

#[test]
fn pauses_double_up_to_half_a_minute() {
    let pauses: Vec<i128> = [1, 2, 3, 9, 10, 1_000].map(|n| backoff(n).as_millis()).into();
    assert_eq!(pauses, [100, 200, 400, 25_600, 30_000, 30_000]);
}

/// A suspension that waits for the cache; the others were seen suspended at second 1.
fn waits_for_cache() -> Operation {
    let mut operation = started(Status::Active, Verb::Suspend);
    for target in &targets()[1..] {
        tried(&mut operation, target, 2, seen(Desired::Suspended), now(1));
    }
    operation.settle(now(1));
    operation
}

#[test]
fn what_was_seen_long_ago_is_looked_at_again_before_the_end() {
    let mut operation = waits_for_cache();
    let names = targets();
    assert!(operation.left_alone(&names, now(11)).is_empty());
    assert_eq!(operation.left_alone(&names, now(12)), names[1..]);
    tried(&mut operation, &names[0], 2, seen(Desired::Suspended), now(45));
    assert!(operation.settle_within(now(45), READING_AGE_MAX));
    assert_eq!(operation.state, State::Running, "the others were seen 44 s ago");
    let again: Vec<_> = operation.due(now(45)).map(|step| (&step.target, step.was_verified())).collect();
    assert_eq!(again, [(&names[1], true), (&names[2], true)]);
    for target in &names[1..] {
        tried(&mut operation, target, 2, seen(Desired::Suspended), now(46));
    }
    operation.settle(now(46));
    assert_eq!((operation.state, operation.generation), (State::Succeeded, 2));
}

#[test]
fn what_drifted_meanwhile_goes_back_to_work_under_a_new_generation() {
    let mut operation = waits_for_cache();
    let names = targets();
    tried(&mut operation, &names[0], 2, seen(Desired::Suspended), now(45));
    operation.settle(now(45));
    tried(&mut operation, &names[1], 2, Outcome::Drifted(Some(Desired::Active), String::new()), now(46));
    tried(&mut operation, &names[2], 3, seen(Desired::Suspended), now(46));
    operation.settle(now(46));
    let step = &operation.steps[1];
    assert_eq!(
        (operation.state, operation.generation, step.state),
        (State::Running, 3, TargetState::Pending)
    );
    assert!(!step.was_verified() && step.last_error.contains("ACTIVE, not SUSPENDED"), "{step:?}");
    tried(&mut operation, &names[1], 3, seen(Desired::Suspended), now(47));
    operation.settle(now(47));
    assert_eq!(operation.state, State::Succeeded);
}

#[test]
fn a_verifier_that_finds_drift_beside_an_open_operation_has_it_taken_up() {
    let names = targets();
    let drift = drift(&names[1], Some(Desired::Active));
    let mut waiting = waits_for_cache();
    let taken = waiting.take_up(std::slice::from_ref(&drift), false, now(20));
    assert_eq!(taken, names[1..2], "it is to bring it there anyway");
    assert_eq!((waiting.generation, waiting.steps[1].state), (3, TargetState::Pending));
    assert!(waiting.take_up(std::slice::from_ref(&drift), false, now(21)).is_empty(), "it is at it");
    let mut stuck = stuck_suspension();
    assert_eq!(stuck.take_up(std::slice::from_ref(&drift), true, now(20)), names[1..2]);
    assert_eq!((stuck.state, stuck.due(now(20)).count()), (State::Running, 1));
    tried(&mut stuck, &names[1], 3, seen(Desired::Suspended), now(21));
    stuck.settle(now(21));
    assert_eq!(stuck.state, State::NeedsOperator, "as before");

    let first = self::drift(&names[0], None);
    let report = || {
        let mut report = started(Status::Suspended, Verb::Repair);
        report.found(std::slice::from_ref(&first), now(1));
        report.report_only(std::slice::from_ref(&first), now(1));
        report
    };
    let mut reported = report();
    assert_eq!(reported.left_alone(&names, now(2)), names[1..]);
    assert_eq!(reported.take_up(std::slice::from_ref(&drift), false, now(2)), names[1..2]);
    assert_eq!((reported.state, reported.steps[1].state), (State::NeedsOperator, TargetState::NeedsOperator));
    assert_eq!(reported.error, "drift was found in cache, postgres");
    let mut repaired = report();
    assert_eq!(repaired.take_up(&[drift], true, now(2)), names[1..2]);
    assert_eq!((repaired.state, repaired.steps[1].state), (State::Running, TargetState::Pending));
    assert_eq!(repaired.steps[0].state, TargetState::NeedsOperator, "that was only reported");
}

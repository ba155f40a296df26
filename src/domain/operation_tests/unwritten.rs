//! What the database refuses to take.

use super::*;

#[test]
fn the_targets_whose_results_cannot_be_written_wait_for_an_operator_and_can_be_retried() {
    let mut operation = started(Status::Active, Verb::Suspend);
    let [cache, postgres, index] = &targets()[..] else { panic!() };
    tried(&mut operation, cache, 2, seen(Desired::Suspended), now(0));
    assert!(operation.stop_unwritten(std::slice::from_ref(postgres), now(1)));
    let states: Vec<_> = operation.steps.iter().map(|step| step.state).collect();
    assert_eq!(states, [TargetState::Verified, TargetState::NeedsOperator, TargetState::Pending]);
    assert_eq!(operation.state, State::NeedsOperator);
    assert!(operation.error.starts_with("postgres: the database refuses"), "{}", operation.error);
    operation.retry_target(postgres, None, now(2)).unwrap();
    assert_eq!(operation.state, State::Running);
    assert!(operation.due(now(2)).any(|step| step.target == *index), "and the others go on");
}

#[test]
fn an_end_that_cannot_be_written_waits_with_every_target_that_was_seen() {
    let mut operation = started(Status::Active, Verb::Suspend);
    let [cache, rest @ ..] = &targets()[..] else { panic!() };
    operation.skip_target(cache, "gone".into(), now(0)).unwrap();
    for target in rest {
        tried(&mut operation, target, 2, seen(Desired::Suspended), now(0));
    }
    assert!(operation.stop_unwritten(&[], now(1)));
    let states: Vec<_> = operation.steps.iter().map(|step| step.state).collect();
    let waits = TargetState::NeedsOperator;
    assert_eq!((operation.state, states), (State::NeedsOperator, vec![TargetState::Skipped, waits, waits]));
}

#[test]
fn where_no_target_could_be_retried_nothing_stops() {
    let mut purge = started(Status::Deleted, Verb::Purge);
    for target in targets() {
        purge.skip_target(&target, "gone".into(), now(0)).unwrap();
    }
    let before = purge.clone();
    assert!(!purge.stop_unwritten(&[], now(1)));
    assert_eq!(purge, before);
}

use super::*;
use crate::domain::ids::TierId;
use crate::domain::tenant::{Profile, Tenant};

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
    Request { operation_id: id, verb, reason: "unpaid".into(), actor: "ada".into() }
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

fn all_observed(operation: &mut Operation, state: Desired) {
    for target in targets() {
        let generation = operation.generation;
        tried(operation, &target, generation, Outcome::Observed(state), now(1));
    }
    operation.settle(now(1));
}

#[test]
fn it_succeeds_only_once_every_target_was_seen_in_the_desired_state() {
    let mut operation = started(Status::Active, Verb::Suspend);
    for (index, target) in targets().iter().enumerate() {
        assert_eq!(operation.confirmed(), None, "after {index}");
        tried(&mut operation, target, 2, Outcome::Observed(Desired::Suspended), now(1));
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
    assert!(operation.next_due().is_some_and(|due| due < now(10)), "it goes on at once");
    tried(&mut operation, target, 2, Outcome::Observed(Desired::Suspended), now(11));
    assert_eq!(operation.steps[0].state, TargetState::Verified);
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
    tried(&mut operation, &names[1], 2, Outcome::Observed(Desired::Active), now(1));
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
    tried(&mut operation, &names[1], 2, Outcome::Observed(Desired::Suspended), now(1));
    tried(&mut operation, &names[2], 2, Outcome::Observed(Desired::Suspended), now(1));
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
    tried(&mut operation, &names[1], 2, Outcome::Observed(Desired::Active), now(1));
    tried(&mut operation, &names[2], 2, Outcome::Observed(Desired::Active), now(1));
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
    tried(&mut operation, &targets()[0], 1, Outcome::Observed(Desired::Suspended), now(9));
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
fn without_targets_it_succeeds_at_once() {
    let mut operation =
        Operation::start(&tenant(Status::Active), request(Verb::Suspend, 1), &[], 2, now(0)).unwrap();
    operation.settle(now(0));
    assert_eq!(operation.state, State::Succeeded);
}

#[test]
fn pauses_double_up_to_half_a_minute() {
    let pauses: Vec<i128> = [1, 2, 3, 9, 10, 1_000].map(|n| backoff(n).as_millis()).into();
    assert_eq!(pauses, [100, 200, 400, 25_600, 30_000, 30_000]);
}

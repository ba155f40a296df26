//! Operations in which nothing gets on.

use super::*;

#[test]
fn an_operation_in_which_nothing_gets_on_is_stuck_whatever_holds_it() {
    let operation = waits_for_cache();
    assert!(!operation.is_stuck(now(11)), "10 s after the last target was done");
    assert!(operation.is_stuck(now(12)));
    let scheduled = Operation { schedule_time: Some(now(60)), ..operation };
    assert!(!scheduled.is_stuck(now(70)) && scheduled.is_stuck(now(71)));
    let failing = {
        let mut operation = started(Status::Active, Verb::Suspend);
        for attempt in 0..6 {
            let pace = Patience { attempts_max: 20 };
            let outcome = Outcome::Retryable("no".into());
            operation.record(
                Attempt { target: targets()[0].clone(), generation: 2, outcome },
                pace,
                now(attempt),
            );
        }
        operation
    };
    assert!(failing.is_stuck(now(6)), "several failures in a row say so sooner");
    assert!(stuck_suspension().is_stuck(now(1)));
}

#[test]
fn long_work_is_stuck_only_while_no_part_of_it_gets_done() {
    let mut operation = waits_for_cache();
    let target = &targets()[0];
    let part = || Outcome::Unfinished("1,000 rows were removed, and there are more".into());
    for second in (5..3_600).step_by(5) {
        tried(&mut operation, target, 2, part(), now(second));
        assert!(!operation.is_stuck(now(second + 9)), "after {second} s");
    }
    assert!(operation.is_stuck(now(3_606)), "10 s after the last part");
    tried(&mut operation, target, 2, Outcome::Waiting("a transaction is open".into()), now(3_607));
    assert!(operation.is_stuck(now(3_607)), "nothing got done");
    assert!(operation.steps[0].fails());
    tried(&mut operation, target, 2, part(), now(3_608));
    assert!(!operation.is_stuck(now(3_608)));
    assert!(!operation.steps[0].fails(), "what it said last is how far it got");
    tried(&mut operation, target, 2, Outcome::Retryable("no".into()), now(3_609));
    tried(&mut operation, target, 2, part(), now(3_610));
    assert_eq!(operation.steps[0].attempts, 0, "failures in a row count, and it got on since");
}

#[test]
fn it_only_waits_once_all_that_is_left_is_held_up() {
    let operation = waits_for_cache();
    assert!(operation.only_waits(|step| step.target == targets()[0]));
    assert!(!operation.only_waits(Step::keeps_failing));
    assert!(!started(Status::Active, Verb::Suspend).only_waits(|step| step.target == targets()[0]));
    assert!(!stuck_suspension().only_waits(|_| true), "it waits for an operator");
}

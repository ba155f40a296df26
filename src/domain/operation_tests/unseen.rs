//! Targets that could not be looked at.

use super::*;

/// An operation of generation 2, of which every target but the cache was read back.
fn without_the_cache(from: Status, verb: Verb) -> Operation {
    let mut operation = Operation::start(&tenant(from), request(verb, 1), &targets(), 2, now(0)).unwrap();
    operation.inherit_undecided(None, now(0));
    for target in &targets()[1..] {
        let desired = operation.steps[0].desired;
        tried(&mut operation, target, 2, seen(desired), now(1));
    }
    operation
}

/// The next operation, over the same targets, once that one has ended.
fn after(ended: &Operation, verb: Verb) -> Operation {
    let mut tenant = tenant(ended.from_status);
    tenant.follow(ended, now(2));
    let generation = generation_after(tenant.generation);
    let mut next = Operation::start(&tenant, request(verb, 2), &targets(), generation, now(2)).unwrap();
    next.inherit_undecided(tenant.undecided.as_deref(), now(2));
    next
}

/// Whether the cache, seen to hold a state under the number that the first operation had, is taken for told by somebody else; and
/// the same of a target that was read back.
fn is_by_others(operation: &Operation, held: Desired) -> (bool, bool) {
    let told = |step: &Step| operation.may_hold(step).is_by_others(2, Some(held));
    (told(&operation.steps[0]), told(&operation.steps[1]))
}

/// By number alone, what the target was told before the registry's restore passed for what we had asked for.
#[test]
fn only_what_was_asked_for_since_a_target_was_seen_is_taken_for_ours_whatever_became_of_the_operation() {
    let skip = |mut operation: Operation| {
        operation.skip_target(&targets()[0], "down".into(), now(2)).unwrap();
        assert_eq!(operation.state, State::Succeeded);
        after(&operation, Verb::Repair)
    };
    let abort = |mut operation: Operation| {
        operation.abort("not now".into(), now(2)).unwrap();
        operation
    };
    let abort_and_skip = |operation: Operation| {
        let mut operation = abort(operation);
        for target in &targets()[1..] {
            let (generation, back) = (operation.generation, operation.steps[0].desired);
            tried(&mut operation, target, generation, seen(back), now(2));
        }
        operation.skip_target(&targets()[0], "down".into(), now(2)).unwrap();
        assert!(!operation.state.is_open());
        after(&operation, Verb::Repair)
    };
    let stay = |operation: Operation| operation;
    for (name, then) in [
        ("stay", &stay as &dyn Fn(Operation) -> Operation),
        ("skip", &skip),
        ("abort", &abort),
        ("abort and skip", &abort_and_skip),
    ] {
        let next = then(without_the_cache(Status::Active, Verb::StartMigration));
        for ours in [Desired::ReadOnly, next.steps[0].desired] {
            assert!(!is_by_others(&next, ours).0, "{name}: {ours}");
        }
        assert_eq!(is_by_others(&next, Desired::Suspended), (true, name == "stay"), "{name}");
    }
}

#[test]
fn whoever_takes_over_knows_what_was_asked_for_before_it() {
    let open = without_the_cache(Status::Active, Verb::Suspend);
    let back = Operation::reversal(&open, request(Verb::Activate, 2), now(2)).unwrap();
    assert_eq!(is_by_others(&back, Desired::Suspended), (false, false));
    assert_eq!(
        is_by_others(&back, Desired::Archived),
        (true, false),
        "what was read back is older than this"
    );
    assert!(!back.may_hold(&back.steps[0]).is_by_others(1, Some(Desired::Archived)), "from before both");
}

#[test]
fn a_target_that_is_read_back_at_last_has_nothing_to_be_told_of_it() {
    let mut open = without_the_cache(Status::Active, Verb::ChangeTier);
    open.skip_target(&targets()[0], "down".into(), now(2)).unwrap();
    let mut repair = after(&open, Verb::Repair);
    assert_eq!(repair.details.unseen.len(), 1);
    all_observed(&mut repair, Desired::Active);
    assert_eq!((repair.state, repair.left_undecided()), (State::Succeeded, None));
}

/// Where one target was ahead, the registry was restored: the way back would have let in who was suspended since the backup.
#[test]
fn the_way_back_of_a_denial_waits_at_targets_that_were_ahead_and_believes_nothing_of_those_that_did_not_take_it()
 {
    let mut denial = without_the_cache(Status::Active, Verb::Suspend);
    denial.steps[2] = Step::pending(targets()[2].clone(), Desired::Suspended);
    tried(&mut denial, &targets()[2], 2, Outcome::Ahead(4, Some(Desired::Suspended)), now(1));
    assert_eq!((denial.generation, denial.waits_behind(&targets()[2])), (5, None), "it gives no more access");
    denial.abort("a mistake".into(), now(2)).unwrap();
    assert_eq!(denial.waits_behind(&targets()[2]), Some(4));
    let (cache, postgres) = is_by_others(&denial, Desired::Suspended);
    assert!(cache && !postgres, "what was read back took the suspension");
}

#[test]
fn what_an_operator_let_the_operation_go_beyond_is_not_found_again() {
    let mut repair = without_the_cache(Status::Active, Verb::Repair);
    tried(&mut repair, &targets()[0], 2, Outcome::Ahead(7, Some(Desired::Suspended)), now(1));
    let said = Adoption { actor: "ada".into(), reason: "it has paid".into(), time: now(2) };
    repair.retry_target(&targets()[0], Some(said), now(2)).unwrap();
    let unseen = repair.may_hold(&repair.steps[0]);
    assert!(!unseen.is_by_others(7, Some(Desired::Suspended)));
    assert!(unseen.is_by_others(8, Some(Desired::Suspended)), "another change since");
}

/// A tenant that `tenantry restored` has marked, ACTIVE under generation 1.
fn marked() -> Tenant {
    let mut marked = tenant(Status::Active);
    marked.undecided = Some(serde_json::from_str(r#"{"restored": 2}"#).unwrap());
    marked
}

#[test]
fn after_a_restore_even_a_denial_looks_first_and_what_it_would_have_asked_for_itself_is_not_its_own() {
    let marked = marked();
    let mut denial = Operation::start(&marked, request(Verb::Suspend, 1), &targets(), 2, now(0)).unwrap();
    assert!(!denial.looks_first(&denial.steps[0]));
    denial.inherit_undecided(marked.undecided.as_deref(), now(0));
    assert!(denial.looks_first(&denial.steps[0]));
    assert_eq!(is_by_others(&denial, Desired::Suspended), (true, true));
    tried(&mut denial, &targets()[1], 2, seen(Desired::Suspended), now(1));
    assert_eq!(is_by_others(&denial, Desired::Suspended), (true, false), "the second was read back");
    denial.abort("a mistake".into(), now(2)).unwrap();
    assert_eq!(is_by_others(&denial, Desired::Suspended), (true, false));
}

#[test]
fn the_mark_of_a_restore_stays_until_every_target_was_looked_at() {
    let marked = marked();
    let mut confirmed = Operation::confirm(&marked, request(Verb::Activate, 1), now(0));
    confirmed.inherit_undecided(marked.undecided.as_deref(), now(0));
    assert_eq!(confirmed.left_undecided(), marked.undecided.as_deref().cloned(), "nothing was looked at");

    let mut reported = Operation::start(&marked, request(Verb::Repair, 1), &targets(), 2, now(0)).unwrap();
    reported.inherit_undecided(marked.undecided.as_deref(), now(0));
    let drifts = [drift(&targets()[0], Some(Desired::Suspended))];
    reported.found(&drifts, now(0));
    reported.report_only(&drifts, now(0));
    reported.abort("not now".into(), now(1)).unwrap();
    let next = after(&reported, Verb::Suspend);
    assert_eq!(is_by_others(&next, Desired::Suspended), (false, true), "the first was seen");

    let mut repair = after(&reported, Verb::Repair);
    all_observed(&mut repair, Desired::Active);
    assert_eq!(repair.left_undecided(), None);
}

/// Before the backup the target had been skipped, and both states asked for; a suspension from after it passed for one of those.
#[test]
fn what_was_asked_for_before_the_backup_and_a_later_restore_change_nothing_of_what_counts_as_forgotten() {
    let mut marked = marked();
    let unseen = r#"{"unseen": {"cache": {"since": 2, "asked": ["ACTIVE", "SUSPENDED"]}}, "restored": 4}"#;
    marked.undecided = Some(serde_json::from_str(unseen).unwrap());
    let mut tier = Operation::start(&marked, request(Verb::ChangeTier, 1), &targets(), 4, now(0)).unwrap();
    tier.inherit_undecided(marked.undecided.as_deref(), now(0));
    let told = |operation: &Operation, generation| {
        operation.may_hold(&operation.steps[0]).is_by_others(generation, Some(Desired::Suspended))
    };
    assert!(told(&tier, 4) && !told(&tier, 3));
    tier.generation = 9;
    tier.keep_unseen();
    tier.details.restored = Some(10);
    assert!(told(&tier, 4), "the first of two restores counts");
    // It was looked at, and what is asked of it from now on is ours.
    tier.was_looked_at(&targets()[0]);
    assert!(!tier.looks_first(&Step::pending(targets()[0].clone(), Desired::Suspended)));
    assert!(tier.looks_first(&Step::pending(targets()[1].clone(), Desired::Suspended)));
}

/// It was gone beyond on the way back, which gave no more access; to begin again does.
#[test]
fn a_making_that_is_begun_again_waits_where_its_way_back_went_beyond_something() {
    let mut making =
        Operation::start(&tenant(Status::Provisioning), request(Verb::Provision, 1), &targets(), 1, now(0))
            .unwrap();
    making.turn_back(now(0));
    let generation = making.generation;
    let ahead = Outcome::Ahead(generation, Some(Desired::Archived));
    tried(&mut making, &targets()[0], generation, ahead, now(1));
    assert_eq!(making.waits_behind(&targets()[0]), None, "it gives no more access");
    let generation = making.generation;
    tried(&mut making, &targets()[1], generation, Outcome::Permanent("no".into()), now(1));
    making.retry_target(&targets()[1], None, now(2)).unwrap();
    assert!(!making.backward && making.waits_behind(&targets()[0]).is_some(), "{making:?}");
}

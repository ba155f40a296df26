//! The same verb once more, and one that takes another back.

use super::*;

#[test]
fn the_same_verb_again_leads_where_it_is_told_this_time_and_back_to_where_the_first_came_from() {
    let tier = |name| TierId::parse(name).unwrap();
    let leading = |from, to, number| {
        let details =
            Details { tier: Some(TierChange { from: tier(from), to: tier(to) }), ..Details::default() };
        Request { details, ..request(Verb::ChangeTier, number) }
    };
    let mut stuck =
        Operation::start(&tenant(Status::Active), leading("gold", "silver", 1), &targets(), 2, now(0))
            .unwrap();
    stuck.state = State::NeedsOperator;
    let again = Operation::again(&stuck, leading("silver", "platinum", 2), now(1)).unwrap();
    assert_eq!(again.details.tier, Some(TierChange { from: tier("gold"), to: tier("platinum") }));
}

#[test]
fn a_reversal_that_is_refused_has_nothing_to_go_back_to() {
    let deleting = started(Status::Archived, Verb::Delete);
    let mut undeleting = Operation::reversal(&deleting, request(Verb::Undelete, 2), now(0)).unwrap();
    assert_eq!((undeleting.from_status, undeleting.to_status), (Status::Archived, Status::Archived));
    for target in targets() {
        tried(&mut undeleting, &target, 3, Outcome::Permanent("no".into()), now(1));
    }
    undeleting.settle(now(1));
    assert_eq!((undeleting.state, undeleting.backward), (State::NeedsOperator, false));
}

#[test]
fn a_suspension_that_took_an_activation_back_gives_way_to_an_activation_from_where_the_tenant_is() {
    let activating = started(Status::Suspended, Verb::Activate);
    let suspending = Operation::reversal(&activating, request(Verb::Suspend, 2), now(0)).unwrap();
    assert_eq!((suspending.from_status, suspending.to_status), (Status::Suspended, Status::Suspended));
    let named: Vec<&str> = suspending.gives_way_to().map(Verb::as_str).collect();
    assert_eq!(named, ["ACTIVATE", "ARCHIVE"]);
}

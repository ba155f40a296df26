//! The same verb once more.

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

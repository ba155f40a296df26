use super::*;

const ZERO: SignedDuration = SignedDuration::ZERO;

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + milliseconds).unwrap()
}

const fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

#[test]
fn a_clock_that_is_nearly_right_is_gone_by() {
    assert_eq!(off(at(0), at(1), at(2), ZERO), None);
    assert_eq!(off(at(400), at(0), at(402), ZERO), None);
    assert_eq!(off(at(-400), at(0), at(-398), ZERO), None);
}

#[test]
fn a_clock_that_is_off_is_corrected_by_what_it_shows_halfway() {
    assert_eq!(off(at(3_600_000), at(10), at(3_600_020), ZERO), Some(seconds(3_600)));
    assert_eq!(off(at(-3_600_010), at(0), at(-3_599_990), ZERO), Some(seconds(-3_600)));
}

#[test]
fn what_an_answer_takes_is_not_taken_for_a_clock_that_is_off() {
    // A database that answered after 10 s read its clock within them.
    assert_eq!(off(at(0), at(0), at(10_000), ZERO), None);
    assert_eq!(off(at(0), at(10_000), at(10_000), ZERO), None);
}

#[test]
fn once_corrected_it_stays_as_it_is_until_it_is_another_and_ends_where_the_clock_was_set_right() {
    assert_eq!(off(at(3_600_300), at(0), at(3_600_302), seconds(3_600)), None);
    assert_eq!(off(at(2_000), at(0), at(2_000), seconds(3_600)), Some(seconds(2)));
    assert_eq!(off(at(100), at(99), at(102), seconds(3_600)), Some(ZERO));
}

#[test]
fn ids_sort_as_they_were_made() {
    let ids: Vec<Uuid> = (0..10_000).map(|_| new_id()).collect();
    assert!(ids.is_sorted());
}

#[test]
fn times_have_the_precision_of_the_database() {
    assert_eq!(now().subsec_nanosecond() % 1_000, 0);
}

use super::super::record::Record;
use super::*;

fn place(uid: &str, prefix: &str, principals: &[&str]) -> Place {
    Place {
        bucket: "tenants".to_owned(),
        prefix: prefix.to_owned(),
        own_bucket: prefix.is_empty(),
        record_bucket: "tenants".to_owned(),
        record_key: format!("{RECORDS}{}", uid.repeat(32)),
        principals: principals.iter().map(|principal| (*principal).to_owned()).collect(),
        is_derived: false,
    }
}

fn edit(place: Place, state: Desired) -> Edit {
    let record = Record { tenant_id: "acme".to_owned(), state, generation: 1 };
    Edit { place, denial: None, record }
}

#[test]
fn a_later_tenant_of_the_same_round_has_the_place_and_an_earlier_one_does_not() {
    let one = place("5", "a/b/", &["user/a"]);
    for (uid, prefix, principal, state, is_rival) in [
        ("6", "a/b/", "user/b", Desired::Suspended, true),
        ("6", "a/", "user/b", Desired::Active, true),
        ("6", "a/b/c/", "user/b", Desired::Active, true),
        ("6", "x/", "user/a", Desired::Active, true),
        ("6", "a/b/", "user/a", Desired::Deleted, false),
        ("6", "a/c/", "user/ab", Desired::Active, false),
        ("4", "a/b/", "user/a", Desired::Active, false),
        ("5", "a/b/", "user/a", Desired::Active, false),
    ] {
        let rival = rival_of(&one, &edit(place(uid, prefix, &[principal]), state));
        assert_eq!(rival.is_some(), is_rival, "{uid} {prefix} {principal} {state}");
    }
}

#[test]
fn who_is_at_a_prefix_below_it_and_above_it_is_asked_for_and_each_principal() {
    let place = place("5", "a/b/", &["user/a", &format!("user/{}", "5".repeat(32))]);
    let asked: Vec<(String, bool)> =
        questions(&place).into_iter().map(|question| (question.lead, question.is_claimed_by_it)).collect();
    let expected = [
        (".tenantry/prefixes/a/b/", true),
        (".tenantry/prefixes/a/!", false),
        (".tenantry/principals/user/a!", true),
    ];
    assert_eq!(asked, expected.map(|(lead, claims)| (lead.to_owned(), claims)));
}

#[test]
fn what_has_the_tenants_uid_in_it_is_nobody_elses() {
    let derived = Place { is_derived: true, ..place("5", "t/5/", &[]) };
    assert_eq!(questions(&derived), []);
    assert_eq!(questions(&place("5", "", &["user/a"])), [], "a bucket of its own");
}

#[test]
fn a_claim_to_something_longer_counts_below_a_prefix_only() {
    let uid = "6".repeat(32);
    for (lead, key, is_claim) in [
        ("p/a/", format!("p/a/!{uid}"), true),
        ("p/a/", format!("p/a/b/!{uid}"), true),
        ("p/a/!", format!("p/a/!{uid}"), true),
        ("q/user/a!", format!("q/user/a!{uid}"), true),
        ("q/user/a!", format!("q/user/a!b!{uid}"), false),
        ("p/a/", "p/a/!mine".to_owned(), false),
    ] {
        assert_eq!(claimant(lead, &key), is_claim.then_some(uid.as_str()), "{lead} {key}");
    }
}

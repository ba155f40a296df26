use super::*;

#[test]
fn a_change_of_ten_thousand_flags_with_the_longest_names_is_told_in_parts_that_clients_take() {
    let key = |number: usize| FlagKey::known(&format!("{number:05}{}", "\u{1}".repeat(1_019))).unwrap();
    let all: BTreeMap<_, _> = (0..10_000).map(|number| (key(number), Kind::Delete)).collect();
    let parts = bounded(all.clone());
    // A control character takes six bytes in JSON, over Connect.
    let largest =
        parts.iter().map(|part| part.keys().map(|key| key.as_str().len() * 6 + 48).sum::<usize>()).max();
    assert!(largest < Some(4 << 20), "{largest:?}");
    assert_eq!(parts.into_iter().flatten().collect::<BTreeMap<_, _>>(), all);
    let few: BTreeMap<_, _> = (0..100).map(|number| (key(number), Kind::Update)).collect();
    assert_eq!(bounded(few.clone()), [few]);
    assert!(bounded(BTreeMap::new()).is_empty());
}

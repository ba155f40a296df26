use super::*;

/// With the longest name.
fn key(number: usize) -> FlagKey {
    FlagKey::known(&format!("{number:05}{}", "\u{1}".repeat(1_019))).unwrap()
}

#[test]
fn a_change_of_ten_thousand_flags_with_the_longest_names_is_told_in_parts_that_clients_take() {
    let all: BTreeMap<_, _> = (0..10_000).map(|number| (key(number), Kind::Delete)).collect();
    let parts = bounded(all.clone().into_iter());
    // A control character takes six bytes in JSON, over Connect.
    let largest =
        parts.iter().map(|part| part.keys().map(|key| key.as_str().len() * 6 + 48).sum::<usize>()).max();
    assert!(largest < Some(4 << 20), "{largest:?}");
    assert_eq!(parts.into_iter().flatten().collect::<BTreeMap<_, _>>(), all);
    let few: BTreeMap<_, _> = (0..100).map(|number| (key(number), Kind::Update)).collect();
    assert_eq!(bounded(few.clone().into_iter()), [few]);
    assert!(bounded(std::iter::empty()).is_empty());
}

fn changed(reach: Reach) -> Changed {
    let left = Left::Sets(BTreeSet::new());
    Changed { kind: Kind::Update, reach, flag_set: Some(String::new()), came: false, left }
}

fn of_tier(name: &str) -> Reach {
    Reach::tier(&TierId::parse(name).unwrap())
}

/// Flags 0 to 2 concern everybody, 3 a tier, 4 that tier and another.
fn news() -> Arc<News> {
    let both = match (of_tier("gold"), of_tier("silver")) {
        (Reach::Some(gold, tenants), Reach::Some(silver, _)) => Reach::Some(&gold | &silver, tenants),
        _ => unreachable!(),
    };
    let reaches = [Reach::All, Reach::All, Reach::All, of_tier("gold"), both];
    let mut change = Change::default();
    for (number, reach) in reaches.into_iter().enumerate() {
        change.flags.insert(key(number), changed(reach));
    }
    News::of(change)
}

fn encode(flags: &BTreeMap<FlagKey, Kind>) -> Bytes {
    vec![0; flags.len()].into()
}

fn in_set(set: &str) -> Scope {
    Scope { flag_set: Some(set.to_owned()), ..Scope::default() }
}

/// Each stream picked and encoded for itself what all are told.
#[tokio::test]
async fn streams_that_are_told_the_same_share_what_was_made_once() {
    let (news, apart) = (news(), Apart::new());
    let one = news.told(&Scope::default(), Some(encode), &apart).await.unwrap();
    let other = news.told(&Scope::default(), Some(encode), &apart).await.unwrap();
    let lengths: Vec<_> = one.iter().map(|part| (part.flags.len(), part.encoded.len())).collect();
    assert_eq!(lengths, [(3, 3), (2, 2)]);
    assert!(one.iter().zip(&other).all(|(one, other)| Arc::ptr_eq(one, other)));
    // Who says it in no way of a wire has no bytes of it, nor takes them away from others.
    let bare = news.told(&Scope::default(), None, &apart).await.unwrap();
    assert!(bare.iter().all(|part| part.encoded.is_empty()));
    assert_eq!(
        bare.iter().map(|part| &part.flags).collect::<Vec<_>>(),
        one.iter().map(|part| &part.flags).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn sets_that_no_flag_is_in_are_told_alike_whatever_their_names() {
    let apart = Apart::new();
    assert!(news().told(&in_set("a"), Some(encode), &apart).await.unwrap().is_empty());
    let mut change = Change::default();
    let gone = Changed { flag_set: None, left: Left::Any, ..changed(Reach::All) };
    change.flags.insert(key(1), gone);
    change.flags.insert(key(2), Changed { flag_set: Some("a".to_owned()), ..changed(Reach::All) });
    let news = News::of(change);
    let of = async |set: &str| news.told(&in_set(set), Some(encode), &apart).await.unwrap();
    let (a, b, c) = (of("a").await, of("b").await, of("c").await);
    assert!(Arc::ptr_eq(&b[0], &c[0]));
    assert_eq!(b[0].flags, BTreeMap::from([(key(1), Kind::Delete)]));
    assert_eq!(a[0].flags, BTreeMap::from([(key(1), Kind::Delete), (key(2), Kind::Update)]));
    assert!(news.concerns(&in_set("b")) && !self::news().concerns(&in_set("b")));
}

#[test]
fn a_piece_has_each_flag_that_concerns_its_streams_once() {
    let news = news();
    let seen = |whose| {
        let name = Name { whose, of: Of::Any, is_encoded: false };
        news.seen(&name).map(|(key, _)| key.clone()).collect::<Vec<_>>()
    };
    let tier = |name: &str| TierId::parse(name).unwrap();
    assert_eq!(seen(Whose::Everybody), [key(0), key(1), key(2)]);
    assert_eq!(seen(Whose::Others), [key(3), key(4)]);
    assert_eq!(seen(Whose::Tier(tier("gold"))), [key(3), key(4)]);
    assert_eq!(seen(Whose::Tier(tier("silver"))), [key(4)]);
    assert!(seen(Whose::Tier(tier("platinum"))).is_empty());
}

#[test]
fn small_parts_are_told_together_and_the_last_word_counts() {
    let part = |numbers: std::ops::Range<usize>, kind| {
        Part::new(numbers.map(|number| (key(number), kind)).collect(), Some(encode))
    };
    let large = part(0..TOGETHER_MAX, Kind::Update);
    let parts = vec![Arc::clone(&large), part(0..2, Kind::Write), part(1..3, Kind::Delete)];
    let told = together(parts, Some(encode));
    assert_eq!(told.len(), 2);
    assert!(Arc::ptr_eq(&told[0], &large));
    let wanted = [(key(0), Kind::Write), (key(1), Kind::Delete), (key(2), Kind::Delete)];
    assert_eq!((&told[1].flags, told[1].encoded.len()), (&BTreeMap::from(wanted), 3));
}

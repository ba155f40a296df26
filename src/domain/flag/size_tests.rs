use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::domain::flag::{Body, Flag, FlagType, NewSegment, Prerequisite, Query, Segment, TargetingRule};
use crate::domain::ids::{GroupName, Revision, SegmentName, VariantName};
use crate::domain::rule::Context;

/// A flag with a rule that lists this many names.
fn listing(key: &str, names: usize) -> Settings {
    let mut settings = Settings::new(FlagKey::parse(key).unwrap(), FlagType::Boolean);
    settings.fill_boolean_defaults();
    let names: Vec<_> = (0..names).map(|number| format!("user-{number:04}")).collect();
    let body = Body::Logic(json!({"if": [{"in": [{"var": "user"}, names]}, "on", null]}));
    settings.rules = vec![TargetingRule { id: "r".to_owned(), description: String::new(), body }];
    settings
}

fn flag(settings: Settings) -> Arc<Flag> {
    Arc::new(settings.into_flag(Revision(1), Timestamp::UNIX_EPOCH))
}

#[test]
fn what_is_changed_or_gone_takes_its_size_along() {
    let one = flag(listing("one", 10));
    let alone = CompiledFlags::new().with_flag(Arc::clone(&one));
    let both = alone.clone().with_flag(flag(listing("two", 500))).with_flag(flag(listing("one", 90)));
    assert!(both.set_bytes() > alone.set_bytes() + 580 * 12, "{} {}", both.set_bytes(), alone.set_bytes());
    assert_eq!(both.with_flag(one).without_flag("two").set_bytes(), alone.set_bytes());
    assert_eq!(alone.without_flag("one").set_bytes(), 0);
}

#[test]
fn a_rule_counts_wherever_it_is_written_into_another() {
    let by_itself = |key: &str| CompiledFlags::new().with_flag(flag(listing(key, 500))).set_bytes();
    let mut needing = listing("b", 0);
    let variants = [VariantName::parse("on").unwrap()].into();
    needing.prerequisites = vec![Prerequisite { flag_key: FlagKey::parse("a").unwrap(), variants }];
    let needed = CompiledFlags::build([flag(listing("a", 500)), flag(needing)], [], []);
    assert!(needed.set_bytes() > 2 * by_itself("a") - 200, "{}", needed.set_bytes());
    let grouped = |key: &str| {
        let mut settings = listing(key, 500);
        settings.conflict_groups = [GroupName::parse("g").unwrap()].into_iter().collect();
        flag(settings)
    };
    // The last has the rules of two above it, and the one before it that of one.
    let group = CompiledFlags::build([grouped("a"), grouped("b"), grouped("c")], [], []);
    assert!(group.set_bytes() > 6 * by_itself("a") - 1_000, "{}", group.set_bytes());
}

#[test]
fn a_segment_counts_for_each_flag_that_uses_it_and_follows_its_changes() {
    let segment = |names: usize| {
        let names: Vec<_> = (0..names).map(|number| format!("user-{number:04}")).collect();
        let source = json!({"in": [{"var": "user"}, names]});
        let name = SegmentName::parse("many").unwrap();
        let (revision, time) = (Revision(1), Timestamp::UNIX_EPOCH);
        let settings = NewSegment { name, description: String::new(), source };
        Arc::new(Segment { settings, revision, create_time: time, update_time: time })
    };
    let using = |key: &str| {
        let mut settings = listing(key, 0);
        settings.rules[0].body = Body::Logic(json!({"if": [{"$ref": "many"}, "on", null]}));
        flag(settings)
    };
    let flags = CompiledFlags::build([using("a"), using("b")], [], []);
    let (few, many) = (flags.clone().with_segments([segment(1)]), flags.with_segments([segment(501)]));
    assert_eq!(many.set_bytes() - few.set_bytes(), 2 * 500 * 12);
    assert_eq!(many.with_segments([segment(1)]).set_bytes(), few.set_bytes());
}

/// A set's rules as they are made for whoever selects no tenant, in bytes, with what stands around them.
fn made(flags: &CompiledFlags) -> usize {
    let context = Context::default();
    let query = Query { tenant: None, context: &context, now: Timestamp::UNIX_EPOCH };
    let resolved = flags.resolved(&query);
    let rules = resolved.iter().filter_map(|found| found.targeting.as_ref());
    rules.map(|rule| rule.to_string().len()).sum::<usize>() + FRAME_BYTES * resolved.len()
}

/// What is changed of the flag at a place.
type Change<'c> = &'c dyn Fn(&mut Settings, usize);

/// Of a chain only each one's neighbour was counted, and of a group those above it without what they need: a set of 7 MB was
/// told of as one of 3.
#[test]
fn what_is_told_is_about_what_is_made_of_flat_sets_of_chains_and_of_groups() {
    let name = |place: usize| FlagKey::parse(&format!("f{place:03}")).unwrap();
    let needs = |place: usize| Prerequisite {
        flag_key: name(place),
        variants: [VariantName::parse("on").unwrap()].into(),
    };
    let group = |name: &str| GroupName::parse(name).unwrap();
    let of = |count: usize, names: usize, change: Change<'_>| {
        let one = |place: usize| {
            let mut settings = listing(name(place).as_str(), names);
            change(&mut settings, place);
            flag(settings)
        };
        CompiledFlags::build((0..count).map(one), [], [])
    };
    let chained = |length: usize| {
        move |settings: &mut Settings, place: usize| {
            settings.prerequisites.extend((!place.is_multiple_of(length)).then(|| needs(place - 1)));
        }
    };
    let grouped = |settings: &mut Settings, _: usize| {
        settings.conflict_groups.insert(group("g"));
    };
    let both = |settings: &mut Settings, place: usize| {
        settings.conflict_groups.insert(group(if place.is_multiple_of(2) { "g" } else { "h" }));
        settings.prerequisites.extend((!place.is_multiple_of(5)).then(|| needs(place - 1)));
    };
    let of_two = |settings: &mut Settings, place: usize| {
        settings.conflict_groups.insert(group("g"));
        settings.conflict_groups.extend(place.is_multiple_of(3).then(|| group("h")));
    };
    let disabled = |settings: &mut Settings, place: usize| {
        if place % 5 == 2 {
            settings.state = FlagState::Disabled;
        }
        chained(5)(settings, place);
    };
    let cases: [(&str, CompiledFlags); 9] = [
        ("flat", of(40, 200, &|_, _| {})),
        ("chains of 5", of(40, 200, &chained(5))),
        ("a chain that is cut for its length", of(40, 50, &chained(40))),
        ("a chain that is cut for its size", of(8, 2_500, &chained(8))),
        ("a group", of(20, 200, &grouped)),
        ("a group that is cut for its size", of(90, 200, &grouped)),
        ("chains within groups", of(15, 50, &both)),
        ("in two groups", of(9, 30, &of_two)),
        ("with disabled ones", of(40, 200, &disabled)),
    ];
    for (what, flags) in cases {
        let (told, made) = (flags.set_bytes(), made(&flags));
        assert!((made * 85..made * 115).contains(&(told * 100)), "{what}: {told} are told, {made} are made");
    }
}

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::domain::flag::{Body, Flag, FlagType, NewSegment, Prerequisite, Segment, TargetingRule};
use crate::domain::ids::{GroupName, Revision, SegmentName, VariantName};

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

use prost_reflect::DescriptorPool;

use super::*;

const BOUNDS: Bounds = Bounds { list_max: 10_000, bytes_max: 8 << 20 };

fn is_taken(name: &str, text: &str) -> bool {
    let pool = DescriptorPool::decode(crate::proto::DESCRIPTOR_SET).unwrap();
    let descriptor = pool.get_message_by_name(&format!("tenantry.v1.{name}")).unwrap();
    check(&descriptor, text.as_bytes(), BOUNDS).is_ok()
}

fn list(field: &str, item: &str, count: usize) -> String {
    format!("{{\"{field}\":[{}]}}", vec![item; count].join(","))
}

#[test]
fn messages_weigh_more_than_texts_and_any_json_as_much() {
    let texts = |count| is_taken("ApplyFlagsRequest", &list("resetKillSwitches", "\"k\"", count));
    assert!(texts(100_000) && !texts(110_000));
    for item in ["{}", "{\"flagKey\":\"a\"}"] {
        let flags = |count| is_taken("ApplyFlagsRequest", &list("flags", item, count));
        assert!(flags(8_000) && !flags(12_000), "{item}");
    }
    let members = |count: usize| {
        let members: Vec<_> = (0..count).map(|place| format!("\"a{place}\":1")).collect();
        is_taken("EvaluateFlagRequest", &format!("{{\"context\":{{{}}}}}", members.join(",")))
    };
    assert!(members(9_000) && !members(10_000));
}

/// They were counted by their commas, those in texts included, so that no large file of flagd's could be imported in JSON.
#[test]
fn what_is_in_a_text_and_what_is_no_json_passes() {
    let text = "{},[],".repeat(1_000_000);
    assert!(is_taken("ImportFlagsRequest", &format!("{{\"content\":\"{text}\"}}")));
    assert!(is_taken("ApplyFlagsRequest", &format!("{{\"flags\":{}", "{},".repeat(100_000))));
    assert!(!is_taken("ApplyFlagsRequest", &format!("{{\"flags\":[{}", "{},".repeat(100_000))));
}

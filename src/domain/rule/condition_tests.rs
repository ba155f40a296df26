use jiff::Timestamp;

use super::super::{Context, Input};
use super::*;

fn condition(attribute: &str, operator: Operator, values: &[Value]) -> Condition {
    Condition { attribute: attribute.to_owned(), operator, values: values.to_vec() }
}

fn holds(condition: &Condition, attributes: &Value) -> bool {
    let segments =
        Segments::compile([("beta".to_owned(), json!({"==": [{"var": "tier"}, "beta"]}))]).unwrap();
    let rule = Rule::compile(&condition.to_json(), &segments, HashVersion::V2).unwrap();
    let context = Context::new(attributes.as_object().unwrap().clone()).unwrap();
    rule.matches(&Input { flag_key: "f", now: Timestamp::UNIX_EPOCH, context: &context })
}

/// A condition, attributes that it holds for, attributes that it does not hold for.
type Row = (Condition, Vec<Value>, Vec<Value>);

fn row(condition: Condition, yes: Value, no: Value) -> Row {
    let list = |value: Value| value.as_array().cloned().unwrap();
    (condition, list(yes), list(no))
}

fn table() -> Vec<Row> {
    let mut rows = equalities();
    rows.extend(orders_and_texts());
    rows.extend(versions_and_segments());
    rows
}

#[rustfmt::skip]
fn equalities() -> Vec<Row> {
    use Operator as Op;
    let on = |attribute, operator, values: Value| condition(attribute, operator, values.as_array().unwrap());
    vec![
        row(on("tier", Op::In, json!(["a"])), json!([{"tier": "a"}]), json!([{"tier": "b"}, {}])),
        row(on("n", Op::In, json!([1])), json!([{"n": 1.0}]), json!([{"n": "1"}, {"n": true}])),
        row(on("n", Op::In, json!([true])), json!([{"n": true}]), json!([{"n": 1}, {"n": false}])),
        row(on("user.tier", Op::In, json!(["a", "b"])), json!([{"user": {"tier": "b"}}]), json!([{"user": {"tier": "c"}}, {"user": "b"}, {}])),
        row(on("tier", Op::NotIn, json!(["a"])), json!([{"tier": "b"}, {}]), json!([{"tier": "a"}])),
        row(on("tier", Op::NotIn, json!(["a", "b"])), json!([{"tier": "c"}, {}]), json!([{"tier": "a"}])),
        row(on("n", Op::Present, json!([])), json!([{"n": 0}, {"n": ""}]), json!([{"n": null}, {}])),
        row(on("n", Op::Absent, json!([])), json!([{"n": null}, {}]), json!([{"n": false}])),
    ]
}

#[rustfmt::skip]
fn orders_and_texts() -> Vec<Row> {
    use Operator as Op;
    let on = |attribute, operator, values: Value| condition(attribute, operator, values.as_array().unwrap());
    vec![
        row(on("n", Op::LessThan, json!([5])), json!([{"n": 4}]), json!([{"n": 5}, {}, {"n": null}])),
        row(on("n", Op::AtMost, json!([5])), json!([{"n": 5}]), json!([{"n": 5.1}, {}])),
        row(on("n", Op::GreaterThan, json!([-5])), json!([{"n": 0}]), json!([{"n": -5}, {}])),
        row(on("n", Op::AtLeast, json!(["b"])), json!([{"n": "b"}]), json!([{"n": "a"}, {}])),
        row(on("m", Op::StartsWith, json!(["x", "y"])), json!([{"m": "yes"}]), json!([{"m": "no"}, {"m": 1}])),
        row(on("m", Op::EndsWith, json!(["@a.b"])), json!([{"m": "c@a.b"}]), json!([{"m": "c@a.bc"}])),
        row(on("m", Op::Contains, json!(["x", "y"])), json!([{"m": "ay"}, {"m": ["x"]}]), json!([{"m": "a"}, {"m": ["xx"]}, {}])),
        row(on("m", Op::Matches, json!(["^a+$"])), json!([{"m": "aa"}]), json!([{"m": "ab"}, {}])),
    ]
}

#[rustfmt::skip]
fn versions_and_segments() -> Vec<Row> {
    use Operator as Op;
    let version = |operator, value: &str| condition("v", operator, &[json!(value)]);
    vec![
        row(version(Op::VersionEqual, "1.2"), json!([{"v": "v1.2.0"}]), json!([{"v": "1.2.1"}, {}])),
        row(version(Op::VersionLessThan, "1.2.0"), json!([{"v": "1.2.0-rc.1"}]), json!([{"v": "1.2.0"}, {"v": "x"}])),
        row(version(Op::VersionAtMost, "1.2.0"), json!([{"v": "1.2.0"}]), json!([{"v": "1.10.0"}])),
        row(version(Op::VersionGreaterThan, "1.2.0"), json!([{"v": "1.10.0"}]), json!([{"v": "1.2.0"}])),
        row(version(Op::VersionAtLeast, "1.2.0"), json!([{"v": "1.2.0"}]), json!([{"v": "1.1.9"}])),
        row(version(Op::VersionSameMajor, "1.2.0"), json!([{"v": "1.9.0"}]), json!([{"v": "2.0.0"}])),
        row(version(Op::VersionSameMinor, "1.2.0"), json!([{"v": "1.2.9"}]), json!([{"v": "1.3.0"}])),
        row(condition("", Op::InSegment, &[json!("beta")]), json!([{"tier": "beta"}]), json!([{}])),
        row(condition("", Op::NotInSegment, &[json!("beta")]), json!([{}]), json!([{"tier": "beta"}])),
    ]
}

#[test]
fn conditions_hold_for_what_they_say_and_for_nothing_else() {
    for (condition, yes, no) in table() {
        assert_eq!(condition.validate("c"), [], "{condition:?}");
        for attributes in yes {
            assert!(holds(&condition, &attributes), "{condition:?} {attributes}");
        }
        for attributes in no {
            assert!(!holds(&condition, &attributes), "{condition:?} {attributes}");
        }
    }
}

#[test]
fn every_operator_is_in_the_table() {
    let table = table();
    for operator in Operator::ALL {
        assert!(table.iter().any(|(condition, _, _)| condition.operator == *operator), "{operator:?}");
    }
}

#[test]
fn conditions_come_back_from_the_rule_language() {
    let all: Vec<Condition> = table().into_iter().map(|(condition, _, _)| condition).collect();
    for condition in &all {
        let read = Condition::all_from_json(&condition.to_json());
        assert_eq!(read.as_deref(), Some(std::slice::from_ref(condition)));
    }
    assert_eq!(Condition::all_from_json(&Condition::all_to_json(&all)), Some(all));
    assert_eq!(Condition::all_from_json(&Condition::all_to_json(&[])), Some(vec![]));
}

#[test]
fn what_is_no_condition_does_not_come_back_as_one() {
    for source in [
        json!(null),
        json!("on"),
        json!({"==": [{"var": "a"}, "b"]}),
        json!({"===": [{"var": ["a", 1]}, "b"]}),
        json!({"===": ["b", {"var": "a"}]}),
        json!({"<": [{"var": "a"}, 1]}),
        json!({"or": [{"starts_with": [{"var": "a"}, "x"]}, {"starts_with": [{"var": "b"}, "x"]}]}),
        json!({"or": []}),
        json!({"!": [{"===": [{"var": "a"}, 1]}]}),
        json!({"and": [{"!==": [{"var": "b"}, null]}, {"<": [{"var": "a"}, 1]}]}),
        json!({"if": [true, "on"]}),
        // It would come back without the `and`, and an export that is applied would change it.
        json!({"and": [{"===": [{"var": "a"}, "b"]}]}),
        json!({"and": []}),
    ] {
        assert_eq!(Condition::all_from_json(&source), None, "{source}");
    }
}

#[test]
fn wrong_values_are_refused_by_name() {
    use Operator as Op;
    for (attribute, operator, values, field) in [
        ("", Op::In, vec![json!(1)], "c.attribute"),
        ("a..b", Op::In, vec![json!(1)], "c.attribute"),
        ("a\n", Op::In, vec![json!(1)], "c.attribute"),
        ("a", Op::InSegment, vec![json!("x")], "c.attribute"),
        ("a", Op::In, vec![], "c.values"),
        ("a", Op::In, vec![json!(null)], "c.values"),
        ("a", Op::In, vec![json!([1])], "c.values"),
        ("a", Op::LessThan, vec![json!(1), json!(2)], "c.values"),
        ("a", Op::LessThan, vec![json!(true)], "c.values"),
        ("a", Op::StartsWith, vec![json!(1)], "c.values"),
        ("a", Op::Matches, vec![json!("(")], "c.values"),
        ("a", Op::VersionEqual, vec![json!("one")], "c.values"),
        ("a", Op::Present, vec![json!(1)], "c.values"),
        ("a", Op::In, vec![json!("x".repeat(1_001))], "c.values"),
        ("a", Op::In, vec![json!(1); 5_001], "c.values"),
    ] {
        let found = condition(attribute, operator, &values).validate("c");
        assert_eq!(found.first().map(|violation| violation.field.as_str()), Some(field), "{operator:?}");
    }
}

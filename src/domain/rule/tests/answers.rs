//! What flagd 0.16 itself answered, for rules and attributes that a generator made up. `tests/flagd-answers` has the
//! generator and the program that asks flagd's evaluator, and says what was left out.

use serde_json::Value;

use super::super::*;
use super::STEPS_MAX;

/// Numbers are doubles.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

#[test]
fn rules_say_what_flagd_said() {
    let cases: Vec<(Value, Value, Value)> = serde_json::from_str(include_str!("flagd_answers.json")).unwrap();
    let mut wrong = Vec::new();
    for (source, attributes, expected) in &cases {
        let rule = Rule::compile_foreign(source, &Segments::new(), HashVersion::V2).unwrap();
        let context = Context::new(attributes.as_object().unwrap().clone()).unwrap();
        let input = Input { flag_key: "f", now: Timestamp::UNIX_EPOCH, context: &context };
        let value =
            Evaluator::new(&input, HashVersion::V2, STEPS_MAX).node(&rule.node, &Scope::Root).unwrap();
        let value = value.to_json().unwrap_or_default();
        if !same(&value, expected) {
            wrong.push(format!("{source} of {attributes}: {value}, flagd says {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

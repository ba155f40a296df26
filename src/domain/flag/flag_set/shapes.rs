//! The shapes that what is left of a flag has in flagd's JSONLogic.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::domain::flag::choice::Split;
use crate::domain::flag::evaluate::Evaluation;
use crate::domain::rule::{Rollout, Weight};

/// A step of a flag's answer.
pub(super) enum Part {
    /// Where this holds, that is given, whatever follows.
    Guard(Json, Option<String>),
    /// The variant's name, or null for the next step.
    Try(Json),
}

/// An operator that there is not: flagd's evaluators answer PARSE_ERROR for this flag alone. With a reference to a
/// segment that is not there, some would refuse the whole set.
pub(in crate::domain::flag) fn unreadable() -> Json {
    json!({"broken_rule": []})
}

pub(super) fn broken(evaluation: &Evaluation<'_>) -> Option<Json> {
    evaluation.error.map(|_| unreadable())
}

/// A share by an attribute of the client's, as it is now.
pub(super) fn share(split: &Split, now: Timestamp) -> Json {
    let rollout = Rollout {
        weights: weights_at(&split.rollout, now).to_vec(),
        steps: Vec::new(),
        ..split.rollout.clone()
    };
    let mut source = rollout.to_json();
    rename_attribute(&mut source, "targetingKey", &split.bucket_by);
    json!({"if": [{"var": split.bucket_by}, source, null]})
}

fn weights_at(rollout: &Rollout, now: Timestamp) -> &[Weight] {
    let begun = rollout.steps.iter().filter(|step| step.start_time <= now);
    begun.max_by_key(|step| step.start_time).map_or(&rollout.weights, |step| &step.weights)
}

fn rename_attribute(source: &mut Json, from: &str, to: &str) {
    match source {
        Json::Object(map) => {
            if map.get("var").is_some_and(|name| name == from) {
                map.insert("var".to_owned(), json!(to));
                return;
            }
            map.values_mut().for_each(|value| rename_attribute(value, from, to));
        }
        Json::Array(items) => items.iter_mut().for_each(|item| rename_attribute(item, from, to)),
        _ => {}
    }
}

/// The steps as one rule; none where nothing is left to decide.
pub(super) fn join(parts: Vec<Part>) -> Option<Json> {
    let joined = parts.into_iter().rev().fold(None, |next, part| match part {
        Part::Try(Json::Null) => next,
        Part::Try(rule) => Some(match next {
            None => rule,
            Some(next) => or_else(rule, next),
        }),
        Part::Guard(condition, off) => Some(json!({"if": [condition, off, next.unwrap_or(Json::Null)]})),
    });
    joined.map(as_operation)
}

/// A rule as flagd's schema has it: an operation. Python's provider fails a flag whose rule is a bare name, Go's warns.
/// Without a rule the providers would call it STATIC, and it is what a rule says.
fn as_operation(rule: Json) -> Json {
    if rule.is_object() { rule } else { json!({"if": [true, rule]}) }
}

/// The variant that a rule gives whoever asks.
pub(super) fn always(rule: &Json) -> Option<&str> {
    match rule.get("if")?.as_array()?.as_slice() {
        [Json::Bool(true), Json::String(variant)] => Some(variant),
        _ => None,
    }
}

/// A rule, or another where it says null.
pub(super) fn or_else(rule: Json, next: Json) -> Json {
    match rule {
        Json::String(_) => rule,
        // The usual shape needs no second look at its own result.
        Json::Object(ref map) if map.len() == 1 && is_plain_if(map.get("if")) => {
            let mut branches = rule["if"].as_array().cloned().unwrap_or_default();
            branches.truncate(2);
            branches.push(next);
            json!({"if": branches})
        }
        rule => json!({"if": [{"!==": [rule.clone(), null]}, rule, next]}),
    }
}

/// `[condition, "variant"]`, maybe with a null at the end.
fn is_plain_if(branches: Option<&Json>) -> bool {
    matches!(
        branches.and_then(Json::as_array).map(Vec::as_slice),
        Some([_, Json::String(_)] | [_, Json::String(_), Json::Null])
    )
}

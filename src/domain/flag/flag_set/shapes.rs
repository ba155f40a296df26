//! The shapes that what is left of a flag has in flagd's JSONLogic.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::domain::flag::choice::Split;
use crate::domain::flag::evaluate::Evaluation;
use crate::domain::flag::fold::{is_test, operation};
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
        Part::Guard(condition, off) => Some(or_last(vec![condition, json!(off)], next.unwrap_or(Json::Null))),
    });
    joined.map(as_operation)
}

/// A rule as flagd's schema has it: an operation. Python's provider fails a flag whose rule is a bare name, Go's warns.
/// Without a rule the providers would call it STATIC, and it is what a rule says.
fn as_operation(rule: Json) -> Json {
    if rule.is_object() { rule } else { json!({"if": [true, rule]}) }
}

/// A rule, or another where it says null. Neither is written twice where there is one place for the other.
fn or_else(rule: Json, next: Json) -> Json {
    match nulls(&rule) {
        0 => rule,
        1 => at_null(&rule, next),
        _ => unless_null(&rule, &next),
    }
}

fn unless_null(rule: &Json, next: &Json) -> Json {
    or_last(vec![json!({"!==": [rule, null]}), rule.clone()], next.clone())
}

/// Conditions with what holds where they do, and what else. An `if` goes on in that one: nested, rules would be too deep after a few.
fn or_last(mut branches: Vec<Json>, next: Json) -> Json {
    match operation(&next) {
        Some(("if", Json::Array(more))) => branches.extend(more.iter().cloned()),
        _ => branches.push(next),
    }
    json!({ "if": branches })
}

/// At how many places where a rule ends it may be null.
fn nulls(rule: &Json) -> usize {
    match operation(rule) {
        None => usize::from(rule.is_null()),
        Some(("if", Json::Array(branches))) => {
            let ends: usize = branches.chunks(2).filter_map(<[Json]>::last).map(nulls).sum();
            ends + usize::from(branches.len().is_multiple_of(2))
        }
        Some(_) => usize::from(!is_test(rule) && *rule != unreadable()),
    }
}

/// A rule with another at the one place where it may be null.
fn at_null(rule: &Json, next: Json) -> Json {
    match operation(rule) {
        None => next,
        Some(("if", Json::Array(branches))) => {
            let mut branches = branches.clone();
            if branches.len().is_multiple_of(2) {
                branches.push(Json::Null);
            }
            let last = branches.len() - 1;
            let is_end = |place: usize| place % 2 == 1 || place == last;
            let open = branches.iter().enumerate().position(|(place, end)| is_end(place) && nulls(end) > 0);
            if open == Some(last) {
                let end = branches.pop().unwrap_or_default();
                return or_last(branches, at_null(&end, next));
            }
            if let Some(end) = open.and_then(|place| branches.get_mut(place)) {
                *end = at_null(&end.take(), next);
            }
            json!({ "if": branches })
        }
        Some(_) => unless_null(rule, &next),
    }
}

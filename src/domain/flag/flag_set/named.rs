//! What a flag's rule gives, as the name of a variant, so that another flag's rule can ask for it.
//!
//! flagd takes a boolean or a number that a rule gives for the name of a variant, and `in` does not: Python's, JavaScript's,
//! Rust's and Go's hold it against texts each in another way. What a broken part gives is no name, and no error of the
//! flag that asks. So each place where the rule ends is put as a text; of what can end otherwise nothing is said.

use serde_json::{Value as Json, json};

use super::shapes::unreadable;
use crate::domain::flag::fold::{is_test, operands, operation};
use crate::domain::rule::text_of;

/// No variant has this name.
const NONE: &str = "";

/// What is asked of a flag's rule.
pub(super) struct Named<'n> {
    /// What the flag gives where its rule gives null.
    pub(super) default: &'n str,
    /// The names that count.
    pub(super) wanted: &'n [String],
}

impl Named<'_> {
    /// A rule that gives the name as a text, whoever asks; one that does not count may be another one that does not. `None` where
    /// that cannot be put so that every language's provider makes the same of it.
    pub(super) fn rule(&self, rule: &Json) -> Option<Json> {
        self.end(rule).filter(|named| !has_broken(named))
    }

    fn end(&self, rule: &Json) -> Option<Json> {
        if is_test(rule) {
            return Some(match rule {
                Json::Bool(bool) => json!(bool.to_string()),
                test => json!({"if": [test, "true", "false"]}),
            });
        }
        match rule {
            Json::Null => Some(json!(self.default)),
            Json::Number(_) => Some(json!(text_of(rule))),
            Json::String(_) => Some(rule.clone()),
            broken if *broken == unreadable() => Some(json!(NONE)),
            rule => match operation(rule)? {
                ("if", branches) => self.branches(operands(branches)),
                (operator @ ("and" | "or"), parts) => self.junction(operator, operands(parts)),
                ("fractional", shares) if gives_texts(operands(shares)) => {
                    Some(if self.counts(self.default) {
                        json!({"or": [rule, self.default]})
                    } else {
                        rule.clone()
                    })
                }
                ("starts_with" | "ends_with" | "sem_ver", _) => {
                    let is_nothing = json!({"===": [rule, null]});
                    Some(json!({"if": [is_nothing, self.default, rule, "true", "false"]}))
                }
                ("cat" | "substr", _) => Some(rule.clone()),
                ("var", _) => Some(self.attribute(rule)),
                _ => None,
            },
        }
    }

    fn branches(&self, branches: &[Json]) -> Option<Json> {
        let mut left = Vec::new();
        for branch in branches.chunks(2) {
            match branch {
                [Json::Bool(true), value] | [value] if left.is_empty() => return self.end(value),
                [condition, value] => left.extend([condition.clone(), self.end(value)?]),
                rest => left.extend(rest.iter().map(|value| self.end(value)).collect::<Option<Vec<_>>>()?),
            }
        }
        if branches.len().is_multiple_of(2) {
            left.push(json!(self.default));
        }
        Some(json!({ "if": left }))
    }

    /// The first that decides is what an `and` or an `or` gives, else the last.
    fn junction(&self, operator: &str, parts: &[Json]) -> Option<Json> {
        let of = |parts: &[Json]| match parts {
            [part] => part.clone(),
            parts => json!({ operator: parts }),
        };
        let tests = parts.iter().take_while(|part| is_test(part)).count();
        let (first, rest) = parts.split_at(tests.max(1).min(parts.len()));
        if rest.is_empty() {
            return if first.is_empty() { None } else { self.end(&of(first)) };
        }
        let decided = if tests == 0 { self.end(&of(first))? } else { json!((operator == "or").to_string()) };
        let (first, rest) = (of(first), self.junction(operator, rest)?);
        Some(if operator == "or" {
            json!({"if": [first, decided, rest]})
        } else {
            json!({"if": [first, rest, decided]})
        })
    }

    /// A client's attribute, which may be of any type.
    fn attribute(&self, attribute: &Json) -> Json {
        let mut branches = Vec::new();
        if self.counts(self.default) {
            branches.extend([json!({"===": [attribute, null]}), json!(self.default)]);
        }
        for name in self.wanted {
            branches.extend([is_named(attribute, name), json!(name)]);
        }
        branches.push(json!(NONE));
        json!({ "if": branches })
    }

    fn counts(&self, name: &str) -> bool {
        self.wanted.iter().any(|wanted| wanted == name)
    }
}

/// Whether an attribute is a variant's name, as a text or as the boolean or number that is written like it.
fn is_named(attribute: &Json, name: &str) -> Json {
    let is = |value: &Json| json!({"===": [attribute, value]});
    let is_text = is(&json!(name));
    let Ok(value @ (Json::Bool(_) | Json::Number(_))) = serde_json::from_str::<Json>(name) else {
        return is_text;
    };
    if text_of(&value) != name {
        return is_text;
    }
    // True is 1 to Python's provider, and false 0. What it makes of the two in a text tells them apart; no other comes to
    // that with a boolean, of which Go's can make none.
    let is_it = match (&value, value.as_f64()) {
        (Json::Bool(bool), _) => {
            let number = i32::from(*bool);
            let is_no_number = json!({"!==": [{"cat": [attribute]}, number.to_string()]});
            json!({"if": [is(&value), {"if": [is(&json!(number)), is_no_number, true]}, false]})
        }
        (_, Some(0.0 | 1.0)) => json!({"if": [is(&value), {"===": [{"cat": [attribute]}, name]}, false]}),
        _ => is(&value),
    };
    json!({"or": [is_text, is_it]})
}

/// Whether all that a `fractional` shares out are texts.
fn gives_texts(arguments: &[Json]) -> bool {
    let is_text = |share: &Json| share.get(0).is_some_and(Json::is_string);
    arguments.iter().enumerate().all(|(place, share)| is_text(share) || place == 0 && !share.is_array())
}

/// Whether a part of a rule is broken.
fn has_broken(rule: &Json) -> bool {
    match rule {
        Json::Array(items) => items.iter().any(has_broken),
        Json::Object(map) => *rule == unreadable() || map.values().any(has_broken),
        _ => false,
    }
}

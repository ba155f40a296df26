//! Working out what is known of a rule, so that only what is not known is left of it.
//!
//! A rule may list other tenants by name. Handed out to one tenant's provider, such a list must be gone: the part of
//! the rule that reads only known attributes is replaced by its result. What is left is put so that every language's
//! provider makes the same of it.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::domain::rule::{Context, HashVersion, Input, Rule, Segments, Selection};

/// What is known.
pub(super) struct Fold<'a> {
    pub(super) segments: &'a Segments,
    /// The attributes that are known, or known not to be there.
    pub(super) known: &'a [&'a str],
    pub(super) context: &'a Context,
    pub(super) now: Timestamp,
    pub(super) flag_key: &'a str,
    pub(super) hash: HashVersion,
}

impl Fold<'_> {
    /// A rule whose result is a variant's name or null.
    pub(super) fn value(&self, source: &Value) -> Value {
        if let Some(rule) = self.closed(source) {
            return match rule.select(&self.input()) {
                Selection::Variant(name) => json!(name),
                Selection::Default => Value::Null,
                // Whatever evaluates it there fails as it does here.
                Selection::Failed(_) => source.clone(),
            };
        }
        match operation(source) {
            Some(("if" | "?:", branches)) => self.branches(branches),
            Some(("$ref", name)) => {
                self.segment(name).map_or_else(|| source.clone(), |found| self.value(found))
            }
            _ => self.inside(source),
        }
    }

    /// A rule of which only counts whether it is truthy.
    pub(super) fn condition(&self, source: &Value) -> Value {
        if let Some(rule) = self.closed(source) {
            return Value::Bool(rule.matches(&self.input()));
        }
        match operation(source) {
            Some(("$ref", name)) => {
                self.segment(name).map_or_else(|| source.clone(), |found| self.condition(found))
            }
            Some((operator @ ("and" | "or"), Value::Array(parts))) => self.junction(operator, parts),
            Some(("!", inner)) => match self.condition(only(inner)) {
                Value::Bool(holds) => Value::Bool(!holds),
                inner => json!({"!": [inner]}),
            },
            Some(("!!", inner)) => match self.condition(only(inner)) {
                Value::Bool(holds) => Value::Bool(holds),
                inner => json!({"!!": [inner]}),
            },
            _ => self.inside(source),
        }
    }

    fn junction(&self, operator: &str, parts: &[Value]) -> Value {
        // What decides an `or` is true, an `and` false; the other value changes nothing.
        let decisive = operator == "or";
        let mut left = Vec::new();
        for part in parts {
            match self.condition(part) {
                Value::Bool(holds) if holds == decisive => return Value::Bool(decisive),
                Value::Bool(_) => {}
                part => left.push(part),
            }
        }
        match left.len() {
            0 => Value::Bool(!decisive),
            1 => left.swap_remove(0),
            _ => operation_of(operator, Value::Array(left)),
        }
    }

    /// The branches of an `if`: those that are never taken go.
    fn branches(&self, branches: &Value) -> Value {
        let Value::Array(branches) = branches else { return operation_of("if", branches.clone()) };
        let mut left = Vec::new();
        let mut pairs = branches.chunks(2);
        let end = loop {
            match pairs.next() {
                Some([condition, value]) => match self.condition(condition) {
                    Value::Bool(false) => {}
                    Value::Bool(true) => break self.value(value),
                    condition => left.extend([condition, self.value(value)]),
                },
                Some([otherwise]) => break self.value(otherwise),
                _ => break Value::Null,
            }
        };
        if left.is_empty() {
            return end;
        }
        left.push(end);
        operation_of("if", Value::Array(left))
    }

    /// Segments inside are written out, so that no other segment has to be handed out.
    fn inside(&self, source: &Value) -> Value {
        if let Some(("$ref", name)) = operation(source) {
            return self.segment(name).map_or_else(|| source.clone(), |found| self.inside(found));
        }
        match source {
            Value::Object(map) => {
                let inside = map.iter().map(|(key, inner)| (key.clone(), self.inside(inner)));
                self.alike(Value::Object(inside.collect()))
            }
            Value::Array(items) => Value::Array(items.iter().map(|item| self.inside(item)).collect()),
            other => other.clone(),
        }
    }

    /// The same in words that do not depend on what a language makes of a missing attribute. In `cat` it counts as the
    /// empty text, where JavaScript's and Python's providers write `null`. A `fractional` by one goes by the targeting
    /// key, where those two give nothing.
    fn alike(&self, operation_inside: Value) -> Value {
        match operation(&operation_inside) {
            Some(("cat", Value::Array(parts))) => {
                json!({"cat": parts.iter().map(or_empty).collect::<Vec<_>>()})
            }
            Some(("cat", part)) if variable(part).is_some() => json!({"cat": [or_empty(part)]}),
            Some(("fractional", Value::Array(args))) if self.hash != HashVersion::V3 => {
                let by = args.split_first().filter(|(by, _)| variable(by).is_some());
                let Some((by, shares)) = by else { return operation_inside };
                json!({"if": [{"!==": [by, null]}, operation_inside, {"fractional": shares}]})
            }
            _ => operation_inside,
        }
    }

    fn segment(&self, name: &Value) -> Option<&Value> {
        self.segments.source(name.as_str()?)
    }

    /// The rule, where everything it reads is known.
    fn closed(&self, source: &Value) -> Option<Rule> {
        let rule = Rule::compile_foreign(source, self.segments, self.hash).ok()?;
        let is_known = !rule.reads_time() && rule.attributes().all(|name| self.known.contains(&name));
        is_known.then_some(rule)
    }

    fn input(&self) -> Input<'_> {
        Input { flag_key: self.flag_key, now: self.now, context: self.context }
    }
}

/// `{operator: arguments}`.
fn operation(source: &Value) -> Option<(&str, &Value)> {
    let map = source.as_object().filter(|map| map.len() == 1)?;
    map.iter().next().map(|(operator, arguments)| (operator.as_str(), arguments))
}

/// The attribute that is read, where it is nothing else and has no default of its own.
fn variable(source: &Value) -> Option<&str> {
    match operation(source)? {
        ("var", path) => only(path).as_str().filter(|path| !path.is_empty()),
        _ => None,
    }
}

fn or_empty(part: &Value) -> Value {
    variable(part).map_or_else(|| part.clone(), |path| json!({"var": [path, ""]}))
}

fn operation_of(operator: &str, arguments: Value) -> Value {
    Value::Object(Map::from_iter([(operator.to_owned(), arguments)]))
}

/// The one argument, in a list or bare.
fn only(arguments: &Value) -> &Value {
    match arguments.as_array().map(Vec::as_slice) {
        Some([one]) => one,
        _ => arguments,
    }
}

//! Working out what is known of a rule, so that only what is not known is left of it.
//!
//! A rule may list other tenants by name. Handed out to one tenant's provider, such a list must be gone: whatever reads
//! only known attributes is replaced by its result, and a list beside what is known in part keeps what can still match.
//! Where neither can be done the fold says so, and the rule is not handed out. What is left is put so that every
//! language's provider makes the same of it.

mod alike;
mod part;
mod pattern;

use std::cell::Cell;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use self::part::{Part, Within, is_literal};
use super::flag_set::unreadable;
use crate::domain::rule::{Context, Failure, HashVersion, Input, Path, Rule, Segments, Selection};

/// What is known.
pub(super) struct Fold<'a> {
    pub(super) segments: &'a Segments,
    /// The attributes that are known. All others are the client's.
    pub(super) context: &'a Context,
    pub(super) now: Timestamp,
    pub(super) flag_key: &'a str,
    pub(super) hash: HashVersion,
    /// Whether something is left that could show what the rule says of others.
    pub(super) shows_others: &'a Cell<bool>,
}

impl Fold<'_> {
    /// A rule whose result is a variant's name or null.
    pub(super) fn value(&self, source: &Value) -> Value {
        if let Some(rule) = self.closed(source) {
            return self.name(&rule);
        }
        let left = match self.operation(source) {
            Some(("if" | "?:", branches)) => return self.branches(branches),
            Some(("$ref", name)) => {
                return self.segment(name).map_or_else(unreadable, |found| self.value(found));
            }
            _ => self.part(source, Within::ROOT).json,
        };
        // What came out, such as a test that is decided, is the name of a variant.
        match self.closed(&left).filter(|_| is_literal(&left)) {
            Some(rule) => self.name(&rule),
            None => left,
        }
    }

    fn name(&self, rule: &Rule) -> Value {
        match rule.select(&self.input()) {
            Selection::Variant(name) => json!(name),
            Selection::Default => Value::Null,
            // It fails there as it does here, and shows nothing of what it was.
            Selection::Failed(_) => unreadable(),
        }
    }

    /// A rule of which only counts whether it is truthy.
    pub(super) fn condition(&self, source: &Value) -> Value {
        if let Some(rule) = self.closed(source) {
            return self.truth(&rule);
        }
        let condition = match self.operation(source) {
            Some(("$ref", name)) => {
                return self.segment(name).map_or_else(unreadable, |found| self.condition(found));
            }
            Some((operator @ ("and" | "or"), Value::Array(parts))) => return self.junction(operator, parts),
            Some(("missing", names)) => self.any_missing(names),
            Some((operator @ ("!" | "!!"), inner)) if inner.as_array().is_none_or(|all| all.len() == 1) => {
                return match self.condition(only(inner)) {
                    Value::Bool(holds) => Value::Bool(holds == (operator == "!!")),
                    inner => operation_of(operator, json!([inner])),
                };
            }
            _ => self.part(source, Within::ROOT).json,
        };
        if let Some(("!!", Value::Array(parts))) = operation(&condition)
            && let [inner] = &**parts
        {
            return inner.clone();
        }
        match self.closed(&condition).filter(|_| is_literal(&condition)) {
            Some(rule) => self.truth(&rule),
            None => condition,
        }
    }

    fn truth(&self, rule: &Rule) -> Value {
        match rule.value(&self.input()) {
            // What cannot be evaluated fails there, too.
            Err(Failure::UnknownOperator) => unreadable(),
            _ => rule.matches(&self.input()).into(),
        }
    }

    /// Whether one of these is missing. Python takes the empty text for nothing, and JavaScript null for something.
    fn any_missing(&self, names: &Value) -> Value {
        let left = self.missing(names, Within::ROOT).json;
        let names = operation(&left).map_or(&[] as &[Value], |(_, names)| operands(names));
        let is_missing = |name: &Value| {
            let variable = json!({ "var": name });
            self::variable(&variable).is_some().then(|| json!({"===": [variable, null]}))
        };
        match names.iter().map(is_missing).collect::<Option<Vec<_>>>() {
            None => left,
            Some(mut tests) => match tests.len() {
                0 => Value::Bool(false),
                1 => tests.swap_remove(0),
                _ => json!({ "or": tests }),
            },
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
            0 => Value::Bool(!decisive && !parts.is_empty()),
            1 => left.swap_remove(0),
            _ => operation_of(operator, Value::Array(left)),
        }
    }

    /// The branches of an `if`: those that are never taken go.
    fn branches(&self, branches: &Value) -> Value {
        self.choice(branches, Within::ROOT, &|value| Part::plain(self.value(value))).json
    }

    /// The same, with the values as `of` makes them.
    fn choice(&self, branches: &Value, within: Within, of: &dyn Fn(&Value) -> Part) -> Part {
        let mut left = Vec::new();
        let mut flags = Part::plain(Value::Null);
        let mut pairs = operands(branches).chunks(2);
        let end = loop {
            match pairs.next() {
                Some([condition, value]) => {
                    let condition = match within {
                        Within { is_root: true, .. } => self.condition(condition),
                        _ => self.part(condition, within).json,
                    };
                    match condition {
                        Value::Bool(false) => {}
                        Value::Bool(true) => break of(value),
                        condition => {
                            let value = of(value);
                            flags.mark(&value);
                            left.extend([condition, value.json]);
                        }
                    }
                }
                Some([otherwise]) => break of(otherwise),
                _ => break Part::plain(Value::Null),
            }
        };
        if left.is_empty() {
            return end;
        }
        flags.mark(&end);
        left.push(end.json);
        Part { json: operation_of("if", Value::Array(left)), ..flags }
    }

    fn segment(&self, name: &Value) -> Option<&Value> {
        self.segments.source(name.as_str()?)
    }

    /// `{operator: arguments}`. Arguments that a segment has stand in its place.
    fn operation<'v>(&'v self, source: &'v Value) -> Option<(&'v str, &'v Value)> {
        let (operator, mut arguments) = operation(source)?;
        if operator != "$ref" {
            // Segments have no circles.
            while let Some(found) = operation(arguments)
                .filter(|(inner, _)| *inner == "$ref")
                .and_then(|(_, name)| self.segment(name))
            {
                arguments = found;
            }
        }
        Some((operator, arguments))
    }

    /// The rule, where everything it reads is known.
    fn closed(&self, source: &Value) -> Option<Rule> {
        let rule = Rule::compile_foreign(source, self.segments, self.hash).ok()?;
        let is_known = !rule.reads_time() && rule.attributes().all(|name| self.knows(name));
        is_known.then_some(rule)
    }

    /// Whether an attribute of this name is known.
    fn knows(&self, name: &str) -> bool {
        self.context.has(name)
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

fn operation_of(operator: &str, arguments: Value) -> Value {
    Value::Object(Map::from_iter([(operator.to_owned(), arguments)]))
}

/// The arguments of what takes any number: a single one may stand bare.
fn operands(arguments: &Value) -> &[Value] {
    arguments.as_array().map_or(std::slice::from_ref(arguments), Vec::as_slice)
}

/// The one argument, in a list or bare.
fn only(arguments: &Value) -> &Value {
    match arguments.as_array().map(Vec::as_slice) {
        Some([one]) => one,
        _ => arguments,
    }
}

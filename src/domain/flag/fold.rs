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

pub(super) use self::part::is_test;
use self::part::{Part, Within, is_literal};
use super::flag_set::unreadable;
use crate::domain::rule::{
    Context, Failure, HashVersion, Input, Path, Rule, Segments, Selection, TARGETING_KEY,
};

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
            Some(("missing_some", arguments)) => self.few_there(arguments),
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
        joined("or", names).unwrap_or(left)
    }

    /// The same where some of them will do.
    fn few_there(&self, arguments: &Value) -> Value {
        let left = self.missing_some(arguments, Within::ROOT).json;
        let (need, names) = match operation(&left) {
            None => return Value::Bool(false),
            Some((_, Value::Array(args))) => match &**args {
                [need, Value::Array(names)] => (need.as_u64(), names),
                _ => return left,
            },
            _ => return left,
        };
        match need {
            Some(1) => joined("and", names).unwrap_or(left),
            Some(need) if need >= names.len() as u64 => joined("or", names).unwrap_or(left),
            _ => left,
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
        let is_closed = |rule: &Rule| !rule.reads_time() && rule.attributes().all(|name| self.knows(name));
        if is_closed(&rule) {
            return Some(rule);
        }
        // A share by what the tenant has never comes to the targeting key, and nor may a provider decide it, with the hash
        // that it happens to have.
        let is_key = |name: &str| name == TARGETING_KEY || self.knows(name);
        if rule.reads_time() || !rule.attributes().all(is_key) {
            return None;
        }
        let without = self.without_shares(source);
        let without = Rule::compile_foreign(&without, self.segments, self.hash).ok()?;
        is_closed(&without).then_some(rule)
    }

    /// The same with what shares by a known text are made of in place of them.
    fn without_shares(&self, source: &Value) -> Value {
        match source {
            Value::Array(items) => items.iter().map(|item| self.without_shares(item)).collect(),
            Value::Object(map) => {
                let is_known = |args: &Value| operands(args).first().is_some_and(|by| self.is_known_text(by));
                map.iter()
                    .map(|(operator, arguments)| {
                        let is_decided = operator == "fractional" && is_known(arguments);
                        let operator = if is_decided { "merge" } else { operator };
                        (operator.to_owned(), self.without_shares(arguments))
                    })
                    .collect::<Map<_, _>>()
                    .into()
            }
            other => other.clone(),
        }
    }

    fn is_known_text(&self, source: &Value) -> bool {
        let rule = Rule::compile_foreign(source, self.segments, self.hash).ok();
        let known = rule.filter(|rule| !rule.reads_time() && rule.attributes().all(|name| self.knows(name)));
        let value = known.and_then(|rule| rule.value(&self.input()).ok().flatten());
        value.is_some_and(|value| value.as_str().is_some_and(|text| !text.is_empty()))
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
pub(super) fn operation(source: &Value) -> Option<(&str, &Value)> {
    let map = source.as_object().filter(|map| map.len() == 1)?;
    map.iter().next().map(|(operator, arguments)| (operator.as_str(), arguments))
}

/// Tests whether each attribute is missing. None where one of the names is not an attribute's.
fn joined(join: &str, names: &[Value]) -> Option<Value> {
    let is_missing = |name: &Value| {
        let variable = json!({ "var": name });
        self::variable(&variable).is_some().then(|| json!({"===": [variable, null]}))
    };
    let mut tests = names.iter().map(is_missing).collect::<Option<Vec<_>>>()?;
    Some(match tests.len() {
        0 => Value::Bool(false),
        1 => tests.swap_remove(0),
        _ => operation_of(join, Value::Array(tests)),
    })
}

/// The attribute that is read, where it is nothing else and has no default of its own; null is none.
fn variable(source: &Value) -> Option<&str> {
    let path = match operation(source)? {
        ("var", Value::Array(path)) => match &**path {
            [path] | [path, Value::Null] => path,
            _ => return None,
        },
        ("var", path) => path,
        _ => return None,
    };
    path.as_str().filter(|path| !path.is_empty())
}

fn operation_of(operator: &str, arguments: Value) -> Value {
    Value::Object(Map::from_iter([(operator.to_owned(), arguments)]))
}

/// The arguments of what takes any number: a single one may stand bare.
pub(super) fn operands(arguments: &Value) -> &[Value] {
    arguments.as_array().map_or(std::slice::from_ref(arguments), Vec::as_slice)
}

/// The one argument, in a list or bare.
fn only(arguments: &Value) -> &Value {
    match arguments.as_array().map(Vec::as_slice) {
        Some([one]) => one,
        _ => arguments,
    }
}

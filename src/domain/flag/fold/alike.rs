//! Putting what is left so that every language's provider makes the same of it where an attribute is missing.
//!
//! Here null is equal to null alone, and arithmetic of it is null. Python's, JavaScript's and Rust's engines take it for 0,
//! false, the empty text or the word `null` at one place or another, and Go's fails. So what would differ is not asked
//! of an attribute that is not there.

use serde_json::{Value, json};

use super::part::is_literal;
use super::{Fold, Input, Rule, operands, operation, operation_of, variable};
use crate::domain::rule::{Context, HashVersion, TARGETING_KEY};

/// What gives null where one of its arguments is null.
const ARITHMETIC: [&str; 7] = ["+", "-", "*", "/", "%", "max", "min"];

/// What is nothing of what is not there, and an error to Python's or Go's provider.
const OF_TEXTS: [&str; 3] = ["starts_with", "ends_with", "sem_ver"];

/// What a test has on one side, as far as a missing attribute is concerned.
#[derive(Default)]
struct Side<'v> {
    /// The attributes that are read, each once.
    paths: Vec<&'v str>,
    /// Whether something is made of them before they are tested.
    is_made: bool,
    /// Whether parts of texts are made, of which none is nothing.
    has_texts: bool,
}

impl<'v> Side<'v> {
    /// None where more goes into it than values, attributes and arithmetic of these.
    fn of(source: &'v Value) -> Option<Self> {
        let mut side = Self::default();
        side.take(source)?;
        Some(side)
    }

    fn take(&mut self, source: &'v Value) -> Option<()> {
        if is_literal(source) {
            return Some(());
        }
        if let Some(path) = variable(source) {
            if !self.paths.contains(&path) {
                self.paths.push(path);
            }
            return Some(());
        }
        let (operator, arguments) = operation(source)?;
        // A part of nothing is the empty text; there is one attribute that it can be of.
        let is_known = ARITHMETIC.contains(&operator)
            || operator == "substr" && operands(arguments).iter().skip(1).all(is_literal);
        self.is_made = true;
        self.has_texts |= operator == "substr";
        is_known.then(|| operands(arguments).iter().try_for_each(|part| self.take(part)))?
    }
}

impl Fold<'_> {
    /// In `cat` a missing attribute counts as the empty text, where JavaScript's and Python's providers write `null`. A
    /// `fractional` by one goes by the targeting key, where those two give nothing; one by the targeting key gives nothing
    /// without it.
    pub(super) fn alike(&self, operation_inside: Value) -> Value {
        match operation(&operation_inside) {
            Some(("cat", Value::Array(parts))) => {
                json!({"cat": parts.iter().map(or_empty).collect::<Vec<_>>()})
            }
            Some(("cat", part)) if part.is_object() => json!({"cat": [or_empty(part)]}),
            // Whoever has no key has no share; some clients send an empty one.
            Some(("fractional", Value::Array(args)))
                if args.first().and_then(variable) == Some(TARGETING_KEY) =>
            {
                json!({"if": [args.first(), operation_inside, null]})
            }
            Some(("fractional", Value::Array(args))) if self.hash != HashVersion::V3 => {
                match args.split_first() {
                    Some((Value::Null, shares)) => json!({ "fractional": shares }),
                    Some((by, shares)) if may_be_nothing(by) => {
                        json!({"if": [{"!==": [by, null]}, operation_inside, {"fractional": shares}]})
                    }
                    _ => operation_inside,
                }
            }
            _ => operation_inside,
        }
    }

    /// A test of attributes. Where one is missing, what the test then comes to here stands beside it.
    pub(super) fn alike_test(&self, test: Value) -> Value {
        let Some((operator, Value::Array(args))) = operation(&test) else { return test };
        if let ("==" | "!=", [_, Value::Null] | [Value::Null, _]) = (operator, &**args) {
            // As good, and 0, false and the empty text are null to nobody.
            return operation_of(&format!("{operator}="), Value::Array(args.clone()));
        }
        if OF_TEXTS.contains(&operator) && args.iter().any(|arg| variable(arg).is_some()) {
            return json!({"if": [are_there(args.iter().filter_map(variable)), test, null]});
        }
        if let ("in", [Value::String(part), text]) = (operator, &**args)
            && part.is_empty()
            && variable(text).is_some()
        {
            // To JavaScript's nothing is in an empty text.
            return json!({"or": [{"===": [text, ""]}, test]});
        }
        let Some(sides) = args.iter().map(Side::of).collect::<Option<Vec<_>>>() else { return test };
        let open: Vec<&Side<'_>> = sides.iter().filter(|side| !side.paths.is_empty()).collect();
        match (operator, &*open) {
            ("==" | "!=", [one, other]) if !one.is_made && !other.is_made => {
                return alike_pair(operator, args);
            }
            (_, [side]) if side.is_made || differs(operator, args) => {}
            _ => return test,
        }
        let nobody = Context::default();
        let rule = Rule::compile_foreign(&test, self.segments, self.hash);
        let holds = rule.is_ok_and(|rule| rule.matches(&Input { context: &nobody, ..self.input() }));
        let (join, compare) = if holds { ("or", "===") } else { ("and", "!==") };
        let paths = open.iter().flat_map(|side| &side.paths);
        let mut parts: Vec<Value> =
            paths.map(|path| operation_of(compare, json!([{ "var": path }, null]))).collect();
        parts.push(test);
        operation_of(join, Value::Array(parts))
    }

    /// `all` of what is no list, or of an empty one, does not hold; in JavaScript it does.
    pub(super) fn alike_all(list: &Value, all: Value) -> Value {
        if variable(list).is_some() { json!({"and": [{"!!": [list]}, all]}) } else { all }
    }
}

/// Whether what a share goes by may be nothing: a text that is put together never is.
fn may_be_nothing(by: &Value) -> bool {
    operation(by).is_some_and(|(operator, _)| !matches!(operator, "cat" | "substr"))
}

/// Whether two attributes are equal: only if both are there, or neither is.
fn alike_pair(operator: &str, args: &[Value]) -> Value {
    let is_missing: Vec<Value> = args.iter().map(|arg| json!({"===": [arg, null]})).collect();
    let (join, compare) = if operator == "==" { ("and", "===") } else { ("or", "!==") };
    operation_of(join, json!([operation_of(compare, json!(is_missing)), operation_of(operator, json!(args))]))
}

/// Whether some language makes another thing of null than we do, beside these values.
fn differs(operator: &str, args: &[Value]) -> bool {
    let is_zero = |value: &Value| value.as_f64() == Some(0.0) || *value == false;
    match operator {
        "==" | "!=" => args.iter().any(|value| is_zero(value) || *value == ""),
        "<" | ">" => args.iter().any(Value::is_string),
        "<=" | ">=" => args.iter().any(|value| is_zero(value) || value.is_string()),
        "in" => args.get(1).is_some_and(Value::is_string),
        _ => false,
    }
}

/// What is nothing as the empty text. Nothing is written twice: parts of texts stand in each other.
fn or_empty(part: &Value) -> Value {
    if let Some(path) = variable(part) {
        return json!({"var": [path, ""]});
    }
    let all = |args: &[Value]| args.iter().map(or_empty).collect::<Vec<_>>();
    match operation(part) {
        None if part.is_null() => json!(""),
        Some(("var", Value::Array(args))) => match &**args {
            [path, default] => json!({"var": [path, or_empty(default)]}),
            _ => part.clone(),
        },
        // The first that is nothing is what `and` gives, and the last what `or` does.
        Some(("and", Value::Array(args))) => json!({"and": all(args)}),
        Some(("or", Value::Array(args))) => match &**args {
            [firsts @ .., last] => {
                let mut args = firsts.to_vec();
                args.push(or_empty(last));
                json!({ "or": args })
            }
            [] => part.clone(),
        },
        Some(("substr", Value::Array(args))) => match &**args {
            [text, bounds @ ..] => {
                let mut args = vec![or_empty(text)];
                args.extend(bounds.iter().cloned());
                json!({ "substr": args })
            }
            [] => part.clone(),
        },
        Some(("if", Value::Array(branches))) => {
            let mut left: Vec<Value> = branches
                .chunks(2)
                .flat_map(|pair| match pair {
                    [condition, value] => vec![condition.clone(), or_empty(value)],
                    rest => all(rest),
                })
                .collect();
            if branches.len() % 2 == 0 {
                left.push(json!(""));
            }
            json!({ "if": left })
        }
        Some((operator, _)) if ARITHMETIC.contains(&operator) => of_all_there(part),
        _ => part.clone(),
    }
}

/// Arithmetic of attributes where all of them are there, else the empty text.
fn of_all_there(arithmetic: &Value) -> Value {
    let Some(side) = Side::of(arithmetic).filter(|side| !side.paths.is_empty() && !side.has_texts) else {
        return arithmetic.clone();
    };
    json!({"if": [are_there(side.paths.iter().copied()), arithmetic, ""]})
}

/// Whether all of these attributes are there.
fn are_there<'v>(paths: impl Iterator<Item = &'v str>) -> Value {
    let mut there: Vec<Value> = paths.map(|path| json!({"!==": [{ "var": path }, null]})).collect();
    if there.len() == 1 { there.swap_remove(0) } else { json!({ "and": there }) }
}

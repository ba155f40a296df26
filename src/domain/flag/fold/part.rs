//! What is left of the parts of a rule.

use serde_json::{Value, json};

use super::super::flag_set::unreadable;
use super::{Fold, Path, only, operands, operation, operation_of, variable};
use crate::domain::rule::Failure;

/// The operators that give true or false.
const TESTS: [&str; 15] = [
    "==",
    "===",
    "!=",
    "!==",
    "<",
    "<=",
    ">",
    ">=",
    "in",
    "contains_all",
    "contains_any",
    "contains_none",
    "starts_with",
    "ends_with",
    "sem_ver",
];
/// Those whose result is made of their arguments.
const VALUES: [&str; 16] = [
    "and", "or", "merge", "cat", "substr", "+", "-", "*", "/", "%", "max", "min", "abs", "lower", "upper",
    "log",
];
/// The attribute that names the tenant.
const TENANT: &str = "tenantId";
/// Our own, which flagd has not.
const MATCHES: &str = "tenantry_matches";
/// The most values that a list whose items are written out one by one may come to.
const UNROLLED_MAX: usize = 4_096;

/// What is left of a part.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) json: Value,
    /// Whether a known attribute goes into its value.
    pub(super) is_own: bool,
    /// Whether a text that the rule itself has goes into its value. Beside what is the tenant's own it may be another's.
    pub(super) has_texts: bool,
}

impl Part {
    /// What has nothing to do with the tenant.
    pub(super) const fn plain(json: Value) -> Self {
        Self { json, is_own: false, has_texts: false }
    }

    fn literal(json: Value) -> Self {
        let has_texts = has_texts(&json);
        Self { json, is_own: false, has_texts }
    }

    /// Takes over what is said of another.
    pub(super) const fn mark(&mut self, other: &Self) {
        self.is_own |= other.is_own;
        self.has_texts |= other.has_texts;
    }

    /// This, made of others.
    fn of<'p>(json: Value, parts: impl IntoIterator<Item = &'p Self>) -> Self {
        parts.into_iter().fold(Self::plain(json), |mut made, part| {
            made.mark(part);
            made
        })
    }
}

/// Where a part stands.
#[derive(Debug, Clone, Copy)]
// Each says something else of the place.
#[allow(clippy::struct_excessive_bools)]
pub(super) struct Within {
    /// Where attributes are read and nothing hides them.
    pub(super) is_root: bool,
    /// Whether attributes are seen behind an item of a list.
    sees_root: bool,
    /// What the item is made of.
    is_own: bool,
    has_texts: bool,
}

impl Within {
    pub(super) const ROOT: Self = Self { is_root: true, sees_root: true, is_own: false, has_texts: false };

    /// In what `operator` does with each item of a list.
    fn item(self, operator: &str, list: &Part) -> Self {
        let sees_root = self.sees_root && matches!(operator, "filter" | "none" | "some");
        let (is_own, has_texts) = (list.is_own || self.is_own, list.has_texts || self.has_texts);
        Self { is_root: false, sees_root, is_own, has_texts }
    }
}

impl Fold<'_> {
    /// What is left of any part.
    pub(super) fn part(&self, source: &Value, within: Within) -> Part {
        if is_literal(source) {
            return Part::literal(source.clone());
        }
        if let Some(part) = self.constant(source, within) {
            return part;
        }
        match (source, self.operation(source)) {
            (Value::Array(items), _) => {
                let parts: Vec<Part> = items.iter().map(|item| self.part(item, within)).collect();
                Part::of(parts.iter().map(|part| part.json.clone()).collect(), &parts)
            }
            (_, Some((operator, arguments))) => self.applied(operator, arguments, within),
            _ => Part::literal(source.clone()),
        }
    }

    /// The result, where everything that goes into it is known and it can be written into a rule.
    fn constant(&self, source: &Value, within: Within) -> Option<Part> {
        let rule = self.closed(source)?;
        let is_own = rule.attributes().next().is_some();
        // An item may have what is called like an attribute.
        if is_own && !within.is_root {
            return None;
        }
        let result = match rule.value(&self.input()) {
            Ok(result) => result,
            Err(Failure::UnknownOperator) => return Some(Part::plain(unreadable())),
            Err(Failure::TooExpensive) => return Some(Part::plain(Value::Null)),
        };
        match result.map(whole) {
            Some(json) if is_literal(&json) => {
                Some(if is_own { Part { json, is_own, has_texts: false } } else { Part::literal(json) })
            }
            // In a rule an object would be taken for an operation.
            _ if is_own && variable(source).is_some() => {
                Some(Part { json: source.clone(), is_own, has_texts: false })
            }
            _ => None,
        }
    }

    fn applied(&self, operator: &str, arguments: &Value, within: Within) -> Part {
        match operator {
            "$ref" => {
                self.segment(arguments).map_or_else(|| Part::plain(unreadable()), |it| self.part(it, within))
            }
            "var" => self.variable(operands(arguments), within),
            "if" | "?:" => self.choice(arguments, within, &|value| self.part(value, within)),
            "!" | "!!" if within.is_root && operands(arguments).len() == 1 => {
                Part::plain(self.condition(&operation_of(operator, arguments.clone())))
            }
            "!" | "!!" => Part::plain(self.rebuilt(operator, arguments, within).0),
            "some" | "none" | "all" | "map" | "filter" | "reduce" => {
                self.list(operator, operands(arguments), within)
            }
            "fractional" => {
                let (json, parts) = self.rebuilt(operator, arguments, within);
                // What it is by goes into a hash, of which nothing is seen.
                let has_texts = parts.iter().any(|part| part.has_texts);
                Part { json: self.alike(json), is_own: false, has_texts }
            }
            "missing" => self.missing(arguments, within),
            "missing_some" => self.missing_some(arguments, within),
            _ if TESTS.contains(&operator) => self.test(operator, arguments, within),
            _ if VALUES.contains(&operator) => {
                let (json, parts) = self.rebuilt(operator, arguments, within);
                Part::of(self.alike(json), &parts)
            }
            MATCHES => {
                let (json, parts) = self.rebuilt(operator, arguments, within);
                self.refuse_if(parts.iter().any(|part| part.is_own));
                Part::plain(json)
            }
            // It fails there as it does here.
            _ => Part::plain(unreadable()),
        }
    }

    /// The operation with what is left of its arguments.
    fn rebuilt(&self, operator: &str, arguments: &Value, within: Within) -> (Value, Vec<Part>) {
        let parts: Vec<Part> = operands(arguments).iter().map(|part| self.part(part, within)).collect();
        let is_one = !arguments.is_array() && !matches!(operator, "and" | "or");
        let json = match &*parts {
            [one] if is_one => one.json.clone(),
            _ => parts.iter().map(|part| part.json.clone()).collect(),
        };
        (operation_of(operator, json), parts)
    }

    /// Something is left that could show others.
    fn refuse_if(&self, is_so: bool) {
        if is_so {
            self.shows_others.set(true);
        }
    }

    fn test(&self, operator: &str, arguments: &Value, within: Within) -> Part {
        let (json, parts) = self.rebuilt(operator, arguments, within);
        let meets = |(place, part): (usize, &Part)| {
            part.is_own && parts.iter().enumerate().any(|(other, it)| other != place && it.has_texts)
        };
        // A single argument may be the list of all.
        let is_spread = parts.len() == 1 && parts.iter().any(|part| part.is_own && part.has_texts);
        let alike = |test| if within.is_root { self.alike_test(test) } else { test };
        if !is_spread && !parts.iter().enumerate().any(meets) {
            return Part::plain(alike(json));
        }
        let settled = match &*parts {
            // Inside a list what is known stands there as what an item may have, so nothing says what can still match.
            [left, right] if within.is_root => self.settled(operator, left, right),
            _ => None,
        };
        self.refuse_if(settled.is_none());
        Part::plain(alike(settled.unwrap_or(json)))
    }

    fn variable(&self, arguments: &[Value], within: Within) -> Part {
        let path = self.part(arguments.first().unwrap_or(&Value::Null), within);
        let default =
            arguments.get(1).filter(|_| arguments.len() == 2).map(|default| self.part(default, within));
        let rebuilt = |path: &Value| match &default {
            None => json!({ "var": path }),
            Some(default) => json!({ "var": [path, default.json] }),
        };
        let mut left = Part::of(rebuilt(&path.json), &default);
        let name = match &path.json {
            Value::String(path) => Path::parse(path).first().map(str::to_owned),
            Value::Null => None,
            Value::Number(number) => Some(number.to_string()),
            Value::Object(map) if within.is_root && default.is_none() => {
                // Each path by itself.
                let branches = map.get("if").filter(|branches| is_choice(branches));
                if let Some(branches) = branches {
                    return self
                        .choice(branches, within, &|path| self.variable(std::slice::from_ref(path), within));
                }
                left.is_own = self.context.iter().next().is_some();
                return left;
            }
            _ => {
                left.is_own |= within.is_own || within.sees_root && self.context.iter().next().is_some();
                left.has_texts |= within.has_texts;
                return left;
            }
        };
        match name {
            Some(name) if within.is_root && self.knows(&name) => {
                let known = self.constant(&json!({ "var": [path.json] }), within);
                match (known, default) {
                    (Some(known), _) if !known.json.is_null() => known,
                    (Some(_), Some(default)) => default,
                    (known, _) => known.unwrap_or(Part { is_own: true, ..left }),
                }
            }
            name => {
                let reads_known = match &name {
                    None => within.is_root && self.context.iter().next().is_some(),
                    // `all`, `map` and `reduce` do not see it. Whoever writes it there means the tenant all the same, and
                    // what stands beside it are names of tenants.
                    Some(name) => (within.sees_root || name == TENANT) && self.knows(name),
                };
                left.is_own |= within.is_own || reads_known;
                left.has_texts |= within.has_texts;
                left
            }
        }
    }

    pub(super) fn missing(&self, arguments: &Value, within: Within) -> Part {
        let (json, parts) = self.rebuilt("missing", arguments, within);
        let names = match &*parts {
            [Part { json: Value::Array(names), .. }] => names.clone(),
            _ => parts.into_iter().map(|part| part.json).collect(),
        };
        if !within.is_root || !names.iter().all(Value::is_string) {
            return Part::plain(json);
        }
        let left: Vec<Value> = names.into_iter().filter(|name| !self.is_there(name)).collect();
        Part::plain(json!({ "missing": left }))
    }

    /// Those that are known to be there count, and are gone.
    pub(super) fn missing_some(&self, arguments: &Value, within: Within) -> Part {
        let (json, parts) = self.rebuilt("missing_some", arguments, within);
        let (need, names) = match &*parts {
            [Part { json: need, .. }, Part { json: Value::Array(names), .. }] => (need.as_u64(), names),
            _ => return Part::plain(json),
        };
        let Some(need) = need.filter(|_| within.is_root && names.iter().all(Value::is_string)) else {
            return Part::plain(json);
        };
        let (there, left): (Vec<&Value>, Vec<&Value>) = names.iter().partition(|name| self.is_there(name));
        match need.saturating_sub(there.len() as u64) {
            need if need > 0 && !left.is_empty() => Part::plain(json!({"missing_some": [need, left]})),
            _ => Part::plain(json!([])),
        }
    }

    /// Whether an attribute is known, and is there.
    fn is_there(&self, name: &Value) -> bool {
        let rule = self.closed(&json!({ "missing": [name] }));
        rule.is_some_and(|rule| rule.value(&self.input()) == Ok(Some(json!([]))))
    }

    fn list(&self, operator: &str, arguments: &[Value], within: Within) -> Part {
        let argument = |place: usize| arguments.get(place).unwrap_or(&Value::Null);
        let decided = |condition| {
            Part::plain(match condition {
                Value::Bool(holds) => Value::Bool(holds),
                condition => json!({"!!": [condition]}),
            })
        };
        if within.is_root
            && let Some(condition) =
                self.membership(operator, arguments).or_else(|| self.apart(operator, arguments))
        {
            return decided(condition);
        }
        let mut list = self.part(argument(0), within);
        if within.is_root
            && let Some(condition) = self.unrolled(operator, &list.json, argument(1))
        {
            return decided(condition);
        }
        let json = list.json.clone();
        if operator == "reduce" {
            let begin = self.part(argument(2), within);
            list.mark(&begin);
            // What one step gives the next one sees, with the texts that the step has.
            list.has_texts |= list.is_own;
            let step = self.part(argument(1), within.item(operator, &list));
            list.mark(&step);
            return Part { json: json!({"reduce": [json, step.json, begin.json]}), ..list };
        }
        let each = self.part(argument(1), within.item(operator, &list));
        let left = operation_of(operator, json!([&json, each.json]));
        match operator {
            "map" => Part { json: left, ..each },
            "filter" => Part { json: left, ..list },
            "all" if within.is_root => Part::plain(Self::alike_all(&json, left)),
            _ => Part::plain(left),
        }
    }

    /// Whether `some` or `none` of lists put together is what the tenant has, as `in`, list by list. So nothing that an item
    /// has is taken for it, and where the client's list is missing nothing is held against nothing.
    fn membership(&self, operator: &str, arguments: &[Value]) -> Option<Value> {
        let [list, each] = arguments else { return None };
        let ("merge", lists) = self.operation(list).filter(|_| matches!(operator, "some" | "none"))? else {
            return None;
        };
        let (equal @ ("==" | "==="), Value::Array(sides)) = self.operation(each)? else { return None };
        let is_known = |path: &str| Path::parse(path).first().is_some_and(|name| self.knows(name));
        let own = match &**sides {
            [item, own] | [own, item] if is_item(item) && variable(own).is_some_and(is_known) => own,
            _ => return None,
        };
        // A text that is no number is equal to the same text alone. What is equal to others, too, cannot be put like this.
        let is_exact = |text: &str| equal == "===" || !text.is_empty() && text.trim().parse::<f64>().is_err();
        if !self.constant(own, Within::ROOT)?.json.as_str().is_some_and(is_exact) {
            self.refuse_if(true);
        }
        let tests: Vec<Value> =
            operands(lists).iter().map(|list| json!({"in": [own, {"merge": [list]}]})).collect();
        let any = json!({ "or": tests });
        Some(self.condition(&if operator == "some" { any } else { json!({"!": [any]}) }))
    }

    /// `some` and `none` of lists put together, list by list: so that those that are known are decided.
    fn apart(&self, operator: &str, arguments: &[Value]) -> Option<Value> {
        let [list, each] = arguments else { return None };
        let lists = match self.operation(list)? {
            ("merge", Value::Array(lists)) if matches!(operator, "some" | "none") => lists,
            _ => return None,
        };
        if lists.len() < 2 || lists.len() * size(each) > UNROLLED_MAX {
            return None;
        }
        let tests: Vec<Value> = lists.iter().map(|list| json!({"some": [{"merge": [list]}, each]})).collect();
        let any = json!({ "or": tests });
        Some(self.condition(&if operator == "some" { any } else { json!({"!": [any]}) }))
    }

    /// `some`, `none` and `all` of a known list without lists and objects, item by item.
    fn unrolled(&self, operator: &str, list: &Value, each: &Value) -> Option<Value> {
        let items = list.as_array().filter(|items| items.len() * size(each) <= UNROLLED_MAX)?;
        if !matches!(operator, "some" | "none" | "all") || items.iter().any(|item| !is_scalar(item)) {
            return None;
        }
        let hides_root = operator == "all";
        let tests: Vec<Value> =
            items.iter().map(|item| self.with_item(each, item, hides_root)).collect::<Option<_>>()?;
        Some(match operator {
            "all" => self.condition(&json!({ "and": tests })),
            "some" => self.condition(&json!({ "or": tests })),
            _ => self.condition(&json!({"!": [{ "or": tests }]})),
        })
    }

    /// What is done with each item, for one of them. None where that is not only a matter of writing it in.
    fn with_item(&self, source: &Value, item: &Value, hides_root: bool) -> Option<Value> {
        if let Value::Array(items) = source {
            return items.iter().map(|part| self.with_item(part, item, hides_root)).collect();
        }
        let Some((operator, arguments)) = self.operation(source) else { return Some(source.clone()) };
        match operator {
            "$ref" => self.with_item(self.segment(arguments)?, item, hides_root),
            "var" => match only(arguments) {
                Value::String(path) if path.is_empty() => Some(item.clone()),
                Value::String(_) if hides_root => Some(Value::Null),
                Value::String(_) => Some(source.clone()),
                _ => None,
            },
            "some" | "none" | "all" | "map" | "filter" | "reduce" | "fractional" | "missing"
            | "missing_some" => None,
            _ => Some(operation_of(operator, self.with_item(arguments, item, hides_root)?)),
        }
    }
}

/// Whether that is the whole item.
fn is_item(source: &Value) -> bool {
    operation(source).is_some_and(|(operator, path)| operator == "var" && only(path) == "")
}

/// Whether a value stands for itself in a rule, in every language.
pub(super) fn is_literal(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().all(is_literal),
        Value::Object(_) => false,
        _ => true,
    }
}

/// Whether a part is true or false, and never null.
pub(in crate::domain::flag) fn is_test(source: &Value) -> bool {
    match operation(source) {
        None => source.is_boolean(),
        Some(("!" | "!!" | "some" | "none" | "all" | MATCHES, _)) => true,
        Some(("and" | "or", Value::Array(parts))) => !parts.is_empty() && parts.iter().all(is_test),
        // Of what is no text these are nothing.
        Some(("starts_with" | "ends_with" | "sem_ver", _)) => false,
        Some((operator, _)) => TESTS.contains(&operator),
    }
}

/// How many values it is.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(map) => map.values().map(size).sum(),
        _ => 0,
    }
}

const fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::Array(_) | Value::Object(_))
}

pub(super) fn has_texts(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => items.iter().any(has_texts),
        Value::Object(map) => !map.is_empty(),
        _ => false,
    }
}

/// Whether an `if` has nothing but values that stand for themselves.
fn is_choice(branches: &Value) -> bool {
    let branches = operands(branches);
    branches.len() % 2 == 1 && branches.chunks(2).all(|pair| pair.last().is_some_and(is_literal))
}

/// Whole numbers without a fraction: some languages take only those for weights.
fn whole(value: Value) -> Value {
    match value {
        Value::Number(number) => {
            let exact = number.as_f64().filter(|it| it.fract() == 0.0 && it.abs() < 9e15);
            // Checked right before.
            #[allow(clippy::cast_possible_truncation)]
            exact.map_or(Value::Number(number), |exact| json!(exact as i64))
        }
        Value::Array(items) => Value::Array(items.into_iter().map(whole).collect()),
        other => other,
    }
}

//! Comparing what is known in part: what can no longer match goes.

use serde_json::{Value, json};

use super::part::{Part, Within, has_texts, is_literal};
use super::{Fold, operands, operation, operation_of};

/// A text of which pieces are known.
struct Pattern<'a> {
    /// The known pieces, in order. Between them may be anything.
    pieces: Vec<&'a str>,
    /// Whether the first piece is the beginning, and the last the end.
    begins: bool,
    ends: bool,
}

impl<'a> Pattern<'a> {
    /// Of the parts of a `cat`.
    fn of(parts: &[&'a Value]) -> Self {
        let pieces = parts.iter().filter_map(|part| part.as_str()).collect();
        let is_text = |part: Option<&&Value>| part.is_some_and(|part| part.is_string());
        Self { pieces, begins: is_text(parts.first()), ends: is_text(parts.last()) }
    }

    /// Whether a text may be that.
    fn fits(&self, text: &str) -> bool {
        let mut rest = text;
        let mut pieces = &*self.pieces;
        if let (true, [first, more @ ..]) = (self.begins, pieces) {
            let Some(left) = rest.strip_prefix(first) else { return false };
            (rest, pieces) = (left, more);
        }
        if let (true, [more @ .., last]) = (self.ends, pieces) {
            let Some(left) = rest.strip_suffix(last) else { return false };
            (rest, pieces) = (left, more);
        }
        // The earliest place leaves the most room for those after it.
        pieces.iter().all(|piece| match rest.find(piece) {
            Some(place) => {
                rest = rest.get(place + piece.len()..).unwrap_or_default();
                true
            }
            None => false,
        })
    }

    /// The same where more may stand before and after it.
    fn anywhere(&self, begins: bool, ends: bool) -> Self {
        Self { pieces: self.pieces.clone(), begins: self.begins && begins, ends: self.ends && ends }
    }

    fn beginning(&self) -> &'a str {
        self.pieces.first().filter(|_| self.begins).copied().unwrap_or_default()
    }

    fn end(&self) -> &'a str {
        self.pieces.last().filter(|_| self.ends).copied().unwrap_or_default()
    }
}

impl Fold<'_> {
    /// Of a `cat`. None where something known, or a text of the rule, goes into what would be taken for anything.
    fn pattern<'v>(&self, source: &'v Value) -> Option<Pattern<'v>> {
        let parts = put_together(source)?;
        let is_open = |part: &&&Value| {
            let part = self.part(part, Within::ROOT);
            !part.is_own && !part.has_texts
        };
        parts.iter().filter(|part| !part.is_string()).all(|part| is_open(&part)).then(|| Pattern::of(&parts))
    }

    /// A test of what is the tenant's own, beside texts of the rule: decided, or with only what can still match.
    /// None where neither can be said.
    pub(super) fn settled(&self, operator: &str, left: &Part, right: &Part) -> Option<Value> {
        // The rule is not handed out anyway. So nothing is looked at again and again, at every level.
        if self.shows_others.get() {
            return None;
        }
        let (a, b) = (&left.json, &right.json);
        match operator {
            "in" if left.is_own && !right.is_own => {
                let kept = self.matching(operator, a, b)?;
                Some(if kept == json!([]) { json!(false) } else { json!({"in": [a, kept]}) })
            }
            "==" | "===" | "!=" | "!==" => {
                let is_equal = !operator.starts_with('!');
                if let (Some(one), Some(other)) = (self.pattern(a), self.pattern(b)) {
                    let (begins, ends) = ((one.beginning(), other.beginning()), (one.end(), other.end()));
                    let is_possible = (begins.0.starts_with(begins.1) || begins.1.starts_with(begins.0))
                        && (ends.0.ends_with(ends.1) || ends.1.ends_with(ends.0));
                    return match is_possible {
                        false => Some(json!(!is_equal)),
                        true if left.is_own && right.is_own => Some(operation_of(operator, json!([a, b]))),
                        true => None,
                    };
                }
                let (own, other) = if left.is_own { (a, b) } else { (b, a) };
                if left.is_own && right.is_own {
                    return None;
                }
                if let (Value::String(own), Some(pattern)) = (own, self.pattern(other)) {
                    let fits = pattern.fits(own);
                    let kept = || operation_of(operator, json!([own, other]));
                    return Some(if fits { kept() } else { json!(!is_equal) });
                }
                match self.matching("==", own, other)? {
                    Value::Null if is_literal(other) => Some(json!(!is_equal)),
                    kept => Some(operation_of(operator, json!([own, kept]))),
                }
            }
            "starts_with" | "ends_with" => self.at_an_end(operator == "starts_with", left, right),
            _ => None,
        }
    }

    /// What can still match of what is compared with `own`; what cannot is null, and left out of lists.
    fn matching(&self, operator: &str, own: &Value, other: &Value) -> Option<Value> {
        match other {
            Value::Array(items) if operator == "in" => {
                let mut kept = Vec::new();
                for item in items {
                    let is_kept = match operation(item) {
                        None => self.may_be(own, item)?,
                        // An attribute of the client's. Anything else may be made of names.
                        Some(("var", Value::String(_))) => true,
                        Some(_) => return None,
                    };
                    kept.extend(is_kept.then(|| item.clone()));
                }
                Some(Value::Array(kept))
            }
            Value::String(text) if operator == "in" => {
                let fits = match own {
                    Value::String(own) => text.contains(own.as_str()),
                    own => self.pattern(own)?.anywhere(false, false).fits(text),
                };
                Some(if fits { other.clone() } else { json!([]) })
            }
            literal if operator == "in" && is_literal(literal) => Some(literal.clone()),
            literal if is_literal(literal) => {
                // Nothing is not equal to the empty text, nor a text to nothing.
                let unequal = || if own.is_null() { json!("") } else { Value::Null };
                Some(if self.may_be(own, literal)? { literal.clone() } else { unequal() })
            }
            _ => match operation(other)? {
                ("var", path) if is_literal(path) && !path.is_array() => Some(other.clone()),
                ("merge", lists) if operator == "in" => {
                    let kept: Option<Vec<_>> =
                        operands(lists).iter().map(|list| self.matching(operator, own, list)).collect();
                    Some(json!({ "merge": kept? }))
                }
                ("if", branches) => {
                    let pairs = operands(branches).chunks(2);
                    let kept: Option<Vec<Vec<Value>>> = pairs
                        .map(|pair| match pair {
                            [condition, value] => {
                                Some(vec![condition.clone(), self.matching(operator, own, value)?])
                            }
                            [last] => Some(vec![self.matching(operator, own, last)?]),
                            _ => None,
                        })
                        .collect();
                    Some(operation_of("if", Value::Array(kept?.concat())))
                }
                _ => None,
            },
        }
    }

    /// Whether `own` may be equal to a value. None where that cannot be said.
    fn may_be(&self, own: &Value, other: &Value) -> Option<bool> {
        if is_literal(own) {
            let rule = self.closed(&json!({"in": [own, [other]]}))?;
            return Some(rule.matches(&self.input()));
        }
        match other {
            Value::String(text) => Some(self.pattern(own)?.fits(text)),
            // A range of numbers, or texts that are none.
            _ if has_texts(other) => None,
            _ => Some(true),
        }
    }

    /// `starts_with` and `ends_with`.
    fn at_an_end(&self, is_begin: bool, left: &Part, right: &Part) -> Option<Value> {
        let operator = if is_begin { "starts_with" } else { "ends_with" };
        let kept = || operation_of(operator, json!([left.json, right.json]));
        match (&left.json, &right.json) {
            (text, Value::String(wanted)) => {
                let pattern = self.pattern(text)?;
                let (known, is_met, is_open) = if is_begin {
                    let known = pattern.beginning();
                    (known, known.starts_with(wanted.as_str()), wanted.starts_with(known))
                } else {
                    let known = pattern.end();
                    (known, known.ends_with(wanted.as_str()), wanted.ends_with(known))
                };
                match (is_met, is_open) {
                    (true, _) => Some(json!(true)),
                    // What else the rule says of it would stand there.
                    (false, true) if known.is_empty() || !left.is_own && pattern.pieces.len() > 1 => None,
                    (false, true) => Some(kept()),
                    (false, false) => Some(json!(false)),
                }
            }
            (Value::String(text), wanted) => {
                let fits = self.pattern(wanted)?.anywhere(is_begin, !is_begin).fits(text);
                Some(if fits { kept() } else { json!(false) })
            }
            _ => None,
        }
    }
}

/// The parts of a `cat`, and of those in it.
fn put_together(source: &Value) -> Option<Vec<&Value>> {
    let parts = match operation(source)? {
        ("cat", parts) => operands(parts),
        _ => return None,
    };
    Some(parts.iter().flat_map(|part| put_together(part).unwrap_or_else(|| vec![part])).collect())
}

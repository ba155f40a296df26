//! The operators that do something with every item of a list.

use super::Failure;
use super::datum::Datum;
use super::evaluate::{Evaluated, Evaluator, Scope};
use super::node::{Each, Node};

impl<'a> Evaluator<'a, '_> {
    /// `map`, `filter`, `all`, `none` and `some`. What is no list counts as an empty one, of which not even `all` holds.
    #[inline(never)]
    pub(super) fn each(&self, each: Each, nodes: &'a [Node; 2], scope: &Scope<'_, 'a>) -> Evaluated<'a> {
        let [subject, test] = nodes;
        let subject = self.node(subject, scope)?;
        let count = subject.len().unwrap_or(0);
        // flagd's `filter`, `none` and `some` see the outer attributes, too; its `map` and `all` do not.
        let outer = matches!(each, Each::Filter | Each::None | Each::Some).then_some(scope);
        let mut kept = Vec::new();
        for index in 0..count {
            let item = subject.item(index);
            let value = self.node(test, &Scope::Item { item: &item, outer })?;
            let settled = match each {
                Each::Map => {
                    kept.push(value);
                    None
                }
                Each::Filter => {
                    if value.is_truthy() {
                        kept.push(item);
                    }
                    None
                }
                Each::All => (!value.is_truthy()).then_some(false),
                Each::None => value.is_truthy().then_some(false),
                Each::Some => value.is_truthy().then_some(true),
            };
            if let Some(answer) = settled {
                return Ok(Datum::Bool(answer));
            }
        }
        match each {
            Each::Map | Each::Filter => self.list(kept),
            Each::All => Ok(Datum::Bool(count > 0)),
            Each::None => Ok(Datum::Bool(true)),
            Each::Some => Ok(Datum::Bool(false)),
        }
    }

    /// `reduce`. As in flagd, what is gathered keeps the type it begins with, and nulls are passed over.
    #[inline(never)]
    pub(super) fn reduce(&self, nodes: &'a [Node; 3], scope: &Scope<'_, 'a>) -> Evaluated<'a> {
        let [subject, step, initial] = nodes;
        let subject = self.node(subject, scope)?;
        let mut accumulator = self.node(initial, scope)?;
        for index in 0..subject.len().unwrap_or(0) {
            let current = subject.item(index);
            if current.is_null() {
                self.charge(1)?;
                continue;
            }
            let value = self.node(step, &Scope::Reduce { current: &current, accumulator: &accumulator })?;
            let Some(kept) = self.like(&accumulator, value)? else { return Ok(Datum::Null) };
            accumulator = kept;
        }
        Ok(accumulator)
    }

    /// The value as the type of another; none where it cannot be that.
    fn like(&self, model: &Datum<'a>, value: Datum<'a>) -> Result<Option<Datum<'a>>, Failure> {
        if let Some(text) = value.text() {
            self.charge_text(text)?;
        }
        Ok(match model {
            Datum::Bool(_) => Some(Datum::Bool(value.is_truthy())),
            Datum::Number(_) => value.to_number().map(Datum::Number),
            Datum::Text(_) | Datum::Made(_) => match value {
                Datum::Text(_) | Datum::Made(_) => Some(value),
                Datum::Null | Datum::Number(_) => {
                    let mut text = String::new();
                    value.write(&mut text);
                    Some(self.made(&text)?)
                }
                _ => None,
            },
            _ => Some(value),
        })
    }

    /// `in`: a part of a text, or an item of a list. An item that is a list is a range: `[from, to]`, both included.
    pub(super) fn is_in(&self, needle: &Datum<'a>, haystack: &Datum<'a>) -> Result<bool, Failure> {
        if let Some(text) = haystack.text() {
            self.charge_text(text)?;
            return Ok(needle.text().is_some_and(|part| text.contains(part)));
        }
        let count = haystack.len().unwrap_or(0);
        let weight = 1 + needle.text().map_or(0, str::len) / 64;
        for index in 0..count {
            let item = haystack.item(index);
            self.charge(weight + item.text().map_or(0, str::len) / 64)?;
            if is_member(needle, &item) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// `contains_all`, `contains_any` and `contains_none`: whether an item of `wanted` that `counts` says so about.
    pub(super) fn any_wanted(
        &self,
        list: &Datum<'a>,
        wanted: &Datum<'a>,
        is_there: bool,
    ) -> Result<bool, Failure> {
        for item in wanted.items() {
            let weight = 1 + item.text().map_or(0, str::len) / 64;
            let mut found = false;
            for other in list.items() {
                self.charge(weight)?;
                found = other.equals_strictly(&item);
                if found {
                    break;
                }
            }
            if found == is_there {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn is_member(needle: &Datum<'_>, item: &Datum<'_>) -> bool {
    if item.len().is_some() {
        let number = |value: &Datum<'_>| match value {
            Datum::Number(number) => Some(*number),
            _ => value.text()?.parse().ok(),
        };
        let bounds = (number(needle), number(&item.item(0)), number(&item.item(1)));
        return matches!(bounds, (Some(value), Some(from), Some(to)) if from <= value && value <= to);
    }
    match (needle, item.text()) {
        // A number is found among texts that say the same number, but not the other way round.
        #[allow(clippy::float_cmp)]
        (Datum::Number(number), Some(text)) => text.parse() == Ok(*number),
        _ => needle.equals_strictly(item),
    }
}

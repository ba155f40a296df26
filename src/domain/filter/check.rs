//! From a tree to an expression: names become field ids, values get the field's type.

use jiff::Timestamp;
use jiff::civil::date;
use jiff::fmt::temporal::Pieces;

use super::lexer::{Kind, Operator, Token};
use super::matching::{Bounds, Condition, Expr, Pattern, Test};
use super::parser::{Comparison, Tree};
use super::{Error, Field, FieldId, FieldType, Schema, error};
use crate::domain::text::quote;

pub(super) fn expression(text: &str, tree: Tree, schema: &Schema) -> Result<Expr, Error> {
    let all = |trees: Vec<Tree>| -> Result<Vec<Expr>, Error> {
        trees.into_iter().map(|tree| expression(text, tree, schema)).collect()
    };
    Ok(match tree {
        Tree::All(trees) => Expr::All(all(trees)?),
        Tree::Any(trees) => Expr::Any(all(trees)?),
        Tree::Not(tree) => Expr::Not(Box::new(expression(text, *tree, schema)?)),
        Tree::Comparison(comparison) => Expr::Test(test(text, comparison, schema)?),
    })
}

fn test(text: &str, comparison: Comparison, schema: &Schema) -> Result<Test, Error> {
    let (field, definition) = find(text, &comparison.field, comparison.start, schema)?;
    let checker =
        Checker { text, name: definition.name, operator: comparison.operator, value: &comparison.value };
    if comparison.key.is_some() && definition.field_type != FieldType::Map {
        return Err(error(
            text,
            comparison.start,
            format!("{} has no keys; write it without a dot", definition.name),
        ));
    }
    let condition = match definition.field_type {
        FieldType::Text => checker.text_condition()?,
        FieldType::Enum(names) => checker.enum_condition(names)?,
        FieldType::Number => checker.number_condition()?,
        FieldType::Time => checker.time_condition()?,
        FieldType::Boolean => checker.boolean_condition()?,
        FieldType::Map => checker.map_condition(comparison.key)?,
        FieldType::List => checker.list_condition()?,
    };
    Ok(Test { field, condition })
}

/// The field of a name, or an error that lists the names there are.
fn find(text: &str, name: &str, at: usize, schema: &Schema) -> Result<(FieldId, &'static Field), Error> {
    schema.find(name).ok_or_else(|| {
        let names: Vec<&str> = schema.fields.iter().map(|field| field.name).collect();
        error(text, at, format!("there is no field {}; the fields are {}", quote(name), names.join(", ")))
    })
}

struct Checker<'a> {
    text: &'a str,
    name: &'static str,
    operator: Operator,
    value: &'a Token,
}

impl Checker<'_> {
    fn fail<T>(&self, why: impl Into<String>) -> Result<T, Error> {
        Err(error(self.text, self.value.start, why))
    }

    fn content(&self) -> &str {
        match &self.value.kind {
            Kind::Word(content) | Kind::Quoted(content) => content,
            Kind::Open | Kind::Close | Kind::Operator(_) => "",
        }
    }

    /// `field:*`, for fields of any type.
    fn asks_presence(&self) -> bool {
        self.operator == Operator::Has && self.content() == "*" && self.value.star_first
    }

    fn bounds(&self) -> Bounds {
        let (less, equal, greater) = match self.operator {
            Operator::Equal | Operator::Has => (false, true, false),
            Operator::NotEqual => (true, false, true),
            Operator::Less => (true, false, false),
            Operator::LessOrEqual => (true, true, false),
            Operator::Greater => (false, false, true),
            Operator::GreaterOrEqual => (false, true, true),
        };
        Bounds { less, equal, greater }
    }

    fn pattern(&self) -> Result<Pattern, Error> {
        let token = self.value;
        if token.star_inside {
            return self.fail(
                r"a * stands for other text only at the start or end of a value; write \* for the character",
            );
        }
        let content = self.content();
        if content == "*" && token.star_first {
            return Ok(Pattern::Something);
        }
        let start = usize::from(token.star_first);
        let end = content.len() - usize::from(token.star_last);
        let inner = content.get(start..end).unwrap_or_default().to_owned();
        Ok(match (token.star_first, token.star_last) {
            (false, false) => Pattern::Exact(inner),
            (false, true) => Pattern::Prefix(inner),
            (true, false) => Pattern::Suffix(inner),
            (true, true) => Pattern::Inside(inner),
        })
    }

    fn text_condition(&self) -> Result<Condition, Error> {
        if self.asks_presence() {
            return Ok(Condition::Present);
        }
        let pattern = self.pattern()?;
        match (self.operator, pattern) {
            (Operator::NotEqual, pattern) => Ok(Condition::NotText(pattern)),
            (Operator::Has, Pattern::Exact(part)) => Ok(Condition::Contains(part.to_lowercase())),
            (Operator::Equal | Operator::Has, pattern) => Ok(Condition::Text(pattern)),
            (_, Pattern::Exact(than)) => Ok(Condition::TextOrder(self.bounds(), than)),
            _ => self.fail("a * can be used with =, != and : only"),
        }
    }

    fn enum_condition(&self, names: &'static [&'static str]) -> Result<Condition, Error> {
        if self.asks_presence() {
            return Ok(Condition::Present);
        }
        let Some(name) = names.iter().find(|name| name.eq_ignore_ascii_case(self.content())) else {
            let shown = quote(self.content());
            return self.fail(format!("{shown} is no {}; it is one of {}", self.name, names.join(", ")));
        };
        match self.operator {
            Operator::Equal | Operator::Has => Ok(Condition::Enum(name)),
            Operator::NotEqual => Ok(Condition::NotEnum(name)),
            _ => self.fail(format!("{} has no order; compare it with = or !=", self.name)),
        }
    }

    fn number_condition(&self) -> Result<Condition, Error> {
        if self.asks_presence() {
            return Ok(Condition::Present);
        }
        let content = self.content();
        // Only digits, sign, point and exponent: the standard parser also takes words such as "inf" and "nan".
        let plain =
            content.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E'));
        match content.parse::<f64>() {
            Ok(number) if plain && number.is_finite() => Ok(Condition::Number(self.bounds(), number)),
            _ => self.fail(format!("{} is compared with a number; {} is none", self.name, quote(content))),
        }
    }

    fn time_condition(&self) -> Result<Condition, Error> {
        if self.asks_presence() {
            return Ok(Condition::Present);
        }
        match time(self.content()) {
            Some(time) => Ok(Condition::Time(self.bounds(), time)),
            None => self.fail(format!(
                "{} is compared with a time in RFC 3339, for example \"2026-01-31T12:00:00Z\"; {} is none",
                self.name,
                quote(self.content())
            )),
        }
    }

    fn boolean_condition(&self) -> Result<Condition, Error> {
        let value = match self.content() {
            "true" => true,
            "false" => false,
            other => return self.fail(format!("{} is true or false, not {}", self.name, quote(other))),
        };
        match self.operator {
            Operator::Equal | Operator::Has => Ok(Condition::Boolean(value)),
            Operator::NotEqual => Ok(Condition::Boolean(!value)),
            _ => self.fail(format!("{} has no order; compare it with = or !=", self.name)),
        }
    }

    fn map_condition(&self, key: Option<String>) -> Result<Condition, Error> {
        let Some(key) = key else {
            return match self.operator {
                Operator::Has if self.asks_presence() => Ok(Condition::Present),
                Operator::Has => Ok(Condition::EntryPresent(self.content().to_owned())),
                _ => self.fail(format!("write {0}:key to ask for a key, or {0}.key = \"value\"", self.name)),
            };
        };
        if self.asks_presence() {
            return Ok(Condition::EntryPresent(key));
        }
        let pattern = self.pattern()?;
        match self.operator {
            Operator::Equal | Operator::Has => Ok(Condition::Entry(key, pattern)),
            Operator::NotEqual => Ok(Condition::NotEntry(key, pattern)),
            _ => {
                self.fail(format!("the values of {} have no order; compare them with =, != or :", self.name))
            }
        }
    }

    fn list_condition(&self) -> Result<Condition, Error> {
        match self.operator {
            Operator::Has if self.asks_presence() => Ok(Condition::Present),
            Operator::Has => Ok(Condition::Item(self.pattern()?)),
            _ => self.fail(format!("{0} holds any number of values; write {0}:\"value\"", self.name)),
        }
    }
}

/// A time in RFC 3339. The end of the year 9999 is one too, though no row can have it: the last moment there is stands for
/// what lies behind it.
fn time(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    let pieces = Pieces::parse(text).ok()?;
    let is_whole = pieces.time().is_some() && pieces.to_numeric_offset().is_some();
    (is_whole && pieces.date() >= date(9999, 12, 30)).then_some(Timestamp::MAX)
}

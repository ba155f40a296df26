//! The operators on texts.

use super::Failure;
use super::datum::Datum;
use super::evaluate::{Evaluated, Evaluator, TEXT_MAX};
use super::operator::Op;

impl<'a> Evaluator<'a, '_> {
    pub(super) fn text_operator(&self, op: Op, args: &[Datum<'a>]) -> Evaluated<'a> {
        match (op, args) {
            (Op::Cat, _) => self.cat(args),
            (Op::Substr, _) => self.substr(args),
            (Op::StartsWith | Op::EndsWith, [text, part]) => {
                let (Some(text), Some(part)) = (text.text(), part.text()) else { return Ok(Datum::Null) };
                self.charge_text(part)?;
                let holds = if op == Op::StartsWith { text.starts_with(part) } else { text.ends_with(part) };
                Ok(Datum::Bool(holds))
            }
            // ASCII only, as in flagd, so that every language gives the same.
            (Op::Lower | Op::Upper, [text]) => match text.text() {
                Some(text) if op == Op::Lower => self.made(&short(text)?.to_ascii_lowercase()),
                Some(text) => self.made(&short(text)?.to_ascii_uppercase()),
                None => Ok(Datum::Null),
            },
            _ => Ok(Datum::Null),
        }
    }

    /// Puts texts together. Like flagd, and unlike `JsonLogic` elsewhere, it leaves out white space at both ends when it
    /// puts two or more together.
    fn cat(&self, args: &[Datum<'a>]) -> Evaluated<'a> {
        if let [Datum::Text(_) | Datum::Made(_)] = args {
            return Ok(args.first().cloned().unwrap_or_default());
        }
        let mut text = String::new();
        for arg in args {
            self.charge(1 + arg.len().unwrap_or(0))?;
            if let Some(part) = arg.text() {
                short(part)?;
            }
            if !arg.write(&mut text) {
                return Ok(Datum::Null);
            }
            short(&text)?;
        }
        self.made(if args.len() > 1 { text.trim() } else { &text })
    }

    /// A part of a text, counted in characters: from a place, which is counted from the end where it is negative, on for
    /// a length, which leaves out as many at the end where it is negative.
    fn substr(&self, args: &[Datum<'a>]) -> Evaluated<'a> {
        let [source, from, ..] = args else { return Ok(Datum::Null) };
        let mut text = String::new();
        let is_text = match source {
            Datum::Text(_) | Datum::Made(_) => {
                text.push_str(short(source.text().unwrap_or_default())?);
                true
            }
            Datum::Null | Datum::Bool(_) | Datum::Number(_) => source.write(&mut text),
            _ => false,
        };
        let Some(from) = from.to_number().filter(|_| is_text) else { return Ok(Datum::Null) };
        let length = match args {
            [_, _, length] => match length.to_number() {
                None => return Ok(Datum::Null),
                length => length,
            },
            _ => None,
        };
        self.charge_text(&text)?;
        let part = part(&text, whole(from), length.map(whole));
        self.made(part)
    }
}

/// Texts in a context can be long; only so much of one is worth working on.
fn short(text: &str) -> Result<&str, Failure> {
    if text.len() > TEXT_MAX { Err(Failure::TooExpensive) } else { Ok(text) }
}

#[allow(clippy::cast_possible_truncation)] // A cast keeps to the range; nobody asks for more than 2^63 characters.
const fn whole(number: f64) -> i64 {
    number as i64
}

fn part(text: &str, from: i64, length: Option<i64>) -> &str {
    let count = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let start = if from < 0 { count.saturating_add(from) } else { from };
    if start < 0 || start > count {
        return text;
    }
    let end = match length {
        None => count,
        Some(length) if length < 0 => count.saturating_add(length),
        Some(length) => start.saturating_add(length),
    };
    let place = |characters: i64| {
        usize::try_from(characters)
            .ok()
            .and_then(|characters| text.char_indices().nth(characters))
            .map_or(text.len(), |(at, _)| at)
    };
    let end = end.clamp(start, count);
    text.get(place(start)..place(end)).unwrap_or_default()
}

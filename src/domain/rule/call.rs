//! The operators that get their arguments evaluated.

use super::Failure;
use super::datum::Datum;
use super::evaluate::{Evaluated, Evaluator, Scope};
use super::operator::{Op, version_comparison};
use super::semver::Version;

impl<'a> Evaluator<'a, '_> {
    /// Applies an operator. Arguments that do not suit it give null.
    pub(super) fn call(&self, op: Op, args: &[Datum<'a>], scope: &Scope<'_, 'a>) -> Evaluated<'a> {
        let first = || args.first().cloned().unwrap_or_default();
        Ok(match op {
            Op::Equal => Datum::Bool(self.pair(args, Datum::equals)?),
            Op::NotEqual => Datum::Bool(!self.pair(args, Datum::equals)?),
            Op::StrictlyEqual => Datum::Bool(self.pair(args, Datum::equals_strictly)?),
            Op::StrictlyNotEqual => Datum::Bool(!self.pair(args, Datum::equals_strictly)?),
            Op::Less | Op::AtMost | Op::Greater | Op::AtLeast => Datum::Bool(self.ordered(op, args)?),
            Op::Not => Datum::Bool(!first().is_truthy()),
            Op::Truthy => Datum::Bool(first().is_truthy()),
            Op::Log => first(),
            Op::In => match args {
                [needle, haystack, ..] => Datum::Bool(self.is_in(needle, haystack)?),
                _ => Datum::Bool(false),
            },
            Op::ContainsAll | Op::ContainsAny | Op::ContainsNone => Datum::Bool(self.contains(op, args)?),
            Op::Merge => self.merge(args)?,
            Op::Missing => self.missing(args, scope)?,
            Op::MissingSome => self.missing_some(args, scope)?,
            Op::Cat | Op::Substr | Op::StartsWith | Op::EndsWith | Op::Lower | Op::Upper => {
                self.text_operator(op, args)?
            }
            Op::SemVer => self.versions(args)?.map_or(Datum::Null, Datum::Bool),
            Op::Add | Op::Subtract | Op::Multiply | Op::Divide | Op::Modulo | Op::Max | Op::Min | Op::Abs => {
                self.charge_texts(args)?;
                arithmetic(op, args).map_or(Datum::Null, Datum::Number)
            }
        })
    }

    /// Compares the first two arguments; one alone is equal to nothing.
    fn pair(
        &self,
        args: &[Datum<'a>],
        holds: impl Fn(&Datum<'a>, &Datum<'a>) -> bool,
    ) -> Result<bool, Failure> {
        let [a, b, ..] = args else { return Ok(false) };
        self.charge_texts(args)?;
        Ok(holds(a, b))
    }

    fn charge_texts(&self, args: &[Datum<'a>]) -> Result<(), Failure> {
        args.iter().filter_map(Datum::text).try_for_each(|text| self.charge_text(text))
    }

    /// `<` and its kin: of two, or of three that are in order.
    fn ordered(&self, op: Op, args: &[Datum<'a>]) -> Result<bool, Failure> {
        self.charge_texts(args)?;
        let holds = |a: &Datum<'a>, b: &Datum<'a>| match op {
            Op::Less => a.is_less(b),
            Op::AtMost => a.is_less(b) || a.equals(b),
            Op::Greater => b.is_less(a),
            _ => b.is_less(a) || a.equals(b),
        };
        Ok(match args {
            [a, b, c] => holds(a, b) && holds(b, c),
            [a, b, ..] => holds(a, b),
            _ => false,
        })
    }

    fn contains(&self, op: Op, args: &[Datum<'a>]) -> Result<bool, Failure> {
        let lists = match args {
            [list, wanted] if list.len().is_some() && wanted.len().is_some() => Some((list, wanted)),
            _ => None,
        };
        let Some((list, wanted)) = lists else { return Ok(op == Op::ContainsNone) };
        match op {
            Op::ContainsAll => Ok(!self.any_wanted(list, wanted, false)?),
            Op::ContainsAny => self.any_wanted(list, wanted, true),
            _ => Ok(!self.any_wanted(list, wanted, true)?),
        }
    }

    fn merge(&self, args: &[Datum<'a>]) -> Evaluated<'a> {
        let mut items = Vec::new();
        for arg in args {
            match arg.len() {
                Some(count) => {
                    self.charge(count)?;
                    items.extend(arg.items());
                }
                None => items.push(arg.clone()),
            }
        }
        self.list(items)
    }

    /// The paths at which there is nothing, of those given as arguments or as one list.
    fn missing(&self, args: &[Datum<'a>], scope: &Scope<'_, 'a>) -> Evaluated<'a> {
        let paths: Vec<Datum<'a>> = match args {
            [list] if list.len().is_some() => list.items().collect(),
            _ => args.to_vec(),
        };
        let absent = self.absent(paths, scope)?;
        self.list(absent)
    }

    /// The same, or nothing if enough of the paths lead to something.
    fn missing_some(&self, args: &[Datum<'a>], scope: &Scope<'_, 'a>) -> Evaluated<'a> {
        let [need, list, ..] = args else { return Ok(Datum::Null) };
        let (Some(need), Some(count)) = (need.to_number(), list.len()) else { return Ok(Datum::Null) };
        let absent = self.absent(list.items().collect(), scope)?;
        // Counts of paths are far below 2^53.
        #[allow(clippy::cast_precision_loss)]
        let is_enough = (count - absent.len()) as f64 >= need.trunc();
        self.list(if is_enough { Vec::new() } else { absent })
    }

    fn absent(&self, paths: Vec<Datum<'a>>, scope: &Scope<'_, 'a>) -> Result<Vec<Datum<'a>>, Failure> {
        let mut absent = Vec::new();
        for path in paths {
            self.charge(1)?;
            if self.at(&path, scope)?.is_null() {
                absent.push(path);
            }
        }
        Ok(absent)
    }

    fn versions(&self, args: &[Datum<'a>]) -> Result<Option<bool>, Failure> {
        let [version, operator, target] = args else { return Ok(None) };
        self.charge_texts(args)?;
        let (mut version_text, mut target_text) = (String::new(), String::new());
        let Some(version) = version_of(version, &mut version_text) else { return Ok(None) };
        let Some(target) = version_of(target, &mut target_text) else { return Ok(None) };
        Ok(version_comparison(operator).map(|comparison| comparison.holds(&version, &target)))
    }
}

/// A number is a version, too: 2 is `2.0.0` and 2.1 is `2.1.0`.
fn version_of<'t>(datum: &'t Datum<'_>, buffer: &'t mut String) -> Option<Version<'t>> {
    match datum {
        Datum::Number(_) if datum.write(buffer) => Version::parse(buffer),
        _ => Version::parse(datum.text()?),
    }
}

/// None where an argument is no number.
fn arithmetic(op: Op, args: &[Datum<'_>]) -> Option<f64> {
    let mut numbers = args.iter().map(Datum::to_number);
    match op {
        Op::Add => numbers.try_fold(0.0, |sum, number| Some(sum + number?)),
        Op::Multiply => numbers.try_fold(1.0, |product, number| Some(product * number?)),
        Op::Subtract if args.len() == 1 => Some(-numbers.next()??),
        Op::Abs => Some(numbers.next()??.abs()),
        Op::Modulo => Some(numbers.next()?? % numbers.next()??),
        _ if args.is_empty() => matches!(op, Op::Subtract | Op::Divide).then_some(0.0),
        _ => {
            let first = numbers.next()??;
            numbers.try_fold(first, |so_far, number| {
                let number = number?;
                Some(match op {
                    Op::Subtract => so_far - number,
                    Op::Divide => so_far / number,
                    Op::Max if number > so_far => number,
                    Op::Min if number < so_far => number,
                    _ => so_far,
                })
            })
        }
    }
}

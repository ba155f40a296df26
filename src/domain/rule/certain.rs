//! What is certain to go wrong with a rule, whoever asks: literals that an operator can do nothing with, and results that
//! are no variant of the flag.
//!
//! flagd takes all of these, and answers null or an error each time it comes to them. So they are no mistakes of the
//! language, and a flagd file may have them; whoever makes a rule here is told.

use serde_json::{Map, Value};

use super::HashVersion;
use super::compile::{Compiled, MATCHES, REFERENCE, fail, shown};
use super::datum::Datum;
use super::error::{Error, ErrorKind};
use super::fractional::weight_of;
use super::node::Each;
use super::operator::Op;

/// Finds a part of a condition that can only fail.
///
/// # Errors
///
/// The first one, with its place.
pub fn check_condition(source: &Value, hash: HashVersion) -> Result<(), Error> {
    part(source, hash)
}

/// Finds a part of a rule that can only fail; `is_variant` says which variants the flag has.
///
/// # Errors
///
/// The first one, with its place.
pub fn check_rule(source: &Value, hash: HashVersion, is_variant: &dyn Fn(&str) -> bool) -> Result<(), Error> {
    part(source, hash)?;
    result(source, is_variant)
}

/// The operator and its arguments.
fn operation(source: &Value) -> Option<(&str, &Value)> {
    let map = source.as_object().filter(|map| map.len() == 1)?;
    map.iter().next().map(|(name, args)| (name.as_str(), args))
}

/// A list of arguments, or the only one.
fn list(args: &Value) -> &[Value] {
    args.as_array().map_or(std::slice::from_ref(args), Vec::as_slice)
}

/// Whether it is a value as it stands, with no operation in it.
fn is_literal(source: &Value) -> bool {
    match source {
        Value::Array(items) => items.iter().all(is_literal),
        // One with more members, or none, is taken as it is.
        Value::Object(map) => map.len() != 1,
        _ => true,
    }
}

/// Adds the way to the argument of a place.
fn inside<T>(args: &Value, place: usize, checked: Compiled<T>) -> Compiled<T> {
    checked.map_err(|error| if args.is_array() { error.inside(&format!("[{place}]")) } else { error })
}

fn part(source: &Value, hash: HashVersion) -> Compiled<()> {
    if let Value::Array(items) = source {
        let mut items = items.iter().enumerate();
        return items.try_for_each(|(place, item)| inside(source, place, part(item, hash)));
    }
    let Some((name, args)) = operation(source) else { return Ok(()) };
    if name == REFERENCE {
        return Ok(());
    }
    let within = |error: Error| error.inside(&shown(name));
    let parts = list(args).iter().enumerate();
    for (place, item) in parts {
        inside(args, place, part(item, hash)).map_err(within)?;
    }
    if name == "fractional" {
        return args.as_array().map_or(Ok(()), |args| fractional(args, hash)).map_err(within);
    }
    for (place, item) in list(args).iter().enumerate().filter(|(_, item)| is_literal(item)) {
        let checked = match wanted(name, place) {
            Some((wanted, suits)) if !suits(item) => {
                fail(ErrorKind::Arguments, format!("takes {wanted}; {} is none", brief(item)))
            }
            _ => Ok(()),
        };
        inside(args, place, checked).map_err(within)?;
    }
    Ok(())
}

/// Tells whether a literal will do.
type Suits = fn(&Value) -> bool;

/// What an operator has to be given at a place, and how to tell; nothing where it makes something of any literal.
fn wanted(name: &str, place: usize) -> Option<(&'static str, Suits)> {
    const TEXT: (&str, Suits) = ("a text", Value::is_string);
    const LIST: (&str, Suits) = ("a list", Value::is_array);
    let Some(op) = Op::parse(name) else {
        return match name {
            MATCHES => Some(TEXT),
            "reduce" => Some(LIST),
            _ => Each::parse(name).map(|_| LIST),
        }
        .filter(|_| place == 0);
    };
    let found: (&'static str, Suits) = match (op, place) {
        (Op::StartsWith | Op::EndsWith, 0 | 1) | (Op::Lower | Op::Upper, 0) => TEXT,
        (Op::SemVer, 0 | 2) => ("a version", |value| value.is_string() || value.is_number()),
        (Op::In, 1) => ("a text or a list", |value| value.is_string() || value.is_array()),
        (Op::ContainsAll | Op::ContainsAny | Op::ContainsNone, 0 | 1) => LIST,
        (
            Op::Add | Op::Subtract | Op::Multiply | Op::Divide | Op::Modulo | Op::Min | Op::Max | Op::Abs,
            _,
        )
        | (Op::Substr, 1 | 2) => ("a number", |value| value.is_number() || value.is_string()),
        (Op::Equal | Op::NotEqual | Op::StrictlyEqual | Op::StrictlyNotEqual, 0 | 1)
        | (Op::Less | Op::AtMost | Op::Greater | Op::AtLeast, _)
        | (Op::Substr, 0) => {
            ("a text, a number or a boolean", |value| !value.is_array() && !value.is_object())
        }
        _ => return None,
    };
    Some(found)
}

fn fractional(args: &[Value], hash: HashVersion) -> Compiled<()> {
    let (bucket_by, entries) = match args.split_first() {
        Some((first, rest)) if !first.is_array() => (Some(first), rest),
        _ => (None, args),
    };
    if let Some(literal) = bucket_by.filter(|value| is_literal(value)) {
        let suits = match hash {
            HashVersion::V1 | HashVersion::V2 => literal.is_string() || literal.is_null(),
            HashVersion::V3 => !literal.is_null(),
        };
        if !suits {
            let why = format!("goes by {}, which gives nobody a share", brief(literal));
            return fail(ErrorKind::Arguments, why).map_err(|error: Error| error.inside("[0]"));
        }
    }
    // What may give a list may be an entry itself.
    let is_text = |value: &Value| {
        is_literal(value)
            || operation(value).is_some_and(|(name, _)| matches!(name, "cat" | "lower" | "upper"))
    };
    if !bucket_by.is_none_or(is_text) {
        return Ok(());
    }
    // One that is no list or has a weight that is worked out, or is none at all, is for others to look at.
    let weights: Option<Vec<u64>> = entries.iter().map(|entry| weight(entry).map(u64::from)).collect();
    match weights {
        Some(weights) if !weights.is_empty() && weights.iter().sum::<u64>() == 0 => {
            fail(ErrorKind::Arguments, "has no weight above 0, and gives nobody a share")
        }
        _ => Ok(()),
    }
}

/// The weight of an entry, where it is a literal.
fn weight(entry: &Value) -> Option<u32> {
    match entry.as_array()?.get(1) {
        None => Some(1),
        Some(weight) => weight_of(&Datum::of(Some(weight).filter(|weight| is_literal(weight))?)),
    }
}

/// What a part gives whose value is the rule's.
fn result(source: &Value, is_variant: &dyn Fn(&str) -> bool) -> Compiled<()> {
    let Some((name, args)) = operation(source) else { return literal_result(source, is_variant) };
    let of = |place: usize| {
        let item = list(args).get(place).unwrap_or(&Value::Null);
        inside(args, place, result(item, is_variant))
    };
    let checked = match name {
        "if" | "?:" => branches(list(args)).into_iter().try_for_each(of),
        "or" => alternatives(list(args)).into_iter().try_for_each(of),
        // What comes before the last is given only where it is not true, and then it may be null.
        "and" => list(args).len().checked_sub(1).map_or(Ok(()), of),
        "fractional" => args.as_array().map_or(Ok(()), |args| shares(args, is_variant)),
        _ if is_test(name) && !is_variant("true") && !is_variant("false") => fail(
            ErrorKind::Variant,
            "gives true or false, and the flag has no variant of that name; an `if` around it says which variant",
        ),
        _ => Ok(()),
    };
    checked.map_err(|error| error.inside(&shown(name)))
}

fn literal_result(source: &Value, is_variant: &dyn Fn(&str) -> bool) -> Compiled<()> {
    // Null leaves it to the next rule, and an empty object is no rule.
    if source.is_null() || !is_literal(source) || source.as_object().is_some_and(Map::is_empty) {
        return Ok(());
    }
    let mut name = String::new();
    Datum::of(source).write_bare_json(&mut name);
    if is_variant(&name) {
        return Ok(());
    }
    fail(ErrorKind::Variant, format!("gives {}, which is no variant of the flag", brief(source)))
}

/// The places of an `if` whose values can be the result.
fn branches(args: &[Value]) -> Vec<usize> {
    let mut places = Vec::new();
    for place in (0..args.len()).step_by(2) {
        let condition = &args[place];
        if place + 1 == args.len() {
            places.push(place);
        } else if !is_literal(condition) {
            places.push(place + 1);
        } else if Datum::of(condition).is_truthy() {
            places.push(place + 1);
            break;
        }
    }
    places
}

/// The places of an `or` whose values can be the result. A test before the last one is left alone: where it is false, the
/// next has its turn.
fn alternatives(args: &[Value]) -> Vec<usize> {
    let mut places = Vec::new();
    for (place, item) in args.iter().enumerate() {
        let is_last = place + 1 == args.len();
        let is_truthy = is_literal(item) && Datum::of(item).is_truthy();
        let is_left =
            !is_last && (operation(item).is_some_and(|(name, _)| is_test(name)) || is_literal(item));
        if is_truthy || !is_left {
            places.push(place);
        }
        if is_truthy {
            break;
        }
    }
    places
}

fn shares(args: &[Value], is_variant: &dyn Fn(&str) -> bool) -> Compiled<()> {
    for (place, entry) in args.iter().enumerate().filter(|(_, entry)| entry.is_array()) {
        let [variant, ..] = list(entry) else { continue };
        if weight(entry) != Some(0) {
            let inner = result(variant, is_variant);
            inner.map_err(|error| error.inside("[0]").inside(&format!("[{place}]")))?;
        }
    }
    Ok(())
}

/// Whether an operator gives true or false, or nothing.
fn is_test(name: &str) -> bool {
    name == MATCHES
        || Op::parse(name).is_some_and(Op::is_test)
        || Each::parse(name).is_some_and(Each::is_test)
}

/// A literal for people, short.
fn brief(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => crate::domain::text::quote(text),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::{Context, Input, Rule, Segments, Selection};
    use super::*;

    fn found(source: &Value) -> String {
        let is_variant = |name: &str| ["on", "off", "1"].contains(&name);
        check_rule(source, HashVersion::V2, &is_variant).map_or_else(|error| error.path, |()| "-".to_owned())
    }

    #[test]
    fn what_can_only_fail_is_found_with_its_place() {
        for (source, path) in [
            (json!("onn"), ""),
            (json!(2), ""),
            (json!(true), ""),
            (json!({"if": [{"var": "a"}, "onn", null]}), "if[1]"),
            (json!({"if": [{"var": "a"}, "on", {"if": [{"var": "b"}, "off", "of"]}]}), "if[2].if[2]"),
            (json!({"if": [true, "of"]}), "if[1]"),
            (json!({"or": [{"var": "a"}, "onn"]}), "or[1]"),
            (json!({"and": [{"var": "a"}, "onn"]}), "and[1]"),
            (json!({"==": [{"var": "tier"}, "gold"]}), "=="),
            (json!({"in": [{"var": "tier"}, ["gold"]]}), "in"),
            (json!({"if": [{"starts_with": [{"var": "a"}, 5]}, "on"]}), "if[0].starts_with[1]"),
            (json!({"if": [{"ends_with": [null, {"var": "a"}]}, "on"]}), "if[0].ends_with[0]"),
            (json!({"if": [{"sem_ver": [{"var": "v"}, "=", true]}, "on"]}), "if[0].sem_ver[2]"),
            (json!({"if": [{"in": [{"var": "a"}, 5]}, "on"]}), "if[0].in[1]"),
            (json!({"if": [{"some": [5, {"var": ""}]}, "on"]}), "if[0].some[0]"),
            (json!({"if": [{"+": [{"var": "a"}, true]}, "on"]}), "if[0].+[1]"),
            (json!({"if": [{"<": [{"var": "a"}, [1]]}, "on"]}), "if[0].<[1]"),
            (json!({"if": [{"==": [{"var": "roles"}, ["a"]]}, "on"]}), "if[0].==[1]"),
            (json!({"if": [{"lower": 5}, "on"]}), "if[0].lower"),
            (json!({"fractional": [["on", 0], ["off", 0]]}), "fractional"),
            (json!({"fractional": [{"cat": [{"var": "a"}, "x"]}, ["on", -5]]}), "fractional"),
            (json!({"fractional": [7, ["on", 1]]}), "fractional[0]"),
            (json!({"fractional": [["onn", 1], ["off", 1]]}), "fractional[0][0]"),
        ] {
            assert_eq!(found(&source), path, "{source}");
        }
    }

    #[test]
    fn what_can_succeed_is_left_alone() {
        for source in [
            json!(null),
            json!({}),
            json!("on"),
            json!(1),
            json!({"if": [{"var": "a"}, "on"]}),
            json!({"if": [false, "onn", "off"]}),
            json!({"if": [{"var": "a"}, {"var": "pick"}, {"cat": ["o", "n"]}]}),
            json!({"or": [{"==": [{"var": "a"}, 1]}, "on"]}),
            json!({"or": [{"if": [{"var": "a"}, "on"]}, "off"]}),
            json!({"and": [{"==": [{"var": "a"}, 1]}, "on"]}),
            json!({"fractional": [["on", 1], ["gone", 0]]}),
            json!({"fractional": [["on"], ["off", {"var": "share"}]]}),
            json!({"fractional": [null, ["on", 1]]}),
            json!({"fractional": [{"var": "entry"}, ["on", 0]]}),
            json!({"fractional": {"var": "all"}}),
            json!({"if": [{"<": [{"var": "age"}, "18"]}, "on"]}),
            json!({"if": [{"+": [{"var": "age"}, "1"]}, "on"]}),
            json!({"if": [{"==": [{"var": "a"}, null]}, "on"]}),
            json!({"if": [{"in": ["a", {"var": "roles"}]}, "on"]}),
            json!({"if": [{"some": [{"var": "roles"}, {"==": [{"var": ""}, "a"]}]}, "on"]}),
            json!({"if": [{"$ref": "staff"}, "on"]}),
            json!({"$ref": "whole"}),
        ] {
            assert_eq!(found(&source), "-", "{source}");
        }
        let has_true = |name: &str| name == "true";
        assert_eq!(check_rule(&json!({"==": [{"var": "a"}, 1]}), HashVersion::V2, &has_true), Ok(()));
        assert_eq!(check_condition(&json!({"==": [{"var": "a"}, 1]}), HashVersion::V2), Ok(()));
    }

    /// What a rule says and whether it holds, for clients with all kinds of attributes.
    fn said(source: &Value) -> Vec<(String, bool)> {
        let rule = Rule::compile_foreign(source, &Segments::new(), HashVersion::V2).unwrap();
        let values = [
            json!(null),
            json!(true),
            json!(0),
            json!(5),
            json!("5"),
            json!("on"),
            json!(["on", 5]),
            json!([]),
        ];
        let said = |value: Value| {
            let attributes = [("a".to_owned(), value), ("targetingKey".to_owned(), json!("k"))];
            let context = Context::new(attributes.into_iter().collect()).unwrap();
            let input = Input { flag_key: "f", now: jiff::Timestamp::UNIX_EPOCH, context: &context };
            (format!("{:?}", rule.select(&input)), rule.matches(&input))
        };
        values.into_iter().map(said).collect()
    }

    #[test]
    fn an_operator_with_a_literal_that_is_refused_says_the_same_to_everybody() {
        let operators = Op::ALL.into_iter().map(|(name, _)| name);
        let operators = operators.chain(Each::ALL.into_iter().map(|(name, _)| name)).chain(["fractional"]);
        let literals = [
            json!(null),
            json!(true),
            json!(7),
            json!("t"),
            json!([1, "on"]),
            json!({"x": 1, "y": 2}),
            json!(["on", 0]),
        ];
        let mut refused = 0;
        for (name, literal) in operators.flat_map(|name| literals.iter().map(move |literal| (name, literal)))
        {
            let var = json!({"var": "a"});
            for args in [
                json!([literal]),
                json!([literal, var]),
                json!([var, literal]),
                json!([var, literal, var]),
                json!([literal, "=", var]),
                json!([var, "=", literal]),
            ] {
                let source = json!({ name: args });
                // Other numbers of arguments are refused as such.
                let is_rule = Rule::compile(&source, &Segments::new(), HashVersion::V2).is_ok();
                if is_rule && check_condition(&source, HashVersion::V2).is_err() {
                    let said = said(&source);
                    assert!(said.windows(2).all(|pair| pair[0] == pair[1]), "{source}: {said:?}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 150, "{refused} were refused");
    }

    /// Rules with and without mistakes.
    fn some_rule() -> impl Strategy<Value = Value> {
        let leaf = prop::sample::select(vec![
            json!("on"),
            json!("onn"),
            json!(1),
            json!(true),
            json!(null),
            json!(["a"]),
            json!({"var": "a"}),
        ]);
        leaf.prop_recursive(3, 24, 3, |inner| {
            let operator =
                prop::sample::select(vec!["if", "or", "and", "==", "starts_with", "in", "+", "fractional"]);
            (operator, prop::collection::vec(inner, 2..4)).prop_map(|(name, args)| json!({ name: args }))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// A result that is refused as no variant is one wherever the rule comes to it: were all results of a rule
        /// refused, nobody would get a variant.
        #[test]
        fn a_rule_that_is_one_refused_result_gives_nobody_a_variant(source in some_rule()) {
            let refused = check_rule(&source, HashVersion::V2, &|name: &str| name == "on").err();
            if refused.is_some_and(|error| !error.path.contains('[')) {
                let good = format!("{:?}", Selection::Variant("on".into()));
                prop_assert!(said(&source).iter().all(|(said, _)| *said != good), "{}", source);
            }
        }
    }
}

//! What rules say, operator by operator.

mod answers;
mod flagd;
mod hostile;
mod jsonlogic;

use serde_json::Value;

use super::evaluate::{Evaluator, STEPS_MAX, Scope};
use super::*;

/// What an expression gives when `data` is what `var` is relative to, as JSON.
fn apply(source: &Value, data: &Value) -> Result<Value, Failure> {
    let rule = Rule::compile_foreign(source, &Segments::new(), HashVersion::V2).unwrap();
    let context = Context::default();
    let input = Input { flag_key: "flag", now: Timestamp::UNIX_EPOCH, context: &context };
    let scope = Scope::Item { item: &Datum::of(data), outer: None };
    let value = Evaluator::new(&input, HashVersion::V2, STEPS_MAX).node(&rule.node, &scope)?;
    Ok(value.to_json().unwrap_or_default())
}

/// What a flag's rule says for a context.
fn select(source: &Value, version: HashVersion, flag_key: &str, attributes: &Value) -> String {
    select_at(source, version, flag_key, attributes, 0)
}

fn select_at(
    source: &Value,
    version: HashVersion,
    flag_key: &str,
    attributes: &Value,
    second: i64,
) -> String {
    let rule = Rule::compile_foreign(source, &Segments::new(), version).unwrap();
    let context = Context::new(attributes.as_object().unwrap().clone()).unwrap();
    let now = Timestamp::from_second(second).unwrap();
    match rule.select(&Input { flag_key, now, context: &context }) {
        Selection::Variant(name) => name.into_owned(),
        Selection::Default => "(default)".to_owned(),
        Selection::Failed(failure) => format!("({failure:?})"),
    }
}

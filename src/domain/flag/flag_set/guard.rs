//! Flags that hang on others, as parts of their rules.

use serde_json::{Value as Json, json};

use super::shapes::{Part, always, or_else, unreadable};
use crate::domain::ids::VariantName;

/// Another flag that a flag hangs on.
pub(super) struct Test<'a> {
    /// What it gives where its rule says nothing.
    pub(super) default: Option<&'a VariantName>,
    /// Its rule, as it says the same here.
    pub(super) rule: Option<Json>,
    /// The variants of it that count.
    pub(super) names: Vec<String>,
    /// Whether the flag is off where the other has one of these, or where it has none of them.
    pub(super) off_if_in: bool,
}

/// Adds tests of other flags: where one of them says so, `off` is given. What always says so or never does needs no
/// test, and ends the walk or is left out.
pub(super) fn guard<'a>(
    parts: &mut Vec<Part>,
    off: Option<String>,
    tests: impl IntoIterator<Item = Test<'a>>,
) {
    if matches!(parts.last(), Some(Part::Guard(Json::Bool(true), _))) {
        return;
    }
    let mut conditions = Vec::new();
    for test in tests {
        match test.condition() {
            Json::Bool(false) => {}
            Json::Bool(true) => {
                parts.push(Part::Guard(Json::Bool(true), off));
                return;
            }
            condition => conditions.push(condition),
        }
    }
    match conditions.len() {
        0 => {}
        1 => parts.push(Part::Guard(conditions.swap_remove(0), off)),
        // Side by side: within each other they would soon be deeper than a rule may be.
        _ => parts.push(Part::Guard(json!({ "or": conditions }), off)),
    }
}

impl Test<'_> {
    /// Whether the flag is off by it.
    fn condition(self) -> Json {
        let Self { default, rule, names, off_if_in } = self;
        let default = default.map(VariantName::as_str);
        let is_in = |variant: &str| names.iter().any(|name| name == variant);
        let is_off = |variant: Option<&str>| Json::Bool(variant.is_some_and(is_in) == off_if_in);
        let Some(rule) = rule else { return is_off(default) };
        // A broken flag has no variant, whoever asks.
        if rule == unreadable() {
            return is_off(None);
        }
        if let Some(variant) = always(&rule) {
            return is_off(Some(variant));
        }
        let is_in = json!({"in": [or_else(rule, json!(default.unwrap_or_default())), names]});
        if off_if_in { is_in } else { json!({"!": [is_in]}) }
    }
}

//! Flags that hang on others, as parts of their rules.

use serde_json::{Value as Json, json};

use super::named::Named;
use super::shapes::Part;

/// Another flag that a flag hangs on.
pub(super) struct Test {
    /// The name of its variant, or a rule that gives it.
    given: Json,
    /// The variants of it that count.
    names: Vec<String>,
    /// Whether the flag is off where the other has one of these, or where it has none of them.
    off_if_in: bool,
}

impl Test {
    /// Of a flag's rule, as it says the same here, and what it gives where its rule says nothing. `None` where providers would not
    /// make the same of it.
    pub(super) fn new(
        rule: Option<&Json>,
        default: Option<&str>,
        names: Vec<String>,
        off_if_in: bool,
    ) -> Option<Self> {
        let default = default.unwrap_or_default();
        let given = match rule.filter(|_| !names.is_empty()) {
            None => json!(default),
            Some(rule) => Named { default, wanted: &names }.rule(rule)?,
        };
        Some(Self { given, names, off_if_in })
    }

    /// Whether the flag is off by it.
    fn condition(self) -> Json {
        let Self { given, names, off_if_in } = self;
        if let Json::String(variant) = &given {
            return Json::Bool(names.contains(variant) == off_if_in);
        }
        let is_in = json!({"in": [given, names]});
        if off_if_in { is_in } else { json!({"!": [is_in]}) }
    }
}

/// Adds tests of other flags: where one of them says so, `off` is given. What always says so or never does needs no
/// test, and ends the walk or is left out.
pub(super) fn guard(parts: &mut Vec<Part>, off: Option<String>, tests: impl IntoIterator<Item = Test>) {
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

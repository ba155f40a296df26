//! Flags that hang on others, as parts of their rules.

use serde_json::{Value as Json, json};

use super::named::Named;
use super::shapes::Part;
use super::{Resolved, Resolver};
use crate::domain::flag::compiled::Compiled;
use crate::domain::flag::words::Layer;
use crate::domain::ids::FlagKey;

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

impl<'a> Resolver<'a, '_> {
    /// As for a client without attributes of its own. Off where these decide about a kill switch or a prerequisite: whoever cannot say
    /// that it is not killed must not have it.
    pub(super) fn cut(&mut self, compiled: &'a Compiled) -> Resolved<'a> {
        let (flag, settings) = (&*compiled.flag, &compiled.flag.settings);
        let said = self.flags.evaluate_after(&mut self.memo, self.query, flag.key().as_str());
        let decides = |needed: &FlagKey| {
            let found = self.found.get(needed.as_str()).map(|found| &found.resolved);
            found.is_some_and(|needed| needed.is_cut || needed.targeting.is_some())
        };
        let is_killed = settings.kill_switch.as_ref().is_some_and(decides);
        // Those come before prerequisites.
        let is_decided = matches!(said.layer, Layer::KillSwitch | Layer::Expired | Layer::Schedule);
        let lacks = || settings.prerequisites.iter().any(|needed| decides(&needed.flag_key));
        if is_killed || (!is_decided && lacks()) {
            let off = compiled.off.as_ref().map(|(variant, _)| variant);
            return Resolved { flag, is_enabled: true, default: off, targeting: None, is_cut: true };
        }
        self.answered(flag, true)
    }
}

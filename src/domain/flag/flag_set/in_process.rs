//! Which flags in-process providers get otherwise than they are.

use std::cell::RefCell;
use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use super::{ALWAYS_THERE, Resolver};
use crate::domain::flag::compiled::CompiledRule;
use crate::domain::flag::{CompiledFlags, Query};
use crate::domain::rule::{Context, Rule};

/// The texts that a tenant may have.
const MAY_BE_THERE: [&str; 9] = [
    "displayName",
    "region",
    "parent",
    "businessUnit",
    "costCenter",
    "owner",
    "isolationModel",
    "dataResidency",
    "supportLevel",
];
/// What may have several values, and whether that is a list.
const OF_SEVERAL: [(&str, bool); 2] = [("complianceFrameworks", true), ("labels", false)];

/// What is said of a flag that in-process providers get without what clients' attributes do to it.
const CUT: &str = "in-process providers get it as for a client without attributes: its rules, or those of the flags that it hangs \
                   on, are too many or too large to be worked into one, compare what the tenant and a client have with \
                   texts in a way that would show other tenants' names, or have a broken part or give a variant's name \
                   in a way that not every provider takes alike";
/// What is said of one whose rules not every in-process provider can evaluate.
const UNKNOWN: &str = "its rules use an operator that some providers do not know in-process (matches, lower, upper, contains_all, \
                       contains_any, contains_none, abs); there they fail and the code's own default stands";
/// Tells which flags in-process providers get as for a client without attributes.
pub struct InProcess<'a> {
    flags: &'a CompiledFlags,
    now: Timestamp,
    /// What is known from one flag to the next.
    known: RefCell<HashMap<&'a str, bool>>,
}

impl<'a> InProcess<'a> {
    /// Of these flags, at a moment.
    pub fn new(flags: &'a CompiledFlags, now: Timestamp) -> Self {
        Self { flags, now, known: RefCell::default() }
    }

    /// What people should hear of a flag: what providers get otherwise than it is, and that a switch turns nothing off.
    pub fn warnings(&self, key: &str) -> Vec<String> {
        let flag = self.flags.flag(key);
        let held_back = flag.and_then(|flag| self.flags.held_back(flag, self.now));
        let held_back = held_back.map(|layer| {
            format!("it is thrown by its default and turns nothing off: {} decides first", layer.as_str())
        });
        let cut = self.is_cut(key).then(|| CUT.to_owned());
        let unknown = self.has_unknown_operators(key).then(|| UNKNOWN.to_owned());
        cut.into_iter().chain(unknown).chain(held_back).collect()
    }

    /// Whether a flag is [cut](super::Resolved::is_cut) for a tenant that nothing names, one that has every attribute or one
    /// that has few. Only flags that hang on others are looked at, and those whose rules compare what tenants have with
    /// what clients have.
    pub fn is_cut(&self, key: &str) -> bool {
        let Some(asked) = self.flags.compiled(key) else { return false };
        if !asked.hangs_on_others && !asked.rules.iter().any(is_of_both) {
            return false;
        }
        let mut known = self.known.borrow_mut();
        if let Some(is_cut) = known.get(key) {
            return *is_cut;
        }
        // Whoever asks for a second one goes through a list.
        let is_list = asked.hangs_on_others && !known.is_empty();
        for context in nobodies() {
            let query = Query { tenant: None, context: &context, now: self.now };
            let mut resolver = Resolver::new(self.flags, &query);
            if is_list {
                let all = self.flags.flags().map(|flag| flag.key());
                all.filter(|key| self.flags.compiled(key.as_str()).is_some_and(|it| it.hangs_on_others))
                    .for_each(|key| resolver.resolve(key));
            } else {
                resolver.resolve(asked.flag.key());
            }
            for (key, found) in &resolver.found {
                *known.entry(key).or_default() |= found.resolved.is_cut;
            }
        }
        known.get(key).copied().unwrap_or_default()
    }

    /// Whether its rules have operators that some provider does not know, where the registry does not decide them for
    /// every tenant.
    pub fn has_unknown_operators(&self, key: &str) -> bool {
        let is_open =
            |rule: &Rule| rule.reads_time() || rule.attributes().any(|name| !ALWAYS_THERE.contains(&name));
        let rules = self.flags.compiled(key).map_or(&[] as &[CompiledRule], |compiled| &compiled.rules);
        rules
            .iter()
            .filter_map(|rule| rule.test.as_ref().ok())
            .any(|rule| !rule.is_portable() && is_open(rule))
    }
}

/// What is known of nobody: all that a tenant may have, and what every one has. No name of a tenant or a tier is like this.
fn nobodies() -> [Context; 2] {
    let text = |name: &str| (name.to_owned(), json!("-"));
    let few: Map<String, Json> = ALWAYS_THERE.map(text).into_iter().collect();
    let mut all = few.clone();
    all.extend(MAY_BE_THERE.map(text));
    all.extend(
        OF_SEVERAL.map(|(name, is_list)| (name.to_owned(), if is_list { json!(["-"]) } else { json!({}) })),
    );
    [all, few].map(|attributes| Context::new(attributes).unwrap_or_default())
}

/// Whether a rule reads what tenants have, and what not all of them have.
fn is_of_both(rule: &CompiledRule) -> bool {
    let is_of_tenants = |name: &str| {
        // An empty name is that of whatever an evaluation comes to.
        name.is_empty()
            || ALWAYS_THERE.contains(&name)
            || MAY_BE_THERE.contains(&name)
            || OF_SEVERAL.iter().any(|(other, _)| *other == name)
    };
    rule.test.as_ref().is_ok_and(|test| {
        test.attributes().any(is_of_tenants) && test.attributes().any(|name| !ALWAYS_THERE.contains(&name))
    })
}

//! Which flags in-process providers get otherwise than they are.

use std::cell::RefCell;
use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use super::{ALWAYS_THERE, Resolver};
use crate::domain::flag::compiled::CompiledRule;
use crate::domain::flag::{CompiledFlags, Query};
use crate::domain::rule::{Context, Difference, Rule};
use crate::domain::text::quote;

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

/// Rules, and the values in them, of which a flag has too few to be too deep or too large in one rule, however they are put.
const SMALL: usize = 30;

/// What is said of a flag that in-process providers get without what clients' attributes do to it, after the sets in which.
const CUT: &str = "in-process providers get it as for a client without attributes, or off where a kill switch or prerequisite hangs on \
                   them: its rules, or those of the flags that it hangs \
                   on, are too many or too large to be worked into one, compare what the tenant and a client have with \
                   texts in a way that would show other tenants' names, have a fractional without a bucketing value under hash \
                   version 3, or have a broken part or give a variant's name in a way that not every provider takes alike";
/// What is said of one whose rules not every in-process provider can evaluate.
const UNKNOWN: &str = "its rules use an operator that some providers do not know in-process (matches, lower, upper, contains_all, \
                       contains_any, contains_none, abs); there they fail and the code's own default stands";
/// What is said of a rule that cuts texts.
const CUT_TEXTS: &str = "cuts texts with substr in a way that in-process providers do not agree on where a text is shorter: one gives \
                         all of it, another nothing, another fails; all agree on a start of 0 or 1 without a length or with one of 0 \
                         or more, and on a negative start without a length";
/// What is said of one whose weights are read.
const WEIGHTS: &str = "takes weights of a fractional from what it reads: where one is missing or no whole number, most in-process \
                       providers share nothing out and the default stands; write weights down as numbers";

/// Tells which flags in-process providers get as for a client without attributes.
pub struct InProcess<'a> {
    flags: &'a CompiledFlags,
    now: Timestamp,
    /// What is known from one flag to the next.
    known: RefCell<HashMap<&'a str, CutIn>>,
}

/// In which sets a flag is [cut](super::Resolved::is_cut).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CutIn {
    /// In that of some tenant.
    pub(super) tenants: bool,
    /// In the one without a tenant, for which what tenants have is the client's.
    pub(super) without_tenant: bool,
}

impl CutIn {
    fn warning(self) -> Option<String> {
        let sets = match (self.tenants, self.without_tenant) {
            (false, false) => return None,
            (true, true) => "",
            (true, false) => "in a tenant's set ",
            (false, true) => "in the set without a tenant ",
        };
        Some(format!("{sets}{CUT}"))
    }
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
        let cut = self.cut_in(key).warning();
        let unknown = self.has_unknown_operators(key).then(|| UNKNOWN.to_owned());
        cut.into_iter().chain(unknown).chain(self.differences(key)).chain(held_back).collect()
    }

    /// In which sets a flag is cut: those of tenants that nothing names, one with every attribute and one with few, and the one
    /// without a tenant. Only flags that hang on others are looked at, those whose rules compare what tenants have with
    /// what clients have, and those whose rules could be too large in one.
    pub(super) fn cut_in(&self, key: &str) -> CutIn {
        let Some(asked) = self.flags.compiled(key) else { return CutIn::default() };
        let is_small = asked.rules.len() + asked.size.nodes <= SMALL;
        if is_small && !asked.hangs_on_others && !asked.rules.iter().any(is_of_both) {
            return CutIn::default();
        }
        let mut known = self.known.borrow_mut();
        if let Some(cut) = known.get(key) {
            return *cut;
        }
        // Whoever asks for a second one goes through a list.
        let is_list = asked.hangs_on_others && !known.is_empty();
        let [all, few] = nobodies();
        for (context, is_tenant) in [(all, true), (few, true), (Context::default(), false)] {
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
                let cut = known.entry(key).or_default();
                let cut = if is_tenant { &mut cut.tenants } else { &mut cut.without_tenant };
                *cut |= found.resolved.is_cut;
            }
        }
        known.get(key).copied().unwrap_or_default()
    }

    /// Whether its rules have operators that some provider does not know, where the registry does not decide them for
    /// every tenant.
    pub fn has_unknown_operators(&self, key: &str) -> bool {
        self.open_rules(key).any(|(_, test)| !test.is_portable())
    }

    /// What is said of its rules that some provider makes something else of.
    fn differences(&self, key: &str) -> impl Iterator<Item = String> {
        self.open_rules(key).flat_map(|(rule, test)| {
            let names = test.differences().filter_map(|difference| match difference {
                Difference::WithinList(name) => Some(name.as_str()),
                _ => None,
            });
            let names: Vec<&str> = names.collect();
            let others = test.differences().filter_map(|difference| match difference {
                Difference::WithinList(_) => None,
                Difference::Cut => Some(CUT_TEXTS.to_owned()),
                Difference::Weights => Some(WEIGHTS.to_owned()),
            });
            let told = (!names.is_empty()).then(|| within_list(&names)).into_iter().chain(others);
            told.map(|told| format!("rule {} {told}", quote(&rule.id))).collect::<Vec<_>>()
        })
    }

    /// Its rules that the registry does not decide for every tenant.
    fn open_rules(&self, key: &str) -> impl Iterator<Item = (&CompiledRule, &Rule)> {
        let is_open =
            |rule: &Rule| rule.reads_time() || rule.attributes().any(|name| !ALWAYS_THERE.contains(&name));
        let rules = self.flags.compiled(key).map_or(&[] as &[CompiledRule], |compiled| &compiled.rules);
        let tests = rules.iter().filter_map(|rule| Some((rule, rule.test.as_ref().ok()?)));
        tests.filter(move |(_, test)| is_open(test))
    }
}

/// What is said of a rule that asks for these while it goes through a list.
fn within_list(names: &[&str]) -> String {
    let shown: Vec<String> = names
        .iter()
        .map(|name| if name.is_empty() { "a name that it puts together".to_owned() } else { quote(name) })
        .collect();
    format!(
        "asks for {} while it goes through a list: here that is the context's where an item does not have it, but most in-process \
         providers look into the item alone and may answer the opposite; compare with the context outside of the list",
        shown.join(", ")
    )
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

//! Targeting rules: flagd's `JSONLogic` dialect, compiled once, evaluated many times.
//!
//! A [`Rule`] is a flag's targeting in flagd's own syntax, so any flagd file can be taken as it is and an in-process
//! provider that gets our rule computes what we compute. [`Condition`]s are sugar for the same syntax.

mod budget;
mod call;
mod cbor;
mod certain;
mod compile;
mod compile_call;
mod condition;
mod context;
mod datum;
mod difference;
mod error;
mod evaluate;
mod fractional;
mod hash;
mod length;
pub mod limit;
mod lists;
mod node;
mod operator;
mod path;
mod pattern;
mod rollout;
mod segments;
mod semver;
mod text_operators;
mod texts;
mod word;

use std::borrow::Cow;
use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

pub use self::budget::{Budget, Effort};
pub use self::certain::{check_condition, check_rule};
use self::compile::{Compiler, Mode};
pub use self::condition::{Condition, Operator};
pub use self::context::{CONTEXT_BYTES_MAX, CONTEXT_DEPTH_MAX, CONTEXT_VALUES_MAX, Context, ContextError};
use self::datum::Datum;
pub use self::difference::Difference;
pub use self::error::{Error, ErrorKind};
use self::evaluate::{Evaluator, Scope};
pub use self::hash::HashVersion;
pub use self::length::{text_length, written_length, written_nodes};
use self::node::{Constant, Node, Read};
pub use self::path::{Path, TARGETING_KEY};
pub use self::rollout::{Prepared, Rollout, Step, Weight};
pub use self::segments::{Fault, Segments};

/// What one evaluation is about.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The flag's key: `$flagd.flagKey`, and the first half of what `fractional` hashes by default.
    pub flag_key: &'a str,
    /// The moment of the evaluation: `$flagd.timestamp`, in whole seconds since 1970.
    pub now: Timestamp,
    /// The attributes.
    pub context: &'a Context,
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection<'a> {
    /// This variant. Whether the flag has it is for the caller to see: if not, flagd's answer is the error GENERAL.
    Variant(Cow<'a, str>),
    /// Nothing: the next layer decides. So it is where the evaluation [costs too much](Failure::TooExpensive).
    Default,
    /// The rule could not be evaluated; flagd's answer is the error `PARSE_ERROR`.
    Failed(Failure),
}

/// Why a rule could not be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// It reached an operator that does not exist. Only rules compiled by [`Rule::compile_foreign`] have such parts.
    UnknownOperator,
    /// It would have cost more than an evaluation may; arrays of the client's can make a rule expensive.
    TooExpensive,
}

/// A compiled targeting rule.
#[derive(Debug, Clone)]
pub struct Rule {
    node: Node,
    hash: HashVersion,
    /// Away from what every evaluation looks at.
    names: Box<Names>,
    pattern_bytes: usize,
    reads_time: bool,
    reads_flag_key: bool,
    is_portable: bool,
}

/// What a rule names.
#[derive(Debug, Clone, Default)]
struct Names {
    attributes: BTreeSet<String>,
    segments: BTreeSet<String>,
    differences: BTreeSet<Difference>,
}

impl Rule {
    /// Compiles a rule. Everything it could trip over later is refused here: unknown operators and segments, wrong
    /// numbers of arguments, bad patterns and versions, and sources that are too deep or too large.
    pub fn compile(source: &Value, segments: &Segments, hash: HashVersion) -> Result<Self, Error> {
        Self::of(source, segments, hash, Mode::Strict)
    }

    /// Compiles a rule of a flagd file. flagd finds an unknown operator or `$ref` only when an evaluation reaches it,
    /// so that a rule with one in a branch that is never taken works; here it does, too.
    pub fn compile_foreign(source: &Value, segments: &Segments, hash: HashVersion) -> Result<Self, Error> {
        Self::of(source, segments, hash, Mode::Foreign)
    }

    fn of(source: &Value, segments: &Segments, hash: HashVersion, mode: Mode) -> Result<Self, Error> {
        let mut compiler = Compiler::new(segments, mode);
        let node = match source {
            // flagd takes an empty object for no rule.
            Value::Object(map) if map.is_empty() => Node::NULL,
            _ => compiler.node(source, 1)?,
        };
        let differences = difference::differences(&node);
        let mut rule = Self {
            node,
            hash,
            names: Box::new(Names { attributes: BTreeSet::new(), segments: compiler.used, differences }),
            pattern_bytes: compiler.pattern_bytes,
            reads_time: false,
            reads_flag_key: false,
            is_portable: !compiler.is_ours,
        };
        let attributes = &mut rule.names.attributes;
        let (time, key) = (&mut rule.reads_time, &mut rule.reads_flag_key);
        rule.node.reads(&mut |read| match read {
            Read::Attribute(name) => {
                attributes.insert(name.to_owned());
            }
            Read::Everything => {
                attributes.insert(String::new());
            }
            Read::Time => *time = true,
            Read::FlagKey => *key = true,
        });
        Ok(rule)
    }

    /// What the rule says. Allocates nothing unless the rule itself puts texts or lists together.
    pub fn select<'a>(&'a self, input: &Input<'a>) -> Selection<'a> {
        self.select_within(input, &Budget::default())
    }

    /// The same within what is left to a call.
    pub fn select_within<'a>(&'a self, input: &Input<'a>, budget: &Budget) -> Selection<'a> {
        if let Node::Constant(Constant::Text(name)) = &self.node {
            return Selection::Variant(Cow::Borrowed(name));
        }
        match self.within(input, budget, |evaluator| evaluator.node(&self.node, &Scope::Root)) {
            Err(failure @ Failure::UnknownOperator) => Selection::Failed(failure),
            // What a client sends makes a rule expensive, and must not break a flag.
            Err(Failure::TooExpensive) | Ok(Datum::Null) => Selection::Default,
            Ok(Datum::Number(number)) if !number.is_finite() => Selection::Default,
            Ok(Datum::Text(name)) => Selection::Variant(Cow::Borrowed(name)),
            Ok(Datum::Bool(bool)) => Selection::Variant(Cow::Borrowed(if bool { "true" } else { "false" })),
            Ok(other) => {
                let mut name = String::new();
                other.write_bare_json(&mut name);
                Selection::Variant(Cow::Owned(name))
            }
        }
    }

    /// What it gives, of whatever type; none where that cannot be written down.
    pub fn value(&self, input: &Input<'_>) -> Result<Option<Value>, Failure> {
        let value =
            self.within(input, &Budget::default(), |evaluator| evaluator.node(&self.node, &Scope::Root))?;
        Ok(value.to_json())
    }

    /// Whether the rule's value is truthy; false where it cannot be evaluated. For rules made of [`Condition`]s.
    pub fn matches(&self, input: &Input<'_>) -> bool {
        self.matches_within(input, &Budget::default())
    }

    /// The same within what is left to a call.
    pub fn matches_within(&self, input: &Input<'_>, budget: &Budget) -> bool {
        self.within(input, budget, |evaluator| evaluator.truth(&self.node, &Scope::Root)).unwrap_or(false)
    }

    fn within<'a, T>(
        &self,
        input: &Input<'a>,
        budget: &Budget,
        evaluate: impl FnOnce(&Evaluator<'a, '_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let share = budget.share();
        let evaluator = Evaluator::new(input, self.hash, share);
        let found = evaluate(&evaluator);
        budget.take(share - evaluator.left());
        if matches!(found, Err(Failure::TooExpensive)) {
            budget.exceed(share);
        }
        found
    }

    /// The top-level attributes it may read, each once, sorted. `fractional` without a bucketing value reads
    /// `targetingKey`. A rule of which only an evaluation shows what it reads names the empty attribute.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.names.attributes.iter().map(String::as_str)
    }

    /// The segments it uses, directly or through other segments, sorted.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.names.segments.iter().map(String::as_str)
    }

    /// What its own patterns take in memory, in bytes; a hundredth of a second's work for a MiB.
    pub const fn pattern_bytes(&self) -> usize {
        self.pattern_bytes
    }

    /// Whether it may read the time, `$flagd.timestamp`.
    pub const fn reads_time(&self) -> bool {
        self.reads_time
    }

    /// Whether it says the same for every tenant, context and time until it is changed.
    pub fn is_constant(&self) -> bool {
        self.names.attributes.is_empty() && !self.reads_time
    }

    /// Whether it may read the flag's key, so that it means another thing under another key.
    pub const fn reads_flag_key(&self) -> bool {
        self.reads_flag_key
    }

    /// Whether every published provider of flagd's knows all its operators. `tenantry_matches` is ours alone, and some lack
    /// others.
    pub const fn is_portable(&self) -> bool {
        self.is_portable
    }

    /// What not all published in-process providers make of it what is made of it here, as far as the rule shows that.
    pub fn differences(&self) -> impl Iterator<Item = &Difference> {
        self.names.differences.iter()
    }
}

/// A value as `cat` writes it; empty for what it writes as nothing.
pub fn text_of(value: &Value) -> String {
    let mut text = String::new();
    Datum::of(value).write(&mut text);
    text
}

#[cfg(test)]
mod tests;

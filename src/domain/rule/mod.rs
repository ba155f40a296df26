//! Targeting rules: flagd's JSONLogic dialect, compiled once, evaluated many times.
//!
//! A [`Rule`] is a flag's targeting in flagd's own syntax, so any flagd file can be taken as it is and an in-process
//! provider that gets our rule computes what we compute. [`Condition`]s are sugar for the same syntax.

mod condition;
mod context;
mod error;
mod hash;
mod rollout;
mod segments;

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::Value;

pub use self::condition::{Condition, Operator};
pub use self::context::{Context, ContextError};
pub use self::error::{Error, ErrorKind};
pub use self::hash::HashVersion;
pub use self::rollout::{Rollout, Step, Weight};
pub use self::segments::Segments;

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
    /// Nothing: the next layer decides.
    Default,
    /// The rule could not be evaluated; flagd's answer is the error PARSE_ERROR.
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
    attributes: Vec<String>,
    segments: Vec<String>,
    reads_time: bool,
    reads_key: bool,
}

impl Rule {
    /// Compiles a rule. Everything it could trip over later is refused here: unknown operators and segments, wrong
    /// numbers of arguments, cycles, bad patterns, and sources that are too deep or too large.
    pub fn compile(source: &Value, segments: &Segments, hash: HashVersion) -> Result<Self, Error> {
        let _ = (source, segments, hash);
        Err(Error {
            kind: ErrorKind::Operator,
            path: String::new(),
            why: "cannot be evaluated yet".to_owned(),
        })
    }

    /// Compiles a rule of a flagd file. flagd finds an unknown operator or `$ref` only when an evaluation reaches it,
    /// so that a rule with one in a branch that is never taken works; here it does, too.
    pub fn compile_foreign(source: &Value, segments: &Segments, hash: HashVersion) -> Result<Self, Error> {
        Self::compile(source, segments, hash)
    }

    /// What the rule says. Allocates nothing unless the rule itself puts text or lists together.
    pub fn select<'a>(&'a self, input: &Input<'a>) -> Selection<'a> {
        let _ = input;
        Selection::Default
    }

    /// Whether the rule's value is truthy; false where it cannot be evaluated. For rules made of [`Condition`]s.
    pub fn matches(&self, input: &Input<'_>) -> bool {
        let _ = input;
        false
    }

    /// The top-level attributes it may read, each once, sorted. `fractional` without a bucketing value reads
    /// `targetingKey`. A rule that reads the context as a whole, such as `{"var": ""}`, names the empty attribute.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().map(String::as_str)
    }

    /// The segments it uses, directly or through other segments, sorted.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().map(String::as_str)
    }

    /// Whether it may read the time, `$flagd.timestamp`.
    pub const fn reads_time(&self) -> bool {
        self.reads_time
    }

    /// Whether it says the same for every tenant, context and time until it is changed.
    pub fn is_constant(&self) -> bool {
        self.attributes.is_empty() && !self.reads_time
    }

    /// Whether it may read the flag's key, so that it means another thing under another key.
    pub const fn reads_flag_key(&self) -> bool {
        self.reads_key
    }
}

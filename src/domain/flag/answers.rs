//! The answers of one query, flag by flag.

use super::compile::CompiledFlags;
use super::evaluate::{Evaluation, Memo, Query, TooMuch};
use crate::domain::rule::Effort;

/// Answers one query for any flags in any order. What others hang on is evaluated once, however many ask for it.
pub struct Answers<'a, 'q> {
    flags: &'a CompiledFlags,
    query: &'q Query<'q>,
    memo: Memo<'a>,
}

impl CompiledFlags {
    /// The answers of a query.
    pub fn answers<'a, 'q>(&'a self, query: &'q Query<'q>) -> Answers<'a, 'q> {
        Answers { flags: self, query, memo: Memo::new() }
    }

    /// The same for a client, who says what is in the context.
    pub fn answers_of_call<'a, 'q>(&'a self, query: &'q Query<'q>, effort: Effort) -> Answers<'a, 'q> {
        Answers { flags: self, query, memo: Memo::of_call(effort) }
    }
}

impl<'a> Answers<'a, '_> {
    /// What [`CompiledFlags::evaluate`] says of a flag.
    pub fn of(&mut self, key: &str) -> Evaluation<'a> {
        self.flags.evaluate_after(&mut self.memo, self.query, key)
    }

    /// Whether all rules were evaluated.
    ///
    /// # Errors
    ///
    /// Where they cost too much together; then the answers are not what the flags say.
    pub fn are_whole(&self) -> Result<(), TooMuch> {
        self.memo.is_whole()
    }

    /// What the answers so far took: one for each flag that was evaluated, and one for each look at another flag that
    /// one hangs on.
    pub fn steps(&self) -> usize {
        self.memo.steps()
    }
}

//! Answers that cost much, apart from the threads that serve.
//!
//! What a flag's rules cost follows from a client's context as much as from the rules, and is known once they were
//! evaluated. So every answer is begun where its call is served, with as much as others can wait for; one that takes more
//! is begun anew where nobody waits for it.

use tracing::Span;

use super::apart::Apart;
use crate::domain::error::Error;
use crate::domain::flag::TooMuch;
use crate::domain::rule::Effort;

/// Why there is no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// It takes more than the effort allows.
    TooMuch(TooMuch),
    /// Whatever it takes.
    Refused(Error),
}

impl From<TooMuch> for Unanswered {
    fn from(too_much: TooMuch) -> Self {
        Self::TooMuch(too_much)
    }
}

impl From<Error> for Unanswered {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<Unanswered> for Error {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::TooMuch(too_much) => too_much.into(),
            Unanswered::Refused(error) => error,
        }
    }
}

/// Where costly answers are made. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Costly {
    apart: Apart,
}

impl Costly {
    /// They are made by the runtime that this is called in.
    pub(crate) fn new() -> Self {
        Self { apart: Apart::new() }
    }

    /// What `answer` says of a question, at once or when there is room. It may be asked twice, so it counts and keeps nothing
    /// before it has an answer.
    ///
    /// # Errors
    ///
    /// Those of `answer`, and where the rules cost more than any call may.
    pub async fn answer<S, Q, T>(
        &self,
        state: &S,
        question: Q,
        answer: impl Fn(&S, &Q, Effort) -> Result<T, Unanswered> + Send + 'static,
    ) -> Result<T, Error>
    where
        S: Clone + Send + 'static,
        Q: Send + 'static,
        T: Send + 'static,
    {
        let found = answer(state, &question, Effort::Little);
        if !matches!(found, Err(Unanswered::TooMuch(_))) {
            return Ok(found?);
        }
        let (state, span) = (state.clone(), Span::current());
        let found = self.apart.run(move || span.in_scope(|| answer(&state, &question, Effort::Full))).await?;
        Ok(found?)
    }
}

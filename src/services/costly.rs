//! Answers that cost much, apart from the threads that serve.
//!
//! What a flag's rules cost follows from a client's context as much as from the rules, and is known once they were
//! evaluated. So every answer is begun where its call is served, with as much as others can wait for; one that takes more
//! is begun anew where nobody waits for it.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tracing::Span;

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

/// Where costly answers are made: as many at once as leave half of the machine to those that cost little. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Costly {
    room: Arc<Semaphore>,
}

impl Default for Costly {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { room: Arc::new(Semaphore::new((cores / 2).max(1))) }
    }
}

impl Costly {
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
        // Who waits may be gone before its turn; what is begun keeps its room to the end.
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(Error::bug)?;
        let (state, span) = (state.clone(), Span::current());
        let found = tokio::task::spawn_blocking(move || {
            let found = span.in_scope(|| answer(&state, &question, Effort::Full));
            drop(room);
            found
        });
        Ok(found.await.map_err(Error::bug)??)
    }
}
